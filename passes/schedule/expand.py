"""The step `expand`: scalars below a tile of axes become arrays over the tile, and each statement gets a tile loop of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.dependence import independent_of_order
from ...ir.diagnostic import IllegalStep
from ...ir.expr import Const, Expr, Load, loads
from ...ir.kernel import Alloc, Body, Buffer, For, If, Program, Stmt, expressions
from ...ir.scope import Scope, written_names
from .lanes import lanes_first
from .loops import tied_together
from .step import Step, chain_through, edit, extent, guards_of, loops_of, map_places, mentions, need_axes, nest, offset, refuse


@dataclass(frozen=True)
class Expand(Step):
    """Turn what is allocated below a tile of axes into arrays over the tile, and give each statement a tile loop of its own, placed
    inside the serial loops around it.

    expand(i1, j1)       for i1: for j1:                  ->   acc: local.f32[I, J]
                             acc: local.f32[1]                 for i1: for j1: acc[i1, j1] = 0
                             acc[0] = 0                        for k: for i1: for j1: acc[i1, j1] += v
                             for k: acc[0] += v                for i1: for j1: C[i, j] = f(acc[i1, j1])
                             C[i, j] = f(acc[0])

    The axes form a perfect nest (guards in it are copied to each tile loop) and have independent iterations. A buffer of one element
    becomes exactly the tile; a larger one keeps its dims before the tile's, except that axes bound to unroll come before them, and axes
    bound to lanes before all.
    """

    stage: ClassVar[str] = "structure"

    axes: tuple[str, ...]

    def apply(self, p: Program) -> Program:
        need_axes(p, self.axes)
        done: list[Stmt] = []

        def expand(s: Stmt, scope: Scope) -> Body | None:
            if not (isinstance(s, For) and s.axis in self.axes):
                return None
            found = chain_through(s, self.axes)
            if found is None or {x.axis for x in loops_of(found[0])} != set(self.axes):
                return None
            done.append(s)
            return self._tile(p, scope, *found)

        out = edit(p, expand)
        if not done:
            raise IllegalStep(f"{', '.join(self.axes)} do not form one perfect nest", hint="reorder or split first")
        return out

    def _tile(self, p: Program, scope: Scope, heads: list[For | If], body: Body) -> Body:
        loops = loops_of(heads)
        axes = {loop.axis for loop in loops}
        written = written_names(body)
        for h in heads:
            if isinstance(h, For) and mentions(extent(h), axes):
                raise refuse(p, h, f"the extent of `{h.axis}` depends on another of these axes")
            if any(x.buffer in written for e in expressions(h) for x in loads(e)):
                raise refuse(p, h, "a bound or condition here reads what the nest writes")
        tied = independent_of_order(loops, nest(guards_of(heads), body), scope)
        if tied:
            raise tied_together(p, tied)
        return _Tile(heads, axes, written).distribute(body)


@dataclass(frozen=True)
class _Tile:
    heads: list[For | If]
    axes: set[str]
    written: frozenset[str]

    def distribute(self, body: Body) -> Body:
        grown = {s.buffer.name: _Grown(s.buffer, loops_of(self.heads)) for s in body if isinstance(s, Alloc)}
        rest = tuple(s for s in body if not isinstance(s, Alloc))
        rest = map_places(rest, lambda x: grown[x.buffer].place(x) if x.buffer in grown else x)
        out: list[Stmt] = [Alloc(g.buffer) for g in grown.values()]
        group: list[Stmt] = []
        for s in rest:
            if isinstance(s, (For, If)) and self._sinks(s):
                out += self._tiled(group)
                group = []
                out.append(replace(s, body=self.distribute(s.body)))
            else:
                group.append(s)
        return (*out, *self._tiled(group))

    def _tiled(self, group: list[Stmt]) -> Body:
        return nest(self.heads, tuple(group)) if group else ()

    def _sinks(self, s: For | If) -> bool:
        """The tile loop goes inside a serial loop or a condition that is the same for the whole tile."""
        if isinstance(s, For) and s.kind != "serial":
            return False
        return all(not mentions(e, self.axes) and not any(x.buffer in self.written for x in loads(e)) for e in expressions(s))


@dataclass(frozen=True)
class _Grown:
    """A buffer with the dims of a tile added."""

    old: Buffer
    loops: list[For]

    @property
    def scalar(self) -> bool:
        return self.old.shape == (Const(1),)

    @property
    def order(self) -> tuple[list[For], list[For], list[For]]:
        """Axes before the buffer's own dims, between those that lanes own and the others, after them."""
        by_name = {loop.axis: loop for loop in self.loops}
        owned = 0
        order = tuple(by_name)
        if self.old.space == "local":
            order, owned = lanes_first(order, {a: loop.kind for a, loop in by_name.items()})
        rest = [by_name[a] for a in order[owned:]]
        unrolled = [x for x in rest if x.kind == "unroll" and not self.scalar]
        return [by_name[a] for a in order[:owned]], unrolled, [x for x in rest if x not in unrolled]

    def around(self, tile: list[list[Expr]], old: tuple[Expr, ...]) -> tuple[Expr, ...]:
        owned = self.old.owned
        return (*tile[0], *old[:owned], *tile[1], *(() if self.scalar else old[owned:]), *tile[2])

    @property
    def buffer(self) -> Buffer:
        shape = self.around([[extent(x) for x in axes] for axes in self.order], self.old.shape)
        return replace(self.old, shape=shape, owned=self.old.owned + len(self.order[0]))

    def place(self, x: Load) -> Load:
        return Load(x.buffer, self.around([[offset(q) for q in axes] for axes in self.order], x.index))
