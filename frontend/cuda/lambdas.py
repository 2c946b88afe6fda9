"""Lambdas of a function: their names made its own. A body comes in; one goes out in which no lambda's parameter or variable has the name of
another variable of the function, so that renaming and writing out a lambda need no scopes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from . import text
from . import tree as t


def own_names(body: t.Body, params: tuple[t.Param, ...]) -> t.Body:
    """Renames inside lambdas what is declared elsewhere too."""
    if not any(isinstance(n, t.Lambda) for n in t.walk(body)):
        return body
    count = Counter([p.name for p in params] + declared(body))
    taken = set(count) | t.names(body)

    def change(n: Any) -> Any:
        if not isinstance(n, t.Lambda):
            return n
        env = {}
        for name in dict.fromkeys([*(p.name for p in n.params), *declared(n.body)]):
            if count[name] > 1:
                env[name] = t.unused(f"{name}_own", taken, "")
                taken.add(env[name])
        return renamed(n, env) if env else n

    return t.rewrite(body, change)


def declared(body: Any) -> list[str]:
    """Names of variables, and of the parameters of lambdas."""
    found = []
    for n in t.walk(body):
        if isinstance(n, t.Declare):
            found += [d.name for d in n.declarators]
        elif isinstance(n, t.Lambda):
            found += [p.name for p in n.params]
    return found


def renamed(e: t.Lambda, env: dict[str, str]) -> t.Lambda:
    """The lambda with other names for its parameters and variables."""

    def change(n: Any) -> Any:
        if isinstance(n, t.Declare):
            return replace(n, declarators=tuple(replace(d, name=env.get(d.name, d.name)) for d in n.declarators))
        return t.Name(env[n.text]) if isinstance(n, t.Name) and n.text in env else n

    params = tuple(replace(p, name=env.get(p.name, p.name)) for p in e.params)
    return replace(e, params=params, body=t.rewrite(e.body, change))


def as_text(node: Any, variables: frozenset[str]) -> Any:
    """The same with every lambda as text, in which the `variables` of the function around it are still names that can be replaced."""
    return t.rewrite(node, lambda n: _opaque(n, variables) if isinstance(n, t.Lambda) else n)


def _opaque(e: t.Lambda, variables: frozenset[str]) -> t.Opaque:
    outside = variables - {p.name for p in e.params} - set(declared(e.body))
    marked = replace(e, body=t.rewrite(e.body, lambda n: t.Name(f"(\0{n.text}\0)") if isinstance(n, t.Name) and n.text in outside else n))
    pieces = text.expression(marked).split("\0")
    return t.Opaque(tuple(t.Name(piece) if at % 2 else piece for at, piece in enumerate(pieces)))
