"""A Graph as TVM's CUDA programs: its nodes between steps of ATen go to TVM as one Graph each.

Goes out: `Printed`, which the CUDA runtime runs: on a GPU through the driver, in the emulator elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...ir.graph import Extern, Graph, Input, Node, Random, operands
from ...ir.module import Aten, Module
from ..cuda.module import Host, Printed
from ..cuda.program import CudaProgram
from .client import cuda_program
from .errors import Untranslated


def printed(graph: Graph) -> Printed:
    """Raises MissingTool, TvmFailed, and Untranslated, which names the operator that TVM has not."""
    if graph.dims:
        raise Untranslated(f"TVM's side has no symbolic sizes: {graph.dims[0].name}", hint="compile without --dynamic")
    steps: list[CudaProgram | Host] = []
    run: list[Node] = []
    for node in (*graph.nodes, None):
        if node is not None and not isinstance(node.op, (Extern, Random)):
            run.append(node)
            continue
        if run:
            steps.append(_program(graph, f"{graph.name}_{len(steps)}", run))
        run = []
        steps += [Aten(node)] if node is not None else []
    hosts = tuple(s for s in steps if isinstance(s, Aten))
    module = Module(graph.name, (), graph.inputs, hosts, graph.outputs, graph.updates, graph.types())
    return Printed(module, tuple(steps), None)


def _program(graph: Graph, name: str, run: Sequence[Node]) -> CudaProgram:
    part = _part(graph, name, run)
    made = cuda_program(part)
    mine = {b.name: f"{name}_{b.name}" for b in made.program.buffers if b.role == "temp"}
    return replace(made.program.bound(mine), scripts={k: f"dlight.{rule}" for k, rule in made.rules.items()})


def _part(graph: Graph, name: str, run: Sequence[Node]) -> Graph:
    """The nodes alone: what they read from elsewhere is an input, what anybody else reads an output."""
    types = graph.types()
    made = [v.name for n in run for v in n.outputs]
    inside = {id(n) for n in run}
    read = {o for n in graph.nodes if id(n) not in inside for o in operands(n.op)} | graph.live()
    taken = dict.fromkeys(o for n in run for o in operands(n.op) if o not in made)
    return Graph(name, (), tuple(Input(o, types[o]) for o in taken), tuple(run), tuple(m for m in made if m in read))
