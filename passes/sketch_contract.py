"""Default schedules of contractions and convolutions: a register tile of m rows by n lanes, accumulated over the whole reduction.

for n tiles: for m tiles: acc[m, n] = 0; for k: acc += A[m] * B[n] (an outer product, all in registers); C = epilogue(acc).
`pack` has laid both operands out so that the inner loop reads memory in order; a panel of B stays in L2 while A streams by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..ir.expr import Const, Expr, Load, Op, Var, as_int, loads, names, walk
from ..ir.kernel import Alloc, For, If, Reduce, Stmt, expressions, reads, statements, writes
from .draft import Draft, nest_of, stride
from .pack import tile_rows, tile_width

LARGEST_TILE = 64
"""Rows or columns of a packed tile; a larger modulus is the index of a reshaped operand."""


def contract(draft: Draft) -> bool:
    """The last output dim along the lanes, the one before it along the rows of the tile. A product with a vector is no tile: it is rows."""
    axes = _parallel_axes(draft)
    if len(axes) < 2 or _extent(axes[-1]) < draft.machine.lanes // 2 or _extent(axes[-2]) == 1:
        return False
    if not any(step == 1 for step in _reduction_strides(draft, axes[-1].axis)):
        return _inner_products(draft, axes[-2], axes[-1])
    return register_tile(draft, axes[-2], axes[-1])


def _inner_products(draft: Draft, rows: For, columns: For) -> bool:
    """Where both operands lie along the reduction its lanes are partial sums, those of a tile of rows by columns side by side: what is
    loaded of a row serves all columns. [m, n, r] -> n tiles, m tiles, r tiles, m, n, lanes of r."""
    m, n, lanes = rows.axis, columns.axis, draft.machine.lanes
    sums = [s for s in statements(draft.program.body) if isinstance(s, For) and any(isinstance(x, Reduce) for x in s.body)]
    if len(sums) != 1 or _extent(sums[0]) < lanes or any(step != 1 for step in _reduction_strides(draft, sums[0].axis)):
        return False
    most = _extent(rows)
    height = draft.choose("dot_rows", min(4, most), (h for h in (1, 2, 3, 4, 6, 8) if h <= most))
    width = draft.choose("dot_columns", 4, (2, 3, 4, 6, 8))
    if not draft.attempt(f"split({m}, {height}, tail=mask, round=1)", f"reorder({n}, {m}0, {m}1)"):
        return False
    if draft.has(f"{m}2") and not draft.attempt(f"reorder({n}, {m}2)"):
        return False
    if not draft.attempt(f"split({n}, {width}, tail=mask, round=1)"):
        return False
    outside = {f"{m}1": f"{m}0, {m}1", f"{m}2": f"{m}2"}
    tiles = [(high, wide) for high in _present(draft, *outside) for wide in _present(draft, f"{n}1", f"{n}2")]
    axes = dict.fromkeys(a for tile in tiles for a in tile)
    steps = [*(f"reorder({outside[high]}, {wide})" for high, wide in tiles), *(f"bind({a}, unroll)" for a in axes)]
    return draft.attempt(*steps) and _summed_along(draft, sums[0].axis, tiles)


def _summed_along(draft: Draft, r: str, tiles: list[tuple[str, str]]) -> bool:
    lanes = draft.machine.lanes
    if not draft.attempt(f"split({r}, {lanes}, tail=mask, round={lanes})", f"rfactor({r}0, {r}1)"):
        return False
    binds = [f"bind({a}, vector)" for a in _present(draft, f"{r}1", f"{r}2")]
    return draft.attempt(*binds, *(f"expand({m}, {n})" for m, n in tiles))


def convolution(draft: Draft) -> bool:
    """Output channels along the lanes where the weights are packed so, and the last spatial dim along the rows of the tile;
    else the last spatial dim along the lanes, and along the rows the channels of a group, or the dim before the last."""
    axes = _parallel_axes(draft)
    if len(axes) < 3:
        return False
    _, o, *space = axes
    if _packed_along(draft, o.axis):
        return register_tile(draft, space[-1], o, between=[loop.axis for loop in space])
    if _extent(space[-1]) < draft.machine.lanes // 2:
        return False
    group = _group_channels(draft, o)
    if group > 1:
        return register_tile(draft, o, space[-1], between=[loop.axis for loop in space], most=group)
    return len(space) > 1 and register_tile(draft, space[-2], space[-1], most=4)


def _extent(loop: For) -> int:
    return as_int(loop.hi) or 1 << 20


def _parallel_axes(draft: Draft) -> list[For]:
    return [loop for loop in nest_of(draft.program.body[:1]) if _outside_reduction(loop)]


def reduction_loads(draft: Draft) -> Iterator[Load]:
    for s in statements(draft.program.body):
        if isinstance(s, Reduce):
            for v in s.values:
                yield from loads(v)


def _reduction_strides(draft: Draft, axis: str) -> list[int | None]:
    """How the operands move along the axis (a packed operand by one)."""
    buffers = draft.program.buffers()
    found = [stride(buffers[x.buffer], x.index, axis) for x in reduction_loads(draft)]
    return [1 if s is None else s for s in found]


def _packed_along(draft: Draft, axis: str) -> bool:
    """Whether some operand's last dim runs along the axis."""
    last = [x.index[-1] for x in reduction_loads(draft) if x.index]
    return any(e == Var(axis) or (isinstance(e, Op) and e.name == "%" and e.args[0] == Var(axis)) for e in last)


