"""Runs one Aten or Library step: the node and the tensors it reads come in, dense tensors go out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ...ir.diagnostic import WarploomError
from ...ir.expr import Expr
from ...ir.graph import Contract, Conv, Extern, Node, Operator, Random, Ref
from .bind import evaluate

Tensors = Mapping[str, torch.Tensor]


class UnknownOperator(WarploomError):
    """A step names an ATen operator that this torch does not have. Recompile the model with this version of torch."""

    code = "WL-E052"


def resolve(target: str) -> Callable:
    """`aten.relu.default` -> the operator overload. Raises UnknownOperator."""
    space, name, *overload = target.split(".")
    packet = getattr(getattr(torch.ops, space), name, None)
    found = getattr(packet, overload[0] if overload else "default", None)
    if found is None:
        raise UnknownOperator(f"torch {torch.__version__} has no operator {target}")
    return found


def run_node(node: Node, tensors: Tensors, env: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """Outputs of the node by name, each dense and row-major."""
    result = _call(node.op, tensors, env)
    values = [v for v in result if v is not None] if isinstance(result, (tuple, list)) else [result]
    return {out.name: value.contiguous() for out, value in zip(node.outputs, values)}


def _call(op: Operator, tensors: Tensors, env: Mapping[str, int]):
    if isinstance(op, (Extern, Random)):
        args = [argument(a, tensors, env) for a in op.args]
        return resolve(op.target)(*args, **{k: argument(v, tensors, env) for k, v in op.kwargs})
    if isinstance(op, Contract):
        return torch.einsum(op.spec, tensors[op.a], tensors[op.b])
    if isinstance(op, Conv):
        return torch.ops.aten.convolution.default(
            tensors[op.x], tensors[op.w], None, op.stride, op.padding, op.dilation, op.transposed,
            op.output_padding or (0,) * len(op.stride), op.groups,
        )  # fmt: skip
    raise UnknownOperator(f"the library has no {type(op).__name__}")


def argument(value: object, tensors: Tensors, env: Mapping[str, int]):
    """A stored argument as torch takes it: tensors by name, sizes evaluated, `torch.float32` and the like looked up."""
    if isinstance(value, Ref):
        return tensors[value.name]
    if isinstance(value, Expr):
        return evaluate(value, env)
    if isinstance(value, tuple):
        return [argument(v, tensors, env) for v in value]
    if isinstance(value, str) and value.startswith("torch."):
        return getattr(torch, value.removeprefix("torch."))
    if isinstance(value, str) and value.startswith("device:"):
        return torch.device(value.removeprefix("device:"))
    return value
