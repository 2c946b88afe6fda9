"""The runtime on small modules: shapes, views, updates, ATen steps, weights that change, threads, forks."""

import os
import resource
import threading

import pytest
import torch
from warploom.backends.cpu.allocator import pool
from warploom.backends.cpu.build import build as build_library
from warploom.backends.cpu.build import printed
from warploom.backends.cpu.host import host
from warploom.backends.cpu.runtime import Runtime, load
from warploom.ir.diagnostic import InputMismatch
from warploom.ir.expr import Const, Var
from warploom.ir.graph import Extern, Input, Node, Ref, TensorType, Value
from warploom.ir.module import Aten, Launch, Module
from warploom.ir.text import parse_program
from warploom.ir.types import Dim


def integers(*shape: int, **options) -> torch.Tensor:
    """Small whole numbers, on which float arithmetic is exact."""
    return torch.randint(-9, 9, shape).float().requires_grad_(options.get("requires_grad", False))


def pointwise(name: str, formula: str, *sources: str, extent: str = "4096", dims: str = "") -> Launch:
    """A launch that computes y[i] = formula."""
    params = ", ".join([*(f"{s}: f32[{extent}]" for s in sources), f"y: f32[{extent}]"])
    text = f"def {name}({dims}{params}):\n    for i in serial(0, {extent}):\n        y[i] = {formula}\n"
    program = parse_program(text)
    return Launch(program, (), program, "")


def run(launch: Launch, *args: str) -> Launch:
    return Launch(launch.program, args, launch.naive, "")


def build(module: Module, weights=None, threads=None) -> Runtime:
    code = printed(module, host().isa)
    return load(code.layout, build_library(code, host()), weights or {}, threads)


def f32(*shape) -> TensorType:
    return TensorType("f32", tuple(Const(d) if isinstance(d, int) else d for d in shape))


def module(inputs, steps, outputs, names, updates=(), views=None, dims=()) -> Module:
    types = {i.name: i.type for i in inputs} | names
    return Module("m", dims, tuple(inputs), tuple(steps), outputs, updates, types, views or {})


ADD = pointwise("add", "a[i] + b[i]", "a", "b")
TWICE = pointwise("twice", "a[i] * 2.0", "a")
INC = pointwise("inc", "a[i] + 1.0", "a")
X = Input("x", f32(4096))


def aten(target: str, out: str, *refs: str) -> Aten:
    return Aten(Node((Value(out, f32(4096)),), Extern(target, tuple(Ref(r) for r in refs))))


@pytest.fixture(scope="module")
def chain() -> Runtime:
    steps = [run(TWICE, "x", "t"), run(INC, "t", "u"), run(ADD, "u", "x", "y")]
    return build(module([X], steps, ("y",), {n: f32(4096) for n in "tuy"}))


def test_chain_shares_memory_with_its_output(chain):
    x = integers(4096)
    assert torch.equal(chain([x])[0], x * 2 + 1 + x)
    assert not chain.layout.sharing.temporaries  # t and u live in y


def test_outputs_are_fresh_while_held(chain):
    x = integers(4096)
    first = chain([x])[0]
    second = chain([x + 1])[0]
    assert torch.equal(first, 3 * x + 1) and first.data_ptr() != second.data_ptr()


def test_non_contiguous_input(chain):
    x = integers(8192)[::2]
    assert torch.equal(chain([x])[0], x * 2 + 1 + x)


@pytest.mark.parametrize(
    "bad", [integers(4095), integers(4096).double(), integers(64, 64), 3.0, integers(4096, requires_grad=True)]
)
def test_bad_input_is_one_line(chain, bad):
    with pytest.raises(InputMismatch) as caught:
        chain([bad])
    assert "\n" not in str(caught.value) and "x" in str(caught.value)


def test_input_that_requires_grad_is_taken_without_grad(chain):
    with torch.no_grad():
        chain([integers(4096, requires_grad=True)])


