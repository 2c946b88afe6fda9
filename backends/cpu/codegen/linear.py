"""Row-major addresses and how they move with an axis. Comes in: buffer shapes and index expressions. Goes out: one flat index
expression, and its stride along an axis as an expression (1: contiguous lanes, 0: all lanes alike, None: not linear)."""

from __future__ import annotations

from ....ir.expr import Const, Expr, Load, Op, Var, substitute, walk
from .expand import fold, varies

Poly = dict[tuple[Expr, ...], int]
"""Sum of products: {sorted atoms: coefficient}; the key () holds the constant."""


def flatten(shape: tuple[Expr, ...], index: tuple[Expr, ...]) -> Expr:
    """Row-major offset in elements, by Horner's rule."""
    out: Expr = Const(0)
    for extent, i in zip(shape, index):
        out = i if out == Const(0) else Op("+", (Op("*", (out, extent)), i))
    return out


def polynomial(e: Expr) -> Poly:
    """Expanded form; what is not +, - or * becomes an atom."""
    if isinstance(e, Const) and isinstance(e.value, int):
        return {(): int(e.value)} if e.value else {}
    if isinstance(e, Op) and e.name in ("+", "-"):
        return _sum(polynomial(e.args[0]), polynomial(e.args[1]), 1 if e.name == "+" else -1)
    if isinstance(e, Op) and e.name == "neg":
        return _sum({}, polynomial(e.args[0]), -1)
    if isinstance(e, Op) and e.name == "*":
        return _product(polynomial(e.args[0]), polynomial(e.args[1]))
    return {(e,): 1}


def _sum(a: Poly, b: Poly, sign: int) -> Poly:
    out = dict(a)
    for k, v in b.items():
        out[k] = out.get(k, 0) + sign * v
    return {k: v for k, v in out.items() if v}


def _product(a: Poly, b: Poly) -> Poly:
    out: Poly = {}
    for k, v in a.items():
        for k2, v2 in b.items():
            key = tuple(sorted((*k, *k2), key=repr))
            out[key] = out.get(key, 0) + v * v2
    return {k: v for k, v in out.items() if v}


def expression(p: Poly) -> Expr:
    """The sum of products as an expression."""
    out: Expr | None = None
    for atoms, c in p.items():
        term: Expr = Const(c) if not atoms else atoms[0]
        for atom in atoms[1:]:
            term = Op("*", (term, atom))
        if atoms and c != 1:
            term = Op("*", (term, Const(c)))
        out = term if out is None else Op("+", (out, term))
    return out or Const(0)


def stride(e: Expr, axis: str, private: frozenset[str] = frozenset()) -> Expr | None:
    """d e / d axis when `e` is linear in it (an expression without the axis), else None. `private`: buffers that differ between lanes."""
    p = polynomial(e)
    slope: Poly = {}
    for atoms, c in p.items():
        of_axis = [a for a in atoms if a == Var(axis)]
        if any(varies(a, axis, private) for a in atoms if a != Var(axis)) or len(of_axis) > 1:
            return None
        if of_axis:
            rest = list(atoms)
            rest.remove(Var(axis))
            slope = _sum(slope, {tuple(rest): c}, 1)
    return fold(expression(slope), {})


def constant_stride(e: Expr, axis: str, private: frozenset[str] = frozenset()) -> int | None:
    s = stride(e, axis, private)
    return s.value if isinstance(s, Const) and isinstance(s.value, int) else None


def at(e: Expr, axis: str, value: int) -> Expr:
    return substitute(e, {axis: Const(value)})


def has_loads(e: Expr) -> bool:
    return any(isinstance(n, Load) for n in walk(e))
