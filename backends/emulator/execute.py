"""Runs a bare CUDA kernel on NumPy arrays.

    from warploom.backends.emulator import Launch, run_kernel
    run_kernel(source, "saxpy", Launch.of(4, 256), [y, x, np.float32(2), np.int32(n)])     # y is written in place

Comes in: CUDA text, the kernel's name (a template kernel by its instance, `k<float, 4>`), a launch and the arguments in the
kernel's order: C-contiguous arrays for pointers (float16, bfloat16 as uint16), NumPy or Python scalars by value (int is int32,
float is float32, bool is bool), None for a null pointer. Goes out: the arrays, changed. Raises BuildFailed where the source does not compile,
KernelFailed where the run deadlocks, asserts or writes outside an array. The kernel runs inside this process: for code
that is not trusted take `emulator_translation_unit` and run it in a sandbox.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.diagnostic import WarploomError
from ..toolchain import Headers, compile_library, open_library
from .launch import Launch
from .unit import Call, Parameter, Unit, build_unit, include_folder

_FENCE_BYTES = 4096
_FENCE = 0xA5


class KernelFailed(WarploomError):
    """The kernel did not come to a good end: a deadlock, a failed assertion, a launch that a GPU refuses, or a write outside
    an argument. The message names kernel, block and thread; `warploom run --check` looks closer."""

    code = "WL-E053"
    exit_code = 1


def run_kernel(
    source: str, kernel: str, launch: Launch, args: Sequence[Any], *, include: Sequence[Path] = (), defines: Sequence[str] = ()
) -> None:
    """Runs one launch; arrays among `args` are changed in place."""
    params = [parameter_of(f"argument {i}", value) for i, value in enumerate(args)]
    call = Call(kernel, launch, tuple(range(len(args))))
    unit = build_unit(source, (call,), params, include=include)
    load(unit, include=include, defines=defines).run(params, args)


def parameter_of(name: str, value: Any) -> Parameter:
    """The parameter that a Python value stands for."""
    if value is None:
        return Parameter(name, "uint8")
    if isinstance(value, np.ndarray):
        return Parameter(name, value.dtype.name if value.dtype.fields is None else "struct")
    if isinstance(value, np.void):
        return Parameter(name, "struct", pointer=False)
    return Parameter(name, _scalar(value).dtype.name, pointer=False)


def _scalar(value: Any) -> np.generic:
    if isinstance(value, np.generic):
        return value
    return {bool: np.bool_, int: np.int32, float: np.float32}[type(value)](value)


@dataclass
class LoadedKernel:
    """A built unit, ready to run as often as wanted."""

    library: ctypes.CDLL
    constants: tuple[str, ...] = ()
    _keep: list = field(default_factory=list, repr=False)

    def set_constant(self, number: int, values: np.ndarray) -> None:
        """Fills the `number`-th constant of the unit; raises KernelFailed where it has fewer elements."""
        flat = np.ascontiguousarray(values, np.float64).reshape(-1)
        setter = getattr(self.library, f"wl_constant_{number}")
        setter.restype = ctypes.c_long
        room = setter(ctypes.c_void_p(flat.ctypes.data), ctypes.c_long(flat.size))
        if flat.size > room:
            raise KernelFailed(f"constant {self.constants[number]} has {room} elements, {flat.size} were given", exit_code=2)

    def run(self, params: Sequence[Parameter], args: Sequence[Any]) -> None:
        """Runs the unit's launches; arrays among `args` are changed in place."""
        fenced = [Fenced(p.name, value) if isinstance(value, np.ndarray) else None for p, value in zip(params, args)]
        scalars = [None if p.pointer else np.atleast_1d(_scalar(value)).copy() for p, value in zip(params, args)]
        slots = (ctypes.c_void_p * max(1, len(args)))()
        for i, (array, scalar) in enumerate(zip(fenced, scalars)):
            slots[i] = array.address if array else scalar.ctypes.data if scalar is not None else None
        entry = self.library.wl_run
        entry.restype = ctypes.c_char_p
        failure = entry(slots)
        if failure:
            raise KernelFailed(failure.decode(errors="replace"))
        for array, value in zip(fenced, args):
            if array:
                value[...] = array.checked()


class Fenced:
    """A copy of an array between two fences of known bytes."""

    def __init__(self, name: str, array: np.ndarray):
        self.name = name
        inner = np.ascontiguousarray(array).view(np.uint8).reshape(-1) if array.size else np.empty(0, np.uint8)
        self._room = np.full(inner.nbytes + 3 * _FENCE_BYTES, _FENCE, np.uint8)
        self._start = _FENCE_BYTES + -(self._room.ctypes.data + _FENCE_BYTES) % _FENCE_BYTES
        self._stop = self._start + inner.nbytes
        self._room[self._start : self._stop] = inner
        self.address = self._room.ctypes.data + self._start
        self._dtype, self._shape = array.dtype, array.shape

    def checked(self) -> np.ndarray:
        """The array; raises KernelFailed where a fence has changed."""
        before, after = self._room[: self._start], self._room[self._stop :]
        for place, fence in (("before the start", before), ("past the end", after)):
            if (fence != _FENCE).any():
                raise KernelFailed(f"a thread wrote {place} of {self.name}", hint="run with --check to see which")
        return self._room[self._start : self._stop].view(self._dtype).reshape(self._shape)


def load(
    unit: Unit, *, include: Sequence[Path] = (), defines: Sequence[str] = (), constants: Sequence[str] = ()
) -> LoadedKernel:
    """Builds (or finds in the cache) and opens a unit. `defines` are `N=V`."""
    return open_kernel(build(unit, include=include, defines=defines), constants)


def open_kernel(path: Path, constants: Sequence[str] = ()) -> LoadedKernel:
    """Opens what `build` made."""
    return LoadedKernel(open_library(path), tuple(constants))


def build(
    unit: Unit, *, include: Sequence[Path] = (), defines: Sequence[str] = (), flags: Sequence[str] = (), extra: str = ""
) -> Path:
    """The shared library of a unit; `extra` is put before the header. Raises BuildFailed with the compiler's first error line."""
    given = [f"-D{d}" for d in defines] + [f"-I{folder}" for folder in include]
    base = [
        "-std=gnu++17",
        *(() if any(f.startswith("-O") for f in flags) else ("-O2",)),
        "-march=native",
        "-fopenmp",
        "-fvisibility=hidden",
        "-mtls-dialect=gnu2",
        *unit.build_flags,
        *flags,
        f"-I{include_folder()}",
    ]
    headers = Headers((("warploom_prelude.h", _prelude(extra + unit.defines)),))
    return compile_library([f'#include "{headers.main}"\n{unit.body}'], (*base, *given), headers, "emulated")


def _prelude(defines: str) -> str:
    """The header to compile beforehand; its stamp makes the build cache notice a changed emulator."""
    return f'// {header_stamp()}\n{defines}#include "warploom/emulator.h"\n'


@functools.cache
def header_stamp() -> str:
    """A digest of the emulator's headers."""
    digest = hashlib.sha256()
    for path in sorted(include_folder().rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
