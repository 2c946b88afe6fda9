"""Accesses that are not surely in bounds: a Program goes in, places come out. Intervals first, the prover for the rest."""

from __future__ import annotations

from collections.abc import Iterator

from .expr import ZERO, Expr, Load, Op, as_int, bounds, simplify
from .kernel import Program, Stmt
from .prove import implied
from .scope import Access, Scope, accesses, scopes, written_names


def out_of_bounds(p: Program) -> Iterator[tuple[Stmt, Load, int, Expr]]:
    """(statement, place, dim, extent of the dim) of every access that is not proved to be inside."""
    unstable = written_names(p.body)
    known: dict[tuple, bool] = {}
    for s, scope in scopes(p):
        for a in accesses(s):
            shape = scope.buffers[a.place.buffer].shape
            for k, (index, size) in enumerate(zip(a.place.index, shape)):
                if not (_plainly(index, size, scope) or _proved(index, size, a, scope, unstable, known)):
                    yield s, a.place, k, size


def _plainly(index: Expr, size: Expr, scope: Scope) -> bool:
    n = as_int(size)
    if n is None:
        return False
    lo, hi = bounds(index, scope.ranges)
    return lo is not None and hi is not None and lo >= 0 and hi < n


def _proved(index: Expr, size: Expr, a: Access, scope: Scope, unstable: frozenset[str], known: dict[tuple, bool]) -> bool:
    index = simplify(index, scope.ranges)
    facts = (*scope.facts, *a.given)
    key = (index, size, facts)
    if key not in known:
        goals = (Op("<=", (ZERO, index)), Op("<", (index, size)))
        known[key] = all(implied(g, facts, scope.buffers, unstable) for g in goals)
    return known[key]
