"""ATen operators that draw: Random nodes, which take from torch's generator in eager's order.

A target whose name ends in an underscore (`aten.bernoulli_.float`) fills a fresh tensor of the node's type; its arguments are those
after `self`. `layout`, where given, is the order of axes in memory that eager's tensor has, since draws follow memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..ir.expr import Expr
from ..ir.graph import Random, TensorType
from .aten_pointwise import operand
from .builder import Builder, Number, T, accumulator, cast, op

Rule = Callable[..., object]


def fill(
    b: Builder, target: str, args: tuple[object, ...], dtype: str, shape: tuple[Expr, ...], like: torch.Tensor | None = None
) -> T:
    """A fresh tensor drawn by an in-place ATen operator; `like`: the fake tensor whose memory layout eager keeps."""
    order = memory_order(like)
    kwargs = (("layout", order),) if order else ()
    return b.emit(Random(target, args, kwargs), TensorType(dtype, shape))[0]


def memory_order(x: torch.Tensor | None) -> tuple[int, ...]:
    """Axes from the outermost in memory to the innermost when that differs from 0, 1, ..; empty_like keeps it for dense tensors."""
    if x is None or x.is_contiguous():
        return ()
    order = tuple(sorted(range(x.dim()), key=lambda d: (-int(x.stride(d)), d)))
    return order if x.permute(order).is_contiguous() and order != tuple(range(x.dim())) else ()


def _rand(target: str, *args: Number) -> Rule:
    def rule(b: Builder, *_: object, **__: object) -> T:
        return fill(b, target, args, b.out[0].dtype, b.out[0].shape)

    return rule


def _rand_like(target: str, *args: Number) -> Rule:
    def rule(b: Builder, self: T, **rest: object) -> T:
        return fill(b, target, args, b.out[0].dtype, b.out[0].shape, _layout_of(b, rest))

    return rule


def _layout_of(b: Builder, rest: dict[str, object]) -> torch.Tensor | None:
    return b.fx_arg(0) if rest.get("memory_format") in (None, torch.preserve_format) else None


def _randint(b: Builder, high: int, size: Sequence[object], low: int = 0, **rest: object) -> T:
    return fill(b, "aten.random_.from", (low, high), b.out[0].dtype, b.out[0].shape)


def _randint_like(b: Builder, self: T, high: int, low: int = 0, **rest: object) -> T:
    return fill(b, "aten.random_.from", (low, high), b.out[0].dtype, b.out[0].shape, _layout_of(b, rest))


def _functional(target: str, *names: str) -> Rule:
    """x.uniform_() and the like: the old content of x does not matter, its memory layout does."""

    def rule(b: Builder, self: T, generator: object = None, **args: object) -> T:
        return fill(b, target, tuple(args[n] for n in names), self.dtype, self.shape, b.fx_arg(0))

    return rule


def _bernoulli(b: Builder, self: T, p: float = 0.5, generator: object = None) -> T:
    return fill(b, "aten.bernoulli_.float", (p,), self.dtype, self.shape, b.fx_arg(0))


def _dropout(b: Builder, input: T, p: float, train: bool | None = True) -> tuple[T, T]:
    """at::dropout: noise = bernoulli(1 - p) / (1 - p), drawn in the input's dtype and layout; input * noise."""
    if not train or p == 0:
        return input, b.map("b1", input.shape, op("==", 0, 0)) if b.used(1) else input
    if p == 1:
        zero = b.map(input.dtype, input.shape, op("*", b.at(input), 0.0))
        return zero, b.map("b1", input.shape, op("!=", 0, 0), "mask")
    noise = fill(b, "aten.bernoulli_.float", (1 - p,), input.dtype, input.shape, b.fx_arg(0))
    wide = accumulator(input.dtype)
    scale = cast(wide, cast(input.dtype, op("/", cast(wide, b.at(noise), input.dtype), 1 - p), wide), input.dtype)
    y = op("*", cast(wide, b.at(input), input.dtype), scale)
    out = b.map(input.dtype, input.shape, cast(input.dtype, y, wide))
    return out, b.map("b1", input.shape, operand(b, noise, "b1", input.shape), "mask")


RANDOM: dict[str, Rule] = {
    "aten.rand.default": _rand("aten.uniform_.default", 0.0, 1.0),
    "aten.randn.default": _rand("aten.normal_.default", 0.0, 1.0),
    "aten.rand_like.default": _rand_like("aten.uniform_.default", 0.0, 1.0),
    "aten.randn_like.default": _rand_like("aten.normal_.default", 0.0, 1.0),
    "aten.randint.default": _randint,
    "aten.randint.low": _randint,
    "aten.randint_like.default": _randint_like,
    "aten.randint_like.low_dtype": _randint_like,
    "aten.bernoulli.p": _bernoulli,
    "aten.native_dropout.default": _dropout,
    "aten.dropout.default": lambda b, **args: _dropout(b, **args)[0],
    "aten.uniform.default": _functional("aten.uniform_.default", "from", "to"),
    "aten.normal_functional.default": _functional("aten.normal_.default", "mean", "std"),
    "aten.exponential.default": _functional("aten.exponential_.default", "lambd"),
    "aten.geometric.default": _functional("aten.geometric_.default", "p"),
    "aten.log_normal.default": _functional("aten.log_normal_.default", "mean", "std"),
    "aten.cauchy.default": _functional("aten.cauchy_.default", "median", "sigma"),
}
