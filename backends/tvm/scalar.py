"""Scalar expressions as TIR: an expression, the tensors that it loads and the coordinates go in, a PrimExpr with its dtype comes out.

The meaning is `ir.interpret_map`'s: constants are weak, `select`, `and`, `or` are lazy where they guard a load, `min` and `max` keep NaN.
Functions of floats are called by their names in C, which CUDA and libm share and whose precision is known; TVM's own operators print fast
approximations. Needs TVM.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...ir import scalar
from ...ir.expr import OPS, Cast, Const, Expr, Load, Op, Var, walk
from ...ir.interpret_map import MapEvaluator, Precision
from ...ir.types import BOOL, is_float
from ...ir.typing import FLOAT_WEAK, INT_WEAK, strong, unify
from .errors import Untranslated
from .library import tirx

Typed = tuple[Any, str]  # PrimExpr, IR dtype
DTYPES = {
    "f64": "float64", "f32": "float32", "f16": "float16", "i64": "int64", "i32": "int32", "i16": "int16", "i8": "int8", "u8": "uint8", "b1": "bool",
}  # fmt: skip


def dtype_of(dtype: str) -> str:
    """TVM's name. Raises Untranslated."""
    if dtype not in DTYPES:
        raise Untranslated(f"TVM's side has no dtype {dtype}")
    return DTYPES[dtype]


def constant(value: bool | int | float, dtype: str) -> Any:
    """A constant of an IR dtype; infinities are the limits of an integer."""
    if not is_float(dtype) and isinstance(value, float) and math.isinf(value):
        value = scalar.LIMITS[dtype][int(value > 0)]
    if dtype == BOOL:
        return tirx.const(bool(value), "bool")
    return tirx.const(float(value) if is_float(dtype) else int(value), dtype_of(dtype))


def _called(name: str) -> Callable[..., Any]:
    """The C function of a float operator: `expf` and `exp`; halves go through float."""

    def call(dtype: str, *args: Any) -> Any:
        if dtype == "f16":
            return call("f32", *(a.astype("float32") for a in args)).astype("float16")
        return tirx.call_pure_extern(DTYPES[dtype], name + ("f" if dtype == "f32" else ""), *args)

    return call


def _isnan(a: Any) -> Any:
    return tirx.isnan(a)


HELPERS = {
    "maximum": "template <typename T> __device__ __forceinline__ T maximum(T a, T b) { return a > b || a != a ? a : b; }",
    "minimum": "template <typename T> __device__ __forceinline__ T minimum(T a, T b) { return a < b || a != a ? a : b; }",
}  # fmt: skip
"""Functions that CUDA text calls by name: NaN wins. On the CPU they are written out where they are used."""


def _larger(name: str, greater: Callable[[Any, Any], Any], whole: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def pick(dtype: str, a: Any, b: Any, helpers: bool) -> Any:
        if not is_float(dtype):
            return whole(a, b)
        if helpers:
            return tirx.call_pure_extern(dtype_of(dtype), name, a, b)
        return tirx.Select(tirx.Or(greater(a, b), _isnan(a)), a, b)

    return pick


def _sigmoid(dtype: str, a: Any) -> Any:
    one = constant(1.0, dtype)
    return one / (one + _called("exp")(dtype, constant(0.0, dtype) - a))


def _remainder(dtype: str, a: Any, b: Any) -> Any:
    """With the sign of the divisor."""
    if not is_float(dtype):
        return tirx.floormod(a, b)
    rest, zero = _called("fmod")(dtype, a, b), constant(0.0, dtype)
    differs = tirx.any(tirx.all(tirx.LT(rest, zero), tirx.GE(b, zero)), tirx.all(tirx.GT(rest, zero), tirx.LT(b, zero)))
    return tirx.Select(differs, rest + b, rest)


def _quotient(dtype: str, a: Any, b: Any) -> Any:
    return _called("floor")(dtype, a / b) if is_float(dtype) else tirx.floordiv(a, b)


def _logical(both: str, bits: str) -> Callable[..., Any]:
    return lambda dtype, a, b: getattr(tirx, both if dtype == BOOL else bits)(a, b)


def _differ(dtype: str, a: Any, b: Any) -> Any:
    """TVM compares booleans as floats, which LLVM refuses."""
    return tirx.Or(tirx.And(a, tirx.Not(b)), tirx.And(tirx.Not(a), b)) if dtype == BOOL else tirx.NE(a, b)


_UNARY = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh",
    "acosh", "atanh", "erf", "erfc", "floor", "ceil", "trunc", "pow", "atan2",
)  # fmt: skip
_TIR: dict[str, Callable[..., Any]] = {name: _called(name) for name in _UNARY} | {
    "+": lambda d, a, b: a + b, "-": lambda d, a, b: a - b, "*": lambda d, a, b: a * b, "/": lambda d, a, b: a / b, "//": _quotient, "%": _remainder,
    "neg": lambda d, a: constant(0, d) - a if not is_float(d) else a * constant(-1.0, d),
    "abs": lambda d, a: _called("fabs")(d, a) if is_float(d) else tirx.abs(a),
    "<": lambda d, a, b: tirx.LT(a, b), "<=": lambda d, a, b: tirx.LE(a, b), ">": lambda d, a, b: tirx.GT(a, b), ">=": lambda d, a, b: tirx.GE(a, b),
    "==": lambda d, a, b: tirx.Not(_differ(d, a, b)) if d == BOOL else tirx.EQ(a, b), "!=": _differ, "not": lambda d, a: tirx.Not(a),
    "&": _logical("And", "bitwise_and"), "|": _logical("Or", "bitwise_or"), "^": lambda d, a, b: _differ(d, a, b) if d == BOOL else tirx.bitwise_xor(a, b),
    "<<": lambda d, a, b: tirx.shift_left(a, b), ">>": lambda d, a, b: tirx.shift_right(a, b),
    "invert": lambda d, a: tirx.Not(a) if d == BOOL else tirx.bitwise_not(a),
    "rsqrt": lambda d, a: constant(1.0, d) / _called("sqrt")(d, a), "sigmoid": _sigmoid, "round": _called("rint"),
    "fmod": lambda d, a, b: _called("fmod")(d, a, b) if is_float(d) else tirx.truncmod(a, b),
    "isnan": lambda d, a: _isnan(a) if is_float(d) else constant(False, BOOL),
    "isinf": lambda d, a: tirx.isinf(a) if is_float(d) else constant(False, BOOL),
}  # fmt: skip

