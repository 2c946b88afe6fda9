"""Kernel IR: named-axis loop nests over buffers. The whole grammar is on this screen.

program = name, dims(name: lo..hi), params, body       # each top-level block nest is one launch; a top-level Alloc is a temporary
        | name, dims, params, dispatch, body           # one If per variant: the dim `dispatch` in some ranges -> a scheduled body (`variants`)
buffer  = name, dtype, shape, space, owned, within     # owned: leading dims that belong to lanes; within: value range of an index buffer
space   = global | stream | scratch | shared | local | fragment      # stream: global, written past the caches
stmt    = For(axis, lo, hi, kind, body) | If(cond, body) | Alloc(buffer) | Store(buffer, index, value)
        | Reduce(monoid, targets, values, running=()) | Call(intrinsic, operands)
kind    = block | serial | lanes | vector | unroll

Run sequentially; a kind never changes what a program computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .expr import Expr, Load, children, substitute, transform
from .types import Dim

KINDS = ("serial", "block", "lanes", "vector", "unroll")
PARALLEL = ("block", "lanes", "vector")
SPACES = ("global", "stream", "scratch", "shared", "local", "fragment")


@dataclass(frozen=True)
class Buffer:
    """Row-major. `within`: every element is in the half-open range [lo, hi), known from outside (index buffers)."""

    name: str
    dtype: str
    shape: tuple[Expr, ...]
    space: str = "global"
    owned: int = 0
    within: tuple[Expr, Expr] | None = None


@dataclass(frozen=True)
class For:
    axis: str
    lo: Expr
    hi: Expr
    kind: str
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class If:
    cond: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Alloc:
    buffer: Buffer


@dataclass(frozen=True)
class Store:
    buffer: str
    index: tuple[Expr, ...]
    value: Expr


@dataclass(frozen=True)
class Reduce:
    """targets = combine(targets, values); with `running`, the new partial result is also stored there (a scan)."""

    monoid: str
    targets: tuple[Load, ...]
    values: tuple[Expr, ...]
    running: tuple[Load, ...] = ()


@dataclass(frozen=True)
class Call:
    """A named intrinsic on places: each operand is the address of a small row-major array. It writes the first and reads all."""

    intrinsic: str
    operands: tuple[Load, ...]


Stmt = For | If | Alloc | Store | Reduce | Call
Body = tuple[Stmt, ...]


@dataclass(frozen=True)
class Program:
    """A kernel program. Inputs and outputs are not marked: a param is an output when some statement writes it.

    `dispatch`: the dim that chooses among the variants; then the body is one If per variant, see `variants`.
    """

    name: str
    dims: tuple[Dim, ...]
    params: tuple[Buffer, ...]
    body: Body
    dispatch: str = ""

    def buffers(self) -> dict[str, Buffer]:
        """All buffers by name, params first."""
        return {b.name: b for b in self.params} | {s.buffer.name: s.buffer for s in statements(self.body) if isinstance(s, Alloc)}

    def written(self) -> tuple[str, ...]:
        """Names of params that are written, in param order."""
        hit = {name for s in statements(self.body) for name in writes(s)}
        return tuple(b.name for b in self.params if b.name in hit)

    def read(self) -> tuple[str, ...]:
        """Names of params that are loaded or reduced into, in param order."""
        hit = {x.buffer for s in statements(self.body) for x in reads(s)}
        return tuple(b.name for b in self.params if b.name in hit)


def statements(body: Body) -> Iterator[Stmt]:
    """All statements, outer ones first, in program order."""
    for s in body:
        yield s
        if isinstance(s, (For, If)):
            yield from statements(s.body)


def expressions(s: Stmt) -> tuple[Expr, ...]:
    """The expressions directly in a statement (not in its body); Reduce targets come as Loads."""
    if isinstance(s, For):
        return (s.lo, s.hi)
    if isinstance(s, If):
        return (s.cond,)
    if isinstance(s, Alloc):
        return s.buffer.shape
    if isinstance(s, Store):
        return (*s.index, s.value)
    if isinstance(s, Reduce):
        return (*s.targets, *s.values, *s.running)
    return s.operands


def writes(s: Stmt) -> tuple[str, ...]:
    if isinstance(s, Store):
        return (s.buffer,)
    if isinstance(s, Reduce):
        return tuple(t.buffer for t in (*s.targets, *s.running))
    return (s.operands[0].buffer,) if isinstance(s, Call) else ()


def reads(s: Stmt) -> Iterator[Load]:
    """Loads that a statement reads, Reduce targets included, nested index loads included."""
    stack: list[Expr] = list(expressions(s))
    while stack:
        e = stack.pop()
        if isinstance(e, Load):
            yield e
        stack.extend(children(e))


def map_expressions(body: Body, f: Callable[[Expr], Expr]) -> Body:
    """Apply `f` to every top-level expression of every statement (Loads at Reduce targets must stay Loads)."""
    return tuple(_map_statement(s, f) for s in body)


def _map_statement(s: Stmt, f: Callable[[Expr], Expr]) -> Stmt:
    if isinstance(s, For):
        return replace(s, lo=f(s.lo), hi=f(s.hi), body=map_expressions(s.body, f))
    if isinstance(s, If):
        return replace(s, cond=f(s.cond), body=map_expressions(s.body, f))
    if isinstance(s, Alloc):
        return Alloc(replace(s.buffer, shape=tuple(f(d) for d in s.buffer.shape)))
    if isinstance(s, Store):
        return Store(s.buffer, tuple(f(i) for i in s.index), f(s.value))
    if isinstance(s, Reduce):
        return replace(s, targets=_places(s.targets, f), values=tuple(f(v) for v in s.values), running=_places(s.running, f))
    return replace(s, operands=_places(s.operands, f))


def _places(places: tuple[Load, ...], f: Callable[[Expr], Expr]) -> tuple[Load, ...]:
    out = tuple(f(p) for p in places)
    if not all(isinstance(p, Load) for p in out):
        raise ValueError("a place (target of a Reduce or operand of a Call) must stay a Load")
    return out  # type: ignore[return-value]


def substitute_axes(body: Body, env: dict[str, Expr]) -> Body:
    """Replace Vars by expressions in a whole body."""
    return map_expressions(body, lambda e: substitute(e, env))


def rename_buffers(body: Body, new: dict[str, str]) -> Body:
    """Rename buffers in loads, stores and allocs."""

    def load(e: Expr) -> Expr:
        return transform(e, lambda n: Load(new[n.buffer], n.index) if isinstance(n, Load) and n.buffer in new else None)

    def names(b: Body) -> Body:
        out: list[Stmt] = []
        for s in b:
            if isinstance(s, (For, If)):
                s = replace(s, body=names(s.body))
            elif isinstance(s, Store):
                s = replace(s, buffer=new.get(s.buffer, s.buffer))
            elif isinstance(s, Alloc):
                s = Alloc(replace(s.buffer, name=new.get(s.buffer.name, s.buffer.name)))
            out.append(s)
        return tuple(out)

    return names(map_expressions(body, load))
