"""Graph to Graph: other forms of a window, where a decision asks for them: one dim after the other, or over an input that is padded before.

`separate NODE` (1: the last dim first, 2: the last dim last): k1 + k2 taps instead of k1 * k2, and a value in between. `pad NODE` (1): no tap
is tested, and a padded copy is written and read.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.expr import Const, Expr, Load, Op, Var, add, as_int, conjunction, sub
from ..ir.graph import Graph, Map, Node, TensorType, Value, Window
from .canonical import Rewriter, rewrite
from .decisions import Decisions
from .define import identity
from .indexing import coords

SEPARABLE = ("add", "max", "min")


def separate(graph: Graph, decisions: Decisions) -> Graph:
    """The default is neither."""

    def rule(r: Rewriter, node: Node) -> bool:
        op, name = node.op, node.outputs[0].name
        if not isinstance(op, Window) or op.monoid not in SEPARABLE or len(op.inputs) != 1:
            return False
        shape = r.types[op.inputs[0]].shape
        if any(as_int(d) is None for d in (*shape, *node.outputs[0].type.shape)):
            return False
        padded = bool(any(op.padding)) and bool(decisions.choose(f"pad {name}", 0, (0, 1)))
        if padded:
            op = _padded(r, node, op)
        order = decisions.choose(f"separate {name}", 0, (0, 1, 2)) if sum(k > 1 for k in op.size) > 1 else 0
        if order:
            op = _first(r, node, op, order)
        if op is node.op:
            return False
        r.emit(replace(node, op=op))
        return True

    return rewrite(graph, (rule,))


def _first(r: Rewriter, node: Node, op: Window, order: int) -> Window:
    """Emit the window over some dims; the one over the others goes out."""
    x, rank = op.inputs[0], len(op.size)
    now = {rank - 1} if order == 1 else set(range(rank - 1))
    shape, out = r.types[x].shape, node.outputs[0].type.shape
    lead = len(shape) - rank
    between = (*shape[:lead], *(out[lead + d] if d in now else shape[lead + d] for d in range(rank)))
    middle = r.value(f"{node.outputs[0].name}_part", _only(op, now, x), node.outputs[0].type.dtype, between, node.origin)
    return _only(op, set(range(rank)) - now, middle)


def _only(op: Window, dims: set[int], x: str) -> Window:
    """The window over some of its dims, one tap in the others."""

    def pick(values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return tuple(v if d in dims else other for d, v in enumerate(values))

    return Window(op.monoid, (x,), pick(op.size, 1), pick(op.stride, 1), pick(op.padding, 0), pick(op.dilation, 1))


def _padded(r: Rewriter, node: Node, op: Window) -> Window:
    """Emit the input with as much around it as the taps reach."""
    x, rank = op.inputs[0], len(op.size)
    t, out = r.types[x], node.outputs[0].type.shape
    lead = len(t.shape) - rank
    index = coords(len(t.shape))
    place: list[Expr] = list(index[:lead])
    new: list[Expr] = list(t.shape[:lead])
    guards: list[Expr] = []
    for d in range(rank):
        at = sub(Var(f"i{lead + d}"), op.padding[d])
        place.append(at)
        reach = ((as_int(out[lead + d]) or 1) - 1) * op.stride[d] + (op.size[d] - 1) * op.dilation[d] + 1
        size = max(reach, (as_int(t.shape[lead + d]) or 1) + op.padding[d])
        new.append(Const(size))
        guards += [Op(">=", (at, Const(0)))] if op.padding[d] else []
        guards += [Op("<", (at, t.shape[lead + d]))] if size > (as_int(add(t.shape[lead + d], op.padding[d])) or 0) else []
    value: Expr = Load(x, tuple(place))
    if guards:
        value = Op("select", (conjunction(guards), value, identity(op.monoid, 0, t.dtype)))
    made = Node((Value(r.fresh(f"{x}_pad"), TensorType(t.dtype, tuple(new))),), Map(value), "pad")
    r.emit(made)
    return replace(op, inputs=(made.outputs[0].name,), padding=(0,) * rank)
