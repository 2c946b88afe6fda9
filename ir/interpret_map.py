"""Scalar expressions on whole arrays: an expression, the tensors that it loads and a shape go in, the array over that shape comes out.

Coordinates i0, i1, .. are open index grids. `select`, `and`, `or` are lazy: a load out of bounds is an error only where its value counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from . import scalar
from .diagnostic import TypeMismatch
from .expr import OPS, Cast, Const, Expr, Load, Op, Var
from .interpret import OutOfBounds
from .text import print_expr
from .types import BOOL, NUMPY, is_float
from .typing import FLOAT_WEAK, INT_WEAK, unify

Array = np.ndarray
Mask = np.ndarray | bool
Tensor = tuple[Array, str]  # values, dtype


def round_bf16(a: Array) -> Array:
    """float32 values rounded to the nearest bfloat16, ties to even."""
    a = np.asarray(a, np.float32, order="C")
    bits = a.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(a), np.float32(np.nan), rounded.view(np.float32))


@dataclass(frozen=True)
class Precision:
    """`float64`: every float is a double and nothing is rounded."""

    float64: bool = False

    def array(self, dtype: str) -> type:
        return np.float64 if self.float64 and is_float(dtype) else NUMPY[dtype]

    def store(self, a: Array, dtype: str) -> Array:
        """An array as values of `dtype`: floats rounded, floats to integers truncated, wrapped to the integer's width."""
        a = np.asarray(a)
        if dtype == BOOL:
            return np.asarray(a != 0)
        if is_float(dtype):
            out = a.astype(self.array(dtype))
            return round_bf16(out) if dtype == "bf16" and not self.float64 else out
        return _to_integer(a, dtype)


def _to_integer(a: Array, dtype: str) -> Array:
    if a.dtype.kind != "f":
        return a.astype(NUMPY[dtype])
    lo, hi = scalar.LIMITS["i64" if dtype == "i64" else "i32"]
    fits = (a >= lo) & (a < hi + 1.0)
    return np.where(fits, np.where(fits, a, 0).astype(np.int64), scalar.LIMITS[dtype][0] if dtype == "i64" else lo).astype(
        NUMPY[dtype]
    )


def _erf(f: Callable[[float], float]) -> Callable[[Array], Array]:
    return lambda a: np.asarray(np.frompyfunc(lambda v: f(float(v)), 1, 1)(a)).astype(a.dtype)


def _sigmoid(a: Array) -> Array:
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + e), e / (1 + e)).astype(a.dtype)


_ARRAY: dict[str, Callable[..., Array]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.true_divide, "//": np.floor_divide, "%": np.mod, "neg": np.negative,
    "abs": np.abs, "min": np.minimum, "max": np.maximum, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
    "==": np.equal, "!=": np.not_equal, "not": np.logical_not, "&": np.bitwise_and, "|": np.bitwise_or, "^": np.bitwise_xor,
    "<<": np.left_shift, ">>": np.right_shift, "invert": np.invert, "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log,
    "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sqrt": np.sqrt, "rsqrt": lambda a: 1 / np.sqrt(a), "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "erf": _erf(math.erf), "erfc": _erf(math.erfc),
    "sigmoid": _sigmoid, "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc, "pow": np.power, "atan2": np.arctan2,
    "fmod": np.fmod, "isnan": np.isnan, "isinf": np.isinf,
}  # fmt: skip


