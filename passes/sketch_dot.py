"""Default schedules of products by dot-product instructions (int8 with VNNI, bfloat16): a naive contraction over a grouped weight comes in.

for n tiles: for m tiles: acc[m, n] = 0; for groups of k: acc[m, 16 lanes] = dot(acc, A[m, group], B[16 lanes, group]); C = epilogue(acc).
Rows are served as in `pad`: their number may be known at run time only, and the last tile may stick out.
"""

from __future__ import annotations

from ..ir.expr import Cast, Const, Load, Op, Var, as_int, walk
from ..ir.kernel import Reduce, statements
from .draft import Draft, nest_of
from .pack import tile_rows
from .pad import Rows, copied_tile, lanes_inside, packed_width, reduction_axes, two_panels
from .sketch_contract import loop_epilogue

VECTOR = 16
"""Results of one instruction."""


def dot_intrinsic(draft: Draft) -> tuple[str, int] | None:
    """(intrinsic, neighbours it sums) for a program whose only sum is of a left side that the machine has a dot product for, times a weight
    laid out for it."""
    sums = [s for s in statements(draft.program.body) if isinstance(s, Reduce)]
    if len(sums) != 1 or sums[0].monoid != "add" or sums[0].running:
        return None
    value, buffers = sums[0].values[0], draft.program.buffers()
    if not isinstance(value, Op) or value.name != "*":
        return None
    left, right = (a.value if isinstance(a, Cast) else a for a in value.args)
    if not isinstance(left, Load) or not isinstance(right, Load):
        return None
    name, last = draft.machine.dot(buffers[left.buffer].dtype), right.index[-1]
    group = int(last.args[1].value) if isinstance(last, Op) and last.name == "%" and isinstance(last.args[1], Const) else 1
    grouped = group > 1 and any(isinstance(n, Var) and n.name in reduction_axes(draft) for n in walk(last))
    return (name, group) if name and grouped else None


def dot_rows(draft: Draft) -> bool:
    """Rows of a fixed number, in tiles of even height."""
    axes = [loop for loop in nest_of(draft.program.body[:1]) if not any(isinstance(s, Reduce) for s in loop.body)]
    count = as_int(axes[-2].hi) if len(axes) > 1 else None
    if count is None:
        return False
    rows = Rows(axes[-2].axis, axes[-1].axis, None, axes[-2].hi)
    height = tile_rows(count, packed_width(draft, rows.lanes) or 2 * VECTOR, draft.machine)
    return dot_tile(draft, rows, height, count % height != 0)


def dot_tile(draft: Draft, rows: Rows, height: int, copied: bool) -> bool:
    """A tile of `height` rows, its sums in registers; see `pad.float_tile`."""
    found = dot_intrinsic(draft)
    if found is None:
        return False
    intrinsic, group = found
    m, n, k = rows.axis, rows.lanes, reduction_axes(draft)[-1]
    if not draft.attempt(f"split({m}, {height})") or not lanes_inside(draft, rows):
        return False
    pair = [] if copied else two_panels(draft, rows, height)
    lanes = [a for a in (f"{n}1", f"{n}2") if draft.has(a)]
    if not all(draft.attempt(f"expand({', '.join([f'{m}1', *pair, lane])})") for lane in lanes):
        return False
    if not copied_tile(draft, rows, (f"{m}0", f"{m}1", k), copied) or not draft.attempt(f"split({k}, {group}, tail=exact)"):
        return False
    for lane in lanes:
        steps = [
            f"split({lane}, {VECTOR})",
            f"reorder({', '.join([f'{m}1', *pair, f'{lane}0', f'{lane}1', f'{k}1'])})",
            f"tensorize(({lane}1, {k}1), {intrinsic})",
        ]
        if not draft.attempt(*steps):
            return False
    loop_epilogue(draft, f"{m}1", [x for lane in lanes for x in (f"{lane}1", f"{lane}0")] + pair)
    unrolled = [f"{m}1", *pair, *(f"{lane}0" for lane in lanes)]
    return all(draft.attempt(f"bind({a}, unroll)") for a in unrolled if draft.has(a)) and all(
        draft.attempt(f"bind({lane}1, vector)") for lane in lanes
    )

