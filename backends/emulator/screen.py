"""A cheap look before the checker's. A unit and its arguments come in; the arrays go out where the run is certainly clean, else None.

Only for kernels whose threads never wait for one another: they run as plain loops, and `include/warploom/screen.h` keeps one word per
element of what is written. Whatever the checker (`check.py`) would report makes the answer None, and then the checker says what it is.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .argument import Argument, copy_in, copy_out
from .execute import LoadedKernel, build, open_kernel
from .unit import Unit

SCREEN_FLAGS = (
    "-O2",
    "-fno-tree-vectorize",
    "-fsanitize=thread",
    "-fsanitize=bounds",
    "--param=tsan-instrument-func-entry-exit=0",
)
CAST_FLAGS = ("-fsanitize=alignment", "-fno-tree-sra")
"""Without casts no pointer is misaligned; with them vector types are observed whole, not by their members."""
SCREEN_DEFINES = "#define WL_SCREEN 1\n"
_CLEAN = 0
_BACKWARDS = 1


def screenable(unit: Unit) -> bool:
    """Whether no thread of the kernels that run can wait for another, nor step with its warp."""
    run = {call.kernel.split("<", 1)[0].strip().rsplit("::", 1)[-1] for call in unit.calls}
    return not unit.flags and not any(k.waits for k in unit.kernels if k.name in run)


_MAY_CAST = re.compile(r"_cast\b|\*\s*\)|\b(union|typedef|using)\b")


def screen_flags(unit: Unit) -> tuple[str, ...]:
    """How to compile the unit."""
    return (*SCREEN_FLAGS, *CAST_FLAGS, "-fno-sanitize-recover=alignment") if _MAY_CAST.search(unit.source) else SCREEN_FLAGS


def open_screen(
    unit: Unit,
    *,
    include: Sequence[Path] = (),
    defines: Sequence[str] = (),
    constants: Sequence[tuple[str, np.ndarray]] = (),
) -> Screen:
    """Builds the unit for `Screen.run`. Raises BuildFailed."""
    path = build(unit, include=include, defines=defines, flags=screen_flags(unit), extra=SCREEN_DEFINES)
    kernel = open_kernel(path, [name for name, _ in constants])
    for number, (_, values) in enumerate(constants):
        kernel.set_constant(number, values)
    return Screen(kernel)


class Screen:
    """A unit built for the screen."""

    def __init__(self, kernel: LoadedKernel):
        self.library = kernel.library
        self._met = False
        self.library.wl_screen_buffer.restype = ctypes.c_void_p
        self.library.wl_run.restype = ctypes.c_char_p

    def run(self, arguments: Sequence[Argument]) -> list[np.ndarray | None] | None:
        """The arrays of the first order of threads; None where the checker has to look. Threads that share nothing but what they only
        read do the same in every order; where they meet in atomics, a second run goes backwards."""
        arrays = self._once(arguments, 0)
        if arrays is None or not self._met:
            return arrays
        return arrays if self._once(arguments, _BACKWARDS) is not None else None

    def _once(self, arguments: Sequence[Argument], order: int) -> list[np.ndarray | None] | None:
        tool = self.library
        tool.wl_screen_order(order)
        keep: list = []
        try:
            slots = self.place(arguments, keep)
            if slots is None or tool.wl_run(slots) or tool.wl_screen_tripped() != _CLEAN:
                return None
            self._met = bool(tool.wl_screen_atomics())
            outs = [slots[i] for i, a in enumerate(arguments) if a.kind == "out" and isinstance(a.value, np.ndarray)]
            if not all(tool.wl_screen_written(ctypes.c_void_p(address)) for address in outs):
                return None
            return [copy_out(slots[i], a.value) if isinstance(a.value, np.ndarray) else None for i, a in enumerate(arguments)]
        finally:
            tool.wl_screen_free()

    def place(self, arguments: Sequence[Argument], keep: list) -> ctypes.Array | None:
        """Copies of the arguments where the screen sees them; None where there is no room. `keep` holds what must live as long."""
        slots = (ctypes.c_void_p * max(1, len(arguments)))()
        for i, argument in enumerate(arguments):
            slots[i] = copy_in(argument, self._buffer(argument), keep)
            if slots[i] is None and isinstance(argument.value, np.ndarray):
                return None
        return slots

    def _buffer(self, argument: Argument):
        return lambda size, item: self.library.wl_screen_buffer(ctypes.c_size_t(size), argument.kind_number, item)
