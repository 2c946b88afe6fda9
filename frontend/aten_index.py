"""ATen operators that read or write at positions held in tensors: Maps with loads in the index, and Scatter.

An index is in range by proof (an arange, a mask, an argmax), or because a graph input is declared `within` a range that the
runtime checks before a launch. Where neither holds the call stays extern, so that ATen can raise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.expr import Cast, Const, Expr, Load, Op, Var, as_int, bounds, sub, substitute
from ..ir.graph import Map, Reduce, Reshape, Scatter, Sort, TensorType, Window
from ..ir.types import is_int
from .aten_pointwise import convert, number, operand
from .aten_shape import as_product
from .builder import Builder, NotOwned, Number, Shape, T, axes, cast, highest, lowest, op, static

Rule = Callable[..., object]
Bounds = tuple[int, int]


# ------------------------------------------------------------------------------------------------ ranges of index tensors
def value_range(b: Builder, x: T) -> Bounds | None:
    """Inclusive bounds of an integer tensor's elements when they are known at compile time."""
    if x.dtype == "b1":
        return 0, 1
    if x.name in b.weights and b.roles[x.name] in ("const", "buffer"):
        value = b.weights[x.name]
        return (int(value.min()), int(value.max())) if value.numel() else (0, 0)
    declared = b.within.get(x.name)
    if declared is not None:
        lo, hi = as_int(declared[0]), as_int(declared[1])
        return None if lo is None or hi is None else (lo, hi - 1)
    node = b.defined.get(x.name)
    return _node_range(b, x, node.op) if node is not None else None


def _node_range(b: Builder, x: T, operator: object) -> Bounds | None:
    if isinstance(operator, Reshape):
        return value_range(b, b.handle(operator.x))
    if isinstance(operator, (Reduce, Window)) and operator.monoid in ("max", "min"):
        return value_range(b, b.handle(operator.inputs[0]))
    if isinstance(operator, Reduce) and operator.monoid.startswith("arg") and x.dtype == "i64":
        return _below(as_product(tuple(b.types[operator.inputs[0]].shape[a] for a in operator.axes)))
    if isinstance(operator, Sort):
        source = b.handle(operator.x)
        indices = b.defined[x.name].outputs[1].name == x.name
        return _below(source.shape[operator.axis]) if indices else value_range(b, source)
    return _expr_range(b, x, operator.expr) if isinstance(operator, Map) else None


def _below(n: Expr) -> Bounds | None:
    size = as_int(n)
    return None if size is None else (0, max(0, size - 1))


def _expr_range(b: Builder, x: T, e: Expr) -> Bounds | None:
    """Bounds of a Map's expression: loads become fresh variables with their tensors' ranges."""
    ranges: dict[str, Bounds] = {}
    for k, d in enumerate(x.shape):
        size = as_int(d)
        if size is not None:
            ranges[f"i{k}"] = (0, max(0, size - 1))
    lo, hi = bounds(_abstract(b, e, ranges), ranges)
    return None if lo is None or hi is None else (lo, hi)


def _abstract(b: Builder, e: Expr, ranges: dict[str, Bounds]) -> Expr:
    if isinstance(e, Load):
        known = value_range(b, b.handle(e.buffer))
        name = f"load{len(ranges)}"
        if known is not None:
            ranges[name] = known
        return Var(name)
    if isinstance(e, Cast):
        inner = _abstract(b, e.value, ranges)
        return inner if is_int(e.dtype) and _integral(b, e.value) else Var("unknown")
    if isinstance(e, Op):
        return Op(e.name, tuple(_abstract(b, a, ranges) for a in e.args)) if e.name != "select" else _choice(b, e, ranges)
    return e


def _choice(b: Builder, e: Op, ranges: dict[str, Bounds]) -> Expr:
    return Op("select", (Const(True), *(_abstract(b, a, ranges) for a in e.args[1:])))


def _integral(b: Builder, e: Expr) -> bool:
    """Casting this to an integer keeps its value."""
    if isinstance(e, Load):
        dtype = b.types[e.buffer].dtype
        return is_int(dtype) or dtype == "b1"
    if isinstance(e, Cast):
        return is_int(e.dtype)
    if isinstance(e, Op):
        return all(_integral(b, a) for a in e.args)
    return isinstance(e, Var) or isinstance(e.value, int)


def _source_input(b: Builder, x: T) -> str | None:
    """The graph input whose elements these are, unchanged: seen through reshapes, pure loads and integer casts."""
    while x.name not in b.roles:
        node = b.defined.get(x.name)
        if node is None:
            return None
        if isinstance(node.op, Reshape):
            x = b.handle(node.op.x)
            continue
        e = node.op.expr if isinstance(node.op, Map) else None
        while isinstance(e, Cast) and is_int(e.dtype):
            e = e.value
        if not isinstance(e, Load) or not is_int(b.types[e.buffer].dtype):
            return None
        x = b.handle(e.buffer)
    return x.name


