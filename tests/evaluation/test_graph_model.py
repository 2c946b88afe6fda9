"""A Graph evaluated through torch operators against the graph interpreter, in its own dtypes and in float64; tasks whose text is a Graph."""

import numpy as np
import pytest
import torch
from warploom.evaluation import sandbox
from warploom.evaluation.candidate import Candidate
from warploom.evaluation.graph_model import DRAWS, GraphModel, choose_draw, draw_inputs, other_sizes, own_sizes
from warploom.evaluation.graph_task import GraphTask, other_shapes, sizes_said
from warploom.evaluation.judge import Judge, Settings
from warploom.evaluation.task import Task, kind_of_text, read_task
from warploom.frontend.extern import numpy_externs, to_numpy
from warploom.ir.diagnostic import ParseError, WarploomError
from warploom.ir.graph_text import parse_graph
from warploom.ir.interpret import OutOfBounds
from warploom.ir.interpret_graph import run_graph

NODES = {
    "pointwise": ("x: f32[3, 4], b: f32[4]", "y: f32[3, 4] = map(tanh(x[i0, i1] * 2.0 + b[i1]) - x[i0, i1] / 3.0)", "y,"),
    "broadcast and transpose": ("x: f32[3, 4]", "y: f32[4, 2, 3] = map(x[i2, i0] + x[0, 1])", "y,"),
    "lazy pad": ("x: f32[5]", "y: f32[9] = map(select(i0 >= 2 and i0 < 7, x[i0 - 2], 0.0))", "y,"),
    "data decides": ("x: f32[3, 4]", "y: f32[3, 4] = map(select(x[i0, i1] > 0.5 or x[i0, 3 - i1] < 0.0, exp(x[i0, i1]), -inf))", "y,"),
    "gather": ("x: f32[3, 4], k: i64[5] @ within(0, 3)", "y: f32[5, 4] = map(x[k[i0], i1])", "y,"),
    "diagonal": ("x: f32[4, 4]", "y: f32[4] = map(x[i0, i0] * f32(i0 + 1))", "y,"),
    "integers": ("a: i32[7], b: i32[7]", "y: i32[7] = map(a[i0] // 3 * (b[i0] % 4) + min(a[i0], -inf) // 2)", "y,"),
    "guarded division": ("a: i32[7], b: i32[7]", "y: i32[7] = map(select(b[i0] == 0, 0, a[i0] // b[i0]))", "y,"),
    "casts": ("x: f32[9]", "y: i8[9] = map(i8(i32(x[i0] * 3.0)))", "y,"),
    "booleans": ("x: f32[9], m: b1[9]", "y: b1[9] = map(m[i0] and x[i0] > 0.0 or isnan(x[i0]))", "y,"),
    "half": ("x: bf16[6, 5]", "y: bf16[6, 5] = map(x[i0, i1] * x[i0, i1] + 1.0)", "y,"),
    "reshape": ("x: f32[3, 4]", "y: f32[2, 6] = reshape(x)", "y,"),
    "sums": ("x: f32[3, 4, 5]", "y: f32[4] = reduce(add, (x,), (0, 2))\n    z: f32[3, 5] = reduce(mul, (x,), (1,))", "y, z"),
    "extrema": ("x: f32[3, 4, 5]", "y: f32[3] = reduce(max, (x,), (1, 2))\n    z: f32[3, 4] = reduce(min, (x,), (2,))", "y, z"),
    "integer sum": ("a: i32[3, 4]", "y: i32[3] = reduce(add, (a,), (1,))", "y,"),
    "argmax": ("a: i32[6, 20]", "v, ix = reduce(argmax, (a,), (1,)) @ (i32[6], i64[6])", "v, ix"),
    "argmin over all": ("x: f32[4, 5]", "v, ix = reduce(argmin, (x,), (0, 1)) @ (f32[()], i64[()])", "v, ix"),
    "log-sum": ("m: f32[3, 6], s: f32[3, 6]", "a, b = reduce(lse, (m, s), (1,)) @ (f32[3], f32[3])", "a, b"),
    "welford": ("n: f32[3, 4], m: f32[3, 4], q: f32[3, 4]", "a, b, c = reduce(welford, (n, m, q), (1,)) @ (f32[3], f32[3], f32[3])", "a, b, c"),
    "contract": ("x: f32[2, 3, 4], w: f32[2, 5, 4]", "y: f32[5, 2, 3] = contract('bmk,bnk->nbm', x, w)", "y,"),
    "contract of bytes": ("x: u8[3, 4], w: i8[4, 5]", "y: i32[3, 5] = contract('mk,kn->mn', x, w)", "y,"),
    "conv": ("x: f32[2, 4, 7, 6], w: f32[6, 2, 3, 2]", "y: f32[2, 6, 4, 5] = conv(x, w, (2, 1), (1, 0), (1, 1), 2, False, ())", "y,"),
    "conv transposed": ("x: f32[1, 4, 5], w: f32[4, 3, 3]", "y: f32[1, 3, 11] = conv(x, w, (2,), (0,), (1,), 1, True, (0,))", "y,"),
    "windows": ("x: f32[2, 7, 6]", "y: f32[2, 4, 3] = window(max, (x,), (3, 2), (2, 2), (1, 0), (1, 1))\n    z: f32[2, 3, 6] = window(add, (x,), (3, 1), (2, 1), (1, 0), (2, 1))", "y, z"),
    "windows with places": ("x: f32[2, 6]", "v, ix = window(argmax, (x,), (3,), (2,), (1,), (1,)) @ (f32[2, 3], i64[2, 3])", "v, ix"),
    "scans": ("x: f32[3, 5]", "y: f32[3, 5] = scan(add, (x,), 1)\n    z: f32[3, 5] = scan(mul, (x,), 0)\n    m: f32[3, 5] = scan(max, (x,), 1)", "y, z, m"),
    "scan with places": ("a: i32[3, 9]", "v, ix = scan(argmax, (a,), 1) @ (i32[3, 9], i64[3, 9])", "v, ix"),
    "sort": ("a: i32[3, 20]", "v, ix = sort(a, 1, True) @ (i32[3, 20], i64[3, 20])\n    u, jx = sort(a, 0, False) @ (i32[3, 20], i64[3, 20])", "v, ix, u, jx"),
    "scatter": ("x: f32[4, 5], k: i64[6, 5] @ within(0, 4), s: f32[6, 5]", "y: f32[4, 5] = scatter(x, k, s, 0, None)\n    z: f32[4, 5] = scatter(x, k, s, 0, add)", "y, z"),
    "extern": ("x: f32[4, 4]", "y: f32[4, 4] = extern('aten.tril.default', x)", "y,"),
}  # fmt: skip


