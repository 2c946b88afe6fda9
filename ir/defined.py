"""Reads of allocated buffers that are not surely preceded by a write of the same element: a Program goes in, places come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .coverage import Write, covered
from .expr import Expr, Load
from .kernel import Alloc, Body, For, If, Program, Stmt
from .scope import Access, Scope, accesses, written_names

Path = tuple[For | If, ...]


@dataclass(frozen=True)
class _Written:
    index: tuple[Expr, ...]
    path: Path


class _Walk:
    """Walks a program in order and remembers what was written, with the path to it."""

    def __init__(self, p: Program):
        self.unstable = written_names(p.body)
        self.written: dict[str, list[_Written]] = {}
        self.known: dict[tuple, bool] = {}

    def body(self, body: Body, scope: Scope) -> Iterator[tuple[Stmt, Load]]:
        for s in body:
            found = list(accesses(s))
            for a in found:
                if a.mode != "w" and a.place.buffer in self.written and not self.defined(a, scope):
                    yield s, a.place
            for a in found:
                if a.mode == "w" and a.place.buffer in self.written:
                    self.written[a.place.buffer].append(_Written(a.place.index, scope.path))
            if isinstance(s, Alloc):
                self.written[s.buffer.name] = []
                scope = scope.declare(s.buffer)
            elif isinstance(s, (For, If)):
                yield from self.body(s.body, scope.enter(s))

    def defined(self, a: Access, scope: Scope) -> bool:
        writes = tuple(Write(w.index, w.path[_shared(w.path, scope.path) :]) for w in self.written[a.place.buffer])
        if any(not w.path and w.index == a.place.index for w in writes):
            return True
        facts = (*scope.facts, *a.given)
        key = (a.place.index, facts, tuple((w.index, tuple(map(_head, w.path))) for w in writes))
        if key not in self.known:
            self.known[key] = covered(a.place.index, facts, writes, scope.buffers, self.unstable)
        return self.known[key]


def _head(s: For | If) -> tuple:
    return (s.axis, s.lo, s.hi) if isinstance(s, For) else (s.cond,)


def _shared(a: Path, b: Path) -> int:
    n = 0
    while n < min(len(a), len(b)) and a[n] is b[n]:
        n += 1
    return n


def undefined_reads(p: Program) -> Iterator[tuple[Stmt, Load]]:
    """(statement, place) of every read of an allocated buffer that is not proved to follow a write."""
    yield from _Walk(p).body(p.body, Scope(p.dims, (), p.params))
