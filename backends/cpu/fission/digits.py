"""A loop whose variable is divided by constants as a nest of loops. `i / 50` and `i % 50` become two loop variables.

Comes in: the variable, its bound, the body. Goes out: loops (name, extent) outermost first, and the body in their variables. Divisors that
do not divide one another stay divisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ....frontend.cuda import tree as t
from .fold import fold, number
from .quotients import top_down


@dataclass(frozen=True)
class Nest:
    loops: tuple[tuple[str, int], ...]
    body: t.Body


def nest(name: str, bound: int, body: t.Body) -> Nest:
    """The nest; a single loop where there is nothing to divide."""
    chain = _chain(_radices(name, body, bound), bound)
    if len(chain) < 2:
        return Nest(((name, bound),), body)
    taken = t.names(body) | {d.name for n in t.walk(body) if isinstance(n, t.Declare) for d in n.declarators}
    extents = [b // a for a, b in zip(chain, [*chain[1:], bound])]
    names = _names(name, len(extents), taken)
    places = list(zip(chain, extents, names))  # innermost first
    changed = fold(_written(body, name, places))
    used = [(n, e) for _, e, n in reversed(places)]
    return Nest(tuple(used), changed)


def _names(name: str, count: int, taken: frozenset[str] | set[str]) -> list[str]:
    """Innermost first; outermost is `i`, then `j`, `k` ... where these are free."""
    wanted = [c for c in "ijklmnpq" if c not in taken or c == name][:count]
    if len(wanted) < count:
        wanted = [f"{name}{k}" for k in range(count)]
    return list(reversed(wanted))


def _radices(name: str, body: t.Body, bound: int) -> set[int]:
    """Where the digits have to begin: the ends of every largest expression that is `(i % high) / low`."""
    found = {1}

    def collect(n: Any) -> Any:
        low, high = _span(n, name, bound)
        if low:
            found.update((low, high))
            return t.Literal("0")
        return None

    top_down(body, collect)
    return found


def _chain(radices: set[int], bound: int) -> list[int]:
    """The longest sequence in which each divides the next and the last divides the bound, smallest first; 1 is always in it."""
    wanted = sorted(r for r in radices if bound % r == 0 and r < bound)
    best: dict[int, list[int]] = {}
    for r in wanted:
        before = [best[q] for q in best if r % q == 0 and q != r]
        best[r] = [*max(before, key=len, default=[]), r]
    return max(best.values(), key=len, default=[1])


def _written(body: t.Body, name: str, places: list[tuple[int, int, str]]) -> t.Body:
    """Every use of the variable as a sum over the digits that it needs."""
    starts = {start: k for k, (start, _, _) in enumerate(places)}
    total = places[-1][0] * places[-1][1]

    def between(low: int, high: int) -> t.Expr | None:
        """`(i % high) / low` as a sum, where both are places."""
        if low not in starts or (high not in starts and high != total):
            return None
        chosen = [(start, digit) for start, _, digit in places if low <= start < high]
        out: t.Expr | None = None
        for start, digit in reversed(chosen):
            factor = start // low
            term: t.Expr = t.Name(digit) if factor == 1 else t.Binary("*", t.Name(digit), t.Literal(str(factor)))
            out = term if out is None else t.Binary("+", out, term)
        return out if out is not None else t.Literal("0")

    def change(n: Any) -> Any:
        low, high = _span(n, name, total)
        return between(low, high) if low else None

    return top_down(body, change)


def _span(n: Any, name: str, total: int) -> tuple[int, int]:
    """`low` and `high` of an expression that is `(i % high) / low`; (0, 0) for others."""
    if n == t.Name(name):
        return 1, total
    value = number(n.right) if isinstance(n, t.Binary) and n.op in "/%" else None
    if not value:
        return 0, 0
    low, high = _span(n.left, name, total)
    if not low:
        return 0, 0
    if n.op == "/":
        return (low * value, high) if high % (low * value) == 0 or high == total else (0, 0)
    if low * value >= high:
        return low, high
    return (low, low * value) if high % (low * value) == 0 or high == total else (0, 0)
