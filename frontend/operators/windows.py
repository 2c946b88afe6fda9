"""Convolutions 1-3D with stride, padding, dilation, groups, transposed; pooling; resizing and other image operators."""

from __future__ import annotations

import math

import torch.nn.functional as F

from .operator import Call, Given, Pick, Shape, Table, vector, weight

WINDOWS = Table()
MOST_PRODUCTS = 1 << 23
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_TAKES = {1: "signal", 2: "image", 3: "volume"}
_OUT = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)


def _out(extent: int, k: int, stride: int, padding: int, dilation: int) -> int:
    return (extent + 2 * padding - dilation * (k - 1) - 1) // stride + 1


def _channels(pick: Pick, per_channel: float, groups: int = 1) -> int | None:
    fits = [c for c in _OUT if c % groups == 0 and c * per_channel <= MOST_PRODUCTS * min(1.0, 2 * pick.scale)]
    return pick.note("channels", *fits) if fits else None


def _convolution(n: int, name: str, sizes, dilations=(1,), groups=(1,), strides=(1, 1, 2)) -> None:
    @WINDOWS.add(name, "convolution", _TAKES[n])
    def make(pick: Pick, shape: Shape) -> Call | None:
        k, s, d = pick.note("size", *sizes), pick.note("stride", *strides), pick.note("dilation", *dilations)
        p = pick.note("padding", 0, d * (k - 1) // 2, d * (k - 1) // 2)
        g = pick.note("groups", pick.divisor(shape[1], *groups))
        extents = [_out(e, k, s, p, d) for e in shape[2:]]
        if min(extents) < 1:
            return None
        out = _channels(pick, shape[0] * math.prod(extents) * shape[1] // g * k**n, g)
        if out is None:
            return None
        w = weight("weight", out, shape[1] // g, *(k,) * n)
        conv = _CONV[n]
        if pick.note("bias", True, False):
            return Call(lambda x, w, b: conv(x, w, b, s, p, d, g), (w, vector("bias", out)))
        return Call(lambda x, w: conv(x, w, None, s, p, d, g), (w,))


_convolution(1, "conv1d", (1, 3, 5, 7))
_convolution(1, "conv1d_dilated", (2, 3), (2, 4, 8), strides=(1,))
_convolution(2, "conv2d", (3, 3, 5, 7))
_convolution(2, "conv2d_pointwise", (1,))
_convolution(2, "conv2d_dilated", (3,), (2, 3), strides=(1,))
_convolution(2, "conv2d_grouped", (3,), groups=(2, 4, 8))
_convolution(3, "conv3d", (1, 3))


def _depthwise(n: int, name: str) -> None:
    @WINDOWS.add(name, "convolution", _TAKES[n])
    def make(pick: Pick, shape: Shape) -> Call | None:
        c, k, s = shape[1], pick.note("size", 3, 5, 7), pick.note("stride", 1, 1, 2)
        if min(shape[2:]) < 2:
            return None
        conv, w = _CONV[n], weight("weight", c, 1, *(k,) * n)
        return Call(lambda x, w: conv(x, w, None, s, k // 2, 1, c), (w,))


_depthwise(1, "depthwise_conv1d")
_depthwise(2, "depthwise_conv2d")


def _transposed(n: int, name: str) -> None:
    @WINDOWS.add(name, "convolution", _TAKES[n])
    def make(pick: Pick, shape: Shape) -> Call | None:
        k, s = pick.note("size", 2, 3, 4), pick.note("stride", 1, 2)
        p = pick.note("padding", 0, 1) if k > 2 else 0
        out = _channels(pick, math.prod(shape) * k**n)
        if out is None or min(shape[2:]) < 2 or math.prod(shape) * s**n > 1 << 18:
            return None
        conv = _TRANSPOSED[n]
        return Call(lambda x, w, b: conv(x, w, b, s, p), (weight("weight", shape[1], out, *(k,) * n), vector("bias", out)))


_transposed(1, "conv_transpose1d")
_transposed(2, "conv_transpose2d")
_transposed(3, "conv_transpose3d")


@WINDOWS.add("causal_conv1d", "convolution", "signal")
def _causal_conv(pick: Pick, shape: Shape) -> Call:
    k, c = pick.note("size", 3, 4), shape[1]
    return Call(lambda x, w: F.conv1d(F.pad(x, (k - 1, 0)), w, None, 1, 0, 1, c), (weight("weight", c, 1, k),))


@WINDOWS.add("patch_embedding", "convolution", "image")
def _patches(pick: Pick, shape: Shape) -> Call | None:
    size = pick.note("patch", 2, 4, 7, 8, 14, 16)
    if min(shape[2:]) < size:
        return None
    out = _channels(pick, math.prod(shape))
    return None if out is None else Call(lambda x, w: F.conv2d(x, w, None, size).flatten(2).transpose(1, 2), (weight("weight", out, shape[1], size, size),))


# ------------------------------------------------------------------------------------------------ pooling
def _pool(n: int, name: str, function) -> None:
    @WINDOWS.add(name, "pooling", _TAKES[n])
    def make(pick: Pick, shape: Shape) -> Call | None:
        k = pick.note("size", 2, 3)
        s, p = pick.note("stride", 1, 2, k), pick.note("padding", 0, k // 2 if k > 2 else 0)
        return Call(lambda x: function(x, k, s, p)) if min(shape[2:]) >= k else None


for _n, _kinds in {1: (F.max_pool1d, F.avg_pool1d), 2: (F.max_pool2d, F.avg_pool2d), 3: (F.max_pool3d, F.avg_pool3d)}.items():
    _pool(_n, f"max_pool{_n}d", _kinds[0])
    _pool(_n, f"avg_pool{_n}d", _kinds[1])
_pool(2, "lp_pool2d", lambda x, k, s, p: F.avg_pool2d(x.square(), k, s, p).sqrt())
_pool(2, "min_pool2d", lambda x, k, s, p: -F.max_pool2d(-x, k, s, p))


@WINDOWS.add("max_pool2d_dilated", "pooling", "image")
def _dilated_pool(pick: Pick, shape: Shape) -> Call | None:
    d = pick.note("dilation", 2, 3)
    return Call(lambda x: F.max_pool2d(x, 3, 1, 1, d)) if min(shape[2:]) > 2 * d + 1 else None


@WINDOWS.add("max_pool2d_indices", "pooling", "image", inside=False)
def _pool_indices(pick: Pick, shape: Shape) -> Call | None:
    return Call(lambda x: F.max_pool2d(x, 2, 2, return_indices=True)) if min(shape[2:]) >= 2 else None


@WINDOWS.add("global_avg_pool", "pooling", "image")
def _global_avg(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x: x.mean((2, 3)))


@WINDOWS.add("global_max_pool", "pooling", "image")
def _global_max(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x: x.amax((2, 3)))


@WINDOWS.add("adaptive_avg_pool2d", "pooling", "image")
def _adaptive(pick: Pick, shape: Shape) -> Call | None:
    side = pick.note("side", 1, 2, 4, 7)
    return Call(lambda x: F.adaptive_avg_pool2d(x, side)) if all(e % side == 0 for e in shape[2:]) else None


@WINDOWS.add("token_mean_pool", "pooling", "sequence")
def _token_mean(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x, m: (x * m[..., None]).sum(1) / (m.sum(1, keepdim=True) + 1e-3), (Given("mask", shape[:2], "float32", "unit"),))


# ------------------------------------------------------------------------------------------------ resizing and image layout
@WINDOWS.add("upsample_nearest", "resize", "image")
def _nearest(pick: Pick, shape: Shape) -> Call | None:
    by = pick.note("factor", 2, 3)
    return Call(lambda x: F.interpolate(x, scale_factor=by, mode="nearest")) if math.prod(shape) * by * by <= 1 << 19 else None


@WINDOWS.add("upsample_bilinear", "resize", "image")
def _bilinear(pick: Pick, shape: Shape) -> Call | None:
    corners = pick.note("align_corners", False, True)
    if math.prod(shape) * 4 > 1 << 18 or min(shape[2:]) < 2:
        return None
    return Call(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=corners))


@WINDOWS.add("resize_bilinear", "resize", "image")
def _resize(pick: Pick, shape: Shape) -> Call | None:
    size = pick.note("size", (7, 7), (14, 14), (32, 32), (56, 56))
    return Call(lambda x: F.interpolate(x, size=size, mode="bilinear")) if shape[0] * shape[1] * size[0] * size[1] <= 1 << 18 else None


@WINDOWS.add("pixel_shuffle", "resize", "image")
def _shuffle(pick: Pick, shape: Shape) -> Call | None:
    return Call(lambda x: F.pixel_shuffle(x, 2)) if shape[1] % 4 == 0 else None


@WINDOWS.add("pixel_unshuffle", "resize", "image")
def _unshuffle(pick: Pick, shape: Shape) -> Call | None:
    return Call(lambda x: F.pixel_unshuffle(x, 2)) if shape[2] % 2 == 0 and shape[3] % 2 == 0 else None


@WINDOWS.add("channel_shuffle", "layout", "image")
def _channel_shuffle(pick: Pick, shape: Shape) -> Call | None:
    n, c, h, w = shape
    g = pick.note("groups", pick.divisor(c, 2, 3, 4))
    return Call(lambda x: x.view(n, g, c // g, h, w).transpose(1, 2).reshape(n, c, h, w)) if 1 < g < c else None


@WINDOWS.add("reflection_pad", "layout", "image")
def _reflection(pick: Pick, shape: Shape) -> Call | None:
    p = pick.note("padding", 1, 2, 3)
    return Call(lambda x: F.pad(x, (p, p, p, p), mode="reflect")) if min(shape[2:]) > p else None


@WINDOWS.add("replication_pad", "layout", "image")
def _replication(pick: Pick, shape: Shape) -> Call:
    p = pick.note("padding", 1, 2, 3)
    return Call(lambda x: F.pad(x, (p, p, p, p), mode="replicate"))


@WINDOWS.add("constant_pad", "layout", "image")
def _constant_pad(pick: Pick, shape: Shape) -> Call:
    p, value = pick.note("padding", (1, 1, 1, 1), (0, 1, 0, 1), (2, 3, 1, 0)), pick.note("value", 0.0, 1.0)
    return Call(lambda x: F.pad(x, p, value=value))


@WINDOWS.add("im2col", "layout", "image")
def _im2col(pick: Pick, shape: Shape) -> Call | None:
    k = pick.note("size", 2, 3)
    return Call(lambda x: F.unfold(x, k, padding=k // 2)) if math.prod(shape) * k * k <= 1 << 18 and min(shape[2:]) >= k else None


@WINDOWS.add("nchw_to_nhwc", "layout", "image")
def _nhwc(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x: x.permute(0, 2, 3, 1).contiguous())


@WINDOWS.add("window_partition", "layout", "image")
def _partition(pick: Pick, shape: Shape) -> Call | None:
    n, c, h, w = shape
    k = pick.note("window", 4, 7, 8)
    if h % k or w % k:
        return None
    return Call(lambda x: x.view(n, c, h // k, k, w // k, k).permute(0, 2, 4, 3, 5, 1).reshape(-1, k * k, c))
