"""Graph IR: SSA tensor operators over typed tensors. The whole grammar is on this screen.

graph   = name, dims(name: lo..hi), inputs, nodes, outputs, updates     # updates: an input that receives a value after the run
input   = name, type, role          role = input | param | buffer | const
node    = outputs(name: type, ..), operator
operator, all tensors by name, axes 0-based and non-negative:
  Map(expr)                          out[i0, i1, ..] = expr            # loads are explicit: x[i0, 0]; views, gathers, pads, concats are Maps
  Reshape(x)                         same elements in row-major order
  Reduce(monoid, inputs, axes)       reduced axes are dropped; one output per slot
  Contract(spec, a, b)               einsum without repeated or lone letters: 'mk,nk->mn'
  Conv(x, w, stride, padding, dilation, groups, transposed, output_padding)     x[N, C, *], w as torch has it; no bias
  Window(monoid, inputs, size, stride, padding, dilation)              over the trailing dims; what is outside does not take part
  Scan(monoid, inputs, axis)         inclusive
  Scatter(base, index, src, axis, monoid)        base with src combined in along axis (monoid None: replaced, last one wins)
  Sort(x, axis, descending)          stable; outputs values, indices (i64)
  Random(kind, args)                 drawn from torch's generator in program order
  Extern(target, args, kwargs)       an ATen call that the compiler does not own yet

For Reduce, Window and Scan, `inputs` has one tensor per monoid slot, or one tensor for argmax/argmin (the index slot is the flat
position within the reduced axes, the windowed plane of the input, or the scan). A Window may be declared one longer per axis than the
formula gives: its last windows stick out. Contract and Conv of half types accumulate in f32 and round once
(a Contract declared f32 does not round); a Contract of u8 or i8 with i8 gives i32. A Random target whose name ends
in `_` fills a fresh tensor in place; its keyword `layout` is the order of axes in memory that eager's tensor has, draws follow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .expr import Expr, Load, loads, transform
from .types import Dim


@dataclass(frozen=True)
class TensorType:
    """dtype and shape; a dim is an index expression over the graph's Dims."""

    dtype: str
    shape: tuple[Expr, ...]


@dataclass(frozen=True)
class Map:
    expr: Expr


@dataclass(frozen=True)
class Reshape:
    x: str


@dataclass(frozen=True)
class Reduce:
    monoid: str
    inputs: tuple[str, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Contract:
    spec: str
    a: str
    b: str


@dataclass(frozen=True)
class Conv:
    x: str
    w: str
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False
    output_padding: tuple[int, ...] = ()


@dataclass(frozen=True)
class Window:
    monoid: str
    inputs: tuple[str, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


@dataclass(frozen=True)
class Scan:
    monoid: str
    inputs: tuple[str, ...]
    axis: int


@dataclass(frozen=True)
class Scatter:
    base: str
    index: str
    src: str
    axis: int
    monoid: str | None = None


@dataclass(frozen=True)
class Sort:
    x: str
    axis: int
    descending: bool = False


@dataclass(frozen=True)
class Ref:
    """A tensor argument inside Extern and Random arguments."""

    name: str


@dataclass(frozen=True)
class Random:
    """`target` is the ATen operator that draws (for example aten.rand.default); args as in Extern."""

    target: str
    args: tuple[object, ...] = ()
    kwargs: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Extern:
    """Arguments are Ref, Expr (a symbolic size), None, bool, int, float, str, or tuples of these."""

    target: str
    args: tuple[object, ...] = ()
    kwargs: tuple[tuple[str, object], ...] = ()
    reason: str = ""


Operator = Map | Reshape | Reduce | Contract | Conv | Window | Scan | Scatter | Sort | Random | Extern


@dataclass(frozen=True)
class Value:
    name: str
    type: TensorType


@dataclass(frozen=True)
class Node:
    """`origin`: the source operator this came from (`aten.relu.default@layer1.0`), for reports; no meaning."""

    outputs: tuple[Value, ...]
    op: Operator
    origin: str = ""


@dataclass(frozen=True)
class Input:
    """`within`: every element of this index tensor is in the half-open range."""

    name: str
    type: TensorType
    role: str = "input"
    within: tuple[Expr, Expr] | None = None


@dataclass(frozen=True)
class Graph:
    name: str
    dims: tuple[Dim, ...]
    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    updates: tuple[tuple[str, str], ...] = ()

    def types(self) -> dict[str, TensorType]:
        """Type of every value by name, in definition order."""
        return {i.name: i.type for i in self.inputs} | {v.name: v.type for n in self.nodes for v in n.outputs}

    def producers(self) -> dict[str, Node]:
        return {v.name: n for n in self.nodes for v in n.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        """value -> the nodes that read it, in order."""
        out: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(operands(node.op)):
                out.setdefault(name, []).append(node)
        return out

    def live(self) -> frozenset[str]:
        """Values that must exist after the run: outputs and updates."""
        return frozenset(self.outputs) | {value for _, value in self.updates}


def operands(op: Operator) -> tuple[str, ...]:
    """Names of the tensors that an operator reads, in argument order (with repeats)."""
    if isinstance(op, Map):
        return tuple(x.buffer for x in loads(op.expr))
    if isinstance(op, (Reshape, Sort)):
        return (op.x,)
    if isinstance(op, (Reduce, Window, Scan)):
        return op.inputs
    if isinstance(op, Contract):
        return op.a, op.b
    if isinstance(op, Conv):
        return op.x, op.w
    if isinstance(op, Scatter):
        return op.base, op.index, op.src
    return tuple(_refs((op.args, tuple(v for _, v in op.kwargs))))


def _refs(value: object) -> Iterator[str]:
    if isinstance(value, Ref):
        yield value.name
    elif isinstance(value, tuple):
        for v in value:
            yield from _refs(v)


def rename_operands(op: Operator, new: dict[str, str]) -> Operator:
    """The operator with operand names replaced."""
    def one(name: str) -> str:
        return new.get(name, name)

    def arg(value: object) -> object:
        if isinstance(value, Ref):
            return Ref(one(value.name))
        return tuple(arg(v) for v in value) if isinstance(value, tuple) else value

    if isinstance(op, Map):
        return Map(transform(op.expr, lambda n: Load(one(n.buffer), n.index) if isinstance(n, Load) else None))
    if isinstance(op, (Reshape, Sort)):
        return replace(op, x=one(op.x))
    if isinstance(op, (Reduce, Window, Scan)):
        return replace(op, inputs=tuple(one(x) for x in op.inputs))
    if isinstance(op, Contract):
        return replace(op, a=one(op.a), b=one(op.b))
    if isinstance(op, Conv):
        return replace(op, x=one(op.x), w=one(op.w))
    if isinstance(op, Scatter):
        return replace(op, base=one(op.base), index=one(op.index), src=one(op.src))
    return replace(op, args=tuple(arg(a) for a in op.args), kwargs=tuple((k, arg(v)) for k, v in op.kwargs))
