"""Compiles many programs into one library and runs them with fences around every buffer."""

import ctypes
from pathlib import Path

import numpy as np
import warploom
from warploom.backends.cpu.isa import detect
from warploom.backends.cpu.printer import HEADER, THREADS, scratch_bytes, symbol, translation_unit
from warploom.backends.toolchain import Headers, compile_library
from warploom.ir.diagnostic import IllegalProgram
from warploom.ir.expr import Const, as_int, substitute
from warploom.ir.interpret import shape_of
from warploom.ir.types import NUMPY

INCLUDE = Path(warploom.__file__).parent / "backends/cpu/include"
ISA = detect()
FENCE, POISON = 4096, 0xA5
UNITS = 2


def printable(program):
    """Whether the printer takes the program; it says why not with IllegalProgram."""
    try:
        translation_unit([program], ISA)
    except IllegalProgram:
        return False
    return True


class Compiled:
    """Programs with different names, compiled together with little optimisation."""

    def __init__(self, programs):
        units = [translation_unit(part, ISA) for k in range(UNITS) if (part := programs[k::UNITS])]
        headers = Headers.read(INCLUDE, HEADER, "warploom_math.h")
        self.openmp = ctypes.CDLL("libgomp.so.1", ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(compile_library(units, (*ISA.flags, "-O1"), headers, "fuzz")))

    def run(self, p, sizes, args, threads=2):
        """The written params, by name; an AssertionError when a fence was overwritten."""
        memory = {b.name: _Fenced(shape_of(b, sizes), NUMPY[b.dtype], args.get(b.name)) for b in p.params}
        given = [ctypes.c_int64(sizes[d.name]) for d in p.dims]
        given += [memory[b.name].pointer for b in p.params]
        need = substitute(scratch_bytes(p, ISA), {**{k: Const(v) for k, v in sizes.items()}, THREADS: Const(threads)})
        if scratch_bytes(p, ISA) != Const(0):
            memory["scratch memory"] = _Fenced((as_int(need) or 0,), np.uint8, None)
            given.append(memory["scratch memory"].pointer)
        self.openmp.omp_set_num_threads(threads)
        getattr(self.library, symbol(p))(*given)
        for name, m in memory.items():
            assert m.whole(), f"{p.name} wrote outside {name}"
        return {n: memory[n].array for n in p.written()}


class _Fenced:
    """An array aligned to 64 bytes, poisoned where nothing is given, with poisoned bytes before and after it."""

    def __init__(self, shape, dtype, given):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.room = np.full(size + 64 + 2 * FENCE, POISON, np.uint8)
        self.begin = FENCE + -(self.room.ctypes.data + FENCE) % 64
        self.end = self.begin + size
        self.array = self.room[self.begin : self.end].view(dtype).reshape(shape)
        if given is not None:
            self.array[...] = given

    @property
    def pointer(self):
        return ctypes.c_void_p(self.room.ctypes.data + self.begin)

    def whole(self):
        return bool((self.room[: self.begin] == POISON).all() and (self.room[self.end :] == POISON).all())
