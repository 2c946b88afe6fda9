"""What a step is, and how it finds, replaces and refuses places of a program.

A step is a frozen dataclass with `apply(program) -> program`. A step that names an axis acts on every loop of that name; `rename`
singles one out. A step that does not apply raises IllegalStep with the program and the place underlined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.diagnostic import IllegalStep, suggest
from ...ir.expr import Expr, Load, Op, Var, as_int, loads, names, simplify, sub, transform
from ...ir.kernel import (
    Alloc,
    Body,
    Buffer,
    For,
    If,
    Program,
    Stmt,
    Store,
    expressions,
    map_expressions,
    rename_buffers,
    statements,
    writes,
)  # fmt: skip
from ...ir.scope import Scope, allocated_names
from ...ir.text import locate

Edit = Callable[[Stmt, Scope], Body | None]


@dataclass(frozen=True)
class Step:
    """Base of all steps: the fields are the step's arguments, in the order in which the text form takes them.

    `stage`: the verifier's stage for what the step makes; `structure` where every access stays as it was, in an order that the
    step has shown to be harmless.
    """

    stage: ClassVar[str] = "kernel"

    def apply(self, p: Program) -> Program:
        raise NotImplementedError


def refuse(p: Program, where: Stmt | None, message: str, hint: str = "") -> IllegalStep:
    return IllegalStep(message, hint=hint, place=locate(p, where) if where is not None else None)


def edit(p: Program, f: Edit) -> Program:
    """Replace statements: `f` gets each one, outer ones first, and returns what stands in its place (None: keep and look inside)."""
    return replace(p, body=_edit(p.body, Scope(p.dims, (), p.params), f))


def _edit(body: Body, scope: Scope, f: Edit) -> Body:
    out: list[Stmt] = []
    for s in body:
        new = f(s, scope)
        if new is not None:
            out += new
        elif isinstance(s, (For, If)):
            out.append(replace(s, body=_edit(s.body, scope.enter(s), f)))
        else:
            out.append(s)
        if isinstance(s, Alloc):
            scope = scope.declare(s.buffer)
    return tuple(out)


def edit_loops(p: Program, axis: str, f: Callable[[For, Scope], Body]) -> Program:
    """Replace every loop named `axis`; IllegalStep when there is none."""
    need_axes(p, (axis,))
    return edit(p, lambda s, scope: f(s, scope) if isinstance(s, For) and s.axis == axis else None)


def axes_of(p: Program) -> list[str]:
    return list(dict.fromkeys(s.axis for s in statements(p.body) if isinstance(s, For)))


def need_axes(p: Program, axes: Iterable[str]) -> None:
    known = axes_of(p)
    for a in axes:
        if a not in known:
            raise IllegalStep(
                f"there is no axis `{a}`", hint=suggest(a, known) + "axes here: " + ", ".join(known), place=locate(p, p.body[0]) if p.body else None
            )


def need_alloc(p: Program, name: str) -> Buffer:
    """The buffer `name` allocated in `p`; IllegalStep when there is none."""
    found = [s.buffer for s in statements(p.body) if isinstance(s, Alloc)]
    for b in found:
        if b.name == name:
            return b
    raise IllegalStep(
        f"`{name}` is not allocated in this program", hint="allocated: " + (", ".join(b.name for b in found) or "nothing")
    )


# ------------------------------------------------------------------------------------------------ names
def used_names(p: Program) -> set[str]:
    return {*axes_of(p), *(d.name for d in p.dims), *p.buffers()}


def fresh(p: Program, base: str, taken: Iterable[str] = ()) -> str:
    """`base`, or `base` with the first number that makes it new."""
    used = used_names(p) | set(taken)
    name, number = base, 1
    while name in used:
        number += 1
        name = f"{base}_{number}"
    return name


def new_axes(p: Program, wanted: Iterable[str]) -> None:
    for name in wanted:
        if name in used_names(p):
            raise IllegalStep(
                f"the name `{name}` is taken", hint="give the new axes names of their own, or rename the old ones"
            )


def copied(p: Program, body: Body, taken: set[str]) -> Body:
    """A second copy of `body` in the same program: what it allocates gets new names, which are added to `taken`."""
    new: dict[str, str] = {}
    for name in sorted(allocated_names(body)):
        new[name] = fresh(p, name, taken)
        taken.add(new[name])
    return rename_buffers(body, new) if new else body


# ------------------------------------------------------------------------------------------------ nests
def extent(loop: For) -> Expr:
    return simplify(sub(loop.hi, loop.lo))


def static_extent(loop: For) -> int | None:
    return as_int(extent(loop))


def offset(loop: For) -> Expr:
    """The 0-based position of the axis in its loop."""
    return simplify(sub(Var(loop.axis), loop.lo))


def chain(s: Stmt) -> tuple[list[For | If], Body]:
    """The statements of a perfect nest that begins at `s`, outermost first, and the innermost body."""
    heads: list[For | If] = []
    body: Body = (s,)
    while len(body) == 1 and isinstance(body[0], (For, If)):
        heads.append(body[0])
        body = body[0].body
    return heads, body


def chain_through(s: Stmt, axes: Iterable[str]) -> tuple[list[For | If], Body] | None:
    """`chain`, cut below the innermost of `axes` and the guards there; None when some axis is not in the nest."""
    wanted = set(axes)
    heads: list[For | If] = []
    body: Body = (s,)
    while len(body) == 1 and isinstance(body[0], (For, If)):
        if not wanted and (isinstance(body[0], For) or loads(body[0].cond)):
            break
        heads.append(body[0])
        if isinstance(body[0], For):
            wanted.discard(body[0].axis)
        body = body[0].body
    return None if wanted else (heads, body)


def nest(heads: Iterable[For | If], body: Body) -> Body:
    """`body` inside the loops and conditions of `heads`, outermost first."""
    for head in reversed(list(heads)):
        body = (replace(head, body=body),)
    return body


def place_guards(loops: list[For], ifs: list[If], body: Body) -> Body:
    """A nest in which every guard stands as far out as its axes allow."""
    heads: list[For | If] = []
    left = list(ifs)
    for k in range(len(loops) + 1):
        inner = {x.axis for x in loops[k:]}
        ready = [g for g in left if not mentions(g.cond, inner)]
        heads += ready
        left = [g for g in left if not any(g is r for r in ready)]
        heads += loops[k : k + 1]
    return nest(heads, body)


def loops_of(heads: Iterable[For | If]) -> list[For]:
    return [h for h in heads if isinstance(h, For)]


def guards_of(heads: Iterable[For | If]) -> list[If]:
    return [h for h in heads if isinstance(h, If)]


def conjuncts(c: Expr) -> list[Expr]:
    return [x for a in c.args for x in conjuncts(a)] if isinstance(c, Op) and c.name == "and" else [c]


def mentions(e: Expr, axes: Iterable[str]) -> bool:
    return not names(e).isdisjoint(axes)


def touched(s: Stmt) -> set[str]:
    """Buffers that a statement itself reads or writes."""
    return {x.buffer for e in expressions(s) for x in loads(e)} | set(writes(s))


def map_places(body: Body, f: Callable[[Load], Load]) -> Body:
    """Replace every place that is read, written or combined into."""

    def read(e: Expr) -> Expr:
        return transform(e, lambda n: f(n) if isinstance(n, Load) else None)

    return tuple(_map_stores(s, f) for s in map_expressions(body, read))


def _map_stores(s: Stmt, f: Callable[[Load], Load]) -> Stmt:
    if isinstance(s, (For, If)):
        return replace(s, body=tuple(_map_stores(x, f) for x in s.body))
    if isinstance(s, Store):
        place = f(Load(s.buffer, s.index))
        return Store(place.buffer, place.index, s.value)
    return s


def tidy(body: Body) -> Body:
    """Index algebra on all expressions; conditions and loops that are plainly always or never taken disappear."""
    return _tidy(map_expressions(body, simplify))


def _tidy(body: Body) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, (For, If)):
            s = replace(s, body=_tidy(s.body))
            out += _tidy_head(s)
        else:
            out.append(s)
    return tuple(out)


def _tidy_head(s: For | If) -> Body:
    if not s.body:
        return ()
    if isinstance(s, For):
        n = static_extent(s)
        return () if n is not None and n <= 0 else (s,)
    truth = getattr(s.cond, "value", None)
    return s.body if truth is True else () if truth is False else (s,)
