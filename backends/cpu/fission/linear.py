"""Kernels without barriers in which a thread is one element: loops over elements instead of blocks and threads.

`i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) ...`  ->  `for (i = 0; i < n; ++i) ...`

With the launch known, indices such as `bx * 4 + (tx >> 8)` are quotients of the element's number, a guard on them is the loop's bound,
and divisions by constants become a nest of loops (`digits`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ....frontend.cuda import tree as t
from . import digits, registers
from .fold import fold, number
from .inline import assigned
from .places import Places
from .quotients import Quotients
from .rounds import one_round
from .shape import element_loops
from .sync import COLLECTIVES, UNSUPPORTED
from .uniform import own_escapes


@dataclass
class Elements:
    """`for (name = 0; name < bound; ++name) body`; `most`: the bound where it is a number."""

    name: str
    bound: t.Expr
    body: t.Body

    @property
    def most(self) -> int | None:
        return number(self.bound)


def linear_loop(kernel: t.Function, places: Places, geometry: Any, waits: Callable[[Any], bool]) -> list[Any] | None:
    """The statements, or None where the kernel is not of this form."""
    if waits(kernel.body) or _has_other(kernel.body):
        return None
    found = _elements(kernel, places, geometry)
    if found is None:
        return None
    found = _strided(found) or _guarded(_all_rounds(found))
    if _reads_places(found, places) or any(isinstance(n, t.Return) for n in t.walk(found.body)):
        return None
    body = registers.accumulate(found.body, {p.name: p for p in kernel.params})
    if found.most is None:
        return element_loops([(found.name, found.bound)], body)
    nest = digits.nest(found.name, found.most, body)
    return element_loops([(name, t.Literal(str(extent))) for name, extent in nest.loops], nest.body)


def _all_rounds(e: Elements) -> Elements:
    found = one_round(e.name, e.most, e.body) if e.most is not None else None
    return e if found is None else Elements(e.name, t.Literal(str(found[0])), found[1])


def _has_other(body: t.Body) -> bool:
    """Shared memory or an exchange: the form of `split`."""
    for n in t.walk(body):
        if isinstance(n, t.Declare) and ("__shared__" in n.qualifiers or "static" in n.qualifiers):
            return True
        if isinstance(n, t.Call) and (t.called(n) in COLLECTIVES or t.called(n) in UNSUPPORTED):
            return True
    return False


def _reads_places(found: Elements, places: Places) -> bool:
    return bool(t.names((*found.body, t.Evaluate(found.bound))) & (places.all - {found.name}))


def _elements(kernel: t.Function, places: Places, g: Any) -> Elements | None:
    """One loop variable for block and thread, where they are used together only."""
    grid: list[int] = list(g.grid or [])
    size: list[int] = list(g.block or [])
    known = bool(grid and size)
    if set(places.thread) - {"x"} or set(places.block) - {"x"}:
        return None
    if known and (grid[1] * grid[2] * size[1] * size[2] != 1):
        return None
    if not known and not (g.grid_axes == g.block_axes == "x"):
        return None
    thread, block = places.thread.get("x", ""), places.block.get("x", "")
    name, body = _named(kernel.body, thread, block, g)
    if name is None:
        return None
    if known:
        quotients = Quotients(name, thread, block, size[0], grid[0])
        return Elements(name, t.Literal(str(grid[0] * size[0])), quotients.body(body))
    total = t.Binary("*", t.Cast("int64_t", t.Member(t.Name("gridDim"), ".", "x")), t.Member(t.Name("blockDim"), ".", "x"))
    return Elements(name, total, body)


def _named(body: t.Body, thread: str, block: str, g: Any) -> tuple[str | None, t.Body]:
    """The element's name, and the body with it in place of `block * size + thread`."""
    size = t.Literal(str(g.block[0])) if g.block is not None else t.Member(t.Name("blockDim"), ".", "x")
    wanted = t.Binary("+", t.Binary("*", t.Name(block), size), t.Name(thread))
    forms = _orders(wanted)
    if not block:  # every block does the same
        forms = [t.Name(thread)] if thread and g.grid is not None and g.grid[0] == 1 else []
    if g.block is not None and g.block[0] == 1 and block:
        forms = [t.Name(block)]
    made = [n.declarators[0].name for n in body if isinstance(n, t.Declare) and _declares(n, forms)]
    name = next((n for n in made if n not in assigned(body)), "")
    fresh = name or _fresh("i", body)

    def change(n: Any) -> Any:
        if isinstance(n, t.Declare) and name and n.declarators[0].name == name:
            return ()
        return t.Name(fresh) if n in forms else n

    changed = t.rewrite(body, change)
    if g.block is None and t.names(changed) & {thread, block}:
        return None, body
    return fresh, changed