def require(b: Builder, index: T, lo: Expr, hi: Expr) -> Bounds | None:
    """See to it that elements are in [lo, hi): by proof, or by declaring the graph input. Raises NotOwned."""
    known = value_range(b, index)
    low, high = as_int(lo), as_int(hi)
    if known is not None and low is not None and high is not None and low <= known[0] and known[1] < high:
        return known
    source = _source_input(b, index)
    if source is None or b.roles[source] != "input":
        raise NotOwned("an index that could be out of range, where ATen raises")
    old = b.within.get(source)
    b.within[source] = (lo, hi) if old is None else (_tight("max", old[0], lo), _tight("min", old[1], hi))
    return value_range(b, index)


def _tight(which: str, a: Expr, c: Expr) -> Expr:
    x, y = as_int(a), as_int(c)
    if x is None or y is None:
        if a != c:
            raise NotOwned("an index into two symbolic extents")
        return a
    return Const(max(x, y) if which == "max" else min(x, y))


def position(b: Builder, index: T, at: Expr, extent: Expr, wrap: bool) -> Expr:
    """The element `at` of an index tensor as a coordinate in [0, extent); `wrap`: negative ones count from the end."""
    known = require(
        b,
        index,
        Op("neg", (extent,)) if wrap and as_int(extent) is None else Const(-static(extent, "")) if wrap else Const(0),
        extent,
    )
    e = at if index.dtype == "i64" else Cast("i64", at)
    if wrap and (known is None or known[0] < 0):
        e = op("select", op("<", e, 0), op("+", e, extent), e)
    wrapped = wrap and (known is None or known[0] < 0)
    if isinstance(at, Load) and at.buffer in b.roles and not wrapped:
        b.within.setdefault(at.buffer, (Const(0), extent))
        return e
    return op("min", op("max", e, 0), sub(extent, 1))


def _integer_index(index: T) -> None:
    if not is_int(index.dtype):
        raise NotOwned("a boolean index")


def _numbers_as_vectors(rule: Rule) -> Rule:
    """A 0-d tensor is indexed along an axis of extent 1, as ATen does."""

    def lifted(b: Builder, self: T, **args: object) -> T:
        if self.rank:
            return rule(b, self, **args)  # type: ignore[return-value]
        wide = {k: b.reshape(v, (Const(1),)) if isinstance(v, T) and v.rank == 0 else v for k, v in args.items()}
        y = rule(b, b.reshape(self, (Const(1),)), **wide)
        assert isinstance(y, T)
        return b.reshape(y, b.out[0].shape)

    return lifted


# ------------------------------------------------------------------------------------------------ reading
def _gather(b: Builder, self: T, dim: int, index: T, sparse_grad: bool = False) -> T:
    if index.rank != self.rank:
        raise NotOwned("an empty index of another rank")
    axis = self.axis(dim)
    place: list[Expr] = list(axes(index.rank))
    place[axis] = position(b, index, b.at(index), self.shape[axis], False)
    return b.map(self.dtype, index.shape, Load(self.name, tuple(place)))


def _index_select(b: Builder, self: T, dim: int, index: T) -> T:
    axis = self.axis(dim)
    index = b.reshape(index, (as_product(index.shape),))
    place: list[Expr] = list(axes(self.rank))
    place[axis] = position(b, index, b.load(index, Var(f"i{axis}")), self.shape[axis], False)
    shape = (*self.shape[:axis], index.shape[0], *self.shape[axis + 1 :])
    return b.map(self.dtype, shape, Load(self.name, tuple(place)))


