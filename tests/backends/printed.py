"""Builds programs with the CPU printer and runs them on NumPy arrays: what the printer's tests share."""

import ctypes
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import warploom
from warploom.backends.cpu.isa import ISAS, Isa, cpu_flags
from warploom.backends.cpu.printer import HEADER, THREADS, scratch_bytes, symbol, translation_unit
from warploom.backends.toolchain import Headers, compile_library, open_library
from warploom.ir.expr import Const, as_int, substitute
from warploom.ir.kernel import Program

INCLUDE = Path(warploom.__file__).parent / "backends/cpu/include"
HEADERS = Headers.read(INCLUDE, HEADER, "warploom_math.h")
HERE = [isa for isa in ISAS if isa.needs <= cpu_flags()]


def bf16_bits(a: np.ndarray) -> np.ndarray:
    """float32 values that bfloat16 can hold -> their 16 bits."""
    return (a.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def aligned(like: np.ndarray) -> np.ndarray:
    """A 64-byte aligned array of the same shape and dtype."""
    room = np.empty(like.nbytes + 64, np.uint8)
    out = room[-room.ctypes.data % 64 :][: like.nbytes].view(like.dtype).reshape(like.shape)
    out[...] = like
    return out


def fenced(like: np.ndarray) -> np.ndarray:
    """A copy whose last byte is followed by memory that must not be touched."""
    page = mmap.PAGESIZE
    pages = -(-like.nbytes // page)
    room = mmap.mmap(-1, (pages + 1) * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + pages * page), page, 0):
        raise OSError("mprotect")
    out = np.frombuffer(room, np.uint8)[pages * page - like.nbytes : pages * page].view(like.dtype).reshape(like.shape)
    out[...] = like
    return out


class Built:
    """Programs compiled into one library for one instruction set, with more compiler flags where given."""

    def __init__(self, programs: Sequence[Program], isa: Isa, flags: Sequence[str] = ()):
        self.isa, self.programs = isa, {p.name: p for p in programs}
        self.library = open_library(
            compile_library([translation_unit(programs, isa)], (*isa.flags, *flags, "-DWL_PARALLEL_FROM=0"), HEADERS, "test")
        )

    def run(
        self, name: str, dims: Mapping[str, int], args: Mapping[str, np.ndarray], threads: int = 1, place=aligned
    ) -> dict[str, np.ndarray]:
        """The written params, by name; bf16 arrays are float32 outside. `place` copies an argument to where the kernel sees it."""
        p = self.programs[name]
        memory = {
            b.name: place(bf16_bits(args[b.name]) if b.dtype == "bf16" else np.ascontiguousarray(args[b.name]))
            for b in p.params
        }
        given: list = [ctypes.c_int64(dims[d.name]) for d in p.dims]
        given += [ctypes.c_void_p(memory[b.name].ctypes.data) for b in p.params]
        need = scratch_bytes(p, self.isa)
        if need != Const(0):
            size = as_int(substitute(need, {**{k: Const(v) for k, v in dims.items()}, THREADS: Const(threads)}))
            scratch = aligned(np.zeros(size or 64, np.uint8))
            given.append(ctypes.c_void_p(scratch.ctypes.data))
        ctypes.CDLL(None).omp_set_num_threads(threads)
        getattr(self.library, symbol(p))(*given)
        dtypes = {b.name: b.dtype for b in p.params}
        return {n: from_bf16(memory[n]) if dtypes[n] == "bf16" else memory[n] for n in p.written()}