def _declares(n: Any, forms: list[Any]) -> bool:
    return isinstance(n, t.Declare) and len(n.declarators) == 1 and n.declarators[0].init in forms and not n.declarators[0].mark and n.type != "unsigned"


def _orders(e: t.Binary) -> list[Any]:
    product = e.left
    assert isinstance(product, t.Binary)
    turned = t.Binary("*", product.right, product.left)
    return [t.Binary("+", a, b) for p in (product, turned) for a, b in ((p, e.right), (e.right, p))]


def _fresh(name: str, body: t.Body) -> str:
    taken = t.names(body) | {d.name for n in t.walk(body) if isinstance(n, t.Declare) for d in n.declarators}
    while name in taken:
        name += "_"
    return name


# --- guards


def _guarded(e: Elements) -> Elements:
    """A guard around, or an early return in front of, everything becomes the bound of the loop."""
    body = tuple(s for s in e.body)
    lead = [s for s in body if isinstance(s, t.Comment)]
    rest = [s for s in body if not isinstance(s, t.Comment)]
    declares = []
    while rest and isinstance(rest[0], t.Declare) and _harmless(rest[0]):
        declares.append(rest.pop(0))
    if not rest or not isinstance(rest[0], t.If):
        return e
    first = rest[0]
    limits = [_limit(c, e.name) for c in _conjuncts(first.cond)]
    if not first.orelse and len(rest) == 1 and limits and limits[0] is not None and not t.names((limits[0],)) & _declared(declares):
        others = _conjuncts(first.cond)[1:]
        inner = first.then if not others else (t.If(_joined(others), first.then),)
        return replace(e, bound=_smaller(limits[0], e.bound), body=_in_order(body, first, (*declares, *inner), lead))
    if first.then == (t.Return(),) and not first.orelse:
        limit = _limit(_negation(first.cond), e.name)
        if limit is not None and not t.names((limit,)) & _declared(declares):
            return replace(e, bound=_smaller(limit, e.bound), body=tuple(s for s in body if s is not first))
    stripped = _everywhere(first.cond, tuple(s for s in body if s not in declares))
    limit = _limit(first.cond, e.name)
    if stripped is not None and limit is not None and not t.names((limit,)) & _declared(declares):
        return replace(e, bound=_smaller(limit, e.bound), body=(*declares, *stripped))
    return e


def _in_order(body: t.Body, first: Any, inner: t.Body, lead: list[Any]) -> t.Body:
    return (*lead, *inner) if lead else inner


def _harmless(s: t.Declare) -> bool:
    return not any(isinstance(n, (t.Index, t.Assign)) or (isinstance(n, t.Unary) and n.op in ("++", "--", "*")) for n in t.walk((s,)))


def _declared(statements: list[Any]) -> set[str]:
    return {s.declarators[0].name for s in statements}


def _everywhere(cond: t.Expr, body: t.Body) -> t.Body | None:
    """The body without its guards, where everything that does something stands under the guard `cond`."""
    out: list[Any] = []
    for s in body:
        if isinstance(s, t.If) and s.cond == cond and not s.orelse:
            out += s.then
        elif isinstance(s, t.For) and not (t.names((cond,)) & assigned((s,))):
            inner = _everywhere(cond, s.body)
            if inner is None:
                return None
            out.append(replace(s, body=inner))
        elif isinstance(s, t.Comment) or (isinstance(s, t.Declare) and _harmless(s)):
            out.append(s)
        else:
            return None
    return tuple(out)


