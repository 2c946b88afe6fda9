"""ATen operators that move, repeat, pad, join or make elements: Maps with index expressions, and Reshapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.expr import Cast, Const, Expr, Load, Op, Var, add, as_int, floordiv, mod, mul, simplify, sub
from ..ir.types import is_float
from .aten_pointwise import convert, number, operand
from .builder import Builder, NotOwned, Scalar, Shape, T, axes, cast, constant, op

Rule = Callable[..., object]


# ------------------------------------------------------------------------------------------------ views
def _same(b: Builder, self: T, **rest: object) -> T:
    return self


def _reshape(b: Builder, self: T, *_: object, **__: object) -> T:
    return b.reshape(self, b.out[0].shape)


def permute(b: Builder, self: T, dims: Sequence[int]) -> T:
    """out.shape[k] = self.shape[dims[k]]"""
    dims = [self.axis(d) for d in dims]
    if dims == list(range(self.rank)):
        return self
    index = tuple(Var(f"i{dims.index(k)}") for k in range(self.rank))
    return b.map(self.dtype, tuple(self.shape[d] for d in dims), Load(self.name, index))


def transpose(b: Builder, self: T, dim0: int, dim1: int) -> T:
    dims = list(range(self.rank))
    if dims:
        i, j = self.axis(dim0), self.axis(dim1)
        dims[i], dims[j] = dims[j], dims[i]
    return permute(b, self, dims)


def _t(b: Builder, self: T) -> T:
    return permute(b, self, range(self.rank)[::-1])


def _expand(b: Builder, self: T, size: Sequence[Scalar], implicit: bool = False) -> T:
    shape = b.out[0].shape
    return self if shape == self.shape else b.map(self.dtype, shape, b.broadcast(self, shape))


def _start(start: object, extent: Expr) -> Expr:
    """Where a slice begins: negative counts from the end, clamped into the extent."""
    if start is None:
        return Const(0)
    e = constant(start)  # type: ignore[arg-type]
    value, size = as_int(e), as_int(extent)
    if value is None:
        return e
    if size is not None:
        return Const(min(max(value + size if value < 0 else value, 0), size))
    return add(extent, value) if value < 0 else e


def slice_axis(b: Builder, x: T, axis: int, start: Expr, extent: Expr, step: int = 1) -> T:
    """x[.., start : start + extent * step : step, ..]"""
    if as_int(start) == 0 and step == 1 and extent == x.shape[axis]:
        return x
    index = list(axes(x.rank))
    index[axis] = add(mul(index[axis], step), start)  # type: ignore[call-overload]
    return b.map(x.dtype, (*x.shape[:axis], extent, *x.shape[axis + 1 :]), Load(x.name, tuple(index)))


def _slice(b: Builder, self: T, dim: int = 0, start: object = None, end: object = None, step: int = 1) -> T:
    axis = self.axis(dim)
    return slice_axis(b, self, axis, _start(start, self.shape[axis]), b.out[0].shape[axis], step)


def _select(b: Builder, self: T, dim: int, index: Scalar) -> T:
    return select(b, self, self.axis(dim), _start(index, self.shape[self.axis(dim)]))


def select(b: Builder, x: T, axis: int, index: Expr) -> T:
    """x[.., index, ..] without that axis."""
    rest = iter(axes(x.rank - 1))
    place = tuple(index if k == axis else next(rest) for k in range(x.rank))
    return b.map(x.dtype, (*x.shape[:axis], *x.shape[axis + 1 :]), Load(x.name, place))


def _unbind(b: Builder, self: T, dim: int = 0) -> tuple[T, ...]:
    return tuple(select(b, self, self.axis(dim), Const(k)) for k in range(len(b.out)))


def _split(b: Builder, self: T, *_: object, dim: int = 0, **__: object) -> tuple[T, ...]:
    axis = self.axis(dim)
    out: list[T] = []
    start: Expr = Const(0)
    for piece in b.out:
        out.append(slice_axis(b, self, axis, start, piece.shape[axis]))
        start = add(start, piece.shape[axis])
    return tuple(out)


def _flip(b: Builder, self: T, dims: Sequence[int]) -> T:
    turned = {self.axis(d) for d in dims}
    index = tuple(sub(sub(self.shape[k], 1), v) if k in turned else v for k, v in enumerate(axes(self.rank)))
    return b.map(self.dtype, self.shape, Load(self.name, index))


def _roll(b: Builder, self: T, shifts: Sequence[int], dims: Sequence[int] = ()) -> T:
    if not dims:
        flat = b.reshape(self, (as_product(self.shape),))
        return b.reshape(_roll(b, flat, shifts, (0,)), self.shape)
    index: list[Expr] = list(axes(self.rank))
    for shift, dim in zip(shifts, dims):
        axis = self.axis(dim)
        index[axis] = mod(sub(index[axis], constant(shift)), self.shape[axis])
    return b.map(self.dtype, self.shape, Load(self.name, tuple(index)))


def as_product(shape: Shape) -> Expr:
    out: Expr = Const(1)
    for d in shape:
        out = mul(out, d)
    return out


def _repeat(b: Builder, self: T, repeats: Sequence[Scalar]) -> T:
    lead = len(repeats) - self.rank
    index = tuple(
        Const(0) if d == Const(1) else Var(f"i{lead + k}") if repeats[lead + k] == 1 else mod(Var(f"i{lead + k}"), d)
        for k, d in enumerate(self.shape)
    )
    return b.map(self.dtype, b.out[0].shape, Load(self.name, index))


def _unfold(b: Builder, self: T, dimension: int, size: int, step: int) -> T:
    if self.rank == 0:
        return b.reshape(self, b.out[0].shape)
    axis = self.axis(dimension)
    index: list[Expr] = list(axes(self.rank))
    index[axis] = add(mul(index[axis], step), Var(f"i{self.rank}"))
    return b.map(self.dtype, b.out[0].shape, Load(self.name, tuple(index)))


def _diagonal(b: Builder, self: T, offset: int = 0, dim1: int = 0, dim2: int = 1) -> T:
    a1, a2 = self.axis(dim1), self.axis(dim2)
    last = Var(f"i{self.rank - 2}")
    rest = iter(axes(self.rank - 2))
    place = {a1: add(last, max(0, -offset)), a2: add(last, max(0, offset))}
    return b.map(
        self.dtype, b.out[0].shape, Load(self.name, tuple(place[k] if k in place else next(rest) for k in range(self.rank)))
    )


def _as_strided(
    b: Builder, self: T, size: Sequence[Scalar], stride: Sequence[Scalar], storage_offset: Scalar | None = None
) -> T:
    base = b.fx_arg(0)
    if not base.is_contiguous() or base.storage_offset() != 0:
        raise NotOwned("as_strided of a tensor that is not contiguous")
    flat = b.reshape(self, (as_product(self.shape),))
    offset = constant(storage_offset or 0)
    for v, s in zip(axes(len(size)), stride):
        offset = add(offset, mul(v, constant(s)))
    return b.map(self.dtype, b.out[0].shape, Load(flat.name, (offset,)))


# ------------------------------------------------------------------------------------------------ join and replace
def cat(b: Builder, tensors: Sequence[T], dim: int = 0) -> T:
    out = b.out[0]
    parts = [t for t in tensors if t.shape != (Const(0),) or len(out.shape) == 1]
    axis = dim % max(1, len(out.shape))
    return join(b, [convert(b, t, out.dtype) for t in parts], axis, out.shape)


def join(b: Builder, parts: Sequence[T], axis: int, shape: Shape) -> T:
    """Concatenation along an axis: a tree of selects over where the parts end, as deep as the logarithm of their number."""
    if len(parts) == 1:
        return parts[0]
    here = Var(f"i{axis}")
    starts: list[Expr] = [Const(0)]
    for p in parts:
        starts.append(add(starts[-1], p.shape[axis]))
    pieces = []
    for p, start in zip(parts, starts):
        index: list[Expr] = list(axes(len(shape)))
        index[axis] = sub(here, start)
        pieces.append(Load(p.name, tuple(index)))

    def tree(first: int, last: int) -> Expr:
        if last - first == 1:
            return pieces[first]
        middle = (first + last + 1) // 2
        return op("select", op("<", here, starts[middle]), tree(first, middle), tree(middle, last))

    return b.map(parts[0].dtype, shape, tree(0, len(pieces)))


def _stack(b: Builder, tensors: Sequence[T], dim: int = 0) -> T:
    out = b.out[0]
    axis = dim % len(out.shape)
    rows = [b.reshape(convert(b, t, out.dtype), (*t.shape[:axis], Const(1), *t.shape[axis:])) for t in tensors]
    return join(b, rows, axis, out.shape)


def _select_scatter(b: Builder, self: T, src: T, dim: int, index: Scalar) -> T:
    axis = self.axis(dim)
    at = _start(index, self.shape[axis])
    place = tuple(v for k, v in enumerate(axes(self.rank)) if k != axis)
    new = cast(self.dtype, Load(src.name, place), src.dtype)
    return b.map(self.dtype, self.shape, op("select", op("==", Var(f"i{axis}"), at), new, b.at(self)))


def _slice_scatter(b: Builder, self: T, src: T, dim: int = 0, start: object = None, end: object = None, step: int = 1) -> T:
    axis = self.axis(dim)
    here = sub(Var(f"i{axis}"), _start(start, self.shape[axis]))
    inside = op("and", op(">=", here, 0), op("<", here, mul(src.shape[axis], step)))
    if step != 1:
        inside = op("and", inside, op("==", mod(here, step), 0))
    index: list[Expr] = list(axes(self.rank))
    index[axis] = floordiv(here, step)
    new = cast(self.dtype, Load(src.name, tuple(index)), src.dtype)
    return b.map(self.dtype, self.shape, op("select", inside, new, b.at(self)))


def _diagonal_scatter(b: Builder, self: T, src: T, offset: int = 0, dim1: int = 0, dim2: int = 1) -> T:
    v = axes(self.rank)
    a1, a2 = self.axis(dim1), self.axis(dim2)
    rest = tuple(x for k, x in enumerate(v) if k not in (a1, a2))
    new = cast(self.dtype, Load(src.name, (*rest, sub(v[a1], max(0, -offset)))), src.dtype)
    return b.map(self.dtype, self.shape, op("select", op("==", add(v[a1], offset), v[a2]), new, b.at(self)))


# ------------------------------------------------------------------------------------------------ padding
def _pairs(rank: int, pad: Sequence[object]) -> dict[int, tuple[int, int]]:
    """torch's pad list, last axis first, as {axis: (before, after)}."""
    if not all(isinstance(p, int) for p in pad):
        raise NotOwned("padding is symbolic")
    return {rank - 1 - k: (pad[2 * k], pad[2 * k + 1]) for k in range(len(pad) // 2)}  # type: ignore[misc]


def _constant_pad(b: Builder, self: T, pad: Sequence[int], value: float = 0) -> T:
    terms: list[Expr] = []
    index: list[Expr] = list(axes(self.rank))
    for axis, (before, after) in _pairs(self.rank, pad).items():
        index[axis] = sub(index[axis], before)
        terms += [op(">=", index[axis], 0)] if before > 0 else []
        terms += [op("<", index[axis], self.shape[axis])] if after > 0 else []
    expr: Expr = Load(self.name, tuple(index))
    if terms:
        inside = terms[0]
        for t in terms[1:]:
            inside = op("and", inside, t)
        expr = op("select", inside, expr, number(value, self.dtype))
    return b.map(self.dtype, b.out[0].shape, expr)


def _border_pad(place: Callable[[Expr, Expr], Expr]) -> Rule:
    """Padding that reads inside: `place` brings a coordinate into [0, extent)."""

    def rule(b: Builder, self: T, padding: Sequence[int]) -> T:
        index: list[Expr] = list(axes(self.rank))
        for axis, (before, _) in _pairs(self.rank, padding).items():
            index[axis] = place(sub(index[axis], before), self.shape[axis])
        return b.map(self.dtype, b.out[0].shape, Load(self.name, tuple(index)))

    return rule


def _nearest_inside(i: Expr, n: Expr) -> Expr:
    return op("min", op("max", i, 0), sub(n, 1))


def _mirrored(i: Expr, n: Expr) -> Expr:
    above = op("max", i, simplify(Op("neg", (i,))))
    low = sub(mul(sub(n, 1), 2), above)
    return op("min", above, low)


# ------------------------------------------------------------------------------------------------ making
def _fill(value: float) -> Rule:
    def rule(b: Builder, *_: object, **__: object) -> T:
        return full(b, value)

    return rule


def full(b: Builder, value: Scalar) -> T:
    """The current result filled with one number."""
    out = b.out[0]
    return b.map(
        out.dtype, out.shape, number(value, out.dtype) if isinstance(value, (bool, int, float)) else Cast(out.dtype, value)
    )


def _full(b: Builder, fill_value: Scalar, **rest: object) -> T:
    return full(b, fill_value)


def _fill_from(b: Builder, self: T, value: object) -> T:
    out = b.out[0]
    return b.map(out.dtype, out.shape, operand(b, value, out.dtype, out.shape))


def _scalar_tensor(b: Builder, s: Scalar, **rest: object) -> T:
    return full(b, s)


def _arange(b: Builder, start: Scalar = 0, step: Scalar = 1, **rest: object) -> T:
    out = b.out[0]
    i = Var("i0")
    if is_float(out.dtype):
        e = op("+", op("*", Cast("f64", i), Cast("f64", constant(step))), Cast("f64", constant(start)))
        return b.map(out.dtype, out.shape, cast(out.dtype, e, "f64"))
    start, step = (int(v) if isinstance(v, float) else v for v in (start, step))
    return b.map(out.dtype, out.shape, cast(out.dtype, add(mul(i, constant(step)), constant(start)), "i64"))


def _eye(b: Builder, *_: object, **__: object) -> T:
    out = b.out[0]
    return b.map(out.dtype, out.shape, cast(out.dtype, op("==", Var("i0"), Var("i1")), "b1"))


def _triangle(compare: str) -> Rule:
    def rule(b: Builder, self: T, diagonal: int = 0) -> T:
        row, column = axes(self.rank)[-2:]
        inside = op(compare, sub(column, row), diagonal)
        return b.map(self.dtype, self.shape, op("select", inside, b.at(self), number(0, self.dtype)))

    return rule


def _linspace(b: Builder, start: float, end: float, steps: int, **rest: object) -> T:
    out = b.out[0]
    if not is_float(out.dtype):
        raise NotOwned("an integer linspace")
    n = max(int(steps) - 1, 1)
    i = Cast("f64", Var("i0"))
    low = op("+", op("*", i, (end - start) / n), float(start))
    high = op("-", float(end), op("*", op("-", float(steps - 1), i), (end - start) / n))
    e = op("select", op("<", Var("i0"), int(steps) // 2), low, high) if steps > 1 else Cast("f64", Const(float(start)))
    return b.map(out.dtype, out.shape, cast(out.dtype, e, "f64"))


_VIEWS = ("view.default", "reshape.default", "_unsafe_view.default", "unsqueeze.default", "squeeze.default", "squeeze.dim", "squeeze.dims",
          "flatten.using_ints", "unflatten.int", "view_copy.default", "_reshape_copy.default", "_reshape_alias.default")  # fmt: skip
_SAME = (
    "clone.default",
    "alias.default",
    "detach.default",
    "contiguous.default",
    "lift_fresh_copy.default",
    "lift_fresh.default",
    "lift.default",
)
_ZEROS = ("zeros.default", "zeros_like.default", "new_zeros.default", "empty.memory_format", "empty_like.default", "new_empty.default",
          "empty_strided.default", "new_empty_strided.default", "empty_permuted.default")  # fmt: skip

SHAPE: dict[str, Rule] = {
    **{f"aten.{name}": _reshape for name in _VIEWS},
    **{f"aten.{name}": _same for name in _SAME},
    **{f"aten.{name}": _fill(0) for name in _ZEROS},
    "aten.permute.default": permute,
    "aten.transpose.int": transpose,
    "aten.t.default": _t,
    "aten.numpy_T.default": _t,
    "aten.expand.default": _expand,
    "aten.slice.Tensor": _slice,
    "aten.select.int": _select,
    "aten.unbind.int": _unbind,
    "aten.split.Tensor": lambda b, self, split_size, dim: _split(b, self, dim=dim),
    "aten.split_with_sizes.default": lambda b, self, split_sizes, dim: _split(b, self, dim=dim),
    "aten.flip.default": _flip,
    "aten.roll.default": _roll,
    "aten.repeat.default": _repeat,
    "aten.unfold.default": _unfold,
    "aten.diagonal.default": _diagonal,
    "aten.as_strided.default": _as_strided,
    "aten.cat.default": cat,
    "aten.stack.default": _stack,
    "aten.select_scatter.default": _select_scatter,
    "aten.slice_scatter.default": _slice_scatter,
    "aten.diagonal_scatter.default": _diagonal_scatter,
    "aten.constant_pad_nd.default": _constant_pad,
    **{f"aten.replication_pad{n}d.default": _border_pad(_nearest_inside) for n in (1, 2, 3)},
    **{f"aten.reflection_pad{n}d.default": _border_pad(_mirrored) for n in (1, 2, 3)},
    "aten.ones.default": _fill(1),
    "aten.ones_like.default": _fill(1),
    "aten.new_ones.default": _fill(1),
    "aten.full.default": _full,
    "aten.full_like.default": _full,
    "aten.new_full.default": _full,
    "aten.fill.Scalar": _fill_from,
    "aten.fill.Tensor": _fill_from,
    "aten.scalar_tensor.default": _scalar_tensor,
    "aten.arange.start_step": _arange,
    "aten.linspace.default": _linspace,
    "aten.eye.default": _eye,
    "aten.eye.m": _eye,
    "aten.tril.default": _triangle("<="),
    "aten.triu.default": _triangle(">="),
}
