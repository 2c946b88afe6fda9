"""What each graph operator computes, element by element: the lowering of every operator (softmax, norms and the like arrive
here as maps and reductions) in one table, `DEFINE`.

Comes in: a Node and the types of its operands. Goes out: a Definition

    out[i0, i1, ..] = monoid over r0, r1, .. of values        (a Map has no monoid; a scan keeps its running results)

in the manner of TE's compute. Operators without one (Sort, Random, Extern) are run by ATen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..ir.expr import Cast, Const, Expr, Load, Op, Var, add, conjunction, floordiv, mod, mul, simplify, sub
from ..ir.graph import Contract, Conv, Map, Node, Reduce, Reshape, Scan, TensorType, Window
from ..ir.monoid import MONOIDS
from .indexing import axis_ranges, coords, ravel, reindex

Types = Mapping[str, TensorType]


@dataclass(frozen=True)
class Definition:
    """`extents` of the output axes i0.., `reduce_extents` of r0..; `values` has one expression per monoid slot.

    `scan`: position of the scanned output axis; then the monoid runs along it and every element is stored.
    """

    node: Node
    extents: tuple[Expr, ...]
    reduce_extents: tuple[Expr, ...]
    monoid: str | None
    values: tuple[Expr, ...]
    scan: int | None = None
    kind: str = field(default="")

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(f"i{d}" for d in range(len(self.extents)))

    @property
    def reduce_axes(self) -> tuple[str, ...]:
        return tuple(f"r{d}" for d in range(len(self.reduce_extents)))


def _vars(prefix: str, n: int) -> tuple[Expr, ...]:
    return tuple(Var(f"{prefix}{d}") for d in range(n))


def accumulator(dtype: str) -> str:
    """The dtype in which products of a dtype are summed: half and bfloat16 in float32, rounded once at the end, as ATen does."""
    return "f32" if dtype in ("f16", "bf16") else dtype


def wide(e: Expr, dtype: str, into: str = "") -> Expr:
    """An operand of a product in its accumulator's dtype (`into`: what the product is declared to give)."""
    target = accumulator(into or dtype)
    return e if target == dtype else Cast(target, e)


def identity(monoid: str, slot: int, dtype: str) -> Expr:
    """The neutral element of a slot in a dtype."""
    text = MONOIDS[monoid].identities[slot]
    if text in ("True", "False"):
        return Const(text == "True")
    if text in ("inf", "-inf"):
        return _extreme(dtype, text == "inf")
    return Const(float(text)) if dtype[0] in "fb" and dtype != "b1" else Const(int(text))