def graph_of(name):
    signature, nodes, result = NODES[name]
    return parse_graph(f"def g({signature}):\n    {nodes}\n    return {result}\n")


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", NODES)
def test_agrees_with_the_interpreter(name, wide):
    graph = graph_of(name)
    torch.manual_seed(3)
    values = draw_inputs(graph, {})
    given = {i.name: to_numpy(v) for i, v in zip(graph.inputs, values)}
    wanted = run_graph(graph, given, numpy_externs, float64=wide)
    model = GraphModel(graph, {}).double() if wide else GraphModel(graph, {})
    made = model(*[v.double() if wide and v.is_floating_point() else v for v in values])
    for output, got in zip(graph.outputs, made, strict=True):
        want = wanted[output]
        got = got.float() if got.dtype is torch.bfloat16 else got
        assert got.numpy().dtype == want.dtype
        tolerance = 1e-12 if wide and name != "extern" else 1e-5
        np.testing.assert_allclose(got.numpy(), want, rtol=tolerance, atol=tolerance)


def test_a_load_out_of_bounds_is_an_error():
    graph = parse_graph("def g(x: f32[5]):\n    y: f32[9] = map(select(i0 >= 2, x[i0 - 2], 0.0))\n    return y,\n")
    with pytest.raises(OutOfBounds, match="extent 5"):
        GraphModel(graph, {})(torch.zeros(5))


def test_weights_are_state_params_first_and_names_may_clash_with_modules():
    text = "def g(float: f32[2], b: buffer.i64[2] @ within(0, 2), training: param.f32[2]):\n    y: f32[2] = map(float[b[i0]] * training[i0])\n    return y,\n"
    model = GraphModel(parse_graph(text), {})
    assert [tuple(v.shape) for v in model.state_dict().values()] == [(2,), (2,)]
    assert list(model.state_dict())[1] == "b"
    assert model(torch.ones(2))[0].shape == (2,)


