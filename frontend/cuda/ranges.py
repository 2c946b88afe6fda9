"""Loops over a local array's elements, counted. The loop's parts come in, a `for` over indices goes out."""

from __future__ import annotations

from dataclasses import replace

from . import tree as t


def counted(item: t.Declare, over: t.Expr, extent: t.Expr, body: t.Body, line: int) -> t.For:
    """`for (T x : a) ...` -> `for (int at = 0; at < extent; ++at) { T x = a[at]; ... }`; a reference is the element itself."""
    d = item.declarators[0]
    at = t.unused(f"{d.name}_at", t.names(body) | t.names((over,)), "")
    element = t.Index(over, t.Name(at))
    if "&" in d.mark:
        body = t.substitute(body, {d.name: element})
    else:
        body = (replace(item, declarators=(replace(d, init=element),)), *body)
    init = t.Declare("int", (t.Declarator(at, init=t.Literal("0")),), (), line)
    return t.For(init, t.Binary("<", t.Name(at), extent), t.Unary("++", t.Name(at)), body, line)