def _group_channels(draft: Draft, o: For) -> int:
    """Output channels that read the same input channels: all, or for a grouped convolution the divisor of the channel axis."""
    for e in _expressions(draft.program.body):
        if isinstance(e, Op) and e.name == "//" and e.args[0] == Var(o.axis) and isinstance(e.args[1], Const):
            return int(e.args[1].value)
    shared = [x for x in reduction_loads(draft) if o.axis not in {n for i in x.index for n in names(i)}]
    return _extent(o) if shared else 1


def _outside_reduction(loop: For) -> bool:
    return not any(isinstance(s, Reduce) for s in loop.body)


def _expressions(body: tuple[Stmt, ...]) -> Iterator[Expr]:
    for s in statements(body):
        for e in expressions(s):
            yield from walk(e)


def _tile_of(draft: Draft, axis: str) -> int | None:
    """The tile in which some operand was packed along the axis: its last dim counts the places of a tile."""
    for x in reduction_loads(draft):
        e = x.index[-1] if x.index else None
        if isinstance(e, Op) and e.name == "%" and e.args[0] == Var(axis) and isinstance(e.args[1], Const):
            return int(e.args[1].value) if e.args[1].value <= LARGEST_TILE else None
    return None


def register_tile(draft: Draft, rows: For, lanes: For, between: list[str] | None = None, most: int = 0) -> bool:
    """`between`: axes inside the outer one of `rows` and `lanes` that must stay outside the tile. `most`: rows of the tile divide it."""
    m, n = rows.axis, lanes.axis
    count = as_int(rows.hi)
    width = _tile_of(draft, n) or _columns(draft, tile_width(count, as_int(lanes.hi), draft.machine))
    height = _tile_of(draft, m) or _rows(draft, tile_rows(count, width, draft.machine))
    if most and count != most:
        height = max(d for d in range(1, height + 1) if most % d == 0)
    lane_split = f"split({n}, {width}, tail=mask, round={draft.machine.lanes})"
    if between and n == between[-1]:
        width, height = _row_width(draft, lanes, width, height, count, most)
        lane_split = f"split({n}, {width}, tail={_row_tail(draft, lanes, width)}, round={draft.machine.lanes})"
    row_split = f"split({m}, {height}, tail=mask, round=1)"
    if not between:
        return rows_first(draft, m, n, row_split, lane_split)
    first, second = (lane_split, row_split) if m in between else (row_split, lane_split)
    outer = n if m in between else m
    if not draft.attempt(first):
        return False
    inner = [a for a in between if a != outer]
    if not all(draft.attempt(f"reorder({', '.join(inner)}, {part})") for part in _present(draft, f"{outer}1", f"{outer}2")):
        return False
    if not draft.attempt(second):
        return False
    if outer == m:
        for row in _present(draft, f"{m}1", f"{m}2"):
            for lane in _present(draft, f"{n}1", f"{n}2"):
                draft.attempt(f"reorder({row}, {lane})")
    return _expand(draft, m, n)


