"""Virtual padding: a contraction whose number of rows is known at run time only comes in, a script with a variant for each tile height goes out.

A variant computes tiles of fixed height. Its last tile may stick out: the rows of A are copied into a buffer of whole tiles, zeros where there
are no rows, so that the inner loop knows no tail; only real rows are read from A and stored. Few rows (`exact`) have a variant of their own,
which reads A as it is. A table made from the cost of the heights says which variant takes which number of rows; nothing is compiled later.

    when(m, 1, 2); ...   when(m, 5, 6); split(i, 5); ...       one tile of exactly these rows
    when(m, 15, 17); when(m, 31, 33); split(i, 8); ..          tiles of 8 rows
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..ir.expr import Const, Expr, Load, Op, Var, as_int, names, simplify, substitute
from ..ir.kernel import Alloc, For, Program, Reduce
from ..ir.types import Dim
from ..ir.variants import Range, Variant, dispatching, narrowed
from .draft import Draft, nest_of
from .pack import tile_rows, tile_width
from .schedule.script import apply
from .sketch_contract import guarded_accumulators, loop_epilogue, reduction_loads

TABLE_ROWS = 1024
"""Rows up to which the table picks heights one by one; beyond it the waste of the tallest tile is below 2%."""

SLACK = 1.02
"""A variant keeps the rows after its own while it is within this factor of the best one: fewer ranges."""

CHUNK = 16
"""Elements of a row that lie together in a copied tile: a cache line of floats."""


@dataclass(frozen=True)
class Rows:
    """The rows of a contraction: loop axis, the axis along the lanes, the dim that their number depends on (None: on none), that number."""

    axis: str
    lanes: str
    dim: Dim | None
    extent: Expr

    def count(self, value: int) -> int:
        """Rows at a value of the dim."""
        assert self.dim is not None
        rows = as_int(simplify(substitute(self.extent, {self.dim.name: Const(value)})))
        assert rows is not None
        return rows


@dataclass(kw_only=True)
class Tiling(Draft):
    """A draft whose steps stand on their own preconditions; what is bound to blocks, and the whole at the end, is verified."""

    def step(self, text: str) -> None:
        """Apply one step; raises IllegalStep."""
        self.program = apply(self.program, text, check="block" in text)
        self.steps.append(text)


Recipe = Callable[[Draft, Rows, int, bool], bool]
"""Schedules tiles of a height on a draft; the flag says that the rows are copied, so that the last tile may stick out."""


def dynamic_rows(program: Program) -> Rows | None:
    """The rows that virtual padding serves: the axis before the last, of an extent that moves with one dim."""
    axes = [loop for loop in nest_of(program.body[:1]) if not any(isinstance(s, Reduce) for s in loop.body)]
    if len(program.body) != 1 or len(axes) < 2 or as_int(axes[-2].hi) is not None or as_int(axes[-1].hi) is None:
        return None
    used = names(axes[-2].hi)
    dims = [d for d in program.dims if d.name in used]
    if len(dims) != 1 or len(used) != 1:
        return None
    rows = Rows(axes[-2].axis, axes[-1].axis, dims[0], axes[-2].hi)
    return rows if _rises(rows) else None


def _rises(rows: Rows) -> bool:
    assert rows.dim is not None
    first = rows.count(rows.dim.lo)
    return rows.dim.lo >= 1 and 0 < first < rows.count(rows.dim.lo + 1)


def padded(draft: Draft, finish: Callable[[Draft], None], recipe: Recipe | None = None) -> bool:
    """Make `draft` a dispatch over variants, each one finished by `finish` (which binds blocks). False: this is no contraction for it."""
    rows = dynamic_rows(draft.program)
    if rows is None or rows.dim is None:
        return False
    recipe = recipe or float_tile
    most = _most_rows(draft, rows)
    made: list[Variant] = []
    steps: list[str] = []
    for height, ranges in table(rows, most, relative_costs(most, draft.choices)).items():
        own = _scheduled(draft, rows, height, ranges, recipe, finish)
        if own is None:
            return False
        made.append(Variant(ranges, own.program))
        steps += [*(f"when({rows.dim.name}, {lo}, {hi or 0})" for lo, hi in ranges), *own.steps]
    draft.program = dispatching(draft.program, rows.dim.name, made)
    draft.steps += steps
    return True


UNALIASED = 2
"""Rows of A that are this part of the tallest tile share the first-level cache well when they lie a power of two apart; more are copied."""


def _scheduled(
    draft: Draft, rows: Rows, height: int, ranges: tuple[Range, ...], recipe: Recipe, finish: Callable[[Draft], None]
) -> Draft | None:
    p = draft.program
    dims = tuple(narrowed(d, ranges) if d == rows.dim else d for d in p.dims)
    own = Tiling(program=Program(p.name, dims, p.params, p.body), machine=draft.machine, choices=draft.choices)
    exact = all(rows.count(lo) == height and hi == lo + 1 for lo, hi in ranges)
    copied = not exact or height > _most_rows(draft, rows) // UNALIASED
    if not recipe(own, rows, height, copied):
        return None
    finish(own)
    return own if own.is_legal() else None  # columns that are not packed may end within a vector


def _most_rows(draft: Draft, rows: Rows) -> int:
    columns = next(loop for loop in draft.loops() if loop.axis == rows.lanes)
    return tile_rows(None, packed_width(draft, rows.lanes) or tile_width(None, as_int(columns.hi), draft.machine), draft.machine)


# ------------------------------------------------------------------------------------------------ which height for which rows
def relative_costs(most: int, choices: Mapping[str, int]) -> dict[int, float]:
    """Height -> time of a tile in units of a row; `rows_cost_H` in `choices` (thousandths) says what was measured."""
    return {h: choices.get(f"rows_cost_{h}", 1000 * max(h, 3)) / 1000 for h in range(1, most + 1)}


def table(rows: Rows, most: int, costs: Mapping[int, float]) -> dict[int, tuple[Range, ...]]:
    """Height -> ranges of the dim, total and disjoint. Up to half of the tallest tile every number of rows has a height of its own."""
    assert rows.dim is not None
    lo, hi = rows.dim.lo, rows.dim.hi
    picked: list[tuple[int, int]] = []
    value = lo
    while (hi is None or value <= hi) and rows.count(value) <= TABLE_ROWS:
        picked.append((value, _pick(rows.count(value), most, costs, picked[-1][1] if picked else 0)))
        value += 1
    found: dict[int, list[Range]] = {}
    for v, height in picked:
        ranges = found.setdefault(height, [])
        if ranges and ranges[-1][1] == v:
            ranges[-1] = (ranges[-1][0], v + 1)
        else:
            ranges.append((v, v + 1))
    if hi is None or value <= hi:
        ranges = found.setdefault(most, [])
        start = ranges.pop()[0] if ranges and ranges[-1][1] == value else value
        ranges.append((start, None if hi is None else hi + 1))
    return {h: tuple(r) for h, r in sorted(found.items())}


def _pick(count: int, most: int, costs: Mapping[int, float], before: int) -> int:
    if count <= most // 2:
        return count
    time = {h: -(-count // h) * costs[h] for h in range(most // 2 + 1, most + 1)}
    best = min(time, key=lambda h: (time[h], -h))
    return before if before in time and count > most and time[before] <= SLACK * time[best] else best


# ------------------------------------------------------------------------------------------------ a tile
def float_tile(draft: Draft, rows: Rows, height: int, copied: bool) -> bool:
    """Sums of a tile in registers: height rows by the width in which B is packed; a row of B is loaded once for all rows."""
    m, n = rows.axis, rows.lanes
    reduced = reduction_axes(draft)
    row_inner, row_outer = f"{m}1", f"{m}0"
    if not draft.attempt(f"split({m}, {height})"):
        return False
    if not lanes_inside(draft, rows):
        return False
    pair = [] if copied else two_panels(draft, rows, height)
    chunked = copied and len(reduced) == 1 and (reduction_extent(draft, reduced[0]) or 1) % CHUNK == 0
    inner = reduced[-1]
    if chunked:
        draft.step(f"split({inner}, {CHUNK}, tail=exact)")
        reduced, inner = [f"{inner}0", f"{inner}1"], f"{inner}1"
    lanes = [a for a in (f"{n}1", f"{n}2") if draft.has(a)]
    if not all(draft.attempt(f"expand({', '.join([row_inner, *pair, lane])})") for lane in lanes):
        return False
    if not copied_tile(draft, rows, (row_outer, reduced[0], row_inner, reduced[1]) if chunked else (row_outer, row_inner, *reduced), copied):
        return False
    hold_columns(draft, inner, [*pair, *lanes])
    loop_epilogue(draft, row_inner, [*lanes, *pair])
    unrolled = all(draft.attempt(f"bind({a}, unroll)") for a in (row_inner, *pair))
    return unrolled and all(draft.attempt(f"bind({lane}, vector)") for lane in lanes)


def lanes_inside(draft: Draft, rows: Rows) -> bool:
    """[n tiles, m tiles, m, n], the n axis cut at the width in which B is packed."""
    m, n = rows.axis, rows.lanes
    columns = next(loop for loop in draft.loops() if loop.axis == n)
    width = packed_width(draft, n) or tile_width(None, as_int(columns.hi), draft.machine)
    steps = [f"reorder({n}, {m}0, {m}1)", f"split({n}, {width}, tail=mask, round={draft.machine.lanes})"]
    if not draft.attempt(*steps):
        return False
    return all(draft.attempt(f"reorder({m}0, {m}1, {lane})") for lane in (f"{n}1", f"{n}2") if draft.has(lane))


def two_panels(draft: Draft, rows: Rows, height: int) -> list[str]:
    """Few rows wait for B: two of its panels side by side are two streams of memory. The axis over the two, where registers hold them."""
    m, tiles = rows.axis, f"{rows.lanes}0"
    count = next((as_int(loop.hi) for loop in draft.loops() if loop.axis == tiles), None)
    width = next((as_int(loop.hi) for loop in draft.loops() if loop.axis == f"{rows.lanes}1"), None)
    if count is None or width is None or count % 2 or draft.has(f"{rows.lanes}2"):
        return []
    vectors = 2 * width // draft.machine.lanes
    if (height + 1) * vectors + 1 > draft.machine.registers:
        return []
    inner = f"{tiles}1"
    done = draft.attempt(f"split({tiles}, 2, tail=exact)", f"reorder({tiles}0, {m}0, {m}1, {inner}, {rows.lanes}1)")
    return [inner] if done else []


def copied_tile(draft: Draft, rows: Rows, by: tuple[str, ...], copied: bool) -> bool:
    """Sums without conditions: where rows are copied the missing ones are zeros, columns past the end are never stored."""
    if copied and not copy_rows(draft, rows, by):
        return False
    for name in guarded_accumulators(draft):
        draft.attempt(f"unguard({name})")
    return not copied or not guarded_accumulators(draft)


def copy_rows(draft: Draft, rows: Rows, by: tuple[str, ...]) -> bool:
    """A's rows in whole tiles, zero past the end."""
    m = rows.axis
    source = next((x.buffer for x in _factors(draft) if f"{m}0" in {v for i in x.index for v in names(i)}), None)
    if source is None:
        return False
    outer = [loop.axis for loop in nest_of(draft.program.body[:1]) if loop.axis in _around(draft, source)]
    at = outer[-1] if outer else "root"
    if not draft.attempt(f"stage({source}, {at}, ({', '.join(by)}), scratch)"):
        return False
    last = by[-1]
    copy = draft.fresh(f"{last}c")
    if not draft.attempt(f"rename({m}1, {draft.fresh(f'{m}1c')}, 0)", f"rename({last}, {copy}, 0)"):
        return False
    lanes = draft.machine.lanes
    if draft.attempt(f"split({copy}, {4 * lanes}, tail=mask, round={lanes})"):
        return all(draft.attempt(f"bind({a}, vector)") for a in (f"{copy}1", f"{copy}2") if draft.has(a))
    return draft.attempt(f"bind({copy}, vector)")


