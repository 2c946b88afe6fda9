"""First step of printing: a Program with its unroll loops written out, unique buffer names and folded index expressions.

Vector loops that cannot be vectors (extents that are not constants or too long, loops inside whose bounds differ between lanes,
intrinsic calls) become serial loops: a kind never changes what a program computes.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ....ir.expr import Affine, Cast, Const, Expr, Load, Op, Ranges, Var, as_int, bounds, from_affine, simplify
from ....ir.kernel import (
    Alloc,
    Body,
    Call,
    For,
    If,
    Program,
    Reduce,
    Stmt,
    Store,
    map_expressions,
    reads,
    rename_buffers,
    statements,
    substitute_axes,
)

MAX_COPIES = 2048  # statements that an unroll nest may print
MAX_VECTORS = 32  # native vectors in one vector loop
MAX_PRIVATE = 1024  # elements of a buffer that every lane has its own of

Env = dict[str, tuple[int | None, int | None]]


def dim_ranges(p: Program) -> Env:
    return {d.name: (d.lo, d.hi) for d in p.dims}


def as_ranges(env: Env) -> Ranges:
    return env  # type: ignore[return-value]  # half-open knowledge: `bounds` accepts a None end


def inside(env: Env, loop: For) -> Env:
    """The ranges below a loop."""
    lo, _ = bounds(loop.lo, as_ranges(env))
    _, hi = bounds(loop.hi, as_ranges(env))
    return {**env, loop.axis: (lo, None if hi is None else hi - 1)}


def fold(e: Expr, env: Env) -> Expr:
    """Simplify under ranges; sums and products of axes, which are most of what is folded, in one pass."""
    if isinstance(e, (Const, Var)):
        return e
    plain = _sum_of_products(e)
    return simplify(e, as_ranges(env)) if plain is None else from_affine(plain)


def _sum_of_products(e: Expr) -> Affine | None:
    """The linear form of an expression of axes, constants, + - and *; None for any other."""
    if isinstance(e, Const):
        return (
            {None: e.value}
            if isinstance(e.value, int) and e.value
            else {}
            if e.value == 0 and isinstance(e.value, int)
            else None
        )
    if isinstance(e, Var):
        return {e: 1}
    if not isinstance(e, Op) or e.name not in ("+", "-", "*", "neg"):
        return None
    parts = [_sum_of_products(a) for a in e.args]
    first, last = parts[0], parts[-1]
    if first is None or last is None:
        return None
    if e.name == "neg":
        return {k: -v for k, v in first.items()}
    if e.name == "*":
        return _product(first, last)
    out = dict(first)
    for k, v in last.items():
        out[k] = out.get(k, 0) + (v if e.name == "+" else -v)
    return {k: v for k, v in out.items() if v}


def _product(a: Affine, b: Affine) -> Affine:
    for x, y in ((a, b), (b, a)):
        if set(x) <= {None}:
            return {k: v * x[None] for k, v in y.items()} if x else {}
    return {Op("*", (from_affine(a), from_affine(b))): 1}


def expand(p: Program, lanes: int) -> Program:
    """The same program, ready to print for vectors of `lanes` elements."""
    return replace(p, body=_Expander(lanes, {b.name for b in p.params} | {d.name for d in p.dims}).body(p.body, dim_ranges(p)))


class _Expander:
    def __init__(self, lanes: int, taken: set[str]):
        self.lanes, self.taken = lanes, taken

    def body(self, body: Body, env: Env) -> Body:
        body = self._unique(body)
        return tuple(out for s in body for out in self.statement(s, env))

    def _unique(self, body: Body) -> Body:
        """Rename each Alloc whose name was used before, in the rest of its scope."""
        for at, s in enumerate(body):
            if isinstance(s, Alloc):
                name = fresh(s.buffer.name, self.taken)
                if name != s.buffer.name:
                    body = body[:at] + rename_buffers(body[at:], {s.buffer.name: name})
        return body

    def statement(self, s: Stmt, env: Env) -> Body:
        if isinstance(s, For):
            return self._loop(s, env)
        if isinstance(s, If):
            cond = fold(s.cond, env)
            if cond == Const(False):
                return ()
            body = self.body(s.body, env)
            if cond == Const(True):
                return (_scope(body),) if any(isinstance(x, Alloc) for x in body) else body
            return (If(cond, body),) if body else ()
        return map_expressions((s,), lambda e: fold(e, env))

    def _loop(self, s: For, env: Env) -> Body:
        s = replace(s, lo=fold(s.lo, env), hi=fold(s.hi, env))
        below = inside(env, s)
        if s.kind == "unroll":
            return self._unroll(s, env, below)
        if s.kind == "vector":
            return self._vector(s, env, below)
        body = self.body(s.body, below)
        return (replace(s, body=body),) if body else ()

    def _unroll(self, s: For, env: Env, below: Env) -> Body:
        lo, hi = as_int(s.lo), as_int(s.hi)
        if lo is None or hi is None or (hi - lo) * sum(1 for _ in statements(s.body)) > MAX_COPIES:
            return (replace(s, body=self.body(s.body, below)),)
        out: list[Stmt] = []
        for value in range(lo, hi):
            copy = self.body(substitute_axes(s.body, {s.axis: Const(value)}), env)
            out += [_scope(copy)] if any(isinstance(x, Alloc) for x in copy) else copy
        return tuple(out)

    def _vector(self, s: For, env: Env, below: Env) -> Body:
        lo, hi = as_int(s.lo), as_int(s.hi)
        if hi is None or lo is None or not 0 < hi - lo <= MAX_VECTORS * self.lanes:
            return (replace(s, kind="serial", body=self.body(s.body, below)),)
        shifted = substitute_axes(s.body, {s.axis: Op("+", (Var(s.axis), Const(lo)))}) if lo else s.body
        s = For(s.axis, Const(0), Const(hi - lo), s.kind, shifted)
        s = replace(s, body=self.body(s.body, inside(env, s)))
        return (s if _vectorizable(s) else replace(s, kind="serial"),)


def _scope(body: Body) -> Stmt:
    """A brace: printed as `{ .. }`, so that each copy owns its buffers."""
    return If(Const(True), body)


SCANS = ("add", "mul", "max", "min")


def _vectorizable(loop: For) -> bool:
    """Every statement below can be printed on vectors of the loop's axis."""
    private = {s.buffer.name for s in statements(loop.body) if isinstance(s, Alloc)}
    return all(_vector_statement(s, loop.axis, private) for s in statements(loop.body))


