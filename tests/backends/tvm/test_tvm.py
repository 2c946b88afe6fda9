"""TVM as a second opinion: our CPU code, TVM's through LLVM and TVM's CUDA in the emulator against float64, operator by operator."""

import contextlib

import numpy as np
import pytest
import torch
from graphs import NODES, REFUSED, graph_of, together
from warploom.backends.cpu.build import build, printed
from warploom.backends.cpu.host import host
from warploom.backends.cpu.runtime import load
from warploom.backends.cuda.emulated import Emulated
from warploom.backends.cuda.nvrtc import available, compile_cubin
from warploom.backends.emulator.isolate import in_child
from warploom.backends.tvm import client
from warploom.backends.tvm.errors import TvmFailed, Untranslated
from warploom.evaluation.graph_model import draw_inputs
from warploom.ir.diagnostic import MissingTool
from warploom.ir.interpret_graph import run_graph
from warploom.passes.pipeline import plan

needs_tvm = pytest.mark.skipif(client.version() is None, reason="TVM is not installed")


@pytest.fixture(scope="module")
def asked():
    """(graph, inputs, output -> operator, float64 outputs)."""
    graph, names = together({name: graph_of(*text) for name, text in NODES.items()})
    torch.manual_seed(5)
    given = {i.name: t.numpy() for i, t in zip(graph.inputs, draw_inputs(graph, {}))}
    return graph, given, names, run_graph(graph, given, float64=True)


def _wrong(asked, made):
    graph, _, names, wanted = asked
    types = graph.types()
    wrong = []
    for output, name in names.items():
        want, got = wanted[output], made[output]
        if got.shape != want.shape:
            wrong.append(f"{name}: shape {got.shape}")
        elif types[output].dtype.startswith("f"):
            slack = {"f64": 1e-9, "f32": 3e-5, "f16": 4e-3}[types[output].dtype]
            close = np.isclose(got, want, rtol=slack, atol=slack * np.abs(want[np.isfinite(want)]).max(initial=1.0), equal_nan=True)
            wrong += [] if close.all() else [f"{name}: {got[~close][0]} for {want[~close][0]}"]
        elif not np.array_equal(got, want):
            wrong.append(f"{name}: {got[got != want][0]} for {want[got != want][0]}")
    return wrong


@needs_tvm
def test_our_code_and_tvm_agree_on_the_cpu(asked):
    graph, given, _, _ = asked
    code = printed(plan(graph, host()), host().isa)
    ours = load(code.layout, build(code, host()), {})([torch.from_numpy(given[i.name]) for i in graph.inputs])
    assert _wrong(asked, {name: t.numpy() for name, t in zip(graph.outputs, ours)}) == []
    assert _wrong(asked, client.run_on_cpu(graph, given)) == []


@needs_tvm
def test_dlight_cuda_agrees_in_the_emulator(asked):
    graph, given, _, _ = asked
    made = client.cuda_program(graph)
    assert {"Matmul", "Reduction", "Fallback"} <= set(made.rules.values()) and set(made.rules) == {k.name for k in made.program.kernels}
    assert _wrong(asked, Emulated(made.program).run(given)) == []
    if available():
        assert all(len(compile_cubin(made.program.source, arch)) > 1000 for arch in ("sm_80", "sm_90"))


@needs_tvm
def test_a_program_is_complete():
    graph = graph_of(*NODES["softmax"])
    program = client.cuda_program(graph).program
    buffers = {b.name: b for b in program.buffers}
    assert buffers["x"].role == "in" and buffers["y"].role == "out" and {b.role for b in buffers.values()} == {"in", "out", "temp"}
    kernels = {k.name: k for k in program.kernels}
    for x in program.launches:
        assert len(x.args) == len(kernels[x.kernel].params) and set(x.args) <= set(buffers)
        assert f"__launch_bounds__({x.block[0] * x.block[1] * x.block[2]})" in kernels[x.kernel].text
    assert not [p for k in program.kernels for p in k.params if p.endswith("_ptr")] and "0x" not in program.source


@needs_tvm
def test_names_that_are_words_of_c_stay_apart():
    graph = graph_of("short: f32[40], mask: f32[40]", "y: f32[40] = map(short[i0] + mask[i0])")
    given = {"short": np.ones(40, np.float32), "mask": np.full(40, 2, np.float32)}
    assert (Emulated(client.cuda_program(graph).program).run(given)["y"] == 3).all()


@needs_tvm
def test_nan_is_kept_by_the_larger_of_two():
    graph = graph_of(*NODES["relu"])
    x = np.full((33, 40), np.nan, np.float32)
    assert np.isnan(client.run_on_cpu(graph, {"x": x})["y"]).all()
    assert np.isnan(Emulated(client.cuda_program(graph).program).run({"x": x})["y"]).all()


@needs_tvm
@pytest.mark.parametrize("name", REFUSED)
def test_what_tvm_has_not_is_named(name):
    with pytest.raises(Untranslated, match=rf"\b{name}\b") as e:
        client.cuda_program(graph_of(*REFUSED[name]))
    assert "\n" not in str(e.value) and e.value.code == "WL-E059"


@needs_tvm
def test_a_process_that_ends_is_replaced():
    graph = graph_of(*NODES["relu"])
    client.cuda_program(graph)
    process = client._process().process
    process.kill()
    process.wait()
    assert client.cuda_program(graph).program.launches
    with pytest.raises(TvmFailed) as e:
        client._process().ask({"ask": "nothing"})
    assert "\n" not in str(e.value)
    client._process().process.kill()  # as if it ended while it is asked: said, then replaced
    with contextlib.suppress(TvmFailed):
        client.cuda_program(graph)
    assert client.cuda_program(graph).program.launches


@needs_tvm
def test_a_fork_asks_a_process_of_its_own():
    graph = graph_of(*NODES["relu"])
    client.cuda_program(graph)
    first = client._process().process.pid

    def ask() -> tuple[int, int]:
        launches = client.cuda_program(graph).program.launches
        return len(launches), client._process().process.pid

    launches, other = in_child(ask)
    assert launches == 1 and other != first
    assert client.cuda_program(graph).program.launches and client._process().process.pid == first


def test_absence_is_one_line(monkeypatch):
    monkeypatch.setattr(client, "version", lambda: None)
    client._process.cache_clear()
    try:
        with pytest.raises(MissingTool, match="TVM is not installed") as e:
            client.cuda_program(graph_of(*NODES["relu"]))
    finally:
        client._process.cache_clear()
    assert e.value.exit_code == 3 and "warploom[tvm]" in str(e.value)
