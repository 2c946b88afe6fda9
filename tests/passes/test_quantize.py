"""Quantisation: the rewritten Graph is exact arithmetic, patterns and sites are named, the error is measured and a ruined model refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import warploom
from warploom.compiler import CompileRequest, run_compile
from warploom.evaluation.lossy import against_meaning, measure, relative
from warploom.frontend.torch_export import export_model
from warploom.ir.diagnostic import TypeMismatch
from warploom.ir.graph_text import parse_graph, print_graph
from warploom.ir.interpret import run_program, shape_of
from warploom.ir.interpret_graph import run_graph
from warploom.ir.kernel import Call, statements
from warploom.ir.machine import Machine
from warploom.ir.module import Launch
from warploom.ir.numerics import Inaccurate
from warploom.ir.verify_graph import verify_graph
from warploom.passes.pipeline import plan
from warploom.passes.quantize import FAMILY, UnknownPass, quantize, rewrite_only
from warploom.passes.quantize.family import NothingToRewrite

MACHINES = {
    "vnni": Machine("m", "avx512", 1, 1 << 15, 1 << 20, 1 << 24, frozenset({"avx512_vnni", "avx512_bf16"})),
    "portable": Machine("m", "portable", 1, 1 << 15, 1 << 20, 1 << 24),
}


class Mlp(torch.nn.Module):
    def __init__(self, width=24, hidden=36):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(width, hidden), torch.nn.Linear(hidden, width, bias=False)
        self.w = torch.nn.Parameter(torch.randn(width, 18))

    def forward(self, x):
        return torch.relu(self.fc2(torch.relu(self.fc1(x)))) @ self.w


def exported(model, x, dynamic=None):
    graph = export_model(model, (x,), None, dynamic)
    arrays = {name: w.detach().numpy() for name, w in graph.weights.items()}
    return graph.graph, arrays | {i.name: x.numpy() for i in graph.graph.inputs if i.role == "input"}


def int8_linear(x, w):
    """What the pass means, in NumPy: x[m, k], w[n, k]."""
    def steps(a):
        top = np.abs(a).max(1)
        return top, np.where(top > 0, np.float32(127) / np.where(top > 0, top, 1), 0).astype(np.float32)

    (xt, xs), (wt, ws) = steps(x), steps(w)
    xq = np.round(x * xs[:, None]).astype(np.int64)
    wq = np.round(w * ws[:, None]).astype(np.int64)
    scale = (xt * np.float32(1 / 127))[:, None] * (wt * np.float32(1 / 127))[None]
    return (xq @ wq.T).astype(np.float32) * scale


@pytest.mark.parametrize("depth", [16, 33, 130])
def test_int8_is_what_it_says(depth):
    torch.manual_seed(0)
    model = torch.nn.Linear(depth, 20, bias=False)
    x = torch.randn(7, depth)
    x[3] = 0
    graph, given = exported(model, x)
    after = quantize("quantize:int8", graph).after
    got = run_graph(after, given)[after.outputs[0]]
    np.testing.assert_allclose(got, int8_linear(x.numpy(), model.weight.detach().numpy()), rtol=1e-6, atol=1e-7)
    assert np.all(got[3] == 0)
    assert parse_graph(print_graph(after)) == after


def test_sites_and_patterns_are_named():
    graph, _ = exported(Mlp(), torch.randn(5, 24))
    for name in FAMILY:
        r = quantize(name, graph)
        assert [(s.layer, s.pattern) for s in r.sites] == [
            ("fc1", "linear"), ("fc2", "linear"), ("aten.matmul.default", "matmul_by_weight"),
        ]  # fmt: skip
        assert r.after.outputs == r.before.outputs and r.after.inputs == r.before.inputs
        alone = rewrite_only(r, r.sites[1])
        assert len(alone.nodes) < len(r.after.nodes)


def test_an_operand_of_several_products_is_rounded_once():
    class Three(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v = (torch.nn.Linear(32, 32) for _ in range(3))

        def forward(self, x):
            return self.q(x) + self.k(x) * self.v(x)

    graph, _ = exported(Three(), torch.randn(4, 32))
    after = quantize("quantize:int8", graph).after
    rounded = [v for n in after.nodes for v in n.outputs if v.type.dtype == "u8"]
    assert len(rounded) == 1 and len(quantize("quantize:int8", graph).sites) == 3


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", FAMILY)
def test_scheduled_kernels_mean_the_same(name, machine):
    torch.manual_seed(0)
    graph, _ = exported(torch.nn.Linear(18, 21), torch.randn(5, 18))
    module = plan(quantize(name, graph).after, MACHINES[machine])
    rng = np.random.default_rng(0)
    kinds = {"u8": (0, 256, np.uint8), "i8": (-127, 128, np.int8), "i32": (-50, 50, np.int32), "bf16": (-4, 5, np.float32), "f32": (-4, 5, np.float32)}
    calls = 0
    for launch in (*module.prepare, *(s for s in module.steps if isinstance(s, Launch))):
        calls += sum(isinstance(s, Call) for s in statements(launch.program.body))
        outputs = launch.naive.written()
        args = {}
        for b in launch.naive.params:
            if b.name not in outputs:
                lo, hi, kind = kinds[b.dtype]
                args[b.name] = rng.integers(lo, hi, shape_of(b, {})).astype(kind)
        want, got = run_program(launch.naive, {}, args), run_program(launch.program, {}, args)
        for output in outputs:
            np.testing.assert_allclose(got[output], want[output], rtol=1e-6)
    assert (calls > 0) == (machine == "vnni")


@pytest.mark.parametrize("dynamic", [None, {0: {0: ("rows", 3, 9)}}])
@pytest.mark.parametrize("name", FAMILY)
def test_compiled_is_the_exact_meaning(name, dynamic):
    torch.manual_seed(0)
    model, x = (Mlp(40, 70) if dynamic is None else torch.nn.Sequential(torch.nn.Linear(40, 70))).eval(), torch.randn(9, 40)
    fast = warploom.compile(model, (x,), passes=(name,), dynamic=dynamic)
    assert fast.lossy[0].distance <= fast.lossy[0].allowed and all(d.right for d in fast.differences)
    for rows in (9,) if dynamic is None else (3, 5, 8, 9):
        x = torch.randn(rows, 40)
        assert relative(fast(x).detach().numpy(), model(x).detach().numpy()) < 2 * fast.lossy[0].allowed
    assert name in fast.report.notes[0] and "(linear)" in fast.report.notes[0]
    told = fast.report.data()["numerics"]
    assert [t["pass"] for t in told] == [name] and told[0]["distance"] <= told[0]["allowed"] and told[0]["sites"]


def test_a_changed_weight_is_quantised_again():
    model = torch.nn.Linear(32, 16).eval()
    fast = warploom.compile(model, (torch.randn(4, 32),), passes=("quantize:int8",))
    x = torch.randn(4, 32)
    with torch.no_grad():
        model.weight.mul_(3.0)
    assert relative(fast(x).detach().numpy(), model(x).detach().numpy()) < 0.03


def test_a_ruined_model_is_refused_with_the_layer_named():
    torch.manual_seed(0)
    model = Mlp().eval()
    with torch.no_grad():
        model.fc1.bias[0] = 1e4  # one feature hides all others from 8 bits, and nothing of it is used
        model.fc2.weight[:, 0] = 0
    with pytest.raises(Inaccurate, match=r"3% is allowed; layer fc2 alone") as e:
        warploom.compile(model, (torch.randn(6, 24),), passes=("quantize:int8",))
    assert "\n" not in str(e.value)


def test_what_is_not_the_meaning_is_seen():
    graph, given = exported(torch.nn.Linear(64, 32), torch.randn(8, 64))
    after = quantize("quantize:int8", graph).after
    clean = run_graph(after, given)[after.outputs[0]]
    assert against_meaning(after, given, [clean])[0].right
    floats = run_graph(graph, given)[graph.outputs[0]]
    assert not against_meaning(after, given, [floats])[0].right
    assert 0 < measure(quantize("quantize:int8", graph), [given]).distance < 0.02


def test_unknown_passes_and_models_without_products():
    with pytest.raises(UnknownPass, match="quantize:int8, quantize:bf16"):
        warploom.compile(torch.nn.ReLU(), (torch.randn(4),), passes=("quantize:int3",))
    with pytest.raises(NothingToRewrite):
        warploom.compile(torch.nn.ReLU(), (torch.randn(4),), passes=("quantize:int8",))


def test_products_of_small_types_are_typed():
    text = "def g(a: u8[2, 8], b: i8[3, 8]):\n    y: i32[2, 3] = contract('mk,nk->mn', a, b)\n    return y,\n"
    verify_graph(parse_graph(text))
    for wrong in (text.replace("u8", "i16"), text.replace("i32[2", "i64[2"), text.replace("b: i8", "b: u8")):
        with pytest.raises(TypeMismatch):
            verify_graph(parse_graph(wrong))


def test_command(tmp_path, capsys):
    path = tmp_path / "model.py"
    path.write_text(
        "import torch\nclass Model(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.fc = torch.nn.Linear(32, 16)\n"
        "    def forward(self, x):\n        return self.fc(x)\ndef get_inputs():\n    return [torch.randn(4, 32)]\ndef get_init_inputs():\n    return []\n"
    )
    assert run_compile(CompileRequest(str(path), passes=("quantize:int8",), compare=False), True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and told["numerics"][0]["sites"] == [{"layer": "fc", "pattern": "linear"}]
    assert run_compile(CompileRequest(str(path), passes=("quantise:int8",), compare=False), True) == 2
