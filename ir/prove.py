"""An integer prover: conditions (boolean expressions over axes, dims and integer loads) go in; out comes whether they exclude each other.

Linear arithmetic by Fourier-Motzkin elimination with integer tightening (Pugh, "The Omega test", 1991, without its splinters), over
atoms: Vars, products, quotients `E//d` with `0 <= E - d*(E//d) < d`, and loads of index buffers with their `within` range.
`min`, `max`, `select`, `or` and `!=` are split into cases. Sound, not complete: True means proved, False means not proved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

from .expr import OPS, Cast, Const, Expr, Load, Op, Var, loads, names, substitute
from .kernel import Buffer
from .types import is_int

Atom = (
    tuple  # ("var", name) | ("//", numerator, denominator) | ("load", buffer, indices) | ("opaque", expr) | ("fresh", number)
)
Monomial = tuple[Atom, ...]
Poly = dict[Monomial, int]
"""Integer polynomial; the key () is the constant. As a constraint it means `poly >= 0`."""

MAX_CONSTRAINTS = 600
MAX_CASES = 64


def plus(a: Poly, b: Poly, scale: int = 1) -> Poly:
    out = dict(a)
    for k, v in b.items():
        out[k] = out.get(k, 0) + scale * v
        if not out[k]:
            del out[k]
    return out


def times(a: Poly, b: Poly) -> Poly:
    out: Poly = {}
    for k, v in a.items():
        for m, w in b.items():
            key = tuple(sorted(k + m, key=repr)) if k and m else k or m
            out[key] = out.get(key, 0) + v * w
    return {k: v for k, v in out.items() if v}


def constant(v: int) -> Poly:
    return {(): v} if v else {}


def frozen(p: Poly) -> tuple:
    return tuple(sorted(p.items(), key=repr))


@dataclass(frozen=True)
class Case:
    """One branch of a case split: conditions that hold and polynomials that are >= 0 in it."""

    conditions: tuple[Expr, ...] = ()
    constraints: tuple[tuple, ...] = ()  # frozen polynomials


class Problem:
    """Conditions turned into constraints, with the facts about their atoms and the case splits still open."""

    def __init__(self, buffers: Mapping[str, Buffer], written: frozenset[str]):
        self.buffers, self.written = buffers, written
        self.constraints: list[Poly] = []
        self.equalities: list[Poly] = []
        self.splits: list[tuple[Case, ...]] = []
        self.known: dict[Expr, Poly] = {}
        self.seen: set[Atom] = set()
        self.symbolic: list[tuple[Atom, Poly]] = []  # quotients by a polynomial that is not a number
        self.fresh = 0

    def copy(self) -> Problem:
        out = Problem(self.buffers, self.written)
        out.constraints, out.equalities, out.splits = list(self.constraints), list(self.equalities), list(self.splits)
        out.known, out.seen, out.fresh, out.symbolic = dict(self.known), set(self.seen), self.fresh, list(self.symbolic)
        return out

    # -------------------------------------------------------------------------------- expressions
    def poly(self, e: Expr) -> Poly:
        if e not in self.known:
            self.known[e] = self._poly(e)
        return self.known[e]

    def _poly(self, e: Expr) -> Poly:
        if isinstance(e, Const) and isinstance(e.value, int):
            return constant(int(e.value))
        if isinstance(e, Var):
            return {(("var", e.name),): 1}
        if isinstance(e, Load):
            return self._load(e)
        if isinstance(e, Cast) and e.dtype in ("i64", "i32") and self.integral(e.value):
            return self.poly(e.value)
        if isinstance(e, Op):
            return self._op(e)
        return self._opaque(e)

    def _op(self, e: Op) -> Poly:
        if not self.integral(e):
            return self._opaque(e)
        if e.name in ("+", "-", "*", "neg"):
            return self._ring(e)
        if e.name in ("//", "%"):
            return self._divide(e)
        if e.name in ("min", "max"):
            return self._extremum(e)
        return self._choice(e) if e.name == "select" else self._opaque(e)

    def _ring(self, e: Op) -> Poly:
        a = [self.poly(x) for x in e.args]
        if e.name == "neg":
            return plus({}, a[0], -1)
        return times(a[0], a[1]) if e.name == "*" else plus(a[0], a[1], 1 if e.name == "+" else -1)

    def _divide(self, e: Op) -> Poly:
        num, den = (self.poly(x) for x in e.args)
        value = den.get((), 0) if set(den) <= {()} else None
        if value is not None and value <= 0:
            return self._opaque(e)
        if value is None and not self._positive(den):
            return self._opaque(e)
        quotient = self._quotient(num, den, value)
        return quotient if e.name == "//" else plus(num, times(den, quotient), -1)

    def _positive(self, p: Poly) -> bool:
        """Surely >= 1: positive coefficients over atoms that the constraints met so far make >= 1 (dims are)."""
        atoms = {atom for monomial in p for atom in monomial}
        return all(v > 0 for v in p.values()) and all(infeasible([*self.constraints, {(a,): -1}]) for a in atoms)

    def _quotient(self, num: Poly, den: Poly, value: int | None) -> Poly:
        whole: Poly = {}
        if value is not None:
            whole = {k: v // value for k, v in num.items() if v % value == 0}
            num = {k: v for k, v in num.items() if v % value}
            if not num:
                return whole
        num, den = _flattened(num, den)
        atom: Atom = ("//", frozen(num), frozen(den))
        q: Poly = {(atom,): 1}
        if atom not in self.seen:
            self.seen.add(atom)
            rest = plus(num, times(den, q), -1)
            self.constraints += [rest, plus(plus(den, constant(-1)), rest, -1)]
            self.symbolic += [] if set(den) <= {()} else [(atom, den)]
        return plus(whole, q)

    def _extremum(self, e: Op) -> Poly:
        a, b = (self.poly(x) for x in e.args)
        sign = 1 if e.name == "max" else -1
        m = self._new()
        both = [plus(m, x, -1) if sign > 0 else plus(x, m, -1) for x in (a, b)]
        self.constraints += both
        self.splits.append(tuple(Case((), (frozen(plus({}, c, -1)),)) for c in both))
        return m

    def _choice(self, e: Op) -> Poly:
        condition, *sides = e.args
        out = self._new()
        cases = []
        for side, when in zip(sides, (condition, Op("not", (condition,)))):
            value = Problem.poly(self, side)
            cases.append(Case((when,), (frozen(plus(out, value, -1)), frozen(plus(value, out, -1)))))
        self.splits.append(tuple(cases))
        return out

    def _load(self, e: Load) -> Poly:
        buffer = self.buffers.get(e.buffer)
        if buffer is None or not is_int(buffer.dtype):
            return self._opaque(e)
        if e.buffer in self.written:
            return self._bounded(self._new(), buffer)
        atom: Atom = ("load", e.buffer, tuple(frozen(self.poly(i)) for i in e.index))
        p: Poly = {(atom,): 1}
        if atom not in self.seen:
            self.seen.add(atom)
            self._bounded(p, buffer)
        return p

    def _bounded(self, p: Poly, buffer: Buffer) -> Poly:
        if buffer.within:
            lo, hi = (self.poly(x) for x in buffer.within)
            self.constraints += [plus(p, lo, -1), plus(plus(hi, constant(-1)), p, -1)]
        return p

    def _opaque(self, e: Expr) -> Poly:
        if any(x.buffer in self.written for x in loads(e)):
            return self._new()
        return {(("opaque", e),): 1}

    def _new(self) -> Poly:
        self.fresh += 1
        return {(("fresh", self.fresh),): 1}

    def integral(self, e: Expr) -> bool:
        """Whether `e` surely has an integer dtype."""
        if isinstance(e, Const):
            return type(e.value) is int  # no bool
        if isinstance(e, Load):
            return e.buffer in self.buffers and is_int(self.buffers[e.buffer].dtype)
        if isinstance(e, Cast):
            return is_int(e.dtype)
        if isinstance(e, Op):
            kids = e.args[1:] if e.name == "select" else e.args
            return OPS[e.name][1] in ("arith", "select", "bit") and all(self.integral(k) for k in kids)
        return True

    # -------------------------------------------------------------------------------- conditions
    def assume(self, c: Expr, positive: bool = True) -> bool:
        """Add a condition (or its negation); False when it is plainly untrue. What cannot be expressed is left out."""
        if isinstance(c, Const):
            return bool(c.value) is positive
        if not isinstance(c, Op):
            return True
        if c.name == "not":
            return self.assume(c.args[0], not positive)
        if c.name in ("and", "or"):
            return self._assume_logic(c, positive)
        if OPS[c.name][1] == "compare" and all(self.integral(a) for a in c.args):
            return self._assume_compare(c.name if positive else _NEGATED[c.name], c.args)
        return True

    def _assume_logic(self, c: Op, positive: bool) -> bool:
        if (c.name == "and") is positive:
            return all([self.assume(a, positive) for a in c.args])
        parts = c.args if positive else tuple(Op("not", (a,)) for a in c.args)
        self.splits.append(tuple(Case((p,)) for p in parts))
        return True

    def _assume_compare(self, name: str, args: tuple[Expr, ...]) -> bool:
        a, b = args
        if name == "!=":
            self.splits.append((Case((Op("<", (a, b)),)), Case((Op(">", (a, b)),))))
            return True
        low, high = (a, b) if name in ("<", "<=", "==") else (b, a)
        gap = plus(self.poly(high), self.poly(low), -1)
        if name == "==":
            self.equalities.append(gap)
        else:
            self.constraints.append(plus(gap, constant(-1)) if name in ("<", ">") else gap)
        return True

    # -------------------------------------------------------------------------------- decide
    def impossible(self, budget: list[int]) -> bool:
        """Whether no integers satisfy the constraints; open case splits are tried one after the other."""
        rows = resolved(self.constraints, self.equalities)
        if infeasible(rows) or (self.symbolic and infeasible([*rows, *self._scaled(rows)])):
            return True
        budget[0] -= 1
        if not self.splits or budget[0] < 0:
            return False
        split, *rest = self.splits
        return all(self._branch(case, rest, budget) for case in split)

    def _scaled(self, rows: list[Poly]) -> list[Poly]:
        """Constraints on a quotient E//D times D, so that they meet what is known of D*(E//D)."""
        return [times(r, den) for atom, den in self.symbolic for r in rows if (atom,) in r]

    def _branch(self, case: Case, rest: list[tuple[Case, ...]], budget: list[int]) -> bool:
        sub = self.copy()
        sub.splits = list(rest)
        sub.constraints += [dict(c) for c in case.constraints]
        return not all([sub.assume(c) for c in case.conditions]) or sub.impossible(budget)


_NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


def _flattened(num: Poly, den: Poly) -> tuple[Poly, Poly]:
    """(E//a)//b is E//(a*b)."""
    if len(num) == 1:
        (monomial, factor), *_ = num.items()
        if factor == 1 and len(monomial) == 1 and monomial[0][0] == "//":
            return dict(monomial[0][1]), times(dict(monomial[0][2]), den)
    return num, den


# ------------------------------------------------------------------------------------------------ elimination
def resolved(constraints: list[Poly], equalities: list[Poly]) -> list[Poly]:
    """Constraints alone: an equality with a lone atom of coefficient 1 or -1 replaces that atom everywhere, products included."""
    rows, left = list(constraints), list(equalities)
    while left:
        e = left.pop()
        atom = _lone(e)
        if atom is None:
            rows += [e, plus({}, e, -1)]
            continue
        value = plus({}, {m: v for m, v in e.items() if m != (atom,)}, -e[(atom,)])
        rows = [_replaced(r, atom, value) for r in rows]
        left = [_replaced(r, atom, value) for r in left]
    return rows


def _lone(e: Poly) -> Atom | None:
    for monomial, v in e.items():
        if len(monomial) == 1 and abs(v) == 1 and all(monomial[0] not in m for m in e if m != monomial):
            return monomial[0]
    return None


