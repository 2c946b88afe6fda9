"""The schedules of a pair's two sides: a Graph and a strategy come in, a planned Module goes out.

naive: loops as the operator is defined (on CUDA a thread for each point); default: the sketches of the target; tuned: other decisions of those
sketches, chosen by a measurement or a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..ir.diagnostic import WarploomError
from ..ir.graph import Graph
from ..ir.machine import Machine
from ..ir.module import Launch, Module
from ..passes.pipeline import Options, plan
from ..passes.sketch import sketch, sketch_space
from .c_side import cpu_machine
from .cuda_side import MACHINE

Choices = Mapping[str, int]
NAIVE_CUDA: Choices = {"rows": 0, "vectors": 1}


def naive_c(graph: Graph) -> Module:
    """Unscheduled, but fused and laid out as the pipeline does."""
    return plan(graph, cpu_machine(), Options(schedule=False))


def default_c(graph: Graph) -> Module:
    return plan(graph, cpu_machine())


def default_cuda(graph: Graph) -> Module:
    return plan(graph, MACHINE)


def naive_cuda(graph: Graph) -> Module:
    """A thread for each point of every kernel, nothing staged."""
    return rescheduled(plan(graph, MACHINE, Options(schedule=False)), MACHINE, {}, plain=True)


def rescheduled(module: Module, machine: Machine, choices: Mapping[str, Choices], plain: bool = False) -> Module:
    """Kernels of the module under other decisions, by kernel name; `plain`: the naive CUDA decisions for all of them."""

    def again(step):
        if not isinstance(step, Launch) or not (plain or step.naive.name in choices):
            return step
        kind, chosen = ("", NAIVE_CUDA) if plain else (step.kind, choices[step.naive.name])
        draft = sketch(step.naive, kind, machine, chosen)
        return replace(step, program=replace(draft.program, name=step.naive.name), script=draft.script)

    return replace(module, steps=tuple(again(s) for s in module.steps), prepare=tuple(again(s) for s in module.prepare))


def alternatives(module: Module, machine: Machine, most: int, pick) -> list[dict[str, Choices]]:
    """Other decisions worth trying for the heaviest kernels, at most `most`, drawn by `pick`."""
    found: list[dict[str, Choices]] = []
    for step in module.steps:
        if isinstance(step, Launch):
            try:
                found += [dict[str, Choices]({step.naive.name: c}) for c in sketch_space(step.naive, step.kind, machine)]
            except WarploomError:
                continue
    order = pick.permutation(len(found))[:most] if found else []
    return [found[int(k)] for k in order]

