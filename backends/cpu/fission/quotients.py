"""Indices of a known one-dimensional launch in terms of the element's number `i = block * size + thread`.

`bx * 4 + (tx >> 8)` is `i / 256` for blocks of 1024; `(bx * 24 + tx) % 50` is `i % 50`, since 1024 and 24 are the same modulo 50. What fits
no rule falls back on `bx = i / size` and `tx = i % size`. A body comes in, a body without block and thread goes out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from ....frontend.cuda import tree as t
from .fold import fold, number


@dataclass(frozen=True)
class _Sum:
    """`blocks * bx + (tx / by) + rest` : `by` is 1 for plain `tx`; `has_thread` says whether tx occurs."""

    blocks: int
    by: int
    rest: int
    has_thread: bool


class Quotients:
    def __init__(self, name: str, thread: str, block: str, size: int, count: int):
        self.i, self.thread, self.block, self.size, self.count = t.Name(name), thread, block, size, count

    def body(self, body: t.Body) -> t.Body:
        """Replaces block and thread indices everywhere."""
        return fold(top_down(fold(top_down(body, self.normal)), self.change))

    def normal(self, n: Any) -> Any:
        """Shifts and masks by constants as divisions and remainders (of what is never negative)."""
        if isinstance(n, t.Binary) and n.op == ">>" and number(n.right) is not None and self.counts(n.left):
            return t.Binary("/", n.left, t.Literal(str(1 << number(n.right))))  # type: ignore[operator]
        if isinstance(n, t.Binary) and n.op == "&" and _is_mask(number(n.right)) and self.counts(n.left):
            return t.Binary("%", n.left, t.Literal(str(number(n.right) + 1)))  # type: ignore[operator]
        if isinstance(n, t.Cast) and n.type == "int" and self.counts(n.value):
            return n.value
        return None

    def counts(self, e: t.Expr) -> bool:
        """Whether an expression is made of the indices, so that it is a whole number and not negative."""
        for n in t.walk((e,)):
            if isinstance(n, t.Name) and n.text not in (self.thread, self.block, self.i.text):
                return False
            if isinstance(n, t.Binary) and n.op not in "+*/%>>&":
                return False
            if not isinstance(n, (t.Name, t.Binary, t.Literal)) or (isinstance(n, t.Literal) and number(n) is None):
                return False
        return True

    def change(self, n: Any) -> Any:
        """The largest expression that has a form in `i`; None to look inside."""
        if isinstance(n, t.Name):
            if n.text == self.thread and self.thread:
                return t.Binary("%", self.i, t.Literal(str(self.size))) if self.count > 1 else self.i
            if n.text == self.block and self.block:
                return t.Binary("/", self.i, t.Literal(str(self.size))) if self.size > 1 else self.i
            return None
        if not isinstance(n, t.Binary):
            return None
        if n.op == "+":
            whole = self.whole(n)
            if whole is not None:
                return whole
        divisor = number(n.right)
        if n.op == "/" and divisor and self.counts(n.left):
            return self.divided(n.left, divisor)
        if n.op == "%" and divisor and self.counts(n.left):
            return self.remainder(n.left, divisor)
        return None

    def whole(self, e: t.Expr) -> t.Expr | None:
        """`e` as `i / by + rest`, or as a multiple of it."""
        s = self.parts(e)
        if s is None or not s.has_thread or self.size % s.by or s.blocks * s.by != self.size:
            return self.scaled(e)
        return _plus(_over(self.i, s.by), s.rest)

    def scaled(self, e: t.Expr) -> t.Expr | None:
        """`bx * (size * c) + tx * c` is `i * c`."""
        terms = summands(e)
        a = c = 0
        rest: list[t.Expr] = []
        for term in terms:
            name, factor = _product(term)
            if name == self.block and self.block:
                a += factor
            elif name == self.thread and self.thread:
                c += factor
            else:
                rest.append(term)
        if not c or not a or a != self.size * c or any({self.block, self.thread} & t.names((r,)) and not self.counts(r) for r in rest):
            return None
        out: t.Expr = self.i if c == 1 else t.Binary("*", self.i, t.Literal(str(c)))
        for r in rest:
            out = t.Binary("+", out, top_down(r, self.change))
        return out

    def divided(self, e: t.Expr, divisor: int) -> t.Expr | None:
        s = self.parts(e)
        if s is None or s.rest:
            return None
        if not s.has_thread:
            return _over(self.i, self.size * divisor) if s.blocks == 1 else None
        if s.blocks * s.by == self.size or (s.blocks == 0 and self.count == 1):
            return _over(self.i, s.by * divisor)
        return None

    def remainder(self, e: t.Expr, m: int) -> t.Expr | None:
        s = self.parts(e)
        if s is None:
            return None
        if not s.has_thread:
            return t.Binary("%", _over(self.i, self.size), t.Literal(str(m))) if s.blocks == 1 and not s.rest else None
        if self.size % s.by or (s.blocks - self.size // s.by) % m:
            return None
        return t.Binary("%", _plus(_over(self.i, s.by), s.rest % m), t.Literal(str(m)))

    def parts(self, e: t.Expr) -> _Sum | None:
        """`e` as a sum of a multiple of bx, tx or a quotient of it, and a number."""
        blocks, by, rest, seen = 0, 1, 0, False
        for term in summands(e):
            value = number(term)
            name, factor = _product(term)
            if value is not None:
                rest += value
            elif name == self.block and self.block:
                blocks += factor
            elif term == t.Name(self.thread) and not seen:
                seen = True
            elif isinstance(term, t.Binary) and term.op == "/" and term.left == t.Name(self.thread) and number(term.right) and not seen:
                seen, by = True, number(term.right) or 1
            else:
                return None
        return _Sum(blocks, by, rest, seen)


def top_down(node: Any, change: Any) -> Any:
    """Replaces the largest nodes that `change` gives a successor for."""
    if isinstance(node, tuple):
        return tuple(top_down(n, change) for n in node)
    if isinstance(node, t.EXPRESSIONS):
        new = change(node)
        if new is not None and new != node:
            return top_down(new, change) if isinstance(new, t.Binary) and _shrinks(new, node) else new
    if isinstance(node, (*t.EXPRESSIONS, *t.STATEMENTS, t.Declarator)):
        new_fields = {f.name: top_down(getattr(node, f.name), change) for f in fields(node)}
        return replace(node, **new_fields) if any(new_fields[k] is not getattr(node, k) for k in new_fields) else node
    return node


def _shrinks(new: t.Expr, old: t.Expr) -> bool:
    """A shift that became a quotient may still be rewritten below itself."""
    return isinstance(old, t.Binary) and old.op in (">>", "&") and isinstance(new, t.Binary)


def summands(e: t.Expr) -> list[t.Expr]:
    return [*summands(e.left), *summands(e.right)] if isinstance(e, t.Binary) and e.op == "+" else [e]


def _product(e: t.Expr) -> tuple[str, int]:
    if isinstance(e, t.Name):
        return e.text, 1
    if isinstance(e, t.Binary) and e.op == "*":
        for one, other in ((e.left, e.right), (e.right, e.left)):
            factor = number(other)
            if isinstance(one, t.Name) and factor is not None:
                return one.text, factor
    return "", 0


def _over(e: t.Expr, by: int) -> t.Expr:
    return e if by == 1 else t.Binary("/", e, t.Literal(str(by)))


def _plus(e: t.Expr, rest: int) -> t.Expr:
    return e if rest == 0 else t.Binary("+", e, t.Literal(str(rest)))


def _is_mask(value: int | None) -> bool:
    return value is not None and value >= 0 and (value & (value + 1)) == 0
