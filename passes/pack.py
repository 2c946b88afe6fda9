"""Graph to Graph: operands of contractions and convolutions laid out for register tiles, as maps of their own.

A packed operand holds, for each tile of its tiled dim, all that a tile reads, in the order in which it is read:
B[k, n] -> Bp[n//T, k, n%T]. Since packing is a map, packing a weight depends on weights alone and is hoisted out of the run by
`pipeline`; packing an activation is a kernel like any other, done only where the tile is read often enough.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ..ir.expr import Const, Expr, Load, Op, Var, add, as_int, ceildiv, floordiv, mod, mul
from ..ir.graph import Contract, Conv, Graph, Map, Node, Reduce, Reshape, TensorType, Value, operands
from ..ir.machine import Machine
from .decisions import Decisions

Packs = dict[str, dict[str, "Packed"]]
"""output of a contraction or convolution -> operand -> how it is read."""


@dataclass(frozen=True)
class Packed:
    """`name` holds `source` as (lead dims, tiled//tile, rest dims, tiled%tile), zero past the end.

    With a `group` that many neighbours along the last of the rest dims come innermost: (.., rest//group, tiled%tile, rest%group).
    """

    source: str
    name: str
    tiled: int
    lead: tuple[int, ...]
    rest: tuple[int, ...]
    tile: int
    group: int = 1

    def index(self, old: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """Where the element at an index of the source lies."""
        x = old[self.tiled]
        if self.group > 1:
            *rest, last = (old[d] for d in self.rest)
            places = (floordiv(x, self.tile), *rest, floordiv(last, self.group), mod(x, self.tile), mod(last, self.group))
            return (*(old[d] for d in self.lead), *places)
        return (*(old[d] for d in self.lead), floordiv(x, self.tile), *(old[d] for d in self.rest), mod(x, self.tile))

    def node(self, types: dict[str, TensorType], origin: str) -> Node:
        """The map that packs."""
        t = types[self.source]
        if self.group > 1:
            return self._grouped(t, origin)
        shape = (*(t.shape[d] for d in self.lead), ceildiv(t.shape[self.tiled], self.tile), *(t.shape[d] for d in self.rest), Const(self.tile))
        index: dict[int, Expr] = {d: Var(f"i{k}") for k, d in enumerate((*self.lead, self.tiled, *self.rest))}
        index[self.tiled] = add(mul(Var(f"i{len(self.lead)}"), self.tile), Var(f"i{len(shape) - 1}"))
        value: Expr = Load(self.source, tuple(index[d] for d in range(len(t.shape))))
        size = as_int(t.shape[self.tiled])
        if size is None or size % self.tile:
            zero = Const(0.0) if t.dtype[0] in "fb" else Const(0)
            value = Op("select", (Op("<", (index[self.tiled], t.shape[self.tiled])), value, zero))
        return Node((Value(self.name, TensorType(t.dtype, shape)),), Map(value), origin)


    def _grouped(self, t: TensorType, origin: str) -> Node:
        """The same with groups; the last of the rest dims is a multiple of the group."""
        outer, last = self.rest[:-1], self.rest[-1]
        order = (*self.lead, self.tiled, *outer, last)
        shape = [t.shape[d] for d in order]
        shape[len(self.lead)] = ceildiv(t.shape[self.tiled], self.tile)
        shape[-1] = floordiv(t.shape[last], self.group)
        index: dict[int, Expr] = {d: Var(f"i{k}") for k, d in enumerate(order)}
        index[self.tiled] = add(mul(Var(f"i{len(self.lead)}"), self.tile), Var(f"i{len(shape)}"))
        index[last] = add(mul(Var(f"i{len(shape) - 1}"), self.group), Var(f"i{len(shape) + 1}"))
        value: Expr = Load(self.source, tuple(index[d] for d in range(len(t.shape))))
        size = as_int(t.shape[self.tiled])
        if size is None or size % self.tile:
            zero = Const(0.0) if t.dtype[0] in "fb" else Const(0)
            value = Op("select", (Op("<", (index[self.tiled], t.shape[self.tiled])), value, zero))
        full = (*shape, Const(self.tile), Const(self.group))
        return Node((Value(self.name, TensorType(t.dtype, full)),), Map(value), origin)


def weights_alone(graph: Graph) -> frozenset[str]:
    """Values that depend on weights alone, and on none that the run updates."""
    changed = {name for name, _ in graph.updates}
    still = {i.name for i in graph.inputs if i.role != "input" and i.name not in changed}
    for node in graph.nodes:
        reads = operands(node.op)
        if isinstance(node.op, (Map, Reshape, Reduce)) and reads and all(r in still for r in reads):
            still.update(v.name for v in node.outputs)
    return frozenset(still)


def pack_operands(
    graph: Graph, machine: Machine, library: Collection[str], decisions: Decisions | None = None
) -> tuple[Graph, Packs]:
    """Insert packing maps; `library` names nodes that are left as they are. Decisions of a contraction: `pack_columns NODE`, `pack_rows NODE`
    (whether the operand with the columns, or the rows, of the output is laid out for tiles), `columns NODE` (of a tile, in vectors)."""
    if machine.isa in ("cuda", "triton"):
        return graph, {}  # shared memory does it
    decisions = decisions or Decisions()
    types = dict(graph.types())
    still = weights_alone(graph)
    nodes: list[Node] = []
    packs: Packs = {}
    made: dict[object, str] = {}
    for node in graph.nodes:
        out = node.outputs[0].name
        wanted = [] if out in library else _wanted(node, types, machine, still, decisions)
        for packed in wanted:
            key = replace(packed, name="")
            if key not in made:
                made[key] = packed.name
                new = packed.node(types, "pack")
                nodes.append(new)
                types.update({v.name: v.type for v in new.outputs})
            packs.setdefault(out, {})[packed.source] = replace(packed, name=made[key])
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes)), packs


def _wanted(
    node: Node, types: dict[str, TensorType], machine: Machine, still: frozenset[str], decisions: Decisions
) -> list[Packed]:
    if isinstance(node.op, Contract) and types[node.op.b].dtype in DOT_GROUP:
        return _dot(node, node.op, types, machine, still)
    if node.outputs[0].type.dtype != "f32":
        return []
    if isinstance(node.op, Contract):
        return _contract(node, node.op, types, machine, still, decisions)
    if isinstance(node.op, Conv):
        return _conv(node.op, node, types, machine)
    return []


# ------------------------------------------------------------------------------------------------ contractions
@dataclass(frozen=True)
class Roles:
    """The letters of a contraction: `n` runs along the lanes, `m` along the rows of the register tile; `b` is the operand that has n."""

    a: str
    b: str
    a_letters: str
    b_letters: str
    m: str
    n: str
    reduced: str


def roles(op: Contract) -> Roles | None:
    """None when the contraction has no register tile (a matrix times a vector)."""
    (left, right), out = op.spec.split("->")[0].split(","), op.spec.split("->")[1]
    if not out:
        return None
    n = out[-1]
    if (n in left) == (n in right):
        return None
    a, b, al, bl = (op.a, op.b, left, right) if n in right else (op.b, op.a, right, left)
    m = next((c for c in reversed(out[:-1]) if c in al and c not in bl), None)
    reduced = "".join(c for c in dict.fromkeys(left + right) if c not in out)
    return Roles(a, b, al, bl, m, n, reduced) if m and reduced else None


def tile_width(rows: int | None, columns: int | None, machine: Machine) -> int:
    """Columns of a register tile: two native vectors by many rows, more vectors where rows are few."""
    lanes = machine.lanes
    wide = 2 * lanes if rows is None or rows >= 7 else 4 * lanes
    if columns is not None:
        while wide > lanes and columns <= wide // 2:
            wide //= 2
    return wide


FEW_ROWS, LONG_SUM = 192, 512
"""Columns of an activation that lie across the lanes are laid out for tiles, unless rows are fewer than this and the sums longer: inner products
read them as they lie in less time than laying them out takes."""


def _contract(
    node: Node, op: Contract, types: dict[str, TensorType], machine: Machine, still: frozenset[str], decisions: Decisions
) -> list[Packed]:
    r = roles(op)
    if r is None or op.a == op.b:
        return []
    size = dict(zip(r.a_letters, types[r.a].shape)) | dict(zip(r.b_letters, types[r.b].shape))
    rows, columns, depth = as_int(size[r.m]), as_int(size[r.n]), _product([size[c] for c in r.reduced])
    if (columns is not None and columns < machine.lanes // 2) or rows == 1:
        return []
    name = node.outputs[0].name
    tile = machine.lanes * decisions.choose(f"columns {name}", tile_width(rows, columns, machine) // machine.lanes, (1, 2, 3, 4))
    out: list[Packed] = []
    lies_along = r.b_letters[-1] == r.n
    many = lies_along and (rows or 64) >= 48 and (depth or 64) * (columns or 64) >= 1 << 14
    tiles = lies_along or rows is None or rows >= FEW_ROWS or (depth or 0) < LONG_SUM
    if decisions.choose(f"pack_columns {name}", int(r.b in still or (not lies_along and tiles) or many), (0, 1)):
        out.append(_layout(node, r.b, r.b_letters, r.n, r.reduced, tile))
        tiles = True
    rows_alias = depth is not None and depth >= 512 and depth % 256 == 0 and (columns or 64) >= 128 and (rows or 64) >= 12
    apart = r.a in still or rows_alias or r.a_letters[-1] not in r.reduced
    if rows is not None and decisions.choose(f"pack_rows {name}", int(tiles and apart and rows >= 8), (0, 1)):
        height = tile_rows(rows, tile, machine)
        out.append(_layout(node, r.a, r.a_letters, r.m, r.reduced, decisions.choose(f"rows {name}", height, _near(height))))
    return out


DOT_GROUP = {"i8": 4, "bf16": 2}
"""Dtype of a weight -> neighbours that a dot-product instruction sums."""


def _dot(node: Node, op: Contract, types: dict[str, TensorType], machine: Machine, still: frozenset[str]) -> list[Packed]:
    """A weight in groups for dot-product instructions; without such an instruction each on its own."""
    r = roles(op)
    if r is None or r.b not in still or len(r.reduced) != 1 or r.b != op.b:
        return []
    size, group = dict(zip(r.b_letters, types[r.b].shape)), DOT_GROUP[types[r.b].dtype]
    depth = as_int(size[r.reduced])
    if not machine.dot(types[r.a].dtype) or depth is None or depth % group:
        group = 1
    packed = _layout(node, r.b, r.b_letters, r.n, r.reduced, 2 * machine.lanes)
    return [replace(packed, group=group)]


def _near(height: int) -> tuple[int, ...]:
    return tuple(h for h in (4, 6, 8, 10, 12, 14) if h != height)


def _product(sizes: list[Expr]) -> int | None:
    total = 1
    for s in sizes:
        n = as_int(s)
        if n is None:
            return None
        total *= n
    return total


def tile_rows(rows: int | None, columns: int, machine: Machine) -> int:
    """Rows of a register tile: what the registers hold beside one row of B and a broadcast; evened out over the rows there are."""
    vectors = max(1, columns // machine.lanes)
    most = max(1, (machine.registers - 2 - vectors) // vectors)
    if rows is None:
        return most
    count = -(-rows // most)
    return -(-rows // count)


def _layout(node: Node, source: str, letters: str, tiled: str, reduced: str, tile: int) -> Packed:
    at = letters.index(tiled)
    rest = tuple(letters.index(c) for c in reduced)
    lead = tuple(d for d in range(len(letters)) if d != at and d not in rest)
    return Packed(source, f"{source}_p{tile}_{node.outputs[0].name}", at, lead, rest, tile)


# ------------------------------------------------------------------------------------------------ convolutions
def lanes_on_channels(op: Conv, w: TensorType, out: TensorType, machine: Machine) -> bool:
    """Lanes run over output channels when a group has enough of them and the last spatial dim does not fill the lanes at unit stride."""
    channels = as_int(w.shape[1] if op.transposed else w.shape[0])
    if channels is None:
        return False
    per_group = channels if op.transposed else channels // op.groups
    return per_group >= machine.lanes and not _row_fills_lanes(op, out, machine)


def _row_fills_lanes(op: Conv, out: TensorType, machine: Machine) -> bool:
    """Lanes along the row read or write every element, or for a transposed convolution write every second one."""
    row, step = as_int(out.shape[-1]), op.stride[-1]
    if row is None or step > (2 if op.transposed else 1):
        return False
    lanes, row = machine.lanes, row // step
    return row >= lanes and row / (-(-row // lanes) * lanes) >= 0.8


def _conv(op: Conv, node: Node, types: dict[str, TensorType], machine: Machine) -> list[Packed]:
    w = types[op.w]
    if not lanes_on_channels(op, w, node.outputs[0].type, machine):
        return []
    per_group = as_int(w.shape[1] if op.transposed else w.shape[0])
    assert per_group is not None
    per_group = per_group if op.transposed else per_group // op.groups
    tile = 2 * machine.lanes if per_group > machine.lanes else machine.lanes
    if op.groups > 1 and per_group % tile:
        if per_group % machine.lanes:
            return []
        tile = machine.lanes
    tiled = 1 if op.transposed else 0
    rest = tuple(d for d in range(len(w.shape)) if d != tiled)
    return [Packed(op.w, f"{op.w}_p{tile}_{node.outputs[0].name}", tiled, (), rest, tile)]

