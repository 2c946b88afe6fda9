"""The verifier: a Program and a stage go in; nothing comes out, or IllegalProgram with the broken rule and the place underlined.

RULES says what each rule forbids, STAGES which rules hold for which stage. Reading order: the tables, then one function per rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .bounds import out_of_bounds
from .defined import undefined_reads
from .dependence import conflict, crossed
from .diagnostic import IllegalProgram, TypeMismatch
from .expr import Cast, Const, Expr, Load, Op, Var, as_int, walk
from .intrinsic import inline_calls
from .kernel import (
    KINDS,
    PARALLEL,
    SPACES,
    Alloc,
    Buffer,
    Call,
    For,
    Program,
    Reduce,
    Stmt,
    Store,
    expressions,
    statements,
    writes,
)
from .monoid import MONOIDS
from .prove import implied
from .scope import Scope, accesses, scopes, written_names
from .text import locate, print_expr
from .types import DTYPES
from .typing import check_program
from .variants import faults, variants


@dataclass(frozen=True)
class Broken:
    """A rule broken at a statement; `hint` says what would be accepted."""

    statement: Stmt | None
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Rule:
    name: str
    forbids: str
    check: Callable[[Program], Iterator[Broken]]


def verify(program: Program, stage: str = "kernel") -> None:
    """Raise IllegalProgram (or TypeMismatch) for the first rule of `stage` that `program` breaks. Of a dispatching program the dispatch is
    checked, then every variant on its own, under the range of its dim."""
    if program.dispatch:
        _check(program, "dispatch")
        for v in variants(program):
            _check(v.program, stage)
    else:
        _check(program, stage)


def _check(program: Program, stage: str) -> None:
    for name in STAGES[stage]:
        if name == INLINED:
            program = inline_calls(program)
            continue
        for broken in RULES[name].check(program):
            place = locate(program, broken.statement) if broken.statement is not None else None
            raise IllegalProgram(f"{name}: {broken.message}", hint=broken.hint, place=place)


# ------------------------------------------------------------------------------------------------ variants
def _variants(p: Program) -> Iterator[Broken]:
    if not p.dispatch:
        return
    found = False
    for s, why in faults(p):
        found = True
        yield Broken(s, why, "the ranges of the variants cover every value of the dim, each one once")
    made = [] if found else list(variants(p))
    for s, v in zip(p.body, made):
        if v.program.written() != made[0].program.written():
            yield Broken(s, "this variant does not write the params that the others write")


# ------------------------------------------------------------------------------------------------ names
def _names(p: Program) -> Iterator[Broken]:
    outer: dict[str, str] = {}
    for name, what in [*((d.name, "a dim") for d in p.dims), *((b.name, "a param") for b in p.params)]:
        if name in outer or not name.isidentifier():
            yield Broken(None, f"`{name}` is declared twice or is not a name")
        outer[name] = what
    for b in p.params:
        yield from _buffer(None, b, {d.name for d in p.dims})
    buffers = {b.name for b in p.params}
    for s, scope in scopes(p):
        axes = {d.name for d in p.dims} | {loop.axis for loop in scope.loops}
        yield from _statement_names(s, scope, axes)
        if isinstance(s, Alloc):
            if s.buffer.name in buffers:
                yield Broken(
                    s, f"buffer `{s.buffer.name}` is declared twice", "every buffer of a program has a name of its own"
                )
            buffers.add(s.buffer.name)


def _statement_names(s: Stmt, scope: Scope, axes: set[str]) -> Iterator[Broken]:
    if isinstance(s, For):
        if s.axis in axes or s.axis in scope.buffers or not s.axis.isidentifier():
            yield Broken(s, f"axis `{s.axis}` is not a new name here")
        if s.kind not in KINDS:
            yield Broken(s, f"`{s.kind}` is not a kind", "kinds: " + ", ".join(KINDS))
    if isinstance(s, Alloc):
        if s.buffer.name in axes or not s.buffer.name.isidentifier():
            yield Broken(s, f"`{s.buffer.name}` is not a new name here")
        yield from _buffer(s, s.buffer, axes)
    if isinstance(s, Reduce):
        known = MONOIDS.get(s.monoid)
        if known is None or not len(s.targets) == len(s.values) == known.width or len(s.running) not in (0, known.width):
            yield Broken(s, f"`{s.monoid}` does not have {len(s.targets)} slots")
    for place in [Load(s.buffer, s.index)] if isinstance(s, Store) else []:
        yield from _expression(s, place, scope, axes)
    for e in expressions(s):
        yield from _expression(s, e, scope, axes)


def _expression(s: Stmt, e: Expr, scope: Scope, axes: set[str]) -> Iterator[Broken]:
    for n in walk(e):
        if isinstance(n, Var) and n.name not in axes:
            yield Broken(s, f"there is no axis or dim `{n.name}` here", "known: " + ", ".join(sorted(axes)))
        if isinstance(n, Cast) and n.dtype not in DTYPES:
            yield Broken(s, f"`{n.dtype}` is not a dtype")
        if isinstance(n, Load):
            b = scope.buffers.get(n.buffer)
            if b is None:
                yield Broken(s, f"there is no buffer `{n.buffer}` here", "visible: " + ", ".join(scope.buffers))
            elif len(n.index) != len(b.shape):
                yield Broken(s, f"`{print_expr(n)}` has {len(n.index)} indices, {b.name} has {len(b.shape)} dims")


def _buffer(s: Stmt | None, b: Buffer, axes: set[str]) -> Iterator[Broken]:
    if b.dtype not in DTYPES or b.space not in SPACES:
        yield Broken(s, f"`{b.space}.{b.dtype}` of {b.name} is not a space and dtype")
    if not 0 <= b.owned <= len(b.shape) or (b.owned and b.space != "local"):
        yield Broken(s, f"only leading dims of a local are owned; {b.name} is not such a one")
    for e in (*b.shape, *(b.within or ())):
        for n in walk(e):
            if isinstance(n, Load):
                yield Broken(s, f"the shape of {b.name} loads from a buffer", "shapes are made of dims and axes")
            if isinstance(n, Var) and n.name not in axes:
                yield Broken(s, f"there is no dim `{n.name}` for the shape of {b.name}")


def _types(p: Program) -> Iterator[Broken]:
    try:
        check_program(p)
    except TypeMismatch as e:
        where = next((s for s in statements(p.body) if e.place and locate(p, s) == e.place), None)
        yield Broken(where, e.message, e.hint)


# ------------------------------------------------------------------------------------------------ kinds
def _fixed(p: Program) -> Iterator[Broken]:
    for s in statements(p.body):
        if isinstance(s, For) and s.kind in ("vector", "unroll") and (as_int(s.hi) is None or as_int(s.lo) is None):
            yield Broken(s, f"a {s.kind} loop has numbers for bounds", f"split `{s.axis}` first")
        if isinstance(s, For) and s.kind == "vector" and s.lo != Const(0):
            yield Broken(s, "a vector loop starts at 0")


def _regions(p: Program) -> Iterator[Broken]:
    for s, scope in scopes(p):
        if not (isinstance(s, For) and s.kind in PARALLEL):
            continue
        outer = [loop.kind for loop in scope.loops]
        if "vector" in outer:
            yield Broken(s, f"a {s.kind} loop below a vector loop", "a vector loop holds serial and unroll loops only")
        if s.kind == "block" and "lanes" in outer:
            yield Broken(s, "a block loop below lanes", "lanes nests are leaves")
        parent = scope.path[-1] if scope.path else None
        if (
            s.kind == "lanes"
            and "lanes" in outer
            and not (isinstance(parent, For) and parent.kind == "lanes" and len(parent.body) == 1)
        ):
            yield Broken(
                s, "a lanes nest contains no other lanes nest", "lanes loops stand directly inside each other, or not at all"
            )


def _owned(p: Program) -> Iterator[Broken]:
    home: dict[str, tuple[Buffer, int]] = {}
    for s, scope in scopes(p):
        if isinstance(s, Alloc):
            home[s.buffer.name] = (s.buffer, len(scope.path))
        for a in accesses(s):
            if a.place.buffer in home:
                buffer, depth = home[a.place.buffer]
                lanes = tuple(Var(x.axis) for x in scope.path[depth:] if isinstance(x, For) and x.kind == "lanes")
                yield from _owned_access(s, buffer, a.mode, a.place, lanes)


def _owned_access(s: Stmt, b: Buffer, mode: str, place: Load, lanes: tuple[Var, ...]) -> Iterator[Broken]:
    if b.owned and place.index[: b.owned] != lanes:
        yield Broken(
            s, f"`{print_expr(place)}`: the first {b.owned} dims of {b.name} belong to the lanes around this, in order"
        )
    if b.space == "local" and not b.owned and lanes and mode == "w":
        yield Broken(
            s,
            f"the local {b.name} crosses a lanes nest that writes it",
            "own its leading dims: local.f32[[lanes], ..], or use shared",
        )


# ------------------------------------------------------------------------------------------------ dependence
def _independent(p: Program) -> Iterator[Broken]:
    for s, scope in scopes(p):
        if isinstance(s, For) and s.kind in PARALLEL:
            found = conflict(s, scope, scans=s.kind != "block")
            if found is not None:
                hint = "separate them by an index that uses the axis, allocate the buffer below it, or make the loop serial"
                yield Broken(found.statement, f"iterations of the {s.kind} axis `{s.axis}` meet in `{found.buffer}`", hint)


def _atomics(p: Program) -> Iterator[Broken]:
    buffers = p.buffers()
    for s, scope in scopes(p):
        if isinstance(s, For) and s.kind == "block":
            for r in crossed(s, scope):
                if buffers[r.access.place.buffer].space == "local":
                    hint = "accumulate in memory, or make the loop serial"
                    yield Broken(r.access.statement, f"registers cannot be combined across the block axis `{s.axis}`", hint)
                if r.mode[1:] not in ("add", "min", "max"):  # monoids of one slot that have an atomic
                    yield Broken(
                        r.access.statement,
                        f"`{r.mode[1:]}` across the block axis `{s.axis}` has no atomic",
                        "rfactor, or another kind",
                    )


# ------------------------------------------------------------------------------------------------ accesses
def _in_bounds(p: Program) -> Iterator[Broken]:
    for s, place, dim, size in out_of_bounds(p):
        index = print_expr(place.index[dim])
        hint = f"needed: 0 <= {index} < {print_expr(size)}; guard it, or give dims and index buffers a range"
        yield Broken(s, f"index {dim} of `{print_expr(place)}` is not surely inside", hint)


def _defined(p: Program) -> Iterator[Broken]:
    for s, place in undefined_reads(p):
        yield Broken(
            s,
            f"`{print_expr(place)}` is not surely written before it is read here",
            "initialise it for every iteration that reads it",
        )


def _within(p: Program) -> Iterator[Broken]:
    unstable = written_names(p.body)
    for s, scope in scopes(p):
        for name in writes(s):
            b = scope.buffers[name]
            if b.within is None:
                continue
            lo, hi = b.within
            ok = isinstance(s, Store) and implied(
                Op("and", (Op("<=", (lo, s.value)), Op("<", (s.value, hi)))), scope.facts, scope.buffers, unstable
            )
            if not ok:
                yield Broken(s, f"what is stored is not surely within the range of {name}")


def _no_calls(p: Program) -> Iterator[Broken]:
    for s in statements(p.body):
        if isinstance(s, Call):
            yield Broken(s, "a call of an intrinsic")


INLINED = "calls inlined"
RULES: dict[str, Rule] = {
    r.name: r
    for r in (
        Rule(
            "names",
            "a name that is not declared, declared twice, or used with another rank; unknown kinds, spaces, monoids",
            _names,
        ),
        Rule("variants", "a dispatch that leaves a value of its dim to no variant or to two, or whose variants write different params", _variants),
        Rule("types", "mixed dtypes, other than weak constants", _types),
        Rule("fixed", "vector and unroll loops whose bounds are not numbers", _fixed),
        Rule("regions", "a lanes nest that is not a leaf; anything parallel below vector", _regions),
        Rule("owned", "a local that crosses lanes nests without belonging to the lanes", _owned),
        Rule(
            "independence",
            "iterations of a parallel axis that meet in a buffer other than by Reduces of one monoid",
            _independent,
        ),
        Rule("atomic", "a Reduce across a block axis that no atomic carries out", _atomics),
        Rule("in-bounds", "an index that is not surely inside its buffer", _in_bounds),
        Rule("defined", "a read of something allocated that is not surely written before", _defined),
        Rule("within", "a store into an index buffer that may leave its declared range", _within),
        Rule("no-calls", "intrinsics", _no_calls),
    )
}
_KERNEL = ("names", INLINED, "types", "fixed", "regions", "owned", "independence", "atomic", "in-bounds", "defined", "within")
STAGES: dict[str, tuple[str, ...]] = {
    "dispatch": ("variants",),
    "kernel": _KERNEL,
    "naive": ("no-calls", *_KERNEL),
    "syntax": ("names", INLINED, "types"),
    "structure": ("names", INLINED, "fixed", "regions", "owned", "independence", "atomic"),  # accesses stay as they were
}
