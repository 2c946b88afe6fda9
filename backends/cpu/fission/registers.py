"""Sums that are kept in memory move into a variable: `y[i] = 0; for (k) y[i] += ...` -> `float sum = 0; for (k) sum += ...; y[i] = sum;`.

A body comes in, a body goes out. Only where every access to the array in the statement list has the same index, so that nothing else can
see the element in between.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ....frontend.cuda import tree as t
from .inline import assigned
from .types import plain


def accumulate(body: t.Body, params: dict[str, t.Param]) -> t.Body:
    """Applies to the list and to the bodies of loops in it."""
    for name in _arrays(body, params):
        body = _moved(body, name, params[name])
    return tuple(replace(s, body=accumulate(s.body, params)) if isinstance(s, t.For) else s for s in body)


def _arrays(body: t.Body, params: dict[str, t.Param]) -> list[str]:
    """Arrays that a loop in the list updates in place."""
    updated = []
    for s in body:
        if isinstance(s, t.For):
            for n in t.walk(s.body):
                if isinstance(n, t.Assign) and isinstance(n.target, t.Index) and isinstance(n.target.base, t.Name):
                    name = n.target.base.text
                    again = n.op != "=" or n.target in list(t.walk((n.value,)))
                    if name in params and again and "volatile" not in params[name].type:
                        updated.append(name)
    return list(dict.fromkeys(updated))


def _moved(body: t.Body, name: str, p: t.Param) -> t.Body:
    uses = [n for n in t.walk(body) if isinstance(n, t.Index) and n.base == t.Name(name)]
    mentions = sum(isinstance(n, t.Name) and n.text == name for n in t.walk(body))
    index = uses[0].index
    inside = {d.name for n in t.walk(body) if isinstance(n, t.Declare) for d in n.declarators} | assigned(body)
    if any(u.index != index for u in uses) or mentions != len(uses) or t.names((index,)) & inside:
        return body
    if "__restrict__" not in p.mark and "restrict" not in p.mark and len({u.base for u in t.walk(body) if isinstance(u, t.Index)}) > 1:
        return body
    first = next(i for i, s in enumerate(body) if uses[0] in list(t.walk((s,))))
    last = max(i for i, s in enumerate(body) if uses[0] in list(t.walk((s,))))
    register = _fresh("sum" if _adds(body, uses[0]) else "best" if _compares(body, uses[0]) else "value", body)
    place = uses[0]

    def change(n: Any) -> Any:
        return t.Name(register) if n == place else n

    changed = [t.rewrite(s, change) for s in body]
    type_ = plain(p.type)
    opening = body[first]
    if isinstance(opening, t.Evaluate) and isinstance(opening.value, t.Assign) and opening.value.op == "=" and opening.value.target == place:
        start: Any = t.Declare(type_, (t.Declarator(register, init=changed[first].value.value),), (), opening.line)
        changed[first] = start
    else:
        changed.insert(first, t.Declare(type_, (t.Declarator(register, init=place),)))
        last += 1
    changed.insert(last + 1, t.Evaluate(t.Assign("=", place, t.Name(register))))
    return tuple(changed)


def _adds(body: t.Body, place: t.Index) -> bool:
    return any(
        isinstance(n, t.Assign) and n.target == place and isinstance(n.value, t.Binary) and n.value.op in "+-" and place in (n.value.left, n.value.right)
        for n in t.walk(body)
    )


def _compares(body: t.Body, place: t.Index) -> bool:
    return any(isinstance(n, t.Assign) and n.target == place and isinstance(n.value, t.Call) and t.called(n.value) in ("max", "min") for n in t.walk(body))


def _fresh(name: str, body: t.Body) -> str:
    taken = t.names(body) | {d.name for n in t.walk(body) if isinstance(n, t.Declare) for d in n.declarators}
    return t.unused(name, taken)
