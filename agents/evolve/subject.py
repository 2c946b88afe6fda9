"""What is evolved: a file in KernelBench form comes in, a `Subject` goes out: its graph, its inputs, and modules and sources under any choices.

A module here has no library calls: every operator is one of our kernels, so that a candidate can stand alone before the judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ...backends.cpu.build import Printed, printed
from ...backends.cpu.export import NotStandalone
from ...backends.cpu.standalone import C_TYPES, Given, standalone
from ...backends.cpu.weights import Slot
from ...evaluation.bench.contenders import quiet
from ...evaluation.bench.problem import Problem, check_runs, load_problem
from ...frontend.dtypes import DTYPE
from ...frontend.torch_export import Exported, Literal, TensorLeaf, export_model
from ...ir.machine import Machine
from ...ir.module import Launch, Module
from ...passes.pipeline import Options, plan


@dataclass(frozen=True)
class Subject:
    """`example`: one draw of the inputs; `slots`: where each weight of the graph lives."""

    problem: Problem
    exported: Exported
    machine: Machine
    example: tuple[object, ...]
    slots: Mapping[str, Slot]

    def module(self, scripts: Mapping[str, str] | None = None) -> Module:
        """The planned module; `scripts` by kernel key."""
        return plan(self.exported.graph, self.machine, Options(scripts=scripts or {}))

    def tensors(self, values: Sequence[object]) -> list[torch.Tensor]:
        """The tensors among the model's arguments, as a runtime takes them."""
        leaves = self.exported.flatten(tuple(values))
        return [v for leaf, v in zip(self.exported.inputs, leaves) if isinstance(leaf, TensorLeaf)]  # type: ignore[misc]

    def source(self, module: Module, title: Sequence[str]) -> str:
        """The module as one C++ file in the judge's form. Raises NotStandalone."""
        state = self.problem.model.state_dict(keep_vars=True)
        names = {id(t): name for name, t in self.exported.weights.items()}
        given = [_input(leaf, value) for leaf, value in zip(self.exported.inputs, self.exported.flatten(self.example))]
        given += [Given(names.get(id(t)), C_TYPES[DTYPE[t.dtype]]) for t in state.values()]
        known = {g.value for g in given}
        constants = {name: t for name, t in self.exported.weights.items() if name not in known and name in self.graph_inputs}
        shapes = [tuple(t.shape) for t in self.tensors(self.example)]
        return standalone(self.printed(module), given, shapes, constants, title)

    @property
    def graph_inputs(self) -> set[str]:
        """Names of the graph's inputs and weights."""
        return {i.name for i in self.exported.graph.inputs}

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
    subject = Subject(problem, exported, machine, example, weight_slots(problem.model, exported))
    for step in subject.module().steps:
        if not isinstance(step, Launch):
            raise NotStandalone(f"the node {getattr(step.node.op, 'target', None) or step.node.origin} is run by ATen")
    return subject


def weight_slots(model: torch.nn.Module, exported: Exported) -> dict[str, Slot]:
    """Where each weight lives in the model; a constant of the graph lives on its own."""
    owners: dict[int, Slot] = {}
    for part in model.modules():
        for owner in (part._parameters, part._buffers):
            for key, tensor in owner.items():
                if tensor is not None:
                    owners.setdefault(id(tensor), (owner, key))
    return {name: owners.get(id(t), ({name: t}, name)) for name, t in exported.weights.items()}
