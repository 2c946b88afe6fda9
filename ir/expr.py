"""Scalar expressions, used in Graph maps, Kernel statements and shapes alike: five nodes and one operator table.

expr = Const(value) | Var(name) | Load(buffer, index) | Op(name, args) | Cast(dtype, expr)

Constants are weak: an int constant takes the dtype of its neighbour, a float constant that of a float neighbour (f32
when alone). Everything else must match exactly; `Cast` converts. Vars (axes and dims) are i64. `select`, `and`, `or` are lazy.
`//` and `%` floor; `min` and `max` propagate NaN as torch does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Const:
    value: bool | int | float


@dataclass(frozen=True)
class Var:
    name: str


@dataclass(frozen=True)
class Load:
    buffer: str
    index: tuple[Expr, ...]


@dataclass(frozen=True)
class Op:
    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Cast:
    dtype: str
    value: Expr


Expr = Const | Var | Load | Op | Cast

# name -> (arity, kind). kind: arith (numbers, same dtype out), float (floats only), compare (-> b1), logic (b1), bit (ints and b1),
# test (float -> b1), select. Infix operators keep their Python symbol as name.
OPS: dict[str, tuple[int, str]] = {
    "+": (2, "arith"), "-": (2, "arith"), "*": (2, "arith"), "/": (2, "float"), "//": (2, "arith"), "%": (2, "arith"),
    "neg": (1, "arith"), "abs": (1, "arith"), "min": (2, "arith"), "max": (2, "arith"),
    "<": (2, "compare"), "<=": (2, "compare"), ">": (2, "compare"), ">=": (2, "compare"), "==": (2, "compare"), "!=": (2, "compare"),
    "and": (2, "logic"), "or": (2, "logic"), "not": (1, "logic"), "select": (3, "select"),
    "&": (2, "bit"), "|": (2, "bit"), "^": (2, "bit"), "<<": (2, "bit"), ">>": (2, "bit"), "invert": (1, "bit"),
    "exp": (1, "float"), "exp2": (1, "float"), "expm1": (1, "float"), "log": (1, "float"), "log2": (1, "float"), "log10": (1, "float"),
    "log1p": (1, "float"), "sqrt": (1, "float"), "rsqrt": (1, "float"), "sin": (1, "float"), "cos": (1, "float"), "tan": (1, "float"),
    "asin": (1, "float"), "acos": (1, "float"), "atan": (1, "float"), "sinh": (1, "float"), "cosh": (1, "float"), "tanh": (1, "float"),
    "asinh": (1, "float"), "acosh": (1, "float"), "atanh": (1, "float"), "erf": (1, "float"), "erfc": (1, "float"),
    "sigmoid": (1, "float"), "floor": (1, "float"), "ceil": (1, "float"), "round": (1, "float"), "trunc": (1, "float"),
    "pow": (2, "float"), "atan2": (2, "float"), "fmod": (2, "arith"), "isnan": (1, "test"), "isinf": (1, "test"),
}  # fmt: skip

INFIX = ("+", "-", "*", "/", "//", "%", "<", "<=", ">", ">=", "==", "!=", "&", "|", "^", "<<", ">>", "and", "or")

ZERO, ONE = Const(0), Const(1)


def children(e: Expr) -> tuple[Expr, ...]:
    if isinstance(e, Load):
        return e.index
    if isinstance(e, Op):
        return e.args
    return (e.value,) if isinstance(e, Cast) else ()


def rebuild(e: Expr, kids: tuple[Expr, ...]) -> Expr:
    if isinstance(e, Load):
        return Load(e.buffer, kids)
    if isinstance(e, Op):
        return Op(e.name, kids)
    return Cast(e.dtype, kids[0]) if isinstance(e, Cast) else e


def walk(e: Expr) -> Iterator[Expr]:
    """Every node of `e`, parents first."""
    yield e
    for kid in children(e):
        yield from walk(kid)


def transform(e: Expr, f: Callable[[Expr], Expr | None]) -> Expr:
    """Replace bottom up: `f` gets each node with its children already replaced; None keeps it."""
    kids = children(e)
    new = tuple(transform(kid, f) for kid in kids)
    e = rebuild(e, new) if new != kids else e
    out = f(e)
    return e if out is None else out


def substitute(e: Expr, env: Mapping[str, Expr]) -> Expr:
    """Replace Vars by name."""
    return transform(e, lambda n: env.get(n.name) if isinstance(n, Var) else None)


def names(e: Expr) -> frozenset[str]:
    return frozenset(n.name for n in walk(e) if isinstance(n, Var))


def loads(e: Expr) -> list[Load]:
    return [n for n in walk(e) if isinstance(n, Load)]


def _expr(v: Expr | int | float) -> Expr:
    return Const(v) if isinstance(v, (int, float)) else v


def add(a: Expr | int, b: Expr | int) -> Expr:
    return simplify(Op("+", (_expr(a), _expr(b))))


def sub(a: Expr | int, b: Expr | int) -> Expr:
    return simplify(Op("-", (_expr(a), _expr(b))))


def mul(a: Expr | int, b: Expr | int) -> Expr:
    return simplify(Op("*", (_expr(a), _expr(b))))


def floordiv(a: Expr | int, b: Expr | int) -> Expr:
    return simplify(Op("//", (_expr(a), _expr(b))))


def mod(a: Expr | int, b: Expr | int) -> Expr:
    return simplify(Op("%", (_expr(a), _expr(b))))


def ceildiv(a: Expr | int, b: int) -> Expr:
    return floordiv(add(a, b - 1), b)


# ------------------------------------------------------------------------------------------------ affine forms
Affine = dict[Expr | None, int]
"""Integer expression as {atom: coefficient}; the key None holds the constant. Atoms are Vars or opaque subexpressions."""


def affine(e: Expr) -> Affine:
    """Linear form of an integer expression; non-linear parts become opaque atoms (already simplified)."""
    if isinstance(e, Const) and isinstance(e.value, int):
        return {None: int(e.value)} if e.value else {}
    if isinstance(e, Op) and e.name in ("+", "-"):
        a, b = affine(e.args[0]), affine(e.args[1])
        return _combine(a, b, 1 if e.name == "+" else -1)
    if isinstance(e, Op) and e.name == "neg":
        return {k: -v for k, v in affine(e.args[0]).items()}
    if isinstance(e, Op) and e.name == "*":
        a, b = affine(e.args[0]), affine(e.args[1])
        for x, y in ((a, b), (b, a)):
            if set(x) <= {None}:
                c = x.get(None, 0)
                return {k: v * c for k, v in y.items()} if c else {}
    return {e: 1}


def _combine(a: Affine, b: Affine, sign: int) -> Affine:
    out = dict(a)
    for k, v in b.items():
        out[k] = out.get(k, 0) + sign * v
        if out[k] == 0:
            del out[k]
    return out


def from_affine(a: Affine) -> Expr:
    """The canonical expression of a linear form: terms in first-seen order, the constant last."""
    out: Expr | None = None
    for atom, c in a.items():
        if atom is None:
            continue
        term: Expr = atom if abs(c) == 1 else Op("*", (atom, Const(abs(c))))
        if out is None:
            out = term if c > 0 else Op("neg", (term,)) if abs(c) == 1 else Op("*", (atom, Const(c)))
        else:
            out = Op("+" if c > 0 else "-", (out, term))
    k = a.get(None, 0)
    if out is None:
        return Const(k)
    return Op("+" if k > 0 else "-", (out, Const(abs(k)))) if k else out


Ranges = Mapping[str, tuple[int, int]]
"""Inclusive integer bounds of Vars, where known."""


def bounds(e: Expr, ranges: Ranges) -> tuple[int | None, int | None]:
    """Inclusive integer bounds of an integer expression under the bounds of its Vars (None: unknown)."""
    if isinstance(e, Const):
        return (int(e.value), int(e.value)) if not isinstance(e.value, float) else (None, None)
    if isinstance(e, Var):
        return ranges.get(e.name, (None, None))
    if not isinstance(e, Op):
        return None, None
    if e.name in ("+", "-", "*", "neg"):
        return _affine_bounds(affine(e), e, ranges)
    sides = [bounds(a, ranges) for a in e.args]
    return _op_bounds(e.name, sides)


def _affine_bounds(a: Affine, e: Expr, ranges: Ranges) -> tuple[int | None, int | None]:
    if set(a) == {e}:  # a product of two unknowns
        (l1, h1), (l2, h2) = (bounds(x, ranges) for x in e.args) if isinstance(e, Op) and len(e.args) == 2 else ((None, None), (None, None))
        if None in (l1, h1, l2, h2):
            return (0 if (l1 or -1) >= 0 and (l2 or -1) >= 0 and l1 is not None and l2 is not None else None), None
        corners = [x * y for x in (l1, h1) for y in (l2, h2)]  # type: ignore[operator]
        return min(corners), max(corners)
    lo: int | None = a.get(None, 0)
    hi: int | None = lo
    for atom, c in a.items():
        if atom is None:
            continue
        low, high = bounds(atom, ranges)
        low, high = (low, high) if c > 0 else (high, low)
        lo = None if lo is None or low is None else lo + c * low
        hi = None if hi is None or high is None else hi + c * high
    return lo, hi


def _op_bounds(name: str, s: list[tuple[int | None, int | None]]) -> tuple[int | None, int | None]:
    if name == "//" and s[1][0] is not None and s[1][0] == s[1][1] and s[1][0] > 0:
        d = s[1][0]
        return (None if s[0][0] is None else s[0][0] // d), (None if s[0][1] is None else s[0][1] // d)
    if name == "%" and s[1][0] is not None and s[1][0] == s[1][1] and s[1][0] > 0:
        d = s[1][0]
        if s[0][0] is not None and s[0][1] is not None and s[0][0] // d == s[0][1] // d:
            return s[0][0] % d, s[0][1] % d
        return 0, d - 1
    if name in ("min", "max"):
        f = min if name == "min" else max
        los, his = [x[0] for x in s], [x[1] for x in s]
        known_lo, known_hi = [x for x in los if x is not None], [x for x in his if x is not None]
        lo = f(known_lo) if None not in los else (max(known_lo) if known_lo and name == "max" else None)
        hi = f(known_hi) if None not in his else (min(known_hi) if known_hi and name == "min" else None)
        return lo, hi
    if name == "select":
        lo = None if s[1][0] is None or s[2][0] is None else min(s[1][0], s[2][0])
        hi = None if s[1][1] is None or s[2][1] is None else max(s[1][1], s[2][1])
        return lo, hi
    return None, None


# ------------------------------------------------------------------------------------------------ simplification
_FOLD: dict[str, Callable[..., bool | int]] = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "min": min, "max": max,
}  # fmt: skip


def is_index(e: Expr) -> bool:
    """Built from Vars, int constants and integer operators alone, so that integer algebra is exact."""
    if isinstance(e, Const):
        return isinstance(e.value, int) and not isinstance(e.value, bool)
    if isinstance(e, Var):
        return True
    return isinstance(e, Op) and e.name in ("+", "-", "*", "//", "%", "neg", "min", "max") and all(is_index(a) for a in e.args)


def simplify(e: Expr, ranges: Ranges | None = None) -> Expr:
    """Integer algebra on index expressions (affine normal form, div/mod with ranges), constant conditions; floats are left alone."""
    r = ranges or {}
    return transform(e, lambda n: _simplify_node(n, r))


def _simplify_node(e: Expr, r: Ranges) -> Expr | None:
    if not isinstance(e, Op):
        return None
    if e.name in ("+", "-", "*", "neg") and is_index(e):
        return _merge_digits(affine(e))
    if e.name in ("//", "%") and is_index(e):
        return _simplify_divmod(e, r)
    if e.name in ("min", "max") and is_index(e):
        return _simplify_minmax(e, r)
    if OPS[e.name][1] == "compare" and all(is_index(a) for a in e.args):
        return _simplify_compare(e, r)
    if e.name in ("and", "or", "not", "select"):
        return _simplify_logic(e)
    return None


def _merge_digits(a: Affine) -> Expr:
    """(E//d)*d*c + (E%d)*c -> E*c : the digits of one number recombine."""
    for atom in list(a):
        if not (isinstance(atom, Op) and atom.name == "%" and isinstance(atom.args[1], Const)):
            continue
        base, d = atom.args[0], int(atom.args[1].value)
        quotient = _simplify_divmod(Op("//", (base, Const(d))), {}) or Op("//", (base, Const(d)))
        c = a[atom]
        if quotient in a and a[quotient] == c * d:
            rest = {k: v for k, v in a.items() if k not in (atom, quotient)}
            return _merge_digits(_combine(rest, {k: v * c for k, v in affine(base).items()}, 1))
    return from_affine(a)


def _simplify_divmod(e: Op, r: Ranges) -> Expr | None:
    num, den = e.args
    if not (isinstance(den, Const) and isinstance(den.value, int) and den.value > 0):
        return None
    d = den.value
    if isinstance(num, Const):
        return Const(num.value // d if e.name == "//" else num.value % d)
    if d == 1:
        return num if e.name == "//" else ZERO
    lo, hi = bounds(num, r)
    if lo is not None and hi is not None and lo // d == hi // d:
        return Const(lo // d) if e.name == "//" else from_affine(_combine(affine(num), {None: (lo // d) * d} if lo // d else {}, -1))
    a = affine(num)
    whole = {k: v for k, v in a.items() if v % d == 0}
    rest = {k: v for k, v in a.items() if v % d}
    if (None in rest and rest[None] >= d) or (rest.get(None, 0) < 0 and len(rest) >= 1):
        q = rest[None] // d
        if q:
            whole[None] = whole.get(None, 0) + q * d
            rest = {**rest, None: rest[None] - q * d}
            rest = {k: v for k, v in rest.items() if v}
    if not whole:
        return _drop_low_digit(e, a, d, r) or _nested_div(e, num, d)
    part = from_affine(rest)
    if e.name == "%":
        return _simplify_divmod(Op("%", (part, den)), r) or Op("%", (part, den))
    low = _simplify_divmod(Op("//", (part, den)), r) or Op("//", (part, den))
    return _merge_digits(_combine({k: v // d for k, v in whole.items()}, affine(low), 1))


def _drop_low_digit(e: Op, a: Affine, d: int, r: Ranges) -> Expr | None:
    """(q*g + low) // d -> q // (d/g) and (q*g + low) % d -> q % (d/g) * g + low, for 0 <= low < g and g a divisor of d."""
    for g in sorted({math.gcd(d, c) for c in a.values()} - {1}, reverse=True):
        high = {k: v // g for k, v in a.items() if v % g == 0}
        low = {k: v for k, v in a.items() if v % g}
        least, most = _affine_bounds(low, Const(0), r)
        if high and low and least is not None and most is not None and least >= 0 and most < g:
            inner = Op(e.name, (from_affine(high), Const(d // g)))
            inner = _simplify_divmod(inner, r) or inner
            return inner if e.name == "//" else from_affine(_combine({k: v * g for k, v in affine(inner).items()}, low, 1))
    return None


def _nested_div(e: Op, num: Expr, d: int) -> Expr | None:
    """(x // a) // b -> x // (a*b); (x % ab) % b -> x % b when b divides ab."""
    if isinstance(num, Op) and isinstance(num.args[-1], Const) and isinstance(num.args[-1].value, int):
        a = num.args[-1].value
        if e.name == "//" and num.name == "//" and a > 0:
            return Op("//", (num.args[0], Const(a * d)))
        if e.name == "%" and num.name == "%" and a > 0 and a % d == 0:
            return Op("%", (num.args[0], Const(d)))
    return None


def _simplify_minmax(e: Op, r: Ranges) -> Expr | None:
    a, b = e.args
    if a == b:
        return a
    lo, hi = bounds(Op("-", (a, b)), r)
    if hi is not None and hi <= 0:
        return a if e.name == "min" else b
    if lo is not None and lo >= 0:
        return b if e.name == "min" else a
    return None


def _simplify_compare(e: Op, r: Ranges) -> Expr | None:
    diff = affine(Op("-", e.args))
    lo, hi = _affine_bounds(diff, Op("-", e.args), r) if set(diff) != {Op("-", e.args)} else (None, None)
    if lo is None and hi is None:
        return None
    name = e.name
    if name in (">", ">="):
        lo, hi, name = (None if hi is None else -hi), (None if lo is None else -lo), {">": "<", ">=": "<="}[name]
    limit = {"<": 0, "<=": 1}.get(name)
    if limit is not None:
        if hi is not None and hi < limit:
            return Const(True)
        if lo is not None and lo >= limit:
            return Const(False)
        return None
    apart = (lo is not None and lo > 0) or (hi is not None and hi < 0)
    if apart:
        return Const(name == "!=")
    return Const(name == "==") if lo == hi == 0 else None


def _simplify_logic(e: Op) -> Expr | None:
    a = e.args[0]
    if e.name == "not":
        return Const(not a.value) if isinstance(a, Const) else None
    if e.name == "select":
        if isinstance(a, Const):
            return e.args[1] if a.value else e.args[2]
        return e.args[1] if e.args[1] == e.args[2] else None
    absorbing = e.name == "or"
    for x, y in (e.args, e.args[::-1]):
        if isinstance(x, Const):
            return Const(absorbing) if bool(x.value) is absorbing else y
    return a if e.args[0] == e.args[1] else None


def as_int(e: Expr) -> int | None:
    """The value of a constant index expression, None when it is symbolic."""
    e = simplify(e)
    return e.value if isinstance(e, Const) and isinstance(e.value, int) else None


def conjunction(terms: list[Expr]) -> Expr:
    out: Expr = Const(True)
    for t in terms:
        out = t if out == Const(True) else Op("and", (out, t))
    return out


def is_inf(v: object) -> bool:
    return isinstance(v, float) and math.isinf(v)
