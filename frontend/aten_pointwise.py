"""Element-wise ATen operators: a table of formulas in IR text. A formula's names are the operator's schema names.

Kinds say how dtypes meet, as torch's own type promotion has it: `num` keeps the promoted dtype, `float` turns integers into floats,
`compare` gives a bool, `bool` takes truth values, `keep` has the dtype of `self`. Half types compute in float32 and round once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch._prims_common import ELEMENTWISE_TYPE_PROMOTION_KIND as KIND
from torch._prims_common import elementwise_dtypes

from ..ir.expr import Cast, Const, Expr, Op, transform
from ..ir.types import is_float
from .builder import Builder, NotOwned, Number, T, accumulator, cast, formula, op
from .dtypes import DTYPE, TORCH_DTYPE

_PROMOTION = {
    "num": KIND.DEFAULT,
    "float": KIND.INT_TO_FLOAT,
    "compare": KIND.DEFAULT,
    "bool": KIND.DEFAULT,
    "keep": KIND.DEFAULT,
}

Rule = Callable[..., object]


@dataclass(frozen=True)
class Formula:
    """`text` over schema names; `logic` is the text for bool results; `meet` are the arguments that decide the dtype;
    `narrow` are the numbers that ATen rounds to a half type before it computes in float32."""

    text: str
    kind: str = "num"
    logic: str = ""
    meet: tuple[str, ...] = ("self", "other")
    narrow: tuple[str, ...] = ()

    def __call__(self, b: Builder, /, **args: object) -> T:
        return apply(b, self, args)


def apply(b: Builder, f: Formula, args: dict[str, object]) -> T:
    """One Map for a formula over tensors and numbers by name."""
    meet = [args[k] for k in f.meet if args.get(k) is not None]
    compute, result = promote(meet, f.kind)
    shape = b.out[0].shape
    if f.kind == "bool":
        compute = "b1"
    if f.kind == "compare":
        compute, result = result, "b1"
    text = f.logic if compute == "b1" and f.logic else f.text
    terms = {
        k: operand(b, _narrowed(v, result) if k in f.narrow else v, compute, shape)
        for k, v in args.items()
        if isinstance(v, (T, bool, int, float, Expr))
    }
    out = _fold(formula(text, **terms))
    value = compute if f.kind != "compare" and f.kind != "bool" else "b1"
    if f.kind == "bool":
        result = "b1"
    return b.map(result, shape, cast(result, out, value))


def _narrowed(v: object, dtype: str) -> object:
    if dtype in ("f16", "bf16") and isinstance(v, (int, float)) and not isinstance(v, bool):
        return float(torch.tensor(v, dtype=TORCH_DTYPE[dtype]))
    return v


def operand(b: Builder, v: object, dtype: str, shape: tuple[Expr, ...]) -> Expr:
    """A tensor (broadcast) or a number as an expression of `dtype`."""
    if isinstance(v, T):
        load = b.broadcast(v, shape)
        return cast(dtype, load, v.dtype) if dtype != "b1" or v.dtype == "b1" else op("!=", load, 0)
    if isinstance(v, Expr):
        return Cast(dtype, v)
    assert isinstance(v, (bool, int, float))
    return number(v, dtype)


def number(v: Number, dtype: str) -> Expr:
    """A Python number as a constant of `dtype`, converted as torch converts a scalar."""
    if dtype == "b1":
        return Const(bool(v))
    if is_float(dtype):
        return Const(float(v))
    if isinstance(v, float) and v != v:
        raise NotOwned("nan as an integer")
    return Const(_wrap(int(v), dtype))


def _wrap(v: int, dtype: str) -> int:
    bits = int(dtype[1:])
    v &= 2**bits - 1
    return v - 2**bits if dtype[0] == "i" and v >= 2 ** (bits - 1) else v


def promote(values: list[object], kind: str) -> tuple[str, str]:
    """(dtype to compute in, dtype of the result) for operands that meet."""
    key = tuple(
        (v.dtype, v.rank > 0) if isinstance(v, T) else type(v) if isinstance(v, (bool, int, float)) else int for v in values
    )
    compute, result = _promote(key, kind)
    return (accumulator(result) if kind != "compare" else result) if is_float(result) else compute, result


Meeting = tuple[str, bool] | type[Number]


def _sample(k: Meeting) -> torch.Tensor | Number:
    """A stand-in for an operand: of a tensor only the dtype counts and whether it has axes, of a number its type."""
    return torch.empty((1,) if k[1] else (), dtype=TORCH_DTYPE[k[0]], device="meta") if isinstance(k, tuple) else k(1)


@cache
def _promote(key: tuple[Meeting, ...], kind: str) -> tuple[str, str]:
    compute, result = elementwise_dtypes(*(_sample(k) for k in key), type_promotion_kind=_PROMOTION[kind])
    return DTYPE[compute], DTYPE[result]


def _fold(e: Expr) -> Expr:
    """1 * x -> x and arithmetic of two constants: what default scalars such as alpha=1 leave behind."""
    return transform(e, _fold_node)


_CONSTANT: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


def _fold_node(e: Expr) -> Expr | None:
    if not isinstance(e, Op):
        return None
    if e.name == "*" and isinstance(e.args[0], Const) and e.args[0].value == 1:
        return e.args[1]
    if e.name in _CONSTANT and all(isinstance(a, Const) for a in e.args):
        x, y = (a.value for a in e.args if isinstance(a, Const))
        return Const(_CONSTANT[e.name](x, y))
    return None


def _integers(args: dict[str, object]) -> bool:
    return all(not isinstance(v, float) and not (isinstance(v, T) and is_float(v.dtype)) for v in args.values())


# ------------------------------------------------------------------------------------------------ rules that are not one formula
def _divide(b: Builder, rounding_mode: str | None, **args: object) -> T:
    if rounding_mode is None:
        return apply(b, Formula("self / other", "float"), args)
    if _integers(args):
        return _divide_integers(b, rounding_mode, args)
    text = "trunc(self / other)" if rounding_mode == "trunc" else _FLOOR_DIVIDE
    return apply(b, Formula(text), args)


# c10/util/generic_math.h, div_floor_floating; the adjusted quotient is then rounded to the nearest integer
_QUOTIENT = (
    "((self - fmod(self, other)) / other - select(fmod(self, other) != 0 and (other < 0) ^ (fmod(self, other) < 0), 1.0, 0.0))"
)
_FLOOR_DIVIDE = f"select(other == 0 or isinf(self), self / other, round({_QUOTIENT}))"
_TRUNC_INT = "self // other + select(self % other != 0 and (self < 0) ^ (other < 0), 1, 0)"
_REMAINDER = "fmod(self, other) + select(fmod(self, other) != 0 and (other < 0) ^ (fmod(self, other) < 0), other, 0.0)"


def _divide_integers(b: Builder, mode: str, args: dict[str, object]) -> T:
    _nonzero(args["other"])
    return apply(b, Formula("self // other" if mode == "floor" else _TRUNC_INT), args)


def _nonzero(divisor: object) -> None:
    """Integer division by zero raises in ATen, which a kernel cannot do."""
    if isinstance(divisor, (T, Expr)) or not divisor:
        raise NotOwned("integer division by a tensor can raise")


def _floor_divide(b: Builder, **args: object) -> T:
    return _divide(b, "floor", **args)


def _remainder(b: Builder, **args: object) -> T:
    if not _integers(args):
        return apply(b, Formula(_REMAINDER, narrow=("self", "other")), args)
    _nonzero(args["other"])
    return apply(b, Formula("self % other"), args)


def _fmod(b: Builder, **args: object) -> T:
    if _integers(args):
        _nonzero(args["other"])
    return apply(b, Formula("fmod(self, other)", narrow=("self", "other")), args)


_POWERS = {
    0: "1 + 0 * self", 1: "self", 2: "self * self", 3: "self * self * self", 0.5: "sqrt(self)", -0.5: "rsqrt(self)", -1: "1 / self",
    -2: "1 / (self * self)",
}  # fmt: skip


def _pow_scalar(b: Builder, self: T, exponent: Number | Expr) -> T:
    args: dict[str, object] = {"self": self, "exponent": exponent}
    _, result = promote([self, exponent], "num")
    if isinstance(exponent, Expr):
        raise NotOwned("a symbolic exponent")
    if not is_float(result):
        return _pow_integer(b, self, exponent)
    if exponent == 0:
        return b.map(result, b.out[0].shape, Const(1.0))
    return apply(
        b, Formula(_POWERS.get(exponent, "pow(self, exponent)"), meet=("self", "exponent"), narrow=("exponent",)), args
    )


def _pow_integer(b: Builder, self: T, exponent: Number) -> T:
    if not 0 <= exponent <= 16 or self.dtype == "b1":
        raise NotOwned("an integer power that is negative or large")
    text = " * ".join(["self"] * int(exponent)) if exponent else "1"
    return apply(b, Formula(text, meet=("self",)), {"self": self})


def _pow_tensors(b: Builder, self: T | Number, exponent: T) -> T:
    _, result = promote([self, exponent], "num")
    if not is_float(result):
        raise NotOwned("an integer power by a tensor")
    return apply(b, Formula("pow(self, exponent)", meet=("self", "exponent")), {"self": self, "exponent": exponent})


def _clamp(b: Builder, self: T, min: object = None, max: object = None) -> T:
    text = "self"
    text = f"max({text}, min)" if min is not None else text
    text = f"min({text}, max)" if max is not None else text
    # schema names that are also functions: bind them under other names
    text = text.replace(", min)", ", lowest)").replace(", max)", ", highest)")
    if b.out[0].dtype == "b1":
        raise NotOwned("a clamp of booleans")
    return apply(b, Formula(text, meet=("self", "lowest", "highest")), {"self": self, "lowest": min, "highest": max})


def _clamp_min(b: Builder, self: T, min: object) -> T:
    return _clamp(b, self, min)


def _clamp_max(b: Builder, self: T, max: object) -> T:
    return _clamp(b, self, None, max)


def _gelu(b: Builder, self: T, approximate: str = "none") -> T:
    tanh = "0.5 * self * (1.0 + tanh(0.7978845608028654 * (self + 0.044715 * self * self * self)))"
    return apply(
        b, Formula("0.5 * self * (1.0 + erf(self * 0.7071067811865476))" if approximate == "none" else tanh), {"self": self}
    )


def _log_sigmoid_forward(b: Builder, self: T) -> tuple[T, T]:
    if b.used(1):
        raise NotOwned("the buffer of log_sigmoid_forward is read")
    out = apply(b, Formula("min(self, 0.0) - log1p(exp(-abs(self)))"), {"self": self})
    return out, out


def _where(b: Builder, condition: T, self: T, other: T) -> T:
    _, result = promote([self, other], "num")
    shape = b.out[0].shape
    chosen = operand(b, condition, "b1", shape)
    return b.map(result, shape, op("select", chosen, operand(b, self, result, shape), operand(b, other, result, shape)))


def _masked_fill(b: Builder, self: T, mask: T, value: object) -> T:
    shape = b.out[0].shape
    new = operand(b, value, self.dtype, shape)
    return b.map(self.dtype, shape, op("select", b.broadcast(mask, shape), new, b.broadcast(self, shape)))


def _logit(b: Builder, self: T, eps: float | None = None) -> T:
    if eps is None:
        return apply(b, Formula("log(self / (1 - self))", "float"), {"self": self})
    args = {"self": self, "lo": eps, "hi": 1 - eps}
    return apply(b, Formula("log(min(max(self, lo), hi) / (1 - min(max(self, lo), hi)))", "float"), args)


def _nan_to_num(b: Builder, self: T, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> T:
    if not is_float(self.dtype):
        return b.map(self.dtype, self.shape, b.at(self))
    limit = torch.finfo(TORCH_DTYPE[self.dtype])
    args = {
        "self": self,
        "a": nan or 0.0,
        "b": limit.max if posinf is None else posinf,
        "c": limit.min if neginf is None else neginf,
    }
    return apply(b, Formula("select(isnan(self), a, select(self == inf, b, select(self == -inf, c, self)))"), args)


def _classify(b: Builder, text: str, other: bool, self: T) -> T:
    """isnan and the like, which are constants on integers."""
    if is_float(self.dtype):
        return apply(b, Formula(text, "compare"), {"self": self})
    return b.map("b1", self.shape, Const(other))


def _rounding(name: str) -> Callable[..., T]:
    """floor and the like leave integers as they are."""

    def rule(b: Builder, self: T) -> T:
        return apply(b, Formula(f"{name}(self)" if is_float(self.dtype) else "self"), {"self": self})

    return rule


def _round_decimals(b: Builder, self: T, decimals: int) -> T:
    scale = 10.0 ** abs(decimals)
    text = "round(self * scale) / scale" if decimals >= 0 else "round(self / scale) * scale"
    return apply(b, Formula(text if is_float(self.dtype) else "self"), {"self": self, "scale": scale})


def _sign(b: Builder, self: T) -> T:
    return apply(b, Formula("select(self > 0, 1, select(self < 0, -1, 0))", logic="self"), {"self": self})


def _copysign(b: Builder, **args: object) -> T:
    raise NotOwned("the sign of zero cannot be read in the IR")


def _isclose(b: Builder, self: T, other: T, rtol: float, atol: float, equal_nan: bool) -> T:
    if not is_float(self.dtype) or self.dtype != other.dtype:
        raise NotOwned("isclose of integers")
    same = " or (isnan(self) and isnan(other))" if equal_nan else ""
    near = "(not isinf(self) and not isinf(other) and abs(self - other) <= atol + rtol * abs(other))"
    return apply(
        b, Formula(f"self == other or {near}{same}", "compare"), {"self": self, "other": other, "rtol": rtol, "atol": atol}
    )


def _prelu(b: Builder, self: T, weight: T) -> T:
    return apply(b, Formula("select(self > 0, self, weight * self)", meet=("self", "weight")), {"self": self, "weight": weight})


def _to_copy(b: Builder, self: T, dtype: torch.dtype | None = None, **rest: object) -> T:
    return convert(b, self, self.dtype if dtype is None else DTYPE[dtype])


def _to_dtype(b: Builder, self: T, dtype: torch.dtype, **rest: object) -> T:
    return convert(b, self, DTYPE[dtype])


def convert(b: Builder, x: T, dtype: str) -> T:
    """x in another dtype, truncating towards zero from floats to integers."""
    if x.dtype == dtype:
        return x
    return b.map(dtype, x.shape, operand(b, x, dtype, x.shape))


def _copy(b: Builder, self: T, src: T, non_blocking: bool = False) -> T:
    return b.map(self.dtype, self.shape, operand(b, src, self.dtype, self.shape))


def _shift(text: str) -> Rule:
    """Shifts by a negative or too large amount give what is left: zero, or the sign for `>>`."""

    def rule(b: Builder, **args: object) -> T:
        bits = int(b.out[0].dtype[1:])
        return apply(b, Formula(text), {**args, "bits": bits})

    return rule


def _unary(table: dict[str, str], kind: str) -> dict[str, Formula]:
    return {f"aten.{name}.default": Formula(text, kind) for name, text in table.items()}


def _binary(table: dict[str, Formula]) -> dict[str, Formula]:
    return {f"aten.{name}.{overload}": f for name, f in table.items() for overload in ("Tensor", "Scalar")}


# ------------------------------------------------------------------------------------------------ the tables
UNARY_FLOAT = {
    "exp": "exp(self)", "exp2": "exp2(self)", "expm1": "expm1(self)", "log": "log(self)", "log2": "log2(self)", "log10": "log10(self)",
    "log1p": "log1p(self)", "sqrt": "sqrt(self)", "rsqrt": "rsqrt(self)", "sin": "sin(self)", "cos": "cos(self)", "tan": "tan(self)",
    "asin": "asin(self)", "acos": "acos(self)", "atan": "atan(self)", "sinh": "sinh(self)", "cosh": "cosh(self)", "tanh": "tanh(self)",
    "asinh": "asinh(self)", "acosh": "acosh(self)", "atanh": "atanh(self)", "erf": "erf(self)", "erfc": "erfc(self)",
    "sigmoid": "sigmoid(self)", "reciprocal": "1 / self", "special_log_ndtr": "log(0.5 * erfc(-self * 0.7071067811865476))",
    "special_ndtr": "0.5 * erfc(-self * 0.7071067811865476)", "special_erfcx": "exp(self * self) * erfc(self)",
    "sinc": "select(self == 0, 1, sin(3.141592653589793 * self) / (3.141592653589793 * self))",
    "special_entr": "select(isnan(self), self, select(self > 0, -self * log(self), select(self == 0, 0, -inf)))",
    "deg2rad": "self * 0.017453292519943295", "rad2deg": "self * 57.29577951308232",
}  # fmt: skip

ACTIVATIONS = {
    "relu": "max(self, 0)", "relu6": "min(max(self, 0), 6)", "silu": "self * sigmoid(self)",
    "mish": "self * tanh(select(self > 20, self, log1p(exp(self))))",
    "selu": "select(self > 0, 1.0507009873554805 * self, 1.7580993408473766 * expm1(self))",
    "celu": "select(self > 0, self, alpha * expm1(self / alpha))",
    "elu": "select(self > 0, self * scale, alpha * scale * expm1(self * input_scale))",
    "leaky_relu": "select(self > 0, self, self * negative_slope)",
    "hardswish": "self * min(max(self + 3, 0), 6) / 6", "hardsigmoid": "min(max(self + 3, 0), 6) / 6",
    "hardtanh": "min(max(self, min_val), max_val)",
    "hardshrink": "select(self >= -lambd and self <= lambd, 0, self)",
    "softshrink": "select(self > lambd, self - lambd, select(self < -lambd, self + lambd, select(isnan(self), self, 0)))",
    "softplus": "select(self * beta > threshold, self, log1p(exp(self * beta)) / beta)",
    "threshold": "select(self <= threshold, value, self)",
    "tanhshrink": "self - tanh(self)", "log_sigmoid": "min(self, 0.0) - log1p(exp(-abs(self)))",
    "square": "self * self", "neg": "-self", "positive": "self", "frac": "self - trunc(self)",
}  # fmt: skip

BINARY = {
    "add": Formula("self + alpha * other", logic="self or other", narrow=("other", "alpha")),
    "sub": Formula("self - alpha * other", narrow=("other", "alpha")),
    "rsub": Formula("other - alpha * self", narrow=("other", "alpha")),
    "mul": Formula("self * other", logic="self and other"),
    "eq": Formula("self == other", "compare"),
    "ne": Formula("self != other", "compare"),
    "lt": Formula("self < other", "compare", logic="not self and other"),
    "le": Formula("self <= other", "compare", logic="not self or other"),
    "gt": Formula("self > other", "compare", logic="self and not other"),
    "ge": Formula("self >= other", "compare", logic="self or not other"),
    "bitwise_and": Formula("self & other"),
    "bitwise_or": Formula("self | other"),
    "bitwise_xor": Formula("self ^ other"),
}

PAIRS = {
    "maximum": Formula("max(self, other)", logic="self or other"),
    "minimum": Formula("min(self, other)", logic="self and other"),
    "atan2": Formula("atan2(self, other)", "float"),
    "hypot": Formula("sqrt(self * self + other * other)"),
    "logaddexp": Formula(
        "select(isinf(self) and self == other, self, max(self, other) + log1p(exp(-abs(self - other))))", "float"
    ),
    "logaddexp2": Formula(
        "select(isinf(self) and self == other, self, max(self, other) + log1p(exp2(-abs(self - other))) * 1.4426950408889634)",
        "float",
    ),
    "logical_and": Formula("self and other", "bool"),
    "logical_or": Formula("self or other", "bool"),
    "logical_xor": Formula("self ^ other", "bool"),
    "logical_not": Formula("not self", "bool"),
    "bitwise_not": Formula("~self", logic="not self"),
}

_OVERLOADS = ("Tensor", "Scalar", "Tensor_Scalar")
_LEFT = "select(other < 0 or other >= bits, 0, self << select(other < 0 or other >= bits, 0, other))"
_RIGHT = "self >> select(other < 0 or other >= bits, bits - 1, other)"
XLOGY = Formula("select(isnan(other), other, select(self == 0, 0.0, self * log(other)))", "float")
XLOG1PY = Formula("select(isnan(other), other, select(self == 0, 0.0, self * log1p(other)))", "float")

POINTWISE: dict[str, Callable[..., object]] = {
    **_unary(UNARY_FLOAT, "float"),
    **_unary(ACTIVATIONS, "num"),
    **_binary(BINARY),
    **{f"aten.{name}.default": f for name, f in PAIRS.items()},
    **{f"aten.{n}.{o}": _shift(_LEFT) for n in ("bitwise_left_shift", "__lshift__") for o in _OVERLOADS},
    **{f"aten.{n}.{o}": _shift(_RIGHT) for n in ("bitwise_right_shift", "__rshift__") for o in _OVERLOADS},
    "aten.abs.default": Formula("abs(self)", logic="self"),
    "aten.sgn.default": _sign,
    "aten.sign.default": _sign,
    "aten.signbit.default": _copysign,
    "aten.heaviside.default": Formula("select(self == 0, values, select(self < 0, 0, 1))", meet=("self", "values")),
    "aten.fmax.default": Formula(
        "select(isnan(self), other, select(isnan(other), self, max(self, other)))", logic="self or other"
    ),
    "aten.fmin.default": Formula(
        "select(isnan(self), other, select(isnan(other), self, min(self, other)))", logic="self and other"
    ),
    **{f"aten.{name}.default": _rounding(name) for name in ("floor", "ceil", "round", "trunc")},
    "aten.round.decimals": _round_decimals,
    "aten.gelu.default": _gelu,
    "aten.logit.default": _logit,
    "aten.nan_to_num.default": _nan_to_num,
    "aten.isnan.default": lambda b, self: _classify(b, "isnan(self)", False, self),
    "aten.isinf.default": lambda b, self: _classify(b, "isinf(self)", False, self),
    "aten.isposinf.default": lambda b, self: _classify(b, "self == inf", False, self),
    "aten.isneginf.default": lambda b, self: _classify(b, "self == -inf", False, self),
    "aten.isfinite.default": lambda b, self: _classify(b, "not isnan(self) and not isinf(self)", True, self),
    "aten.isclose.default": _isclose,
    "aten.log_sigmoid_forward.default": _log_sigmoid_forward,
    "aten._prelu_kernel.default": _prelu,
    "aten.div.Tensor": lambda b, **a: _divide(b, None, **a),
    "aten.div.Scalar": lambda b, **a: _divide(b, None, **a),
    "aten.div.Tensor_mode": _divide,
    "aten.div.Scalar_mode": _divide,
    "aten.floor_divide.default": _floor_divide,
    "aten.floor_divide.Scalar": _floor_divide,
    "aten.remainder.Tensor": _remainder,
    "aten.remainder.Scalar": _remainder,
    "aten.fmod.Tensor": _fmod,
    "aten.fmod.Scalar": _fmod,
    "aten.pow.Tensor_Scalar": _pow_scalar,
    "aten.pow.Tensor_Tensor": _pow_tensors,
    "aten.pow.Scalar": _pow_tensors,
    "aten.xlogy.Tensor": XLOGY,
    "aten.xlogy.Scalar_Self": XLOGY,
    "aten.xlogy.Scalar_Other": XLOGY,
    "aten.special_xlog1py.default": XLOG1PY,
    "aten.special_xlog1py.self_scalar": XLOG1PY,
    "aten.special_xlog1py.other_scalar": XLOG1PY,
    "aten.clamp.default": _clamp,
    "aten.clamp.Tensor": _clamp,
    "aten.clamp_min.default": _clamp_min,
    "aten.clamp_min.Tensor": _clamp_min,
    "aten.clamp_max.default": _clamp_max,
    "aten.clamp_max.Tensor": _clamp_max,
    "aten.lerp.Scalar": Formula(
        "select(abs(weight) < 0.5, self + weight * (end - self), end - (end - self) * (1 - weight))", meet=("self", "end")
    ),
    "aten.lerp.Tensor": Formula(
        "select(abs(weight) < 0.5, self + weight * (end - self), end - (end - self) * (1 - weight))",
        meet=("self", "end", "weight"),
    ),
    "aten.addcmul.default": Formula("self + value * tensor1 * tensor2", meet=("self", "tensor1", "tensor2")),
    "aten.addcdiv.default": Formula("self + value * (tensor1 / tensor2)", meet=("self", "tensor1", "tensor2")),
    "aten.where.self": _where,
    "aten.masked_fill.Scalar": _masked_fill,
    "aten.masked_fill.Tensor": _masked_fill,
    "aten._to_copy.default": _to_copy,
    "aten.to.dtype": _to_dtype,
    "aten.copy.default": _copy,
}
