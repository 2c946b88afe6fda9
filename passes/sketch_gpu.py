"""Default schedules for a GPU: a naive program and its class go in, a schedule script comes out. Each rule says when it applies and why.

Two shapes cover most kernels: *points*, a thread for each point of the parallel axes, and *rows*, a block for each point whose threads run
along the rows inside. Contractions and convolutions have rules of their own (`sketch_gpu_contract`, `sketch_gpu_mma`).

Decisions that a measurement may overrule, by name: `rows` (1: blocks run rows, 0: a thread a point), `threads`, `vectors` (elements that a
thread of a pointwise kernel has side by side), and those of the other two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..ir.expr import Expr, as_int
from ..ir.kernel import Alloc, Body, Buffer, For, If, Program, Reduce, Store, statements
from ..ir.machine import Machine
from ..ir.scope import scopes
from ..ir.types import BYTES
from ..ir.verify import verify
from .draft import Draft, nest_of
from .sketch import contiguity
from .sketch_gpu_contract import contract, convolution
from .sketch_gpu_mma import tensor_cores

SHARED_BYTES = 96 << 10
"""Rows of a block up to this size are kept in shared memory (an A100 has 164 KiB for the blocks of a multiprocessor, an H100 228)."""

SHORT_ROW = 32
"""Rows shorter than a warp leave its lanes idle: a thread a point does better."""

RULES: dict[str, tuple[Callable[[Draft], bool], ...]] = {"contract": (tensor_cores, contract), "conv": (convolution,)}
"""Class -> rules of its own, tried in order before those for every class."""

ENOUGH_THREADS = 128
WIDE_ROW = 256
LONG_ROW = 1 << 14
"""Elements of a reduction from which one block is not enough for it."""


def sketch_gpu(program: Program, kind: str, machine: Machine, choices: Mapping[str, int] | None = None) -> Draft:
    """The default GPU schedule for a naive program of a class (`fuse.Group.kind`), verified; `choices` overrule its decisions."""
    draft = Draft(program=program, machine=machine, choices=choices or {})
    for rule in (*RULES.get(kind, ()), split_reduction, rows, points, plain_points):
        if draft.kept(lambda rule=rule: rule(draft) and draft.is_legal()):
            return draft
    verify(draft.program)
    return draft


# ------------------------------------------------------------------------------------------------ points
def points(draft: Draft) -> bool:
    """A thread for each point: the innermost parallel axes along the threads of a block, the others along the grid."""
    for top in tops(draft):
        _thread_axes(draft, top)
    return True


def plain_points(draft: Draft) -> bool:
    """A thread for each point, no axes merged."""
    for axes in tops(draft):
        inner = axes.pop()
        block, thread = draft.fresh(f"{inner}b"), draft.fresh(f"{inner}t")
        if least(draft, inner) > ENOUGH_THREADS and draft.attempt(f"split({inner}, {ENOUGH_THREADS}, {block}, {thread})"):
            axes.append(block)
            inner = thread
        draft.attempt(f"bind({inner}, lanes)")
        to_grid(draft, axes)
    return True


def tops(draft: Draft) -> list[list[str]]:
    """The parallel axes of each top-level nest; nests with the same axes are treated alike, once."""
    nests = [_parallel(s) for s in draft.program.body if isinstance(s, For)]
    return [list(axes) for axes in dict.fromkeys(tuple(x.axis for x in nest) for nest in nests if nest)]


def _parallel(top: For) -> list[For]:
    """The axes of the nest outside every reduction and scan."""
    out: list[For] = []
    for loop in nest_of((top,)):
        if any(isinstance(s, Reduce) for s in loop.body):
            break
        out.append(loop)
    return out or [top]


def _thread_axes(draft: Draft, axes: list[str]) -> None:
    """Merge inner axes until they fill a block, cut what is too long into blocks."""
    axes = list(axes)
    threads = draft.choose("threads", 256, (128, 256, 512))
    while len(axes) > 1 and least(draft, axes[-1]) < ENOUGH_THREADS:
        merged = draft.fresh(axes[-2] + axes[-1])
        if not draft.attempt(f"collapse({axes[-2]}, {axes[-1]}, {merged})"):
            break
        axes[-2:] = [merged]
    inner = axes.pop()
    if pure_map(draft) and least(draft, inner) >= 4 * threads:
        _vectorises(draft, inner)
    block, thread = draft.fresh(f"{inner}b"), draft.fresh(f"{inner}t")
    if least(draft, inner) > threads and draft.attempt(f"split({inner}, {threads}, {block}, {thread})"):
        axes.append(block)
        inner = thread
    draft.attempt(f"bind({inner}, lanes)")
    to_grid(draft, axes)


def to_grid(draft: Draft, axes: list[str]) -> None:
    """The axes along the grid, as far as they are independent."""
    for axis in axes:
        if not draft.attempt(f"bind({axis}, block)"):
            return


def _vectorises(draft: Draft, axis: str) -> bool:
    """Four elements a thread, moved by one wide load or store each, where memory runs along the axis."""
    width = draft.choose("vectors", 4, (1, 2, 4))
    loop = next(x for x in draft.loops() if x.axis == axis)
    n = as_int(loop.hi)
    if width == 1 or n is None or n % width or contiguity(draft.program, loop.body, axis) < 0.5:
        return False
    inner = draft.fresh(f"{axis}v")
    return draft.attempt(f"split({axis}, {width}, {axis}, {inner}, tail=exact)", f"bind({inner}, vector)")


def pure_map(draft: Draft) -> bool:
    """Stores alone: a pointwise kernel."""
    return all(isinstance(s, Store) for s in statements(draft.program.body) if not isinstance(s, For))


def least(draft: Draft, axis: str) -> int:
    """The least extent of the loops of that name; a symbolic one counts as long."""
    return min((as_int(x.hi) or 1 << 20 for x in draft.loops() if x.axis == axis), default=1)


# ------------------------------------------------------------------------------------------------ rows
def rows(draft: Draft) -> bool:
    """A block for each point, its threads along the rows: where there are rows worth it, and memory runs along them or they are kept."""
    nests = [s for s in draft.program.body if isinstance(s, For)]
    inner = [loop for top in nests for loop in row_loops(body_of(top))]
    if not inner or not draft.choose("rows", int(rows_win(draft, nests, inner)), (0, 1)):
        return False
    for axes in tops(draft):
        to_grid(draft, axes)
    done: set[str] = set()
    for loop in inner:
        if loop.axis not in done:
            done.update(_across_threads(draft, loop))
    keep_rows(draft)
    return True


def body_of(top: For) -> Body:
    """What is done for one point."""
    return _parallel(top)[-1].body


def row_loops(body: Body) -> list[For]:
    """The loops that stand directly in the body of a point."""
    return [s for x in body for s in ([x] if isinstance(x, For) else row_loops(x.body) if isinstance(x, If) else [])]


def rows_win(draft: Draft, nests: list[For], inner: list[For]) -> bool:
    """Whether a block a row is better than a thread a point."""
    if any(isinstance(s, Reduce) and s.running and len(s.targets) > 1 for s in statements(draft.program.body)):
        return False  # threads carry one value on
    longest = max(count_of(nest_of((loop,))) for loop in inner)
    kept = any(isinstance(s, Alloc) and s.buffer.space == "scratch" for s in statements(draft.program.body))
    if kept:
        return True
    if longest < SHORT_ROW:
        return False
    pieces = min(count_of(_parallel(top)) for top in nests)
    across = max(contiguity(draft.program, x.body, x.axis) for loop in inner for x in nest_of((loop,)))
    along = max(contiguity(draft.program, body_of(top), _innermost(top).axis) for top in nests)
    if any(isinstance(s, Reduce) and s.running for s in statements(draft.program.body)):
        return across >= 0.5 and pieces < 1 << 16
    return across > along or pieces < 1 << 12


def _innermost(top: For) -> For:
    """The parallel axis that threads would run along: the last that is longer than one."""
    axes = _parallel(top)
    return next((x for x in reversed(axes) if as_int(x.hi) != 1), axes[-1])


def count_of(loops: list[For]) -> int:
    """Iterations of a nest; a symbolic extent counts as 1024."""
    total = 1
    for loop in loops:
        total *= as_int(loop.hi) or 1 << 10
    return total


def _across_threads(draft: Draft, loop: For) -> list[str]:
    """The loops of a row along the threads: the innermost one where it is long, else all of them together."""
    nest = [x for x in nest_of((loop,)) if x.lo == nest_of((loop,))[0].lo]
    axes = [x.axis for x in nest]
    if any(isinstance(s, Reduce) and s.running for s in nest[-1].body):
        draft.attempt(f"bind({axes[-1]}, lanes)")
        return axes
    along = (f"reorder({', '.join([axes[-1], *axes[:-1]])})", f"bind({axes[-1]}, lanes)")
    if len(axes) > 1 and (as_int(nest[-1].hi) or 1 << 20) >= WIDE_ROW and draft.attempt(*along):
        return axes
    if draft.attempt(*(f"bind({a}, lanes)" for a in reversed(axes))):
        return axes
    for k in range(len(axes)):
        if draft.attempt(f"bind({axes[k]}, lanes)"):
            break
    return axes


def keep_rows(draft: Draft) -> None:
    """Rows that later stages read stay in shared memory, the shorter ones first; what does not fit is scratch memory of the block."""
    room = SHARED_BYTES
    held = [s.buffer for s, scope in scopes(draft.program) if isinstance(s, Alloc) and s.buffer.space == "scratch" and not _in_lanes(scope)]
    for b in sorted(held, key=_bytes):
        size = _bytes(b)
        if size <= room and draft.attempt(f"set_space({b.name}, shared)"):
            room -= size


def _in_lanes(scope) -> bool:
    return any(loop.kind == "lanes" for loop in scope.loops)


def _bytes(b: Buffer) -> int:
    total = BYTES[b.dtype]
    for d in b.shape:
        total *= _size(d)
    return total


def _size(d: Expr) -> int:
    n = as_int(d)
    return 1 << 30 if n is None else n


# ------------------------------------------------------------------------------------------------ full reductions
def split_reduction(draft: Draft) -> bool:
    """One point with a long row: every block reduces a part of the row, one more block combines the parts. Both always in the same order."""
    top = draft.program.body[0]
    if len(draft.program.body) != 1 or not isinstance(top, For) or as_int(top.hi) != 1 or nest_of((top,))[1:]:
        return False
    inner = row_loops(top.body)
    nest = nest_of((inner[0],)) if len(inner) == 1 else []
    if not nest or count_of(nest) < LONG_ROW or not all(isinstance(s, Reduce) and not s.running for s in nest[-1].body):
        return False
    row = nest[0].axis
    for x in nest[1:]:
        merged = draft.fresh(row + x.axis)
        if not draft.attempt(f"collapse({row}, {x.axis}, {merged})"):
            return False
        row = merged
    size = draft.choose("part", max(4096, 1 << (count_of(nest) // 1024).bit_length()), (1 << 12, 1 << 14, 1 << 16))
    block, thread, part = draft.fresh(f"{row}b"), draft.fresh(f"{row}t"), draft.fresh("part")
    if not draft.attempt(f"split({row}, {size}, {block}, {thread})", f"rfactor({block}, {block}, space=scratch)"):
        return False
    number = sum(loop.axis == block for loop in draft.loops()) - 1
    steps = (f"rename({block}, {part}, {number})", f"fuse({block}, {block})", f"unroll({top.axis})")
    if not draft.attempt(*steps) or not draft.attempt(f"bind({thread}, lanes)", f"bind({block}, block)"):
        return False
    return draft.attempt(f"bind({part}, lanes)")
