"""Index arithmetic of a nest of lanes that loops in it do not change: expressions come in, names for their values go out, each computed once,
where the nest begins. Triton's compiler finds most of it by itself; its interpreter does not, and the text is easier to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from itertools import takewhile

from ...ir.expr import Expr, Op, Var, as_int, is_index, names, walk

Term = tuple[str, Expr]
"""`+` or `-`, and what is added."""


@dataclass
class Hoisted:
    """`lines` up to `position` come before the nest, `known` are the names that have their values there, `lanes` those of its axes.

    `shared`: text -> the name that it has around the nest and in it. `narrow`: indices have 32 bits throughout. `text` prints an expression; `declare` makes a name, from a proposal, for the value of an expression.
    """

    lines: list[str]
    indent: str
    known: frozenset[str]
    lanes: frozenset[str]
    shared: MutableMapping[str, str]
    narrow: bool
    text: Callable[[Expr], str]
    declare: Callable[[str, Expr], str]
    position: int = field(init=False)
    named: dict[Expr, Var] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.position = len(self.lines)

    def fixed(self, e: Expr) -> bool:
        """An index that the loops of the nest do not change."""
        return is_index(e) and names(e) <= self.known

    def tile(self, e: Expr) -> bool:
        return bool(names(e) & self.lanes)

    def digits(self, e: Expr) -> Expr:
        """The index with its quotients and remainders, and what they are taken of, by name."""
        if not isinstance(e, Op):
            return e
        if e in self.named:
            return self.named[e]
        divided = e.name in ("//", "%")
        mine = divided and self.fixed(e) and self.tile(e)
        args = [self.digits(a) for a in e.args]
        if mine and isinstance(args[0], Op):
            args[0] = self.name(e.args[0], args[0], _stem(e.args[0]))
        made = Op(e.name, tuple(args))
        if not mine:
            return self._known_sum(e, made)
        word = "div" if e.name == "//" else "mod"
        base = args[0].name if isinstance(args[0], Var) else "point"
        size = as_int(e.args[1])
        return self.name(e, made, f"{base}_{word}_{size}" if size is not None and len(base) < 24 else "digit")

    def number(self, e: Expr) -> Expr:
        """`digits`, and the number of a point (`block * size + lane`) by name."""
        numbered = isinstance(e, Op) and e.name == "+" and len(list(_terms(e))) == 2 and self.fixed(e) and self.tile(e)
        return self.name(e, self.digits(e), _stem(e)) if numbered else self.digits(e)

    def place(self, e: Expr, base: str) -> Expr:
        """An offset: what is the same in all iterations of the loops of the nest by name, then what they add to it."""
        terms = list(_terms(e))
        same = [t for t in terms if self.fixed(t[1])]
        rest = tuple(t for t in terms if not self.fixed(t[1]))
        if not rest or len(same) < 2 or same[0][0] == "-":
            return self.digits(e)
        whole = _sum(same)
        start = self.name(whole, self.digits(whole), f"{base}_at")
        if any(self.tile(t[1]) for t in rest) or not self.narrow:
            return _sum([("+", start), *((sign, self.digits(t)) for sign, t in rest)])
        first = sorted(rest, key=lambda t: t[0] == "-")  # one number, added once
        return Op(first[0][0], (start, _sum(first if first[0][0] == "+" else [("+", t) for _, t in first])))

    def name(self, e: Expr, made: Expr, base: str) -> Var:
        """A name for `e`, which `made` computes."""
        if e not in self.named:
            text = self.text(made)
            if text not in self.shared:
                self.shared[text] = self.declare(base, e)
                self.lines.insert(self.position, f"{self.indent}{self.shared[text]} = {text}")
                self.position += 1
            self.named[e] = Var(self.shared[text])
        return self.named[e]

    def _known_sum(self, e: Op, made: Op) -> Expr:
        """A sum some of whose terms together have a name already."""
        terms = list(_terms(e))
        for whole, name in self.named.items():
            parts = list(_terms(whole))
            if len(parts) > 1 and all(p in terms for p in parts):
                out: list[Term] = [("+", name) if t == parts[0] else (t[0], self.digits(t[1])) for t in terms if t == parts[0] or t not in parts]
                if len(out) + len(parts) - 1 == len(terms) and out[0][0] == "+":
                    return _sum(out)
        return made


def _terms(e: Expr, sign: str = "+") -> Iterator[Term]:
    if isinstance(e, Op) and e.name in ("+", "-"):
        yield from _terms(e.args[0], sign)
        yield from _terms(e.args[1], sign if e.name == "+" else "-" if sign == "+" else "+")
    else:
        yield sign, e


def _sum(terms: list[Term]) -> Expr:
    out = terms[0][1]
    for sign, term in terms[1:]:
        out = Op(sign, (out, term))
    return out


def _stem(e: Expr) -> str:
    """A name for the number that axes make up: `klm` for `klmb * 256 + klmt`."""
    letters = zip(*(x.name for x in walk(e) if isinstance(x, Var)))
    return "".join(same[0] for same in takewhile(lambda found: len(set(found)) == 1, letters)) or "point"