def _columns(draft: Draft, width: int) -> int:
    """Columns of a tile whose operand is not packed, so that they may be chosen."""
    return draft.machine.lanes * draft.choose("tile_columns", width // draft.machine.lanes, (1, 2, 3, 4))


def _rows(draft: Draft, height: int) -> int:
    return draft.choose("tile_rows", height, (h for h in (2, 4, 6, 8, 10, 12, 14) if h != height))


def _row_width(draft: Draft, lanes: For, width: int, height: int, count: int | None, most: int) -> tuple[int, int]:
    """One vector by twice the rows where two vectors would leave a tail of more than a third of them."""
    n = _shortest(draft, lanes)
    waste = -(-n // width) * width / n
    if width == draft.machine.lanes or (n >= width and waste < 1.3):
        return width, height
    height = tile_rows(count, draft.machine.lanes, draft.machine)
    if most and count != most:
        height = max(d for d in range(1, height + 1) if most % d == 0)
    return draft.machine.lanes, min(height, 28)


def _row_tail(draft: Draft, lanes: For, width: int) -> str:
    """A row computes its last tile over elements that the tile before has, rather than under a mask."""
    return "overlap" if _shortest(draft, lanes) >= width else "mask"


def _shortest(draft: Draft, loop: For) -> int:
    """The least extent of the loops of that name (the phases of a transposed convolution differ by one)."""
    return min(_extent(x) for x in draft.loops() if x.axis == loop.axis)


def _present(draft: Draft, *axes: str) -> list[str]:
    return [a for a in axes if draft.has(a)]


def rows_first(draft: Draft, m: str, n: str, row_split: str, split: str) -> bool:
    """[m, n] -> n tiles, m tiles, m, n."""
    if not draft.attempt(row_split):
        return False
    if draft.has(f"{m}0") and not draft.attempt(f"reorder({n}, {m}0, {m}1)"):
        return False
    if draft.has(f"{m}2") and not draft.attempt(f"reorder({n}, {m}2)"):
        return False
    if not draft.attempt(split):
        return False
    for lane in _present(draft, f"{n}1", f"{n}2"):
        if draft.has(f"{m}0") and not draft.attempt(f"reorder({m}0, {m}1, {lane})"):
            return False
        if draft.has(f"{m}2") and not draft.attempt(f"reorder({m}2, {lane})"):
            return False
    return _expand(draft, m, n)


def _expand(draft: Draft, m: str, n: str) -> bool:
    for row in _present(draft, f"{m}1", f"{m}2"):
        for lane in _present(draft, f"{n}1", f"{n}2"):
            if not draft.attempt(f"expand({row}, {lane})"):
                return False
    for row in _present(draft, f"{m}1", f"{m}2"):
        loop_epilogue(draft, row, _present(draft, f"{n}1", f"{n}2"))
        if not draft.attempt(f"bind({row}, unroll)"):
            return False
    for name in guarded_accumulators(draft):
        draft.attempt(f"unguard({name})")
    return all(draft.attempt(f"bind({lane}, vector)") for lane in _present(draft, f"{n}1", f"{n}2"))


def loop_epilogue(draft: Draft, row: str, lanes: list[str]) -> None:
    """Rows of a long epilogue stay a loop: written out they would be most of the code. The copy of the sum that it reads tells it."""
    sums = {s.buffer.name for s in statements(draft.program.body) if isinstance(s, Alloc) and "_sum" in s.buffer.name}
    if not sums:
        return
    for axis in (*lanes, row):
        draft.attempt(f"fission({axis})")
    while True:
        named = [loop for loop in draft.loops() if loop.axis == row]
        number = next((k for k, loop in enumerate(named) if _reads_only(loop, sums)), None)
        if number is None or not draft.attempt(f"rename({row}, {draft.fresh(row + 'e')}, {number})"):
            return


def _reads_only(loop: For, sums: set[str]) -> bool:
    """Whether the loop reads a copied sum and writes none."""
    written = {w for s in statements(loop.body) for w in writes(s)}
    read = {x.buffer for s in statements(loop.body) for x in reads(s)}
    return bool(read & sums) and not written & sums


def guarded_accumulators(draft: Draft) -> list[str]:
    """Buffers that reductions below a condition go into."""
    out: dict[str, None] = {}
    for s in statements(draft.program.body):
        if isinstance(s, If):
            out.update((t.buffer, None) for r in statements(s.body) if isinstance(r, Reduce) for t in r.targets)
    return list(out)


RULES: dict[str, tuple[Callable[[Draft], bool], ...]] = {"contract": (contract,), "conv": (convolution,)}
"""Class -> rules of its own, tried in order before `sketch.rows`."""
