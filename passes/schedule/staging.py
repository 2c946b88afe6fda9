"""Steps on buffers: stage, unguard, set_space, inline. Each takes a program and gives the rewritten one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.diagnostic import IllegalStep
from ...ir.expr import Cast, Const, Expr, Load, Op, Var, conjunction, loads, names, simplify, substitute, transform
from ...ir.kernel import (
    SPACES,
    Alloc,
    Body,
    Buffer,
    For,
    If,
    Program,
    Reduce,
    Stmt,
    Store,
    expressions,
    map_expressions,
    statements,
    writes,
)
from ...ir.scope import Scope, accesses, axis_names, guarded_loads, scopes, written_names
from ...ir.text import print_expr
from .lanes import lanes_first
from .step import (
    Step,
    conjuncts,
    edit,
    edit_loops,
    extent,
    fresh,
    mentions,
    need_alloc,
    need_axes,
    nest,
    offset,
    refuse,
)  # fmt: skip

Path = tuple[For | If, ...]
ROOT = "root"


@dataclass(frozen=True)
class Use:
    """One load of the staged buffer: the path down to its statement and the lazy conditions inside the expression."""

    load: Load
    given: tuple[Expr, ...]
    path: Path
    statement: Stmt

    @property
    def conditions(self) -> list[Expr]:
        return [c for h in self.path if isinstance(h, If) for c in conjuncts(h.cond)] + [
            c for g in self.given for c in conjuncts(g)
        ]


def uses_of(body: Body, buffer: str, path: Path = ()) -> list[Use]:
    out: list[Use] = []
    for s in body:
        for e in _read_expressions(s):
            out += [Use(x, given, path, s) for x, given in guarded_loads(e) if x.buffer == buffer]
        if isinstance(s, (For, If)):
            out += uses_of(s.body, buffer, (*path, s))
    return out


def _read_expressions(s: Stmt) -> list[Expr]:
    if isinstance(s, Reduce):
        return [*s.values, *(i for t in (*s.targets, *s.running) for i in t.index)]
    return list(expressions(s))


@dataclass(frozen=True)
class Stage(Step):
    """Copy the part of B that the body of axis `at` loads into a buffer of its own, indexed by `by`, and load from there.

    stage(B, at=k0, by=(k1, j1), space=scratch)
        for k0:                                  ->   for k0:
            for k1: for j1:                               B_s: scratch.f32[K, J]
                if g(j): C += A[..] * B[k, j]             for k1: for j1: B_s[k1, j1] = select(g(j), B[k, j], 0)
                                                          for k1: for j1: if g(j): C += A[..] * B_s[k1, j1]

    Packing, padding and staging in one. `at=root` copies before the top-level nest that loads B. All loads of B there must have the
    same index; `by` must have the axes below `at` in it, in the order wanted. Conditions over the load that use only `by` and outer
    axes become the fill condition. Nothing below `at` may write B.
    """

    buffer: str
    at: str
    by: tuple[str, ...]
    space: str = "scratch"
    name: str = ""

    def apply(self, p: Program) -> Program:
        need_axes(p, (*(() if self.at == ROOT else (self.at,)), *self.by))
        if self.buffer not in p.buffers():
            raise IllegalStep(f"there is no buffer `{self.buffer}`", hint="buffers: " + ", ".join(p.buffers()))
        new = fresh(p, self.name or self.buffer + "_s")
        done: list[Use] = []

        def stage(body: Body) -> Body:
            found = uses_of(body, self.buffer)
            done.extend(found)
            return self._body(p, body, found, new) if found else body

        if self.at == ROOT:
            out = replace(p, body=stage(p.body))
        else:
            out = edit_loops(p, self.at, lambda loop, scope: (replace(loop, body=stage(loop.body)),))
        if not done:
            raise IllegalStep(f"nothing below `{self.at}` loads `{self.buffer}`")
        return out

    def _body(self, p: Program, body: Body, found: list[Use], new: str) -> Body:
        first = found[0]
        box = self._box(p, found)
        self._unwritten(p, body)
        order, owned = lanes_first(self.by, {a: box[a].kind for a in self.by}) if self.space == "local" else (self.by, 0)
        loops = [box[a] for a in order]
        copy = Buffer(new, p.buffers()[self.buffer].dtype, tuple(extent(x) for x in loops), self.space, owned)
        place = Load(new, tuple(offset(x) for x in loops) or (Const(0),))
        if not loops:
            copy = replace(copy, shape=(Const(1),))
        fill = self._fill(p, first, found, axis_names(body))
        value = Op("select", (fill, first.load, _zero(copy.dtype))) if fill != Const(True) else first.load
        staged = (Alloc(copy), *nest(loops, (Store(new, place.index, value),)))
        begin = next(k for k, s in enumerate(body) if uses_of((s,), self.buffer))
        return (*body[:begin], *staged, *_reload(body[begin:], self.buffer, place))

    def _box(self, p: Program, found: list[Use]) -> dict[str, For]:
        """The loops `by`, the same around all uses; the one index of all uses has exactly these inner axes."""
        first = found[0]
        inner = {h.axis: h for h in first.path if isinstance(h, For)}
        for u in found:
            if u.load != first.load:
                raise refuse(
                    p, u.statement, f"`{print_expr(u.load)}` is not `{print_expr(first.load)}`", "all loads must have one index"
                )
            theirs = {h.axis: h for h in u.path if isinstance(h, For)}
            for a in self.by:
                if a not in theirs or (theirs[a].lo, theirs[a].hi) != (inner[a].lo, inner[a].hi):
                    raise refuse(p, u.statement, f"`{a}` is not a loop between `{self.at}` and here, or has other bounds")
        used = names(Op("neg", (first.load,))) & inner.keys()
        if not used <= set(self.by):
            raise refuse(p, first.statement, f"`by` lacks {', '.join(sorted(used - set(self.by)))}")
        for a in self.by:
            if mentions(inner[a].lo, inner) or mentions(inner[a].hi, inner):
                raise refuse(p, first.statement, f"the bounds of `{a}` depend on an axis below `{self.at}`")
        return inner

    def _unwritten(self, p: Program, body: Body) -> None:
        begin = next(k for k, s in enumerate(body) if uses_of((s,), self.buffer))
        for s in statements(body[begin:]):
            if self.buffer in writes(s):
                raise refuse(p, s, f"this writes `{self.buffer}` while a copy would be in use")

    def _fill(self, p: Program, first: Use, found: list[Use], inner: frozenset[str]) -> Expr:
        """Conditions common to all uses that can be asked at the copy."""
        allowed = set(self.by)
        common = [c for c in first.conditions if all(c in u.conditions for u in found)]
        common = [c for c in common if not loads(c) and not mentions(c, inner - allowed)]
        return conjunction(list(dict.fromkeys(common)))


def _zero(dtype: str) -> Const:
    return Const(False) if dtype == "b1" else Const(0)


def _reload(body: Body, buffer: str, place: Load) -> Body:
    return map_expressions(
        body, lambda e: transform(e, lambda n: place if isinstance(n, Load) and n.buffer == buffer else None)
    )


@dataclass(frozen=True)
class SetSpace(Step):
    """Place an allocated buffer in another space; a param may be global or stream.

    set_space(t, shared)     t: local.f32[16]   ->   t: shared.f32[16]
    """

    stage: ClassVar[str] = "structure"

    buffer: str
    space: str

    def apply(self, p: Program) -> Program:
        if self.space not in SPACES:
            raise IllegalStep(f"`{self.space}` is not a space", hint="accepted: " + ", ".join(SPACES))
        if self.space in ("global", "stream") and any(b.name == self.buffer for b in p.params):
            return replace(p, params=tuple(replace(b, space=self.space) if b.name == self.buffer else b for b in p.params))
        need_alloc(p, self.buffer)

        def place(s: Stmt, scope: Scope) -> Body | None:
            if isinstance(s, Alloc) and s.buffer.name == self.buffer:
                return (Alloc(replace(s.buffer, space=self.space, owned=s.buffer.owned if self.space == "local" else 0)),)
            return None

        return edit(p, place)


@dataclass(frozen=True)
class Unguard(Step):
    """Drop the conditions over statements that only write the private buffer, where what they would write besides is never seen.

    unguard(acc)         if i < M: acc[i1] += A_s[i1, k1] * B_s[k1]   ->   acc[i1] += A_s[i1, k1] * B_s[k1]

    A condition on the axes of acc's index goes when every read of acc elsewhere stands under the same condition. Any other condition
    goes when all loads of the value are zero-filled under it by `stage` and the value is then exactly 0 in a sum.
    """

    buffer: str

    def apply(self, p: Program) -> Program:
        need_alloc(p, self.buffer)
        plan = _Plan(p, self.buffer)
        dropped: list[Expr] = []

        def drop(s: Stmt, scope: Scope) -> Body | None:
            if not isinstance(s, If) or not plan.private(s):
                return None
            kept = [c for c in conjuncts(s.cond) if not plan.drops(c, s)]
            if len(kept) == len(conjuncts(s.cond)):
                return None
            dropped.append(s.cond)
            inside = tuple(x for q in s.body for x in (drop(q, scope) or (_inside(q, drop, scope),)))
            return (If(conjunction(kept), inside),) if kept else inside

        out = edit(p, drop)
        if not dropped:
            raise IllegalStep(
                f"no condition over writes to `{self.buffer}` can be dropped", hint="stage what is loaded there first"
            )
        return out


def _inside(s: Stmt, drop, scope: Scope) -> Stmt:
    if isinstance(s, (For, If)):
        return replace(s, body=tuple(x for q in s.body for x in (drop(q, scope) or (_inside(q, drop, scope),))))
    return s


class _Plan:
    """What is known about the private buffer: its reads with their conditions, and which buffers are zero where."""

    def __init__(self, p: Program, buffer: str):
        self.buffer = buffer
        self.reads = [(a, scope) for s, scope in scopes(p) for a in accesses(s) if a.place.buffer == buffer and a.mode == "r"]
        self.filled = _filled(p)
        self.fixed = _outer_axes(p, buffer)

    def private(self, s: If) -> bool:
        """Only the private buffer is written below."""
        return written_names(s.body) == {self.buffer}

    def drops(self, c: Expr, s: If) -> bool:
        return all(self._unseen(c, x) or self._zero(c, x) for x in statements(s.body) if isinstance(x, (Store, Reduce)))

    def _unseen(self, c: Expr, s: Store | Reduce) -> bool:
        """Every read elsewhere stands under this condition, said of the element that it reads."""
        index = s.index if isinstance(s, Store) else s.targets[0].index
        if (
            (isinstance(s, Reduce) and (len(s.targets) > 1 or s.running))
            or loads(c)
            or not names(c) <= self.fixed | names(Op("neg", index))
        ):
            return False
        return all(self._same_condition(c, index, a.place.index, scope, a.given) for a, scope in self.reads)

    def _same_condition(
        self, c: Expr, index: tuple[Expr, ...], read: tuple[Expr, ...], scope: Scope, given: tuple[Expr, ...]
    ) -> bool:
        env = {i.name: r for i, r in zip(index, read) if isinstance(i, Var)}
        if any(not isinstance(i, Var) and i != r for i, r in zip(index, read)):
            return False
        held = [x for f in (*scope.facts, *given) for x in conjuncts(f)]
        return simplify(substitute(c, env)) in [simplify(x) for x in held]

    def _zero(self, c: Expr, s: Store | Reduce) -> bool:
        """Without the condition the value would be a sum's 0, made of zero-filled loads and constants alone."""
        if not isinstance(s, Reduce) or s.monoid != "add" or s.running:
            return False
        value = transform(s.values[0], lambda n: Const(0.0) if isinstance(n, Load) and self._is_filled(n, c) else None)
        return _number(value) == 0.0

    def _is_filled(self, load: Load, c: Expr) -> bool:
        if load.buffer not in self.filled:
            return False
        index, conditions = self.filled[load.buffer]
        env = {i.name: x for i, x in zip(index, load.index) if isinstance(i, Var)}
        return simplify(c) in [simplify(substitute(q, env)) for q in conditions]


