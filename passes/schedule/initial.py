"""What `accumulate` does with the nest that set its target to the identity: it becomes superfluous when every element is combined into once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...ir.coverage import Write, covered
from ...ir.dependence import Reach, buffers, meeting
from ...ir.expr import Const, Load, loads
from ...ir.kernel import Body, For, If, Program, Reduce, Stmt, Store, statements
from ...ir.monoid_terms import identity_terms
from ...ir.scope import Access, Scope, written_names
from .step import chain, touched


@dataclass(frozen=True)
class _Last:
    """The only statement of `within` that uses the target: a Reduce from the private tile, with the path to it."""

    reduce: Reduce
    path: tuple[For | If, ...]


def absorb_initial(p: Program, buffer: str) -> Program:
    """Where `C = identity` nests directly precede the only use of C, a `C += tile` that touches each element once, make it `C = tile`."""
    return replace(p, body=_body(p.body, Scope(p.dims, (), p.params), buffer))


def _body(body: Body, scope: Scope, buffer: str) -> Body:
    for k, s in enumerate(body):
        if isinstance(s, (For, If)) and buffer in written_names((s,)):
            for earlier in range(k - 1, -1, -1):
                if any(buffer in touched(x) for x in statements((body[earlier],))):
                    joined = _join(body[earlier], s, scope, buffer)
                    if joined is not None:
                        return (*body[:earlier], *body[earlier + 1 : k], joined, *_body(body[k + 1 :], scope, buffer))
                    break
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, (For, If)):
            s = replace(s, body=_body(s.body, scope.enter(s), buffer))
        elif hasattr(s, "buffer") and not isinstance(s, Store):
            scope = scope.declare(s.buffer)  # type: ignore[union-attr]
        out.append(s)
    return tuple(out)


def _join(first: Stmt, main: For | If, scope: Scope, buffer: str) -> Stmt | None:
    heads, core = chain(first)
    last = _last_use(main, buffer)
    if last is None or not heads or not _sets_identity(core, last.reduce):
        return None
    if not _once(last, scope, main) or not _same_elements(core, tuple(heads), last, scope, main):
        return None
    stores = tuple(Store(t.buffer, t.index, v) for t, v in zip(last.reduce.targets, last.reduce.values))
    return _replaced(main, last.reduce, stores)


def _last_use(main: Stmt, buffer: str) -> _Last | None:
    uses = [(s, path) for s, path in _paths((main,), ()) if buffer in touched(s)]
    if len(uses) != 1:
        return None
    s, path = uses[0]
    if not isinstance(s, Reduce) or s.running or any(not isinstance(v, Load) for v in s.values):
        return None
    return _Last(s, path)


def _paths(body: Body, path: tuple[For | If, ...]) -> Iterator[tuple[Stmt, tuple[For | If, ...]]]:
    for s in body:
        yield s, path
        if isinstance(s, (For, If)):
            yield from _paths(s.body, (*path, s))


def _sets_identity(core: Body, r: Reduce) -> bool:
    wanted = dict(zip([t.buffer for t in r.targets], identity_terms(r.monoid)))
    if len(core) != len(r.targets):
        return False
    return all(isinstance(s, Store) and s.buffer in wanted and _same_number(s.value, wanted[s.buffer]) for s in core)


def _same_number(a: object, b: object) -> bool:
    return isinstance(a, Const) and isinstance(b, Const) and a.value == b.value


def _once(last: _Last, scope: Scope, main: For | If) -> bool:
    """No element of the targets is combined into by two iterations of any loop around the last use."""
    for k, loop in enumerate(last.path):
        if isinstance(loop, For):
            outer = Scope(scope.dims, (*scope.path, *last.path[:k]), scope.visible)
            for t in last.reduce.targets:
                reach = Reach(Access("w", t, (), last.reduce), last.path[k + 1 :])
                if meeting(loop, outer, [reach], [reach]) is not None:
                    return False
    return True


def _same_elements(core: Body, heads: tuple[For | If, ...], last: _Last, scope: Scope, main: For | If) -> bool:
    """What is set and what is combined into are the same elements, slot by slot."""
    stores = {s.buffer: s for s in core if isinstance(s, Store)}
    known = buffers(scope, (main,))
    unstable = written_names((main,))
    for t in last.reduce.targets:
        store = stores[t.buffer]
        there = Scope(scope.dims, (*scope.path, *last.path)).facts
        here = Scope(scope.dims, (*scope.path, *heads)).facts
        if any(loads(f) for f in (*there, *here)):
            return False
        if not covered(store.index, here, [Write(t.index, last.path)], known, unstable):
            return False
        if not covered(t.index, there, [Write(store.index, heads)], known, unstable):
            return False
    return True


def _replaced(s: Stmt, old: Stmt, new: Body) -> Stmt:
    if isinstance(s, (For, If)):
        body = tuple(x for part in s.body for x in (new if part is old else (_replaced(part, old, new),)))
        return replace(s, body=body)
    return s
