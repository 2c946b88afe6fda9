# ruff: noqa: F821 - kernel text uses names that Python does not know
"""Kernels by hand: what is read, the same schedule as text and as Python, calls, source, bench and explain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import warploom
from warploom.backends.manifest import UnknownTarget
from warploom.ir.diagnostic import InputMismatch, ParseError
from warploom.kernels.generate import steps_text
from warploom.kernels.handwritten import Schedule
from warploom.kernels.steps import Steps
from warploom.passes.schedule.script import STEPS


@warploom.kernel
def scale(x: global_.f32[n], y: global_.f32[n]):
    """Twice the input."""
    for i in serial(n):
        y[i] = x[i] * 2.0


@warploom.kernel
def running(x: f32[n], total: f32[n]):
    for i in serial(n):
        total[i] += x[i]


@warploom.kernel
def interior(x: f32[n + 2], y: f32[n + 2]):
    for i in serial(n):
        y[i + 1] = x[i] + x[i + 2]


@pytest.fixture(scope="module")
def x():
    return torch.randn(1000, generator=torch.Generator().manual_seed(0))


def test_the_method_table_is_the_step_table():
    assert (__import__("pathlib").Path(warploom.__file__).parent / "kernels/steps.py").read_text() == steps_text()
    for name in STEPS:
        assert getattr(Steps, name).__doc__ and name in dir(Schedule)


def test_text_and_methods_give_the_same_kernel(x):
    k = scale.schedule("split(i, 16, tail=cut); bind(i1, vector)")
    assert k == scale.schedule.split("i", 16, tail="cut").bind("i1", "vector")
    assert k == scale.schedule("split(i, 16, tail=cut)").schedule("bind(i1, vector)")
    assert k.script == "split(i, 16, tail=cut); bind(i1, vector)"
    assert "for i1 in vector(16)" in str(k) and "for i in serial(n)" in str(scale)
    assert torch.equal(k(x), x * 2.0)


def test_names_and_tuples_as_arguments():
    text = "def mm(A: f32[M, K], B: f32[K, N], C: f32[M, N]):\n for i in serial(M):\n  for j in serial(N):\n   C[i, j] = 0\n   for k in serial(K):\n    C[i, j] += A[i, k] * B[k, j]\n"
    k = warploom.kernel(text)
    assert [d.name for d in k.program.dims] == ["M", "K", "N"]
    by_text = k.schedule("fission(j); fission(i); rename(i, m, 1); rename(j, n, 1); reorder(k, m, n)")
    by_call = k.schedule.fission("j").fission("i").rename("i", "m", 1).rename("j", "n", 1).reorder("k", "m", "n")
    assert by_text == by_call
    assert k.schedule.stage("B", at="root", by=("j", "k")) == k.schedule("stage(B, at=root, by=(j, k))")
    with pytest.raises(ParseError):
        scale.schedule.split("i", "16")  # type: ignore[arg-type]
    with pytest.raises(ParseError):
        scale.schedule.split("i; bind", 16)


def test_calls(x):
    y = torch.empty_like(x)
    assert scale(x, y) is y and torch.equal(y, x * 2)
    assert torch.equal(scale(x[::2]), x[::2] * 2)
    assert isinstance(scale(x.numpy()), np.ndarray) and np.array_equal(scale(x.numpy()), x.numpy() * 2)
    assert torch.equal(running(x, torch.ones(1000)), x + 1)
    border = torch.full((1000,), 7.0)
    out = interior(x, border)
    assert out[0] == out[-1] == 7 and torch.equal(out[1:-1], x[:-2] + x[2:])


def test_what_a_call_may_leave_out():
    assert [b.name for b in scale.signature.made] == ["y"]
    assert [b.name for b in running.signature.in_out] == ["total"] and not running.signature.made
    assert [b.name for b in interior.signature.in_out] == ["y"]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: scale(), "takes 2 tensors, or 1 without its outputs"),
        (lambda x: scale(x.double()), "`x` is torch.float64, expected torch.float32"),
        (lambda x: scale(x.reshape(10, 100)), "`x` has the shape [10, 100], expected f32[n]"),
        (lambda x: scale(x, torch.empty(999)), "`y` has the shape [999], expected f32[n] with n=1000"),
        (lambda x: scale(x, x), "shares memory with `x`"),
        (lambda x: scale(x, torch.empty(2000)[::2]), "must be contiguous"),
        (lambda x: scale(x, m=3), "has no dim `m`"),
        (lambda x: scale("text"), "is no tensor"),
        (lambda x: interior(x[:2], x[:2].clone()), "`n` is 0, outside the range 1..inf"),
    ],
)
def test_bad_calls_are_one_line(x, call, message):
    with pytest.raises(InputMismatch) as e:
        call(x)
    assert message in str(e.value) and "\n" not in str(e.value)


def test_index_buffers_are_checked():
    k = warploom.kernel("def pick(p: i64[n] @ within(0, m), x: f32[m], y: f32[n]):\n for i in serial(n):\n  y[i] = x[p[i]]\n")
    x = torch.arange(5.0)
    assert k(torch.tensor([4, 0]), x).tolist() == [4, 0]
    with pytest.raises(InputMismatch, match="outside its range"):
        k(torch.tensor([5]), x)


def test_a_dim_that_no_shape_tells():
    k = warploom.kernel("def iota(y: i64[n]):\n for i in serial(n):\n  y[i] = i\n")
    assert k(n=4).tolist() == [0, 1, 2, 3]
    with pytest.raises(InputMismatch, match="pass n="):
        k()


def test_source():
    assert 'extern "C" void scale' in scale.source("cpu")
    with pytest.raises(UnknownTarget, match="no target 'fortran'"):
        scale.source("fortran")


def test_show_marks_what_changed(capsys):
    k = scale.schedule("split(i, 16, tail=cut); bind(i1, vector)")
    k.show()
    out = capsys.readouterr().out
    assert "step 1: bind(i1, vector)" in out
    assert [line.strip() for line in out.splitlines() if line[0] in "+-"] == ["-         for i1 in serial(16):", "+         for i1 in vector(16):"]
    k.show(0)
    assert "+     for i0 in serial(n // 16):" in capsys.readouterr().out
    scale.show()
    assert "+" not in capsys.readouterr().out.replace("+ ", "")


def test_bench_and_explain(x):
    m = scale.bench(x, against=lambda x: x * 2, budget_s=0.02)
    assert m.seconds > 0 and m.flops == 1000 and m.nbytes == 8000 and m.ratio is not None
    assert "GFLOP/s" in str(m) and "x the other" in str(m)
    e = scale.schedule("split(i, 16, tail=cut); bind(i1, vector)").explain(x)
    assert e.flops == 1000 and e.nbytes == 8000 and e.bound == "memory" and e.hottest == "`i1`"
    assert "100%" in str(e) and "flop/byte" in str(e)
    assert scale.explain(n=1000).nbytes == 8000


def test_explain_finds_the_loop():
    k = warploom.kernel(
        "def mm(A: f32[M, K], B: f32[K, N], C: f32[M, N]):\n for i in serial(M):\n  for j in serial(N):\n   C[i, j] = 0\n   for k in serial(K):\n    C[i, j] += A[i, k] * B[k, j]\n"
    )
    e = k.explain(M=64, N=64, K=64)
    assert e.hottest == "`k`" and any(line.limit == "latency" for line in e.lines) and e.bound == "arithmetic"
