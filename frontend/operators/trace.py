"""A function on tensors in, its Graph out: traced on tensors without data through ATen and the operator table. Milliseconds, not torch.export's seconds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from ...ir.expr import Const
from ...ir.graph import Graph, operands, rename_operands
from ...ir.verify_graph import verify_graph
from ..aten import decompositions
from ..builder import safe_name
from ..dynamo import graph_from_fx
from .operator import TORCH, Function, Given


def trace(function: Function, inputs: Sequence[Given], name: str = "program") -> Graph:
    """The verified Graph of `function(*inputs)`, its inputs named as given (those without effect are left out), index inputs with their ranges.

    Raises UnsupportedModel, and whatever torch raises for shapes that do not go together.
    """
    with warnings.catch_warnings(), FakeTensorMode(), torch.no_grad():
        warnings.simplefilter("ignore")
        fake = [torch.empty(i.shape, dtype=TORCH[i.dtype]) for i in inputs]
        fx = make_fx(lambda *a: _leaves(function(*a)), decomposition_table=decompositions())(*fake)  # type: ignore[arg-type]
        exported = graph_from_fx(fx, fake, name)
    names = {leaf.name: safe_name(i.name) for leaf, i in zip(exported.inputs, inputs)}  # type: ignore[union-attr]
    ranges = {safe_name(i.name): (Const(0), Const(i.below)) for i in inputs if i.draw == "index"}
    graph = renamed(exported.graph, names)
    read = {x for n in graph.nodes for x in operands(n.op)} | set(graph.outputs)
    kept = tuple(replace(i, within=i.within or ranges.get(i.name)) for i in graph.inputs if i.name in read)
    graph = replace(graph, inputs=kept)
    verify_graph(graph)
    return graph




def _leaves(value: object) -> list[torch.Tensor]:
    found = list(value) if isinstance(value, (tuple, list)) else [value]
    return [v for v in found if isinstance(v, torch.Tensor)]


def renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The graph with values renamed; what stands in the way of a new name moves aside."""
    wanted = set(names.values())
    taken = wanted | set(graph.types())
    new = dict(names)
    for name in graph.types():
        if name in wanted and name not in new:
            count = 2
            while f"{name}_{count}" in taken:
                count += 1
            new[name] = f"{name}_{count}"
            taken.add(new[name])
    at = {**{n: n for n in graph.types()}, **new}
    inputs = tuple(replace(i, name=at[i.name]) for i in graph.inputs)
    nodes = tuple(
        replace(n, outputs=tuple(replace(v, name=at[v.name]) for v in n.outputs), op=rename_operands(n.op, at)) for n in graph.nodes
    )
    updates = tuple((at[a], at[b]) for a, b in graph.updates)
    return replace(graph, inputs=inputs, nodes=nodes, outputs=tuple(at[o] for o in graph.outputs), updates=updates)
