"""Loops over elements with their pragmas. A nest of loops and its body come in, statements go out.

The outer loops run on a team of threads where there is enough to do; the innermost runs in vector lanes, or a reduction inside it
does where memory lies along that one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ....frontend.cuda import tree as t
from .assemble import independent
from .fold import fold, number, steps

SMALL = 1 << 15  # element operations below which a team of threads costs more than it brings
_ENOUGH = "32768"
_FEW = 8  # terms that are summed one by one: partial sums in lanes cost more to set up and to add


def element_loops(loops: list[tuple[str, t.Expr]], body: t.Body) -> list[Any]:
    """`loops` outermost first."""
    from .kernel import work

    alone: dict[str, t.Expr] = {name: t.Literal("0") for name, bound in loops if bound == t.Literal("1")}
    loops = [(name, bound) for name, bound in loops if name not in alone]
    body = fold(t.substitute(body, alone)) if alone else body
    name, bound = loops[-1] if loops else ("", t.Literal("1"))
    body, lanes = _lanes(body, name)
    total = work(body)
    for _, extent in loops:
        total *= number(extent) or 1
    known = all(number(extent) is not None for _, extent in loops)
    inner: list[Any] = list(body)
    for depth, (name, bound) in enumerate(reversed(loops)):
        inner = [_for(name, bound, tuple(inner))]
        innermost, outermost = depth == 0, depth == len(loops) - 1
        words = []
        if outermost and (not known or total >= SMALL):
            words.append("parallel for")
            collapsed = _collapsed(loops)
            if collapsed > 1 and len(loops) > 1:
                inner = _collapse(loops, body, lanes)
                words.append(f"collapse({collapsed})")
        if innermost and lanes and independent(body) and len(loops) == 1:
            words.append("simd")
        if innermost and lanes and independent(body) and len(loops) > 1:
            inner = [t.Pragma("omp simd"), *inner]
        if words:
            condition = f" if ({_ENOUGH} < {_text(bound)})" if not known and "parallel for" in words and len(loops) == 1 else ""
            inner = [t.Pragma(f"omp {' '.join(words)}{condition.replace('if (', 'if (parallel: ') if 'simd' in words else condition}"), *inner]
    return inner


def _text(e: t.Expr) -> str:
    from ....frontend.cuda.text import expression

    return expression(e)


def _collapsed(loops: list[tuple[str, t.Expr]]) -> int:
    """How many outer loops are shared out together: until there are enough iterations, the innermost left alone."""
    count, shared = 0, 1
    for _, bound in loops[:-1]:
        count += 1
        shared *= number(bound) or 1
        if shared >= 64:
            break
    return count


def _collapse(loops: list[tuple[str, t.Expr]], body: t.Body, lanes: bool) -> list[Any]:
    inner: list[Any] = list(body)
    for depth, (name, bound) in enumerate(reversed(loops)):
        inner = [_for(name, bound, tuple(inner))]
        if depth == 0 and lanes and independent(body):
            inner = [t.Pragma("omp simd"), *inner]
    return inner


def _for(name: str, bound: t.Expr, body: t.Body) -> t.For:
    wide = number(bound) is None
    init = t.Declare("int64_t" if wide else "int", (t.Declarator(name, init=t.Literal("0")),))
    return t.For(init, t.Binary("<", t.Name(name), bound), t.Unary("++", t.Name(name)), body)


def _lanes(body: t.Body, name: str) -> tuple[t.Body, bool]:
    """Whether the loop over `name` runs in lanes; if not, reductions in the body do."""
    body = tuple(collapsed(s) if isinstance(s, t.For) else s for s in body)
    loops = [s for s in body if isinstance(s, t.For)]
    if not loops:
        return body, True
    if not name:
        return tuple(x for s in body for x in (_reduction(s) or [s])), False
    along = sum(steps(n.index, name) in (0, 1) for s in loops for n in t.walk(s.body) if isinstance(n, t.Index))
    across = sum(steps(n.index, name) not in (0, 1) for s in loops for n in t.walk(s.body) if isinstance(n, t.Index))
    if across <= along:
        return body, True
    changed = [_reduction(s) for s in body]
    if all(c is not None for c in changed) and any(isinstance(c, list) and len(c) > 1 for c in changed):
        return tuple(x for c in changed for x in (c or [])), False
    return body, True


def collapsed(s: t.For) -> t.For:
    """A perfect nest that walks memory in order as one loop: `x[a * 20 + b]` for a below 10 and b below 20 is `x[a]` for a below 200."""
    inner = s.body[0] if len(s.body) == 1 and isinstance(s.body[0], t.For) else None
    if inner is None:
        return s
    inner = collapsed(inner)
    outside, inside = _counter(s), _counter(inner)
    extents = [number(x.cond.right) if isinstance(x.cond, t.Binary) and x.cond.op == "<" else None for x in (s, inner)]
    whole = replace(s, body=(inner,))
    if outside is None or inside is None or None in extents or not all(_zero_start(x) for x in (s, inner)):
        return whole
    indices = [n.index for n in t.walk(inner.body) if isinstance(n, t.Index)]
    elsewhere = t.rewrite(inner.body, lambda n: t.Literal("0") if isinstance(n, t.Index) else n)
    if t.names(elsewhere) & {outside, inside} or any(steps(i, outside) != _times(steps(i, inside), extents[1]) for i in indices):
        return whole
    count = t.Literal(str((extents[0] or 1) * (extents[1] or 1)))
    body = fold(t.substitute(inner.body, {outside: t.Literal("0"), inside: t.Name(outside)}))
    assert isinstance(s.cond, t.Binary)
    return replace(s, cond=replace(s.cond, right=count), body=body)


def _times(step: int | None, count: int | None) -> int | None:
    return -1 if step is None or count is None else step * count


def _counter(s: t.For) -> str | None:
    counts = isinstance(s.step, t.Unary) and s.step.op == "++"
    return s.init.declarators[0].name if counts and isinstance(s.init, t.Declare) and len(s.init.declarators) == 1 else None


def _zero_start(s: t.For) -> bool:
    return isinstance(s.init, t.Declare) and s.init.declarators[0].init == t.Literal("0")


def _reduction(s: Any) -> list[Any] | None:
    """`for (k) sum = sum + x[k]` with its pragma; None for a loop that is no such reduction along memory."""
    if not isinstance(s, t.For):
        return [s]
    if not isinstance(s.init, t.Declare) or len([x for x in s.body if not isinstance(x, t.Comment)]) != 1:
        return None
    k = s.init.declarators[0].name
    one = s.body[-1]
    if not isinstance(one, t.Evaluate) or not isinstance(one.value, t.Assign) or not isinstance(one.value.target, t.Name):
        return None
    indices = [n.index for n in t.walk(s.body) if isinstance(n, t.Index)]
    op = _operation(one.value)
    if not op or any(steps(i, k) not in (0, 1) for i in indices):
        return None
    count = number(s.cond.right) if isinstance(s.cond, t.Binary) else None
    if count is not None and count < _FEW:
        return [t.Pragma(f"GCC unroll {_FEW}"), s]
    return [t.Pragma(f"omp simd reduction({op}:{one.value.target.text})"), s]


def _operation(e: t.Assign) -> str:
    target, value = e.target, e.value
    if e.op in ("+=", "*="):
        return e.op[0]
    if e.op != "=":
        return ""
    if isinstance(value, t.Binary) and value.op in "+*" and value.left == target and target not in list(t.walk((value.right,))):
        return value.op
    if isinstance(value, t.Call) and t.called(value) in ("max", "min", "fmaxf", "fminf") and value.args[0] == target:
        return t.called(value).strip("f")[:3]
    return ""
