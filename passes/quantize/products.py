"""The patterns that quantisation shares: products with a weight. A Graph comes in, `Product`s go out in graph order."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.expr import Expr, as_int
from ...ir.graph import Contract, Graph, Node
from ..pack import weights_alone

PATTERNS = {
    ("mk", "nk", "mn"): "linear",  # y = x W'
    ("mk", "kn", "mn"): "matmul_by_weight",  # y = x W
}
"""Letters of activation, weight and result -> name of the pattern."""


@dataclass(frozen=True)
class Product:
    """`x[m, k]` times a weight that has `n` in dim `column`; `node` makes the float32 result."""

    node: Node
    pattern: str
    x: str
    weight: str
    column: int
    rows: Expr
    depth: Expr
    columns: Expr

    @property
    def layer(self) -> str:
        """The layer as the model names it; the operator's name where it belongs to none."""
        operator, at, layer = self.node.origin.partition("@")
        return layer if at else operator


def products(graph: Graph, least_depth: int, only: frozenset[str] | None = None) -> tuple[Product, ...]:
    """Float32 products of something with a weight, with at least so many terms in a sum, known when compiling; `only`: of these results."""
    types, still = graph.types(), weights_alone(graph)
    found = []
    for node in graph.nodes:
        if only is not None and node.outputs[0].name not in only:
            continue
        if not isinstance(node.op, Contract) or node.outputs[0].type.dtype != "f32":
            continue
        product = _match(node, node.op, still)
        if product is None:
            continue
        x, w = types[product[1]].shape, types[product[2]].shape
        column = product[3]
        made = Product(node, *product, rows=x[0], depth=x[1], columns=w[column])
        if types[made.x].dtype == types[made.weight].dtype == "f32" and (as_int(made.depth) or 0) >= least_depth:
            found.append(made)
    return tuple(found)


def _match(node: Node, op: Contract, still: frozenset[str]) -> tuple[str, str, str, int] | None:
    (left, right), out = op.spec.split("->")[0].split(","), op.spec.split("->")[1]
    if len(out) != 2 or op.b not in still or op.a in still:
        return None
    rename = dict(zip(left, "mk"))
    if set(out) - set(rename):
        rename |= {c: "n" for c in out if c not in rename}
    spelled = tuple("".join(rename.get(c, "?") for c in letters) for letters in (left, right, out))
    pattern = PATTERNS.get(spelled)  # type: ignore[arg-type]
    return (pattern, op.a, op.b, spelled[1].index("n")) if pattern else None
