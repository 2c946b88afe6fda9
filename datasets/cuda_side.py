"""The CUDA side of a pair: a scheduled Module comes in, a source with its launches and bound buffers goes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..backends.cuda.host import H100
from ..backends.cuda.module import printed
from ..backends.cuda.program import CudaProgram
from ..ir.graph import Graph
from ..ir.module import Module
from .c_side import NotAPair, refuse_shared
from .program import inputs_of, outputs_of

MACHINE = H100
"""What CUDA sides are scheduled for."""


@dataclass(frozen=True)
class CudaSide:
    """`program`: launches in order, buffers by name with role in, out or temp; `scripts`: the schedule of each kernel."""

    program: CudaProgram
    scripts: Mapping[str, str]

    @property
    def source(self) -> str:
        return self.program.source

    def launches(self) -> list[dict[str, object]]:
        """Each launch with its kernel, grid, block, shared bytes and the names of its arguments, in order."""
        return [
            {"kernel": x.kernel, "grid": list(x.grid), "block": list(x.block), "shared_bytes": x.shared_bytes, "args": list(x.args)}
            for x in self.program.at({}).launches
        ]

    def buffers(self, graph: Graph) -> list[dict[str, object]]:
        """Each buffer with its role (input, output, temporary), dtype and shape; those of the graph have its shapes."""
        shapes = dict(self.program.at({}).shapes)
        shapes |= {a.name: a.shape for a in (*inputs_of(graph), *outputs_of(graph))}
        role = {"in": "input", "inout": "input", "out": "output", "temp": "temporary"}
        return [
            {"name": b.name, "role": role[b.role], "dtype": b.numpy_dtype, "shape": list(shapes[b.name])} for b in self.program.buffers
        ]


def cuda_side(graph: Graph, module: Module) -> CudaSide:
    """The CUDA of a module that was planned for MACHINE. Raises NotAPair, UnsupportedOnGpu."""
    refuse_shared(module)
    code = printed(replace(module, steps=(*module.prepare, *module.steps), prepare=()))
    if len(code.programs) != 1:
        raise NotAPair("the program has nothing to launch")
    (program,) = code.programs
    inputs = {i.name for i in graph.inputs}
    names = {module.storage(made): wanted for made, wanted in zip(module.outputs, graph.outputs)}
    missing = (inputs | set(names)) - {b.name for b in program.buffers}
    if missing:
        raise NotAPair(f"no kernel uses {sorted(missing)[0]}")
    roles = tuple(replace(b, role="in" if b.name in inputs else "out" if b.name in names else "temp") for b in program.buffers)
    taken = inputs | set(graph.outputs) | {b.name for b in roles}
    for b in roles:
        if b.role == "temp" and b.name in graph.outputs:
            names[b.name] = next(n for k in range(2, 1000) if (n := f"{b.name}_{k}") not in taken)
    return CudaSide(replace(program, buffers=roles).bound(names), dict(program.scripts))
