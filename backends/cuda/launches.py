"""The launches of a normalised program: one for each top-level nest of block loops, one of a single block for what stands between them.

Comes in: a Program. Goes out: `Plan`: launches in order with their block loops and bodies, and the top-level buffers that several of them use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...ir.expr import ONE, Const, Expr, as_int, bounds, loads, mul, names
from ...ir.kernel import Alloc, Body, Buffer, For, If, Program, Stmt, expressions, statements, writes
from ...ir.types import Dim
from .codegen.thread import UnsupportedOnGpu
from .codegen.values import INT

MOST_ALONG_Y = 65535
"""Blocks that a grid can have along y, and along z."""


@dataclass(frozen=True)
class Launch:
    """One launch to be: block loops, what a block does, and the top-level buffers that are its own."""

    name: str
    blocks: tuple[For, ...]
    body: Body


@dataclass(frozen=True)
class Plan:
    """`temps`: top-level buffers that several launches use."""

    launches: tuple[Launch, ...]
    temps: tuple[Buffer, ...]


def refuse_variants(program: Program) -> None:
    """Raises UnsupportedOnGpu for a program that chooses its body by ranges of a dim."""
    if program.dispatch:
        raise UnsupportedOnGpu(f"{program.name} has variants for ranges of `{program.dispatch}`", hint="leave out when")


def plan_launches(program: Program, name: str) -> Plan:
    """The launches of a program, called `name`, or `name_0`, `name_1`, .. where there are several."""
    groups: list[list[Stmt]] = [[]]
    allocs: list[Buffer] = []
    for s in program.body:
        if isinstance(s, Alloc):
            allocs.append(s.buffer)
        elif isinstance(s, For) and s.kind == "block":
            apart = not used((s,)) & used(tuple(groups[-1]))  # then what came before may as well come after
            groups[-1:] = [[s], groups[-1]] if apart else [groups[-1], [s], []]
        else:
            groups[-1].append(s)
    bodies = [tuple(g) for g in groups if g]
    users = {b.name: [k for k, g in enumerate(bodies) if b.name in used(g)] for b in allocs}
    temps = tuple(replace(b, space="global", owned=0) for b in allocs if _is_temporary(b, users[b.name], bodies))
    kept = {t.name for t in temps}
    launches: list[Launch] = []
    for k, body in enumerate(bodies):
        own = tuple(Alloc(b) for b in allocs if b.name not in kept and users[b.name] == [k])
        chain, inner = _blocks((*own, *body) if not _is_grid(body) else body)
        launches.append(Launch(name if len(bodies) == 1 else f"{name}_{k}", chain, inner))
    return Plan(tuple(launches), temps)


def _is_grid(body: Body) -> bool:
    return len(body) == 1 and isinstance(body[0], For) and body[0].kind == "block"


def _is_temporary(b: Buffer, users: list[int], bodies: list[Body]) -> bool:
    return bool(users) and (len(users) > 1 or _is_grid(bodies[users[0]]))


def used(body: Body) -> set[str]:
    """Names of the buffers that a body reads or writes."""
    return {x.buffer for s in statements(body) for e in expressions(s) for x in loads(e)} | {w for s in statements(body) for w in writes(s)}


def _blocks(body: Body) -> tuple[tuple[For, ...], Body]:
    """The block loops of a launch, outermost first, and what is inside; block loops further in are serial."""
    chain: list[For] = []
    while _is_grid(body):
        loop = body[0]
        assert isinstance(loop, For)
        if names(loop.hi) & {c.axis for c in chain}:
            break
        chain.append(loop)
        body = loop.body
    return tuple(chain), _serial(body)


def _serial(body: Body) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, For):
            s = replace(s, kind="serial" if s.kind == "block" else s.kind, body=_serial(s.body))
        elif isinstance(s, If):
            s = replace(s, body=_serial(s.body))
        out.append(s)
    return tuple(out)


def whole(launch: Launch) -> Stmt:
    """The launch as one statement."""
    body = launch.body
    for loop in reversed(launch.blocks):
        body = (replace(loop, body=body),)
    return body[0] if len(body) == 1 else For("once", Const(0), ONE, "block", body)


def block_allocs(body: Body) -> Iterator[Buffer]:
    """Buffers of a block that are not registers: those allocated outside lanes."""
    for s in body:
        if isinstance(s, Alloc) and s.buffer.space != "local":
            yield s.buffer
        elif isinstance(s, If) or (isinstance(s, For) and s.kind not in ("lanes", "vector")):
            yield from block_allocs(s.body)


def workspaces(launch: Launch) -> list[Buffer]:
    """Scratch buffers of a block as parts of one buffer for all blocks; their own name ends in `_space`."""
    grid: Expr = ONE
    for loop in launch.blocks:
        grid = mul(grid, loop.hi)
    held = [b for b in block_allocs(launch.body) if b.space in ("scratch", "global", "stream")]
    return [replace(b, name=f"{launch.name}_{b.name}_space", shape=(grid, *b.shape), space="global", owned=0) for b in held]


def rectangular(blocks: tuple[For, ...]) -> bool:
    """At most three axes, the outer ones within what a grid takes along y and z."""
    return len(blocks) <= 3 and all((n := as_int(x.hi)) is not None and n <= MOST_ALONG_Y for x in blocks[:-1])


def beyond_int(dims: tuple[Dim, ...], params: list[Buffer]) -> bool:
    """Whether some element lies further from the start than 32 bits can say."""
    ranges = {d.name: (d.lo, d.hi) for d in dims if d.hi is not None}
    for b in params:
        size: Expr = ONE
        for d in b.shape:
            size = mul(size, d)
        most = bounds(size, ranges)[1]
        if most is None or most >= INT:
            return True
    return False