def _filled(p: Program) -> dict[str, tuple[tuple[Expr, ...], list[Expr]]]:
    """Buffers written once, by `B[axes] = select(condition, .., 0)`: the axes and the conjuncts of the condition."""
    found: dict[str, list[Stmt]] = {}
    for s in statements(p.body):
        for name in writes(s):
            found.setdefault(name, []).append(s)
    out = {}
    for name, stmts in found.items():
        s = stmts[0]
        if len(stmts) == 1 and isinstance(s, Store) and _is_fill(s.value) and _is_plain(s.index):
            fixed = _outer_axes(p, name) | names(Op("neg", s.index))
            out[name] = (s.index, [c for c in conjuncts(s.value.args[0]) if names(c) <= fixed])  # type: ignore[union-attr]
    return out


def _is_fill(e: Expr) -> bool:
    return isinstance(e, Op) and e.name == "select" and _number(e.args[2]) == 0


def _is_plain(index: tuple[Expr, ...]) -> bool:
    return all(isinstance(i, Var) for i in index) and len(set(index)) == len(index)


def _outer_axes(p: Program, buffer: str) -> frozenset[str]:
    """Names that mean the same wherever the buffer is in scope: dims and the axes around its allocation."""
    dims = frozenset(d.name for d in p.dims)
    for s, scope in scopes(p):
        if isinstance(s, Alloc) and s.buffer.name == buffer:
            return dims | {loop.axis for loop in scope.loops}
    return dims


def _number(e: Expr) -> float | None:
    """The value of an expression of constants under + - * and neg and casts, None for anything else."""
    if isinstance(e, Const) and not isinstance(e.value, bool):
        return float(e.value)
    if isinstance(e, Cast):
        return _number(e.value)
    if not isinstance(e, Op) or e.name not in ("+", "-", "*", "neg"):
        return None
    kids = [_number(a) for a in e.args]
    if any(k is None for k in kids):
        return None
    a, *b = [k for k in kids if k is not None]
    return {"+": lambda: a + b[0], "-": lambda: a - b[0], "*": lambda: a * b[0], "neg": lambda: -a}[e.name]()
