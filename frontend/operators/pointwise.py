"""Elementwise and broadcasting operators: functions of one tensor, of two, of three, and those with parameters."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .operator import Call, Given, Pick, Shape, Table

POINTWISE = Table()

for _name, _function in {
    "relu": F.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu, "silu": F.silu, "mish": F.mish, "softplus": F.softplus,
    "softsign": F.softsign, "elu": F.elu, "selu": F.selu, "relu6": F.relu6, "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid,
    "hardtanh": F.hardtanh, "logsigmoid": lambda x: -F.softplus(-x), "tanhshrink": F.tanhshrink, "exp2": lambda x: torch.exp2(x * 0.5), "abs": torch.abs,
    "neg": torch.neg, "square": torch.square, "sin": torch.sin, "cos": torch.cos, "erf": torch.erf, "atan": torch.atan, "floor": torch.floor,
    "ceil": torch.ceil, "round": torch.round, "trunc": torch.trunc, "sign": torch.sign, "expm1": lambda x: torch.expm1(x * 0.25), "frac": torch.frac,
    "sinc": torch.sinc, "asinh": torch.asinh, "erfc": torch.erfc, "squared_relu": lambda x: F.relu(x).square(), "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "exp": lambda x: torch.exp(x.clamp(-20, 20)),
}.items():  # fmt: skip
    POINTWISE.unary(_name, _function)
for _name, _function, _draw in (
    ("log", torch.log, "positive"), ("sqrt", torch.sqrt, "positive"), ("rsqrt", torch.rsqrt, "positive"), ("reciprocal", torch.reciprocal, "positive"),
    ("log1p", torch.log1p, "positive"), ("log2", torch.log2, "positive"), ("asin", torch.asin, "unit"), ("acos", torch.acos, "unit"),
    ("atanh", lambda x: torch.atanh(x * 0.9), "unit"), ("logit", lambda x: torch.logit(x, eps=1e-3), "unit"), ("acosh", lambda x: torch.acosh(x + 1.0), "positive"),
):  # fmt: skip
    POINTWISE.unary(_name, _function, draw=_draw)


@POINTWISE.add("leaky_relu", "elementwise")
def _leaky(pick: Pick, shape: Shape) -> Call:
    slope = pick.note("slope", 0.01, 0.1, 0.2, 0.3)
    return Call(lambda x: F.leaky_relu(x, slope))


@POINTWISE.add("clamp", "elementwise")
def _clamp(pick: Pick, shape: Shape) -> Call:
    low, high = pick.note("range", (-1.0, 1.0), (0.0, 6.0), (-0.5, 2.0), (-3.0, None))
    return Call(lambda x: torch.clamp(x, low, high))


@POINTWISE.add("celu", "elementwise")
def _celu(pick: Pick, shape: Shape) -> Call:
    alpha = pick.note("alpha", 0.5, 1.0, 2.0)
    return Call(lambda x: F.celu(x, alpha))


@POINTWISE.add("hardshrink", "elementwise")
def _hardshrink(pick: Pick, shape: Shape) -> Call:
    at = pick.note("lambda", 0.3, 0.5, 1.0)
    return Call(lambda x: F.hardshrink(x, at))


@POINTWISE.add("softshrink", "elementwise")
def _softshrink(pick: Pick, shape: Shape) -> Call:
    at = pick.note("lambda", 0.3, 0.5, 1.0)
    return Call(lambda x: F.softshrink(x, at))


@POINTWISE.add("threshold", "elementwise")
def _threshold(pick: Pick, shape: Shape) -> Call:
    at, value = pick.note("threshold", 0.0, 0.1, 0.5), pick.note("value", 0.0, -1.0, 20.0)
    return Call(lambda x: F.threshold(x, at, value))


@POINTWISE.add("power", "elementwise")
def _power(pick: Pick, shape: Shape) -> Call:
    exponent = pick.note("exponent", 2, 3, 4)
    return Call(lambda x: x**exponent)


@POINTWISE.add("scaled", "elementwise")
def _scaled(pick: Pick, shape: Shape) -> Call:
    scale, shift = pick.note("scale", 0.125, 0.5, 1.7, 2.0), pick.note("shift", 0.0, 1.0, -0.5)
    return Call(lambda x: x * scale + shift)


@POINTWISE.add("heaviside_gate", "elementwise")
def _step(pick: Pick, shape: Shape) -> Call:
    at = pick.note("at", 0.0, 0.5)
    return Call(lambda x: torch.where(x > at, x, x * 0.1 - at))


@POINTWISE.add("glu", "elementwise", "rows")
def _glu(pick: Pick, shape: Shape) -> Call | None:
    return Call(lambda x: F.glu(x, -1)) if shape[-1] % 2 == 0 else None


@POINTWISE.add("swiglu", "elementwise", "rows")
def _swiglu(pick: Pick, shape: Shape) -> Call | None:
    return Call(lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1]) if shape[-1] % 2 == 0 else None


@POINTWISE.add("geglu", "elementwise", "rows")
def _geglu(pick: Pick, shape: Shape) -> Call | None:
    return Call(lambda x: F.gelu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1]) if shape[-1] % 2 == 0 else None


@POINTWISE.add("prelu", "broadcast", "image")
def _prelu(pick: Pick, shape: Shape) -> Call:
    return Call(F.prelu, (Given("slope", (shape[1],), "float32", "unit"),))


# ------------------------------------------------------------------------------------------------ two and three operands
def _other(pick: Pick, shape: Shape) -> Shape:
    """A shape that broadcasts against `shape`: the same, a bias along the last axis, one value per row or per channel, a table."""
    if pick.chance(0.45) or len(shape) == 1:
        return shape
    kinds: list[Shape] = [shape[-1:], (*shape[:-1], 1), shape[1:]]
    if len(shape) >= 3:
        kinds.append((shape[1], *(1,) * (len(shape) - 2)))
    return pick.of(*kinds)


def _binary(name: str, function, draw: str = "normal") -> None:
    @POINTWISE.add(name, "broadcast")
    def make(pick: Pick, shape: Shape) -> Call:
        other = pick.note("other", _other(pick, shape))
        return Call(function, (Given("other", other, "float32", draw),))


for _name, _function, _draw in (
    ("add", torch.add, "normal"), ("subtract", torch.sub, "normal"), ("multiply", torch.mul, "normal"), ("divide", torch.div, "positive"),
    ("maximum", torch.maximum, "normal"), ("minimum", torch.minimum, "normal"), ("rsub_square", lambda x, y: (y - x).square(), "normal"),
    ("greater_mask", lambda x, y: torch.where(x > y, x, torch.zeros_like(x)), "normal"), ("copysign", lambda x, y: torch.where(y < 0, -x.abs(), x.abs()), "sign"), ("hypot", torch.hypot, "normal"),
    ("logaddexp", torch.logaddexp, "normal"), ("gate", lambda x, y: x * torch.sigmoid(y), "normal"), ("absolute_difference", lambda x, y: (x - y).abs(), "normal"),
    ("atan2", torch.atan2, "positive"), ("fmod", torch.fmod, "positive"), ("remainder", torch.remainder, "positive"), ("xlogy", lambda x, y: torch.xlogy(x.abs(), y), "positive"),
):  # fmt: skip
    _binary(_name, _function, _draw)


@POINTWISE.add("lerp", "broadcast")
def _lerp(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x, y, w: x + (y - x) * w, (Given("other", shape), Given("amount", _other(pick, shape), "float32", "unit")))


@POINTWISE.add("addcmul", "broadcast")
def _addcmul(pick: Pick, shape: Shape) -> Call:
    value = pick.note("value", 0.5, 1.0, 2.0)
    return Call(lambda x, a, b: torch.addcmul(x, a, b, value=value), (Given("left", shape), Given("right", _other(pick, shape))))


@POINTWISE.add("addcdiv", "broadcast")
def _addcdiv(pick: Pick, shape: Shape) -> Call:
    value = pick.note("value", 0.1, 1.0)
    return Call(lambda x, a, b: torch.addcdiv(x, a, b, value=value), (Given("left", shape), Given("right", shape, "float32", "positive")))


@POINTWISE.add("masked_fill", "broadcast")
def _masked_fill(pick: Pick, shape: Shape) -> Call:
    value = pick.note("value", 0.0, -1e4, 1.0)
    return Call(lambda x, m: x.masked_fill(m, value), (Given("mask", _other(pick, shape), "bool", "flag"),))


@POINTWISE.add("where", "broadcast")
def _where(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x, m, y: torch.where(m, x, y), (Given("condition", shape, "bool", "flag"), Given("other", _other(pick, shape))))


@POINTWISE.add("compare", "broadcast", inside=False)
def _compare(pick: Pick, shape: Shape) -> Call:
    relation = {"less": torch.lt, "greater_equal": torch.ge, "greater": torch.gt}[pick.note("relation", "less", "greater_equal", "greater")]
    return Call(relation, (Given("other", _other(pick, shape)),))


@POINTWISE.add("channel_affine", "broadcast", "image")
def _affine(pick: Pick, shape: Shape) -> Call:
    c = shape[1]
    return Call(lambda x, s, b: x * s[:, None, None] + b[:, None, None], (Given("scale", (c,), "float32", "scale"), Given("shift", (c,))))


@POINTWISE.add("position_add", "broadcast", "sequence")
def _position(pick: Pick, shape: Shape) -> Call:
    return Call(torch.add, (Given("positions", shape[1:]),))


@POINTWISE.add("fourier_features", "elementwise", "matrix")
def _fourier(pick: Pick, shape: Shape) -> Call:
    scale = pick.note("scale", 0.5, math.pi)
    return Call(lambda x: torch.cat([torch.sin(x * scale), torch.cos(x * scale)], -1))


@POINTWISE.add("bitwise_mix", "elementwise", inside=False)
def _bitwise(pick: Pick, shape: Shape) -> Call:
    left = Given("x", shape, "int32", "count", 1 << 20)
    return Call(lambda x, y: (x & y) | (x ^ 255), (Given("y", shape, "int32", "count", 1 << 20),), first=left)


@POINTWISE.add("integer_affine", "elementwise", inside=False)
def _integer(pick: Pick, shape: Shape) -> Call:
    by = pick.note("by", 3, 5, 7)
    return Call(lambda x: (x * by + 1) % 1000, first=Given("x", shape, "int64", "count", 1000))