_EXTREMES = {
    "min": _larger("minimum", lambda a, b: tirx.LT(a, b), lambda a, b: tirx.Min(a, b)),
    "max": _larger("maximum", lambda a, b: tirx.GT(a, b), lambda a, b: tirx.Max(a, b)),
}  # fmt: skip


def cast(value: Any, source: str, wanted: str) -> Any:
    """A value as another dtype; anything but zero is true."""
    if source == wanted:
        return value
    if wanted == BOOL:
        return tirx.NE(value, constant(0, source))
    return value.astype(dtype_of(wanted))


@dataclass
class Scalars:
    """`tensors`: what loads read, with dtypes; `bound`: the value of each Var, coordinates (i64) among them; `helpers`: HELPERS are there."""

    tensors: Mapping[str, tuple[Any, str]]
    bound: Mapping[str, Typed] = field(default_factory=dict)
    helpers: bool = False

    def run(self, e: Expr, dtype: str) -> Any:
        """The value of `e` as `dtype`. Raises Untranslated."""
        return self._as(self.value(e), dtype)

    def value(self, e: Expr) -> Typed:
        """A Python number for a weak constant."""
        if isinstance(e, Const):
            return e.value, _dtype_of_constant(e.value)
        if not any(isinstance(n, (Var, Load, Cast)) for n in walk(e)):
            return _folded(e)
        if isinstance(e, Var):
            return self._variable(e.name)
        if isinstance(e, Load):
            tensor, dtype = self.tensors[e.buffer]
            return tensor[tuple(self.run(i, "i64") for i in e.index)], dtype
        if isinstance(e, Cast):
            value, dtype = self.value(e.value)
            if isinstance(value, (bool, int, float)):
                return constant(value, e.dtype), e.dtype
            return cast(value, dtype, e.dtype), e.dtype
        return self._op(e)

    def _variable(self, name: str) -> Typed:
        if name not in self.bound:
            raise Untranslated(f"TVM's side has no symbolic sizes: {name}", hint="fix the program's sizes")
        return self.bound[name]

    def _as(self, value: Typed, wanted: str) -> Any:
        """An index of another width becomes an i64, a weak constant what is wanted."""
        return constant(value[0], wanted) if isinstance(value[0], (bool, int, float)) else cast(value[0], value[1], wanted)

    def _op(self, e: Op) -> Typed:
        if e.name == "select":
            return self._select(e)
        if e.name in ("and", "or"):
            return self._lazy(e)
        values, dtype = self._same([self.value(a) for a in e.args])
        made = _EXTREMES[e.name](dtype, *values, self.helpers) if e.name in _EXTREMES else _TIR[e.name](dtype, *values)
        return made, BOOL if OPS[e.name][1] in ("compare", "test", "logic") else dtype

    def _same(self, parts: list[Typed]) -> tuple[list[Any], str]:
        dtype = parts[0][1]
        for _, other in parts[1:]:
            dtype = unify(dtype, other) or dtype
        dtype = strong(dtype)
        return [self._as(p, dtype) for p in parts], dtype

    def _select(self, e: Op) -> Typed:
        condition = self.run(e.args[0], BOOL)
        (a, b), dtype = self._same([self.value(a) for a in e.args[1:]])
        safe = all(_known(arm, e.args[0]) for arm in e.args[1:])
        return (tirx.Select if safe else tirx.if_then_else)(condition, a, b), dtype

    def _lazy(self, e: Op) -> Typed:
        a, b = (self.run(x, BOOL) for x in e.args)
        if _known(e.args[1], e.args[0]):
            return (tirx.And if e.name == "and" else tirx.Or)(a, b), BOOL
        yes = constant(True, BOOL)
        return (tirx.if_then_else(a, b, constant(False, BOOL)) if e.name == "and" else tirx.if_then_else(a, yes, b)), BOOL


def _known(e: Expr, condition: Expr) -> bool:
    """Whether `e` may be evaluated whatever the condition says: it reads nothing that the condition has not read, and divides no integers."""
    read = {n for n in walk(condition) if isinstance(n, Load)}
    return all(n in read for n in walk(e) if isinstance(n, Load)) and not any(isinstance(n, Op) and n.name in ("//", "%") for n in walk(e))


def _dtype_of_constant(v: bool | int | float) -> str:
    if isinstance(v, bool):
        return BOOL
    return INT_WEAK if isinstance(v, int) or math.isinf(v) else FLOAT_WEAK


def _folded(e: Expr) -> Typed:
    """An expression of constants alone."""
    value, dtype = MapEvaluator({}, {}, (), Precision(True)).value(e, True)
    return value.item(), dtype
