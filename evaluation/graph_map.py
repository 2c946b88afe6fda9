"""A Map's expression comes in with the tensors it loads, the torch tensor over the node's shape goes out, through broadcast torch operators.

The meaning is `ir.interpret_map`'s. Everything goes through the dispatcher, so that a mode can watch or disturb it. Coordinates that
depend on no data are worked out once and kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from ..frontend.dtypes import TORCH_DTYPE
from ..ir import scalar
from ..ir.expr import OPS, Cast, Const, Expr, Load, Op, Var, walk
from ..ir.interpret import OutOfBounds
from ..ir.text import print_expr
from ..ir.types import BOOL, is_float
from ..ir.typing import FLOAT_WEAK, INT_WEAK, unify

Typed = tuple[torch.Tensor, str]  # values, IR dtype


@dataclass(frozen=True)
class Kinds:
    """torch dtypes of IR dtypes; `wide`: every float is a double and nothing is rounded."""

    wide: bool = False

    def of(self, dtype: str) -> torch.dtype:
        """The torch dtype that holds values of `dtype`."""
        return torch.float64 if self.wide and is_float(dtype) else TORCH_DTYPE[dtype]

    def store(self, x: torch.Tensor, dtype: str) -> torch.Tensor:
        """The values as `dtype`."""
        return x.to(self.of(dtype))


def _divisor(x: torch.Tensor) -> torch.Tensor:
    """A divisor of integers: where it is zero, nobody reads the quotient."""
    return x if x.is_floating_point() else torch.where(x == 0, 1, x)


_TORCH: dict[str, Callable[..., torch.Tensor]] = {
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.true_divide, "//": lambda a, b: torch.floor_divide(a, _divisor(b)),
    "%": lambda a, b: torch.remainder(a, _divisor(b)), "neg": torch.neg, "abs": torch.abs, "min": torch.minimum, "max": torch.maximum,
    "<": torch.lt, "<=": torch.le, ">": torch.gt, ">=": torch.ge, "==": torch.eq, "!=": torch.ne, "not": torch.logical_not,
    "&": torch.bitwise_and, "|": torch.bitwise_or, "^": torch.bitwise_xor, "<<": torch.bitwise_left_shift, ">>": torch.bitwise_right_shift,
    "invert": torch.bitwise_not, "exp": torch.exp, "exp2": torch.exp2, "expm1": torch.expm1, "log": torch.log, "log2": torch.log2,
    "log10": torch.log10, "log1p": torch.log1p, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "sin": torch.sin, "cos": torch.cos, "tan": torch.tan,
    "asin": torch.asin, "acos": torch.acos, "atan": torch.atan, "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh,
    "asinh": torch.asinh, "acosh": torch.acosh, "atanh": torch.atanh, "erf": torch.erf, "erfc": torch.erfc, "sigmoid": torch.sigmoid,
    "floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "trunc": torch.trunc, "pow": torch.pow, "atan2": torch.atan2,
    "fmod": torch.fmod, "isnan": torch.isnan, "isinf": torch.isinf,
}  # fmt: skip


@dataclass
class Places:
    """Coordinates of loads that depend on no data, by (load, shape): kept from the first run on."""

    kept: dict[tuple[Load, tuple[int, ...]], tuple[torch.Tensor, ...]] = field(default_factory=dict)


@dataclass
class TorchMap:
    """Evaluates expressions over one output shape. `tensors`: what loads read; `sizes`: values of dims; `bound`: Vars that are tensors."""

    tensors: Mapping[str, Typed]
    sizes: Mapping[str, int]
    shape: tuple[int, ...]
    kinds: Kinds
    places: Places = field(default_factory=Places)
    bound: Mapping[str, Typed] = field(default_factory=dict)

    def run(self, e: Expr, dtype: str) -> torch.Tensor:
        """The value of `e` over the shape, as `dtype`, contiguous."""
        value, got = self.value(e, None)
        return self.concrete(value, got, dtype).expand(self.shape).contiguous()

    # -------------------------------------------------------------------------------- values: (tensor, dtype), constants weak
    def value(self, e: Expr, mask: torch.Tensor | None) -> Typed:
        if isinstance(e, Const):
            return _constant(e.value)
        if isinstance(e, Var):
            return self.bound[e.name] if e.name in self.bound else (self._grid(e.name), "i64")
        if isinstance(e, Load):
            return self._load(e, mask), self.tensors[e.buffer][1]
        if isinstance(e, Cast):
            value, dtype = self.value(e.value, mask)
            return self.kinds.store(self._strong(value, dtype), e.dtype), e.dtype
        return self._op(e, mask)

    def concrete(self, value: torch.Tensor, dtype: str, wanted: str) -> torch.Tensor:
        """A weak constant as a value of `wanted`; infinities are the limits of an integer."""
        if dtype == wanted:
            return value
        if not is_float(wanted) and value.is_floating_point() and value.ndim == 0 and math.isinf(float(value)):
            return torch.tensor(scalar.LIMITS[wanted][int(float(value) > 0)], dtype=self.kinds.of(wanted))
        return self.kinds.store(value, wanted)

    def _grid(self, name: str) -> torch.Tensor:
        if name in self.sizes:
            return torch.tensor(self.sizes[name], dtype=torch.int64)
        k = int(name[1:])
        return torch.arange(self.shape[k]).reshape([-1 if j == k else 1 for j in range(len(self.shape))])

    def _strong(self, value: torch.Tensor, dtype: str) -> torch.Tensor:
        infinite = dtype == INT_WEAK and value.is_floating_point()
        return value if infinite else self.concrete(value, dtype, {INT_WEAK: "i64", FLOAT_WEAK: "f32"}.get(dtype, dtype))

    def _op(self, e: Op, mask: torch.Tensor | None) -> Typed:
        if e.name == "select":
            return self._select(e, mask)
        if e.name in ("and", "or"):
            return self._lazy(e, mask)
        values, dtype = self._same([self.value(a, mask) for a in e.args])
        kind = OPS[e.name][1]
        if kind == "float" and dtype == INT_WEAK:
            values, dtype = [v.double() for v in values], FLOAT_WEAK
        if kind == "test":
            values = [v if v.is_floating_point() else v.double() for v in values]
        out = _TORCH[e.name](*values)
        if kind in ("compare", "test"):
            return out, BOOL
        return (out, dtype) if dtype in (INT_WEAK, FLOAT_WEAK) or kind == "logic" else (self.kinds.store(out, dtype), dtype)

    def _same(self, parts: Sequence[Typed]) -> tuple[list[torch.Tensor], str]:
        dtype = parts[0][1]
        for _, other in parts[1:]:
            dtype = unify(dtype, other) or dtype
        if dtype in (INT_WEAK, FLOAT_WEAK):
            return [v for v, _ in parts], dtype
        return [self.concrete(v, d, dtype) for v, d in parts], dtype

    def _select(self, e: Op, mask: torch.Tensor | None) -> Typed:
        condition, _ = self.value(e.args[0], mask)
        if condition.ndim == 0:
            return self.value(e.args[1] if bool(condition) else e.args[2], mask)
        arms = [self.value(e.args[1], _and(mask, condition)), self.value(e.args[2], _and(mask, ~condition))]
        (a, b), dtype = self._same(arms)
        return torch.where(condition, a, b), dtype

    def _lazy(self, e: Op, mask: torch.Tensor | None) -> Typed:
        a, _ = self.value(e.args[0], mask)
        b, _ = self.value(e.args[1], _and(mask, a if e.name == "and" else ~a))
        return (a & b if e.name == "and" else a | b), BOOL

    # -------------------------------------------------------------------------------- loads
    def _load(self, e: Load, mask: torch.Tensor | None) -> torch.Tensor:
        x = self.tensors[e.buffer][0]
        view = self._view(x, e)
        if view is not None:
            return view
        key = (e, self.shape)
        index = self.places.kept.get(key)
        if index is None:
            index = tuple(self._coordinate(x, e, axis, mask) for axis in range(x.ndim))
            if not any(isinstance(n, Load) for i in e.index for n in walk(i)) and not self.bound:
                self.places.kept[key] = index
        if not x.numel():
            return x.new_zeros(torch.broadcast_shapes(*(i.shape for i in index)))
        return x[index]

    def _coordinate(self, x: torch.Tensor, e: Load, axis: int, mask: torch.Tensor | None) -> torch.Tensor:
        i = self.value(e.index[axis], mask)[0].to(torch.int64)
        bad = _and(mask, (i < 0) | (i >= x.shape[axis]))
        if bool(bad.any()):
            at = int(i.expand(torch.broadcast_shapes(i.shape, bad.shape)).expand(bad.shape)[bad][0])
            raise OutOfBounds(f"`{print_expr(e)}` reads {at} on axis {axis} of extent {x.shape[axis]}")
        return i.clamp(0, max(0, x.shape[axis] - 1))

    def _view(self, x: torch.Tensor, e: Load) -> torch.Tensor | None:
        """Loads whose coordinates are distinct output axes or constants: a transposed view, no gather."""
        place: list[int] = []
        for axis, i in enumerate(e.index):
            if isinstance(i, Var) and i.name not in self.sizes and i.name not in self.bound and int(i.name[1:]) not in place:
                k = int(i.name[1:])
                if self.shape[k] > x.shape[axis]:
                    return None
                place.append(k)
            elif not (isinstance(i, Const) and 0 <= int(i.value) < x.shape[axis]):
                return None
        for axis in reversed(range(len(e.index))):
            i = e.index[axis]
            x = x.select(axis, int(i.value)) if isinstance(i, Const) else x.narrow(axis, 0, self.shape[int(_name(i)[1:])])
        order = sorted(range(len(place)), key=place.__getitem__)
        return x.permute(order).reshape([n if k in place else 1 for k, n in enumerate(self.shape)])


def _name(e: Expr) -> str:
    assert isinstance(e, Var)
    return e.name


def _and(mask: torch.Tensor | None, condition: torch.Tensor) -> torch.Tensor:
    return condition if mask is None else mask & condition


def _constant(v: bool | int | float) -> Typed:
    if isinstance(v, bool):
        return torch.tensor(v), BOOL
    if isinstance(v, int):
        return torch.tensor(v, dtype=torch.int64), INT_WEAK
    return torch.tensor(v, dtype=torch.float64), INT_WEAK if math.isinf(v) else FLOAT_WEAK