def test_a_stepper_s_memory_has_been_touched():
    size = 3 << 20
    launch = pointwise("far", "x[i] + 1.0", "x", extent=str(size))
    runtime = build(module([Input("x", f32(size))], [run(launch, "x", "y")], ("y",), {"y": f32(size)}))
    step = runtime.stepper([integers(size)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(0, 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 4 * size / 4096 / 100


def test_aten_between_launches():
    steps = [run(TWICE, "x", "t"), aten("aten.relu.default", "r", "t"), run(INC, "r", "u"), run(ADD, "u", "t", "y")]
    steps.append(aten("aten.neg.default", "z", "u"))
    runtime = build(module([X], steps, ("y", "z"), {n: f32(4096) for n in "truyz"}))
    x = integers(4096)
    y, z = runtime([x])
    u = (2 * x).relu() + 1
    assert torch.equal(y, u + 2 * x) and torch.equal(z, -u)


def test_aten_answer_that_is_a_view_of_a_temporary_is_kept_apart():
    steps = [
        run(TWICE, "x", "t"),
        aten("aten.alias.default", "v", "t"),
        run(INC, "x", "u"),
        run(INC, "u", "w"),
        run(ADD, "v", "w", "y"),
    ]
    runtime = build(module([X], steps, ("y", "v"), {n: f32(4096) for n in "tvuwy"}))
    x = integers(4096)
    y, v = runtime([x])
    runtime([x + 5])
    assert torch.equal(v, 2 * x) and torch.equal(y, 2 * x + (x + 2))


def test_reshaped_outputs_and_inputs_handed_out():
    steps = [run(TWICE, "x", "y")]
    types = {"y": f32(4096), "y2": f32(64, 64), "x2": f32(16, 256)}
    runtime = build(module([X], steps, ("y2", "x2", "x", "y"), types, views={"y2": "y", "x2": "x"}))
    x = integers(4096)
    y2, x2, same, y = runtime([x])
    assert torch.equal(y2, (2 * x).view(64, 64)) and torch.equal(x2, x.view(16, 256)) and same is x
    assert y.data_ptr() == y2.data_ptr()


@pytest.mark.parametrize("dense", [True, False])
def test_updates_reach_buffers_and_inputs(dense):
    owner = {"count": torch.zeros(4096) if dense else torch.zeros(8192)[::2]}
    inputs = [X, Input("count", f32(4096), "buffer")]
    steps = [run(INC, "count", "n"), run(ADD, "x", "count", "y"), run(TWICE, "x", "x2")]
    runtime = build(
        module(inputs, steps, ("y",), {n: f32(4096) for n in ("n", "y", "x2")}, (("count", "n"), ("x", "x2"))),
        {"count": (owner, "count")},
    )
    version = owner["count"]._version
    for step in range(3):
        x = integers(4096) if dense else integers(8192)[::2]
        before = x.clone()
        (y,) = runtime([x])
        assert torch.equal(y, before + step) and torch.equal(x, before * 2)
        assert torch.equal(owner["count"], torch.full((4096,), step + 1.0))
    assert owner["count"]._version > version


def test_update_with_another_input():
    inputs = [X, Input("last", f32(4096), "buffer")]
    owner = {"last": torch.zeros(4096)}
    runtime = build(
        module(inputs, [run(INC, "last", "y")], ("y",), {"y": f32(4096)}, (("last", "x"),)), {"last": (owner, "last")}
    )
    x = integers(4096)
    assert torch.equal(runtime([x])[0], torch.ones(4096)) and torch.equal(owner["last"], x)
    assert torch.equal(runtime([x])[0], x + 1)


def test_weights_are_read_on_every_call():
    owner = {"w": torch.ones(4096)}
    runtime = build(
        module([X, Input("w", f32(4096), "param")], [run(ADD, "x", "w", "y")], ("y",), {"y": f32(4096)}), {"w": (owner, "w")}
    )
    x = integers(4096)
    assert torch.equal(runtime([x])[0], x + 1)
    owner["w"].fill_(3)
    assert torch.equal(runtime([x])[0], x + 3)
    for replacement in (torch.full((4096,), 5.0), torch.arange(8192.0)[::2], torch.arange(8192.0)[::2] + 1):
        owner["w"] = replacement
        assert torch.equal(runtime([x])[0], x + replacement)
    owner["w"] = torch.ones(5)
    with pytest.raises(InputMismatch, match="param w"):
        runtime([x])


def test_symbolic_dims():
    doubled = pointwise("doubled", "a[i] * 2.0", "a", extent="n", dims="n: dim[1, 100], ")
    x, y = Input("x", f32(Var("n"))), {"t": f32(Var("n")), "y": f32(Var("n"))}
    runtime = build(module([x], [run(doubled, "x", "t"), run(doubled, "t", "y")], ("y",), y, dims=(Dim("n", 1, 100),)))
    for n in (1, 7, 100, 7):
        value = integers(n)
        assert torch.equal(runtime([value])[0], value * 4)
    with pytest.raises(InputMismatch, match=r"1\.\.100"):
        runtime([integers(101)])


def test_index_range_is_checked():
    ix = Input("ix", TensorType("i64", (Const(4),)), within=(Const(0), Const(10)))
    runtime = build(module([X, ix], [run(INC, "x", "y")], ("y",), {"y": f32(4096)}))
    runtime([integers(4096), torch.tensor([0, 9, 3, 1])])
    with pytest.raises(InputMismatch, match=r"0\.\.9"):
        runtime([integers(4096), torch.tensor([0, 10, 3, 1])])


def test_threads_do_not_share_memory(chain):
    wrong = []

    def work(seed: int) -> None:
        x = torch.full((4096,), float(seed))
        for _ in range(200):
            if not bool((chain([x])[0] == 3 * seed + 1).all()):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_forked_child_answers(chain):
    x = integers(4096)
    expected = chain([x])[0]
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(chain([x])[0], expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_allocator_off(chain, monkeypatch):
    monkeypatch.setattr(pool, "enabled", False)
    x = integers(4096)
    assert torch.equal(chain([x])[0], 3 * x + 1)
