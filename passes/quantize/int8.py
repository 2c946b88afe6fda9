"""`quantize:int8`: dynamic quantisation of products with a weight. A float32 Graph comes in, one with int8 products goes out.

    top[m]   = max over k of |x[m, k]|                                     per row of the activations, at run time
    xq[m, k] = round(x[m, k] * (127 / top[m])) + 128                       uint8: the dot-product instructions take an unsigned left side
    wq[n, k] = round(w[n, k] * (127 / wtop[n]))                            int8, symmetric, per column of the result; done once
    y[m, n]  = (sum over k of xq * wq  -  128 * sum over k of wq[n, k]) * (top[m] / 127) * (wtop[n] / 127)

The sums are exact in 32 bits for depths up to `DEEPEST`. A row or column of zeros has scale 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...ir.expr import Cast, Const, Expr, Load, Op, Var, as_int, ceildiv, mul
from ...ir.graph import Contract, Graph, Map, Node, Operator, Reduce, TensorType, Value
from ...ir.numerics import Contract as Numerics
from ...ir.numerics import Site
from .products import Product, products

CONTRACT = Numerics("operands of products with a weight are rounded to 8 bits: activations by row, weights by column of the result", 0.03)
"""Normal data lose about 0.8% in a layer (Frobenius): 127 steps for a largest value of 3 to 4 standard deviations."""

LEAST_DEPTH = 16
DEEPEST = (2**31 - 1) // (255 * 127)
"""Terms of a sum that surely fits 32 bits."""

GROUP = 4
"""The dot-product instructions sum so many neighbours: depths are padded with zeros to a multiple."""

STEPS, OFFSET = 127, 128


def rewrite(graph: Graph, only: frozenset[str] | None = None) -> tuple[Graph, tuple[Site, ...]]:
    """The quantised Graph and its sites: patterns `linear` and `matmul_by_weight`, see `products`."""
    found = [p for p in products(graph, LEAST_DEPTH, only) if (as_int(p.depth) or 0) <= DEEPEST]
    by_output = {p.node.outputs[0].name: p for p in found}
    taken = {i.name for i in graph.inputs} | {v.name for n in graph.nodes for v in n.outputs}
    builder = _Builder(taken)
    for node in graph.nodes:
        product = by_output.get(node.outputs[0].name)
        if product is None:
            builder.nodes.append(node)
        else:
            builder.product(product)
    sites = tuple(Site(p.layer, p.node.outputs[0].name, p.pattern) for p in found)
    return Graph(graph.name, graph.dims, graph.inputs, tuple(builder.nodes), graph.outputs, graph.updates), sites


@dataclass(frozen=True)
class _Rounded:
    """8-bit values [count, depth] and their scale [count]."""

    values: str
    scale: str


@dataclass
class _Builder:
    """Nodes so far. An operand that several products share is rounded once."""

    taken: set[str]
    nodes: list[Node] = field(default_factory=list)
    rounded: dict[tuple[str, int, str], _Rounded] = field(default_factory=dict)

    def add(self, name: str, dtype: str, shape: tuple[Expr, ...], op: Operator, origin: str) -> str:
        fresh, number = name, 1
        while fresh in self.taken:
            number += 1
            fresh = f"{name}_{number}"
        self.taken.add(fresh)
        self.nodes.append(Node((Value(fresh, TensorType(dtype, shape)),), op, origin))
        return fresh

    def product(self, p: Product) -> None:
        origin = f"quantize.int8@{p.layer}"
        x = self.round(p.x, 0, p.rows, p.depth, "u8", origin)
        w = self.round(p.weight, p.column, p.columns, p.depth, "i8", origin)
        out = p.node.outputs[0]
        shift = self.shift(w, p, origin)
        total = self.add(f"{out.name}_i32", "i32", (p.rows, p.columns), Contract("mk,nk->mn", x.values, w.values), p.node.origin)
        exact = Op("-", (Load(total, (Var("i0"), Var("i1"))), Load(shift, (Var("i1"),))))
        scale = Op("*", (Load(x.scale, (Var("i0"),)), Load(w.scale, (Var("i1"),))))
        self.nodes.append(Node((out,), Map(Op("*", (Cast("f32", exact), scale))), p.node.origin))

    def round(self, source: str, row: int, count: Expr, depth: Expr, dtype: str, origin: str) -> _Rounded:
        """`source` has the dim that shares a scale in position `row`."""
        key = source, row, dtype
        if key not in self.rounded:
            self.rounded[key] = self._round(source, row, count, depth, dtype, origin)
        return self.rounded[key]

    def _round(self, source: str, row: int, count: Expr, depth: Expr, dtype: str, origin: str) -> _Rounded:
        at = (Var("i0"), Var("i1")) if row == 0 else (Var("i1"), Var("i0"))
        # of one dim more than the source: fusion then takes absolute values where they are reduced, and stores none beside a product
        there = tuple(Var("i2") if v == Var("i1") else v for v in at)
        size = self.add(f"{source}_abs", "f32", (count, Const(1), depth), Map(Op("abs", (Load(source, there),))), origin)
        top = self.add(f"{source}_top", "f32", (count,), Reduce("max", (size,), (1, 2)), origin)
        largest = Load(top, (Var("i0"),))
        scale = self.add(f"{source}_scale", "f32", (count,), Map(Op("*", (largest, Const(1.0 / STEPS)))), origin)
        steps = Op("select", (Op(">", (largest, Const(0.0))), Op("/", (Const(float(STEPS)), largest)), Const(0.0)))
        inverse = self.add(f"{source}_steps", "f32", (count,), Map(steps), origin)
        value: Expr = Op("round", (Op("*", (Load(source, at), Load(inverse, (Var("i0"),)))),))
        if dtype == "u8":
            value = Op("+", (value, Const(float(OFFSET))))
        value = Cast(dtype, Cast("i32", value))
        padded = mul(ceildiv(depth, GROUP), GROUP)
        if as_int(depth) != as_int(padded):
            value = Op("select", (Op("<", (Var("i1"), depth)), value, Const(0)))
        return _Rounded(self.add(f"{source}_{dtype}", dtype, (count, padded), Map(value), origin), scale)

    def shift(self, w: _Rounded, p: Product, origin: str) -> str:
        """128 times the sum of a column's weights: what the offset of the activations adds."""
        padded = mul(ceildiv(p.depth, GROUP), GROUP)
        wide = self.add(f"{w.values}_wide", "i32", (p.columns, padded), Map(Cast("i32", Load(w.values, (Var("i0"), Var("i1"))))), origin)
        total = self.add(f"{w.values}_sum", "i32", (p.columns,), Reduce("add", (wide,), (1,)), origin)
        return self.add(f"{w.values}_shift", "i32", (p.columns,), Map(Op("*", (Load(total, (Var("i0"),)), Const(OFFSET)))), origin)
