"""Extern and Random nodes run by ATen: tensors by name in, the node's tensors out. Draws come from torch's default generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import torch

from ..ir.expr import Expr
from ..ir.graph import Extern, Node, Random, Ref, operands
from ..ir.interpret_graph import size_of
from .dtypes import DTYPE, TORCH_DTYPE

_TORCH = {str(v): v for v in (*DTYPE, torch.complex64, torch.complex128)}
_TORCH |= {
    str(v): v
    for v in (torch.strided, torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)
}


def run_extern(node: Node, tensors: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> tuple[torch.Tensor, ...]:
    """The outputs of an Extern or Random node, contiguous. `sizes`: values of the graph's dims."""
    op = node.op
    assert isinstance(op, (Extern, Random))
    call = _overload(op.target)
    args = [_value(a, tensors, sizes) for a in op.args]
    kwargs = {k: _value(v, tensors, sizes) for k, v in op.kwargs}
    if isinstance(op, Random) and _fills(op.target):
        return (_filled(node, call, args, kwargs.get("layout"), sizes),)
    made = call(*args, **kwargs)
    leaves = made if isinstance(made, (tuple, list)) else (made,)
    return tuple(t.contiguous() for t in leaves if isinstance(t, torch.Tensor))


@cache
def _overload(target: str) -> Callable[..., object]:
    """`aten.add.Tensor` -> torch.ops.aten.add.Tensor"""
    namespace, name, overload = target.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), name), overload)


@cache
def _fills(target: str) -> bool:
    return target.split(".")[1].endswith("_")


def _filled(
    node: Node, call: Callable[..., object], args: Sequence[object], layout: object, sizes: Mapping[str, int]
) -> torch.Tensor:
    """A fresh tensor in the memory order that eager's has, filled in place."""
    t = node.outputs[0].type
    shape = [size_of(d, sizes) for d in t.shape]
    order = layout if isinstance(layout, (list, tuple)) else range(len(shape))
    x = torch.empty_permuted(shape, tuple(order), dtype=TORCH_DTYPE[t.dtype])
    call(x, *args)
    return x.contiguous()


def _value(v: object, tensors: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> object:
    if isinstance(v, Ref):
        return tensors[v.name]
    if isinstance(v, tuple):
        return [_value(x, tensors, sizes) for x in v]
    if isinstance(v, Expr):
        return size_of(v, sizes)
    if isinstance(v, str) and v.startswith("device:"):
        return torch.device(v.removeprefix("device:"))
    return _TORCH.get(v, v) if isinstance(v, str) else v


def numpy_externs(node: Node, arrays: Mapping[str, tuple[np.ndarray, str]], sizes: Mapping[str, int]) -> list[np.ndarray]:
    """`run_extern` for the graph interpreter: arrays come with their dtypes, bf16 ones as float32."""
    tensors = {n: to_torch(*arrays[n]) for n in operands(node.op)}
    return [to_numpy(t) for t in run_extern(node, tensors, sizes)]


def to_torch(a: np.ndarray, dtype: str) -> torch.Tensor:
    return torch.from_numpy(np.array(a, order="C")).to(TORCH_DTYPE[dtype])


def to_numpy(t: torch.Tensor) -> np.ndarray:
    """A dense copy; bf16 as float32."""
    return np.array((t.detach().float() if t.dtype is torch.bfloat16 else t.detach()).numpy(), order="C")
