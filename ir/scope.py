"""What is known at a place of a program: enclosing loops, conditions that hold there, buffers that are visible.

Comes in: a Program. Goes out: its statements, each with its Scope, outer ones first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from .expr import Const, Expr, Load, Op, Ranges, Var, bounds, children
from .kernel import Alloc, Body, Buffer, For, If, Program, Reduce, Stmt, Store, expressions, statements, writes
from .types import Dim


@dataclass(frozen=True)
class Scope:
    """`path` holds the enclosing For and If statements, outermost first."""

    dims: tuple[Dim, ...] = ()
    path: tuple[For | If, ...] = ()
    visible: tuple[Buffer, ...] = ()

    def enter(self, s: For | If) -> Scope:
        return replace(self, path=(*self.path, s))

    def declare(self, b: Buffer) -> Scope:
        return replace(self, visible=(*self.visible, b))

    @cached_property
    def loops(self) -> tuple[For, ...]:
        return tuple(s for s in self.path if isinstance(s, For))

    @cached_property
    def buffers(self) -> Mapping[str, Buffer]:
        return {b.name: b for b in self.visible}

    @cached_property
    def facts(self) -> tuple[Expr, ...]:
        """Conditions that hold here: ranges of dims and axes, guards."""
        return dim_facts(self.dims) + tuple(f for s in self.path for f in path_facts(s))

    @cached_property
    def ranges(self) -> Ranges:
        """Constant inclusive bounds of the Vars, where the loops give them."""
        known: dict[str, tuple[int, int]] = {d.name: (d.lo, d.hi) for d in self.dims if d.hi is not None}
        for loop in self.loops:
            lo, hi = bounds(loop.lo, known)[0], bounds(loop.hi, known)[1]
            if lo is not None and hi is not None and lo < hi:
                known[loop.axis] = (lo, hi - 1)
        return known


def dim_facts(dims: tuple[Dim, ...]) -> tuple[Expr, ...]:
    low = tuple(Op("<=", (Const(d.lo), Var(d.name))) for d in dims)
    return low + tuple(Op("<=", (Var(d.name), Const(d.hi))) for d in dims if d.hi is not None)


def path_facts(s: For | If) -> tuple[Expr, ...]:
    if isinstance(s, If):
        return (s.cond,)
    return Op("<=", (s.lo, Var(s.axis))), Op("<", (Var(s.axis), s.hi))


def scopes(p: Program) -> Iterator[tuple[Stmt, Scope]]:
    """Every statement of `p` with the scope it stands in."""
    yield from _walk(p.body, Scope(p.dims, (), p.params))


def _walk(body: Body, scope: Scope) -> Iterator[tuple[Stmt, Scope]]:
    for s in body:
        yield s, scope
        if isinstance(s, (For, If)):
            yield from _walk(s.body, scope.enter(s))
        elif isinstance(s, Alloc):
            scope = scope.declare(s.buffer)


def written_names(body: Body) -> frozenset[str]:
    """Names of buffers that some statement in `body` writes."""
    return frozenset(name for s in statements(body) for name in writes(s))


def allocated_names(body: Body) -> frozenset[str]:
    return frozenset(s.buffer.name for s in statements(body) if isinstance(s, Alloc))


def axis_names(body: Body) -> frozenset[str]:
    return frozenset(s.axis for s in statements(body) if isinstance(s, For))


# ------------------------------------------------------------------------------------------------ accesses
@dataclass(frozen=True)
class Access:
    """One access of a statement: `mode` is r, w, +monoid (combined into) or scan+monoid (combined into, in order); `given` are the lazy conditions inside the expression."""

    mode: str
    place: Load
    given: tuple[Expr, ...]
    statement: Stmt


def accesses(s: Stmt) -> Iterator[Access]:
    """The accesses of a statement itself, in no particular order; Calls must be inlined before (`intrinsic.inline_calls`)."""
    if isinstance(s, Store):
        yield Access("w", Load(s.buffer, s.index), (), s)
        yield from _reads(s, (*s.index, s.value))
    elif isinstance(s, Reduce):
        for t in s.targets:
            yield Access(("scan+" if s.running else "+") + s.monoid, t, (), s)
        for t in s.running:
            yield Access("w", t, (), s)
        yield from _reads(s, (*(i for t in (*s.targets, *s.running) for i in t.index), *s.values))
    else:
        yield from _reads(s, expressions(s))


def _reads(s: Stmt, values: tuple[Expr, ...]) -> Iterator[Access]:
    for v in values:
        for load, given in guarded_loads(v):
            yield Access("r", load, given, s)


def guarded_loads(e: Expr, given: tuple[Expr, ...] = ()) -> Iterator[tuple[Load, tuple[Expr, ...]]]:
    """Loads in `e` with the conditions under which lazy `select`, `and`, `or` evaluate them."""
    if isinstance(e, Load):
        yield e, given
    if isinstance(e, Op) and e.name in ("select", "and", "or"):
        first = e.args[0]
        yield from guarded_loads(first, given)
        untrue = Op("not", (first,))
        later = {"select": (first, untrue), "and": (first,), "or": (untrue,)}[e.name]
        for arg, condition in zip(e.args[1:], later):
            yield from guarded_loads(arg, (*given, condition))
        return
    for kid in children(e):
        yield from guarded_loads(kid, given)