def hold_columns(draft: Draft, inner: str, lanes: list[str]) -> None:
    """A row of B in registers while it meets every row of A."""
    for x in _factors(draft):
        used = {v for i in x.index for v in names(i)}
        if f"{lanes[-1]}" in used and not _is_local(draft, x.buffer):
            by = ", ".join(a for a in lanes if a in used)
            draft.attempt(f"stage({x.buffer}, {inner}, ({by}), local)")
            return


def _is_local(draft: Draft, name: str) -> bool:
    return draft.program.buffers()[name].space == "local"


def _factors(draft: Draft) -> list[Load]:
    """Loads of the sum."""
    return list(dict.fromkeys(reduction_loads(draft)))


def _around(draft: Draft, source: str) -> set[str]:
    """Axes outside the tiles that the operand moves with: those of a batch."""
    used = {v for x in _factors(draft) if x.buffer == source for i in x.index for v in names(i)}
    tiles = {a for loop in draft.loops() for a in (loop.axis,) if a[-1] in "012"}
    return used - tiles


def reduction_axes(draft: Draft) -> list[str]:
    """Serial loops of the first sum, outer ones first."""
    def path(body: tuple, above: list[str]) -> list[str] | None:
        for s in body:
            if isinstance(s, Reduce):
                return above
            if isinstance(s, For):
                found = path(s.body, [] if any(isinstance(x, Alloc) for x in s.body) else [*above, s.axis])
                if found is not None:
                    return found
        return None

    return path(draft.program.body, []) or []


def reduction_extent(draft: Draft, axis: str) -> int | None:
    return next(as_int(loop.hi) for loop in draft.loops() if loop.axis == axis)


def packed_width(draft: Draft, axis: str) -> int | None:
    """The tile in which some operand was packed along the axis."""
    for x in _factors(draft):
        for i in x.index:
            if isinstance(i, Op) and i.name == "%" and i.args[0] == Var(axis) and isinstance(i.args[1], Const):
                return int(i.args[1].value)
    return None


__all__ = ["Rows", "dynamic_rows", "float_tile", "padded", "relative_costs", "table"]
