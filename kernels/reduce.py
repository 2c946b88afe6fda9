"""Makes a failing case small: a case and its way of failing come in, a smaller case that fails the same way goes out.

Greedy delta debugging (Zeller and Hildebrandt, 2002) over the program itself: statements, loops, conditions, expressions, sizes, params,
schedule steps, graph nodes. A candidate that is not a legal program fails in another way and is dropped by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..ir.expr import Cast, Const, Expr, Load, Op, as_int, children, loads, names, rebuild, simplify, substitute
from ..ir.graph import Graph, Input, operands
from ..ir.kernel import (
    Alloc,
    Body,
    Call,
    For,
    If,
    Program,
    Reduce,
    Stmt,
    Store,
    expressions,
    map_expressions,
    statements,
    substitute_axes,
    writes,
)
from ..passes.schedule.script import parse_script, print_script
from .replay import Case, GraphCase, KernelCase, Outcome

QUICK = ("-O1",)  # what fails with little optimisation too is reduced with little


@dataclass
class Reducer:
    """`budget_s`: when to stop with what there is. `tried` counts the candidates that were run."""

    wanted: Outcome
    budget_s: float = 60.0
    tried: int = 0

    def __post_init__(self) -> None:
        self.end = time.monotonic() + self.budget_s
        self.seen: set[str] = set()

    def reduce(self, case: Case) -> Case:
        """The smallest case found; every step towards it failed as `wanted` does."""
        quick = replace(case, flags=QUICK) if isinstance(case, KernelCase) else case
        if self.check(quick).like(self.wanted):
            case = quick
        while time.monotonic() < self.end:
            smaller = next((c for c in candidates(case) if self.fails(c)), None)
            if smaller is None:
                break
            case = smaller
        return replace(case, flags=()) if isinstance(case, KernelCase) else case

    def fails(self, case: Case) -> bool:
        if time.monotonic() > self.end:
            return False
        text = case.text()
        if text in self.seen:
            return False
        self.seen.add(text)
        self.tried += 1
        return self.check(case).like(self.wanted)

    def check(self, case: Case) -> Outcome:
        if isinstance(case, KernelCase) and self.wanted.kind == "step":
            return case.check(native=False)  # nothing needs to be built
        return case.check()


def candidates(case: Case) -> Iterator[Case]:
    """Smaller cases, those first that take most away."""
    if isinstance(case, GraphCase):
        yield from (replace(case, graph=g) for g in smaller_graphs(case.graph))
        return
    yield from _fewer_steps(case)
    yield from (replace(case, program=p, scheduled=None) for p in smaller_programs(case.program)) if case.scheduled is None else ()
    if case.scheduled is not None:  # no script leads to it: it stands for itself
        yield replace(case, program=case.scheduled, scheduled=None, script="")
    for name, n in case.dims.items():
        yield from (replace(case, dims={**case.dims, name: m}) for m in (1, 2, 3, n // 2, n - 1) if 0 < m < n)


def _fewer_steps(case: KernelCase) -> Iterator[KernelCase]:
    if case.script and case.scheduled is None:
        steps = parse_script(case.script)
        half = len(steps) // 2
        cuts = [(), steps[:half], *(steps[:k] + steps[k + 1 :] for k in reversed(range(len(steps))))]
        yield from (replace(case, script=print_script(c)) for c in cuts)


# ------------------------------------------------------------------------------------------------ programs
def smaller_programs(p: Program) -> Iterator[Program]:
    yield from (replace(p, body=b) for b in _without_statements(p.body))
    yield from _smaller_sizes(p)
    yield from (replace(p, body=b) for b in _unwrapped(p.body))
    yield from _without_params(p)
    yield from (replace(p, body=b) for b in _simpler(p.body))


def _everywhere(body: Body, f: Callable[[Stmt], Iterator[Body]]) -> Iterator[Body]:
    """`body` with one statement, at any depth, replaced by each of what `f` gives for it."""
    for k, s in enumerate(body):
        yield from ((*body[:k], *new, *body[k + 1 :]) for new in f(s))
        if isinstance(s, (For, If)):
            yield from ((*body[:k], replace(s, body=inner), *body[k + 1 :]) for inner in _everywhere(s.body, f))


def _without_statements(body: Body) -> Iterator[Body]:
    for found in _everywhere(body, lambda s: iter(((),))):
        kept = _cleaned(found)
        if kept:
            yield kept


def _cleaned(body: Body) -> Body:
    """Without loops around nothing and without allocations that nothing uses."""
    used = {x.buffer for s in statements(body) for e in expressions(s) for x in loads(e)} | {n for s in statements(body) for n in writes(s)}
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, (For, If)):
            s = replace(s, body=_cleaned(s.body))
            if not s.body:
                continue
        if isinstance(s, Alloc) and s.buffer.name not in used and not any(isinstance(x, Call) for x in statements(body)):
            continue
        out.append(s)
    return tuple(out)


def _unwrapped(body: Body) -> Iterator[Body]:
    def without(s: Stmt) -> Iterator[Body]:
        if isinstance(s, For):
            yield substitute_axes(s.body, {s.axis: s.lo})
            if s.kind != "serial":
                yield (replace(s, kind="serial"),)
        elif isinstance(s, If):
            yield s.body

    return ((map_expressions(b, simplify)) for b in _everywhere(body, without))


def _smaller_sizes(p: Program) -> Iterator[Program]:
    """A number of some shape or bound becomes smaller wherever it stands."""
    sizes = {n for b in p.params for e in b.shape if (n := as_int(e)) is not None}
    sizes |= {n for s in statements(p.body) if isinstance(s, For) and (n := as_int(s.hi)) is not None}
    for n in sorted(sizes, reverse=True):
        for m in sorted({m for m in (1, 2, 4, 8, 16, n // 4, n // 2, n - 1) if 0 < m < n}):

            def small(e: Expr, n: int = n, m: int = m) -> Expr:
                return rebuild(e, tuple(small(k, n, m) for k in children(e))) if e != Const(n) else Const(m)

            params = tuple(replace(b, shape=tuple(small(e) for e in b.shape)) for b in p.params)
            yield replace(p, params=params, body=map_expressions(p.body, small))


def _without_params(p: Program) -> Iterator[Program]:
    used = {x.buffer for s in statements(p.body) for e in expressions(s) for x in loads(e)} | {n for s in statements(p.body) for n in writes(s)}
    kept = tuple(b for b in p.params if b.name in used)
    mentioned = {n for b in kept for e in (*b.shape, *(b.within or ())) for n in names(e)}
    mentioned |= {n for s in statements(p.body) for e in expressions(s) for n in names(e)}
    dims = tuple(d for d in p.dims if d.name in mentioned)
    if kept != p.params or dims != p.dims:
        yield replace(p, params=kept, dims=dims)
    for d in p.dims:
        env: dict[str, Expr] = {d.name: Const(max(d.lo, 2))}
        params = tuple(replace(b, shape=tuple(simplify(substitute(e, env)) for e in b.shape)) for b in p.params)
        yield replace(p, dims=tuple(x for x in p.dims if x != d), params=params, body=substitute_axes(p.body, env))


def _simpler(body: Body) -> Iterator[Body]:
    """One value becomes one of its parts, or a number (what is read of buffers made here first: then they go); a sum becomes its last term."""
    made = frozenset(s.buffer.name for s in statements(body) if isinstance(s, Alloc))

    def values(s: Stmt) -> Iterator[Body]:
        if isinstance(s, Store):
            yield from ((replace(s, value=v),) for v in (*_parts(s.value, made), *_parts(s.value)))
        elif isinstance(s, Reduce):
            if len(s.targets) == 1 and not s.running:
                yield (Store(s.targets[0].buffer, s.targets[0].index, s.values[0]),)
            for k, value in enumerate(s.values):
                yield from ((replace(s, values=(*s.values[:k], v, *s.values[k + 1 :])),) for v in _parts(value))
        elif isinstance(s, If):
            yield from ((replace(s, cond=c),) for c in _parts(s.cond))

    return _everywhere(body, values)


def _parts(e: Expr, read: frozenset[str] | None = None) -> Iterator[Expr]:
    """`read`: the buffers whose elements become a number; None: those of all, and operators become one of their operands."""
    if isinstance(e, Load) and (read is None or e.buffer in read):
        yield Const(1)
    if not isinstance(e, (Op, Cast)):
        return
    if read is None:
        yield from children(e)
    for k, kid in enumerate(children(e)):
        kids = children(e)
        yield from (rebuild(e, (*kids[:k], part, *kids[k + 1 :])) for part in _parts(kid, read))


# ------------------------------------------------------------------------------------------------ graphs
def smaller_graphs(g: Graph) -> Iterator[Graph]:
    """One value as the only output; a value as an input instead of a result; what is not needed goes."""
    if g.updates:
        yield _needed(replace(g, updates=()))
    for node in g.nodes:
        for v in node.outputs:
            if g.outputs != (v.name,):
                yield _needed(replace(g, outputs=(v.name,), updates=()))
    for k, node in reversed(list(enumerate(g.nodes))):
        if any(v.name in g.outputs for v in node.outputs):
            continue
        inputs = tuple(Input(v.name, v.type, "input") for v in node.outputs)
        yield _needed(replace(g, inputs=(*g.inputs, *inputs), nodes=(*g.nodes[:k], *g.nodes[k + 1 :])))


def _needed(g: Graph) -> Graph:
    """The graph without nodes and inputs that its outputs do not need."""
    wanted = set(g.outputs) | {v for _, v in g.updates}
    nodes = []
    for node in reversed(g.nodes):
        if any(v.name in wanted for v in node.outputs):
            nodes.append(node)
            wanted |= set(operands(node.op))
    return replace(g, nodes=tuple(reversed(nodes)), inputs=tuple(i for i in g.inputs if i.name in wanted))
