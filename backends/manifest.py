"""A backend described in one frozen record: which machine it prints for, how it prints and how it builds. Listed explicitly in `BACKENDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..ir.diagnostic import WarploomError
from ..ir.graph import Graph
from ..ir.kernel import Program
from ..ir.machine import Machine
from ..ir.module import Module


@dataclass(frozen=True)
class Backend:
    """`machine()` describes the host; `source(program)` prints one scheduled program as a source file. `load(module, weight slots, the graph that the
    module was planned from)` gives the printed code and a runtime of a device that has its own; None for the CPU, which the driver builds step by step."""

    name: str
    machine: Callable[[], Machine]
    source: Callable[[Program], str]
    load: Callable[[Module, Mapping, Graph], tuple[object, object]] | None = None


class UnknownTarget(WarploomError):
    """The target is not one of those this build has. Use one that the message lists."""

    code = "WL-E050"


def _cpu_machine() -> Machine:
    from .cpu.host import host

    return host()


def _cpu_source(program: Program) -> str:
    from .cpu.host import host
    from .cpu.isa import by_name
    from .cpu.printer import translation_unit

    return translation_unit([program], by_name(host().isa))


def _cuda_machine() -> Machine:
    from .cuda.host import machine

    return machine()


def _cuda_source(program: Program) -> str:
    from .cuda.printer import print_cuda

    return print_cuda(program).source


def _cuda_load(module: Module, slots: Mapping, graph: Graph) -> tuple[object, object]:
    from .cuda.module import printed
    from .cuda.runtime import Runtime

    code = printed(module)
    return code, Runtime(code, slots)


def _triton_machine() -> Machine:
    return replace(_cuda_machine(), isa="triton")


def _triton_source(program: Program) -> str:
    from .triton.printer import print_triton

    return print_triton(program).source


def _triton_load(module: Module, slots: Mapping, graph: Graph) -> tuple[object, object]:
    from .cuda.module import printed
    from .cuda.runtime import Runtime
    from .triton.run import TRITON, triton

    code = printed(module, TRITON)
    return code, Runtime(code, slots, triton)


def _tvm_source(program: Program) -> str:
    from .tvm.errors import Untranslated

    raise Untranslated(f"TVM takes graphs, not the kernel {program.name}", hint="use target cuda or triton")


def _tvm_load(module: Module, slots: Mapping, graph: Graph) -> tuple[object, object]:
    from .cuda.runtime import Runtime
    from .tvm.module import printed

    code = printed(graph)
    return code, Runtime(code, slots)


BACKENDS = {
    b.name: b
    for b in (
        Backend("cpu", _cpu_machine, _cpu_source),
        Backend("cuda", _cuda_machine, _cuda_source, _cuda_load),
        Backend("triton", _triton_machine, _triton_source, _triton_load),
        Backend("tvm", _cuda_machine, _tvm_source, _tvm_load),
    )
}


def backend(name: str) -> Backend:
    """The backend called `name`. Raises UnknownTarget."""
    if name not in BACKENDS:
        raise UnknownTarget(f"no target {name!r}", hint="this build has: " + ", ".join(sorted(BACKENDS)))
    return BACKENDS[name]
