"""Fills the rows of a Report: a module, its sources and the seconds of each step come in, rows go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...ir.graph import Extern, Node, Random
from ...ir.graph_text import print_operator
from ...ir.machine import Machine
from ...ir.module import Launch, Library, Module, Step
from ...ir.text import print_program
from .record import ExternRow, KernelRow
from .work import work


def kernel_rows(
    module: Module,
    symbols: Sequence[str],
    sources: Mapping[str, str],
    seconds: Sequence[float],
    machine: Machine,
    dims: Mapping[str, int],
    threads: int,
) -> tuple[KernelRow, ...]:
    """A row for each launch, in run order; `symbols` names the launches, `seconds` has one entry per step."""
    total = sum(seconds) or 1.0
    launches = [(step, s) for step, s in zip(module.steps, seconds) if isinstance(step, Launch)]
    rows = []
    for (launch, s), symbol in zip(launches, symbols):
        need = work(launch.naive, dims)
        operators = tuple(node.origin or type(node.op).__name__.lower() for node in launch.nodes)
        text = print_program(launch.naive)
        reached = need.fraction(machine, s, threads)
        rows.append(
            KernelRow(
                symbol,
                launch.kind,
                operators,
                s,
                s / total,
                need.flops,
                need.nbytes,
                reached,
                text,
                launch.script,
                sources[symbol],
            )
        )
    return tuple(rows)


def extern_rows(module: Module, seconds: Sequence[float]) -> tuple[ExternRow, ...]:
    """A row for each ATen step, in run order."""
    total = sum(seconds) or 1.0
    rows = []
    for step, s in zip(module.steps, seconds):
        if not isinstance(step, Launch):
            library = isinstance(step, Library)
            rows.append(ExternRow(called(step.node), step.reason if library else why(step.node), s, s / total, library))
    return tuple(rows)


def called(node: Node) -> str:
    """The ATen operator of a node."""
    return node.op.target if isinstance(node.op, (Extern, Random)) else node.origin or type(node.op).__name__.lower()


def why(node: Node) -> str:
    """Why ATen runs a node."""
    if isinstance(node.op, Random):
        return "draws from torch's generator, in eager's order"
    return node.op.reason if isinstance(node.op, Extern) and node.op.reason else "not owned yet"


def step_lines(module: Module) -> tuple[str, ...]:
    """The module after fusion, a line per step."""
    return tuple(_line(step) for step in module.steps)


def _line(step: Step) -> str:
    if isinstance(step, Launch):
        written = set(step.program.written())
        out = [a for a, b in zip(step.args, step.program.params) if b.name in written]
        given = [a for a, b in zip(step.args, step.program.params) if b.name not in written]
        return f"{', '.join(out)} = {step.program.name}({', '.join(given)})"
    kind = "library" if isinstance(step, Library) else "aten"
    return f"{', '.join(v.name for v in step.node.outputs)} = {kind} {print_operator(step.node.op)}"