def _replaced(p: Poly, atom: Atom, value: Poly) -> Poly:
    out: Poly = {}
    for monomial, v in p.items():
        term: Poly = {(): v}
        for a in monomial:
            term = times(term, value if a == atom else {(a,): 1})
        out = plus(out, term)
    return out


def infeasible(constraints: Iterable[Poly]) -> bool:
    """Whether the conjunction of `poly >= 0` has no integer solution; monomials are taken as independent unknowns."""
    rows: dict[frozenset, int] = {}
    for c in constraints:
        if _add(rows, c):
            return True
    while rows:
        unknown = _cheapest(rows)
        if unknown is None:
            return False
        if _eliminate(rows, unknown):
            return True
        if len(rows) > MAX_CONSTRAINTS:
            return False
    return False


def _add(rows: dict[frozenset, int], c: Poly) -> bool:
    """Insert a tightened constraint, keeping only the strongest of parallel ones; True when a contradiction shows."""
    k = c.get((), 0)
    terms = {m: v for m, v in c.items() if m}
    if not terms:
        return k < 0
    g = gcd(*terms.values())
    key = frozenset((m, v // g) for m, v in terms.items())
    k = k // g
    if key in rows and rows[key] <= k:
        return False
    rows[key] = k
    opposite = rows.get(frozenset((m, -v) for m, v in key))
    return opposite is not None and opposite + k < 0


def _cheapest(rows: dict[frozenset, int]) -> Monomial | None:
    """The unknown to eliminate next: one that loses no integer solutions if there is one, then the one that adds fewest rows."""
    ups: dict[Monomial, list[int]] = {}
    downs: dict[Monomial, list[int]] = {}
    for row in rows:
        for m, v in row:
            (ups if v > 0 else downs).setdefault(m, []).append(abs(v))
    every = ups.keys() | downs.keys()
    return min(every, key=lambda m: _cost(m, ups.get(m, []), downs.get(m, [])), default=None)


def _cost(m: Monomial, up: list[int], down: list[int]) -> tuple:
    exact = max(up, default=1) == 1 or max(down, default=1) == 1
    return not exact, len(up) * len(down) - len(up) - len(down), repr(m)


def _eliminate(rows: dict[frozenset, int], unknown: Monomial) -> bool:
    up, down = [], []
    for row in [r for r in rows if any(m == unknown for m, _ in r)]:
        poly = dict(row)
        (up if poly[unknown] > 0 else down).append((poly, rows.pop(row)))
    for a, ka in up:
        for b, kb in down:
            if _add(rows, _combine(a, ka, b, kb, unknown)):
                return True
    return False


def _combine(a: Poly, ka: int, b: Poly, kb: int, unknown: Monomial) -> Poly:
    x, y = a[unknown], -b[unknown]
    g = gcd(x, y)
    out = plus({m: v * (y // g) for m, v in a.items()}, b, x // g)
    out.pop(unknown, None)
    out[()] = ka * (y // g) + kb * (x // g)
    return out


# ------------------------------------------------------------------------------------------------ questions
def excluded(conditions: Iterable[Expr], buffers: Mapping[str, Buffer], written: frozenset[str] = frozenset()) -> bool:
    """Whether no integers satisfy all `conditions`.

    `buffers`: dtypes and ranges of buffers loaded; loads of a buffer in `written` are unknown at each occurrence.
    """
    asked = tuple(conditions)
    loaded = sorted({x.buffer for c in asked for x in loads(c)})
    return _excluded(asked, tuple(buffers[n] for n in loaded if n in buffers), written.intersection(loaded))


@lru_cache(maxsize=20000)
def _excluded(conditions: tuple[Expr, ...], loaded: tuple[Buffer, ...], written: frozenset[str]) -> bool:
    problem = Problem({b.name: b for b in loaded}, written)
    if not all([problem.assume(c) for c in conditions]):
        return True
    return problem.impossible([MAX_CASES])


def implied(
    goal: Expr, conditions: Iterable[Expr], buffers: Mapping[str, Buffer], written: frozenset[str] = frozenset()
) -> bool:
    """Whether `conditions` entail the condition `goal`; only those connected with it by names are looked at."""
    return excluded([*_connected(goal, list(conditions)), Op("not", (goal,))], buffers, written)


def _connected(goal: Expr, conditions: list[Expr]) -> list[Expr]:
    reached = _mentioned(goal)
    left = [(c, _mentioned(c)) for c in conditions]
    while True:
        near = {id(c) for c, used in left if not used.isdisjoint(reached)}
        grown = reached.union(*(used for c, used in left if id(c) in near))
        if grown == reached:
            return [c for c, _ in left if id(c) in near]
        reached = grown


def _mentioned(e: Expr) -> frozenset[str]:
    return names(e) | {x.buffer for x in loads(e)}


def primed(e: Expr, names: Iterable[str]) -> Expr:
    """A copy of `e` about another iteration: the Vars in `names` get a prime."""
    return substitute(e, {n: Var(n + "'") for n in names})