def test_inputs_suit_the_graph():
    root = parse_graph("def g(x: f32[64]):\n    y: f32[64] = map(sqrt(x[i0]))\n    return y,\n")
    assert choose_draw(root, {}, GraphModel(root, {})).positive
    pick = parse_graph("def g(x: f32[7], k: i64[64]):\n    y: f32[64] = map(x[k[i0]])\n    return y,\n")
    assert choose_draw(pick, {}, GraphModel(pick, {})).indices
    assert not DRAWS[0].positive


DYNAMIC = (
    "# dims: N=33\ndef g(M: dim[1, 8], N: dim[2, 300], x: f32[M, N]):\n    s: f32[M] = reduce(add, (x,), (1,))\n    return s,\n"
)


def test_sizes_come_from_the_task_the_text_and_the_ranges():
    graph = parse_graph(DYNAMIC)
    task = Task("g", "graph", DYNAMIC)
    assert own_sizes(graph, sizes_said(task)) == {"M": 8, "N": 33}
    others = other_sizes(graph, {"M": 8, "N": 33})
    assert {"M": 1, "N": 2} in others and len(others) == 3
    assert [sizes_said(t) for t in other_shapes(task)] == others
    values = GraphTask(others and Task("g", "graph", DYNAMIC, dims="M=2, N=5")).get_inputs()
    assert values[:2] == [2, 5] and values[2].shape == (2, 5)
    with pytest.raises(ParseError, match="no size"):
        sizes_said(Task("g", "graph", DYNAMIC, dims="M"))


def test_task_files_of_text(tmp_path):
    (tmp_path / "g.graph").write_text(DYNAMIC)
    task = read_task(tmp_path / "g.graph")
    assert task.kind == "graph" and Task.from_json(task.to_json()) == task
    assert kind_of_text("def k(x: f32[4], y: f32[4]):\n    for i in serial(0, 4):\n        y[i] = x[i]\n") == "kernel"
    (tmp_path / "bad.graph").write_text("def g(x: f32[4]):\n    y: f32[4] = mapp(x[i0])\n    return y,\n")
    with pytest.raises(WarploomError) as caught:
        read_task(tmp_path / "bad.graph")
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


SUM = """#include <cstdint>
extern "C" void kernel(int64_t M, int64_t N, const float* x, float* s) {
  for (int64_t i = 0; i < M; i++) {
    float t = 0;
    for (int64_t j = 0; j < END; j++) t += x[i * N + j];
    s[i] = t;
  }
}
"""


@pytest.mark.skipif(sandbox.unavailable() is not None, reason="no sandbox on this machine")
def test_verdicts_at_other_sizes():
    task = Task("g", "graph", DYNAMIC)
    with Judge(Settings(measure=False)) as judge:
        right = judge.verdict(task, Candidate("sum.cpp", "c++", SUM.replace("END", "N")))
        cheat = judge.verdict(task, Candidate("sum.cpp", "c++", SUM.replace("END", "(N == 33 ? N : N - N % 4)")))
    assert right.accepted, right.findings
    assert any("also right at M=1, N=2" in note for note in right.notes)
    assert not cheat.accepted and "N=" in cheat.findings[0].where


UPDATES = """def g(x: f32[32, 6], s: f32[6]):
    t: f32[6] = reduce(add, (x,), (0,))
    n: f32[6] = map(s[i0] * 0.9 + t[i0] * 0.1)
    y: f32[32, 6] = map(x[i0, i1] - t[i1])
    update(s, n)
    return y,
"""
MOVES = """extern "C" void kernel(const float* x, const float* s, float* y, float* n) {
  for (int j = 0; j < 6; j++) {
    float t = 0;
    for (int i = 0; i < 32; i++) t += x[i * 6 + j];
    for (int i = 0; i < 32; i++) y[i * 6 + j] = x[i * 6 + j] - t;
    n[j] = s[j] * 0.9f + t * SHARE;
  }
}
"""


@pytest.mark.skipif(sandbox.unavailable() is not None, reason="no sandbox on this machine")
def test_what_a_graph_updates_is_judged():
    task = Task("g", "graph", UPDATES)
    with Judge(Settings(measure=False)) as judge:
        right, wrong = (judge.verdict(task, Candidate("g.cpp", "c++", MOVES.replace("SHARE", s))) for s in ("0.1f", "0.2f"))
    assert right.accepted, right.findings
    assert "wrong-result" in wrong.reasons and "output 1" in wrong.findings[0].where
