"""Scheduled Programs to CUDA C++. Comes in: a Program. Goes out: a `CudaProgram`: one kernel per top-level nest of block loops, with its
launch, in order.

The block axes make the grid, the innermost along x. A nest of lanes runs over the threads of a block, which are as many as the largest nest
needs (up to 1024; larger nests, and those whose extent is a dim, are walked in strides). What stands between top-level nests is a launch of
one block. Shared memory is static up to 48 KiB, else one dynamic array; a scratch buffer of a block is its part of a workspace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from ...ir.dependence import crossed
from ...ir.expr import ONE, Const, Expr, Var, add, as_int, bounds, floordiv, mod, mul, names
from ...ir.intrinsic import inline_calls
from ...ir.kernel import Alloc, Body, Buffer, Call, For, Program, Stmt, Store, expressions, statements, writes
from ...ir.scope import Scope
from ...ir.text import print_program
from ...ir.types import BYTES
from ...passes.barriers import with_barriers
from ...passes.regions import nest_at, normalised
from .codegen.block import ALIGN, Block
from .codegen.functions import Functions
from .codegen.positions import Positions
from .codegen.values import STORAGE, Home
from .codegen.warps import lanes_of_warps
from .codegen.writer import LIBRARY, RESERVED
from .launches import (
    Launch,
    Plan,
    beyond_int,
    block_allocs,
    plan_launches,
    rectangular,
    refuse_variants,
    used,
    whole,
    workspaces,
)
from .program import CudaBuffer, CudaKernel, CudaLaunch, CudaProgram

STATIC_SHARED = 48 << 10
"""Bytes of shared memory that a kernel may declare; more is asked for at the launch."""

FEW_THREADS, THREADS, MANY_THREADS, MOST_THREADS = 64, 256, 512, 1024
RESIDENT, MANY_REGISTERS, MOST_REGISTERS = 512, 64, 96
"""Threads that a multiprocessor shall hold of a kernel whose threads keep so many accumulators: its compiler is told, since a few registers more
than 128 a thread would leave room for one block. More accumulators than the most would not fit into 128."""
LONG_ROW = 1 << 13
"""Iterations of a nest from which a block has MANY_THREADS."""


def print_cuda(program: Program, functions: Functions | None = None) -> CudaProgram:
    """The CUDA of a scheduled program. Raises UnsupportedOnGpu."""
    functions = functions or Functions()
    refuse_variants(program)
    program = lanes_of_warps(inline_calls(program, "cuda"))
    plan = plan_launches(normalised(program), program.name)
    kernels: list[CudaKernel] = []
    launches: list[CudaLaunch] = []
    workspaces: list[Buffer] = []
    for launch in plan.launches:
        kernel, made, spaces = _Kernel(program, plan, launch, functions).print()
        kernels.append(kernel)
        launches.append(made)
        workspaces += spaces
    buffers = [CudaBuffer(b.name, b.dtype, b.shape, _role(program, b.name)) for b in program.params]
    buffers += [CudaBuffer(b.name, b.dtype, b.shape, "temp") for b in (*plan.temps, *workspaces)]
    return CudaProgram(program.name, program.dims, tuple(buffers), tuple(kernels), tuple(launches), tuple(functions.needed.values()))


def _role(program: Program, name: str) -> str:
    if name not in program.written():
        return "in"
    return "inout" if name in program.read() else "out"


# ------------------------------------------------------------------------------------------------ launches
def _threads(body: Body) -> int:
    """Threads of a block: what its largest nest of lanes needs (of those that own registers, where some do), in whole
    warps; a strided nest takes what there is, or THREADS and more."""
    nests = [nest for s in statements(body) if (nest := nest_at(s)) is not None]
    owned = {s.buffer.name for s in statements(body) if isinstance(s, Alloc) and s.buffer.owned}
    owners = [n for n in nests if owned & used(n.body)]
    counts = [n.count for n in owners or nests]
    whole = max((n for n in counts if n is not None and n <= MOST_THREADS), default=0)
    strided = [n for n in counts if n is None or n > MOST_THREADS]
    if strided and whole < FEW_THREADS:
        whole = MANY_THREADS if any(n is not None and n >= LONG_ROW for n in strided) else THREADS
    return -(-whole // 32) * 32 if whole else 1


# ------------------------------------------------------------------------------------------------ one kernel
class _Body(Block):
    """A block whose number in the grid is known by the axes `blocks`."""

    blocks: tuple[For, ...] = ()
    kernel_name: str = ""

    def declare_positions(self, found: Positions) -> None:
        """Name what a printing before found used again and again."""
        axes = {loop.axis for loop in self.blocks} | {axis for axis in self.lane_axes if self.names.get(axis, axis) == self.lane_axes[axis]}
        self.positions = Positions(frozenset(axes))
        made = Positions(seen={e: n for e, n in found.seen.items() if names(e) <= axes})
        outer, self.ranges = self.ranges, {**self.ranges, **self.lane_ranges}
        for name, e in made.name_all(self.fresh):
            self.names[name] = name
            self.line(f"const {self.index_type} {name} = {self.value(e, 'i64').text};")
            self.ranges = {**self.ranges, name: bounds(e, self.ranges)}  # type: ignore[arg-type]
            outer = {**outer, name: self.ranges[name]}
        self.ranges = outer
        self.positions.known = made.known

    @property
    def lane_axes(self) -> dict[str, str]:
        """The lanes axes that mean one digit of the thread's number in the whole kernel, with their variables."""
        count: dict[str, list[str]] = {}
        for (axis, _), variable in self.lane_names.items():
            count.setdefault(axis, []).append(variable)
        out = {axis: found[0] for axis, found in count.items() if len(found) == 1}
        for axis, variable in out.items():
            self.names.setdefault(axis, variable)
        return out

    def block_number(self) -> Expr:
        out: Expr = Const(0)
        for loop in self.blocks:
            out = add(mul(out, loop.hi), Var(loop.axis))
        return out


