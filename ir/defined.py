"""Reads of allocated buffers that are not surely preceded by a write of the same element: a Program goes in, places come out.

Looked at are the writes before the read in program order and, for each serial loop around both, those of the iteration before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .coverage import Write, covered
from .expr import Expr, Load, Op, Var, simplify, sub, substitute
from .kernel import Alloc, Body, For, If, Program, Stmt
from .scope import Access, Scope, accesses, scopes, written_names

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
        self.home: dict[str, int] = {}
        self.every: dict[str, list[_Written]] = {}
        for s, scope in scopes(p):
            for a in accesses(s):
                if a.mode == "w":
                    self.every.setdefault(a.place.buffer, []).append(_Written(a.place.index, scope.path))
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
                self.home[s.buffer.name] = len(scope.path)
                scope = scope.declare(s.buffer)
            elif isinstance(s, (For, If)):
                yield from self.body(s.body, scope.enter(s))

    def defined(self, a: Access, scope: Scope) -> bool:
        writes = tuple(Write(w.index, w.path[_shared(w.path, scope.path) :]) for w in self.written[a.place.buffer])
        if any(not w.path and w.index == a.place.index for w in writes):
            return True
        return self.covered(a, scope, writes) or self.covered(a, scope, (*writes, *self.carried(a, scope)))

    def covered(self, a: Access, scope: Scope, writes: tuple[Write, ...]) -> bool:
        facts = (*scope.facts, *a.given)
        key = (a.place.index, facts, tuple((w.index, tuple(map(_head, w.path))) for w in writes))
        if key not in self.known:
            self.known[key] = covered(a.place.index, facts, writes, scope.buffers, self.unstable)
        return self.known[key]

    def carried(self, a: Access, scope: Scope) -> list[Write]:
        """Writes of the iteration before, for each serial loop around both the read and the write but not the allocation."""
        out = []
        for depth in range(self.home[a.place.buffer], len(scope.path)):
            loop = scope.path[depth]
            if isinstance(loop, For) and loop.kind == "serial":
                inside = [w for w in self.every.get(a.place.buffer, []) if _shared(w.path, scope.path) > depth]
                out += [_one_earlier(w, loop, depth) for w in inside]
        return out


def _one_earlier(w: _Written, loop: For, depth: int) -> Write:
    """The write as it was in the iteration of `loop` before, if there was one."""
    before = {loop.axis: sub(Var(loop.axis), 1)}
    path = [
        replace(s, lo=_at(s.lo, before), hi=_at(s.hi, before)) if isinstance(s, For) else replace(s, cond=_at(s.cond, before))
        for s in w.path[depth + 1 :]
    ]
    return Write(tuple(_at(i, before) for i in w.index), (If(Op("<", (loop.lo, Var(loop.axis))), ()), *path))


def _at(e: Expr, env: dict[str, Expr]) -> Expr:
    return simplify(substitute(e, env))


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
