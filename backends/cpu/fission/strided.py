"""Loops that stride over the block: `for (i = tx; i < n; i += blockDim.x)`. Items come in, items with such loops turned inside out go out.

Each thread of a GPU visits every n-th element; on a CPU the threads of one stride lie together, so the stride becomes the outer loop
and the threads the inner one. Between barriers threads do not see each other, so any such order is one that the GPU might take.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ....frontend.cuda import tree as t
from .fold import steps
from .inline import assigned
from .split import Choice, Loop, Region
from .uniform import Uniform, own_escapes


@dataclass
class Strided:
    """`for (name = thread + start; name < stop; name += step) body` for all threads."""

    name: str
    type: str
    start: t.Expr | None
    stop: t.Expr
    step: t.Expr
    body: list[Any]
    guards: tuple[t.Expr, ...]


def turn(items: list[Any], uniform: Uniform, thread: str, linear: frozenset[str] = frozenset()) -> list[Any]:
    """Takes strided loops out of their regions. `thread`: the loop variable of a one-dimensional block."""
    out: list[Any] = []
    for item in items:
        if isinstance(item, Region):
            out += _region(item, uniform, thread)
        elif isinstance(item, Loop):
            out.append(replace(item, items=turn(item.items, uniform, thread)))
        elif isinstance(item, Choice):
            out.append(replace(item, then=turn(item.then, uniform, thread), orelse=turn(item.orelse, uniform, thread)))
        else:
            out.append(item)
    return out


def _region(region: Region, uniform: Uniform, thread: str) -> list[Any]:
    out: list[Any] = []
    held: list[Any] = []
    if any(own_escapes((s,)) for s in region.body):
        return [region]
    for s in region.body:
        found = _strided(s, uniform, thread, region.guards)
        if found is None and _across(s, uniform, thread):
            if held:
                out.append(Region(held, region.guards))
            out.append(Loop(replace(s, body=()), [Region(list(s.body), region.guards)]))
            held = []
            continue
        if found is None:
            held.append(s)
            continue
        comments = []
        while held and isinstance(held[-1], t.Comment):
            comments.insert(0, held.pop())
        if held:
            out.append(Region(held, region.guards))
        found.body = [*found.body]
        out += [*(Region([c], ()) for c in comments), found]
        held = []
    return [*out, Region(held, region.guards)] if held else out


def _across(s: Any, uniform: Uniform, thread: str) -> bool:
    """A loop of each thread, the same for all, in which neighbouring threads read neighbouring elements: better as the outer loop."""
    if not isinstance(s, t.For) or not isinstance(s.init, t.Declare) or len(s.init.declarators) != 1 or s.cond is None or s.step is None:
        return False
    d = s.init.declarators[0]
    head = [e for e in (d.init, _without(s.cond, d.name), _without(s.step, d.name)) if e is not None]
    if not all(uniform.uniform(e) for e in head) or d.name in assigned(s.body) or own_escapes(s.body):
        return False
    if any(isinstance(n, (t.For, t.While, t.DoWhile)) for n in t.walk(s.body)):
        return False
    indices = [n.index for n in t.walk(s.body) if isinstance(n, t.Index) and not isinstance(n.base, t.Index)]
    along = [i for i in indices if steps(i, d.name) not in (0, 1, None) and steps(i, thread) == 1]
    return bool(along) and all(steps(i, thread) in (0, 1) for i in indices)


def _without(e: t.Expr, name: str) -> t.Expr:
    """A loop's head with its variable taken as a number."""
    plain = t.substitute(e, {name: t.Literal("0")})
    return plain.value if isinstance(plain, t.Assign) else t.Literal("0") if isinstance(plain, t.Unary) and plain.op in ("++", "--") else plain


def _strided(s: Any, uniform: Uniform, thread: str, guards: tuple[t.Expr, ...]) -> Strided | None:
    if not isinstance(s, t.For) or not isinstance(s.init, t.Declare) or len(s.init.declarators) != 1 or s.cond is None:
        return None
    d = s.init.declarators[0]
    start = _beyond_thread(d.init, thread, uniform)
    step = _step(s.step, d.name)
    if start is None or step is None or not uniform.uniform(step) or d.mark or d.form != "=":
        return None
    if not (isinstance(s.cond, t.Binary) and s.cond.op == "<" and s.cond.left == t.Name(d.name) and uniform.uniform(s.cond.right)):
        return None
    if d.name in assigned(s.body) or own_escapes(s.body) or t.names((s.cond.right, step)) & assigned(s.body):
        return None
    zero = t.Literal("0")
    return Strided(d.name, s.init.type, None if start == zero else start, s.cond.right, step, list(s.body), guards)


def _beyond_thread(e: t.Expr | None, thread: str, uniform: Uniform) -> t.Expr | None:
    """`e` minus the thread's index, where that is the same for all threads."""
    if e == t.Name(thread):
        return t.Literal("0")
    if isinstance(e, t.Binary) and e.op == "+":
        for one, other in ((e.left, e.right), (e.right, e.left)):
            rest = _beyond_thread(one, thread, uniform)
            if rest is not None and uniform.uniform(other):
                return other if rest == t.Literal("0") else t.Binary("+", rest, other)
    return None


def _step(e: t.Expr | None, name: str) -> t.Expr | None:
    if isinstance(e, t.Assign) and e.target == t.Name(name):
        if e.op == "+=":
            return e.value
        if e.op == "=" and isinstance(e.value, t.Binary) and e.value.op == "+" and e.value.left == t.Name(name):
            return e.value.right
    return None
