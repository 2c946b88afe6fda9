"""Graph to Graph: padding and strided transposition of our own convolutions made plain, so that their inner loops carry no guards.

A padded convolution becomes a padded copy and an unpadded convolution. A transposed convolution of stride s becomes s convolutions a dim,
one for each phase of the output (sub-pixel form, Shi et al. 2016): `Phases`, which `define` and `lower` print as one kernel.
Convolutions that a library runs are left as they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from ..ir.expr import Const, Expr, Load, Op, Var, add, as_int, conjunction, sub
from ..ir.graph import Conv, Graph, Map, Node
from .canonical import Rewriter, rewrite
from .decisions import Decisions
from .indexing import coords


@dataclass(frozen=True)
class Taps:
    """The taps of one phase in one dim: input position `first - t * back`, kernel position `kernel + t * step`, t < count."""

    phase: int
    count: int
    first: int
    back: int
    kernel: int
    step: int


def phase_taps(op: Conv, d: int, kernel: int) -> list[Taps]:
    """One entry per output phase of a transposed convolution in spatial dim `d`."""
    stride, dilation, padding = op.stride[d], op.dilation[d], op.padding[d]
    step = stride // math.gcd(stride, dilation)
    out: list[Taps] = []
    for phase in range(stride):
        hits = [p for p in range(kernel) if (phase + padding - p * dilation) % stride == 0]
        first = (phase + padding - hits[0] * dilation) // stride if hits else 0
        out.append(Taps(phase, len(hits), first, dilation * step // stride, hits[0] if hits else 0, step))
    return out


def explicit_padding(graph: Graph, library: Collection[str], decisions: Decisions | None = None) -> Graph:
    """Padding of owned convolutions becomes a map of its own, unless the decision `pad NODE` is 0: then each tap is tested."""

    def rule(r: Rewriter, node: Node) -> bool:
        op = node.op
        if not isinstance(op, Conv) or node.outputs[0].name in library:
            return False
        rank = len(op.stride)
        sizes = [(as_int(r.types[op.x].shape[d + 2]), as_int(node.outputs[0].type.shape[d + 2])) for d in range(rank)]
        if any(a is None or b is None for a, b in sizes):
            return False
        around = [_reach(r, op, node, d) if op.transposed else (op.padding[d], op.padding[d]) for d in range(rank)]
        if not any(low or high for low, high in around):
            return False
        if not op.transposed and not (decisions or Decisions()).choose(f"pad {node.outputs[0].name}", 1, (0, 1)):
            return False
        x = _padded(r, op.x, around)
        r.emit(replace(node, op=replace(op, x=x, padding=_left(op, around))))
        return True

    return rewrite(graph, (rule,))


def _left(op: Conv, around: list[tuple[int, int]]) -> tuple[int, ...]:
    """Padding that remains: for a transposed convolution, the shift that the added rows cause."""
    if not op.transposed:
        return (0,) * len(op.stride)
    return tuple(p + s * low for p, s, (low, _) in zip(op.padding, op.stride, around))


def _reach(r: Rewriter, op: Conv, node: Node, d: int) -> tuple[int, int]:
    """How far before and past the input the taps of a transposed convolution read."""
    kernel = as_int(r.types[op.w].shape[d + 2]) or 1
    size, out = as_int(r.types[op.x].shape[d + 2]) or 1, as_int(node.outputs[0].type.shape[d + 2]) or 1
    low = high = 0
    for t in phase_taps(op, d, kernel):
        if not t.count:
            continue
        last = (out - 1 - t.phase) // op.stride[d]
        low = max(low, -(t.first - (t.count - 1) * t.back))
        high = max(high, last + t.first - (size - 1))
    return max(0, low), max(0, high)


def _padded(r: Rewriter, x: str, around: list[tuple[int, int]]) -> str:
    shape = r.types[x].shape
    index = coords(len(shape))
    place: list[Expr] = list(index[:2])
    guards: list[Expr] = []
    new = list(shape[:2])
    for d, (low, high) in enumerate(around):
        at = sub(Var(f"i{d + 2}"), low)
        place.append(at)
        new.append(add(shape[d + 2], low + high))
        guards += [Op(">=", (at, Const(0)))] if low else []
        guards += [Op("<", (at, shape[d + 2]))] if high else []
    value = Op("select", (conjunction(guards), Load(x, tuple(place)), Const(0.0)))
    return r.value(f"{x}_pad", Map(value), r.types[x].dtype, tuple(new), "pad")


def phases(op: Conv, kernel: tuple[int, ...]) -> list[tuple[Taps, ...]]:
    """All combinations of phases over the spatial dims, the last dim fastest."""
    return list(itertools.product(*(phase_taps(op, d, k) for d, k in enumerate(kernel))))
