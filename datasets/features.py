"""What a program is like: a Graph comes in, the measures that coverage counts go out (operators, loops, fused patterns, memory)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..ir.expr import Load, Op, Var, loads, names, walk
from ..ir.graph import Contract, Conv, Graph, Map, Node, Reduce, Reshape, Scan, Scatter, Sort, Window, operands
from .program import inputs_of


def features_of(graph: Graph) -> dict[str, object]:
    """`accesses`: loads and stores of a run, roughly; `products`; `patterns`: pairs of operators where the second reads the first; `memory`: how
    maps read; `functions` that maps compute with; `shapes`: of the inputs."""
    sizes = _sizes(graph)
    kinds = {v.name: _kind(n) for n in graph.nodes for v in n.outputs}
    pairs = sorted({f"{kinds[x]}>{_kind(n)}" for n in graph.nodes for x in operands(n.op) if x in kinds})
    memory = sorted({m for n in graph.nodes for m in _memory(n)})
    products = sum(_products(n, graph, sizes) for n in graph.nodes)
    return {
        "functions": sorted({e.name for n in graph.nodes if isinstance(n.op, Map) for e in walk(n.op.expr) if isinstance(e, Op)}),
        "nodes": len(graph.nodes), "accesses": int(accesses_of(graph)), "products": int(products), "patterns": pairs, "memory": memory,
        "shapes": [list(a.shape) for a in inputs_of(graph)], "kinds": sorted({_kind(n) for n in graph.nodes}), "depth": _depth(graph),
        "fan_out": max((len(c) for c in graph.consumers().values()), default=0), "outputs": len(graph.outputs),
    }  # fmt: skip


def accesses_of(graph: Graph) -> float:
    """Loads and stores of a run as the operators are defined, before any caching."""
    sizes = _sizes(graph)
    return sum(_accesses(n, graph, sizes) for n in graph.nodes)


def _sizes(graph: Graph) -> dict[str, int]:
    """Elements of every value."""
    return {name: math.prod(int(d.value) for d in t.shape) for name, t in graph.types().items()}  # type: ignore[union-attr]


def _kind(node: Node) -> str:
    op = node.op
    if isinstance(op, (Reduce, Window, Scan)):
        return f"{type(op).__name__.lower()}.{op.monoid}"
    if isinstance(op, Map):
        return "map" if all(isinstance(i, Var) for x in loads(op.expr) for i in x.index) else "gather"
    return type(op).__name__.lower()


def _memory(node: Node) -> list[str]:
    """same, broadcast, permuted, strided or computed, for each load of a map; axes of what is reduced."""
    op = node.op
    if isinstance(op, Map):
        rank = len(node.outputs[0].type.shape)
        return [_access(x, rank) for x in loads(op.expr)]
    if isinstance(op, Reduce):
        rank = len(node.outputs[0].type.shape) + len(op.axes)
        last = rank - 1 in op.axes
        return ["reduce " + ("all" if len(op.axes) == rank else "last" if last else "outer")]
    if isinstance(op, Contract):
        return [f"contract {op.spec}"]
    if isinstance(op, Conv):
        words = (f"conv{len(op.stride)}d", "transposed" * op.transposed, "strided" * (max(op.stride) > 1), "dilated" * (max(op.dilation) > 1), "grouped" * (op.groups > 1))
        return [" ".join(w for w in words if w)]
    if isinstance(op, Window):
        return [f"window{len(op.size)}d"]
    return [type(op).__name__.lower()] if isinstance(op, (Scan, Scatter, Sort)) else []


def _access(load: Load, rank: int) -> str:
    if any(x for i in load.index for x in loads(i)):
        return "indirect"
    axes = [int(i.name[1:]) if isinstance(i, Var) and i.name[1:].isdigit() else -1 for i in load.index]
    if axes == list(range(rank)):
        return "same"
    plain = [a for a in axes if a >= 0]
    if any(not isinstance(i, Var) for i in load.index) and any(names(i) for i in load.index if not isinstance(i, Var)):
        return "computed"
    return "permuted" if plain != sorted(plain) else "broadcast"


def _products(n: Node, graph: Graph, sizes: Mapping[str, int]) -> float:
    op, out = n.op, sizes[n.outputs[0].name]
    if isinstance(op, Contract):
        left, right = op.spec.split("->")[0].split(",")
        shared = set(left) & set(right) - set(op.spec.split("->")[1])
        shape = graph.types()[op.a].shape
        return out * math.prod(int(shape[left.index(c)].value) for c in shared)  # type: ignore[union-attr]
    if isinstance(op, Conv):
        w = graph.types()[op.w].shape
        return (sizes[op.x] if op.transposed else out) * math.prod(int(d.value) for d in w[1:])  # type: ignore[union-attr]
    return 0


def _accesses(n: Node, graph: Graph, sizes: Mapping[str, int]) -> float:
    op, out = n.op, sizes[n.outputs[0].name]
    if isinstance(op, (Contract, Conv)):
        return 2 * _products(n, graph, sizes) + out
    if isinstance(op, Window):
        return out * (math.prod(op.size) + 1)
    if isinstance(op, Map):
        return out * (len(loads(op.expr)) + 1)
    return 0 if isinstance(op, Reshape) else out + sum(sizes[x] for x in operands(op))


def _depth(graph: Graph) -> int:
    depth: dict[str, int] = {}
    for n in graph.nodes:
        here = 1 + max((depth.get(x, 0) for x in operands(n.op)), default=0)
        depth |= {v.name: here for v in n.outputs}
    return max(depth.values(), default=0)
