"""The lowering of Scatter, which is no definition of elements: a Scatter node comes in, a naive program goes out.

    out = base; for each element j of index: out[.., index[j], ..] = src[j]        (or combined in with a monoid)
"""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.expr import Const, Expr, Load, Op, names, sub
from ..ir.graph import Node, Scatter, TensorType
from ..ir.kernel import Body, Buffer, For, Program, Reduce, Stmt, Store
from ..ir.types import Dim
from .indexing import coords
from .lower import Lowered, Range

COMBINED = ("f32", "f64", "i64", "i32")
"""Element types that memory combines; the others are left to the library."""


def scatters(node: Node, types: Mapping[str, TensorType]) -> bool:
    """Whether the node is a Scatter that has a program."""
    return isinstance(node.op, Scatter) and (node.op.monoid is None or types[node.op.base].dtype in COMBINED)


def lower_scatter(
    node: Node, name: str, types: Mapping[str, TensorType], dims: tuple[Dim, ...], within: Mapping[str, Range], in_place: bool = False
) -> Lowered:
    """The copy of the base, then the scatter in the order of its elements: the last of equals wins. `in_place`: the output is the base."""
    op = node.op
    assert isinstance(op, Scatter)
    out = node.outputs[0].name
    given = list(dict.fromkeys((op.index, op.src) if in_place else (op.base, op.index, op.src)))
    params = [Buffer(x, types[x].dtype, types[x].shape, within=within.get(x)) for x in given]
    params.append(Buffer(out, types[out].dtype, types[out].shape))
    rank = len(types[out].shape)
    here = coords(rank)
    copy: Stmt = Store(out, here, Load(op.base, here))
    to = list(here)
    to[op.axis] = _coordinate(op, types, within, here)
    value = Load(op.src, here)
    step: Stmt = Reduce(op.monoid, (Load(out, tuple(to)),), (value,)) if op.monoid else Store(out, tuple(to), value)
    copies = () if in_place else _nest(types[out].shape, copy)
    body = (*copies, *_nest(types[op.index].shape, step))
    used = {v for b in params for e in (*b.shape, *(b.within or ())) for v in names(e)}
    return Lowered(Program(name, tuple(d for d in dims if d.name in used), tuple(params), body), (*given, out))


def _coordinate(op: Scatter, types: Mapping[str, TensorType], within: Mapping[str, Range], here: tuple[Expr, ...]) -> Expr:
    """The index as a coordinate. One whose range is not declared was proved by the frontend: limits say so to the verifier."""
    extent = types[op.base].shape[op.axis]
    index = Load(op.index, here)
    if within.get(op.index) == (Const(0), extent):
        return index
    return Op("min", (Op("max", (index, Const(0))), sub(extent, Const(1))))


def _nest(extents: tuple[Expr, ...], inside: Stmt) -> Body:
    body: Body = (inside,)
    for k in reversed(range(len(extents))):
        body = (For(f"i{k}", Const(0), extents[k], "serial", body),)
    return body
