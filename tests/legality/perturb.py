"""Near misses: a legal program comes in, a legal program that differs in one place goes out, so that a script written for the first meets
what its steps must refuse, or must not get wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from warploom.ir.diagnostic import IllegalProgram, TypeMismatch
from warploom.ir.expr import Const, Expr, Load, Op, Var, walk
from warploom.ir.kernel import Alloc, Body, For, If, Program, Reduce, Stmt, Store, expressions, map_expressions, statements
from warploom.ir.verify import verify


def perturbed(r: random.Random, p: Program, tries: int = 20) -> Program | None:
    """`p` with one or two random changes, legal again; None when no try gave one."""
    for _ in range(tries):
        q = p
        for _ in range(r.choice([1, 1, 2])):
            q = _CHANGES[r.randrange(len(_CHANGES))](r, q)
        if q == p:
            continue
        try:
            verify(q)
        except (IllegalProgram, TypeMismatch):
            continue
        return q
    return None


def _statements(r: random.Random, p: Program, kind: tuple[type, ...] | type) -> Stmt | None:
    found = [s for s in statements(p.body) if isinstance(s, kind)]
    return r.choice(found) if found else None


def _edit(body: Body, target: Stmt, new: Callable[[Body, int], Body]) -> Body:
    """`new(body, k)` where the statement k of some body is `target`."""
    for k, s in enumerate(body):
        if s is target:
            return new(body, k)
    return tuple(replace(s, body=_edit(s.body, target, new)) if isinstance(s, (For, If)) else s for s in body)


def _replaced(p: Program, target: Stmt, *new: Stmt) -> Program:
    return replace(p, body=_edit(p.body, target, lambda b, k: (*b[:k], *new, *b[k + 1 :])))


def _expression(r: random.Random, p: Program) -> Program:
    """One node of one expression becomes another."""
    s = _statements(r, p, (Store, Reduce, If, For))
    if s is None:
        return p
    nodes = [n for e in expressions(s) for n in walk(e)]
    target = r.choice(nodes)
    new = _other(r, p, target)
    hit = r.randrange(sum(n is target or n == target for n in nodes))
    seen = iter(range(len(nodes)))

    def swap(e: Expr) -> Expr:
        from warploom.ir.expr import transform

        return transform(e, lambda n: new if n == target and next(seen) == hit else None)

    whole = isinstance(s, (For, If))
    (changed,) = map_expressions((replace(s, body=()) if whole else s,), swap) if _places_stay(s, target, new) else (s,)
    return _replaced(p, s, replace(changed, body=s.body) if whole else changed)  # type: ignore[call-arg]


def _places_stay(s: Stmt, target: Expr, new: Expr) -> bool:
    return not (isinstance(s, Reduce) and target in (*s.targets, *s.running) and not isinstance(new, Load))


def _other(r: random.Random, p: Program, e: Expr) -> Expr:
    axes = [s.axis for s in statements(p.body) if isinstance(s, For)] + [d.name for d in p.dims]
    if isinstance(e, Var):
        return r.choice([Var(r.choice(axes)), Const(0), Op("+", (e, Const(1))), Op("-", (e, Const(1))), Op("*", (e, Const(2))), Op("//", (e, Const(2)))])
    if isinstance(e, Const):
        return Const(r.choice([0, 1, 2, 0.0, 1.0, -1.0, float("-inf")]))
    if isinstance(e, Load):
        same = [b.name for b in p.buffers().values() if len(b.shape) == len(e.index)]
        if r.random() < 0.3:
            return Op(r.choice(["+", "*", "max"]), (e, Const(1.0)))
        return Load(r.choice(same or [e.buffer]), e.index if r.random() < 0.7 else tuple(reversed(e.index)))
    if isinstance(e, Op) and len(e.args) == 2:
        names = {"<": "<=", "<=": "<", "==": "<", "and": "or", "or": "and", "//": "%", "%": "//"}
        return r.choice([Op(names.get(e.name, r.choice(["+", "-", "*", "max"])), e.args), Op(e.name, (e.args[1], e.args[0])), e.args[0]])
    return Op("neg", (e,)) if not isinstance(e, Op) or e.name not in ("not", "select") else e


def _bounds(r: random.Random, p: Program) -> Program:
    s = _statements(r, p, For)
    if not isinstance(s, For):
        return p
    outer = [x.axis for x in statements(p.body) if isinstance(x, For) and any(y is s for y in statements(x.body))]
    ends = [replace(s, hi=Op("-", (s.hi, Const(1)))), replace(s, lo=Const(1)), replace(s, hi=Const(r.choice([1, 2, 4, 8])))]
    ends += [replace(s, lo=Var(r.choice(outer))), replace(s, hi=Op("+", (Var(r.choice(outer)), Const(1))))] if outer else []
    return _replaced(p, s, r.choice(ends))


def _kind(r: random.Random, p: Program) -> Program:
    s = _statements(r, p, For)
    return _replaced(p, s, replace(s, kind=r.choice(["serial", "block", "lanes", "vector", "unroll"]))) if isinstance(s, For) else p


def _monoid(r: random.Random, p: Program) -> Program:
    s = _statements(r, p, Reduce)
    if not isinstance(s, Reduce) or len(s.targets) > 1:
        return p
    if r.random() < 0.4:
        return _replaced(p, s, replace(s, running=s.targets if not s.running and r.random() < 0.3 else ()))
    return _replaced(p, s, replace(s, monoid=r.choice(["add", "max", "min", "mul"])))


def _store(r: random.Random, p: Program) -> Program:
    """A store becomes a reduce, or the other way."""
    s = _statements(r, p, (Store, Reduce))
    if isinstance(s, Store):
        return _replaced(p, s, Reduce(r.choice(["add", "max"]), (Load(s.buffer, s.index),), (s.value,)))
    if isinstance(s, Reduce) and len(s.targets) == 1:
        return _replaced(p, s, Store(s.targets[0].buffer, s.targets[0].index, s.values[0]))
    return p


def _again(r: random.Random, p: Program) -> Program:
    """A statement once more, right after itself or elsewhere."""
    s, at = _statements(r, p, (Store, Reduce)), _statements(r, p, (Store, Reduce, For))
    if s is None or at is None:
        return p
    extra = s if r.random() < 0.5 or not isinstance(s, Store) else replace(s, value=_other(r, p, s.value))
    before = r.random() < 0.5
    return replace(p, body=_edit(p.body, at, lambda b, k: (*b[:k], extra, *b[k:]) if before else (*b[: k + 1], extra, *b[k + 1 :])))


def _gone(r: random.Random, p: Program) -> Program:
    s = _statements(r, p, (Store, Reduce, If))
    return _replaced(p, s, *(s.body if isinstance(s, If) else ())) if s is not None else p


def _guard(r: random.Random, p: Program) -> Program:
    s = _statements(r, p, (Store, Reduce, For))
    axes = [x.axis for x in statements(p.body) if isinstance(x, For)]
    if s is None or not axes:
        return p
    loads = [n for x in statements(p.body) for e in expressions(x) for n in walk(e) if isinstance(n, Load)]
    cond = Op(r.choice(["<", ">=", "!="]), (Var(r.choice(axes)), Const(r.choice([1, 2, 3]))))
    if loads and r.random() < 0.3:
        cond = Op("<", (r.choice(loads), Const(1.0)))
    return _replaced(p, s, If(cond, (s,)))


def _swap(r: random.Random, p: Program) -> Program:
    s = _statements(r, p, (Store, Reduce, For, If))
    if s is None:
        return p
    return replace(p, body=_edit(p.body, s, lambda b, k: (*b[:k], b[k + 1], s, *b[k + 2 :]) if k + 1 < len(b) else b))


def _wrap(r: random.Random, p: Program) -> Program:
    """One more loop around a statement, whose axis nothing uses."""
    s = _statements(r, p, (Store, Reduce, For))
    return _replaced(p, s, For("w", Const(0), Const(2), r.choice(["serial", "serial", "block"]), (s,))) if s is not None else p


def _space(r: random.Random, p: Program) -> Program:
    s = _statements(r, p, Alloc)
    return _replaced(p, s, Alloc(replace(s.buffer, space=r.choice(["local", "shared", "scratch"])))) if isinstance(s, Alloc) else p


def _outside(r: random.Random, p: Program) -> Program:
    """An allocation moves to the top."""
    s = _statements(r, p, Alloc)
    if s is None:
        return p
    q = _replaced(p, s)
    return replace(q, body=(s, *q.body))


_CHANGES = (
    _expression, _expression, _expression, _expression, _bounds, _bounds, _kind, _monoid, _store, _again, _again, _gone, _guard, _guard,
    _swap, _wrap, _space, _outside,
)  # fmt: skip
