"""Where the threads of a block must wait for each other. Comes in: the body of a block. Goes out: the same body with `Barrier`s in it.

A barrier stands before a region that conflicts (read-write, write-read or write-write, on memory that threads share) with one since the last
barrier, before the loop that it stands in where that saves one in every iteration, and at the tail of a serial loop whose next iteration
would. Two accesses need none when the same thread makes them: both by
thread 0, or by nests of the same lanes, each at an element of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from ..ir.expr import Expr, Var
from ..ir.kernel import Alloc, Body, Buffer, For, If, Stmt, statements, writes
from ..ir.scope import accesses
from .regions import Nest, folds, nest_at

Who = tuple[Expr, ...] | str
"""Who makes an access: the extents of a lanes nest, `all` threads alike, or thread `one`."""


@dataclass(frozen=True)
class Barrier:
    """All threads of the block wait here for each other."""


@dataclass(frozen=True)
class _Touch:
    """An access to memory that the threads share; `lanes`: the dims of its index that are lanes axes, with the position of the axis."""

    buffer: str
    write: bool
    who: Who
    lanes: frozenset[tuple[int, int]] = frozenset()

    def meets(self, other: _Touch) -> bool:
        if self.buffer != other.buffer or not (self.write or other.write):
            return False
        if self.who == other.who == "all":
            return False
        return not (self.who == other.who and (self.who == "one" or self._own_element(other)))

    def _own_element(self, other: _Touch) -> bool:
        common = {axis for _, axis in self.lanes & other.lanes}
        return self.who not in ("all", "one") and common == set(range(len(self.who)))


Touches = frozenset[_Touch]
NONE: Touches = frozenset()


def with_barriers(body: Body, buffers: Mapping[str, Buffer]) -> tuple[Stmt | Barrier, ...]:
    """`body` of a block with its barriers; `buffers`: every buffer that it uses and does not allocate."""
    return _Derivation(dict(buffers)).body(body, NONE)[0]


def _count(body: tuple[Stmt | Barrier, ...]) -> int:
    """Barriers in a body, however deep."""
    return sum(1 if isinstance(s, Barrier) else _count(s.body) if isinstance(s, (For, If)) else 0 for s in body)


class _Derivation:
    def __init__(self, buffers: dict[str, Buffer]):
        self.buffers = buffers

    def body(self, body: Body, pending: Touches) -> tuple[tuple[Stmt | Barrier, ...], Touches]:
        """The body with barriers, and the accesses since the last one."""
        out: list[Stmt | Barrier] = []
        for s in body:
            if isinstance(s, Alloc):
                self.buffers[s.buffer.name] = s.buffer
                out.append(s)
                continue
            before, s, pending = self.statement(s, pending)
            out += [Barrier(), s] if before else [s]
        return tuple(out), pending

    def statement(self, s: Stmt, pending: Touches) -> tuple[bool, Stmt, Touches]:
        """(whether a barrier stands before it, the statement, the accesses since the last barrier)."""
        nest = nest_at(s)
        if nest is None and isinstance(s, (For, If)):
            return self.compound(s, pending)
        touched = frozenset(self._of_nest(nest) if nest else self._of_uniform(s))
        before = any(t.meets(p) for t in touched for p in pending)
        folded = folds(nest, self.buffers) if nest is not None else ()
        if folded and not any(r.running for r in folded):
            return before, s, frozenset(t for t in touched if t.who == "one")  # a fold's partial results wait for each other
        return before, s, touched if before else pending | touched

    def compound(self, s: For | If, pending: Touches) -> tuple[bool, Stmt, Touches]:
        head = frozenset(self._reads(s))
        before = any(t.meets(p) for t in head for p in pending)
        pending = head if before else pending | head
        inside, after = self.around(s, head, pending)
        if not before and isinstance(s, For) and _count(inside):
            rested, rested_after = self.around(s, head, head)
            if _count(rested) < _count(inside):  # one before the loop rather than one in every iteration
                before, pending, inside, after = True, head, rested, rested_after
        return before, cast(Stmt, replace(s, body=inside)), pending | after

    def around(self, s: For | If, head: Touches, pending: Touches) -> tuple[tuple[Stmt | Barrier, ...], Touches]:
        """The body of a loop or condition, and what it leaves; in a loop, also what an iteration leaves to the next."""
        inside, after = self.body(s.body, pending)
        if isinstance(s, For):
            again, _ = self.body(s.body, after | head)
            if again != inside:
                inside, after = (*inside, Barrier()), NONE
        return inside, after

    def _reads(self, s: For | If) -> Iterator[_Touch]:
        """What bounds and conditions read."""
        for a in accesses(s):
            if self._shared(a.place.buffer):
                yield _Touch(a.place.buffer, False, "all")

    def _of_uniform(self, s: Stmt) -> Iterator[_Touch]:
        local = all(not self._shared(name) for name in writes(s))
        for a in accesses(s):
            if self._shared(a.place.buffer):
                yield _Touch(a.place.buffer, a.mode != "r", "all" if local else "one")
                if a.mode not in ("r", "w"):
                    yield _Touch(a.place.buffer, False, "all" if local else "one")

    def _of_nest(self, nest: Nest) -> Iterator[_Touch]:
        folded = folds(nest, self.buffers)
        for s in statements(nest.body):
            if isinstance(s, Alloc):
                self.buffers[s.buffer.name] = s.buffer
            for a in accesses(s):
                if not self._shared(a.place.buffer):
                    continue
                if any(s is f for f in folded) and a.mode not in ("r", "w"):
                    yield _Touch(a.place.buffer, True, "one")
                    if a.mode.startswith("scan"):
                        yield _Touch(a.place.buffer, False, "all")
                    continue
                own = {(d, k) for k, axis in enumerate(nest.axes) for d, i in enumerate(a.place.index) if i == Var(axis)}
                yield _Touch(a.place.buffer, a.mode != "r", nest.extents, frozenset(own))

    def _shared(self, name: str) -> bool:
        return name in self.buffers and self.buffers[name].space not in ("local", "fragment")
