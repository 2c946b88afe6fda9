"""Layout operators, gather and scatter, sorting and top-k, losses."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .operator import Call, Given, Pick, Shape, Table

INDEXING = Table()


# ------------------------------------------------------------------------------------------------ layout
@INDEXING.add("transpose", "layout", "matrix")
def _transpose(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x: x.T.contiguous())


@INDEXING.add("permute_heads", "layout", "heads")
def _heads(pick: Pick, shape: Shape) -> Call:
    b, h, t, d = shape
    return Call(lambda x: x.transpose(1, 2).reshape(b, t, h * d))


@INDEXING.add("flip", "layout")
def _flip(pick: Pick, shape: Shape) -> Call:
    axis = pick.note("axis", 0, len(shape) - 1)
    return Call(lambda x: torch.flip(x, (axis,)))


@INDEXING.add("roll", "layout")
def _roll(pick: Pick, shape: Shape) -> Call:
    by, axis = pick.note("by", 1, 3, -2), pick.note("axis", 0, len(shape) - 1)
    return Call(lambda x: torch.roll(x, by, axis))


@INDEXING.add("concatenate", "layout")
def _concatenate(pick: Pick, shape: Shape) -> Call:
    axis = pick.note("axis", 0, len(shape) - 1)
    return Call(lambda x, y: torch.cat([x, y], axis), (Given("other", shape),))


@INDEXING.add("stack", "layout")
def _stack(pick: Pick, shape: Shape) -> Call:
    axis = pick.note("axis", 0, len(shape))
    return Call(lambda x, y: torch.stack([x, y], axis), (Given("other", shape),))


@INDEXING.add("slice", "layout", "rows")
def _slice(pick: Pick, shape: Shape) -> Call | None:
    n = shape[-1]
    start, step = pick.note("start", 0, 1, n // 4), pick.note("step", 1, 1, 2)
    return Call(lambda x: x[..., start::step].contiguous()) if n > 8 else None


@INDEXING.add("split_sum", "layout", "rows")
def _split_sum(pick: Pick, shape: Shape) -> Call | None:
    n = pick.note("parts", pick.divisor(shape[-1], 2, 3, 4))
    return Call(lambda x: sum(torch.chunk(x, n, -1)[1:], torch.chunk(x, n, -1)[0])) if n > 1 else None


@INDEXING.add("repeat", "layout")
def _repeat(pick: Pick, shape: Shape) -> Call | None:
    by = pick.note("by", 2, 3)
    return Call(lambda x: x.repeat(by, *(1,) * (len(shape) - 1))) if math.prod(shape) * by <= 1 << 19 else None


@INDEXING.add("repeat_interleave", "layout", "rows")
def _interleave(pick: Pick, shape: Shape) -> Call:
    by = pick.note("by", 2, 4)
    return Call(lambda x: x.repeat_interleave(by, -2))


@INDEXING.add("tril", "layout", "matrix")
def _tril(pick: Pick, shape: Shape) -> Call:
    at = pick.note("diagonal", 0, -1, 2)
    return Call(lambda x: torch.tril(x, at))


@INDEXING.add("triu", "layout", "matrix")
def _triu(pick: Pick, shape: Shape) -> Call:
    at = pick.note("diagonal", 0, 1, -3)
    return Call(lambda x: torch.triu(x, at))


@INDEXING.add("diagonal", "layout", "matrix")
def _diagonal(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x: torch.diagonal(x).contiguous())


@INDEXING.add("broadcast_rows", "layout", "matrix")
def _broadcast(pick: Pick, shape: Shape) -> Call | None:
    n = pick.note("copies", 2, 4)
    return Call(lambda x: x[:, None, :].expand(shape[0], n, shape[1]).contiguous()) if math.prod(shape) * n <= 1 << 19 else None


# ------------------------------------------------------------------------------------------------ gather and scatter
@INDEXING.add("embedding", "index", "matrix", inside=False)
def _embedding(pick: Pick, shape: Shape) -> Call:
    tokens = pick.note("tokens", (4, 16), (2, 77), (1, 128), (256,))
    return Call(lambda w, i: F.embedding(i, w), (Given("tokens", tokens, "int64", "index", shape[0]),), first=Given("weight", shape))


@INDEXING.add("embedding_bag_mean", "index", "matrix", inside=False)
def _bag(pick: Pick, shape: Shape) -> Call:
    bags, n = pick.note("bags", 8, 32), pick.note("length", 4, 10)
    return Call(lambda w, i: F.embedding(i, w).mean(1), (Given("tokens", (bags, n), "int64", "index", shape[0]),), first=Given("weight", shape))


@INDEXING.add("gather", "index", "matrix")
def _gather(pick: Pick, shape: Shape) -> Call:
    n = pick.note("picked", 1, 5, 16, 64)
    return Call(lambda x, i: torch.gather(x, 1, i), (Given("index", (shape[0], n), "int64", "index", shape[1]),))


@INDEXING.add("index_select", "index", "rows")
def _index_select(pick: Pick, shape: Shape) -> Call:
    n = pick.note("picked", 4, 16, 50)
    axis = len(shape) - 2
    return Call(lambda x, i: torch.index_select(x, axis, i), (Given("index", (n,), "int64", "index", shape[axis]),))


@INDEXING.add("take_along_rows", "index", "matrix")
def _take_rows(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x, i: x[torch.arange(shape[0]), i], (Given("index", (shape[0],), "int64", "index", shape[1]),))


@INDEXING.add("scatter_add", "index", "matrix")
def _scatter_add(pick: Pick, shape: Shape) -> Call:
    n = pick.note("slots", 8, 32, 100)
    run = lambda x, i: torch.zeros(n, shape[1], dtype=x.dtype).index_add(0, i, x)  # noqa: E731
    return Call(run, (Given("index", (shape[0],), "int64", "index", n),))


@INDEXING.add("segment_mean", "index", "matrix")
def _segment(pick: Pick, shape: Shape) -> Call:
    n = pick.note("segments", 4, 16, 64)

    def run(x, i):
        total = torch.zeros(n, shape[1], dtype=x.dtype).index_add(0, i, x)
        count = torch.zeros(n, dtype=x.dtype).index_add(0, i, torch.ones(shape[0], dtype=x.dtype))
        return total / count.clamp_min(1)[:, None]

    return Call(run, (Given("index", (shape[0],), "int64", "index", n),))


@INDEXING.add("one_hot", "index", "matrix", inside=False)
def _one_hot(pick: Pick, shape: Shape) -> Call:
    n = pick.note("classes", 10, 21, 100)
    run = lambda i: (i[:, None] == torch.arange(n)).to(torch.float32)  # noqa: E731
    return Call(run, first=Given("index", (math.prod(shape) // 4 or 1,), "int64", "index", n))


@INDEXING.add("bucketize_histogram", "index", "matrix", inside=False)
def _histogram(pick: Pick, shape: Shape) -> Call:
    n = pick.note("bins", 8, 16, 64)
    run = lambda i: torch.zeros(n, dtype=torch.int64).index_add(0, i, torch.ones(i.shape[0], dtype=torch.int64))  # noqa: E731
    return Call(run, first=Given("index", (math.prod(shape) // 4 or 1,), "int64", "index", n))


# ------------------------------------------------------------------------------------------------ order
MOST_COMPARISONS = 1 << 22


def _rank(x: torch.Tensor) -> torch.Tensor:
    """The place of each element in its sorted row, equal ones in their order: an enumeration sort, every comparison independent."""
    n = torch.arange(x.shape[1])
    before = (x[:, None, :] < x[:, :, None]) | ((x[:, None, :] == x[:, :, None]) & (n[None, None, :] < n[None, :, None]))
    return before.sum(-1)


def _placed(rank: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """values[m, j] at column rank[m, j]."""
    at = rank[:, None, :] == torch.arange(rank.shape[1])[None, :, None]
    return torch.where(at, values[:, None, :], torch.zeros_like(values)[:, None, :]).sum(-1)


def _numbers(x: torch.Tensor) -> torch.Tensor:
    return torch.arange(x.shape[1]).expand(x.shape[0], -1)


def _sortable(shape: Shape) -> bool:
    return shape[1] > 1 and shape[0] * shape[1] ** 2 <= MOST_COMPARISONS


@INDEXING.add("sort_rows", "order", "matrix", inside=False)
def _sort(pick: Pick, shape: Shape) -> Call | None:
    sign = -1.0 if pick.note("descending", False, True) else 1.0

    def run(x):
        rank = _rank(sign * x)
        return _placed(rank, x), _placed(rank, _numbers(x))

    return Call(run) if _sortable(shape) else None


@INDEXING.add("top_k", "order", "matrix", inside=False)
def _top_k(pick: Pick, shape: Shape) -> Call | None:
    k = pick.note("k", 1, 2, 4, 8)

    def run(x):
        rank = _rank(-x)
        return _placed(rank, x)[:, :k].contiguous(), _placed(rank, _numbers(x))[:, :k].contiguous()

    return Call(run) if _sortable(shape) and k < shape[1] else None


@INDEXING.add("argsort", "order", "matrix", inside=False)
def _argsort(pick: Pick, shape: Shape) -> Call | None:
    return Call(lambda x: _placed(_rank(x), _numbers(x))) if _sortable(shape) else None


@INDEXING.add("ranks", "order", "matrix", inside=False)
def _ranks(pick: Pick, shape: Shape) -> Call | None:
    return Call(_rank) if _sortable(shape) else None


@INDEXING.add("median_rows", "order", "matrix", inside=False)
def _median(pick: Pick, shape: Shape) -> Call | None:
    at = (shape[1] - 1) // 2
    return Call(lambda x: torch.where(_rank(x) == at, x, torch.zeros_like(x)).sum(-1)) if _sortable(shape) else None


@INDEXING.add("top_p_mass", "order", "matrix", inside=False)
def _top_p(pick: Pick, shape: Shape) -> Call | None:
    def run(x):
        p = torch.softmax(x, -1)
        kept = _rank(-p)[:, None, :] <= torch.arange(x.shape[1])[None, :, None]
        return torch.where(kept, p[:, None, :], torch.zeros_like(p)[:, None, :]).sum(-1)

    return Call(run) if _sortable(shape) else None


@INDEXING.add("top_k_mask", "order", "matrix")
def _top_k_mask(pick: Pick, shape: Shape) -> Call | None:
    k = pick.note("k", 2, 8, 16)
    return Call(lambda x: torch.where(_rank(-x) < k, x, torch.zeros_like(x))) if _sortable(shape) and k < shape[1] else None


# ------------------------------------------------------------------------------------------------ losses
def _loss(name: str, function, target: str = "normal", first: str = "") -> None:
    @INDEXING.add(name, "loss", inside=False)
    def make(pick: Pick, shape: Shape) -> Call:
        reduction = pick.note("reduction", "mean", "sum", "none")

        def run(x, y):
            loss = function(x, y)
            return loss.mean() if reduction == "mean" else loss.sum() if reduction == "sum" else loss

        return Call(run, (Given("target", shape, "float32", target),), first=Given("x", shape, "float32", first) if first else None)


_loss("mse_loss", lambda x, y: F.mse_loss(x, y, reduction="none"))
_loss("l1_loss", lambda x, y: F.l1_loss(x, y, reduction="none"))
_loss("huber_loss", lambda x, y: F.huber_loss(x, y, reduction="none"))
_loss("smooth_l1_loss", lambda x, y: F.smooth_l1_loss(x, y, reduction="none"))
_loss("bce_with_logits", lambda x, y: F.relu(x) - x * y + torch.log1p(torch.exp(-x.abs())), "unit")
_loss("bce_loss", lambda x, y: F.binary_cross_entropy(x, y, reduction="none"), "unit", "unit")
_loss("kl_divergence", lambda x, y: F.kl_div(torch.log_softmax(x, -1), y, reduction="none"), "probability")
_loss("hinge_loss", lambda x, y: F.relu(1 - x * y), "sign")
_loss("soft_margin_loss", lambda x, y: F.soft_margin_loss(x, y, reduction="none"), "sign")
_loss("poisson_nll_loss", lambda x, y: F.poisson_nll_loss(x.clamp(-10, 10), y, reduction="none"), "positive")
_loss("log_cosh_loss", lambda x, y: (x - y) + F.softplus(-2 * (x - y)) - math.log(2))
_loss("focal_loss", lambda x, y: torch.sigmoid(x).square() * (F.softplus(x) - x * y), "unit")


@INDEXING.add("cross_entropy", "loss", "matrix", inside=False)
def _cross_entropy(pick: Pick, shape: Shape) -> Call:
    smoothing = pick.note("label_smoothing", 0.0, 0.1)

    def run(x, t):
        p = torch.log_softmax(x, 1)
        return -((1 - smoothing) * p.gather(1, t[:, None])[:, 0] + smoothing * p.mean(1)).mean()

    return Call(run, (Given("target", shape[:1], "int64", "index", shape[1]),))


@INDEXING.add("nll_loss", "loss", "matrix", inside=False)
def _nll(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x, t: -torch.log_softmax(x, 1).gather(1, t[:, None]).mean(), (Given("target", shape[:1], "int64", "index", shape[1]),))


@INDEXING.add("cosine_similarity", "loss", "matrix")
def _cosine(pick: Pick, shape: Shape) -> Call:
    return Call(lambda x, y: (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1)).clamp_min(1e-8), (Given("other", shape),))


@INDEXING.add("triplet_loss", "loss", "matrix", inside=False)
def _triplet(pick: Pick, shape: Shape) -> Call:
    margin = pick.note("margin", 0.5, 1.0)
    run = lambda a, p, n: F.relu((a - p).square().sum(1) - (a - n).square().sum(1) + margin).mean()  # noqa: E731
    return Call(run, (Given("positive", shape), Given("negative", shape)))


@INDEXING.add("contrastive_loss", "loss", "matrix", inside=False)
def _contrastive(pick: Pick, shape: Shape) -> Call | None:
    if shape[0] ** 2 * shape[1] > 1 << 23:
        return None
    run = lambda a, b: torch.logsumexp(F.normalize(a) @ F.normalize(b).T / 0.07, 1).mean()  # noqa: E731
    return Call(run, (Given("other", shape),))
