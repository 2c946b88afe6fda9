"""A float64 run of a reference comes in, the error that honest float32 work may make goes out.

While the mode is on, every operator's float64 result is disturbed by what float32 arithmetic could do to it: a few units in
the last place for a pointwise operator, and for a sum of n terms what a plain loop makes, about sqrt(n) units of its partial
sums where roundings are independent and n/2 where all terms are alike (Higham, Accuracy and Stability, section 4.2). n counts
the terms that are not zero, so few of them leave little room. How far the outputs move is how far honest work may be off.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch._decomp import decomposition_table
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# Operator -> positions of the two factors; what else it adds is scaled by beta or is a bias.
CONTRACTIONS = {
    "mm": (0, 1), "bmm": (0, 1), "mv": (0, 1), "dot": (0, 1), "vdot": (0, 1), "linear": (0, 1), "convolution": (0, 1),
    "addmm": (1, 2), "baddbmm": (1, 2), "addbmm": (1, 2), "addmv": (1, 2), "addr": (1, 2),
}  # fmt: skip
SPREADS = {"var", "std", "var_mean", "std_mean"}
SUMS = {"sum", "mean", "nansum"}
AVERAGES = {"avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d"}
SCANS = {"cumsum"}
SCATTERED = {"scatter_add", "scatter_reduce", "index_add"}  # (base, axis, index, terms)
PRODUCTS = {"prod", "cumprod"}
COMPOSITE = {
    "native_layer_norm", "native_group_norm", "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_functional",
    "_softmax", "_log_softmax", "logsumexp", "mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "linalg_vector_norm", "nll_loss_forward", "instance_norm",
    "_fused_rms_norm", "logcumsumexp", "norm", "dist", "_euclidean_dist", "soft_margin_loss", "l1_loss", "log_sigmoid_forward",
}  # fmt: skip
# Functions often written with exp(x) - 1 or log(1 + exp(x)): right to a unit in the last place of one, not of a tiny result.
BOUNDED = {
    "tanh",
    "elu",
    "selu",
    "celu",
    "expm1",
    "log1p",
    "softplus",
    "erf",
    "asinh",
    "atanh",
    "log_sigmoid",
    "sin",
    "sinh",
    "elu_",
    "selu_",
    "tanh_",
}
EXACT = {
    "max", "min", "amax", "amin", "aminmax", "argmax", "argmin", "sort", "topk", "relu", "relu_", "clamp", "clamp_min", "clamp_max",
    "abs", "neg", "sign", "maximum", "minimum", "where", "cat", "stack", "constant_pad_nd", "reflection_pad2d", "replication_pad2d",
    "gather", "index_select", "index", "embedding", "flip", "roll", "clone", "copy", "copy_", "_to_copy", "tril", "triu", "fill",
    "fill_", "zero_", "zeros_like", "ones_like", "masked_fill", "scatter", "max_pool2d_with_indices", "max_pool3d_with_indices",
    "threshold", "hardtanh", "hardtanh_", "repeat", "diag_embed", "floor", "ceil", "round", "trunc", "contiguous", "lift_fresh_copy",
    "full", "zeros", "ones", "empty", "empty_like", "arange", "scalar_tensor", "full_like", "new_zeros", "new_ones", "nll_loss2d_forward",
    "lift_fresh", "detach", "alias", "copysign", "frexp", "pixel_shuffle", "upsample_nearest2d", "unfold", "im2col",
}  # fmt: skip
VIEWS = {
    "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "expand", "squeeze", "unsqueeze", "slice", "select", "as_strided",
    "split", "split_with_sizes", "chunk", "unbind", "diagonal", "flatten", "unflatten", "movedim", "narrow", "_reshape_alias", "view_as",
}  # fmt: skip


SIGNS = np.array([[1.0 - 2.0 * (byte >> bit & 1) for bit in range(8)] for byte in range(256)])
"""A random byte -> eight random signs."""


def name_of(func) -> str:
    """`aten.add.Tensor` -> `add`."""
    return func._schema.name.split("::")[-1]


def widened_model(model: torch.nn.Module) -> torch.nn.Module:
    """A copy in float64, with the tensors that are neither parameters nor buffers, alone or in lists and dicts."""
    wide = copy.deepcopy(model).double()
    for module in wide.modules():
        own = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        vars(module).update(pytree.tree_map_only(torch.Tensor, lambda t: t.double() if t.is_floating_point() else t, own))
    return wide


class Disturbed(TorchDispatchMode):
    """Adds random float32-sized disturbances. `unit` is the unit roundoff (2^-24), `coherent` widens sums to their bound.

    `amplitude` keeps the last operator's own allowance and `sources` how many operators disturbed: with one, the allowance
    is exact and no random draw is needed. `only` disturbs one operator alone, by its number from 1; `lowest` makes variances
    as small as they may come out.
    """

    def __init__(self, unit: float, seed: int, coherent: bool, silent: bool = False, lowest: bool = False, only: int = 0):
        super().__init__()
        self.unit, self.coherent, self.silent, self.lowest, self.only = unit, coherent, silent, lowest, only
        self.random = np.random.default_rng(seed)
        self.sources = 0
        self.amplitude: torch.Tensor | None = None
        self.last: torch.Tensor | None = None

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = name_of(func)
        if name in COMPOSITE and func in decomposition_table:
            with self:
                return decomposition_table[func](*args, **kwargs)
        out = func(*args, **kwargs)
        if name in EXACT or name in VIEWS or not _is_real(out):
            return out
        if name in SPREADS:
            return self._spread(name, func, out, args, kwargs)
        amplitude = self._amplitude(name, func, out, args, kwargs)
        return self._disturb(out, amplitude)

    def is_last(self, output: torch.Tensor) -> bool:
        """True where one operator alone was disturbed and `output` is its result."""
        if self.sources != 1 or self.amplitude is None or self.last is None or self.amplitude.numel() != output.numel():
            return False
        return torch.equal(torch.nan_to_num(self.last.reshape(-1)), torch.nan_to_num(output.reshape(-1).double()))

    def _disturb(self, out, amplitude):
        head = out[0] if isinstance(out, tuple | list) else out
        if not isinstance(head, torch.Tensor) or not head.dtype.is_floating_point or head.dtype != torch.float64:
            return out
        self.sources += 1
        self.amplitude, self.last = amplitude, head
        if self.silent or (self.only and self.only != self.sources):
            return out
        noise = self._signs(head.shape).mul_(amplitude)
        head.add_(torch.nan_to_num_(noise, nan=0.0, posinf=0.0, neginf=0.0)) if not _overlaps(head) else None
        return out

    def _signs(self, shape: torch.Size) -> torch.Tensor:
        """1 or -1 at random, float64."""
        count = shape.numel()
        drawn = self.random.integers(0, 256, -(-count // 8), dtype=np.uint8)
        return torch.from_numpy(SIGNS[drawn].reshape(-1)[:count]).reshape(shape)

    def _spread(self, name, func, out, args, kwargs):
        """Variances also by the one-pass formula mean(x^2) - mean(x)^2, whose error grows with the mean."""
        x = args[0].double()
        head = out[0] if isinstance(out, tuple) else out
        variance, mean = torch.var_mean(x, *args[1:], **kwargs) if len(args) > 1 or kwargs else torch.var_mean(x)
        n = torch.tensor(max(1.0, x.numel() / max(1, head.numel())), dtype=torch.float64)
        growth = 5 * self._growth(n, _repeats(x + 1))  # zeros, less the mean, are equal terms too
        noise = self.unit * growth * (variance + mean * mean)
        if name.startswith("std"):
            noise = noise / (2 * head.abs()).clamp_min(1e-30)
        if self.lowest and not self.silent:  # a variance of nothing may come out negative
            noise = torch.where(variance < noise, noise, 0 * noise)
            self.sources += 1 + isinstance(out, tuple)
            return head.sub_(noise) if not isinstance(out, tuple) else (head.sub_(noise), out[1])
        disturbed = self._disturb(head, noise)
        if not isinstance(out, tuple):
            return disturbed
        return disturbed, self._disturb(
            out[1], self.unit * growth * (mean.abs() + 2 * torch.sqrt((variance + mean * mean) / n))
        )

    def _growth(self, count, alike: bool):
        """Units by which a plain sum of `count` terms may be off, per unit of its partial sums; the allowance is twelve times that.

        The bound is count / 2; what independent roundings make is near sqrt(count) / 4, and more once a sum has grown so far that a
        good part of each term is lost.
        """
        return 0.15 * count + 2 if self.coherent or alike else 1.2 * torch.sqrt(count) * (1 + 64 * self.unit * count) + 2

    def _terms(self, count, total, squares, alike: bool):
        """Allowance of a sum: `count` terms, their sum and the sum of their squares; `alike`: many terms are equal."""
        return self.unit * self._growth(count, alike) * (total.abs() + 2 * torch.sqrt(squares))

    def _amplitude(self, name, func, out, args, kwargs):
        u = self.unit
        head = out[0] if isinstance(out, tuple | list) else out
        if name in CONTRACTIONS:
            return self._contraction(name, func, head, args, kwargs)
        if name in SUMS:
            return self._sum(name, head, args)
        if name in SCANS:
            x, dim = args[0], args[1]
            return self._terms(_present(x).cumsum(dim), head, (x * x).cumsum(dim), _repeats(x))
        if name in SCATTERED and (name != "scatter_reduce" or args[4] == "sum"):
            base, axis, index, terms = (
                a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args[:4]
            )
            count = func(torch.ones_like(base), axis, index, _present(terms), *args[4:], **kwargs)
            return self._terms(count, head, func(base * base, axis, index, terms * terms, *args[4:], **kwargs), _repeats(terms))
        if name in PRODUCTS:
            n = max(args[0].shape[args[1]] if len(args) > 1 and args[0].ndim else args[0].numel(), 1)
            return u * (n + 2) * head.abs()
        if name in AVERAGES:
            size = max(1, args[0].numel() // max(1, head.numel()))
            bound = func(args[0].abs(), *args[1:], **kwargs)
            return u * (2 * math.sqrt(size) + 6) * bound
        if name in {"add", "sub", "rsub", "add_", "sub_", "lerp", "addcmul", "addcdiv"}:
            total = head.abs().mul_(2)
            for a in args:
                if isinstance(a, torch.Tensor) and a.dtype == torch.float64:
                    total.add_(a.abs())
            return total.mul_(u)
        if name in BOUNDED:
            return head.abs().mul_(6 * u).add_(3 * u)
        return head.abs().mul_(u * (2 if name in {"mul", "div", "mul_", "div_", "sqrt", "reciprocal"} else 6))

    def _sum(self, name, head, args):
        x = args[0].double()
        over = (args[1] or [], args[2] if len(args) > 2 else False) if len(args) > 1 else ([], False)
        magnitude = x.abs()
        count, squares = aten.sum.dim_IntList(_present(x), *over), aten.sum.dim_IntList(x * x, *over)
        size = max(1, x.numel() // max(1, head.numel())) if name == "mean" else 1
        # Whatever the order, no more can be lost than all terms but the largest.
        others = aten.sum.dim_IntList(magnitude, *over) - (aten.amax(magnitude, *over) if x.numel() else 0.0)
        bound = torch.minimum(
            self._terms(count, head * size, squares, _repeats(x)), others + 8 * self.unit * (head * size).abs()
        )
        return bound / size + 2 * self.unit * head.abs()

    def _contraction(self, name, func, out, args, kwargs):
        i, j = CONTRACTIONS[name]
        a, b = args[i], args[j]

        def again(left, right):
            changed = list(args)
            changed[i], changed[j] = left, right
            if name in {"convolution", "linear"} and len(changed) > 2:
                changed[2] = None
            elif i == 1:
                changed[0] = torch.zeros((), dtype=torch.float64)
                changed[0] = changed[0].expand(out.shape)
            scalars = {k: v for k, v in kwargs.items() if k not in {"alpha", "beta"}}
            return func(*changed, **scalars)

        dense = bool((a != 0).double().mean() > 0.9) and bool((b != 0).double().mean() > 0.9)
        squares = again(a * a, b * b)
        if dense:
            count = torch.tensor(float(_length(name, args, a, b)), dtype=torch.float64)
        else:
            count = again(_present(a), _present(b))
        return self._terms(count, out, squares.clamp_min(0), _repeats(a) and _repeats(b)) + 2 * self.unit * out.abs()


def _length(name, args, a, b) -> int:
    """Terms of one output element of a contraction without zeros."""
    if name == "convolution":
        transposed = args[6]
        kernel = b[0, 0].numel()
        return kernel * (b.shape[0] // args[8] if transposed else b.shape[1])
    if name == "addr":
        return 1
    return a.shape[-1]


def _repeats(x: torch.Tensor) -> bool:
    """True where many terms are equal to 16 bits: their roundings fall the same way and do not average out."""
    sample = x.reshape(-1)[:8192].float()
    sample = sample[sample != 0]
    return sample.numel() > 8 and torch.unique(sample.view(torch.int32) >> 7).numel() < 0.7 * sample.numel()


def _present(x: torch.Tensor) -> torch.Tensor:
    return (x != 0).to(torch.float64)


def _is_real(out) -> bool:
    head = out[0] if isinstance(out, tuple | list) and out else out
    return isinstance(head, torch.Tensor) and head.dtype == torch.float64


def _overlaps(x: torch.Tensor) -> bool:
    return any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape))
