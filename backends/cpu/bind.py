"""Checks a call's tensors against the compiled signature and works out everything that depends on their shapes alone.

Inputs and shapes come in; a `Bound` (dims, arena offsets, output shapes) goes out, or an InputMismatch of one line.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ...frontend.dtypes import TORCH_DTYPE as TORCH
from ...ir.diagnostic import InputMismatch
from ...ir.expr import Const, Expr, Var, substitute
from ...ir.expr import as_int as constant
from ...ir.graph import Input, TensorType
from ...ir.module import Module
from ...ir.types import BYTES, Dim
from ...passes.plan_memory import place
from .layout import Layout
from .printer import THREADS


@dataclass(frozen=True)
class Made:
    """An output to hand out: a tensor over the storage of slot `root`. `given`: it is an input or weight itself; `kept`: it was prepared
    from weights and is handed out as a copy."""

    root: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    given: bool
    kept: bool


@dataclass(frozen=True)
class Bound:
    """What one set of input shapes determines."""

    env: Mapping[str, int]
    dims: ctypes.Array
    offsets: ctypes.Array
    arena_bytes: int
    fresh_bytes: tuple[int, ...]
    outputs: tuple[Made, ...]
    shapes: Mapping[str, tuple[int, ...]]


def bind(layout: Layout, shapes: Sequence[tuple[int, ...]], threads: int) -> Bound:
    """Everything that depends on the shapes of the user inputs and the number of threads. Raises InputMismatch."""
    env = match_shapes(layout.module, shapes)
    sizes = {name: evaluated(t, env) for name, t in layout.module.types.items()}
    nbytes = {name: math.prod(shape) * BYTES[layout.module.types[name].dtype] for name, shape in sizes.items()}
    members: dict[str, int] = {}
    for root, home in layout.sharing.home.items():
        members[home] = max(members.get(home, 0), nbytes[root])
    offsets, total = place(layout.sharing.temporaries, members)
    scratch = max((evaluate(e, {**env, THREADS: threads}) for e in layout.scratch), default=0)
    numbers = [*(offsets[name] for name in layout.arena), *(nbytes[target] for target, _ in layout.copies), total]
    given = {i.name for i in layout.module.inputs}
    outputs = tuple(_made(layout, name, sizes[name], given) for name in layout.module.outputs)
    dims = [env[d.name] for d in layout.module.dims]
    return Bound(
        env, (ctypes.c_int64 * len(dims))(*dims), (ctypes.c_int64 * len(numbers))(*numbers), total + scratch,
        tuple(members.get(name, nbytes[name]) for name in layout.fresh), outputs, sizes,
    )  # fmt: skip


def _made(layout: Layout, name: str, shape: tuple[int, ...], given: set[str]) -> Made:
    root = layout.module.storage(name)
    return Made(root, TORCH[layout.module.types[name].dtype], shape, row_major(shape), root in given, root in layout.kept)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a dense tensor, in elements."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


def evaluate(e: Expr, env: Mapping[str, int]) -> int:
    """The value of an index expression."""
    if isinstance(e, Const):
        return int(e.value)
    value = constant(substitute(e, {name: Const(v) for name, v in env.items()}))
    if value is None:
        raise InputMismatch(f"a size cannot be worked out from the inputs: {e}")
    return value


def evaluated(t: TensorType, env: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(evaluate(d, env) for d in t.shape)


def match_shapes(module: Module, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """Values of the symbolic dims. Raises InputMismatch where a shape differs or a dim leaves its range."""
    inputs = [i for i in module.inputs if i.role == "input"]
    if len(shapes) != len(inputs):
        raise InputMismatch(f"expected {len(inputs)} tensors, got {len(shapes)}")
    env: dict[str, int] = {}
    for given, shape in zip(inputs, shapes):
        if len(shape) != len(given.type.shape):
            raise InputMismatch(f"input {given.name}: expected {len(given.type.shape)} dimensions, got shape {list(shape)}")
        for expected, actual in zip(given.type.shape, shape):
            if isinstance(expected, Var):
                env.setdefault(expected.name, actual)
    for dim in module.dims:
        _check_range(dim, env)
    for given, shape in zip(inputs, shapes):
        if (expected := evaluated(given.type, env)) != tuple(shape):
            raise InputMismatch(f"input {given.name}: expected shape {list(expected)}, got {list(shape)}")
    return env


def _check_range(dim: Dim, env: Mapping[str, int]) -> None:
    if dim.name not in env:
        raise InputMismatch(f"dimension {dim.name} is no input's extent")
    value = env[dim.name]
    if value < dim.lo or (dim.hi is not None and value > dim.hi):
        raise InputMismatch(
            f"dimension {dim.name} is {value}, compiled for {dim.lo}..{dim.hi if dim.hi is not None else 'any'}"
        )


def check_tensor(given: Input, t: object) -> None:
    """Dtype, device and layout of one argument. Raises InputMismatch."""
    if not isinstance(t, torch.Tensor):
        raise InputMismatch(f"input {given.name}: expected a tensor, got {type(t).__name__}")
    if t.dtype is not TORCH[given.type.dtype]:
        raise InputMismatch(f"input {given.name}: expected {TORCH[given.type.dtype]}, got {t.dtype}")
    if t.device.type != "cpu":
        raise InputMismatch(f"input {given.name}: expected a CPU tensor, got one on {t.device}")
    if t.layout is not torch.strided:
        raise InputMismatch(f"input {given.name}: expected a dense tensor, got {t.layout}")


def check_within(given: Input, t: torch.Tensor, env: Mapping[str, int]) -> None:
    """Every element of an index tensor is in its range. Raises InputMismatch."""
    if given.within is None or t.numel() == 0:
        return
    lo, hi = (evaluate(e, env) for e in given.within)
    low, high = (int(v) for v in torch.aminmax(t))
    if low < lo or high >= hi:
        raise InputMismatch(f"input {given.name}: index {low if low < lo else high} is out of range, expected {lo}..{hi - 1}")