@dataclass
class _Kernel:
    program: Program
    plan: Plan
    launch: Launch
    functions: Functions
    workspaces: list[Buffer] = field(default_factory=list)

    def print(self) -> tuple[CudaKernel, CudaLaunch, list[Buffer]]:
        """The kernel, its launch, and the workspaces that it needs."""
        block, head, grid, args = self._printed(Positions())
        if block.positions.seen:
            self.workspaces.clear()
            block, head, grid, args = self._printed(block.positions)
        name = block.kernel_name
        lines = [head, *self._shared_array(block), *block.writer.lines, "}"]
        made = CudaLaunch(name, grid, (block.threads, 1, 1), self._dynamic_bytes(block), args)
        shown = replace(self.program, name=name, body=(whole(self.launch),))
        return CudaKernel(name, "\n".join(lines), args, print_program(shown), block.index_type), made, self.workspaces

    def _printed(self, positions: Positions) -> tuple[_Body, str, tuple[Expr, Expr, Expr], tuple[str, ...]]:
        """The body in a writer, the signature, the grid and the arguments; `positions` as counted by a printing before."""
        mine = used((whole(self.launch),))
        params = [b for b in (*self.program.params, *self.plan.temps) if b.name in mine]
        spaces = self._workspaces()
        name = self.launch.name + "_kernel" if self.launch.name in RESERVED | LIBRARY else self.launch.name
        block = self._block(name, params, spaces)
        block.kernel_name = name
        grid, declared = self._grid(block)
        head = self._signature(name, block, params, spaces, block.threads)
        for text in declared:
            block.line(text)
        synced = with_barriers(self.launch.body, {b.name: b for b in params})
        block.declare_lanes(synced)
        with _ranges(block, self.launch.blocks):
            block.declare_positions(positions)
            block.regions(synced)
        args = (*self._dims(params, spaces), *(b.name for b in params), *(b.name for b in self.workspaces))
        return block, head, grid, args

    def _block(self, name: str, params: list[Buffer], spaces: dict[str, str]) -> _Body:
        body = self.launch.body
        scope = Scope(self.program.dims, self.launch.blocks, (*self.program.params, *self.plan.temps))
        written: dict[str, int] = {}
        for s in statements(body):
            for w in writes(s):
                written[w] = written.get(w, 0) + 1
        shared = self._shared_bytes()
        block = _Body(
            self.functions, set(RESERVED) | {name}, beyond_int(self.program.dims, params), self._atomic(), written, _threads(body),
            shared is None or shared > STATIC_SHARED, spaces, scope,
        )  # fmt: skip
        block.blocks = self.launch.blocks
        block.in_pairs = frozenset(n for s in statements(body) for n in _several(s))
        for d in self.program.dims:
            block.ranges[d.name] = (d.lo, d.hi)
        for b in params:
            block.homes[b.name] = Home("memory", b)
        return block

    def _atomic(self) -> frozenset[str]:
        """Buffers into which several blocks combine at one element."""
        found: set[str] = set()
        scope = Scope(self.program.dims, (), (*self.program.params, *self.plan.temps))
        for loop in self.launch.blocks:
            found |= {r.place.buffer for r in crossed(loop, scope)}
            scope = scope.enter(loop)
        return frozenset(found)

    # -------------------------------------------------------------------------------- memory of a block
    def _block_buffers(self) -> Iterator[Buffer]:
        yield from block_allocs(self.launch.body)

    def _shared_bytes(self) -> int | None:
        total = 0
        for b in self._block_buffers():
            if b.space == "shared":
                n = _count(b)
                if n is None:
                    return None
                total += -(-n * BYTES[b.dtype] // ALIGN) * ALIGN
        return total

    def _dynamic_bytes(self, block: Block) -> Expr:
        return Const(block.shared_bytes) if isinstance(block.shared_bytes, int) else block.shared_bytes

    def _shared_array(self, block: Block) -> list[str]:
        if not block.dynamic or self._dynamic_bytes(block) == Const(0):
            return []
        return [f"    extern __shared__ __align__({ALIGN}) unsigned char shared_memory[];"]

    def _workspaces(self) -> dict[str, str]:
        """Scratch buffers of a block -> the parameter that holds those of all blocks."""
        self.workspaces += workspaces(self.launch)
        own = [b.name.removeprefix(f"{self.launch.name}_") for b in self.workspaces]
        return {name.removesuffix("_space"): name for name in own}

    # -------------------------------------------------------------------------------- head
    def _signature(self, name: str, block: Block, params: list[Buffer], spaces: dict[str, str], threads: int) -> str:
        written = set(self.program.written()) | {t.name for t in self.plan.temps}
        mine = {w for s in statements(self.launch.body) for w in writes(s)}
        args = [f"{block.index_type} {block.name(d)}" for d in self._dims(params, spaces)]
        for b in params:
            constant = "" if b.name in written and b.name in mine else "const "
            args.append(f"{constant}{STORAGE[b.dtype]}* __restrict__ {block.name(b.name)}")
        for b, (local, _) in zip(self.workspaces, list(spaces.items())):
            spaces[local] = block.fresh(spaces[local])
            args.append(f"{STORAGE[b.dtype]}* __restrict__ {spaces[local]}")
        bounds = f"{threads}, {RESIDENT // threads}" if threads <= RESIDENT // 2 and MANY_REGISTERS <= self._registers() <= MOST_REGISTERS else f"{threads}"
        head = f'extern "C" __global__ void __launch_bounds__({bounds}) {name}('
        one = f"{head}{', '.join(args)}) {{"
        return one if len(one) <= 128 else head + "\n    " + ",\n    ".join(args) + ") {"

    def _registers(self) -> int:
        """Elements of the largest array that each thread keeps in registers."""
        held = [s.buffer for s in statements(self.launch.body) if isinstance(s, Alloc) and s.buffer.space == "local"]
        return max((math.prod(as_int(d) or 1 for d in b.shape[b.owned :]) for b in held), default=0)

    def _dims(self, params: list[Buffer], spaces: dict[str, str]) -> tuple[str, ...]:
        """Dims that the kernel's text mentions."""
        seen = {n for b in (*params, *self._block_buffers()) for d in b.shape for n in names(d)}
        seen |= {n for s in statements((whole(self.launch),)) for e in expressions(s) for n in names(e)}
        return tuple(d.name for d in self.program.dims if d.name in seen)

    def _grid(self, block: Block) -> tuple[tuple[Expr, Expr, Expr], list[str]]:
        """The grid, and the declarations of the block axes."""
        loops = self.launch.blocks
        kind = block.index_type
        if rectangular(loops):
            axes = [block.name(x.axis) for x in loops]
            texts = [f"const {kind} {a} = blockIdx.{c};" for a, c in zip(axes[::-1], "xyz")][::-1]
            x, y, z = (*[loop.hi for loop in loops[::-1]], ONE, ONE, ONE)[:3]
            return (x, y, z), texts
        total: Expr = ONE
        texts = []
        number = Var("blockIdx.x")
        block.names[number.name] = "blockIdx.x" if kind == "int" else "(long long)blockIdx.x"
        for loop in loops[::-1]:
            digit = floordiv(number, total) if total != ONE else number
            digit = digit if loop is loops[0] else mod(digit, loop.hi)
            block.ranges[number.name] = (0, None)
            texts.append(f"const {kind} {block.name(loop.axis)} = {block.value(digit, 'i64').text};")
            total = mul(total, loop.hi)
        return (total, ONE, ONE), texts[::-1]


def _several(s: Stmt) -> list[str]:
    """Buffers of which a statement may touch several elements at a time: those of an operation of a warp, and of a copy by a vector loop."""
    if isinstance(s, For) and s.kind == "vector":
        return [x.buffer for x in s.body if isinstance(x, Store)]
    return [x.buffer for x in s.operands[1:]] if isinstance(s, Call) else []


def _count(b: Buffer) -> int | None:
    total = 1
    for d in b.shape:
        n = as_int(d)
        if n is None:
            return None
        total *= n
    return total


def _ranges(block: Block, loops: tuple[For, ...]) -> ExitStack:
    """The axes of the grid, in scope."""
    stack = ExitStack()
    for loop in loops:
        stack.enter_context(block.axis(loop.axis, loop.lo, loop.hi))
    return stack
