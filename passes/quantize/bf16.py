"""`quantize:bf16`: operands of products with a weight rounded to bfloat16, sums in float32. A float32 Graph comes in, such a Graph goes out."""

from __future__ import annotations

from ...ir.expr import Cast, Const, Expr, Load, Op, Var, as_int, ceildiv, mul
from ...ir.graph import Contract, Graph, Map, Node, TensorType, Value
from ...ir.numerics import Contract as Numerics
from ...ir.numerics import Site
from .products import Product, products

CONTRACT = Numerics("operands of products with a weight are rounded to bfloat16 (8 bits of mantissa)", 0.01)
"""Rounding loses 0.17% of an operand in the mean (Frobenius); two operands and a few layers of it."""

LEAST_DEPTH = 8
GROUP = 2
"""The dot-product instructions sum pairs."""


def rewrite(graph: Graph, only: frozenset[str] | None = None) -> tuple[Graph, tuple[Site, ...]]:
    """The Graph with bfloat16 operands and its sites: patterns `linear` and `matmul_by_weight`, see `products`."""
    found = {p.node.outputs[0].name: p for p in products(graph, LEAST_DEPTH, only)}
    taken = {i.name for i in graph.inputs} | {v.name for n in graph.nodes for v in n.outputs}
    nodes: list[Node] = []
    made: dict[tuple[str, int], str] = {}
    for node in graph.nodes:
        p = found.get(node.outputs[0].name)
        if p is None:
            nodes.append(node)
            continue
        x = _rounded(p.x, 0, p.rows, p, taken, nodes, made)
        w = _rounded(p.weight, p.column, p.columns, p, taken, nodes, made)
        nodes.append(Node(node.outputs, Contract("mk,nk->mn", x, w), node.origin))
    sites = tuple(Site(p.layer, name, p.pattern) for name, p in found.items())
    return Graph(graph.name, graph.dims, graph.inputs, tuple(nodes), graph.outputs, graph.updates), sites


def _rounded(
    source: str, row: int, count: Expr, p: Product, taken: set[str], nodes: list[Node], made: dict[tuple[str, int], str]
) -> str:
    """[count, depth] in bfloat16, zeros up to an even depth; an operand that several products share is rounded once."""
    if (source, row) in made:
        return made[source, row]
    name, number = f"{source}_bf16", 1
    while name in taken:
        number += 1
        name = f"{source}_bf16_{number}"
    taken.add(name)
    made[source, row] = name
    at = (Var("i0"), Var("i1")) if row == 0 else (Var("i1"), Var("i0"))
    value: Expr = Cast("bf16", Load(source, at))
    padded = mul(ceildiv(p.depth, GROUP), GROUP)
    if as_int(padded) != as_int(p.depth):
        value = Op("select", (Op("<", (Var("i1"), p.depth)), value, Const(0.0)))
    nodes.append(Node((Value(name, TensorType("bf16", (count, padded))),), Map(value), f"quantize.bf16@{p.layer}"))
    return name
