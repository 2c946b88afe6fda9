"""Model building blocks: attention, MLP, residual, depthwise-separable, inception, squeeze-excite, gated units, norm-linear-activation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .operator import Call, Given, Pick, Shape, Table, vector, weight

BLOCKS = Table()
MOST_PRODUCTS = 1 << 23
_ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "tanh": torch.tanh}


def _activation(pick: Pick):
    return _ACTIVATIONS[pick.note("activation", *_ACTIVATIONS)]


def _fits(pick: Pick, products: float) -> bool:
    return products <= MOST_PRODUCTS * min(1.0, pick.scale * 2)


def _norm(x, w, b):
    return F.layer_norm(x, x.shape[-1:], w, b)


@BLOCKS.add("mlp", "block", "rows")
def _mlp(pick: Pick, shape: Shape) -> Call | None:
    d, rows = shape[-1], math.prod(shape[:-1])
    h = pick.note("hidden", 32, 64, 128, 2 * d, 4 * d)
    act = _activation(pick)
    if not _fits(pick, 2 * rows * d * h):
        return None
    more = (weight("w1", h, d), vector("b1", h), weight("w2", d, h), vector("b2", d))
    return Call(lambda x, w1, b1, w2, b2: F.linear(act(F.linear(x, w1, b1)), w2, b2), more)


@BLOCKS.add("gated_mlp", "block", "rows")
def _gated(pick: Pick, shape: Shape) -> Call | None:
    d, rows = shape[-1], math.prod(shape[:-1])
    h = pick.note("hidden", 32, 64, 172, 2 * d)
    act = _activation(pick)
    if not _fits(pick, 3 * rows * d * h):
        return None
    more = (weight("gate", h, d), weight("up", h, d), weight("down", d, h))
    return Call(lambda x, g, u, w: F.linear(act(F.linear(x, g)) * F.linear(x, u), w), more)


@BLOCKS.add("norm_linear_activation", "block", "rows")
def _norm_linear(pick: Pick, shape: Shape) -> Call | None:
    d, rows = shape[-1], math.prod(shape[:-1])
    n = pick.note("width", 16, 64, 128, d)
    act = _activation(pick)
    more = (vector("scale", d, "scale"), vector("shift", d), weight("weight", n, d), vector("bias", n))
    return Call(lambda x, s, c, w, b: act(F.linear(_norm(x, s, c), w, b)), more) if _fits(pick, rows * d * n) else None


@BLOCKS.add("transformer_mlp", "block", "sequence")
def _transformer_mlp(pick: Pick, shape: Shape) -> Call | None:
    d, rows = shape[-1], shape[0] * shape[1]
    h = pick.note("hidden", 64, 128, 2 * d)
    more = (vector("scale", d, "scale"), vector("shift", d), weight("w1", h, d), weight("w2", d, h))
    return Call(lambda x, s, c, w1, w2: x + F.linear(F.gelu(F.linear(_norm(x, s, c), w1)), w2), more) if _fits(pick, 2 * rows * d * h) else None


@BLOCKS.add("self_attention", "block", "sequence")
def _self_attention(pick: Pick, shape: Shape) -> Call | None:
    b, t, d = shape
    heads = pick.note("heads", pick.divisor(d, 1, 2, 4, 8))
    each = d // heads
    if each > 128 or not _fits(pick, b * t * d * (4 * d + 2 * t)):
        return None

    def run(x, qkv, out):
        q, k, v = F.linear(x, qkv).view(b, t, 3, heads, each).permute(2, 0, 3, 1, 4)
        a = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(each), -1) @ v
        return F.linear(a.transpose(1, 2).reshape(b, t, d), out)

    return Call(run, (weight("qkv", 3 * d, d), weight("out", d, d)))


@BLOCKS.add("cross_attention", "block", "sequence")
def _cross_attention(pick: Pick, shape: Shape) -> Call | None:
    b, t, d = shape
    s = pick.note("context", 7, 16, 77)
    if not _fits(pick, b * d * (2 * t * d + 2 * s * d + 2 * t * s)):
        return None

    def run(x, c, wq, wk, wv):
        q, k, v = F.linear(x, wq), F.linear(c, wk), F.linear(c, wv)
        return x + torch.softmax(q @ k.transpose(1, 2) / math.sqrt(d), -1) @ v

    return Call(run, (Given("context", (b, s, d)), weight("wq", d, d), weight("wk", d, d), weight("wv", d, d)))


@BLOCKS.add("residual_block", "block", "image")
def _residual(pick: Pick, shape: Shape) -> Call | None:
    c = shape[1]
    if not _fits(pick, 2 * math.prod(shape) * c * 9):
        return None

    def run(x, w1, s1, b1, w2, s2, b2):
        y = F.relu(F.conv2d(x, w1, None, 1, 1) * s1[:, None, None] + b1[:, None, None])
        return F.relu(x + F.conv2d(y, w2, None, 1, 1) * s2[:, None, None] + b2[:, None, None])

    w = [weight(f"w{k}", c, c, 3, 3) for k in (1, 2)]
    v = [(vector(f"s{k}", c, "scale"), vector(f"b{k}", c)) for k in (1, 2)]
    return Call(run, (w[0], *v[0], w[1], *v[1]))


@BLOCKS.add("bottleneck", "block", "image")
def _bottleneck(pick: Pick, shape: Shape) -> Call | None:
    c = shape[1]
    m = pick.note("inner", 4, 8, 16)
    if not _fits(pick, math.prod(shape) * (2 * m) + math.prod(shape) // c * m * m * 9):
        return None
    run = lambda x, a, b, d: F.relu(x + F.conv2d(F.relu(F.conv2d(F.relu(F.conv2d(x, a)), b, None, 1, 1)), d))  # noqa: E731
    return Call(run, (weight("reduce", m, c, 1, 1), weight("inner", m, m, 3, 3), weight("expand", c, m, 1, 1)))


@BLOCKS.add("depthwise_separable", "block", "image")
def _separable(pick: Pick, shape: Shape) -> Call | None:
    c, out = shape[1], pick.note("channels", 8, 16, 32, 64)
    act = _activation(pick)
    run = lambda x, d, p, b: act(F.conv2d(F.conv2d(x, d, None, 1, 1, 1, c), p, b))  # noqa: E731
    ok = _fits(pick, math.prod(shape) * (9 + out))
    return Call(run, (weight("depthwise", c, 1, 3, 3), weight("pointwise", out, c, 1, 1), vector("bias", out))) if ok else None


@BLOCKS.add("inverted_residual", "block", "image")
def _inverted(pick: Pick, shape: Shape) -> Call | None:
    c = shape[1]
    m = c * pick.note("expansion", 2, 4)
    if not _fits(pick, math.prod(shape) // c * m * (2 * c + 9)):
        return None
    run = lambda x, e, d, p: x + F.conv2d(F.relu6(F.conv2d(F.relu6(F.conv2d(x, e)), d, None, 1, 1, 1, m)), p)  # noqa: E731
    return Call(run, (weight("expand", m, c, 1, 1), weight("depthwise", m, 1, 3, 3), weight("project", c, m, 1, 1)))


@BLOCKS.add("inception", "block", "image")
def _inception(pick: Pick, shape: Shape) -> Call | None:
    c, m = shape[1], pick.note("branch", 4, 8, 16)
    if not _fits(pick, math.prod(shape) * m * (1 + 9 + 25) / 2):
        return None

    def run(x, a, b, d):
        return torch.cat([F.conv2d(x, a), F.conv2d(x, b, None, 1, 1), F.conv2d(x, d, None, 1, 2), F.max_pool2d(x, 3, 1, 1)], 1)

    return Call(run, (weight("one", m, c, 1, 1), weight("three", m, c, 3, 3), weight("five", m, c, 5, 5)))


@BLOCKS.add("squeeze_excite", "block", "image")
def _squeeze(pick: Pick, shape: Shape) -> Call:
    c, m = shape[1], pick.note("inner", 2, 4, 8, 16)
    run = lambda x, a, b: x * torch.sigmoid(F.linear(F.relu(F.linear(x.mean((2, 3)), a)), b))[:, :, None, None]  # noqa: E731
    return Call(run, (weight("down", m, c), weight("up", c, m)))


@BLOCKS.add("conv_norm_activation", "block", "image")
def _conv_norm(pick: Pick, shape: Shape) -> Call | None:
    c, out, s = shape[1], pick.note("channels", 4, 8, 16, 32), pick.note("stride", 1, 2)
    act = _activation(pick)
    if not _fits(pick, math.prod(shape) * out * 9 / s**2):
        return None
    run = lambda x, w, m, v, g, b: act(F.batch_norm(F.conv2d(x, w, None, s, 1), m, v, g, b))  # noqa: E731
    more = (vector("mean", out), vector("variance", out, "positive"), vector("gain", out, "scale"), vector("bias", out))
    return Call(run, (weight("weight", out, c, 3, 3), *more))


@BLOCKS.add("spatial_attention", "block", "image")
def _spatial(pick: Pick, shape: Shape) -> Call:
    run = lambda x, w: x * torch.sigmoid(F.conv2d(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1), w, None, 1, 3))  # noqa: E731
    return Call(run, (weight("weight", 1, 2, 7, 7),))


@BLOCKS.add("convnext_block", "block", "image")
def _convnext(pick: Pick, shape: Shape) -> Call | None:
    c = shape[1]
    if not _fits(pick, math.prod(shape) * (49 + 4 * c)) or c < 2:
        return None

    def run(x, d, s, b, w1, w2):
        y = F.conv2d(x, d, None, 1, 3, 1, c).permute(0, 2, 3, 1)
        return x + F.linear(F.gelu(F.linear(_norm(y, s, b), w1)), w2).permute(0, 3, 1, 2)

    return Call(run, (weight("depthwise", c, 1, 7, 7), vector("scale", c, "scale"), vector("shift", c), weight("w1", 2 * c, c), weight("w2", c, 2 * c)))


@BLOCKS.add("highway", "block", "matrix")
def _highway(pick: Pick, shape: Shape) -> Call | None:
    m, d = shape
    run = lambda x, wh, wt: torch.sigmoid(F.linear(x, wt)) * F.relu(F.linear(x, wh)) + (1 - torch.sigmoid(F.linear(x, wt))) * x  # noqa: E731
    return Call(run, (weight("transform", d, d), weight("carry", d, d))) if _fits(pick, 2 * m * d * d) else None


@BLOCKS.add("gru_cell", "block", "matrix")
def _gru(pick: Pick, shape: Shape) -> Call | None:
    m, d = shape
    h = pick.note("hidden", 16, 32, 64)
    if not _fits(pick, m * 3 * h * (d + h)):
        return None

    def run(x, state, wi, wh):
        i, g = F.linear(x, wi).chunk(3, 1), F.linear(state, wh).chunk(3, 1)
        r, z = torch.sigmoid(i[0] + g[0]), torch.sigmoid(i[1] + g[1])
        n = torch.tanh(i[2] + r * g[2])
        return (1 - z) * n + z * state

    return Call(run, (Given("state", (m, h)), weight("wi", 3 * h, d), weight("wh", 3 * h, h)))


@BLOCKS.add("lstm_cell", "block", "matrix")
def _lstm(pick: Pick, shape: Shape) -> Call | None:
    m, d = shape
    h = pick.note("hidden", 16, 32, 64)
    if not _fits(pick, m * 4 * h * (d + h)):
        return None

    def run(x, state, cell, wi, wh):
        i, f, g, o = (F.linear(x, wi) + F.linear(state, wh)).chunk(4, 1)
        c = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    return Call(run, (Given("state", (m, h)), Given("cell", (m, h)), weight("wi", 4 * h, d), weight("wh", 4 * h, h)))


@BLOCKS.add("mixer_token", "block", "sequence")
def _mixer(pick: Pick, shape: Shape) -> Call | None:
    b, t, d = shape
    h = pick.note("hidden", 16, 32, 64)
    run = lambda x, a, c: x + F.linear(F.gelu(F.linear(x.transpose(1, 2), a)), c).transpose(1, 2)  # noqa: E731
    return Call(run, (weight("mix", h, t), weight("back", t, h))) if _fits(pick, 2 * b * t * d * h) else None


@BLOCKS.add("classifier_head", "block", "image")
def _head(pick: Pick, shape: Shape) -> Call:
    n = pick.note("classes", 10, 100, 1000)
    run = lambda x, w, b: torch.softmax(F.linear(x.mean((2, 3)), w, b), -1)  # noqa: E731
    return Call(run, (weight("weight", n, shape[1]), vector("bias", n)))
