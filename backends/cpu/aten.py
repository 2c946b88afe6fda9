"""Runs one Aten or Library step: the node and the tensors it reads come in, dense tensors go out."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...frontend.extern import run_extern
from ...ir.diagnostic import WarploomError
from ...ir.graph import Contract, Conv, Extern, Node, Random

Tensors = Mapping[str, torch.Tensor]


class NoLibraryCall(WarploomError):
    """The plan gives the library an operator that it has no call for. Report it with `--dump-ir`."""

    code = "WL-E052"


def run_node(node: Node, tensors: Tensors, env: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Outputs of the node by name, each dense and row-major."""
    if isinstance(node.op, (Extern, Random)):
        values = run_extern(node, tensors, env)
    else:
        values = (_library(node, tensors).contiguous(),)
    return {out.name: value for out, value in zip(node.outputs, values)}


def _library(node: Node, tensors: Tensors) -> torch.Tensor:
    op = node.op
    if isinstance(op, Contract):
        return torch.einsum(op.spec, tensors[op.a], tensors[op.b])
    if isinstance(op, Conv):
        return torch.ops.aten.convolution.default(
            tensors[op.x], tensors[op.w], None, op.stride, op.padding, op.dilation, op.transposed,
            op.output_padding or (0,) * len(op.stride), op.groups,
        )  # fmt: skip
    raise NoLibraryCall(f"the library has no {type(op).__name__}")
