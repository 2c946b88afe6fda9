"""Steps on loops: split, reorder, fission, fuse, collapse, unroll, bind, rename. Each takes a program and gives the rewritten one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.dependence import Conflict, by_buffer, commutes, independent_of_order, meeting, reaches
from ...ir.diagnostic import IllegalStep, suggest
from ...ir.expr import Const, Expr, Op, Var, add, affine, as_int, floordiv, loads, mod, mul, simplify, sub
from ...ir.kernel import (
    KINDS,
    Alloc,
    Body,
    For,
    If,
    Program,
    Stmt,
    Store,
    expressions,
    reads,
    rename_buffers,
    statements,
    substitute_axes,
    writes,
)
from ...ir.scope import Scope, allocated_names, written_names
from .lanes import owned_dims
from .step import (
    Step,
    chain_through,
    copied,
    edit,
    edit_loops,
    extent,
    loops_of,
    mentions,
    need_axes,
    nest,
    new_axes,
    place_guards,
    refuse,
    static_extent,
    tidy,
    touched,
    used_names,
)  # fmt: skip

TAILS = ("guard", "exact", "cut", "mask", "overlap")


@dataclass(frozen=True)
class Split(Step):
    """Cut an axis into tiles of `size`; the new axes are i0 (tiles), i1 (in the tile) and i2 (what is left), or `outer`, `inner`, `rest`.

    split(i, 8)              for i in serial(N): S(i)
                         ->  for i0 in serial((N + 7)//8):
                                 for i1 in serial(8):
                                     if i0*8 + i1 < N: S(i0*8 + i1)
    split(i, 8, tail=exact)  no `if`; refused unless 8 surely divides N
    split(i, 8, tail=cut)    for i0 in serial(N//8): for i1 in serial(8): S(i0*8 + i1)
                             for i2 in serial(N//8*8, N): S(i2)
    split(i, 8, tail=mask)   for i0 in serial(N//8): for i1 in serial(8): S(i0*8 + i1)
                             for i2 in serial(8): if N//8*8 + i2 < N: S(N//8*8 + i2)
                             where the extent of i2, when N is a number, is what is left rounded up to a multiple of `round` (default: size)

    split(i, 8, tail=overlap)  for i0 in serial(N//8): for i1 in serial(8): S(i0*8 + i1)
                             for i2 in serial(8): S(N - 8 + i2)
                             where S may be done twice: it only stores, and reads nothing that it writes; N is a number of at least 8

    Parts that are surely empty are left out.
    """

    axis: str
    size: int
    outer: str = ""
    inner: str = ""
    rest: str = ""
    tail: str = "guard"
    round: int = 0

    def apply(self, p: Program) -> Program:
        if self.size < 1 or self.round < 0:
            raise IllegalStep(f"a tile has at least one element, not {self.size}")
        if self.tail not in TAILS:
            raise IllegalStep(f"`{self.tail}` is not a tail", hint="accepted: " + ", ".join(TAILS))
        outer, inner, rest = (n or self.axis + str(k) for k, n in enumerate((self.outer, self.inner, self.rest)))
        new_axes(p, {outer, inner, rest} - {self.axis})
        taken: set[str] = set()

        def split(loop: For, scope: Scope) -> Body:
            parts = _Parts(loop, self.size, outer, inner, rest)
            whole = _divides(self.size, parts.extent)
            if self.tail == "exact" and not whole:
                raise refuse(
                    p,
                    loop,
                    f"{self.size} does not surely divide the extent of `{self.axis}`",
                    "accepted: tail=guard, cut, mask or overlap",
                )
            if whole:
                return tidy(parts.main(False))
            if self.tail == "guard":
                return tidy(parts.main(True))
            if self.tail == "overlap":
                _may_repeat(p, loop)
            tail = {"cut": parts.cut, "overlap": parts.overlap}.get(self.tail, lambda: parts.mask(self.round or self.size))()
            main = tidy(parts.main(False))
            return main + (copied(p, tidy(tail), taken) if main else tidy(tail))

        return edit_loops(p, self.axis, split)


@dataclass(frozen=True)
class _Parts:
    loop: For
    size: int
    outer: str
    inner: str
    rest: str

    @property
    def extent(self) -> Expr:
        return extent(self.loop)

    @property
    def tiles(self) -> Expr:
        return floordiv(self.extent, self.size)

    def main(self, guard: bool) -> Body:
        position = add(mul(Var(self.outer), self.size), Var(self.inner))
        body = self.at(position)
        if guard:
            body = (If(Op("<", (position, self.extent)), body),)
        count = floordiv(add(self.extent, self.size - 1), self.size) if guard else self.tiles
        return (
            For(
                self.outer,
                Const(0),
                count,
                self.loop.kind,
                (For(self.inner, Const(0), Const(self.size), self.loop.kind, body),),
            ),
        )

    def at(self, position: Expr) -> Body:
        return substitute_axes(self.loop.body, {self.loop.axis: add(self.loop.lo, position)})

    def cut(self) -> Body:
        begin = add(self.loop.lo, mul(self.tiles, self.size))
        return (
            For(self.rest, begin, self.loop.hi, "serial", substitute_axes(self.loop.body, {self.loop.axis: Var(self.rest)})),
        )

    def overlap(self) -> Body:
        n = as_int(self.extent)
        if n is None or n < self.size:
            raise IllegalStep(
                f"tail=overlap needs at least {self.size} iterations, known to be so", hint="accepted: tail=guard, cut or mask"
            )
        position = add(Const(n - self.size), Var(self.rest))
        return (For(self.rest, Const(0), Const(self.size), self.loop.kind, self.at(position)),)

    def mask(self, unit: int) -> Body:
        left = as_int(sub(self.extent, mul(self.tiles, self.size)))
        count = -(-(self.size - 1 if left is None else left) // unit) * unit
        body = self.at(add(mul(self.tiles, self.size), Var(self.rest)))
        if count != left:
            body = (If(Op("<", (add(mul(self.tiles, self.size), Var(self.rest)), self.extent)), body),)
        return (For(self.rest, Const(0), Const(count), "serial", body),)


def _may_repeat(p: Program, loop: For) -> None:
    """Doing an iteration twice changes nothing: what is written from outside the loop is stored, and not read in it."""
    inside = allocated_names(loop.body)
    for s in statements(loop.body):
        outside = set(writes(s)) - inside
        if outside and not isinstance(s, Store):
            raise refuse(p, s, "this may not be done twice, as tail=overlap would", "accepted: tail=guard, cut or mask")
    written = written_names(loop.body) - inside
    for s in statements(loop.body):
        if any(x.buffer in written for x in reads(s)):
            raise refuse(
                p,
                s,
                "this reads what the loop writes, so tail=overlap would read it twice",
                "accepted: tail=guard, cut or mask",
            )


def _divides(size: int, n: Expr) -> bool:
    return all(v % size == 0 for v in affine(simplify(n)).values())


@dataclass(frozen=True)
class Reorder(Step):
    """Put the axes of a perfect nest in the given order; guards follow the axes they need.

    reorder(j, i)        for i: for j: S   ->   for j: for i: S

    Of the loops that change places with each other, all but one must have independent iterations (or only combine into the same
    places: one monoid, no scan).
    """

    stage: ClassVar[str] = "structure"

    axes: tuple[str, ...]

    def apply(self, p: Program) -> Program:
        need_axes(p, self.axes)
        done: list[Stmt] = []

        def reorder(s: Stmt, scope: Scope) -> Body | None:
            if not (isinstance(s, For) and s.axis in self.axes):
                return None
            found = chain_through(s, self.axes)
            if found is None:
                return None
            done.append(s)
            return self._nest(p, s, scope, *found)

        out = edit(p, reorder)
        if not done:
            raise refuse(
                p, _first(p, self.axes), f"{', '.join(self.axes)} do not form one perfect nest", "fission or expand first"
            )
        return out

    def _nest(self, p: Program, top: For, scope: Scope, heads: list[For | If], body: Body) -> Body:
        old = loops_of(heads)
        new = _permuted(old, self.axes)
        ifs = [h for h in heads if isinstance(h, If)]
        written = written_names(body)
        for h in heads:
            if any(x.buffer in written for e in expressions(h) for x in loads(e)):
                raise refuse(p, h, "a bound or condition here reads what the nest writes")
        _bounds_follow(p, new)
        _may_move(p, scope, old, new, nest(ifs, body))
        return place_guards(new, ifs, body)


def _permuted(old: list[For], axes: tuple[str, ...]) -> list[For]:
    """The loops in `axes` take the given order in the places they hold; other loops of the nest stay where they are."""
    named = {loop.axis: loop for loop in old}
    order = iter(axes)
    return [named[next(order)] if loop.axis in axes else loop for loop in old]


def _bounds_follow(p: Program, new: list[For]) -> None:
    for k, loop in enumerate(new):
        later = {x.axis for x in new[k:]}
        if mentions(loop.lo, later) or mentions(loop.hi, later):
            raise refuse(p, loop, f"the bounds of `{loop.axis}` use an axis that would come after it")


def _may_move(p: Program, scope: Scope, old: list[For], new: list[For], body: Body) -> None:
    place = {loop.axis: k for k, loop in enumerate(new)}
    moved = [
        loop for k, loop in enumerate(old) if any((place[loop.axis] - place[o.axis]) * (k - q) < 0 for q, o in enumerate(old))
    ]
    if not moved:
        return
    tied = independent_of_order(moved, body, scope)
    if len(tied) > 1:
        raise tied_together(p, tied)


def tied_together(p: Program, tied: dict[str, Conflict]) -> IllegalStep:
    why = "; ".join(str(c) for c in tied.values())
    return refuse(
        p,
        next(iter(tied.values())).statement,
        f"this order matters: {why}",
        "accepted: at most one such axis may change places",
    )


def _first(p: Program, axes: tuple[str, ...]) -> Stmt | None:
    return next((s for s in statements(p.body) if isinstance(s, For) and s.axis in axes), None)


@dataclass(frozen=True)
class Fission(Step):
    """Give each statement (or the two parts around statement number `at`) a loop of its own.

    fission(i)           for i: S; T   ->   for i: S
                                            for i: T

    What one part allocates another may not use (`expand` does both); no iteration of a later part may meet an earlier one of another
    iteration.
    """

    stage: ClassVar[str] = "structure"

    axis: str
    at: int = 0

    def apply(self, p: Program) -> Program:
        def split(loop: For, scope: Scope) -> Body:
            parts = self._parts(p, loop)
            _parts_apart(p, loop, scope, parts)
            return tuple(replace(loop, body=part) for part in parts)

        return edit_loops(p, self.axis, split)

    def _parts(self, p: Program, loop: For) -> list[Body]:
        if self.at:
            if not 0 < self.at < len(loop.body):
                raise refuse(p, loop, f"`{loop.axis}` has {len(loop.body)} statements: it cannot be cut at {self.at}")
            parts = [loop.body[: self.at], loop.body[self.at :]]
        else:
            parts = _pieces(loop.body)
            if len(parts) == 1 and len(loop.body) > 1:
                raise refuse(p, loop, f"all statements of `{loop.axis}` share what is allocated there", "accepted: expand(...)")
        for k, part in enumerate(parts):
            mine = {s.buffer.name for s in part if isinstance(s, Alloc)}
            for later in parts[k + 1 :]:
                for s in statements(later):
                    if mine & touched(s):
                        raise refuse(
                            p, s, f"this uses `{(mine & touched(s)).pop()}`, allocated in another part", "accepted: expand(...)"
                        )
        return parts


def _pieces(body: Body) -> list[Body]:
    """Single statements, an allocation together with all up to its last use."""
    parts: list[Body] = []
    k = 0
    while k < len(body):
        end = k + 1
        while any(isinstance(s, Alloc) and _last_use(body, s.buffer.name) >= end for s in body[k:end]):
            end += 1
        parts.append(body[k:end])
        k = end
    return parts


def _last_use(body: Body, name: str) -> int:
    return max((k for k, s in enumerate(body) if any(name in touched(x) for x in statements((s,)))), default=-1)


def _parts_apart(p: Program, loop: For, scope: Scope, parts: list[Body]) -> None:
    """Between different parts, different iterations of `loop` do not meet."""
    private = allocated_names(loop.body)
    found = [by_buffer(reaches(part), private) for part in parts]
    for k, first in enumerate(found):
        for second in found[k + 1 :]:
            for name in first.keys() & second.keys():
                if commutes(first[name] + second[name]):
                    continue
                bad = meeting(loop, scope, first[name], second[name])
                if bad is not None:
                    raise refuse(p, bad, f"iterations of `{loop.axis}` meet in `{name}`, so its order matters")


@dataclass(frozen=True)
class Fuse(Step):
    """Make one loop of two neighbours with the same bounds; the second takes the first one's axis.

    fuse(i, j)           for i in serial(N): S(i)        ->   for i in serial(N): S(i); T(i)
                         for j in serial(N): T(j)

    Refused when T at an iteration needs S of a later one.
    """

    stage: ClassVar[str] = "structure"

    first: str
    second: str

    def apply(self, p: Program) -> Program:
        need_axes(p, (self.first, self.second))
        out = replace(p, body=self._body(p, p.body, Scope(p.dims, (), p.params)))
        if out == p:
            raise refuse(
                p, _first(p, (self.first,)), f"no loop `{self.second}` with the same bounds and kind follows `{self.first}`"
            )
        return out

    def _body(self, p: Program, body: Body, scope: Scope) -> Body:
        out: list[Stmt] = []
        for s in body:
            if isinstance(s, Alloc):
                scope = scope.declare(s.buffer)
            if isinstance(s, (For, If)):
                s = replace(s, body=self._body(p, s.body, scope.enter(s)))
            last = out[-1] if out else None
            if isinstance(last, For) and isinstance(s, For) and self._match(last, s):
                out[-1] = self._join(p, last, s, scope)
            else:
                out.append(s)
        return tuple(out)

    def _match(self, a: For, b: For) -> bool:
        return (a.axis, b.axis) == (self.first, self.second) and (a.lo, a.hi, a.kind) == (b.lo, b.hi, b.kind)

    def _join(self, p: Program, a: For, b: For, scope: Scope) -> For:
        second = substitute_axes(b.body, {b.axis: Var(a.axis)}) if a.axis != b.axis else b.body
        joined = replace(a, body=a.body + second)
        _parts_apart(p, joined, scope, [a.body, second])
        return joined


@dataclass(frozen=True)
class Collapse(Step):
    """Make one axis of two that form a perfect nest.

    collapse(i, j, ij)   for i in serial(M):          ->   for ij in serial(M*N):
                             for j in serial(N): S             S with i = ij//N, j = ij%N
    """

    outer: str
    inner: str
    name: str = ""

    def apply(self, p: Program) -> Program:
        name = self.name or self.outer + self.inner
        new_axes(p, {name} - {self.outer, self.inner})

        def collapse(a: For, scope: Scope) -> Body:
            b = a.body[0]
            if len(a.body) != 1 or not isinstance(b, For) or b.axis != self.inner or b.kind != a.kind:
                raise refuse(p, a, f"`{self.outer}` does not hold just a loop `{self.inner}` of the same kind")
            if mentions(b.lo, (a.axis,)) or mentions(b.hi, (a.axis,)):
                raise refuse(p, b, f"the bounds of `{b.axis}` depend on `{a.axis}`")
            n = extent(b)
            values = {a.axis: add(a.lo, floordiv(Var(name), n)), b.axis: add(b.lo, mod(Var(name), n))}
            return tidy((For(name, Const(0), mul(extent(a), n), a.kind, substitute_axes(b.body, values)),))

        return edit_loops(p, self.outer, collapse)


@dataclass(frozen=True)
class Unroll(Step):
    """Write a loop out; its bounds must be numbers. (`bind(i, unroll)` keeps the loop and leaves it to the printer.)

    unroll(i)            for i in serial(2): S(i)   ->   S(0); S(1)
    """

    stage: ClassVar[str] = "structure"

    axis: str

    def apply(self, p: Program) -> Program:
        taken: set[str] = set()

        def unroll(loop: For, scope: Scope) -> Body:
            lo, n = as_int(loop.lo), static_extent(loop)
            if lo is None or n is None or n > 256:
                raise refuse(p, loop, f"`{loop.axis}` has no fixed extent up to 256")
            copies = (substitute_axes(loop.body, {loop.axis: Const(lo + k)}) for k in range(n))
            return tuple(s for k, b in enumerate(copies) for s in (copied(p, tidy(b), taken) if k else tidy(b)))

        return edit_loops(p, self.axis, unroll)


@dataclass(frozen=True)
class Bind(Step):
    """Change the kind of an axis: block, serial, lanes, vector or unroll. A vector or unroll loop starts at 0 and has a fixed extent.

    bind(i, vector)      for i in serial(16): S   ->   for i in vector(16): S

    Under `lanes`, a local that stands outside the nest and is indexed by its axes first becomes `owned`.
    """

    stage: ClassVar[str] = "structure"

    axis: str
    kind: str

    def apply(self, p: Program) -> Program:
        if self.kind not in KINDS:
            raise IllegalStep(f"`{self.kind}` is not a kind of loop", hint=suggest(self.kind, KINDS) + "accepted: " + ", ".join(KINDS))

        def bind(loop: For, scope: Scope) -> Body:
            if self.kind not in ("vector", "unroll"):
                return (replace(loop, kind=self.kind),)
            n = static_extent(loop)
            if n is None:
                raise refuse(p, loop, f"a {self.kind} loop has a fixed extent, `{loop.axis}` has not", "split it first")
            body = loop.body
            if loop.lo != Const(0):
                body = tidy(substitute_axes(body, {loop.axis: add(Var(loop.axis), loop.lo)}))
            return (For(loop.axis, Const(0), Const(n), self.kind, body),)

        return owned_dims(edit_loops(p, self.axis, bind))


@dataclass(frozen=True)
class Rename(Step):
    """Give an axis or a buffer another name; with `number`, only the axis's occurrence of that number (from 0, in program order).

    rename(j, jt, 1)     for j: S          ->   for j: S
                         for j: T               for jt: T
    """

    stage: ClassVar[str] = "structure"

    old: str
    new: str
    number: int = -1

    def apply(self, p: Program) -> Program:
        if not self.new.isidentifier() or self.new in used_names(p):
            raise IllegalStep(f"the name `{self.new}` is taken or not a name")
        if any(isinstance(s, Alloc) and s.buffer.name == self.old for s in statements(p.body)):
            return replace(p, body=rename_buffers(p.body, {self.old: self.new}))
        loops = [s for s in statements(p.body) if isinstance(s, For) and s.axis == self.old]
        need_axes(p, (self.old,))
        if self.number >= len(loops):
            raise refuse(p, loops[-1], f"`{self.old}` occurs {len(loops)} times, there is no number {self.number}")
        seen = iter(range(len(loops)))

        def rename(loop: For, scope: Scope) -> Body:
            if self.number not in (-1, next(seen)):
                return (loop,)
            return (replace(loop, axis=self.new, body=substitute_axes(loop.body, {self.old: Var(self.new)})),)

        return edit_loops(p, self.old, rename)
