"""Dependence: a loop in its scope goes in, out comes the first buffer through which two of its iterations can meet, if any.

A buffer is kept apart by an axis when it is allocated below it, only read, only combined into with one monoid, or *separated*:
no element is touched by two iterations. Separation is asked of the prover for two iterations `p < p'`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from .expr import Expr, Load, Op, Var, affine, simplify
from .kernel import Alloc, Body, Buffer, For, If, Stmt
from .prove import excluded, primed
from .scope import Access, Scope, accesses, allocated_names, path_facts, written_names


@dataclass(frozen=True)
class Reach:
    """An access below a loop: the For and If statements between the loop and the access."""

    access: Access
    path: tuple[For | If, ...]

    @property
    def mode(self) -> str:
        return self.access.mode

    @property
    def place(self) -> Load:
        return self.access.place


@dataclass(frozen=True)
class Conflict:
    """Two iterations of `axis` meet in `buffer` at `statement`."""

    axis: str
    buffer: str
    statement: Stmt

    def __str__(self) -> str:
        return f"iterations of `{self.axis}` meet in `{self.buffer}`"


def reaches(body: Body, path: tuple[For | If, ...] = ()) -> Iterator[Reach]:
    for s in body:
        for a in accesses(s):
            yield Reach(a, path)
        if isinstance(s, (For, If)):
            yield from reaches(s.body, (*path, s))


def by_buffer(found: Iterable[Reach], without: frozenset[str]) -> dict[str, list[Reach]]:
    out: dict[str, list[Reach]] = {}
    for r in found:
        if r.place.buffer not in without:
            out.setdefault(r.place.buffer, []).append(r)
    return out


def conflict(loop: For, scope: Scope, scans: bool = False) -> Conflict | None:
    """The first conflict between iterations of `loop`, which stands in `scope`; None when they are independent.

    `scans`: a scan whose innermost loop this is counts as independent (lanes and vector loops carry it out in order).
    """
    for name, found in by_buffer(reaches(loop.body), allocated_names(loop.body)).items():
        if commutes(found) or (scans and _one_scan(found)):
            continue
        bad = meeting(loop, scope, found, found)
        if bad is not None:
            return Conflict(loop.axis, name, bad)
    return None


def commutes(found: list[Reach]) -> bool:
    """Only read, or only combined into with one monoid."""
    modes = {r.mode for r in found}
    return modes == {"r"} or (len(modes) == 1 and next(iter(modes)).startswith("+"))


def _one_scan(found: list[Reach]) -> bool:
    inner = any(isinstance(s, For) for r in found for s in r.path)
    return len(found) == 1 and found[0].mode.startswith("scan+") and not inner


def crossed(loop: For, scope: Scope) -> list[Reach]:
    """Reduces below `loop` that combine into one element from several of its iterations."""
    out: list[Reach] = []
    for found in by_buffer(reaches(loop.body), allocated_names(loop.body)).values():
        if all(r.mode.startswith("+") for r in found):
            stores = [replace(r, access=replace(r.access, mode="w")) for r in found]
            if meeting(loop, scope, stores, stores) is not None:
                out += found
    return out


def meeting(loop: For, scope: Scope, first: list[Reach], second: list[Reach]) -> Stmt | None:
    """A statement of `first` that can touch an element that one of `second` touches in another iteration; None when separated."""
    if _plainly_separated(loop, [*first, *second]):
        return None
    done: set[tuple] = set()
    written = written_names(loop.body)
    for a in first:
        for b in second:
            key = _pair_key(a, b)
            if key in done or (a.mode == b.mode and a.mode.startswith(("r", "+"))):
                continue
            done.add(key)
            if not separated(loop, scope, a, b, written):
                return a.access.statement
    return None


def _pair_key(a: Reach, b: Reach) -> tuple:
    return tuple((r.place, r.access.given, tuple(_head(s) for s in r.path)) for r in (a, b))


def _head(s: For | If) -> tuple:
    return (s.axis, s.lo, s.hi) if isinstance(s, For) else (s.cond,)


def _plainly_separated(loop: For, found: list[Reach]) -> bool:
    """Some dimension is the same `c*p + g` in all accesses, with no inner axis in g and no load anywhere: no proof needed."""
    inner = {s.axis for r in found for s in r.path if isinstance(s, For)}
    return any(_one_form(loop.axis, inner, set(forms)) for forms in zip(*(r.place.index for r in found)))


def _one_form(axis: str, inner: set[str], forms: set[Expr]) -> bool:
    if len(forms) != 1:
        return False
    terms = affine(simplify(forms.pop()))
    rest = [k for k in terms if k is not None and k != Var(axis)]
    return Var(axis) in terms and all(isinstance(k, Var) and k.name not in inner for k in rest)


def separated(loop: For, scope: Scope, a: Reach, b: Reach, written: frozenset[str]) -> bool:
    """No element is touched by `a` in one iteration and by `b` in another."""
    mine = [*scope.facts, *path_facts(loop), *_facts(a)]
    inner = {loop.axis, *(s.axis for s in b.path if isinstance(s, For))}
    theirs = [primed(f, inner) for f in (*path_facts(loop), *_facts(b))]
    same: list[Expr] = [Op("==", (x, primed(y, inner))) for x, y in zip(a.place.index, b.place.index)]
    here, there = Var(loop.axis), Var(loop.axis + "'")
    orders = [(here, there)] if _pair_key(a, a) == _pair_key(b, b) else [(here, there), (there, here)]
    return all(excluded([*mine, *theirs, *same, Op("<", o)], buffers(scope, loop.body), written) for o in orders)


def _facts(r: Reach) -> list[Expr]:
    return [f for s in r.path for f in path_facts(s)] + list(r.access.given)


def buffers(scope: Scope, body: Body) -> Mapping[str, Buffer]:
    below = {s.buffer.name: s.buffer for s in _allocs(body)}
    return {**scope.buffers, **below}


def _allocs(body: Body) -> Iterator[Alloc]:
    for s in body:
        if isinstance(s, Alloc):
            yield s
        elif isinstance(s, (For, If)):
            yield from _allocs(s.body)


def independent_of_order(chain: list[For], body: Body, scope: Scope) -> dict[str, Conflict]:
    """For a nest of loops around `body`: the conflicts of each loop taken as the outermost one. A loop without one may move freely."""
    out: dict[str, Conflict] = {}
    for loop in chain:
        inside = body
        for other in reversed([x for x in chain if x is not loop]):
            inside = (replace(other, body=inside),)
        found = conflict(replace(loop, body=inside), scope)
        if found is not None:
            out[loop.axis] = found
    return out
