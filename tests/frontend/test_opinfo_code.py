"""Every owned operator as C++, in groups that share one program: what the build gives is what eager gives."""

import warnings

import pytest
import warploom
from opinfo import CASES, IDS, assert_all_same, gathered
from warploom import compiler


@pytest.mark.parametrize(("dtype", "group", "names"), CASES, ids=IDS)
def test_owned_operators_as_code(dtype, group, names, monkeypatch):
    monkeypatch.setattr(compiler, "verify_against_eager", lambda *_: None)
    model, tensors, labels = gathered(names, dtype, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = model(*[t.clone() for t in tensors])
        fast = warploom.compile(model, tensors, library=False)
    assert_all_same(labels, fast(*tensors), wanted, dtype)
