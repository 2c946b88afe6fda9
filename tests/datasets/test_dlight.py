"""CUDA sides by TVM's dlight: complete, clean under the emulator's eyes, in the shape that every side has; absent, ours stand and say so."""

import numpy as np
import pytest
from warploom.backends.tvm import client
from warploom.datasets import dlight_side, make
from warploom.datasets.make import make_pair
from warploom.datasets.program import Program, inputs_of, outputs_of
from warploom.datasets.record import Pair
from warploom.datasets.run_sides import check_cuda, cuda_library
from warploom.datasets.styles import Style
from warploom.frontend.operators.operator import Given
from warploom.ir.graph_text import parse_graph

needs_tvm = pytest.mark.skipif(client.version() is None, reason="TVM is not installed")
SOFTMAX = """def f(x: f32[20, 90], w: f32[90, 33]):
    m: f32[20] = reduce(max, (x,), (1,))
    e: f32[20, 90] = map(exp(x[i0, i1] - m[i0]))
    s: f32[20] = reduce(add, (e,), (1,))
    p: f32[20, 90] = map(e[i0, i1] / s[i0])
    y: f32[20, 33] = contract('mk,kn->mn', p, w)
    return y,
"""
SCAN = "def f(x: f32[8, 40]):\n    y: f32[8, 40] = scan(add, (x,), 1)\n    return y,\n"


def _program(text, *shapes):
    graph = parse_graph(text)
    given = tuple(Given(i.name, shape) for i, shape in zip(graph.inputs, shapes))
    return Program(graph, given, "block", ("softmax",))


def _strategy(monkeypatch, name):
    monkeypatch.setattr(make, "CUDA_STRATEGIES", {name: 1.0})


@needs_tvm
def test_a_side_is_complete_and_clean():
    graph = parse_graph(SOFTMAX)
    made = dlight_side.dlight_side(graph)
    side = Style("tvm", "fused", "  ", True, False, False).cuda(made.side)
    buffers = {b["name"]: b["role"] for b in side.buffers(graph)}
    assert {b for b, role in buffers.items() if role != "temporary"} == {"x", "w", "y"} and all(a in buffers for x in side.launches() for a in x["args"])
    assert all(f"{x['kernel']}(" in side.source for x in side.launches())
    assert {k["script"] for k in made.kernels} >= {"dlight.Matmul", "dlight.Reduction"} and all("def " in k["naive"] for k in made.kernels)
    rng = np.random.default_rng(0)
    given = {"x": rng.standard_normal((20, 90)).astype("f"), "w": rng.standard_normal((90, 33)).astype("f")}
    assert check_cuda(side, given) == []
    assert cuda_library(side, [*inputs_of(graph), *outputs_of(graph)])


@needs_tvm
def test_a_pair_says_who_made_its_cuda(monkeypatch):
    _strategy(monkeypatch, "dlight")
    pair = make_pair(_program(SOFTMAX, (20, 90), (90, 33)), 3)
    assert isinstance(pair, Pair), pair
    assert pair.cuda_strategy["name"] == "dlight" and pair.provenance["cuda_by"] == f"TVM {client.version()}"
    assert pair.verdicts["cuda"]["accepted"] and pair.verdicts["cuda"]["check"] == "clean"


@pytest.mark.parametrize("absent", [pytest.param(False, marks=needs_tvm), True])
def test_where_dlight_has_none_ours_stands_and_says_why(monkeypatch, absent):
    _strategy(monkeypatch, "dlight")
    if absent:
        monkeypatch.setattr(client, "version", lambda: None)
    program = _program(SCAN, (8, 40))
    _, told = make._cuda(make._Work(program, np.random.default_rng(0), None), Style("named", "printed", "    ", False, False, False))
    assert told["name"] == "default" and ("not installed" if absent else "no translation of Scan") in told["note"]


def test_absence_is_one_line(monkeypatch):
    monkeypatch.setattr(client, "version", lambda: None)
    assert "TVM is not installed" in dlight_side.missing() and "\n" not in dlight_side.missing()
