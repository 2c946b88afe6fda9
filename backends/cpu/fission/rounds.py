"""Threads that take several elements, one of each round of the whole grid. Elements of threads come in, single elements go out.

    for (o = 0; o < 4; ++o) y[o * 262144 + i] = x[(o * 65536 + i / 4) % 961]     for i < 262144
    ->  y[i] = x[i / 4 % 961]                                                    for i < 4 * 262144
"""

from __future__ import annotations

from typing import Any

from ....frontend.cuda import tree as t
from .fold import fold, number
from .peel import counted
from .quotients import summands, top_down
from .uniform import own_escapes


def one_round(name: str, most: int, body: t.Body) -> tuple[int, t.Body] | None:
    """How many elements there are and what is done with each, where all of `body` is a loop over rounds; else None."""
    statements = [s for s in body if not isinstance(s, t.Comment)]
    loop = statements[0] if len(statements) == 1 else None
    found = counted(loop) if isinstance(loop, t.For) else None
    if found is None or not isinstance(loop, t.For) or own_escapes(loop.body) or not _by_element(loop.body):
        return None
    rounds, count = found
    element = _Element(name, rounds, most)
    inner = top_down(loop.body, element.change)
    if {name, rounds} & t.names(inner):
        return None
    return count * most, fold(t.substitute(inner, {element.fresh: t.Name(name)}))


def _by_element(body: t.Body) -> bool:
    """Whether what is stored is touched at the stored place only: then no round waits for another."""
    targets = [n.target for n in t.walk(body) if isinstance(n, t.Assign) and isinstance(n.target, t.Index)]
    stored = {n.base: n.index for n in targets}
    if any(isinstance(n, t.Unary) and n.op in ("&", "*", "++", "--") and not isinstance(n.value, t.Name) for n in t.walk(body)):
        return False
    touched = [n for n in t.walk(body) if isinstance(n, t.Index) and n.base in stored]
    mentions = sum(isinstance(n, t.Name) and n in stored for n in t.walk(body))
    return mentions == len(touched) and all(n.index == stored[n.base] for n in touched)


class _Element:
    """Rewrites sums of a round and a thread's place: `o * c + i / d` with c * d threads is `i / d` of the element's number."""

    fresh = "element of all rounds"

    def __init__(self, name: str, rounds: str, most: int):
        self.i, self.o, self.most = t.Name(name), t.Name(rounds), most

    def change(self, n: Any) -> Any:
        """The sum in the element's number; None to look inside."""
        if not isinstance(n, t.Binary) or n.op != "+":
            return None
        parts = self._joined(summands(n))
        far = next(((at, c) for at, e in enumerate(parts) if (c := self._rounds(e))), None)
        if far is None:
            return None
        for at, e in enumerate(parts):
            near = self._place(e)
            if near is None or near[0] * far[1] != self.most * near[1]:
                continue
            by, times = near
            whole: t.Expr = t.Name(self.fresh) if by == 1 else t.Binary("/", t.Name(self.fresh), t.Literal(str(by)))
            whole = whole if times == 1 else t.Binary("*", whole, t.Literal(str(times)))
            for other in (e for k, e in enumerate(parts) if k not in (at, far[0])):
                whole = t.Binary("+", whole, other)
            return whole
        return None

    def _joined(self, parts: list[t.Expr]) -> list[t.Expr]:
        """`i / 1024 * 4 + i % 1024 / 256` is `i / 256`."""
        for a in parts:
            for b in parts:
                high, low = self._place(a), self._low(b)
                if high is None or low is None or high[0] != low[0] or high[1] * low[1] != high[0]:
                    continue
                whole = self.i if low[1] == 1 else t.Binary("/", self.i, t.Literal(str(low[1])))
                return [whole, *(e for e in parts if e is not a and e is not b)]
        return parts

    def _low(self, e: t.Expr) -> tuple[int, int] | None:
        """(s, d) of `i % s / d`."""
        by = 1
        if isinstance(e, t.Binary) and e.op == "/" and number(e.right):
            e, by = e.left, number(e.right) or 1
        size = number(e.right) if isinstance(e, t.Binary) and e.op == "%" and e.left == self.i else None
        return (size, by) if size else None

    def _rounds(self, e: t.Expr) -> int:
        """c of `o * c`."""
        if e == self.o:
            return 1
        return (number(e.right) or 0) if isinstance(e, t.Binary) and e.op == "*" and e.left == self.o else 0

    def _place(self, e: t.Expr) -> tuple[int, int] | None:
        """(d, k) of `i / d * k`."""
        times = 1
        if isinstance(e, t.Binary) and e.op == "*" and number(e.right):
            e, times = e.left, number(e.right) or 1
        if e == self.i:
            return 1, times
        by = number(e.right) if isinstance(e, t.Binary) and e.op == "/" and e.left == self.i else None
        return (by, times) if by else None
