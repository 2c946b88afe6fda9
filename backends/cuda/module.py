"""A Module's launches as CUDA programs: one for each run of launches between steps of ATen, buffers named by the module's values.

Comes in: a Module scheduled for a GPU. Goes out: `Printed`: the steps in order, and what prepares weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ...ir.kernel import Program
from ...ir.module import Aten, Launch, Library, Module
from ...ir.types import Dim
from .codegen.functions import Functions
from .printer import print_cuda
from .program import CudaBuffer, CudaKernel, CudaLaunch, CudaProgram

Host = Aten | Library


@dataclass(frozen=True)
class Target:
    """How a language for GPUs is printed: `functions()` collects what the kernels of a file call, `print(program, functions)` prints one."""

    functions: Callable[[], Any]
    print: Callable[[Program, Any], CudaProgram]


CUDA = Target(Functions, print_cuda)


@dataclass(frozen=True)
class Printed:
    """`steps`: programs and steps of ATen in run order; `prepare`: what depends on weights alone, run when weights are new."""

    module: Module
    steps: tuple[CudaProgram | Host, ...]
    prepare: CudaProgram | None

    @property
    def programs(self) -> tuple[CudaProgram, ...]:
        """All device programs, the one that prepares weights first."""
        made = tuple(s for s in self.steps if isinstance(s, CudaProgram))
        return (self.prepare, *made) if self.prepare else made

    def sources(self) -> dict[str, str]:
        """{program name: CUDA source}."""
        return {p.name: p.source for p in self.programs}


def printed(module: Module, target: Target = CUDA) -> Printed:
    """Print every launch. Raises UnsupportedOnGpu."""
    steps: list[CudaProgram | Host] = []
    run: list[Launch] = []
    for step in module.steps:
        if isinstance(step, Launch):
            run.append(step)
            continue
        if run:
            steps.append(_program(module, _part(module, steps), run, target))
        run = []
        steps.append(step)
    if run:
        steps.append(_program(module, _part(module, steps), run, target))
    prepare = _program(module, f"{module.name}_prepare", module.prepare, target) if module.prepare else None
    return Printed(module, tuple(steps), prepare)


def _part(module: Module, steps: list[CudaProgram | Host]) -> str:
    number = sum(isinstance(s, CudaProgram) for s in steps)
    return f"{module.name}_{number}" if number else module.name


def _program(module: Module, name: str, launches: Iterable[Launch], target: Target) -> CudaProgram:
    """The launches of several kernels one after the other; a kernel with the text of an earlier one is that one."""
    functions = target.functions()
    kernels: dict[str, CudaKernel] = {}
    made: list[CudaLaunch] = []
    buffers: dict[str, CudaBuffer] = {}
    scripts: dict[str, str] = {}
    dims: dict[str, Dim] = {}
    for launch in launches:
        part = _bound(module, launch, target.print(launch.program, functions))
        same = {k.name: _known(kernels, k) for k in part.kernels}
        for k in part.kernels:
            if same[k.name] == k.name:
                kernels[k.name] = k
                scripts[k.name] = launch.script
        made += [replace(x, kernel=same[x.kernel]) for x in part.launches]
        dims.update({d.name: d for d in part.dims})
        for b in part.buffers:
            buffers[b.name] = _joined(buffers.get(b.name), b)
    inside = _temporaries(module, buffers)
    roles = tuple(replace(b, role="temp") if b.name in inside else b for b in buffers.values())
    return CudaProgram(name, tuple(dims.values()), roles, tuple(kernels.values()), tuple(made), tuple(functions.needed.values()), scripts)


def _bound(module: Module, launch: Launch, part: CudaProgram) -> CudaProgram:
    """Params named by the storage of the values that they are bound to; temporaries keep their own names, which are made unique."""
    names = {p.name: module.storage(a) for p, a in zip(launch.program.params, launch.args)}
    taken = set(module.types)
    for b in part.buffers:
        if b.name not in names:
            names[b.name] = b.name if b.name not in taken and b.name.startswith(launch.program.name) else f"{launch.program.name}_{b.name}"
    return part.bound(names)


def _known(kernels: dict[str, CudaKernel], k: CudaKernel) -> str:
    """The name of an earlier kernel with the same text, or the kernel's own."""
    plain = k.text.replace(f"{k.name}(", "kernel(")
    return next((o.name for o in kernels.values() if o.text.replace(f"{o.name}(", "kernel(") == plain), k.name)


def _joined(old: CudaBuffer | None, new: CudaBuffer) -> CudaBuffer:
    """One buffer as several launches see it: what is written before it is read is an output of the whole. Reshapes of a value are one
    buffer, with the shape of its first use."""
    if old is None or old.role == new.role:
        return old or new
    if old.role == "in":
        return replace(old, role="inout")
    return old


def _temporaries(module: Module, buffers: dict[str, CudaBuffer]) -> set[str]:
    """Buffers that no other step and nobody outside the module sees: decided by the runtime, so only those that printing made."""
    return {name for name in buffers if name not in module.types}
