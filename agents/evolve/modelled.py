"""What a GPU would take, without one: scheduled launches come in, seconds by a roofline model go out.

Each launch costs its memory traffic over the bandwidth or its arithmetic over the peak, whichever is more, divided by how much of the chip its
threads fill (Williams et al., Roofline, CACM 2009; sectors of 32 bytes and 2048 threads a multiprocessor as NVIDIA documents). A model, not a
measurement: what it ranks says so.
"""

from __future__ import annotations

import math

from ...backends.cuda.printer import print_cuda
from ...backends.cuda.program import Launched
from ...backends.triton.printer import print_triton
from ...ir.expr import Expr, as_int, loads
from ...ir.intrinsic import INTRINSICS
from ...ir.kernel import Alloc, Body, Buffer, Call, For, If, Program, Reduce, Stmt, Store, expressions
from ...ir.machine import Machine
from ...ir.module import Launch, Module
from ...ir.types import BYTES
from ...passes.draft import stride

LAUNCH_SECONDS = 3e-6
CACHED_BANDWIDTH = 5.5e12
"""Bytes per second from an H100's second-level cache, as its users measure it."""
TENSOR_CORES = 16
"""Operations on half floats by tensor cores in the time of one in float32 (datasheets: 312 to 19.5 Tflop/s of an A100, 989 to 67 of an H100)."""
SECTOR = 32
_RESIDENT = 2048
_WARP = 32


def module_seconds(module: Module, machine: Machine) -> float:
    """Modelled time of all launches. Raises UnsupportedOnGpu."""
    return sum(launch_seconds(s, machine) for s in module.steps if isinstance(s, Launch))


def launch_seconds(launch: Launch, machine: Machine) -> float:
    """Modelled time of one scheduled kernel, all its launches. Raises UnsupportedOnGpu."""
    program = launch.program
    made = (print_triton if machine.isa == "triton" else print_cuda)(program).at({}).launches
    threads = max((math.prod(x.grid) * _threads(x, machine) for x in made), default=1)
    filled = min(1.0, threads / (machine.cores * _RESIDENT / 4))
    traffic, work = _Count(program).total()
    unique = sum(_bytes(b) for b in program.params)
    spent = max(unique / machine.bandwidth_all, traffic / CACHED_BANDWIDTH, work / (machine.flops * machine.cores))
    return LAUNCH_SECONDS * len(made) + spent / max(filled, 1e-3)


def _threads(x: Launched, machine: Machine) -> int:
    """Of a block; Triton says its warps."""
    return math.prod(x.block) * (_WARP if machine.isa == "triton" else 1)


def _bytes(b: Buffer) -> int:
    return BYTES[b.dtype] * math.prod(as_int(d) or 1 for d in b.shape)


class _Count:
    """Bytes that global accesses move (by sectors) and operations, of a whole launch."""

    def __init__(self, program: Program):
        self.buffers = program.buffers()
        self.given = {b.name for b in program.params}
        self.program = program
        self.traffic = self.work = 0.0
        self.together: dict[str, int] = {}  # vector axes around, and how many elements each has

    def total(self) -> tuple[float, float]:
        self._body(self.program.body, 1.0, "")
        return self.traffic, self.work

    def _body(self, body: Body, times: float, lane: str) -> None:
        for s in body:
            if isinstance(s, For):
                extent = as_int(s.hi) or 1
                outer, self.together = self.together, self.together | ({s.axis: extent} if s.kind == "vector" else {})
                self._body(s.body, times * max(1, extent - (as_int(s.lo) or 0)), s.axis if s.kind == "lanes" else lane)
                self.together = outer
            elif isinstance(s, If):
                self._body(s.body, times, lane)
            elif not isinstance(s, Alloc):
                self._statement(s, times, lane)

    def _statement(self, s: Stmt, times: float, lane: str) -> None:
        if isinstance(s, Call):
            self.work += times * 2 * INTRINSICS[s.intrinsic].width / (TENSOR_CORES if INTRINSICS[s.intrinsic].lanes else 1)
        else:
            self.work += times * (2 if isinstance(s, Reduce) else 1)
        for e in expressions(s):
            for x in loads(e):
                self._access(x.buffer, x.index, times, lane)
        if isinstance(s, Store):
            self._access(s.buffer, s.index, times, lane)

    def _access(self, name: str, index: tuple[Expr, ...], times: float, lane: str) -> None:
        if name not in self.given:
            return
        b = self.buffers[name]
        step = stride(b, index, lane) if lane else None
        if step is not None and any(step == n and stride(b, index, axis) == 1 for axis, n in self.together.items()):
            step = 1  # a thread's elements lie side by side, and the next thread's behind them
        size = BYTES[b.dtype]
        self.traffic += times * (size / 32 if step == 0 else min(SECTOR, abs(step) * size) if step is not None else SECTOR if lane else size)
