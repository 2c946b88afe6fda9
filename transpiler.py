"""CUDA to C++ by rules, no model needed: CUDA text comes in, readable C++ with OpenMP and vector loops goes out, checked in the emulator.

    cpp = warploom.transpile(cuda_source, launch="grid=4;block=256")

A PyTorch-extension file becomes a C++ extension for the CPU with the same functions; a bare kernel a function with its launch compiled
in, or, without one, a function that takes the grid and the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .backends.cpu.fission.extension import translate
from .backends.cpu.fission.kernel import Geometry, KernelCode
from .backends.emulator.launch import Launch, launch_comment
from .backends.emulator.torch_extension import is_extension
from .frontend.cuda.binding import Binding
from .frontend.cuda.read import UnsupportedCuda, read


@dataclass(frozen=True)
class Transpiled:
    """C++ text and, per kernel, which path it took and why. `extension`: it is a PyTorch extension."""

    text: str
    kernels: tuple[KernelCode, ...]
    extension: bool

    def to_json(self) -> dict[str, Any]:
        kernels = [{"name": k.name, "path": k.path, "reason": k.why, "regions": k.regions} for k in self.kernels]
        return {"extension": self.extension, "kernels": kernels}


def transpile(cuda_source: str, launch: str | Launch | None = None) -> str:
    """The C++ text. `launch` (`grid=x,y,z;block=x,y,z;shared=n`, or the first line's `// warploom-launch:`) is compiled into bare
    kernels. Raises UnsupportedCuda (line and reason) for what the rules do not cover."""
    return transpile_file(cuda_source, launch).text


def transpile_file(cuda_source: str, launch: str | Launch | None = None) -> Transpiled:
    """As `transpile`, with what became of each kernel."""
    if not cuda_source.strip():
        raise UnsupportedCuda("nothing to transpile: the source is empty", exit_code=2)
    file = read(cuda_source)
    extension = is_extension(cuda_source)
    if not extension and not file.kernels:
        raise UnsupportedCuda("nothing to transpile: no `__global__` function", exit_code=2)
    given = Launch.parse(launch) if isinstance(launch, str) else launch or launch_comment(cuda_source)
    geometries = {k.name: _geometry(given) for k in file.kernels} if given is not None else {}
    if not extension and not given and not file.launches:
        geometries = {k.name: Geometry() for k in file.kernels}
    translated = translate(file, geometries, bare=not extension)
    return Transpiled(translated.text, translated.kernels, extension)


def _geometry(launch: Launch) -> Geometry:
    return Geometry(launch.grid, launch.block, launch.shared_bytes)


def transpile_program(cuda_source: str, binding: Binding, entry: str = "kernel", order: Sequence[int] | None = None) -> Transpiled:
    """A bare program whose launches and buffers are known: one C function `entry` that takes the C side's arguments (buffers by
    number in `order`, by default the binding's own), keeps the temporaries and runs all launches. Raises UnsupportedCuda."""
    from .backends.cpu.fission.program import program

    file = read(cuda_source)
    made = program(file, binding, entry, tuple(order) if order is not None else binding.entry)
    return Transpiled(made.text, made.kernels, False)


