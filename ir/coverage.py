"""Coverage: an element of a buffer and the writes before it go in; out comes whether some of them surely wrote that element.

A write's index is solved for the axes around it: a plain axis takes the value of its dim, `c*i0 + i1` is taken apart as a number with
digits. What is left are conditions on the axes found, asked of the prover; several writes may cover an element together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .expr import ZERO, Expr, Op, Var, add, affine, floordiv, from_affine, mod, mul, names, simplify, sub, substitute
from .kernel import Buffer, For, If
from .prove import excluded, implied

MAX_PROOFS = 200


@dataclass(frozen=True)
class Write:
    """A write to `index` inside `path`: the For and If statements around it that the reader does not share, outermost first."""

    index: tuple[Expr, ...]
    path: tuple[For | If, ...]


class _Solver:
    """Solves a write's index for its own axes, which get a `$` so that they cannot be taken for the reader's."""

    def __init__(self, write: Write):
        self.loops = {s.axis + "$": s for s in write.path if isinstance(s, For)}
        self.own: dict[str, Expr] = {s.axis: Var(s.axis + "$") for s in self.loops.values()}
        self.write = write
        self.env: dict[str, Expr] = {}
        self.checks: list[Expr] = []

    def value(self, e: Expr) -> Expr:
        return simplify(substitute(substitute(e, self.own), self.env))

    def unsolved(self, e: Expr) -> set[str]:
        return {n for n in names(e) if n in self.loops and n not in self.env}

    def solve(self, element: tuple[Expr, ...]) -> list[Expr] | None:
        pairs = list(zip(element, self.write.index))
        while pairs:
            pairs.sort(key=lambda pair: len(self.unsolved(self.value(pair[1]))))
            if not self.dim(*pairs.pop(0)):
                return None
        for name, loop in self.loops.items():
            self.env.setdefault(name, self.value(loop.lo))
        return [*self.checks, *(c for s in self.write.path for c in self.holds(s))]

    def dim(self, want: Expr, index: Expr) -> bool:
        got = self.value(index)
        unknown = self.unsolved(got)
        if not unknown:
            self.checks.append(Op("==", (got, want)))
            return True
        terms = affine(got)
        digits = {k.name: terms.pop(k) for k in list(terms) if isinstance(k, Var) and k.name in unknown}
        lows = {u: self.value(self.loops[u].lo) for u in digits}
        if any(self.unsolved(x) for x in (from_affine(terms), *lows.values())):
            return False
        return self.digits(sub(want, from_affine(terms)), digits, lows)

    def digits(self, rest: Expr, digits: dict[str, int], lows: dict[str, Expr]) -> bool:
        for u, c in digits.items():
            rest = sub(rest, mul(lows[u], c))
        order = sorted(digits, key=lambda u: -abs(digits[u]))
        if len(order) > 1 and min(digits.values()) < 0:
            return False
        if digits[order[-1]] < 0:
            rest, digits = sub(ZERO, rest), {order[-1]: -digits[order[-1]]}
        for u in order[:-1]:
            self.env[u] = add(lows[u], floordiv(rest, digits[u]))
            rest = mod(rest, digits[u])
        last, c = order[-1], digits[order[-1]]
        self.env[last] = add(lows[last], floordiv(rest, c))
        if c != 1:
            self.checks.append(Op("==", (mod(rest, c), ZERO)))
        return True

    def holds(self, s: For | If) -> tuple[Expr, ...]:
        if isinstance(s, If):
            return (self.value(s.cond),)
        here = self.env[s.axis + "$"]
        return Op("<=", (self.value(s.lo), here)), Op("<", (here, self.value(s.hi)))


def solve(element: tuple[Expr, ...], write: Write) -> dict[str, Expr] | None:
    """The values of the write's axes at which it writes `element`, if it does; None when its index cannot be solved."""
    solver = _Solver(write)
    if len(element) != len(write.index) or solver.solve(element) is None:
        return None
    return {loop.axis: solver.env[name] for name, loop in solver.loops.items()}


def covered(
    element: tuple[Expr, ...],
    facts: Sequence[Expr],
    writes: Sequence[Write],
    buffers: Mapping[str, Buffer],
    unstable: frozenset[str],
) -> bool:
    """Whether, under `facts`, one of `writes` has written `element`. Loads of buffers in `unstable` are taken as unknown."""
    open_conditions: list[list[Expr]] = []
    for w in writes:
        found = _Solver(w).solve(element) if len(w.index) == len(element) else None
        if found is None:
            continue
        left = [c for c in found if not implied(c, facts, buffers, unstable)]
        if not left:
            return True
        open_conditions.append(left)
    return _together([*facts], open_conditions, buffers, unstable, [MAX_PROOFS])


def _together(
    facts: list[Expr], left: list[list[Expr]], buffers: Mapping[str, Buffer], unstable: frozenset[str], budget: list[int]
) -> bool:
    """No case is left in which each write misses one of its conditions."""
    budget[0] -= 1
    if budget[0] < 0:
        return False
    if excluded(facts, buffers, unstable):
        return True
    return bool(left) and all(_together([*facts, Op("not", (c,))], left[1:], buffers, unstable, budget) for c in left[0])
