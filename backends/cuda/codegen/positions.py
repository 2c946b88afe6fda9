"""Positions that a kernel's text uses again and again: an index over the axes of the grid and the block, and its digits.

A first printing counts them; digits, and positions used twice or more, get names, which stand at the head of the kernel: comes in an index
expression, goes out the same with names in it.

    x[(ib * 256 + it) / 45 * 47 + (ib * 256 + it) % 45]   ->   const int i = ib * 256 + it; const int row = i / 45; ..  x[row * 47 + column]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ....ir.expr import Affine, Const, Expr, Op, Var, affine, from_affine, names, transform, walk
from ....ir.text import print_expr


@dataclass
class Positions:
    """`axes`: the axes that are known at the head of the kernel. `known`: expression -> the Var that names it, digits before the positions that they are of."""

    axes: frozenset[str] = frozenset()
    seen: dict[Expr, int] = field(default_factory=dict)
    known: dict[Expr, Var] = field(default_factory=dict)

    def named(self, e: Expr) -> Expr:
        """`e` with what has a name called by it."""
        if self.axes:
            self._count(e)
        return _called(e, self.known)

    def _count(self, e: Expr) -> None:
        for n in walk(e):
            if isinstance(n, Op) and n.name in ("//", "%") and isinstance(n.args[1], Const) and self._fixed(n.args[0]):
                self.seen[n] = self.seen.get(n, 0) + 1
                if not isinstance(n.args[0], Var):
                    self.seen[n.args[0]] = self.seen.get(n.args[0], 0) + 1

    def _fixed(self, e: Expr) -> bool:
        return bool(names(e)) and names(e) <= self.axes

    def name_all(self, fresh: Callable[[str], str]) -> list[tuple[str, Expr]]:
        """Name what was seen twice or more: (name, expression over axes and earlier names), in the order of declaration."""
        out: list[tuple[str, Expr]] = []
        often = [e for e, n in self.seen.items() if n > 1 or _is_digit(e)]
        wholes: dict[Expr, Var] = {}
        for e in (x for x in often if not _is_digit(x)):
            wholes[e] = Var(fresh(_base(e)))
            out.append((wholes[e].name, e))
        digits = [x for x in often if isinstance(x, Op) and _is_digit(x)]
        for e in sorted(digits, key=lambda x: (print_expr(x.args[0]), x.name != "//")):
            self.known[e] = Var(fresh(_base(e)))
            out.append((self.known[e].name, _called(e, wholes)))
        self.known |= wholes
        return out


def _called(e: Expr, known: dict[Expr, Var]) -> Expr:
    for whole, name in known.items():
        e = transform(e, lambda n, w=whole, v=name: _replaced(n, w, v))
    return e


def _is_digit(e: Expr) -> bool:
    return isinstance(e, Op) and e.name in ("//", "%")


def _base(e: Expr) -> str:
    """A word for the expression: of a position what its axes' names begin with, of a digit row or column."""
    if _is_digit(e):
        return "row" if isinstance(e, Op) and e.name == "//" else "column"
    found = sorted(names(e))
    common = found[0]
    for n in found[1:]:
        while not n.startswith(common):
            common = common[:-1]
    return common or "position"


def _replaced(n: Expr, whole: Expr, name: Var) -> Expr | None:
    """`n` itself, or the terms of `whole` in a sum (times a common factor)."""
    if n == whole:
        return name
    if not (isinstance(n, Op) and n.name in ("+", "-")) or _is_digit(whole):
        return None
    part, terms = affine(whole), affine(n)
    factor = _factor(part, terms)
    if factor is None:
        return None
    first = next(k for k in terms if k in part)
    called: Affine = {}
    for k, v in terms.items():
        if k == first:
            called[name] = factor
        elif k not in part:
            called[k] = v
    return from_affine(called) if len(part) > 1 else None


def _factor(part: Affine, terms: Affine) -> int | None:
    """c where `terms` has c times every term of `part`."""
    first = next(iter(part), None)
    if first is None or None in part or any(k not in terms for k in part) or terms[first] % part[first]:
        return None
    c = terms[first] // part[first]
    return c if all(terms[k] == c * v for k, v in part.items()) else None
