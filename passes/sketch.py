"""Default schedules: a naive program and its class go in, a schedule script comes out. Each rule says when it applies and why.

A rule drives a `Draft`, which applies steps one by one and can look at the program in between. Axis conventions: `lower` names
the parallel axes i, j, k, .. and row axes r, s, t, ..; a split of i gives i0 (tiles), i1 (in the tile), i2 (the tail).

Decisions that a measurement may overrule, by name: `lanes` (0: along the rows inside, 1: along the parallel axis), `vectors` (native
vectors side by side; `vectors AXIS`: of one loop), `tail` (0: masked, 1: overlapping, 2: every tile guarded), `stream` (1: past the caches),
`taps` (1: those of a window written out), `together` (rows of a window's output at a time), `tile_rows`, `tile_columns` (in vectors), and those
of `sketch_beside`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from ..ir.expr import Const, Expr, Load, Op, as_int, children, walk
from ..ir.kernel import Alloc, Body, For, If, Program, Reduce, Store, expressions, reads, statements
from ..ir.machine import Machine
from ..ir.types import BYTES
from ..ir.verify import verify
from .decisions import Choices
from .draft import Draft, nest_of, stride
from .indexing import ravel
from .pad import float_tile, padded
from .sketch_beside import lines, places, several_rows, together
from .sketch_contract import RULES, rows_first
from .sketch_dot import dot_intrinsic, dot_rows, dot_tile

STREAM_BYTES = 8 << 20
"""Outputs of this size and more are written past the caches: they would not stay there, and reading them before writing costs a pass."""

_MAY_STREAM = 1 << 20


def sketch(program: Program, kind: str, machine: Machine, choices: Mapping[str, int] | None = None) -> Draft:
    """The default schedule for a naive program of a class (`fuse.Group.kind`), verified; `choices` overrule its decisions."""
    if machine.isa == "cuda":
        from .sketch_gpu import sketch_gpu

        return sketch_gpu(program, kind, machine, choices)
    if machine.isa == "triton":
        from .sketch_triton import sketch_triton

        return sketch_triton(program, kind, machine, choices)
    draft = Draft(program=program, machine=machine, choices=choices or {})
    if kind == "contract" and _served(draft):
        verify(draft.program)
        return draft
    for rule in (*RULES.get(kind, ()), rows):
        if draft.kept(lambda rule=rule: rule(draft)):
            break
    _finish(draft)
    verify(draft.program)
    return draft


def _served(draft: Draft) -> bool:
    """Products with dot-product instructions, and all whose number of rows is known at run time only."""
    dot = dot_intrinsic(draft) is not None
    if padded(draft, _finish, dot_tile if dot else float_tile):
        return True
    if not dot or not draft.kept(lambda: dot_rows(draft)):
        return False
    _finish(draft)
    return True


def _finish(draft: Draft) -> None:
    parallelise(draft)
    stream(draft)


def sketch_space(program: Program, kind: str, machine: Machine) -> list[Choices]:
    """Choices for `sketch` that differ from its defaults: first those that differ in one decision, then in two."""
    draft = sketch(program, kind, machine)
    others = {name: [v for v in worth if v != default] for name, (default, worth) in draft.asked.items()}
    single = [{name: value} for name, values in others.items() for value in values]
    pairs = [a | b for a, b in itertools.combinations(single, 2) if a.keys() != b.keys()]
    return single + pairs


# ------------------------------------------------------------------------------------------------ reading a program
def accesses(body: Body) -> Iterable[tuple[str, tuple[Expr, ...]]]:
    """(buffer, index) of every load and store below."""
    for s in statements(body):
        if isinstance(s, Store):
            yield s.buffer, s.index
        stack = [e for e in expressions(s)] if not isinstance(s, (Alloc, For)) else []
        while stack:
            e = stack.pop()
            if isinstance(e, Load):
                yield e.buffer, e.index
            stack.extend(children(e))


def contiguity(program: Program, body: Body, axis: str) -> float:
    """Share of the accesses that move with `axis` whose step is one element; accesses that do not move count for neither side."""
    good = bad = 0
    buffers = program.buffers()
    for name, index in accesses(body):
        b = buffers[name]
        if b.space == "local":
            continue
        step = stride(b, index, axis)
        if step == 0:
            continue
        good, bad = (good + 1, bad) if step == 1 else (good, bad + 1)
    return good / (good + bad) if good + bad else 0.0


_HEAVY = {"exp", "expm1", "log", "log1p", "tanh", "erf", "erfc", "sigmoid", "pow", "sin", "cos", "tan", "sinh", "cosh", "/", "atan", "asin", "acos"}


def vector_width(draft: Draft, loop: For, guarded: bool = False) -> int:
    """Four native vectors at a time hide latency; two where the expression needs many registers; fewer when the axis is short."""
    body, extent = loop.body, as_int(loop.hi)
    heavy = sum(1 for s in statements(body) for e in expressions(s) for n in walk(e) if isinstance(n, Op) and n.name in _HEAVY)
    lanes = draft.machine.lanes
    whole = -(-extent // lanes) if extent is not None else 0
    vectors = draft.choose("vectors", 2 if heavy >= 2 else 4, (1, 2, 4, 8, *([whole] if 2 < whole < 16 else [])))
    width = lanes * draft.choose(f"vectors {loop.axis}", vectors, (1, 2, 4, 8))
    if extent is not None:
        while width > lanes and (width // 2 >= extent if guarded else width > extent):
            width = max(lanes, width // 2 // lanes * lanes)
    return width


# ------------------------------------------------------------------------------------------------ rules
def rows(draft: Draft) -> bool:
    """Pointwise maps, reductions, norms, softmax, pooling, scans: vectorise the innermost parallel axis when memory runs along it,
    else the rows inside."""
    outer = nest_of(draft.program.body)
    inner = _row_loops(draft, outer[-1].body) if outer else []
    if outer and not _single(outer[-1]) and _lanes_outside(draft, outer[-1], inner):
        if not _window(draft, outer) and not lines(draft, outer[-1]):
            _map(draft, outer)
    elif outer:
        together(draft, outer[-1], lambda: _vectorise_rows(draft, inner))
    else:
        _vectorise_rows(draft, inner)
    return True


def _map(draft: Draft, outer: list[For]) -> None:
    def vectorise(loop: For) -> bool:
        return vectorise_parallel(draft, loop)

    if len(outer) < 2 or not several_rows(draft, outer[-2], outer[-1], vectorise):
        places(draft, outer[-1], vectorise)


def _vectorise_rows(draft: Draft, loops: list[For]) -> None:
    for loop in loops:
        vectorise_row(draft, loop)


def _window(draft: Draft, outer: list[For]) -> bool:
    """Taps written out; and where chosen several rows of the output at a time, which share what they read."""
    taps = [s for s in statements(outer[-1].body) if isinstance(s, For)]
    if not taps or any((as_int(s.hi) or 99) > 16 for s in taps) or not any(isinstance(s, Reduce) for s in statements(outer[-1].body)):
        return False
    count = draft.choose("together", 1, (1, 2, 4)) if len(outer) > 1 else 1
    if count == 1 or not draft.kept(lambda: _several_rows(draft, outer[-2], outer[-1], count)):
        vectorise_parallel(draft, outer[-1])
    if draft.choose("taps", 0, (0, 1)):
        for s in taps:
            draft.attempt(f"bind({s.axis}, unroll)")
    return True


def _several_rows(draft: Draft, rows: For, lanes: For, count: int) -> bool:
    width = vector_width(draft, lanes)
    split = f"split({lanes.axis}, {width}, tail=mask, round={draft.machine.lanes})"
    return rows_first(draft, rows.axis, lanes.axis, f"split({rows.axis}, {count}, tail=mask, round=1)", split)


def _lanes_outside(draft: Draft, axis: For, inner: list[For]) -> bool:
    wins = _outer_wins(draft, axis, inner)
    return bool(draft.choose("lanes", int(wins), (0, 1))) if inner else wins


def _single(loop: For) -> bool:
    return as_int(loop.hi) == 1


def _row_loops(draft: Draft, body: Body) -> list[For]:
    """The loops to run along the lanes below the parallel nest: the innermost ones, except where an inner loop is but the taps of a
    window, short or badly placed in memory; then the loop around it, whose every lane runs taps of its own."""
    out: list[For] = []
    for s in body:
        if isinstance(s, For):
            deeper = _row_loops(draft, s.body)
            own = any(isinstance(x, Alloc) for x in s.body)
            if deeper and own and not all(_long_row(draft, s, inner) for inner in deeper):
                deeper = []
            out += deeper or [s]
        elif isinstance(s, If):
            out += _row_loops(draft, s.body)
    return out


def _long_row(draft: Draft, outer: For, inner: For) -> bool:
    if (as_int(inner.hi) or 1 << 20) < 2 * draft.machine.lanes:
        return False
    return contiguity(draft.program, inner.body, inner.axis) >= contiguity(draft.program, outer.body, outer.axis)


def _outer_wins(draft: Draft, axis: For, inner: list[For]) -> bool:
    """Lanes along the parallel axis when it is the contiguous one, or when there is no row to speak of."""
    if not inner:
        return True
    along = contiguity(draft.program, axis.body, axis.axis)
    across = max(contiguity(draft.program, loop.body, loop.axis) for loop in inner)
    longest = max((as_int(loop.hi) or 1 << 20) for loop in inner)
    if any(isinstance(s, Reduce) and s.running for s in statements(axis.body)):
        return along > 0.5
    if longest < draft.machine.lanes and (as_int(axis.hi) or 1 << 20) > longest:
        return True
    return along >= across


def vectorise_parallel(draft: Draft, loop: For) -> bool:
    """split; bind the inner axis and the masked tail to vector: everything below becomes vector code."""
    a = loop.axis
    done = _split_lanes(draft, loop)
    if done:
        for tail in (f"{a}1", f"{a}2"):
            if draft.has(tail):
                draft.attempt(f"bind({tail}, vector)")
    return done


def _split_lanes(draft: Draft, loop: For) -> bool:
    """A masked tail, or where chosen one that computes elements of the tile before again."""
    extent = as_int(loop.hi)
    guarded = draft.choose("tail", 0, (0, 1, 2)) == 2 if extent is not None and extent % draft.machine.lanes else False
    width = vector_width(draft, loop, guarded)
    if guarded and extent is not None and extent % width and draft.attempt(f"split({loop.axis}, {width}, tail=guard)"):
        return True
    masked = f"split({loop.axis}, {width}, tail=mask, round={draft.machine.lanes})"
    if extent is None or extent <= width or extent % width == 0:
        return draft.attempt(masked)
    overlap = draft.choose("tail", 0, (0, 1)) and draft.attempt(masked.replace("mask", "overlap"))
    return bool(overlap) or draft.attempt(masked)


def vectorise_row(draft: Draft, loop: For) -> bool:
    """split the row; a partial result per lane for what the row is reduced into; bind to vector."""
    a = loop.axis
    if not _split_lanes(draft, loop):
        return False
    reduces = [s for s in loop.body if isinstance(s, Reduce) and not s.running]
    if reduces and draft.has(f"{a}1"):
        outermost = _reduction_root(draft, f"{a}0", reduces)
        if not draft.attempt(f"rfactor({outermost}, {a}1)"):
            draft.attempt(f"rfactor({a}0, {a}1)")
    for tail in (f"{a}1", f"{a}2"):
        if draft.has(tail):
            draft.attempt(f"bind({tail}, vector)")
    return True


def _reduction_root(draft: Draft, axis: str, reduces: list[Reduce]) -> str:
    """The outermost loop around `axis` that is still part of the reduction (its axis is in no target)."""

    def find(body: Body, path: list[For]) -> list[For] | None:
        for s in body:
            if isinstance(s, For):
                if s.axis == axis:
                    return [*path, s]
                found = find(s.body, [*path, s])
                if found:
                    return found
            elif isinstance(s, If):
                found = find(s.body, path)
                if found:
                    return found
        return None

    path = find(draft.program.body, []) or []
    allocated_in: dict[str, int] = {}
    for depth, loop in enumerate(path):
        for s in loop.body:
            if isinstance(s, Alloc):
                allocated_in[s.buffer.name] = depth
    depth = max((allocated_in.get(t.buffer, -1) for r in reduces for t in r.targets), default=-1)
    return path[depth + 1].axis if depth + 1 < len(path) else axis


def parallelise(draft: Draft) -> None:
    """The outermost parallel axes of every nest run as blocks, as many as needed for a few dozen pieces of work."""
    seen: set[str] = set()
    for top in draft.program.body:
        if not isinstance(top, For) or top.axis in seen:
            continue
        pieces = 1
        for loop in nest_of((top,)):
            if loop.kind != "serial" or loop.axis in seen:
                break
            if not draft.attempt(f"bind({loop.axis}, block)"):
                break
            seen.add(loop.axis)
            pieces *= as_int(loop.hi) or 64
            if pieces >= 64:
                break


def _loaded(p: Program) -> set[str]:
    """Params that are read; the values that a scan leaves behind it are not."""
    left = {(x.buffer, id(s)) for s in statements(p.body) if isinstance(s, Reduce) and s.running for x in s.running}
    return {x.buffer for s in statements(p.body) for x in reads(s) if (x.buffer, id(s)) not in left}


def stream(draft: Draft) -> None:
    """Large outputs that are only written go past the caches."""
    p = draft.program
    loaded = _loaded(p)
    for b in p.params:
        count = as_int(ravel(tuple(Const((as_int(s) or 1) - 1) for s in b.shape), b.shape, {}))
        size = (count + 1) * BYTES[b.dtype] if count is not None else 0
        if b.name not in p.written() or b.name in loaded or size < _MAY_STREAM:
            continue
        if draft.choose("stream", int(size >= STREAM_BYTES), (0, 1)):
            draft.attempt(f"set_space({b.name}, stream)")
