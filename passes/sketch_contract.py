"""Default schedules of contractions and convolutions: a register tile of m rows by n lanes, accumulated over the whole reduction.

for n tiles: for m tiles: acc[m, n] = 0; for k: acc += A[m] * B[n] (an outer product, all in registers); C = epilogue(acc).
`pack` has laid both operands out so that the inner loop reads memory in order; a panel of B stays in L2 while A streams by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..ir.expr import Const, Expr, Op, Var, as_int, walk
from ..ir.kernel import For, Reduce, Stmt, expressions, statements
from .draft import Draft, nest_of
from .pack import tile_rows, tile_width


def contract(draft: Draft) -> bool:
    """The last output dim along the lanes, the one before it along the rows of the tile."""
    axes = [loop for loop in nest_of(draft.program.body[:1]) if _outside_reduction(loop)]
    if len(axes) < 2:
        return False
    return register_tile(draft, axes[-2], axes[-1], [])


def convolution(draft: Draft) -> bool:
    """Output channels along the lanes (where weights are packed so), the last spatial dim along the rows of the tile."""
    axes = [loop for loop in nest_of(draft.program.body[:1]) if _outside_reduction(loop)]
    if len(axes) < 3 or _tile_of(draft, axes[1].axis) is None:
        return False
    return register_tile(draft, axes[-1], axes[1], [loop.axis for loop in axes[2:]])


def _outside_reduction(loop: For) -> bool:
    return not any(isinstance(s, Reduce) for s in loop.body)


def _expressions(body: tuple[Stmt, ...]) -> Iterator[Expr]:
    for s in statements(body):
        for e in expressions(s):
            yield from walk(e)


def _tile_of(draft: Draft, axis: str) -> int | None:
    """The tile in which some operand was packed along the axis."""
    for e in _expressions(draft.program.body):
        if isinstance(e, Op) and e.name == "%" and e.args[0] == Var(axis) and isinstance(e.args[1], Const):
            return int(e.args[1].value)
    return None


def register_tile(draft: Draft, rows: For, lanes: For, between: list[str]) -> bool:
    """`between`: the axes that stand inside `lanes` and must stay outside the tile, the rows among them."""
    m, n = rows.axis, lanes.axis
    count = as_int(rows.hi)
    width = _tile_of(draft, n) or tile_width(count, as_int(lanes.hi), draft.machine)
    height = _tile_of(draft, m) or tile_rows(count, width, draft.machine)
    steps = [f"split({n}, {width}, tail=mask, round={draft.machine.lanes})"]
    if between:
        return draft.attempt(*steps) and _inner_lanes(draft, n, between) and _rows(draft, m, n, height)
    return _rows_first(draft, m, n, height, steps[0])


def _present(draft: Draft, *axes: str) -> list[str]:
    return [a for a in axes if draft.has(a)]


def _inner_lanes(draft: Draft, n: str, between: list[str]) -> bool:
    """n1, h, w -> h, w, n1 and the same for the tail."""
    return all(draft.attempt(f"reorder({', '.join(between)}, {lane})") for lane in _present(draft, f"{n}1", f"{n}2"))


def _rows(draft: Draft, m: str, n: str, height: int) -> bool:
    if not draft.attempt(f"split({m}, {height}, tail=mask, round=1)"):
        return False
    return _expand(draft, m, n)


def _rows_first(draft: Draft, m: str, n: str, height: int, split: str) -> bool:
    """[m, n] -> n tiles, m tiles, m, n."""
    if not draft.attempt(f"split({m}, {height}, tail=mask, round=1)"):
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
        if not draft.attempt(f"bind({row}, unroll)"):
            return False
    return all(draft.attempt(f"bind({lane}, vector)") for lane in _present(draft, f"{n}1", f"{n}2"))


RULES: dict[str, tuple[Callable[[Draft], bool], ...]] = {"contract": (contract,), "conv": (convolution,)}
"""Class -> rules of its own, tried in order before `sketch.rows`."""
