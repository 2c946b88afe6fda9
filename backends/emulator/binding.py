"""A bare CUDA program beside the C function that it should equal. Both are run; the first binding whose numbers agree is kept.

Comes in: CUDA text, C text, and the `Reference` that `frontend.cuda.binding` read. Goes out: a `Bound`: the binding, and a call that runs
the kernels in the emulator on arrays. Where none agrees, `Unbindable` says how the two sides contradict each other. Both sides
run in a process of their own while the search goes on.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...frontend.cuda.binding import Binding, Buffer, Reference, Unbindable, bindings
from ..toolchain import compile_library, open_library
from .execute import Fenced, KernelFailed, build, open_kernel
from .isolate import in_child
from .launch import Launch
from .sidecar import poisoned, storage_dtype, to_bfloat16
from .unit import Call, Parameter, Unit, build_unit

_PRELUDE = """#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <algorithm>
using std::max;
using std::min;
"""
# Without OpenMP: the C side runs in a forked process, where a team of threads of the parent would be waited for in vain.
_FLAGS = ("-std=gnu++17", "-O2", "-march=native", "-ffp-contract=off", "-fpermissive")
_CANDIDATES = 96
_MOST_MISFIT = 48.0


@dataclass(frozen=True)
class Bound:
    """A program whose launches and buffers are known. `tried`: bindings that were run to find it."""

    source: str
    binding: Binding
    tried: int

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the kernels in the emulator, in this process. Outputs by name. Raises KernelFailed, BuildFailed."""
        arrays = allocate(self.binding.buffers, inputs)
        run_binding(self.source, self.binding, arrays)
        return {b.name: arrays[i] for i, b in enumerate(self.binding.buffers) if b.role == "out"}


def bind(cuda_source: str, c_source: str, reference: Reference, seed: int = 0) -> Bound:
    """The binding under which CUDA and C agree. Raises Unbindable where there is none, UnsupportedCuda, BuildFailed."""
    found = itertools.islice((b for b in bindings(cuda_source, reference) if b.misfit < _MOST_MISFIT), _CANDIDATES)
    inputs = random_inputs(reference.buffers, seed)
    c_library = build_c(c_source)
    wanted = in_child(lambda: run_c(c_library, reference, inputs))
    first, tried = "", 0
    for tried, binding in enumerate(found, 1):
        why = _disagreement(cuda_source, binding, inputs, wanted)
        if not why:
            return Bound(cuda_source, binding, tried)
        first = first or why
    if not tried:
        raise Unbindable("no assignment of buffers fits the stated sizes" + _oddest(cuda_source, reference))
    raise Unbindable(f"no binding of {tried} agrees with the C side; the likeliest: {first}" + _oddest(cuda_source, reference))


def _oddest(cuda_source: str, reference: Reference) -> str:
    from ...frontend.cuda.diagnosis import contradiction

    why = contradiction(cuda_source, reference)
    return f"; {why}" if why else ""


def _disagreement(source: str, binding: Binding, inputs: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> str:
    """Why the binding is wrong; empty when it is right."""
    try:
        build_binding(source, binding)
        got = in_child(lambda: Bound(source, binding, 0).run(inputs))
    except KernelFailed as error:
        return error.message
    return next((why for name in wanted if (why := _difference(name, got[name], wanted[name]))), "")


def _difference(name: str, got: np.ndarray, wanted: np.ndarray) -> str:
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        error = np.where(same, 0.0, np.abs(a - b))
    finite = b[np.isfinite(b)]
    scale = max(float(np.abs(finite).max(initial=0.0)), 1e-30)
    bad = ~(error <= 1e-3 * scale)
    if not bad.any():
        return ""
    return f"{name} differs in {int(bad.sum())} of {bad.size} elements, first at {int(np.flatnonzero(bad)[0])}"


def random_inputs(buffers: Sequence[Buffer], seed: int) -> dict[str, np.ndarray]:
    """Inputs in [0, 1); whole numbers below 2 for integers."""
    generator = np.random.Generator(np.random.PCG64(seed))
    made = {}
    for b in buffers:
        if b.role == "in":
            values = generator.random(b.count)
            dtype = storage_dtype(b.dtype)
            made[b.name] = to_bfloat16(values) if b.dtype == "bfloat16" else (values if dtype.kind == "f" else values * 2).astype(dtype)
    return made


def allocate(buffers: Sequence[Buffer], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """One flat array per buffer: a copy of the input, or poison."""
    arrays = []
    for b in buffers:
        dtype = storage_dtype(b.dtype)
        array = poisoned((b.count,), dtype)
        if b.role == "in":
            given = np.ascontiguousarray(inputs[b.name], dtype).reshape(-1)
            array[: given.size] = given[: b.count]
        arrays.append(array)
    return arrays


def build_c(c_source: str, flags: Sequence[str] = ()):
    """The library of a C function; it is compiled as C++ with `max` and `min` in scope. Raises BuildFailed."""
    body = c_source if 'extern "C"' in c_source else f'extern "C" {{\n{c_source}\n}}\n'
    return compile_library([_PRELUDE + body], (*_FLAGS, *flags), None, "reference")


def run_c(library, reference: Reference, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The C function's outputs by name."""
    arrays = allocate(reference.buffers, inputs)
    entry = getattr(open_library(library), reference.name)
    entry.restype = None
    entry(*(ctypes.c_void_p(a.ctypes.data) for a in arrays))
    return {b.name: a for b, a in zip(reference.buffers, arrays) if b.role == "out"}


def bound_unit(source: str, binding: Binding) -> Unit:
    """The emulator's unit of all launches. Every launch has parameters of its own, so that bindings differ in pointers alone."""
    calls, params = [], []
    for launch in binding.launches:
        places = range(len(params), len(params) + len(launch.args))
        params += [_parameter(binding, launch.scalars, k, a) for k, a in enumerate(launch.args)]
        calls.append(Call(launch.kernel, Launch(launch.grid, launch.block), tuple(places)))
    return build_unit(source, calls, params)


def _parameter(binding: Binding, scalars: Sequence[int | float | None], at: int, buffer: int | None) -> Parameter:
    if buffer is not None:
        return Parameter(f"argument{at}", binding.buffers[buffer].dtype)
    return Parameter(f"argument{at}", "int32" if isinstance(scalars[at], int) else "float32", pointer=False)


def build_binding(source: str, binding: Binding):
    """The compiled kernels of a binding. Raises BuildFailed."""
    return build(bound_unit(source, binding))


def run_binding(source: str, binding: Binding, arrays: Sequence[np.ndarray]) -> None:
    """Runs the launches in the emulator; `arrays` go with the buffers and are changed in place. Raises KernelFailed."""
    library = open_kernel(build_binding(source, binding)).library
    fenced = [Fenced(b.name, a) for b, a in zip(binding.buffers, arrays)]
    held: list[ctypes.Array | np.ndarray] = []
    slots: list[int] = []
    for launch in binding.launches:
        for at, buffer in enumerate(launch.args):
            if buffer is not None:
                slots.append(fenced[buffer].address)
            else:
                value = launch.scalars[at]
                held.append(np.array([value], np.int32 if isinstance(value, int) else np.float32))
                slots.append(held[-1].ctypes.data)  # type: ignore[union-attr]
    library.wl_run.restype = ctypes.c_char_p
    failure = library.wl_run((ctypes.c_void_p * max(1, len(slots)))(*slots))
    if failure:
        raise KernelFailed(failure.decode(errors="replace"))
    for array, fence in zip(arrays, fenced):
        array[...] = fence.checked()


