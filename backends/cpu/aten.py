"""Runs one Aten or Library step: the node and the tensors it reads come in, dense tensors go out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import torch

from ...frontend.extern import run_extern
from ...ir.diagnostic import WarploomError
from ...ir.graph import Contract, Conv, Extern, Node, Random, Scatter, Sort

Tensors = Mapping[str, torch.Tensor]


class NoLibraryCall(WarploomError):
    """The plan gives the library an operator that it has no call for. Report it with `--dump-ir`."""

    code = "WL-E052"


def run_node(node: Node, tensors: Tensors, env: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Outputs of the node by name, each dense and row-major."""
    if isinstance(node.op, (Extern, Random)):
        values = run_extern(node, tensors, env)
    elif isinstance(node.op, Sort):
        values = tuple(torch.sort(tensors[node.op.x], dim=node.op.axis, descending=node.op.descending, stable=True))
    else:
        values = (_library(node, tensors).contiguous(),)
    return {out.name: value for out, value in zip(node.outputs, values)}


def _library(node: Node, tensors: Tensors) -> torch.Tensor:
    op = node.op
    if isinstance(op, Contract):
        return contraction(op.spec, tensors[op.a], tensors[op.b])
    if isinstance(op, Conv):
        return torch.ops.aten.convolution.default(
            tensors[op.x], tensors[op.w], None, op.stride, op.padding, op.dilation, op.transposed,
            op.output_padding or (0,) * len(op.stride), op.groups,
        )  # fmt: skip
    if isinstance(op, Scatter):
        return scattered(op, tensors[op.base], tensors[op.index], tensors[op.src])
    raise NoLibraryCall(f"the library has no {type(op).__name__}")


def scattered(op: Scatter, base: torch.Tensor, index: torch.Tensor, src: torch.Tensor) -> torch.Tensor:
    """`base` with `src` put, or combined in, at `index` along the axis."""
    if op.monoid is None:
        return torch.scatter(base, op.axis, index.long(), src)
    how = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}[op.monoid]
    return torch.scatter_reduce(base, op.axis, index.long(), src, how)


class _Product(NamedTuple):
    """A contraction as a (batched) matrix product. Letters of batch, rows, depth and columns; `swap`: the second operand has the rows."""

    swap: bool
    batch: str
    rows: str
    depth: str
    columns: str


@cache
def _as_product(spec: str) -> _Product | None:
    """Rows and columns stand last in the result, so that it needs no transposition. None where the spec has no such form."""
    (first, second), out = spec.split("->")[0].split(","), spec.split("->")[1]
    if not out or (out[-1] in first) == (out[-1] in second):
        return None
    swap = out[-1] in first
    left, right = (second, first) if swap else (first, second)
    columns = _suffix(out, right, left)
    rows = _suffix(out[: len(out) - len(columns)], left, right)
    batch = out[: len(out) - len(columns) - len(rows)]
    depth = "".join(c for c in left if c not in out)
    if sorted(depth) != sorted(c for c in right if c not in out) or len(set(left)) < len(left) or len(set(right)) < len(right):
        return None
    if not rows and any(c not in right for c in batch):
        return None
    return _Product(swap, batch, rows, depth, columns)


def _suffix(out: str, has: str, lacks: str) -> str:
    """The longest end of `out` with letters of `has` that `lacks` lacks."""
    start = len(out)
    while start and out[start - 1] in has and out[start - 1] not in lacks:
        start -= 1
    return out[start:]


def contraction(spec: str, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The einsum of two tensors by torch.mm or torch.bmm; operands are transposed by their strides, the result is dense."""
    p = _as_product(spec)
    if p is None:
        return torch.einsum(spec, a, b)
    letters = spec.split("->")[0].split(",")
    (left, x), (right, y) = ((letters[1], b), (letters[0], a)) if p.swap else ((letters[0], a), (letters[1], b))
    size = dict(zip(left, x.shape)) | dict(zip(right, y.shape))
    x = _matrices(x, left, p.batch, p.rows, p.depth, size)
    y = _matrices(y, right, p.batch, p.depth, p.columns, size)
    made = torch.bmm(x, y) if p.batch else torch.mm(x, y)
    return made.view([size[c] for c in spec.split("->")[1]])


def _matrices(t: torch.Tensor, letters: str, batch: str, rows: str, columns: str, size: Mapping[str, int]) -> torch.Tensor:
    """[batch, rows, columns], or [rows, columns] without a batch; an operand that lacks a batch letter is read again for each."""
    inside = [c for c in batch if c in letters]
    t = t.permute([letters.index(c) for c in (*inside, *rows, *columns)])
    flat = [math.prod(size[c] for c in group) for group in (rows, columns)]
    if not batch:
        return t.reshape(flat)
    t = t.reshape([size[c] if c in inside else 1 for c in batch] + flat).expand([size[c] for c in batch] + flat)
    return t.reshape([math.prod(size[c] for c in batch), *flat])
