"""Ownership: a program goes in, out comes the same one with `owned` set on the locals that belong to lanes."""

from __future__ import annotations

from dataclasses import replace

from ...ir.expr import Load, Var
from ...ir.kernel import Alloc, Body, For, Program, Stmt
from ...ir.scope import Scope, accesses, scopes
from .step import edit

Use = tuple[Load, tuple[str, ...]]


def owned_dims(p: Program) -> Program:
    """Every local that crosses lanes nests and is indexed by the axes of each of them first is `owned` by them."""
    uses = _uses(p)

    def own(s: Stmt, scope: Scope) -> Body | None:
        if not (isinstance(s, Alloc) and s.buffer.space == "local"):
            return None
        depth = _common_depth(uses.get(s.buffer.name, []))
        return (Alloc(replace(s.buffer, owned=depth)),) if depth is not None and depth != s.buffer.owned else None

    return edit(p, own)


def _common_depth(uses: list[Use]) -> int | None:
    depths = {len(axes) for _, axes in uses}
    fits = all(load.index[: len(axes)] == tuple(Var(a) for a in axes) for load, axes in uses)
    return depths.pop() if len(depths) == 1 and fits else None


def _uses(p: Program) -> dict[str, list[Use]]:
    """Accesses of each buffer with the lanes axes that stand between its allocation and the access."""
    out: dict[str, list[Use]] = {}
    home: dict[str, int] = {}
    for s, scope in scopes(p):
        if isinstance(s, Alloc):
            home[s.buffer.name] = len(scope.path)
        for a in accesses(s):
            inside = scope.path[home.get(a.place.buffer, 0) :]
            axes = tuple(x.axis for x in inside if isinstance(x, For) and x.kind == "lanes")
            out.setdefault(a.place.buffer, []).append((a.place, axes))
    return out


def lanes_first(axes: tuple[str, ...], kinds: dict[str, str]) -> tuple[tuple[str, ...], int]:
    """`axes` with those bound to lanes first, and their number."""
    lanes = tuple(a for a in axes if kinds[a] == "lanes")
    return lanes + tuple(a for a in axes if kinds[a] != "lanes"), len(lanes)