@dataclass
class MapEvaluator:
    """Evaluates expressions over one output shape. `tensors`: what loads read; `sizes`: values of dims and other Vars."""

    tensors: Mapping[str, Tensor]
    sizes: Mapping[str, int]
    shape: tuple[int, ...]
    precision: Precision

    def __post_init__(self) -> None:
        self.grids = {
            f"i{k}": np.arange(n, dtype=np.int64).reshape(tuple(n if j == k else 1 for j in range(len(self.shape))))
            for k, n in enumerate(self.shape)
        }

    def run(self, e: Expr, dtype: str) -> Array:
        """The value of `e` over the shape, as `dtype`."""
        with np.errstate(all="ignore"):
            value, got = self.value(e, True)
            if unify(got, dtype) != dtype:
                raise TypeMismatch(f"`{print_expr(e)}` is {got} where {dtype} is needed")
            value = self.concrete(value, got, dtype)
            return np.array(np.broadcast_to(value, self.shape), order="C")

    # -------------------------------------------------------------------------------- values: (array, dtype), constants weak
    def value(self, e: Expr, mask: Mask) -> Tensor:
        if isinstance(e, Const):
            return _constant(e.value)
        if isinstance(e, Var):
            return self.grids[e.name] if e.name in self.grids else np.asarray(self.sizes[e.name], np.int64), "i64"
        if isinstance(e, Load):
            return self._load(e, mask), self.tensors[e.buffer][1]
        if isinstance(e, Cast):
            value, dtype = self.value(e.value, mask)
            return self.precision.store(self._strong(value, dtype), e.dtype), e.dtype
        return self._op(e, mask)

    def concrete(self, value: Array, dtype: str, wanted: str) -> Array:
        """A weak constant as a value of `wanted`; infinities are the limits of an integer."""
        if dtype == wanted:
            return value
        if not is_float(wanted) and np.ndim(value) == 0 and math.isinf(float(value)):
            return np.asarray(scalar.LIMITS[wanted][int(value > 0)], NUMPY[wanted])
        return self.precision.store(value, wanted)

    def _strong(self, value: Array, dtype: str) -> Array:
        wanted = {INT_WEAK: "i64", FLOAT_WEAK: "f32"}.get(dtype, dtype)
        if dtype == INT_WEAK and np.ndim(value) == 0 and math.isinf(float(value)):
            return value
        return self.concrete(value, dtype, wanted)

    def _op(self, e: Op, mask: Mask) -> Tensor:
        if e.name == "select":
            return self._select(e, mask)
        if e.name in ("and", "or"):
            return self._lazy(e, mask)
        values, dtype = self._same([self.value(a, mask) for a in e.args], e)
        kind = OPS[e.name][1]
        if kind == "float" and dtype == INT_WEAK:
            values, dtype = [np.asarray(v, np.float64) for v in values], FLOAT_WEAK
        out = np.asarray(_ARRAY[e.name](*values))
        if kind in ("compare", "test"):
            return out, BOOL
        if dtype in (INT_WEAK, FLOAT_WEAK) or kind == "logic":
            return out, dtype
        return self.precision.store(out, dtype) if dtype == "bf16" else out.astype(self.precision.array(dtype)), dtype

    def _same(self, parts: Sequence[Tensor], e: Expr) -> tuple[list[Array], str]:
        dtype = parts[0][1]
        for _, other in parts[1:]:
            both = unify(dtype, other)
            if both is None:
                raise TypeMismatch(f"`{print_expr(e)}` mixes {dtype} and {other}")
            dtype = both
        if dtype in (INT_WEAK, FLOAT_WEAK):
            return [v for v, _ in parts], dtype
        return [self.concrete(v, d, dtype) for v, d in parts], dtype

    def _select(self, e: Op, mask: Mask) -> Tensor:
        condition, _ = self.value(e.args[0], mask)
        if condition.ndim == 0:
            return self.value(e.args[1] if condition else e.args[2], mask)
        arms = [self.value(e.args[1], mask & condition), self.value(e.args[2], mask & ~condition)]
        (a, b), dtype = self._same(arms, e)
        return np.where(condition, a, b), dtype

    def _lazy(self, e: Op, mask: Mask) -> Tensor:
        a, _ = self.value(e.args[0], mask)
        b, _ = self.value(e.args[1], mask & (a if e.name == "and" else ~a))
        return (a & b if e.name == "and" else a | b), BOOL

    # -------------------------------------------------------------------------------- loads
    def _load(self, e: Load, mask: Mask) -> Array:
        x = self.tensors[e.buffer][0]
        if len(e.index) != x.ndim:
            raise TypeMismatch(f"`{print_expr(e)}` has {len(e.index)} coordinates for rank {x.ndim}")
        view = self._view(x, e)
        if view is not None:
            return view
        index = np.broadcast_arrays(*(self.value(i, mask)[0] for i in e.index))
        clipped = []
        for axis, i in enumerate(index):
            bad = ((i < 0) | (i >= x.shape[axis])) & mask
            if np.any(bad):
                raise OutOfBounds(
                    f"`{print_expr(e)}` reads {int(np.broadcast_to(i, bad.shape)[bad][0])} on axis {axis} of extent {x.shape[axis]}"
                )
            clipped.append(np.clip(i, 0, max(0, x.shape[axis] - 1)))
        return x[tuple(clipped)] if x.size else np.zeros(index[0].shape, x.dtype)

    def _view(self, x: Array, e: Load) -> Array | None:
        """Loads whose coordinates are distinct output axes or constants: a transposed view, no gather."""
        place: list[int] = []
        pick: list[object] = []
        for axis, i in enumerate(e.index):
            if isinstance(i, Var) and i.name in self.grids and int(i.name[1:]) not in place:
                k = int(i.name[1:])
                if self.shape[k] > x.shape[axis]:
                    return None
                place.append(k)
                pick.append(slice(0, self.shape[k]))
            elif isinstance(i, Const) and 0 <= int(i.value) < x.shape[axis]:
                pick.append(int(i.value))
            else:
                return None
        order = sorted(range(len(place)), key=place.__getitem__)
        shape = tuple(n if k in place else 1 for k, n in enumerate(self.shape))
        return x[tuple(pick)].transpose(order).reshape(shape)  # type: ignore[index]


def _constant(v: bool | int | float) -> Tensor:
    if isinstance(v, bool):
        return np.asarray(v), BOOL
    if isinstance(v, int) or math.isinf(v):
        return np.asarray(v), INT_WEAK
    return np.asarray(v, np.float64), FLOAT_WEAK
