"""Every owned operator against eager on torch's own sample inputs: many samples in one graph, none of it extern."""

import warnings

import pytest
from agree import externs, run
from opinfo import CASES, IDS, KEPT, MANY, assert_all_same, gathered
from warploom.frontend.torch_export import export_model
from warploom.ir.verify_graph import verify_graph


@pytest.mark.parametrize(("dtype", "group", "names"), CASES, ids=IDS)
def test_owned_operators_agree_with_eager(dtype, group, names):
    model, tensors, labels = gathered(names, dtype, MANY[dtype])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = export_model(model, tensors)
        wanted = model(*[t.clone() for t in tensors])
    verify_graph(exported.graph)
    assert set(externs(exported)) <= KEPT
    got, _ = run(exported, tensors)
    assert_all_same(labels, got, wanted, dtype)
