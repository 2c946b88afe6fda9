# ruff: noqa: F821 - kernel text uses names that Python does not know
"""What someone writes who knows the tutorial alone: row softmax, bias-GELU and a 3x3 stencil, and the errors met on the way."""

from __future__ import annotations

import pytest
import torch
import warploom
from warploom.ir.diagnostic import IllegalProgram, IllegalStep, InputMismatch, ParseError, TypeMismatch, WarploomError


@warploom.kernel
def softmax(x: f32[M, N], y: f32[M, N]):
    for i in serial(M):
        m: local.f32[1]
        s: local.f32[1]
        m[0] = -inf
        s[0] = 0.0
        for j in serial(N):
            reduce(max, m[0], x[i, j])
        for k in serial(N):
            s[0] += exp(x[i, k] - m[0])
        for o in serial(N):
            y[i, o] = exp(x[i, o] - m[0]) / s[0]


@warploom.kernel
def bias_gelu(x: f32[M, N], b: f32[N], y: f32[M, N]):
    for i in serial(M):
        for j in serial(N):
            t: local.f32[1]
            t[0] = x[i, j] + b[j]
            y[i, j] = 0.5 * t[0] * (1.0 + erf(t[0] * 0.7071067811865476))


@warploom.kernel
def stencil(x: f32[H, W], w: f32[3, 3], y: f32[H, W]):
    for i in serial(H):
        for j in serial(W):
            s: local.f32[1]
            s[0] = 0.0
            for p in serial(3):
                for q in serial(3):
                    s[0] += select(i + p >= 1 and i + p <= H and j + q >= 1 and j + q <= W, x[i + p - 1, j + q - 1], 0.0) * w[p, q]
            y[i, j] = s[0]


SOFTMAX = """
split(j, 16, tail=cut); rfactor(j0, j1); bind(j1, vector)
split(k, 16, tail=cut); rfactor(k0, k1); bind(k1, vector)
split(o, 16, tail=cut); bind(o1, vector)
"""


@pytest.mark.parametrize("shape", [(5, 67), (1, 3), (3, 32)])
def test_row_softmax(shape):
    x = torch.randn(*shape) * 5
    fast = softmax.schedule(SOFTMAX)
    for k in (softmax, fast):
        torch.testing.assert_close(k(x), torch.softmax(x, -1), rtol=1e-5, atol=1e-6)
    assert "vector" in str(fast)


@pytest.mark.parametrize("shape", [(5, 67), (2, 8)])
def test_bias_gelu(shape):
    x, b = torch.randn(*shape) * 3, torch.randn(shape[1])
    fast = bias_gelu.schedule("split(j, 32, tail=cut); expand(j1); expand(j2); bind(j1, vector); bind(i, block)")
    for k in (bias_gelu, fast):
        torch.testing.assert_close(k(x, b), torch.nn.functional.gelu(x + b), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 40), (1, 1), (16, 16)])
def test_stencil(shape):
    x, w = torch.randn(*shape), torch.randn(3, 3)
    want = torch.nn.functional.conv2d(x[None, None], w[None, None], padding=1)[0, 0]
    fast = stencil.schedule("unroll(q); unroll(p); split(j, 16); expand(j1); bind(j1, vector); bind(i, block)")
    for k in (stencil, fast):
        torch.testing.assert_close(k(x, w), want, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------------ errors
def told(error: type[WarploomError], run) -> tuple[str, str]:
    """(the one line, what a traceback shows below it)."""
    with pytest.raises(error) as e:
        run()
    line = str(e.value)
    assert "\n" not in line and len(line) < 400
    return line, "\n".join(getattr(e.value, "__notes__", []))


def test_an_illegal_reorder():
    text = "def carry(x: f32[n, n], y: f32[n, n]):\n for i in serial(1, n):\n  for j in serial(n - 1):\n   y[i, j] = y[i - 1, j + 1] + x[i, j]\n"
    line, shown = told(IllegalStep, lambda: warploom.kernel(text).schedule("reorder(j, i)"))
    assert "reorder(j, i)" in line and "this order matters" in line and "`y`" in line
    assert "y[i, j] = y[i - 1, j + 1] + x[i, j]\n     |             ^^^" in shown


def test_a_racing_bind():
    text = "def total(x: f32[n], y: f32[1]):\n y[0] = 0.0\n for i in serial(n):\n  y[0] = y[0] + x[i]\n"
    line, shown = told(IllegalStep, lambda: warploom.kernel(text).schedule.bind("i", "block"))
    assert "bind(i, block)" in line and "independence" in line and "meet in `y`" in line
    assert "y[0] = y[0] + x[i]\n     |         ^^^" in shown


def test_an_index_out_of_bounds():
    def write():
        @warploom.kernel
        def shifted(x: f32[n], y: f32[n]):
            for i in serial(n):
                y[i] = x[i + 1]

    line, shown = told(IllegalProgram, write)
    assert "in-bounds" in line and "`x[i + 1]`" in line and "0 <= i + 1 < n" in line
    assert "test_stranger.py:" in shown and "y[i] = x[i + 1]\n     |         ^^^" in shown.replace("                ", "        ")


def test_a_wrong_dtype():
    def write():
        @warploom.kernel
        def ramp(x: f32[n], y: f32[n]):
            for i in serial(n):
                y[i] = x[i] * i

    line, shown = told(IllegalProgram, write)
    assert "mixes f32 and i64" in line and "f32(...)" in line and "^^^" in shown
    line, _ = told(InputMismatch, lambda: bias_gelu(torch.zeros(2, 2).double(), torch.zeros(2)))
    assert "torch.float64" in line and "expected torch.float32" in line


def test_typos():
    line, shown = told(ParseError, lambda: softmax.schedule("splt(j, 16)"))
    assert "did you mean `split`?" in line and "splt(j, 16)\n     | ^^^^" in shown
    line, _ = told(ParseError, lambda: softmax.schedule("split(j, 16, tial=cut)"))
    assert "did you mean `tail`?" in line
    line, _ = told(IllegalStep, lambda: softmax.schedule("split(jj, 16)"))
    assert "there is no axis `jj`" in line and "did you mean `j`?" in line
    line, _ = told(IllegalStep, lambda: softmax.schedule("bind(j, vectro)"))
    assert "did you mean `vector`?" in line
    line, shown = told(ParseError, lambda: warploom.kernel("def f(x: f32[n]):\n for i in serail(n):\n  x[i] = 1.0\n"))
    assert "serial" in line and "serail(n)" in shown
    line, _ = told(ParseError, lambda: warploom.kernel("def f(x: f32[n]):\n for i in serial(n):\n  x[i] = expp(x[i])\n"))
    assert "did you mean `exp`?" in line


def test_what_python_is_and_this_is_not():
    line, _ = told(ParseError, lambda: warploom.kernel("def f(x: f32[n]):\n for i in serial(n):\n  t = x[i]\n  x[i] = t\n"))
    assert "no scalar variables" in line and "t: local.f32[1]" in line
    line, shown = told(ParseError, lambda: warploom.kernel("def f(x: f32[n]):\n while True:\n  x[0] = 1.0\n"))
    assert "While is not a statement" in line and "^^^" in shown
    assert issubclass(TypeMismatch, WarploomError)
    with pytest.raises(ParseError, match="cannot be read"):
        warploom.kernel(len)
