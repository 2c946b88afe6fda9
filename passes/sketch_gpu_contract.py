"""Default GPU schedules of contractions and convolutions: a tile of the output a block, staged through shared memory, a part of it in the
registers of each thread. What tensor cores do is in `sketch_gpu_mma`.

for tiles of i, j: acc[it, jt, ir, jr] = 0; for k0: As, Bs = tiles of A, B; acc += As * Bs; C = epilogue(acc).

Decisions: `tile` (rows and columns of a block's tile), `depth` (of the staged tiles), `channels` (output channels a thread of a convolution).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..ir.expr import Load, as_int, loads, names
from ..ir.kernel import For, If, Reduce, Stmt, statements
from .draft import Draft, nest_of

SIDE = 16
"""Threads along each side of a tile."""


@dataclass(frozen=True)
class Contraction:
    """A product with two long output dims: all parallel axes, the axes of the reduction, the loads of the product."""

    axes: list[str]
    depth: list[str]
    operands: list[Load]
    most: int


def contraction_axes(draft: Draft) -> Contraction | None:
    """The program as a contraction; None for what has no two long dims or is no product of two loads."""
    if len(draft.program.body) != 1 or not isinstance(draft.program.body[0], For):
        return None
    axes, depth, operands = parallel_axes(draft), reduction_axes(draft), product_operands(draft)
    if len(axes) < 2 or not depth or operands is None:
        return None
    most = min(extent(axes[-1]), extent(axes[-2]))
    return Contraction([x.axis for x in axes], depth, operands, most) if most >= SIDE else None


def contract(draft: Draft) -> bool:
    """The last two output dims make the tile. What has no two long dims is rows."""
    found = contraction_axes(draft)
    if found is None:
        return False
    *batch, i, j = found.axes
    tile = draft.choose("tile", 128 if found.most >= 2048 else 64 if found.most >= 64 else 32, (32, 64, 128))
    return _tile(draft, batch, i, j, found.depth, found.operands, tile)


def _tile(draft: Draft, batch: list[str], i: str, j: str, depth: list[str], operands: list[Load], tile: int) -> bool:
    k = depth[-1]
    side = {32: 8, 64: 16, 128: 16}[tile]
    deep = draft.choose("depth", 8 if tile == 128 else 16, (8, 16, 32))
    it, ir, jt, jr = f"{i}t", f"{i}r", f"{j}t", f"{j}r"
    steps = [
        f"split({i}, {tile})", f"split({j}, {tile})", f"reorder({i}0, {j}0, {i}1, {j}1)",
        f"split({i}1, {side}, {ir}, {it}, tail=exact)", f"split({j}1, {side}, {jr}, {jt}, tail=exact)",
        f"reorder({i}0, {j}0, {it}, {jt}, {ir}, {jr})", f"split({k}, {deep})", f"expand({it}, {jt}, {ir}, {jr})",
        f"reorder({it}, {jt}, {k}1, {ir}, {jr})",
    ]  # fmt: skip
    if not draft.attempt(*steps):
        return False
    for load in operands:
        _stage(draft, load, {i: (ir, it), j: (jr, jt)}, k)
    for name in _accumulators(draft):
        draft.attempt(f"unguard({name})")
    if not draft.attempt(f"bind({it}, lanes)", f"bind({jt}, lanes)"):
        return False
    for axis in (ir, jr, f"{k}1"):
        draft.attempt(f"bind({axis}, unroll)")
    return all(draft.attempt(f"bind({axis}, block)") for axis in (*batch, f"{i}0", f"{j}0"))


def convolution(draft: Draft) -> bool:
    """A thread for each position in space, some output channels of it in registers: a load of the input serves them all, and a warp reads
    the weights as one."""
    axes = parallel_axes(draft)
    if len(axes) < 3:
        return False
    channels = axes[1].axis
    width = draft.choose("channels", _channels(draft, axes[1]), (1, 2, 4, 8))
    if width == 1:
        return False
    space = [x.axis for x in axes[2:]]
    while len(space) > 1:
        merged = draft.fresh("".join(space[-2:]))
        if not draft.attempt(f"collapse({space[-2]}, {space[-1]}, {merged})"):
            return False
        space[-2:] = [merged]
    cb, cr, sb, st = (draft.fresh(n) for n in (f"{channels}b", f"{channels}r", f"{space[0]}b", f"{space[0]}t"))
    threads = 256 if _least(draft, space[0]) >= 256 else 128
    steps = (
        f"split({channels}, {width}, {cb}, {cr}, tail=exact)", f"split({space[0]}, {threads}, {sb}, {st})",
        f"reorder({cb}, {sb}, {st}, {cr})", f"expand({cr})",
    )  # fmt: skip
    if not draft.attempt(*steps) or not draft.attempt(f"bind({st}, lanes)"):
        return False
    draft.attempt(f"bind({cr}, unroll)")
    return all(draft.attempt(f"bind({axis}, block)") for axis in (axes[0].axis, cb, sb))


def _channels(draft: Draft, channels: For) -> int:
    """Output channels that a thread computes from the same inputs; 1 where every channel has inputs of its own."""
    found = [x for r in _reduces(draft.program.body) for v in r.values for x in loads(v)]
    shared = [x for x in found if channels.axis not in {n for i in x.index for n in names(i)}]
    n = _least(draft, channels.axis)
    return next((w for w in (8, 4, 2) if n % w == 0), 1) if shared else 1


def _least(draft: Draft, axis: str) -> int:
    """The least extent of the loops of that name (the phases of a transposed convolution differ by one)."""
    return min(extent(x) for x in draft.loops() if x.axis == axis)


def _stage(draft: Draft, load: Load, tiles: dict[str, tuple[str, str]], k: str) -> None:
    """A tile of an operand in shared memory, rows and columns as the operand has them, filled by all threads."""
    by: list[str] = []
    for index in load.index:
        for axis in sorted(names(index)):
            by += [f"{k}1"] if axis == k else tiles.get(axis, ())
    if f"{k}1" not in by or len(by) < 3:
        return
    name = f"{load.buffer}_s"
    if not draft.attempt(f"stage({load.buffer}, {k}0, ({', '.join(by)}), shared, {name})"):
        return
    spare = own_fill_axes(draft, name, by)
    for r, _ in tiles.values():
        if r in by:
            at = by.index(r)
            merged = draft.fresh(f"{name}_{r[:-1]}")
            if draft.attempt(f"merge({name}, {at})", f"collapse({spare[at]}, {spare[at + 1]}, {merged})"):
                spare[at : at + 2] = [merged]
                by[at : at + 2] = [merged]
    draft.attempt(*(f"bind({a}, lanes)" for a in reversed(spare)))


def own_fill_axes(draft: Draft, name: str, by: list[str]) -> list[str]:
    """The loops that fill a staged tile get names of their own, which come out, so that they can be bound alone."""
    spare = [draft.fresh(f"{name}_{a}") for a in by]
    for old, new in zip(by, spare):
        number = next(n for n, loop in enumerate(x for x in draft.loops() if x.axis == old) if _fills(loop, name))
        draft.step(f"rename({old}, {new}, {number})")
    return spare


def _fills(loop: For, name: str) -> bool:
    """The loop does nothing but fill the buffer."""
    inside = list(statements((loop,)))
    stores = [s for s in inside if not isinstance(s, (For, If))]
    return len(stores) == 1 and getattr(stores[0], "buffer", None) == name


def extent(loop: For) -> int:
    """Iterations; a dim counts as long."""
    return as_int(loop.hi) or 1 << 20


def parallel_axes(draft: Draft) -> list[For]:
    """The loops of the first nest outside every reduction."""
    return [loop for loop in nest_of(draft.program.body[:1]) if not any(isinstance(s, Reduce) for s in loop.body)]


def reduction_axes(draft: Draft) -> list[str]:
    """The loops of the first reduction in the body, outermost first."""
    axes = parallel_axes(draft)
    first = next((s for s in axes[-1].body if isinstance(s, For)), None) if axes else None
    nest = nest_of((first,)) if first is not None else []
    return [loop.axis for loop in nest] if nest and any(isinstance(s, Reduce) for s in nest[-1].body) else []


def product_operands(draft: Draft) -> list[Load] | None:
    """The loads of the product, each of a buffer of its own; None for a reduction that is no product of loads."""
    reduce = next(_reduces(draft.program.body), None)
    found = list(dict.fromkeys(loads(reduce.values[0]))) if reduce is not None and reduce.monoid == "add" else []
    return found if len(found) == 2 and len({x.buffer for x in found}) == 2 else None


def _reduces(body: tuple[Stmt, ...]) -> Iterator[Reduce]:
    for s in statements(body):
        if isinstance(s, Reduce):
            yield s


def _accumulators(draft: Draft) -> list[str]:
    """Buffers that reductions below a condition go into."""
    out: dict[str, None] = {}
    for s in statements(draft.program.body):
        if isinstance(s, If):
            out.update((t.buffer, None) for r in _reduces(s.body) for t in r.targets)
    return list(out)
