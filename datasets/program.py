"""What a pair is made from: a Graph with the way its inputs are drawn, and where it comes from. Prints to JSON and parses back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from ..frontend.builder import safe_name
from ..frontend.operators.operator import Given
from ..ir.expr import as_int
from ..ir.graph import Graph
from ..ir.graph_text import parse_graph, print_graph

NUMPY = {
    "f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "i64": "int64", "i32": "int32", "i16": "int16", "i8": "int8",
    "u8": "uint8", "b1": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class Program:
    """`inputs` go with the graph's, in order. `category` as in `operator.CATEGORIES`, or grown, mutated; `parent`: the program or model it was
    made from; `params`: what was drawn for the operators."""

    graph: Graph
    inputs: tuple[Given, ...]
    category: str
    operators: tuple[str, ...]
    params: tuple[tuple[str, str], ...] = ()
    parent: str = ""

    def to_json(self) -> str:
        """One JSON object; `Program.from_json` gives an equal value back."""
        value = {**asdict(self), "graph": print_graph(self.graph)}
        return json.dumps(value)

    @classmethod
    def from_json(cls, text: str) -> Program:
        """Parses what `to_json` printed."""
        raw = json.loads(text)
        inputs = tuple(Given(**{**i, "shape": tuple(i["shape"])}) for i in raw["inputs"])
        params = tuple((str(k), str(v)) for k, v in raw["params"])
        return cls(parse_graph(raw["graph"]), inputs, raw["category"], tuple(raw["operators"]), params, raw["parent"])


@dataclass(frozen=True)
class Array:
    """A named array of a program: a NumPy dtype name and a shape of numbers."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def inputs_of(graph: Graph) -> list[Array]:
    """The graph's inputs in order."""
    return [Array(i.name, NUMPY[i.type.dtype], _sizes(i.type.shape)) for i in graph.inputs]


def outputs_of(graph: Graph) -> list[Array]:
    """The graph's outputs in order."""
    types = graph.types()
    return [Array(name, NUMPY[types[name].dtype], _sizes(types[name].shape)) for name in graph.outputs]


def _sizes(shape) -> tuple[int, ...]:
    return tuple(as_int(d) or 0 for d in shape)

def used(graph: Graph, given: Iterable[Given]) -> tuple[Given, ...]:
    """What was given for each input of the graph, under the graph's name."""
    by_name = {safe_name(g.name): g for g in given}
    return tuple(replace(by_name[i.name], name=i.name) for i in graph.inputs)
