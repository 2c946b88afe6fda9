"""The step `inline`: what a buffer was made to hold is computed again where it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...ir.coverage import Write, solve
from ...ir.dependence import Reach, meeting
from ...ir.expr import Cast, Const, Expr, Load, loads, names, substitute, transform
from ...ir.kernel import Alloc, Body, Buffer, For, If, Program, Stmt, Store, map_expressions, statements, writes
from ...ir.scope import Access, Scope, written_names
from .step import Step, need_alloc, refuse, tidy

Path = tuple[For | If, ...]


@dataclass(frozen=True)
class Inline(Step):
    """Replace loads of an allocated buffer by the expression that was stored there.

    inline(t)            t: local.f32[N]                     ->   for j: y[j] = x[j]*2.0 + x[j + 1]*2.0
                         for i: t[i] = x[i]*2.0
                         for j: y[j] = t[j] + t[j + 1]

    One statement stores to it, each element once; what that statement loads is not written from there to the last load.
    """

    buffer: str

    def apply(self, p: Program) -> Program:
        need_alloc(p, self.buffer)

        def inside(body: Body, scope: Scope) -> Body:
            out: list[Stmt] = []
            for k, s in enumerate(body):
                if isinstance(s, Alloc) and s.buffer.name == self.buffer:
                    return (*out, *self._inline(p, s.buffer, body[k + 1 :], scope.declare(s.buffer)))
                if isinstance(s, Alloc):
                    scope = scope.declare(s.buffer)
                out.append(replace(s, body=inside(s.body, scope.enter(s))) if isinstance(s, (For, If)) else s)
            return tuple(out)

        return replace(p, body=inside(p.body, Scope(p.dims, (), p.params)))

    def _inline(self, p: Program, b: Buffer, rest: Body, scope: Scope) -> Body:
        store, path = self._only_store(p, rest)
        self._once(p, store, path, scope)
        self._stable(p, store, rest)
        value = store.value if not isinstance(store.value, Const) else Cast(b.dtype, store.value)

        def reload(e: Expr) -> Expr | None:
            if not (isinstance(e, Load) and e.buffer == b.name):
                return None
            axes = solve(e.index, Write(store.index, path))
            if axes is None:
                raise refuse(p, store, f"the index of `{b.name}` cannot be solved for the axes here")
            return substitute(value, axes)

        kept = _without(rest, store)
        return tidy(map_expressions(kept, lambda e: transform(e, reload)))

    def _only_store(self, p: Program, rest: Body) -> tuple[Store, Path]:
        found = [(s, path) for s, path in _paths(rest, ()) if self.buffer in writes(s)]
        stores = [(s, path) for s, path in found if isinstance(s, Store)]
        if len(found) != 1 or not stores:
            raise refuse(p, found[-1][0] if found else None, f"`{self.buffer}` is not written by one plain store")
        store, path = stores[0]
        used = {n for i in store.index for n in names(i)}
        missing = [s.axis for s in path if isinstance(s, For) and s.axis not in used]
        if missing or self.buffer in {x.buffer for x in loads(store.value)}:
            raise refuse(p, store, f"the elements of `{self.buffer}` are stored more than once")
        return store, path

    def _once(self, p: Program, store: Store, path: Path, scope: Scope) -> None:
        for k, loop in enumerate(path):
            if isinstance(loop, For):
                outer = replace(scope, path=(*scope.path, *path[:k]))
                reach = [Reach(Access("w", Load(store.buffer, store.index), (), store), path[k + 1 :])]
                if meeting(loop, outer, reach, reach) is not None:
                    raise refuse(p, store, f"iterations of `{loop.axis}` may store to one element of `{self.buffer}`")

    def _stable(self, p: Program, store: Store, rest: Body) -> None:
        begin = next(k for k, s in enumerate(rest) if any(x is store for x in statements((s,))))
        changed = written_names(rest[begin:]) - {self.buffer}
        for x in loads(store.value):
            if x.buffer in changed:
                raise refuse(p, store, f"`{x.buffer}`, which is loaded here, is written before the last use of `{self.buffer}`")


def _paths(body: Body, path: Path) -> Iterator[tuple[Stmt, Path]]:
    for s in body:
        yield s, path
        if isinstance(s, (For, If)):
            yield from _paths(s.body, (*path, s))


def _without(body: Body, gone: Stmt) -> Body:
    return tuple(replace(s, body=_without(s.body, gone)) if isinstance(s, (For, If)) else s for s in body if s is not gone)