def _limit(cond: t.Expr, name: str) -> t.Expr | None:
    """`n` of `name < n`; `75 * 16` of `name / 16 < 75`."""
    if not isinstance(cond, t.Binary):
        return None
    left, op, right = cond.left, cond.op, cond.right
    if op in (">", ">="):
        left, right, op = right, left, {">": "<", ">=": "<="}[op]
    if op not in ("<", "<=") or name in t.names((right,)) or any(isinstance(n, (t.Index, t.Call)) for n in t.walk((right,))):
        return None
    limit = right if op == "<" else t.Binary("+", right, t.Literal("1"))
    if left == t.Name(name):
        return fold(limit)
    if isinstance(left, t.Binary) and left.op == "/" and left.left == t.Name(name) and number(left.right):
        return fold(t.Binary("*", limit, left.right))
    return None


def _negation(e: t.Expr) -> t.Expr:
    turned = {">=": "<", ">": "<=", "<=": ">", "<": ">="}
    return t.Binary(turned[e.op], e.left, e.right) if isinstance(e, t.Binary) and e.op in turned else t.Unary("!", e)


def _conjuncts(e: t.Expr) -> tuple[t.Expr, ...]:
    return (*_conjuncts(e.left), *_conjuncts(e.right)) if isinstance(e, t.Binary) and e.op == "&&" else (e,)


def _joined(parts: tuple[t.Expr, ...]) -> t.Expr:
    cond = parts[0]
    for p in parts[1:]:
        cond = t.Binary("&&", cond, p)
    return cond


def _smaller(a: t.Expr, b: t.Expr) -> t.Expr:
    x, y = number(a), number(b)
    if x is not None and y is not None:
        return a if x <= y else b
    return t.Call(t.Name("std::min<int64_t>"), (a, b))


# --- loops that stride over the grid


def _strided(e: Elements) -> Elements | None:
    """`for (j = i; j < n; j += all threads) body` and nothing else: every j below n once."""
    statements = [s for s in e.body if not isinstance(s, t.Comment)]
    declares = []
    while len(statements) > 1 and isinstance(statements[0], t.Declare) and _harmless(statements[0]):
        declares.append(statements.pop(0))
    if len(statements) != 1 or not isinstance(statements[0], t.For):
        return None
    loop = statements[0]
    if not isinstance(loop.init, t.Declare) or loop.init.declarators[0].init != t.Name(e.name):
        return None
    name = loop.init.declarators[0].name
    strides = {d.declarators[0].name: d.declarators[0].init for d in declares}
    if not isinstance(loop.step, t.Assign) or loop.step.op != "+=" or loop.step.target != t.Name(name):
        return None
    step = strides.get(loop.step.value.text, loop.step.value) if isinstance(loop.step.value, t.Name) else loop.step.value
    if not _is_total(step, e.bound):
        return None
    limit = _limit(loop.cond, name) if loop.cond is not None else None
    if limit is None or name in assigned(loop.body) or own_escapes(loop.body) or t.names((limit,)) & (assigned(loop.body) | _declared(declares)):
        return None
    used = t.names(loop.body)
    kept = [d for d in declares if d.declarators[0].name in used]
    if e.name in used or any(e.name in t.names((d,)) for d in kept):
        return None
    return Elements(name, limit, (*kept, *loop.body))


def _is_total(step: t.Expr | None, total: t.Expr) -> bool:
    """Whether a stride is the number of all threads."""
    if step == total:
        return True
    sizes = {t.Member(t.Name("gridDim"), ".", "x"), t.Member(t.Name("blockDim"), ".", "x")}
    return isinstance(step, t.Binary) and step.op == "*" and {step.left, step.right} == sizes