def _vector_statement(s: Stmt, axis: str, private: set[str]) -> bool:
    def moves(index: tuple[Expr, ...]) -> bool:
        return any(varies(i, axis, private) for i in index)

    if isinstance(s, Call) or any(n.buffer in private and moves(n.index) for n in places(s)):
        return False
    if isinstance(s, For):
        return s.kind not in ("vector", "block") and not moves((s.lo, s.hi))
    if isinstance(s, Alloc):
        return math.prod(as_int(d) or MAX_PRIVATE + 1 for d in s.buffer.shape) <= MAX_PRIVATE
    if isinstance(s, Store):
        return s.buffer in private or moves(s.index)
    if isinstance(s, Reduce):
        own = [t.buffer in private or moves(t.index) for t in s.targets]
        if all(own):
            return all(t.buffer in private or _distinct(t, axis, private) for t in s.targets)
        return not any(own) and (not s.running or (s.monoid in SCANS and moves(s.running[0].index)))
    return True


def _distinct(target: Load, axis: str, private: set[str]) -> bool:
    """No two lanes hit the same element: in some dimension the axis stands alone, outside digits and other loads."""
    return any(varies(i, axis, private) and _linear(i, axis, private) for i in target.index)


def _linear(e: Expr, axis: str, private: set[str]) -> bool:
    if isinstance(e, Op) and e.name in ("+", "-", "neg"):
        return all(_linear(a, axis, private) for a in e.args)
    if isinstance(e, Op) and e.name == "*":
        return sum(varies(a, axis, private) for a in e.args) < 2 and all(_linear(a, axis, private) for a in e.args)
    return e == Var(axis) or not varies(e, axis, private)


def places(s: Stmt) -> list[Load]:
    """Every place a statement reads or writes, as Loads."""
    return [*([Load(s.buffer, s.index)] if isinstance(s, Store) else []), *reads(s)]


def varies(e: Expr, axis: str, private: set[str] | frozenset[str]) -> bool:
    """True when `e` may differ between the lanes of `axis`."""
    if isinstance(e, Var):
        return e.name == axis
    if isinstance(e, Load):
        return e.buffer in private or any(varies(i, axis, private) for i in e.index)
    if isinstance(e, Op):
        return any(varies(a, axis, private) for a in e.args)
    return isinstance(e, Cast) and varies(e.value, axis, private)


def fresh(name: str, taken: set[str]) -> str:
    """`name`, or the first of name_2, name_3, .. that is free; it is then taken."""
    out, n = name, 1
    while out in taken:
        n += 1
        out = f"{name}_{n}"
    taken.add(out)
    return out
