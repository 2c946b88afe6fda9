"""A built C library, a signature and a number of slots come in, a `Contained` process with its arena goes out."""

from __future__ import annotations

import os
import socket
import struct

import numpy as np

from ..backends.cpu.malloc import KEEPING
from .arena import Arena, Layout, lay_out, sealed_file
from .build import Library, runner
from .candidate import scalar_types
from .contained import Contained, Ended
from .sandbox import GIB, Limits, Sandbox
from .signature import Argument, Signature
from .verdict import Finding

CLOCKS = {
    "clock_gettime", "gettimeofday", "time", "clock", "times", "clock_getres", "timespec_get", "omp_get_wtime", "omp_get_wtick",
    "__vdso_clock_gettime", "nanosleep", "clock_nanosleep",
}  # fmt: skip
LOAD_S = 30.0


def layout_for(signature: Signature, slots: int) -> Layout:
    """One buffer per tensor argument and slot."""
    return lay_out([a.nbytes for a in signature.tensors], slots)


def start(
    library: Library, source: str, signature: Signature, scalars: tuple, slots: int, threads: int, sandbox: Sandbox
) -> Contained:
    """Starts the runner on a library. Raises `Ended` where it does not load."""
    if library.names & CLOCKS:
        raise Ended(Finding("timer-tamper", f"it defines {', '.join(sorted(library.names & CLOCKS))}"))
    arena = Arena(layout_for(signature, slots))
    ours, theirs = socket.socketpair()
    program, code = sealed_file("runner", runner()), sealed_file("kernel", library.content)
    plan = sealed_file("plan", _plan(arena.layout, signature, scalars, source).encode())
    fds = (theirs.fileno(), arena.fd, code, plan, program)
    arguments = [
        f"/proc/self/fd/{program}",
        *map(str, (theirs.fileno(), theirs.fileno(), arena.fd, code, plan, arena.layout.size)),
        "kernel",
    ]
    limits = Limits(cpu_s=600, memory=arena.layout.size + 6 * GIB, file=16 << 20, processes=160)
    environment = {**KEEPING, "OMP_NUM_THREADS": str(threads), "OMP_DYNAMIC": "false", "OMP_STACKSIZE": "8M", "GOMP_SPINCOUNT": "20000"}
    process = sandbox.start(arguments, limits=limits, fds=fds, environment=environment)
    theirs.close()
    contained = Contained(process, ours, arena, keep=(code, plan, program), repeats=True)
    try:
        contained.wait_ready(LOAD_S)
    except BaseException:
        contained.close()
        raise
    return contained


def _plan(layout: Layout, signature: Signature, scalars: tuple, source: str) -> str:
    types = scalar_types(source, len(signature.arguments))
    lines = [f"{layout.size} {len(layout.guards)} {len(layout.slots)} {len(signature.arguments)}"]
    lines += [f"{at} {length}" for at, length in layout.guards]
    for buffers in layout.slots:
        left = iter(buffers)
        for argument, declared, value in zip(signature.arguments, types, scalars):
            lines.append(_buffer(argument, next(left).start) if argument.kind == "tensor" else _scalar(argument.kind, declared, value))
    return "\n".join(lines) + "\n"


def _buffer(argument: Argument, start: int) -> str:
    """`p` and where it lies; `o` for an output, with its bytes."""
    return f"o {start:x} {argument.nbytes}" if argument.role == "output" else f"p {start:x}"


def _scalar(kind: str, declared: str, value) -> str:
    """`i` and the two's complement, or `d` and the register's bits: a float or a double, as the kernel declares."""
    real = kind == "float" or (declared.split() or [""])[0] in {"float", "double"}
    if not real:
        if declared.startswith(("float", "double")):
            value = float(value)
        return f"i {int(value) & (2**64 - 1):x}"
    bits = (
        np.float32(value).view(np.uint32)
        if "float" in declared.split()
        else struct.unpack("<Q", struct.pack("<d", float(value)))[0]
    )
    return f"d {int(bits):x}"


def thread_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))