def _embedding(
    b: Builder, weight: T, indices: T, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> T:
    at = b.load(indices, *axes(indices.rank))
    row = position(b, indices, at, weight.shape[0], False)
    return b.map(weight.dtype, b.out[0].shape, Load(weight.name, (row, Var(f"i{indices.rank}"))))


def _index(b: Builder, self: T, indices: Sequence[T | None]) -> T:
    place, shape = _advanced(b, self, indices)
    if shape != b.out[0].shape:
        raise NotOwned("advanced indexing of this form")
    return b.map(self.dtype, shape, Load(self.name, place))


def _advanced(b: Builder, x: T, indices: Sequence[T | None]) -> tuple[tuple[Expr, ...], Shape]:
    """Coordinates into x and the shape of x[indices], by NumPy's rules: indexed axes adjacent or else in front."""
    given = [k for k, t in enumerate(indices) if t is not None]
    tensors = [t for t in indices if t is not None]
    for t in tensors:
        _integer_index(t)
    common = _common_shape([t.shape for t in tensors])
    adjacent = given == list(range(given[0], given[-1] + 1)) if given else True
    front = given[0] if given and adjacent else 0
    rest = [k for k in range(x.rank) if k not in given]
    shape = (*(x.shape[k] for k in rest[:front]), *common, *(x.shape[k] for k in rest[front:]))
    own = {k: Var(f"i{j if j < front else j + len(common)}") for j, k in enumerate(rest)}
    place: list[Expr] = []
    for k in range(x.rank):
        t = indices[k] if k < len(indices) else None
        place.append(own[k] if t is None else _advanced_position(b, t, common, front, x.shape[k]))
    return tuple(place), shape


def _advanced_position(b: Builder, t: T, common: Shape, front: int, extent: Expr) -> Expr:
    load = b.broadcast(t, common)
    at = substitute(load, {f"i{k}": Var(f"i{k + front}") for k in range(len(common))})
    return position(b, t, at, extent, True)


def _common_shape(shapes: Sequence[Shape]) -> Shape:
    out: list[Expr] = []
    for shape in shapes:
        for k in range(1, len(shape) + 1):
            if k > len(out):
                out.insert(0, shape[-k])
            elif out[-k] == Const(1):
                out[-k] = shape[-k]
    return tuple(out)


def _take(b: Builder, self: T, index: T) -> T:
    flat = b.reshape(self, (as_product(self.shape),))
    return b.map(self.dtype, index.shape, Load(flat.name, (position(b, index, b.at(index), flat.shape[0], True),)))


def class_value(b: Builder, x: T, target: T, weight: T | None, ignore: int) -> tuple[T, T]:
    """(-w[t] * x[.., t, ..], w[t]) for class indices t; ignored ones give zeros, impossible ones nan."""
    axis = 0 if x.rank == 1 else 1
    classes = x.shape[axis]
    _target_range(b, target, classes, ignore)
    shape = target.shape
    at = b.at(target)
    t = at if target.dtype == "i64" else Cast("i64", at)
    inside = op("min", op("max", t, 0), sub(classes, 1))
    place = list(axes(target.rank))
    place.insert(axis, inside)  # type: ignore[arg-type]
    share: Expr = Const(1.0) if weight is None else Load(weight.name, (inside,))
    bad = op("or", op("<", t, 0), op(">=", t, classes))
    w = b.map(x.dtype, shape, op("select", op("==", t, ignore), 0.0, share), "weight")
    value = op("neg", Load(x.name, tuple(place))) if weight is None else op("*", op("neg", Load(x.name, tuple(place))), share)
    each = b.map(x.dtype, shape, op("select", op("==", t, ignore), 0.0, op("select", bad, float("nan"), value)), "each")
    return each, w


def _target_range(b: Builder, target: T, classes: Expr, ignore: int) -> None:
    """Declare the range of class indices where the target is an input and the ignored index does not widen it."""
    n = static(classes, "the number of classes")
    try:
        require(b, target, Const(min(0, ignore)), Const(max(n, ignore + 1)))
    except NotOwned:
        return


# ------------------------------------------------------------------------------------------------ writing
_MONOID = {None: None, "add": "add", "multiply": "mul", "sum": "add", "prod": "mul", "amax": "max", "amin": "min"}


def scatter(b: Builder, base: T, axis: int, index: T, src: T, monoid: str | None) -> T:
    """base with src combined in at index along axis; index and src have one shape."""
    if src.dtype in ("f16", "bf16") and monoid == "add":
        wide = scatter(b, b.cast(base, "f32"), axis, index, b.cast(src, "f32"), monoid)
        return b.cast(wide, base.dtype)
    if base.dtype == "b1" and monoid is not None:
        raise NotOwned("a scatter that combines booleans")
    node = Scatter(base.name, index.name, src.name, axis, monoid)
    return b.emit(node, TensorType(base.dtype, base.shape))[0]


def _scatter(
    b: Builder,
    self: T,
    dim: int,
    index: T,
    src: object = None,
    value: object = None,
    reduce: str | None = None,
    include_self: bool = True,
) -> T:
    if reduce not in _MONOID or (index.rank != self.rank):
        raise NotOwned(f"scatter that reduces with {reduce}" if reduce not in _MONOID else "an empty index of another rank")
    axis, monoid = self.axis(dim), _MONOID[reduce]
    places = _positions(b, index, self.shape[axis], False)
    source = _source(b, src if src is not None else value, index.shape, self.dtype)
    if monoid is not None and not include_self:
        neutral = b.map(self.dtype, index.shape, number(_neutral(monoid, self.dtype), self.dtype), "neutral")
        self = scatter(b, self, axis, places, neutral, None)
    return scatter(b, self, axis, places, source, monoid)


def _source(b: Builder, new: object, shape: Shape, dtype: str) -> T:
    """What is written: the leading part of a tensor, or a number, over the index's shape."""
    if isinstance(new, T):
        part = new if new.shape == shape else b.map(new.dtype, shape, b.at(new), "part")
        return convert(b, part, dtype)
    return b.map(dtype, shape, operand(b, new, dtype, shape), "value")


def _neutral(monoid: str, dtype: str) -> Number:
    return (
        {"add": 0, "mul": 1}.get(monoid) if monoid in ("add", "mul") else lowest(dtype) if monoid == "max" else highest(dtype)
    )  # type: ignore[return-value]


def _scatter_add(b: Builder, self: T, dim: int, index: T, src: T) -> T:
    return _scatter(b, self, dim, index, src, reduce="add")


def _positions(b: Builder, index: T, extent: Expr, wrap: bool) -> T:
    """The index tensor with every element proved to be in [0, extent)."""
    e = position(b, index, b.at(index), extent, wrap)
    return index if e == b.at(index) else b.map("i64", index.shape, e, "index")


def _index_write(monoid: str | None) -> Rule:
    """index_add, index_copy: a vector of positions along one axis."""

    def rule(b: Builder, self: T, dim: int, index: T, source: T, alpha: float = 1) -> T:
        axis = self.axis(dim)
        index = b.reshape(index, (as_product(index.shape),))
        source = b.reshape(source, (*self.shape[:axis], index.shape[0], *self.shape[axis + 1 :]))
        vector = position(b, index, b.load(index, Var(f"i{axis}")), self.shape[axis], False)
        places = b.map("i64", source.shape, vector, "index")
        if alpha != 1:
            source = b.map(source.dtype, source.shape, op("*", b.at(source), alpha), "scaled")
        return scatter(b, self, axis, places, source, monoid)

    return rule


def _index_put(
    b: Builder, self: T, indices: Sequence[T | None], values: T, accumulate: bool = False, unsafe: bool = False
) -> T:
    """Through a flat view: positions of x[indices] in row-major order."""
    tensors = [t for t in indices if t is not None]
    if len(tensors) == 1 and tensors[0].dtype == "b1" and indices[0] is not None:
        return _mask_put(b, self, indices, values, accumulate)
    place, shape = _advanced(b, self, indices)
    flat: Expr = Const(0)
    for p, d in zip(place, self.shape):
        flat = op("+", op("*", flat, d), p) if not isinstance(flat, Const) else p
    n = as_product(shape)
    index = b.reshape(b.map("i64", shape, flat, "index"), (n,))
    source = b.reshape(b.map(self.dtype, shape, operand(b, values, self.dtype, shape), "values"), (n,))
    base = b.reshape(self, (as_product(self.shape),))
    return b.reshape(scatter(b, base, 0, index, source, "add" if accumulate else None), self.shape)


def _mask_put(b: Builder, self: T, indices: Sequence[T | None], values: T, accumulate: bool) -> T:
    """x[mask] = values that do not depend on how many elements the mask has."""
    mask = indices[0]
    rest = self.rank - (mask.rank if mask is not None else 0)
    if mask is None or (values.rank > rest and as_int(as_product(values.shape)) != 1):
        raise NotOwned("a boolean index")
    row = b.reshape(values, values.shape[max(0, values.rank - rest) :])
    value = cast(self.dtype, b.broadcast(row, self.shape), row.dtype)
    value = op("+", b.at(self), value) if accumulate else value
    return b.map(self.dtype, self.shape, op("select", Load(mask.name, axes(mask.rank)), value, b.at(self)))


INDEX: dict[str, Rule] = {
    "aten.gather.default": _numbers_as_vectors(_gather),
    "aten.index_select.default": _numbers_as_vectors(_index_select),
    "aten.embedding.default": _embedding,
    "aten.index.Tensor": _index,
    "aten._unsafe_index.Tensor": _index,
    "aten.take.default": _take,
    "aten.scatter.src": _numbers_as_vectors(_scatter),
    "aten.scatter.value": _numbers_as_vectors(_scatter),
    "aten.scatter.reduce": _numbers_as_vectors(_scatter),
    "aten.scatter.value_reduce": _numbers_as_vectors(_scatter),
    "aten.scatter_reduce.two": _numbers_as_vectors(_scatter),
    "aten.scatter_add.default": _numbers_as_vectors(_scatter_add),
    "aten.index_add.default": _numbers_as_vectors(_index_write("add")),
    "aten.index_copy.default": _numbers_as_vectors(_index_write(None)),
    "aten.index_put.default": _index_put,
    "aten._unsafe_index_put.default": _index_put,
}
