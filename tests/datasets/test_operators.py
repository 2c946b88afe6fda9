"""Every operator specification gives Graphs that are ours to compile and that mean what the torch function computes in float64."""

import numpy as np
import pytest
import torch
from warploom.datasets.inputs import drawn, expression
from warploom.datasets.judged import tensor_of
from warploom.datasets.program import used
from warploom.evaluation.graph_model import GraphModel
from warploom.frontend.operators.operator import CATEGORIES, Given, Pick
from warploom.frontend.operators.shapes import draw_shape, fits
from warploom.frontend.operators.table import OPERATORS, UnknownOperator, operator
from warploom.frontend.operators.trace import trace
from warploom.ir.diagnostic import WarploomError
from warploom.ir.graph import Extern, Random
from warploom.ir.graph_text import parse_graph, print_graph


def _call(name, seed):
    pick = Pick(np.random.Generator(np.random.PCG64([seed, len(name)])), 0.05)
    for _ in range(40):
        shape = draw_shape(pick, OPERATORS[name].takes)
        call = OPERATORS[name].call(pick, shape)
        if call is not None:
            return call, (call.first or Given("x", shape), *call.more)
    raise AssertionError(f"{name} fits no shape")


def test_there_are_enough_in_every_category():
    assert len(OPERATORS) >= 120
    assert {o.category for o in OPERATORS.values()} == set(CATEGORIES)


def test_unknown_operator_is_one_line():
    with pytest.raises(UnknownOperator, match="no operator 'sofmax'") as e:
        operator("sofmax")
    assert isinstance(e.value, WarploomError) and "\n" not in str(e.value)


def test_shapes_are_of_their_kind():
    pick = Pick(np.random.Generator(np.random.PCG64(0)))
    for o in OPERATORS.values():
        assert fits(o.takes, draw_shape(pick, o.takes)) or o.takes == "rows"


@pytest.mark.parametrize("name", list(OPERATORS))
def test_the_graph_means_the_function(name):
    call, given = _call(name, 3)
    graph = trace(call.function, given, name)
    assert not [n for n in graph.nodes if isinstance(n.op, (Extern, Random))]
    assert parse_graph(print_graph(graph)) == graph
    arrays = [tensor_of(drawn(expression(g, "own", 5, k)), g.dtype) for k, g in enumerate(given)]
    wide = [a.double() if a.is_floating_point() else a for a in arrays]
    by_name = {i.name: k for k, i in enumerate(given)}
    with torch.no_grad():
        wanted = call.function(*wide)
        inputs = used(graph, given)
        got = GraphModel(graph, {}).double()(*(wide[by_name[i.name.removesuffix("_t")] if i.name not in by_name else by_name[i.name]] for i in inputs))
    for a, b in zip(got, wanted if isinstance(wanted, (tuple, list)) else [wanted]):
        rtol = max({"float16": 1e-3, "bfloat16": 1e-2}.get(g.dtype, 1e-5) for g in given)
        atol = 1.0 if a.dtype == torch.int8 else 1e-5  # a tie of rounding is decided by precision
        torch.testing.assert_close(a.double(), b.double(), rtol=rtol, atol=atol, equal_nan=True)
