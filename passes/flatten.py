"""Loops that always run together over memory that lies together become one loop, and their two dims one dim.

Before: `for i<N: for j<M: y[i, j] = f(x[i, j])` with x, y: f32[N, M].  After: `for i<N*M: y[i] = f(x[i])` with x, y: f32[N*M].
Params change shape, not memory. A pair of loops merges when every access that has one of them has both, side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..ir.expr import Const, Expr, Load, Var, children, mul, names, rebuild, simplify
from ..ir.kernel import Alloc, Body, Buffer, For, If, Program, Reduce, Stmt, Store, expressions, map_expressions, statements


@dataclass(frozen=True)
class _Pair:
    """A loop `outer` whose body is exactly the loop `inner`."""

    outer: str
    inner: str
    extents: tuple[Expr, Expr]


def flatten(program: Program) -> Program:
    """Merge loops until none is left to merge."""
    while True:
        merged = next((m for group in _candidates(program) if (m := _merge(program, group)) is not None), None)
        if merged is None:
            return program
        program = merged


def _pairs(body: Body) -> list[_Pair]:
    out: list[_Pair] = []
    for s in body:
        if not isinstance(s, (For, If)):
            continue
        if isinstance(s, For) and len(s.body) == 1 and isinstance(s.body[0], For):
            inner = s.body[0]
            zero = s.lo == Const(0) == inner.lo and s.axis not in names(inner.hi) and s.kind == inner.kind == "serial"
            if zero:
                out.append(_Pair(s.axis, inner.axis, (s.hi, inner.hi)))
        out += _pairs(s.body)
    return out


def _candidates(program: Program) -> list[tuple[_Pair, ...]]:
    """Sets of pairs that must merge together, since they touch the same dims of the same buffers; each pair starts one."""
    pairs = _pairs(program.body)
    found: list[tuple[_Pair, ...]] = []
    for p in pairs:
        group = _closure(program, p, pairs)
        if group is not None and group not in found:
            found.append(group)
    return found


Spots = set[tuple[str, int]]
"""(buffer, dim) where a pair's outer axis stands, its inner axis at the next dim."""


def _spots(program: Program, pair: _Pair) -> Spots | None:
    """Where a pair stands side by side; None when one of its axes is used in any other way."""
    out: Spots = set()

    def visit(e: Expr) -> bool:
        if isinstance(e, Var):
            return e.name not in (pair.outer, pair.inner)
        if isinstance(e, Load):
            return place(e.buffer, e.index)
        return all(visit(k) for k in children(e))

    def place(buffer: str, index: tuple[Expr, ...]) -> bool:
        d = 0
        while d < len(index):
            if index[d] == Var(pair.outer) and d + 1 < len(index) and index[d + 1] == Var(pair.inner):
                out.add((buffer, d))
                d += 2
                continue
            if not visit(index[d]):
                return False
            d += 1
        return True

    for s in statements(program.body):
        if isinstance(s, For) and s.axis in (pair.outer, pair.inner):
            continue
        if isinstance(s, Store):
            if not place(s.buffer, s.index) or not visit(s.value):
                return None
        elif not all(visit(e) for e in expressions(s)):
            return None
    return out


def _closure(program: Program, first: _Pair, pairs: list[_Pair]) -> tuple[_Pair, ...] | None:
    """All pairs that stand at the spots of `first`, or None when some access to those dims is not by such a pair."""
    spots = {p: _spots(program, p) for p in pairs}
    chosen: set[str] = {first.outer}
    group = [first]
    wanted = set(spots[first] or ())
    if spots[first] is None:
        return None
    changed = True
    while changed:
        changed = False
        for p in pairs:
            mine = spots[p]
            if p not in group and mine and mine & wanted and p.extents == first.extents:
                group.append(p)
                chosen.add(p.outer)
                wanted |= mine
                changed = True
    axes = {(p.outer, p.inner) for p in group}
    if len({a for pair in axes for a in pair}) != 2 * len(axes) or any(spots[p] is None for p in group):
        return None
    return tuple(group) if _all_by_pairs(program, wanted, axes, first.extents) else None


def _all_by_pairs(program: Program, spots: Spots, axes: set[tuple[str, str]], extents: tuple[Expr, Expr]) -> bool:
    """Whether every access to the spots is by one of the axis pairs, and the dims have the loops' extents."""
    buffers = program.buffers()
    for name, d in spots:
        b = buffers[name]
        if (simplify(b.shape[d]), simplify(b.shape[d + 1])) != (simplify(extents[0]), simplify(extents[1])) or b.owned:
            return False

    def good(name: str, index: tuple[Expr, ...]) -> bool:
        for buffer, d in spots:
            if buffer == name and (index[d], index[d + 1]) not in {(Var(a), Var(b)) for a, b in axes}:
                return False
        return True

    for s in statements(program.body):
        if isinstance(s, Store) and not good(s.buffer, s.index):
            return False
        stack = list(expressions(s)) if not isinstance(s, Alloc) else []
        while stack:
            e = stack.pop()
            if isinstance(e, Load) and not good(e.buffer, e.index):
                return False
            stack.extend(children(e))
    return True


def _merge(program: Program, group: tuple[_Pair, ...]) -> Program | None:
    spots: Spots = set()
    for p in group:
        spots |= _spots(program, p) or set()
    inner = {p.inner for p in group}

    def index(name: str, old: tuple[Expr, ...]) -> tuple[Expr, ...]:
        drop = {d + 1 for buffer, d in spots if buffer == name}
        return tuple(fix(e) for d, e in enumerate(old) if d not in drop)

    def fix(e: Expr) -> Expr:
        if isinstance(e, Load):
            return Load(e.buffer, index(e.buffer, e.index))
        return rebuild(e, tuple(fix(k) for k in children(e)))

    def shape(b: Buffer) -> Buffer:
        starts = {d for buffer, d in spots if buffer == b.name}
        dims = [mul(s, b.shape[d + 1]) if d in starts else s for d, s in enumerate(b.shape) if d - 1 not in starts]
        return replace(b, shape=tuple(dims))

    def body(stmts: Body) -> Body:
        out: list[Stmt] = []
        for s in stmts:
            if isinstance(s, For) and s.axis in {p.outer for p in group}:
                below = s.body[0]
                assert isinstance(below, For) and below.axis in inner
                s = replace(s, hi=mul(s.hi, below.hi), body=below.body)
            if isinstance(s, (For, If)):
                s = replace(s, body=body(s.body))
            elif isinstance(s, Alloc):
                s = Alloc(shape(s.buffer))
            elif isinstance(s, Store):
                s = Store(s.buffer, index(s.buffer, s.index), fix(s.value))
            elif isinstance(s, Reduce):
                s = map_expressions((s,), fix)[0]
            out.append(s)
        return tuple(out)

    return replace(program, params=tuple(shape(b) for b in program.params), body=body(program.body))
