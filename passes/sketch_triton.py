"""Default schedules for Triton: a naive program and its class go in, a schedule script comes out whose lanes are tiles of powers of two.

*points*: a tile of points, every local a tile, loops inside as they are; *rows*: a program instance for each point, tiles along its rows (not
for convolutions: neighbouring points read the same memory, and there are many of them); *contract*: a tile of the output as products of tiles. A tile is indexed by its own lanes alone, so there is no staging.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from ..ir.kernel import Alloc, For, If, Program, Reduce, reads, statements, writes
from ..ir.machine import Machine
from ..ir.verify import verify
from .draft import Draft, nest_of
from .sketch_gpu import body_of, count_of, least, pure_map, row_loops, rows_win, to_grid, tops
from .sketch_gpu_contract import contraction_axes

TILE = 256
LONG_TILE = 1024
SIDE, DEPTH = 64, 32
_FOLDS = ("add", "max", "min", "any", "all")


def sketch_triton(program: Program, kind: str, machine: Machine, choices: Mapping[str, int] | None = None) -> Draft:
    """The default Triton schedule for a naive program of a class, verified."""
    draft = Draft(program=program, machine=machine, choices=choices or {})
    for rule in (*((contract,) if kind == "contract" else ()), *((rows, plain_rows) if kind != "conv" else ()), points, plain_points):
        if draft.kept(lambda rule=rule: rule(draft) and draft.is_legal()):
            return draft
    verify(draft.program)
    return draft


def contract(draft: Draft) -> bool:
    """Tiles of 64 x 64, the reduction in steps of 32."""
    found = contraction_axes(draft)
    if found is None:
        return False
    *batch, i, j = found.axes
    k = found.depth[-1]
    it, ir, jt, jr = f"{i}t", f"{i}r", f"{j}t", f"{j}r"  # ir and jr have one iteration: guards stand inside them, below all lanes
    steps = [
        f"split({i}, {SIDE})", f"split({j}, {SIDE})", f"reorder({i}0, {j}0, {i}1, {j}1)", f"split({i}1, {SIDE}, {ir}, {it}, tail=exact)",
        f"split({j}1, {SIDE}, {jr}, {jt}, tail=exact)", f"reorder({i}0, {j}0, {it}, {jt}, {ir}, {jr})", f"split({k}, {DEPTH})",
        f"expand({it}, {jt}, {ir}, {jr})", f"reorder({it}, {jt}, {ir}, {jr}, {k}1)", f"bind({k}1, vector)", f"bind({it}, lanes)",
        f"bind({jt}, lanes)",
    ]  # fmt: skip
    return draft.attempt(*steps) and all(draft.attempt(f"bind({a}, block)") for a in (*batch, f"{i}0", f"{j}0"))


def points(draft: Draft) -> bool:
    """All parallel axes of a nest as one, in tiles: longer ones where a point is a few operations."""
    size = LONG_TILE if pure_map(draft) else TILE
    for axes in tops(draft):
        axes = list(axes)
        while len(axes) > 1 and least(draft, axes[-1]) < size:
            merged = draft.fresh(axes[-2] + axes[-1])
            if not draft.attempt(f"collapse({axes[-2]}, {axes[-1]}, {merged})"):
                break
            axes[-2:] = [merged]
        _tiles(draft, axes, size)
    return True


def plain_points(draft: Draft) -> bool:
    """The innermost parallel axis in tiles, no axes merged."""
    for axes in tops(draft):
        _tiles(draft, list(axes), TILE)
    return True


def _tiles(draft: Draft, axes: list[str], most: int) -> None:
    inner = axes.pop()
    n = least(draft, inner)
    size = most if n >= most else 1 << max(n - 1, 0).bit_length()
    if n == 1:
        return to_grid(draft, axes)
    block, tile = draft.fresh(f"{inner}b"), draft.fresh(f"{inner}t")
    if draft.attempt(f"split({inner}, {size}, {block}, {tile})") and draft.attempt(f"bind({tile}, lanes)"):
        axes.append(block)
    to_grid(draft, axes)


def plain_rows(draft: Draft) -> bool:
    """`rows`, and no axes merged in loops over rows that are kept: a window over such a row is hard to prove in range of what was written."""
    kept = {s.buffer.name for s in statements(draft.program.body) if isinstance(s, Alloc) and s.buffer.space == "scratch"}
    return bool(kept) and rows(draft, kept)


def rows(draft: Draft, apart: Set[str] = frozenset()) -> bool:
    """A program instance for each point, where its rows are worth a tile and what they combine into is a sum, a maximum or the like.
    Loops that touch a buffer of `apart` are not merged."""
    nests = [s for s in draft.program.body if isinstance(s, For)]
    inner = [loop for top in nests for loop in row_loops(body_of(top))]
    if not inner or not all(_tiled_fold(s) for s in statements(draft.program.body)) or not rows_win(draft, nests, inner):
        return False
    for axes in tops(draft):
        to_grid(draft, axes)
    done: set[str] = set()
    for loop in inner:
        if loop.axis not in done:
            done.update(_along(draft, loop, merged=not _touches(loop, apart)))
    return True


def _touches(loop: For, buffers: Set[str]) -> bool:
    return any({*writes(s), *(x.buffer for x in reads(s))} & buffers for s in statements((loop,)))


def _tiled_fold(s: object) -> bool:
    return not isinstance(s, Reduce) or s.monoid in _FOLDS


def _along(draft: Draft, loop: For, merged: bool) -> list[str]:
    """A row as tiles: its loops `merged`, a partial result for each lane where something is combined."""
    nest = nest_of((loop,))
    axes = [x.axis for x in nest]
    scan = any(isinstance(s, Reduce) and s.running for s in statements(nest[-1].body))
    row = axes[0]
    for inner in axes[1:] if merged and not scan else ():
        both = draft.fresh(row + inner)
        if not draft.attempt(f"collapse({row}, {inner}, {both})"):
            break
        row = both
    else:
        row = row if merged and not scan else axes[-1]
    n = count_of([x for x in draft.loops() if x.axis == row][:1])
    size = min(LONG_TILE, 1 << max(n - 1, 0).bit_length())
    chunk, tile = draft.fresh(f"{row}c"), draft.fresh(f"{row}t")
    if size < 2 or not draft.attempt(f"split({row}, {size}, {chunk}, {tile})"):
        return axes
    if not scan and n > size and any(isinstance(s, (Reduce, If)) for s in nest[-1].body):
        draft.attempt(f"rfactor({chunk}, {tile})")
    if not draft.attempt(f"bind({tile}, lanes)"):
        draft.attempt(f"bind({tile}, serial)")
    return axes

