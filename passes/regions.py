"""The regions of a block: a scheduled nest goes in; out come the nests of lanes in it and the Reduces that combine across lanes.

A block's body is a sequence of regions: nests of lanes, which all threads run together, and uniform statements around them. What combines
into a place that is the same for all lanes is a *fold*: each thread has a partial result, and the threads' results are combined after the nest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..ir.expr import Const, Expr, Var, add, as_int, loads, names, simplify, sub
from ..ir.kernel import Alloc, Body, Buffer, For, If, Program, Reduce, Stmt, statements, substitute_axes


@dataclass(frozen=True)
class Nest:
    """Lanes loops directly inside each other, outermost first, and what they hold."""

    loops: tuple[For, ...]
    body: Body

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(loop.axis for loop in self.loops)

    @property
    def extents(self) -> tuple[Expr, ...]:
        return tuple(loop.hi for loop in self.loops)

    @property
    def count(self) -> int | None:
        """Iterations of the whole nest, where they are known."""
        total = 1
        for loop in self.loops:
            n = as_int(loop.hi)
            if n is None:
                return None
            total *= n
        return total


def nest_at(s: Stmt) -> Nest | None:
    """The lanes nest that a statement begins, if it is one."""
    if not (isinstance(s, For) and s.kind == "lanes"):
        return None
    loops = [s]
    while len(loops[-1].body) == 1 and isinstance(inner := loops[-1].body[0], For) and inner.kind == "lanes":
        loops.append(inner)
    return Nest(tuple(loops), loops[-1].body)


def folds(nest: Nest, buffers: dict[str, Buffer]) -> tuple[Reduce, ...]:
    """The Reduces of a nest whose place is the same for all lanes (scans among them); `buffers`: those around the nest."""
    inside = {s.axis for s in statements(nest.body) if isinstance(s, For)} | set(nest.axes)
    own = {s.buffer.name for s in statements(nest.body) if isinstance(s, Alloc)}
    buffers = {name: b for name, b in buffers.items() if name not in own}
    found: list[Reduce] = []
    for s in statements(nest.body):
        if isinstance(s, Reduce) and all(_uniform(t.buffer, t.index, inside, buffers) for t in s.targets):
            found.append(s)
    return tuple(found)


def _uniform(name: str, index: tuple[Expr, ...], inside: set[str], buffers: dict[str, Buffer]) -> bool:
    b = buffers.get(name)
    if b is None or (b.space == "local" and b.owned):
        return False
    return not any(names(i) & inside or loads(i) for i in index)


def normalised(program: Program) -> Program:
    """The same program with what a GPU needs made plain: block and lanes loops start at 0, loops of one iteration are gone, a lanes loop
    whose extent depends on another lanes axis is serial, a vector loop outside lanes is unrolled."""
    return replace(program, body=_body(program.body, ()))


def _body(body: Body, lanes: tuple[str, ...]) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, If):
            out.append(replace(s, body=_body(s.body, lanes)))
        elif isinstance(s, For):
            out += _loop(s, lanes)
        else:
            out.append(s)
    return tuple(out)


def _loop(s: For, lanes: tuple[str, ...]) -> Body:
    lo, n = s.lo, as_int(simplify(sub(s.hi, s.lo)))
    if n == 1 and not any(isinstance(x, Alloc) for x in s.body):
        return _body(substitute_axes(s.body, {s.axis: lo}), lanes)
    if s.kind in ("block", "lanes") and lo != Const(0):
        s = For(s.axis, Const(0), simplify(sub(s.hi, lo)), s.kind, substitute_axes(s.body, {s.axis: add(Var(s.axis), lo)}))
    if s.kind == "lanes" and names(s.hi) & set(lanes):
        s = replace(s, kind="serial")
    if s.kind == "vector" and not lanes:
        s = replace(s, kind="unroll")
    inner = (*lanes, s.axis) if s.kind == "lanes" else lanes
    return (replace(s, body=_body(s.body, inner)),)
