"""Parts of a default schedule that run work side by side, so that memory is asked for several things at once: `sketch` calls them where a
measurement may decide so. A draft and a loop come in; the draft goes out with the steps, or as it was.

Decisions: `together` (rows that are reduced, scanned or mapped at a time), `lines` (of a reduction along an outer dim at a time, its results kept
in cache; 0: each column on its own), `places` (of a map at a time, far apart).
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir.expr import as_int
from ..ir.kernel import For, Reduce, Store, statements
from .draft import Draft

PANEL = 2048
"""Columns whose results stay in the first cache."""
LEAST = 8


def together(draft: Draft, axis: For, vectorise: Callable[[], None]) -> None:
    """split the rows by a few, unrolled; `vectorise` each; expand, so that every loop over a row does it for all of them."""
    extent, a = as_int(axis.hi) or 0, axis.axis
    if extent < 2:
        return vectorise()
    count = draft.choose("together", 1, (c for c in (1, 2, 4, 8) if c <= extent))

    def several() -> bool:
        if not draft.attempt(f"split({a}, {count}, tail=mask, round=1)", f"bind({a}1, unroll)"):
            return False
        vectorise()
        return draft.attempt(f"expand({a}1)")

    if count == 1 or not draft.kept(several):
        vectorise()


def lines(draft: Draft, columns: For) -> bool:
    """[columns, reduced] -> [reduced, columns]: whole lines are read one after the other, several at a time, into results in cache."""
    reduced = next((s for s in columns.body if isinstance(s, For)), None)
    if reduced is None or not all(isinstance(s, Reduce) and not s.running for s in reduced.body):
        return False
    if (as_int(reduced.hi) or 0) < LEAST or (as_int(columns.hi) or 0) < draft.machine.lanes:
        return False
    count = draft.choose("lines", 0, (0, 4, 8, 16))
    return bool(count) and draft.kept(lambda: _by_lines(draft, columns, reduced.axis, count))


def _by_lines(draft: Draft, columns: For, r: str, count: int) -> bool:
    c, lanes = columns.axis, draft.machine.lanes
    parts = [c]
    done = True
    if (as_int(columns.hi) or 0) > PANEL:
        done = draft.attempt(f"split({c}, {PANEL}, tail=mask, round={lanes})")
        parts = [p for p in (f"{c}1", f"{c}2") if draft.has(p)]
    done = done and all(draft.attempt(f"expand({p})") for p in parts) and draft.attempt(f"split({r}, {count}, tail=cut)")
    done = done and all(draft.attempt(f"reorder({p}, {r}1)") for p in parts) and draft.attempt(f"bind({r}1, unroll)")
    for p in parts:
        done = done and draft.attempt(f"split({p}, {lanes}, tail=mask, round={lanes})")
        for lane in (f"{p}1", f"{p}2"):
            done = done and (not draft.has(lane) or draft.attempt(f"bind({lane}, vector)"))
    return done


def several_rows(draft: Draft, rows: For, columns: For, vectorise: Callable[[For], bool]) -> bool:
    """[rows, columns] of a map -> [row tiles, columns, rows, lanes]: what is the same for all rows is read once for a few of them."""
    m, n, extent = rows.axis, columns.axis, as_int(rows.hi) or 0
    if extent < 2 or not all(isinstance(s, Store) for s in statements(columns.body)):
        return False
    count = draft.choose("together", 1, (c for c in (1, 2, 4, 8) if c <= extent))

    def several() -> bool:
        if not draft.attempt(f"split({m}, {count}, tail=mask, round=1)"):
            return False
        inner = next(x for x in draft.loops() if x.axis == n)
        return vectorise(inner) and draft.attempt(f"reorder({n}0, {m}1)", f"bind({m}1, unroll)")

    return count > 1 and draft.kept(several)


def places(draft: Draft, loop: For, vectorise: Callable[[For], bool]) -> bool:
    """A long map as a few maps of equal length, one vector of each at a time."""
    extent, a = as_int(loop.hi), loop.axis
    plain = all(isinstance(s, Store) for s in statements(loop.body))
    if extent is None or extent < 1 << 16 or not plain or extent % (8 * draft.machine.lanes):
        return vectorise(loop)
    count = draft.choose("places", 1, (1, 2, 4))

    def apart() -> bool:
        if not draft.attempt(f"split({a}, {extent // count}, tail=exact)", f"reorder({a}1, {a}0)"):
            return False
        inner = next(x for x in draft.loops() if x.axis == f"{a}1")
        return vectorise(inner) and draft.attempt(f"reorder({a}0, {a}11)", f"bind({a}0, unroll)")

    return (count > 1 and draft.kept(apart)) or vectorise(loop)
