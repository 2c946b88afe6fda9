"""Operations of a warp, said for each of its lanes. A program with Calls of such intrinsics comes in; out goes the same one in which each
stands in loops of the warp's lanes, its operands where the lane's own part of them begins: what thread code prints as one call.

Lane (g, t) of 8 x 4 begins at row g, and at the t-th pair of elements of the row, of each tile in shared memory (PTX ISA, "Matrix fragments
for mma.m16n8k16").
"""

from __future__ import annotations

from dataclasses import replace

from ....ir.expr import ZERO, Expr, Load, Var, add, affine, mul
from ....ir.intrinsic import INTRINSICS
from ....ir.kernel import Body, Buffer, Call, For, If, Program, Stmt, statements
from ....ir.scope import accesses, scopes
from ....ir.text import print_expr
from .thread import UnsupportedOnGpu

PAIR = 2
"""Elements of 16 bits that a register holds."""


def lanes_of_warps(program: Program) -> Program:
    """Raises UnsupportedOnGpu where the pairs of a tile are not surely aligned."""
    if not any(warp_call(s) for s in statements(program.body)):
        return program
    owners = _owners(program)
    return replace(program, body=_body(program.body, program.buffers(), owners))


def warp_call(s: Stmt) -> bool:
    return isinstance(s, Call) and bool(INTRINSICS[s.intrinsic].lanes)


def _owners(program: Program) -> dict[str, tuple[str, ...]]:
    """Accumulator -> the lanes axes by which plain statements index what each lane owns of it."""
    out: dict[str, tuple[str, ...]] = {}
    buffers = program.buffers()
    for s, _ in scopes(program):
        for a in () if isinstance(s, Call) else accesses(s):
            mine = a.place.index[: buffers[a.place.buffer].owned]
            if mine and all(isinstance(i, Var) for i in mine):
                out.setdefault(a.place.buffer, tuple(i.name for i in mine if isinstance(i, Var)))
    return out


def _body(body: Body, buffers: dict[str, Buffer], owners: dict[str, tuple[str, ...]]) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, (For, If)):
            s = replace(s, body=_body(s.body, buffers, owners))
        elif isinstance(s, Call) and warp_call(s):
            s = _of_lanes(s, buffers, owners)
        out.append(s)
    return tuple(out)


def _of_lanes(s: Call, buffers: dict[str, Buffer], owners: dict[str, tuple[str, ...]]) -> For:
    c, *tiles = s.operands
    loops = INTRINSICS[s.intrinsic].lanes
    g, t = owners.get(c.buffer, tuple(f"{s.intrinsic}_{x.axis}" for x in loops))[-2:]
    owned = buffers[c.buffer].owned
    mine = Load(c.buffer, (*c.index[: owned - 2], Var(g), Var(t), *c.index[owned:]))
    begins = tuple(_lane_of_tile(x, buffers[x.buffer], Var(g), Var(t)) for x in tiles)
    return For(g, ZERO, loops[0].hi, "lanes", (For(t, ZERO, loops[1].hi, "lanes", (Call(s.intrinsic, (mine, *begins)),)),))


def _lane_of_tile(x: Load, tile: Buffer, g: Var, t: Var) -> Load:
    if not (_even(x.index[-1]) and _even(tile.shape[-1])):
        raise UnsupportedOnGpu(
            f"`{print_expr(x)}` is not surely aligned to {PAIR} elements, which an operation of a warp loads at a time",
            hint="tiles begin at even columns of rows of even length",
        )
    return Load(x.buffer, (*x.index[:-2], add(x.index[-2], g), add(x.index[-1], mul(t, PAIR))))


def _even(e: Expr) -> bool:
    return all(c % PAIR == 0 for c in affine(e).values())