def _extreme(dtype: str, largest: bool) -> Expr:
    if dtype[0] == "f" or dtype == "bf16":
        return Const(float("inf") if largest else float("-inf"))
    if dtype == "b1":
        return Const(largest)
    bits = int(dtype[1:])
    low, high = (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return Const(high if largest else low)


def _map(node: Node, types: Types) -> Definition:
    assert isinstance(node.op, Map)
    return Definition(node, node.outputs[0].type.shape, (), None, (node.op.expr,), kind="map")


def _reshape(node: Node, types: Types) -> Definition:
    assert isinstance(node.op, Reshape)
    shape = node.outputs[0].type.shape
    ranges = axis_ranges(tuple(f"i{d}" for d in range(len(shape))), shape)
    index = reindex(coords(len(shape)), shape, types[node.op.x].shape, ranges)
    return Definition(node, shape, (), None, (Load(node.op.x, index),), kind="map")


def _slots(op: Reduce | Window | Scan, index: tuple[Expr, ...], position: Expr, guard: Expr, types: Types) -> tuple[Expr, ...]:
    """Values of each slot at an input index; outside the guard the identity."""
    values: list[Expr] = [Load(x, index) for x in op.inputs]
    if op.monoid in ("argmax", "argmin"):
        values.append(position)
    if guard == Const(True):
        return tuple(values)
    dtypes = [types[x].dtype for x in op.inputs] + ["i64"]
    return tuple(Op("select", (guard, v, identity(op.monoid, s, dtypes[s]))) for s, v in enumerate(values))


def _reduce(node: Node, types: Types) -> Definition:
    op = node.op
    assert isinstance(op, Reduce)
    shape = types[op.inputs[0]].shape
    reduced = {axis: Var(f"r{k}") for k, axis in enumerate(op.axes)}
    kept = iter(coords(len(shape)))
    index = tuple(reduced[d] if d in reduced else next(kept) for d in range(len(shape)))
    extents = tuple(shape[a] for a in op.axes)
    position = ravel(_vars("r", len(op.axes)), extents, {})
    values = _slots(op, index, position, Const(True), types)
    return Definition(node, node.outputs[0].type.shape, extents, op.monoid, values, kind="reduce")


def _window(node: Node, types: Types) -> Definition:
    op = node.op
    assert isinstance(op, Window)
    shape, rank = types[op.inputs[0]].shape, len(op.size)
    lead = len(shape) - rank
    place = tuple(
        add(mul(Var(f"i{lead + d}"), op.stride[d]), sub(mul(Var(f"r{d}"), op.dilation[d]), op.padding[d])) for d in range(rank)
    )
    out = node.outputs[0].type.shape
    guard = conjunction([t for d in range(rank) for t in _inside(place[d], shape[lead + d], op, d, out[lead + d])])
    index = (*coords(lead), *place)
    values = _slots(op, index, ravel(place, shape[lead:], {}), guard, types)
    return Definition(node, out, tuple(Const(k) for k in op.size), op.monoid, values, kind="window")


def _inside(place: Expr, size: Expr, op: Window | Conv, d: int, out: Expr) -> list[Expr]:
    """Bounds of a tap that can be violated: below only with padding, above only when the last window sticks out."""
    low: list[Expr] = [Op(">=", (place, Const(0)))] if op.padding[d] else []
    taps = op.size[d] if isinstance(op, Window) else 0
    reach = add(mul(sub(out, 1), op.stride[d]), (taps - 1) * op.dilation[d] - op.padding[d])
    fits = simplify(Op("<", (reach, size))) == Const(True)
    return low if fits and taps else [*low, Op("<", (place, size))]


def _contract(node: Node, types: Types) -> Definition:
    op = node.op
    assert isinstance(op, Contract)
    (left, right), out = op.spec.split("->")[0].split(","), op.spec.split("->")[1]
    sizes = dict(zip(left, types[op.a].shape)) | dict(zip(right, types[op.b].shape))
    reduced = [c for c in dict.fromkeys(left + right) if c not in out]
    name: dict[str, Expr] = {}
    name.update({c: Var(f"i{d}") for d, c in enumerate(out)})
    name.update({c: Var(f"r{d}") for d, c in enumerate(reduced)})
    a, b = Load(op.a, tuple(name[c] for c in left)), Load(op.b, tuple(name[c] for c in right))
    into = node.outputs[0].type.dtype
    product = Op("*", (wide(a, types[op.a].dtype, into), wide(b, types[op.b].dtype, into)))
    return Definition(node, tuple(sizes[c] for c in out), tuple(sizes[c] for c in reduced), "add", (product,), kind="contract")


def _conv(node: Node, types: Types) -> Definition:
    op = node.op
    assert isinstance(op, Conv)
    return _conv_transposed(node, op, types) if op.transposed else _conv_direct(node, op, types)


def _conv_direct(node: Node, op: Conv, types: Types) -> Definition:
    xs, ws, out = types[op.x].shape, types[op.w].shape, node.outputs[0].type.shape
    rank = len(xs) - 2
    place = tuple(
        add(mul(Var(f"i{d + 2}"), op.stride[d]), sub(mul(Var(f"r{d + 1}"), op.dilation[d]), op.padding[d])) for d in range(rank)
    )
    guard = conjunction([t for d in range(rank) if op.padding[d] for t in _inside(place[d], xs[d + 2], op, d, out[d + 2])])
    channel: Expr = Var("r0")
    if op.groups > 1:
        channel = add(mul(floordiv(Var("i1"), floordiv(out[1], op.groups)), ws[1]), Var("r0"))
    x: Expr = Load(op.x, (Var("i0"), channel, *place))
    if guard != Const(True):
        x = Op("select", (guard, x, Const(0.0)))
    w = Load(op.w, (Var("i1"), *_vars("r", rank + 1)))
    product = Op("*", (wide(x, types[op.x].dtype), wide(w, types[op.w].dtype)))
    return Definition(node, out, ws[1:], "add", (product,), kind="conv")


def _conv_transposed(node: Node, op: Conv, types: Types) -> Definition:
    """Gather form: an output element takes the taps whose distance is a multiple of the stride."""
    xs, ws, out = types[op.x].shape, types[op.w].shape, node.outputs[0].type.shape
    rank = len(xs) - 2
    per_group = ws[1]
    guards: list[Expr] = []
    place: list[Expr] = []
    for d in range(rank):
        at = sub(add(Var(f"i{d + 2}"), op.padding[d]), mul(Var(f"r{d + 1}"), op.dilation[d]))
        if op.stride[d] > 1:
            guards.append(Op("==", (mod(at, op.stride[d]), Const(0))))
        place.append(floordiv(at, op.stride[d]))
        guards += [Op(">=", (at, Const(0))), Op("<", (place[-1], xs[d + 2]))]
    in_group = floordiv(xs[1], op.groups)
    group = floordiv(Var("i1"), per_group)
    channel = Var("r0") if op.groups == 1 else add(mul(group, in_group), Var("r0"))
    column: Expr = Var("i1") if op.groups == 1 else mod(Var("i1"), per_group)
    x = Load(op.x, (Var("i0"), channel, *place))
    w = Load(op.w, (channel, column, *_vars("r", rank + 1)[1:]))
    product = Op("*", (wide(x, types[op.x].dtype), wide(w, types[op.w].dtype)))
    value = Op("select", (conjunction(guards), product, Const(0.0)))
    return Definition(node, out, (in_group, *ws[2:]), "add", (value,), kind="conv")


def _scan(node: Node, types: Types) -> Definition:
    op = node.op
    assert isinstance(op, Scan)
    shape = types[op.inputs[0]].shape
    values = _slots(op, coords(len(shape)), Var(f"i{op.axis}"), Const(True), types)
    return Definition(node, shape, (), op.monoid, values, scan=op.axis, kind="scan")


DEFINE: dict[type, Callable[[Node, Types], Definition]] = {
    Map: _map, Reshape: _reshape, Reduce: _reduce, Window: _window, Contract: _contract, Conv: _conv, Scan: _scan,
}  # fmt: skip


def define(node: Node, types: Types) -> Definition | None:
    """The element-wise definition of a node, None for what ATen runs."""
    rule = DEFINE.get(type(node.op))
    return rule(node, types) if rule else None
