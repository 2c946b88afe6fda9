"""Dtype rules: weak constants, strictness, and the place underlined in a program."""

import pytest
from warploom.ir.diagnostic import TypeMismatch
from warploom.ir.expr import Const, Op
from warploom.ir.text import parse_expr, parse_program
from warploom.ir.typing import check_program, infer_dtype, strong

BUFFERS = {"x": "f32", "d": "f64", "n": "i32", "b": "b1", "u": "u8"}

GOOD = {
    "1": "int-weak", "1.5": "float-weak", "inf": "int-weak", "True": "b1", "i + 1": "i64", "x[i] * 2": "f32",
    "x[i] * 2.0 + 1": "f32", "d[i] / 3": "f64", "1 / 2": "float-weak", "exp(x[i])": "f32", "x[i] < 0": "b1",
    "select(b[i], x[i], -inf)": "f32", "select(b[i], n[i], -inf)": "i32", "n[i] & 3": "i32", "b[i] & b[0]": "b1",
    "f32(i) * x[i]": "f32", "isnan(x[i]) or b[i]": "b1", "max(n[i], 0)": "i32", "~b[i]": "b1", "x[n[i]]": "f32",
    "select(x[i] == -inf, 0.0, d[0] * 2)": "f64", "1 + 2.0": "float-weak", "pow(x[i], 2)": "f32",
}  # fmt: skip
BAD = ["x[i] + d[i]", "x[i] * i", "n[i] + 1.5", "n[i] / 2", "exp(n[i])", "b[i] + 1", "x[i] & 1", "not n[i]", "x[x[i]]",
       "b[i] + b[0]", "isnan(b[i])", "x[inf]", "x[i + -inf]", "select(x[i], 1, 2)", "select(b[i], x[i], n[i])", "b[i] << 1", "q[i]", "b[i] == 1", "n[i] + u[i]"]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_infers(text):
    assert infer_dtype(parse_expr(text), BUFFERS) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_refuses(text):
    with pytest.raises(TypeMismatch):
        infer_dtype(parse_expr(text), BUFFERS)


def test_operands_are_counted():
    with pytest.raises(TypeMismatch, match="takes 1 operands, not 2"):
        infer_dtype(Op("exp", (Const(1.0), Const(1.0))), BUFFERS)


def test_strong_of_weak():
    assert [strong(d) for d in ("int-weak", "float-weak", "u8")] == ["i64", "f32", "u8"]


def test_program_place_is_underlined():
    p = parse_program("def f(x: f32[4], y: i32[4]):\n    for i in serial(4):\n        y[i] = x[i]\n")
    with pytest.raises(TypeMismatch) as e:
        check_program(p)
    assert "y[i] = x[i]\n     |         ^^^" in e.value.pretty()


@pytest.mark.parametrize(
    "monoid, dtypes",
    [("argmax", "f32 i64"), ("argmin", "i32 i64"), ("lse", "f32 f32"), ("welford", "f64 f64 f64"), ("any", "b1")],
)
def test_monoids_are_typed(monoid, dtypes):
    slots = dtypes.split()
    params = ", ".join(f"t{i}: {d}[1], v{i}: {d}[4]" for i, d in enumerate(slots))
    pair = [", ".join(f"{n}{i}[{x}]" for i in range(len(slots))) for n, x in (("t", "0"), ("v", "k"))]
    one = len(slots) == 1
    text = f"def f({params}):\n    for k in serial(4):\n        reduce({monoid}, {pair[0] if one else f'({pair[0]})'}, {pair[1] if one else f'({pair[1]})'})\n"
    check_program(parse_program(text))


def test_an_index_may_be_computed_from_floats_but_is_no_infinity():
    text = "def f(x: f32[4], y: f32[4]):\n    for i in serial(4):\n        y[i] = x[{}]\n"
    check_program(parse_program(text.format("min(i64(floor(f32(i) * 0.5)), 3)")))
    with pytest.raises(TypeMismatch):
        check_program(parse_program(text.format("min(i, inf)")))
