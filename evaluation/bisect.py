"""Which operator is the first to give wrong numbers? A compiled module and inputs come in, the step and its error go out.

The module is built once more with every stored value as an output, and each is compared, in run order, with the Graph's meaning in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..backends.cpu.build import build, printed
from ..backends.cpu.runtime import load
from ..backends.cpu.weights import Slot
from ..frontend.extern import numpy_externs
from ..ir.graph import Graph, Node
from ..ir.interpret_graph import run_graph
from ..ir.machine import Machine
from ..ir.module import Launch, Module, Step
from ..passes.canonical import canonicalize
from ..passes.plan_memory import written

_COARSE = {"f16": 3e-2, "bf16": 2e-1}
_THRESHOLD = 1e-3


@dataclass(frozen=True)
class Culprit:
    """`operators`: where the nodes of the step came from; `value`: the first wrong value; `error` relative to its largest element."""

    operators: tuple[str, ...]
    value: str
    error: float

    def __str__(self) -> str:
        names = " + ".join(dict.fromkeys(self.operators)) or self.value
        return f"{names} (value {self.value}, relative error {self.error:.2g})"


def first_wrong(
    graph: Graph, module: Module, machine: Machine, weights: Mapping[str, Slot], tensors: Sequence[torch.Tensor], seed: int
) -> Culprit | None:
    """The first step whose value differs clearly from the graph's; None where each one holds within a coarse bound."""
    graph = canonicalize(graph)
    known = graph.types()
    every = (*module.prepare, *module.steps)
    stored = [(step, name) for step in every for name in _outputs(step) if name in known and known[name] == module.types[name]]
    if not stored:
        return None
    watched = replace(module, outputs=tuple(dict.fromkeys(name for _, name in stored)), updates=())
    code = printed(watched, machine.isa)
    runtime = load(code.layout, build(code, machine), weights)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ours = dict(zip(watched.outputs, runtime(tensors)))
        torch.manual_seed(seed)
        truth = _meaning(graph, watched.outputs, weights, tensors)
    for step, name in stored:
        error = _relative(ours[name], truth[name])
        if not error <= _COARSE.get(module.types[name].dtype, _THRESHOLD):
            return Culprit(tuple(n.origin or type(n.op).__name__.lower() for n in _nodes(step)), name, error)
    return None


def _outputs(step: Step) -> list[str]:
    return written(step) if isinstance(step, Launch) else [v.name for v in step.node.outputs]


def _nodes(step: Step) -> tuple[Node, ...]:
    return step.nodes if isinstance(step, Launch) else (step.node,)


def _meaning(
    graph: Graph, outputs: tuple[str, ...], weights: Mapping[str, Slot], tensors: Sequence[torch.Tensor]
) -> dict[str, np.ndarray]:
    given = iter(tensors)
    inputs = {}
    for i in graph.inputs:
        t = next(given) if i.role == "input" else weights[i.name][0][weights[i.name][1]]
        assert t is not None
        inputs[i.name] = _array(t.detach())
    return run_graph(replace(graph, outputs=outputs, updates=()), inputs, numpy_externs, float64=True)


def _array(t: torch.Tensor) -> np.ndarray:
    return (t.float() if t.dtype is torch.bfloat16 else t).contiguous().numpy()


def _relative(ours: torch.Tensor, truth: np.ndarray) -> float:
    """Largest difference over the largest true value; equal NaNs and infinities are no difference."""
    a, b = ours.detach().double().numpy(), np.asarray(truth, dtype=np.float64).reshape(tuple(ours.shape))
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    usual = np.abs(b[np.isfinite(b)])
    scale = float(usual.max()) if usual.size else 0.0
    largest = float(apart.max()) if apart.size else 0.0
    return largest / (scale or 1.0)
