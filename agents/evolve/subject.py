"""What is evolved: a file in KernelBench form comes in, a `Subject` goes out: its graph, its inputs, and modules and sources under any choices.

A module here has no library calls: every operator is one of our kernels, so that a candidate can stand alone before the judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ...backends.cpu.build import Printed, printed
from ...backends.cpu.export import NotStandalone
from ...backends.cpu.standalone import C_TYPES, Given, standalone
from ...backends.cpu.weights import Slot
from ...evaluation.bench.contenders import quiet
from ...evaluation.bench.problem import Problem, check_runs, load_problem
from ...frontend.dtypes import DTYPE
from ...frontend.torch_export import Exported, Literal, TensorLeaf, export_model
from ...ir.graph import Graph
from ...ir.machine import Machine
from ...ir.module import Launch, Module
from ...passes.pipeline import Options, plan


@dataclass(frozen=True)
class Subject:
    """`graph`: the model's, its state among the inputs, since a kernel before the judge gets new weights with each call; `example`: one
    draw of the inputs; `constants`: what the graph needs and no caller gives."""

    problem: Problem
    exported: Exported
    graph: Graph
    machine: Machine
    example: tuple[object, ...]
    constants: Mapping[str, torch.Tensor]

    def module(self, scripts: Mapping[str, str] | None = None) -> Module:
        """The planned module; `scripts` by kernel key."""
        return plan(self.graph, self.machine, Options(scripts=scripts or {}))

    def tensors(self, values: Sequence[object]) -> list[torch.Tensor]:
        """The tensors that a run of the graph takes: those among the model's arguments, then its state."""
        known = self.exported.tensors(tuple(values))
        return [known[i.name].detach() for i in self.graph.inputs if i.role == "input"]

    @property
    def slots(self) -> Mapping[str, Slot]:
        """Where a runtime finds the constants."""
        return {name: (self.constants, name) for name in self.constants}

    def source(self, module: Module, title: Sequence[str]) -> str:
        """The module as one C++ file in the judge's form. Raises NotStandalone."""
        state = self.problem.model.state_dict(keep_vars=True)
        names = {id(t): name for name, t in self.exported.weights.items()}
        given = [_input(leaf, value) for leaf, value in zip(self.exported.inputs, self.exported.flatten(self.example))]
        given += [Given(names.get(id(t)), C_TYPES[DTYPE[t.dtype]]) for t in state.values()]
        shapes = [tuple(t.shape) for t in self.tensors(self.example)]
        return standalone(self.printed(module), given, shapes, self.constants, title)

    def printed(self, module: Module) -> Printed:
        """The module as C++."""
        return printed(module, self.machine.isa)


def _input(leaf: object, value: object) -> Given:
    if isinstance(leaf, TensorLeaf) and isinstance(value, torch.Tensor):
        return Given(leaf.name, C_TYPES[DTYPE[value.dtype]])
    if isinstance(leaf, Literal) and isinstance(value, (bool, int, float)):
        return Given(None, "double" if isinstance(value, float) else "int64_t", scalar=True)
    raise NotStandalone(f"an argument is {value!r}")


def read_subject(path: str, machine: Machine) -> Subject:
    """Load, export, and make sure that every operator is ours. Raises Unreadable, UnsupportedModel, NotStandalone."""
    problem = load_problem(path)
    torch.manual_seed(0)
    example = problem.inputs()
    check_runs(problem, example)
    with quiet():
        exported = export_model(problem.model, example, None, None)
    state = {id(t) for t in problem.model.state_dict(keep_vars=True).values()}
    constants = {i.name: exported.weights[i.name] for i in exported.graph.inputs if i.role != "input" and id(exported.weights[i.name]) not in state}
    inputs = tuple(i if i.name in constants else replace(i, role="input") for i in exported.graph.inputs)
    subject = Subject(problem, exported, replace(exported.graph, inputs=inputs), machine, example, constants)
    for step in subject.module().steps:
        if not isinstance(step, Launch):
            raise NotStandalone(f"the node {getattr(step.node.op, 'target', None) or step.node.origin} is run by ATen")
    return subject
