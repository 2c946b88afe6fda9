"""KernelBench's own models: how much of each level is ours, and the numbers of those that are small enough to interpret."""

import importlib.util
import warnings

import numpy as np
import pytest
import torch
from agree import assert_same, eager, externs, run
from warploom.frontend.torch_export import export_model
from warploom.ir.verify_graph import verify_graph

RECURRENT = {"aten.lstm.input", "aten.gru.input"}
LARGEST = 2**24  # elements of the largest value that the interpreter is asked for


def load(path):
    spec = importlib.util.spec_from_file_location(f"problem_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shrink(module):
    """Smaller sizes under the module's own names: batches of at most 2, long extents at most 64."""
    for name, value in list(vars(module).items()):
        if type(value) is int and "batch" in name:
            setattr(module, name, min(value, 2))


def problems(folder, level):
    return sorted((folder / "kernelbench" / f"level{level}").glob("*.py"))


def exported(path, small):
    module = load(path)
    if small:
        shrink(module)
    torch.manual_seed(0)
    model, inputs = module.Model(*module.get_init_inputs()), tuple(module.get_inputs())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model, inputs, export_model(model, inputs)


@pytest.mark.long
@pytest.mark.parametrize("level", [1, 2, 3])
def test_only_recurrent_networks_stay_extern(shared_data, level):
    """Every model exports at full size; report what stays with ATen."""
    found = {}
    for path in problems(shared_data, level):
        _, _, e = exported(path, small=False)
        verify_graph(e.graph)
        found |= {path.stem: externs(e)} if externs(e) else {}
    print(f"level {level}: {found}")
    assert {target for calls in found.values() for target, _ in calls} <= (RECURRENT if level == 3 else set())


@pytest.mark.long
@pytest.mark.parametrize("level", [1, 2])
def test_models_agree_with_eager(shared_data, level):
    """Small batches, values of bounded size; the rest is counted as skipped."""
    checked = 0
    for path in problems(shared_data, level):
        model, inputs, e = exported(path, small=True)
        sizes = [np.prod([d.value for d in v.type.shape]) for n in e.graph.nodes for v in n.outputs]
        if max(sizes, default=0) > LARGEST:
            continue
        wanted, _ = eager(model, inputs)
        torch.manual_seed(11)
        got, _ = run(e, inputs)
        try:
            assert_same(got, wanted, rtol=1e-3, atol=1e-3)
        except AssertionError as error:
            raise AssertionError(f"{path.stem}: {error}") from None
        checked += 1
    print(f"level {level}: {checked} checked")
    assert checked > 20
