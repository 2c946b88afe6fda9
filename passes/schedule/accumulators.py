"""Steps that give partial results a place of their own: accumulate and rfactor. Each: program -> program."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ...ir.diagnostic import IllegalStep
from ...ir.expr import Const, Load, add, loads, names, simplify, substitute
from ...ir.kernel import Alloc, Body, Buffer, For, If, Program, Reduce, Stmt, Store, statements
from ...ir.monoid_terms import identity_terms
from ...ir.scope import Scope, axis_names
from ...ir.text import print_expr
from .initial import absorb_initial
from .lanes import lanes_first
from .step import (
    Step,
    conjuncts,
    edit_loops,
    extent,
    fresh,
    guards_of,
    mentions,
    need_axes,
    nest,
    offset,
    place_guards,
    refuse,
    touched,
)


@dataclass(frozen=True)
class Found:
    """A Reduce below the loop at hand, with the For and If statements in between."""

    reduce: Reduce
    path: tuple[For | If, ...]

    @property
    def loops(self) -> dict[str, For]:
        return {h.axis: h for h in self.path if isinstance(h, For)}


def reduces_into(body: Body, buffer: str, path: tuple[For | If, ...] = ()) -> list[Found]:
    out: list[Found] = []
    for s in body:
        if isinstance(s, Reduce) and any(t.buffer == buffer for t in s.targets):
            out.append(Found(s, path))
        elif isinstance(s, (For, If)):
            out += reduces_into(s.body, buffer, (*path, s))
    return out


def index_names(places: Iterable[Load]) -> set[str]:
    return {n for t in places for i in t.index for n in names(i)}


@dataclass(frozen=True)
class Private:
    """Partial results of one kind of Reduce (`sample`) held in `buffers`, one element per position of the loops `by`."""

    sample: Reduce
    by: tuple[For, ...]
    guards: tuple[If, ...]
    buffers: tuple[Buffer, ...]

    @property
    def places(self) -> tuple[Load, ...]:
        index = tuple(offset(loop) for loop in self.by) or (Const(0),)
        return tuple(Load(b.name, index) for b in self.buffers)

    @property
    def targets(self) -> set[str]:
        return {t.buffer for t in self.sample.targets}

    def begin(self) -> Body:
        stores = tuple(Store(x.buffer, x.index, e) for x, e in zip(self.places, identity_terms(self.sample.monoid)))
        return (*(Alloc(b) for b in self.buffers), *nest(self.by, stores))

    def redirect(self, body: Body) -> Body:
        """`body` with the Reduces into the shared places going into the private ones."""
        return tuple(self._redirect(s) for s in body)

    def _redirect(self, s: Stmt) -> Stmt:
        if isinstance(s, (For, If)):
            return replace(s, body=self.redirect(s.body))
        if isinstance(s, Reduce) and s.targets == self.sample.targets:
            return replace(s, targets=self.places)
        return s

    def combine(self) -> Body:
        return place_guards(list(self.by), list(self.guards), (Reduce(self.sample.monoid, self.sample.targets, self.places),))

    def folded(self) -> Body:
        """Combine over all axes but the last into position 0 of them, then over the last into the targets."""
        out: list[Stmt] = []
        by = list(self.by)
        while len(by) > 1:
            value = self._at_zero(by)
            into = self._at_zero(by[1:])
            first = replace(by[0], lo=simplify(add(by[0].lo, 1)))
            out += nest([first, *by[1:]], (Reduce(self.sample.monoid, into, value),))
            by = by[1:]
        last = Reduce(self.sample.monoid, self.sample.targets, self._at_zero(by))
        return (*out, *place_guards(by, list(self.guards), (last,)))

    def _at_zero(self, kept: list[For]) -> tuple[Load, ...]:
        env = {loop.axis: loop.lo for loop in self.by if loop not in kept}
        return tuple(Load(x.buffer, tuple(simplify(substitute(i, env)) for i in x.index)) for x in self.places)


def private(p: Program, where: For, found: list[Found], by: tuple[str, ...], space: str, name: str) -> Private:
    """The partial results for the Reduces `found` below the loop `where`; refused unless all go to one place and have `by` around them."""
    first = found[0]
    for f in found:
        if f.reduce.running:
            raise refuse(p, f.reduce, "a scan is never reordered")
        if (f.reduce.monoid, f.reduce.targets) != (first.reduce.monoid, first.reduce.targets):
            raise refuse(p, f.reduce, f"this combines into another place than `{print_expr(first.reduce.targets[0])}`")
        if any(a not in f.loops for a in by):
            raise refuse(p, f.reduce, f"not all of {', '.join(by)} are loops between `{where.axis}` and this")
    order, owned = lanes_first(by, {a: first.loops[a].kind for a in by})
    chosen = tuple(first.loops[a] for a in order)
    same_box(p, found, chosen)
    buffers = _accumulators(p, first.reduce, chosen, owned if space == "local" else 0, space, name)
    return Private(first.reduce, chosen, _common_guards(found, by), buffers)


def same_box(p: Program, found: list[Found], chosen: tuple[For, ...]) -> None:
    """The loops have the same bounds around each of `found`, and extents that do not depend on each other."""
    axes = {loop.axis for loop in chosen}
    for loop in chosen:
        if mentions(extent(loop), axes):
            raise refuse(p, loop, f"the extent of `{loop.axis}` depends on another of these axes")
        for f in found:
            if (f.loops[loop.axis].lo, f.loops[loop.axis].hi) != (loop.lo, loop.hi):
                raise refuse(p, f.reduce, f"`{loop.axis}` has other bounds here")


def _common_guards(found: list[Found], by: tuple[str, ...]) -> tuple[If, ...]:
    """Conditions that stand over every Reduce and use no axis below the loop at hand but those of `by`."""
    inner = {a for f in found for a in f.loops} - set(by)
    each = [[c for g in guards_of(f.path) for c in conjuncts(g.cond)] for f in found]
    return tuple(If(c, ()) for c in each[0] if not mentions(c, inner) and not loads(c) and all(c in other for other in each))


def _accumulators(p: Program, r: Reduce, by: tuple[For, ...], owned: int, space: str, name: str) -> tuple[Buffer, ...]:
    shape = tuple(extent(loop) for loop in by) or (Const(1),)
    known, out = p.buffers(), []
    for t in r.targets:
        new = fresh(p, f"{t.buffer}_{name}", [b.name for b in out])
        out.append(Buffer(new, known[t.buffer].dtype, shape, space, owned))
    return tuple(out)


def only_reduced(p: Program, body: Body, found: list[Found], targets: set[str]) -> None:
    """Within `body` the target buffers are used by the Reduces `found` alone."""
    mine = {id(f.reduce) for f in found}
    for s in statements(body):
        if id(s) not in mine and targets & touched(s):
            raise refuse(p, s, f"this uses `{(targets & touched(s)).pop()}` too")
        if isinstance(s, Reduce) and any(x.buffer in targets for v in s.values for x in loads(v)):
            raise refuse(p, s, "a value depends on what it is combined into")


def _span(body: Body, targets: set[str]) -> tuple[int, int]:
    hit = [k for k, s in enumerate(body) if any(targets & touched(x) for x in statements((s,)))]
    return hit[0], hit[-1] + 1


@dataclass(frozen=True)
class Accumulate(Step):
    """Combine into a private tile `C_acc[by]` in the body of axis `at`, and from there once into C.

    accumulate(C, at=j0, by=(i1, j1))
        for j0:                                ->   for j0:
            for k: for i1: for j1:                      C_acc: local.f32[I, J]
                C[i, j] += v                            for i1: for j1: C_acc[i1, j1] = 0
                                                        for k: for i1: for j1: C_acc[i1, j1] += v
                                                        for i1: for j1: C[i, j] += C_acc[i1, j1]

    `by` must be exactly the axes below `at` that C's index uses. Where a nest before it set C to the identity and nothing else is
    combined into the same elements, that nest disappears and the last line is `C[i, j] = C_acc[i1, j1]`.
    """

    buffer: str
    at: str
    by: tuple[str, ...]
    space: str = "local"

    def apply(self, p: Program) -> Program:
        need_axes(p, (self.at, *self.by))
        done: list[Stmt] = []

        def accumulate(loop: For, scope: Scope) -> Body:
            found = reduces_into(loop.body, self.buffer)
            if not found:
                return (loop,)
            done.append(loop)
            return (replace(loop, body=self._body(p, loop, found)),)

        out = edit_loops(p, self.at, accumulate)
        if not done:
            raise IllegalStep(
                f"nothing is combined into `{self.buffer}` below `{self.at}`",
                hint="accumulate takes the target of += or reduce",
            )
        return absorb_initial(out, self.buffer)

    def _body(self, p: Program, loop: For, found: list[Found]) -> Body:
        tile = private(p, loop, found, self.by, self.space, "acc")
        used = index_names(tile.sample.targets) & axis_names(loop.body)
        if used != set(self.by):
            raise refuse(
                p,
                found[0].reduce,
                f"the axes below `{self.at}` in this index are ({', '.join(sorted(used))})",
                "`by` must be exactly these",
            )
        first, last = _span(loop.body, tile.targets)
        only_reduced(p, loop.body[first:last], found, tile.targets)
        body = loop.body
        return (*body[:first], *tile.begin(), *tile.redirect(body[first:last]), *tile.combine(), *body[last:])


@dataclass(frozen=True)
class Rfactor(Step):
    """Give each position of `by` a partial result of its own, over the whole loop `i`, and combine the partial results after it.

    rfactor(i0, i1)      for i0: for i1: s[0] += v   ->   s_part: local.f32[I]
                                                          for i1: s_part[i1] = 0
                                                          for i0: for i1: s_part[i1] += v
                                                          for i1: s[0] += s_part[i1]

    With several axes in `by`, the partial results are first combined over the earlier ones. All Reduces below `i` that have `by`
    around them and targets that depend on no axis at or below `i` are treated (or those into `target`).
    """

    axis: str
    by: tuple[str, ...]
    target: str = ""
    space: str = "local"

    def apply(self, p: Program) -> Program:
        need_axes(p, (self.axis, *self.by))
        done: list[Stmt] = []

        def factor(loop: For, scope: Scope) -> Body:
            before, after = [], []
            for targets in self._targets(loop):
                found = reduces_into((loop,), targets[0].buffer)
                tile = private(p, loop, found, self.by, self.space, "part")
                only_reduced(p, (loop,), found, tile.targets)
                done.append(loop)
                before += tile.begin()
                after += tile.folded()
                (loop,) = tile.redirect((loop,))  # type: ignore[assignment]
            return (*before, loop, *after)

        out = edit_loops(p, self.axis, factor)
        if not done:
            raise IllegalStep(
                f"no reduction across `{self.axis}` has {', '.join(self.by)} around it",
                hint="its target must use no axis from there on",
            )
        return out

    def _targets(self, loop: For) -> list[tuple[Load, ...]]:
        """The targets of the Reduces that the step is about."""
        fixed = {loop.axis} | axis_names(loop.body)
        found = [s for s in statements(loop.body) if isinstance(s, Reduce) and not index_names(s.targets) & fixed]
        if self.target:
            found = [s for s in found if self.target in {t.buffer for t in s.targets}]
        inside = [
            s
            for s in found
            if any(set(self.by) <= set(f.loops) for f in reduces_into((loop,), s.targets[0].buffer) if f.reduce is s)
        ]
        return list(dict.fromkeys(s.targets for s in inside))
