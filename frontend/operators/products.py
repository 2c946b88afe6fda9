"""Contractions of every layout, attention pieces, quantised products."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from .operator import Call, Given, Pick, Shape, Table, vector, weight
from .shapes import WIDTHS

PRODUCTS = Table()
MOST_PRODUCTS = 1 << 23
"""Multiplications of one contraction at scale 1."""


def _width(pick: Pick, rows: int, inner: int) -> int | None:
    """An output width that keeps rows x inner x width within bounds."""
    most = MOST_PRODUCTS * min(1.0, pick.scale * 2) / max(1, rows * inner)
    fits = [w for w in (1, 2, 4, 10, 16, 32, *WIDTHS) if w <= most]
    return pick.note("width", *fits[-8:]) if fits else None


def _rows(shape: Shape) -> int:
    return math.prod(shape[:-1])


@PRODUCTS.add("linear", "contraction", "rows")
def _linear(pick: Pick, shape: Shape) -> Call | None:
    n = _width(pick, _rows(shape), shape[-1])
    if n is None:
        return None
    if pick.note("bias", True, True, False):
        return Call(F.linear, (weight("weight", n, shape[-1]), vector("bias", n)))
    return Call(F.linear, (weight("weight", n, shape[-1]),))


def _matmul(name: str, function, layout) -> None:
    @PRODUCTS.add(name, "contraction", "matrix")
    def make(pick: Pick, shape: Shape) -> Call | None:
        inner = shape[0] if name.startswith("matmul_t") else shape[1]
        n = _width(pick, math.prod(shape) // inner, inner)
        return None if n is None else Call(function, (weight("right", *layout(inner, n)),))


_matmul("matmul_nn", lambda a, b: a @ b, lambda k, n: (k, n))
_matmul("matmul_nt", lambda a, b: a @ b.T, lambda k, n: (n, k))
_matmul("matmul_tn", lambda a, b: a.T @ b, lambda k, n: (k, n))
_matmul("matmul_tt", lambda a, b: a.T @ b.T, lambda k, n: (n, k))


@PRODUCTS.add("addmm", "contraction", "matrix")
def _addmm(pick: Pick, shape: Shape) -> Call | None:
    n = _width(pick, shape[0], shape[1])
    beta, alpha = pick.note("beta", 0.5, 1.0), pick.note("alpha", 1.0, 2.0)
    if n is None:
        return None
    return Call(lambda a, b, c: torch.addmm(c, a, b, beta=beta, alpha=alpha), (weight("right", shape[1], n), Given("added", (shape[0], n))))


@PRODUCTS.add("matvec", "contraction", "matrix")
def _matvec(pick: Pick, shape: Shape) -> Call:
    return Call(torch.mv, (vector("v", shape[1], "weight"),))


@PRODUCTS.add("vecmat", "contraction", "matrix")
def _vecmat(pick: Pick, shape: Shape) -> Call:
    return Call(lambda m, v: (v[None] @ m)[0], (Given("v", (shape[0],), "float32", "weight"),))


@PRODUCTS.add("outer", "contraction", "matrix")
def _outer(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x, v: x[:, 0][:, None] * v[None, :], (vector("v", shape[1]),))


@PRODUCTS.add("bmm", "contraction", "sequence")
def _bmm(pick: Pick, shape: Shape) -> Call | None:
    n = _width(pick, shape[0] * shape[1], shape[2])
    return None if n is None else Call(torch.bmm, (weight("right", shape[0], shape[2], n),))


@PRODUCTS.add("bmm_transposed", "contraction", "sequence")
def _bmm_t(pick: Pick, shape: Shape) -> Call | None:
    if shape[1] * shape[1] * shape[0] * shape[2] > MOST_PRODUCTS * pick.scale * 2:
        return None
    return Call(lambda a, b: a @ b.transpose(1, 2), (weight("right", *shape),))


@PRODUCTS.add("gram", "contraction", "matrix")
def _gram(pick: Pick, shape: Shape) -> Call | None:
    if shape[0] ** 2 * shape[1] > MOST_PRODUCTS * pick.scale * 2:
        return None
    return Call(lambda x: x @ x.T * (1.0 / shape[1]))


@PRODUCTS.add("bilinear", "contraction", "matrix")
def _bilinear(pick: Pick, shape: Shape) -> Call | None:
    m, k = shape
    n = pick.note("width", 4, 8, 16)
    if m * k * k * n > MOST_PRODUCTS * pick.scale * 2:
        return None
    return Call(lambda x, y, w: torch.einsum("mi,oij,mj->mo", x, w, y), (Given("y", (m, k)), weight("weight", n, k, k)))


@PRODUCTS.add("einsum_heads", "contraction", "heads")
def _einsum_heads(pick: Pick, shape: Shape) -> Call | None:
    b, h, t, d = shape
    n = _width(pick, b * t * h, d)
    return None if n is None or n > 256 else Call(lambda x, w: torch.einsum("bhtd,hde->bthe", x, w), (weight("weight", h, d, n),))


@PRODUCTS.add("pairwise_distance", "contraction", "matrix")
def _cdist(pick: Pick, shape: Shape) -> Call | None:
    n = pick.note("points", 8, 16, 50, 100)
    if shape[0] * shape[1] * n > MOST_PRODUCTS * pick.scale:
        return None
    run = lambda x, y: (x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T).clamp_min(0.25).sqrt()  # noqa: E731
    return Call(run, (Given("y", (n, shape[1])),))


@PRODUCTS.add("triangular_matmul", "contraction", "matrix")
def _triangular(pick: Pick, shape: Shape) -> Call | None:
    n = shape[0]
    if n * n * shape[1] > MOST_PRODUCTS * pick.scale * 2:
        return None
    return Call(lambda x, a: torch.tril(a) @ x, (weight("lower", n, n),))


@PRODUCTS.add("low_rank", "contraction", "rows")
def _low_rank(pick: Pick, shape: Shape) -> Call | None:
    r, d = pick.note("rank", 4, 8, 16), shape[-1]
    return Call(lambda x, a, b: x + (x @ a) @ b * 0.5, (weight("down", d, r), weight("up", r, d))) if _rows(shape) * d * r <= MOST_PRODUCTS * 2 else None


@PRODUCTS.add("mixture_gate", "contraction", "rows")
def _gate(pick: Pick, shape: Shape) -> Call:
    experts = pick.note("experts", 4, 8, 16)
    return Call(lambda x, w: torch.softmax(x @ w.T, -1), (weight("weight", experts, shape[-1]),))


# ------------------------------------------------------------------------------------------------ attention
def _attention_fits(pick: Pick, shape: Shape) -> bool:
    b, h, t, d = shape
    return b * h * t * t * d * 2 <= MOST_PRODUCTS * pick.scale * 2


def _attention(name: str, scores, extra=lambda s: ()) -> None:
    @PRODUCTS.add(name, "attention", "heads")
    def make(pick: Pick, shape: Shape) -> Call | None:
        scale = 1 / math.sqrt(shape[-1])

        def run(q, k, v, *more):
            return torch.softmax(scores(q @ k.transpose(-2, -1) * scale, *more), -1) @ v

        return Call(run, (Given("key", shape), Given("value", shape), *extra(shape))) if _attention_fits(pick, shape) else None


def _causal(s):
    t = s.shape[-1]
    return s.masked_fill(torch.ones(t, t, dtype=torch.bool, device=s.device).triu(1), -1e30)


_attention("attention", lambda s: s)
_attention("causal_attention", _causal)
_attention("biased_attention", lambda s, bias: s + bias, lambda s: (Given("bias", (s[1], s[2], s[2])),))
_attention("masked_attention", lambda s, m: s.masked_fill(m, -1e4), lambda s: (Given("mask", (s[0], 1, 1, s[2]), "bool", "flag"),))
_attention("sigmoid_attention", lambda s: torch.log(torch.sigmoid(s) + 1e-3))


@PRODUCTS.add("attention_scores", "attention", "heads")
def _scores(pick: Pick, shape: Shape) -> Call | None:
    scale = 1 / math.sqrt(shape[-1])
    return Call(lambda q, k: q @ k.transpose(-2, -1) * scale, (Given("key", shape),)) if _attention_fits(pick, shape) else None


@PRODUCTS.add("grouped_query_attention", "attention", "heads")
def _gqa(pick: Pick, shape: Shape) -> Call | None:
    b, h, t, d = shape
    groups = pick.note("groups", pick.divisor(h, 1, 2, 4))
    if not _attention_fits(pick, shape):
        return None
    kv, each = (b, groups, t, d), h // groups

    def run(q, k, v):
        k, v = (x.repeat_interleave(each, 1) for x in (k, v))
        return torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(d), -1) @ v

    return Call(run, (Given("key", kv), Given("value", kv)))


@PRODUCTS.add("linear_attention", "attention", "heads")
def _linear_attention(pick: Pick, shape: Shape) -> Call | None:
    if math.prod(shape) * shape[-1] * 2 > MOST_PRODUCTS * pick.scale * 2:
        return None
    return Call(lambda q, k, v: (F.elu(q) + 1) @ ((F.elu(k) + 1).transpose(-2, -1) @ v), (Given("key", shape), Given("value", shape)))


@PRODUCTS.add("rotary_embedding", "attention", "heads")
def _rotary(pick: Pick, shape: Shape) -> Call | None:
    t, d = shape[2:]
    if d % 2:
        return None

    def run(x, c, s):
        a, b = x[..., : d // 2], x[..., d // 2 :]
        return torch.cat([a * c - b * s, b * c + a * s], -1)

    return Call(run, (Given("cosine", (t, d // 2), "float32", "unit"), Given("sine", (t, d // 2), "float32", "unit")))


@PRODUCTS.add("alibi_bias", "attention", "heads")
def _alibi(pick: Pick, shape: Shape) -> Call:
    t = shape[2]
    return Call(lambda x, m: x + m[:, None, None] * torch.arange(t, dtype=x.dtype)[:, None], (vector("slopes", shape[1], "unit"),))


@PRODUCTS.add("decode_attention", "attention", "heads")
def _decode(pick: Pick, shape: Shape) -> Call:
    b, h, _, d = shape
    run = lambda k, q, v: torch.softmax((q @ k.transpose(-2, -1)) / math.sqrt(d), -1) @ v  # noqa: E731
    return Call(run, (Given("query", (b, h, 1, d)), Given("value", shape)))


# ------------------------------------------------------------------------------------------------ quantised
def _bytes(name: str, shape: Shape) -> Given:
    return Given(name, shape, "int8", "byte")


@PRODUCTS.add("quantize", "quantised", inside=False)
def _quantize(pick: Pick, shape: Shape) -> Call:
    scale = pick.note("scale", 0.02, 0.05, 0.1)
    return Call(lambda x: torch.clamp(torch.round(x * (1 / scale)), -128, 127).to(torch.int8))


@PRODUCTS.add("dequantize", "quantised", inside=False)
def _dequantize(pick: Pick, shape: Shape) -> Call:
    scale, zero = pick.note("scale", 0.02, 0.05), pick.note("zero", 0, 3, -7)
    return Call(lambda x: (x.to(torch.float32) - zero) * scale, first=_bytes("x", shape))


@PRODUCTS.add("dequantize_per_channel", "quantised", "matrix", inside=False)
def _dequantize_channel(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x, s: x.to(torch.float32) * s[:, None], (vector("scales", shape[0], "positive"),), first=_bytes("x", shape))


@PRODUCTS.add("int8_matmul", "quantised", "matrix", inside=False)
def _int8_matmul(pick: Pick, shape: Shape) -> Call | None:
    n = _width(pick, shape[0], shape[1])
    run = lambda a, b: torch.matmul(a.to(torch.int32), b.to(torch.int32))  # noqa: E731
    return None if n is None else Call(run, (_bytes("right", (shape[1], n)),), first=_bytes("left", shape))


@PRODUCTS.add("weight_only_linear", "quantised", "matrix", inside=False)
def _weight_only(pick: Pick, shape: Shape) -> Call | None:
    n = _width(pick, shape[0], shape[1])
    run = lambda x, w, s: x @ (w.to(torch.float32) * s[:, None]).T  # noqa: E731
    return None if n is None else Call(run, (_bytes("weight", (n, shape[1])), vector("scales", n, "unit")))


@PRODUCTS.add("dynamic_quantize_rows", "quantised", "rows", inside=False)
def _dynamic(pick: Pick, shape: Shape) -> Call:
    def run(x):
        scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-6) / 127
        return torch.round(x / scale).to(torch.int8), scale

    return Call(run)


@PRODUCTS.add("fake_quantize", "quantised")
def _fake(pick: Pick, shape: Shape) -> Call:
    scale = pick.note("scale", 0.05, 0.1)
    return Call(lambda x: torch.clamp(torch.round(x / scale), -128, 127) * scale)


def _narrow(name: str, takes: str, make: Callable[[Pick, Shape], tuple[Callable, dict[str, Shape]] | None]) -> None:
    """An operator on half and one on bfloat16: `make` gives the function and the shapes of its further operands."""
    for prefix, dtype in (("half", "float16"), ("bfloat", "bfloat16")):

        def call(pick: Pick, shape: Shape, dtype: str = dtype) -> Call | None:
            made = make(pick, shape)
            if made is None:
                return None
            more = tuple(Given(n, s, dtype, "weight" if len(s) > 1 else "scale") for n, s in made[1].items())
            return Call(made[0], more, first=Given("x", shape, dtype, "normal"))

        PRODUCTS.add(f"{prefix}_{name}", "quantised", takes, inside=False)(call)


def _narrow_linear(pick: Pick, shape: Shape):
    n = _width(pick, shape[0], shape[1])
    return None if n is None else (lambda x, w: (x.float() @ w.float().T).to(x.dtype), {"weight": (n, shape[1])})


def _narrow_norm(x, w):
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5) * w.float()).to(x.dtype)


_narrow("affine", "any", lambda pick, shape: (lambda x, s: x * s + 1, {"scale": shape[-1:]}))
_narrow("gelu", "any", lambda pick, shape: (lambda x: F.gelu(x.float()).to(x.dtype), {}))
_narrow("residual_add", "any", lambda pick, shape: (lambda x, y: torch.relu(x + y), {"residual": shape}))
_narrow("softmax", "rows", lambda pick, shape: (lambda x: torch.softmax(x.float(), -1).to(x.dtype), {}))
_narrow("rms_norm", "rows", lambda pick, shape: (_narrow_norm, {"weight": shape[-1:]}))
_narrow("row_sum", "rows", lambda pick, shape: (lambda x: x.float().sum(-1), {}))
_narrow("linear", "matrix", _narrow_linear)
_narrow("widen", "any", lambda pick, shape: (lambda x: x.float() * 2, {}))


@PRODUCTS.add("requantize", "quantised", "matrix", inside=False)
def _requantize(pick: Pick, shape: Shape) -> Call:
    scale = pick.note("scale", 0.001, 0.004)
    run = lambda x, b: torch.clamp(torch.round((x + b).to(torch.float32) * scale), -128, 127).to(torch.int8)  # noqa: E731
    return Call(run, (Given("bias", shape[-1:], "int32", "count", 1000),), first=Given("x", shape, "int32", "count", 100_000))


