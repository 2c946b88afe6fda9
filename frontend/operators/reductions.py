"""Reductions, softmax and normalisations, scans."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .operator import Call, Given, Pick, Shape, Table, vector

REDUCTIONS = Table()


def _axes(pick: Pick, shape: Shape) -> tuple[int, ...]:
    """Axes to reduce: the last, the first, an inner one, the trailing two, all."""
    rank = len(shape)
    kinds: list[tuple[int, ...]] = [(rank - 1,), (rank - 1,), (0,)]
    kinds += [(1,), (rank - 2, rank - 1)] if rank >= 3 else []
    kinds += [tuple(range(rank))]
    return pick.note("axes", *kinds)


def _reduction(name: str, function, draw: str = "normal") -> None:
    @REDUCTIONS.add(name, "reduction", inside=draw == "normal")
    def make(pick: Pick, shape: Shape) -> Call:
        axes, keep = _axes(pick, shape), pick.note("keepdim", False, True)
        return Call(lambda x: function(x, axes, keep), first=None if draw == "normal" else Given("x", shape, "float32", draw))


for _name, _function in {
    "sum": lambda x, d, k: x.sum(d, k), "mean": lambda x, d, k: x.mean(d, k), "amax": lambda x, d, k: x.amax(d, k), "amin": lambda x, d, k: x.amin(d, k),
    "var": lambda x, d, k: x.var(d, keepdim=k, unbiased=False), "std": lambda x, d, k: (x.var(d, keepdim=k, unbiased=True) + 1e-3).sqrt(),
    "norm2": lambda x, d, k: torch.linalg.vector_norm(x, 2, d, k), "norm1": lambda x, d, k: torch.linalg.vector_norm(x, 1, d, k),
    "logsumexp": lambda x, d, k: torch.logsumexp(x, d, k), "sum_of_squares": lambda x, d, k: x.square().sum(d, k),
    "root_mean_square": lambda x, d, k: (x.square().mean(d, k) + 1e-6).sqrt(), "peak_to_peak": lambda x, d, k: x.amax(d, k) - x.amin(d, k),
    "mean_and_max": lambda x, d, k: (x.mean(d, k), x.amax(d, k)), "absolute_mean": lambda x, d, k: x.abs().mean(d, k),
}.items():  # fmt: skip
    _reduction(_name, _function)


def _arg(name: str, function) -> None:
    @REDUCTIONS.add(name, "reduction", inside=False)
    def make(pick: Pick, shape: Shape) -> Call:
        axis = pick.note("axis", 0, len(shape) - 1)
        return Call(lambda x: function(x, axis))


_arg("argmax", lambda x, d: x.argmax(d))
_arg("argmin", lambda x, d: x.argmin(d))
_arg("max_with_index", lambda x, d: tuple(torch.max(x, d)))
_arg("any_positive", lambda x, d: (x > 2).any(d))
_arg("all_bounded", lambda x, d: (x < 3).all(d))
_arg("count_positive", lambda x, d: (x > 0).sum(d))


@REDUCTIONS.add("product", "reduction", inside=False)
def _product(pick: Pick, shape: Shape) -> Call:
    axis = pick.note("axis", len(shape) - 1)
    return Call(lambda x: (1 + 0.01 * x).prod(axis))


# ------------------------------------------------------------------------------------------------ softmax, normalisation
def _soft(name: str, function) -> None:
    @REDUCTIONS.add(name, "normalisation")
    def make(pick: Pick, shape: Shape) -> Call | None:
        axis = int(pick.note("axis", len(shape) - 1, len(shape) - 1, 1 if len(shape) > 1 else 0))
        return Call(lambda x: function(x, axis)) if shape[axis] > 1 else None


_soft("softmax", torch.softmax)
_soft("log_softmax", torch.log_softmax)
_soft("softmin", F.softmin)
_soft("l2_normalize", lambda x, d: F.normalize(x, 2, d))
_soft("l1_normalize", lambda x, d: x / x.abs().sum(d, keepdim=True).clamp_min(1e-6))
_soft("standardize", lambda x, d: (x - x.mean(d, keepdim=True)) / (x.std(d, keepdim=True) + 1e-5))
_soft("temperature_softmax", lambda x, d: torch.softmax(x / 0.7, d))


@REDUCTIONS.add("layer_norm", "normalisation", "rows")
def _layer_norm(pick: Pick, shape: Shape) -> Call:
    n, eps = shape[-1], pick.note("eps", 1e-5, 1e-6, 1e-12)
    if pick.note("affine", True, True, False):
        return Call(lambda x, w, b: F.layer_norm(x, (n,), w, b, eps), (vector("weight", n, "scale"), vector("bias", n)))
    return Call(lambda x: F.layer_norm(x, (n,), eps=eps))


@REDUCTIONS.add("rms_norm", "normalisation", "rows")
def _rms_norm(pick: Pick, shape: Shape) -> Call:
    n, eps = shape[-1], pick.note("eps", 1e-5, 1e-6)
    return Call(lambda x, w: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * w, (vector("weight", n, "scale"),))


@REDUCTIONS.add("batch_norm", "normalisation", "image")
def _batch_norm(pick: Pick, shape: Shape) -> Call:
    c, eps = shape[1], pick.note("eps", 1e-5, 1e-3)
    more = (vector("mean", c), vector("variance", c, "positive"), vector("weight", c, "scale"), vector("bias", c))
    return Call(lambda x, m, v, w, b: F.batch_norm(x, m, v, w, b, False, 0.1, eps), more)


@REDUCTIONS.add("batch_norm_training", "normalisation", "image")
def _batch_norm_training(pick: Pick, shape: Shape) -> Call | None:
    c = shape[1]
    if shape[0] * shape[2] * shape[3] < 2:
        return None
    return Call(lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (vector("weight", c, "scale"), vector("bias", c)))


@REDUCTIONS.add("group_norm", "normalisation", "image")
def _group_norm(pick: Pick, shape: Shape) -> Call | None:
    c = shape[1]
    groups = pick.note("groups", pick.divisor(c, 2, 4, 8, 16, 32))
    return Call(lambda x, w, b: F.group_norm(x, groups, w, b), (vector("weight", c, "scale"), vector("bias", c))) if c > 1 else None


@REDUCTIONS.add("instance_norm", "normalisation", "image")
def _instance_norm(pick: Pick, shape: Shape) -> Call | None:
    return Call(lambda x: F.instance_norm(x)) if shape[2] * shape[3] > 1 else None


@REDUCTIONS.add("local_response_norm", "normalisation", "image")
def _lrn(pick: Pick, shape: Shape) -> Call | None:
    size = pick.note("size", 3, 5)
    return Call(lambda x: F.local_response_norm(x, size)) if shape[1] > size else None


@REDUCTIONS.add("channel_layer_norm", "normalisation", "image")
def _channel_norm(pick: Pick, shape: Shape) -> Call:
    c = shape[1]

    def run(x, w, b):
        m = x.mean(1, keepdim=True)
        v = (x - m).square().mean(1, keepdim=True)
        return (x - m) * torch.rsqrt(v + 1e-6) * w[:, None, None] + b[:, None, None]

    return Call(run, (vector("weight", c, "scale"), vector("bias", c)))


@REDUCTIONS.add("residual_layer_norm", "normalisation", "rows")
def _residual_norm(pick: Pick, shape: Shape) -> Call:
    n = shape[-1]
    return Call(lambda x, r, w, b: F.layer_norm(x + r, (n,), w, b), (Given("residual", shape), vector("weight", n, "scale"), vector("bias", n)))


# ------------------------------------------------------------------------------------------------ scans
def _scan(name: str, function) -> None:
    @REDUCTIONS.add(name, "scan")
    def make(pick: Pick, shape: Shape) -> Call | None:
        axis = pick.note("axis", len(shape) - 1, len(shape) - 1, 0)
        return Call(lambda x: function(x, axis)) if 1 < shape[axis] <= 4096 else None


_scan("cumsum", torch.cumsum)
_scan("cummax", lambda x, d: torch.cummax(x, d)[0])
_scan("cummin", lambda x, d: torch.cummin(x, d)[0])
_scan("cumprod", lambda x, d: torch.cumprod(1 + 0.01 * x, d))
_scan("running_mean", lambda x, d: torch.cumsum(x, d) * (1.0 / x.shape[d]))
_scan("logcumsumexp", torch.logcumsumexp)
_scan("reverse_cumsum", lambda x, d: torch.flip(torch.cumsum(torch.flip(x, (d,)), d), (d,)))
_scan("exclusive_cumsum", lambda x, d: torch.cumsum(x, d) - x)
