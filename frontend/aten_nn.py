"""ATen normalisations, pools, resizing and losses, written out as Reduces, Windows and Maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..ir.expr import Cast, Const, Expr, Load, Var, add, as_int, ceildiv, floordiv, mul, sub
from ..ir.types import is_float
from .aten_index import class_value
from .aten_pointwise import convert
from .aten_reduce import as_number, count, mean, squared_deviation
from .builder import Builder, NotOwned, T, accumulator, axes, cast, formula, lowest, op, static

Rule = Callable[..., object]


# ------------------------------------------------------------------------------------------------ normalisation
def normalise(
    b: Builder, x: T, dims: Sequence[int], eps: float, weight: Expr | None, bias: Expr | None, out: str
) -> tuple[T, T, T, T]:
    """((x - mean) * rstd * weight + bias over `dims`, mean, rstd, sum of squared deviations), reduced axes dropped."""
    m, squares = squared_deviation(b, x, dims)
    n = as_number(count(x, dims), x.dtype)
    rstd = b.map(x.dtype, m.shape, formula("1 / sqrt(s / n + eps)", s=b.at(squares), n=n, eps=Const(float(eps))), "rstd")
    y: Expr = op("*", op("-", b.at(x), b.kept(m, dims, x.rank)), b.kept(rstd, dims, x.rank))
    y = y if weight is None else op("*", y, weight)
    y = y if bias is None else op("+", y, bias)
    return b.map(out, x.shape, cast(out, y, x.dtype)), m, rstd, squares


def _wide(b: Builder, t: T | None, shape: Sequence[Expr], dtype: str) -> Expr | None:
    return None if t is None else cast(dtype, b.broadcast(t, tuple(shape)), t.dtype)


def _layer_norm(
    b: Builder,
    input: T,
    normalized_shape: Sequence[object],
    weight: T | None = None,
    bias: T | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> T:
    return _native_layer_norm(b, input, normalized_shape, weight, bias, eps)[0]


def _native_layer_norm(
    b: Builder, input: T, normalized_shape: Sequence[object], weight: T | None, bias: T | None, eps: float
) -> tuple[T, T, T]:
    wide = accumulator(input.dtype)
    x = convert(b, input, wide)
    dims = range(x.rank - len(normalized_shape), x.rank)
    y, m, rstd, _ = normalise(
        b, x, tuple(dims), eps, _wide(b, weight, x.shape, wide), _wide(b, bias, x.shape, wide), input.dtype
    )
    types = b.out[1:]
    if not types:
        return y, m, rstd
    return (
        y,
        convert(b, b.reshape(m, types[0].shape), types[0].dtype),
        convert(b, b.reshape(rstd, types[1].shape), types[1].dtype),
    )


def _group_norm(
    b: Builder,
    input: T,
    num_groups: int,
    weight: T | None = None,
    bias: T | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> T:
    return _grouped(b, input, num_groups, weight, bias, eps)[0]


def _native_group_norm(
    b: Builder, input: T, weight: T | None, bias: T | None, N: object, C: object, HxW: object, group: int, eps: float
) -> tuple[T, T, T]:
    y, m, rstd = _grouped(b, input, group, weight, bias, eps)
    shape = b.out[1].shape
    return y, convert(b, b.reshape(m, shape), b.out[1].dtype), convert(b, b.reshape(rstd, shape), b.out[2].dtype)


def _grouped(b: Builder, input: T, groups: int, weight: T | None, bias: T | None, eps: float) -> tuple[T, T, T]:
    """Groups as an axis of their own: [N, G, C / G, *]."""
    wide = accumulator(input.dtype)
    each = floordiv(input.shape[1], groups)
    shape = (input.shape[0], Const(groups), each, *input.shape[2:])
    x = b.reshape(convert(b, input, wide), shape, "groups")
    w, c = (_per_group(b, t, groups, each, len(shape), wide) for t in (weight, bias))
    y, m, rstd, _ = normalise(b, x, tuple(range(2, len(shape))), eps, w, c, input.dtype)
    return b.reshape(y, input.shape), m, rstd


def _per_group(b: Builder, t: T | None, groups: int, each: Expr, rank: int, dtype: str) -> Expr | None:
    """A per-channel vector at the coordinates of [N, G, C / G, *]."""
    if t is None:
        return None
    return cast(dtype, Load(b.reshape(t, (Const(groups), each)).name, (Var("i1"), Var("i2"))), t.dtype)


def _channel(b: Builder, t: T | None, dtype: str) -> Expr | None:
    return None if t is None else cast(dtype, b.load(t, Var("i1")), t.dtype)


def _batch_norm_eval(b: Builder, input: T, weight: T | None, bias: T | None, running_mean: T, running_var: T, eps: float) -> T:
    wide = accumulator(input.dtype)
    x = cast(wide, b.at(input), input.dtype)
    var = _channel(b, running_var, wide)
    m = _channel(b, running_mean, wide)
    assert var is not None and m is not None
    y = formula("(x - m) * (1 / sqrt(v + eps))", x=x, m=m, v=var, eps=Const(float(eps)))
    w, c = _channel(b, weight, wide), _channel(b, bias, wide)
    y = y if w is None else op("*", y, w)
    y = y if c is None else op("+", y, c)
    return b.map(input.dtype, input.shape, cast(input.dtype, y, wide))


def _batch_norm_no_training(
    b: Builder, input: T, weight: T | None, bias: T | None, running_mean: T, running_var: T, momentum: float, eps: float
) -> tuple[T, T, T]:
    y = _batch_norm_eval(b, input, weight, bias, running_mean, running_var, eps)
    nothing = [b.map(t.dtype, t.shape, Const(0.0), "none") for t in b.out[1:]]
    return y, nothing[0], nothing[1]


def _batch_norm_functional(
    b: Builder,
    input: T,
    weight: T | None,
    bias: T | None,
    running_mean: T,
    running_var: T,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[T, ...]:
    """y, saved mean, saved rstd, and the new running statistics (the unbiased variance)."""
    if not training:
        return (
            *_batch_norm_no_training(b, input, weight, bias, running_mean, running_var, momentum, eps),
            running_mean,
            running_var,
        )
    y, m, rstd, squares = _batch_norm_train(b, input, weight, bias, eps)
    wide = m.dtype
    n = count(input, (0, *range(2, input.rank)))
    fresh = op("/", b.at(squares), op("-", as_number(n, wide), 1.0))
    means = _running(b, running_mean, b.at(m), momentum, wide)
    variances = _running(b, running_var, fresh, momentum, wide)
    return y, convert(b, m, b.out[1].dtype), convert(b, rstd, b.out[2].dtype), means, variances


def _batch_norm_train(b: Builder, input: T, weight: T | None, bias: T | None, eps: float) -> tuple[T, T, T, T]:
    """Normalised over all axes but the channels."""
    wide = accumulator(input.dtype)
    x = convert(b, input, wide)
    return normalise(b, x, (0, *range(2, x.rank)), eps, _channel(b, weight, wide), _channel(b, bias, wide), input.dtype)


def _running(b: Builder, old: T, new: Expr, momentum: float, wide: str) -> T:
    e = formula(
        "keep * old + rate * new",
        old=cast(wide, b.at(old), old.dtype),
        new=new,
        keep=Const(1 - momentum),
        rate=Const(float(momentum)),
    )
    return b.map(old.dtype, old.shape, cast(old.dtype, e, wide), "running")


def _batch_norm_no_stats(
    b: Builder, input: T, weight: T | None, bias: T | None, training: bool, momentum: float, eps: float
) -> tuple[T, T, T]:
    y, m, rstd, _ = _batch_norm_train(b, input, weight, bias, eps)
    return y, convert(b, m, b.out[1].dtype), convert(b, rstd, b.out[2].dtype)


def _rms_norm(b: Builder, input: T, normalized_shape: Sequence[object], weight: T | None = None, eps: float | None = None) -> T:
    wide = accumulator(input.dtype)
    x = convert(b, input, wide)
    dims = tuple(range(x.rank - len(normalized_shape), x.rank))
    square = b.map(wide, x.shape, op("*", b.at(x), b.at(x)), "square")
    m = mean(b, square, dims, False)
    small = eps if eps is not None else {"f64": 2.220446049250313e-16}.get(wide, 1.1920928955078125e-07)
    y: Expr = op("*", b.at(x), op("rsqrt", op("+", b.kept(m, dims, x.rank), float(small))))
    w = _wide(b, weight, x.shape, wide)
    return b.map(input.dtype, x.shape, cast(input.dtype, y if w is None else op("*", y, w), wide))


# ------------------------------------------------------------------------------------------------ pools
def _spread(v: Sequence[int] | int, n: int) -> tuple[int, ...]:
    v = (v,) if isinstance(v, int) else tuple(v)
    return tuple(int(x) for x in (v * n if len(v) == 1 else v))


def _windowed(
    b: Builder,
    monoid: str,
    x: T,
    out: Sequence[Expr],
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[T, ...]:
    """A Window whose trailing extents are `out`: with ceil mode the last windows stick out of the input."""
    made = b.window(monoid, x, size, stride, padding, dilation)
    return b.retype(made, (*x.shape[: x.rank - len(size)], *out))


def max_pool(n: int, with_index: bool) -> Rule:
    def rule(
        b: Builder,
        self: T,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        dilation: Sequence[int] = (1,),
        ceil_mode: bool = False,
    ) -> object:
        size = _spread(kernel_size, n)
        geometry = (size, _spread(stride, n) if stride else size, _spread(padding, n), _spread(dilation, n))
        out = b.out[0].shape[-n:]
        if with_index and b.used(1):
            return _windowed(b, "argmax", self, out, *geometry)
        y = _windowed(b, "max", self, out, *geometry)[0]
        return (y, None) if with_index else y

    return rule


def avg_pool(n: int) -> Rule:
    def rule(
        b: Builder,
        self: T,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (),
        padding: Sequence[int] = (0,),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> T:
        size = _spread(kernel_size, n)
        step, pad = _spread(stride, n) if stride else size, _spread(padding, n)
        wide = accumulator(self.dtype)
        if not is_float(wide):
            raise NotOwned("an average of integers")
        x = convert(b, self, wide)
        total = _windowed(b, "add", x, b.out[0].shape[-n:], size, step, pad, (1,) * n)[0]
        divisor = (
            _divisor(x, size, step, pad, ceil_mode, count_include_pad) if divisor_override is None else Const(divisor_override)
        )
        known = as_int(divisor)
        by = Const(float(known)) if known is not None else Cast(wide, divisor)
        return b.map(self.dtype, total.shape, cast(self.dtype, op("/", b.at(total), by), wide))

    return rule


def _divisor(x: T, size: Sequence[int], step: Sequence[int], pad: Sequence[int], ceil_mode: bool, include: bool) -> Expr:
    """How many elements a window counts at output coordinates."""
    lead = x.rank - len(size)
    out: Expr = Const(1)
    for k, (s, t, p) in enumerate(zip(size, step, pad)):
        extent = x.shape[lead + k]
        if (include and not ceil_mode) or (not p and not ceil_mode):
            out = mul(out, s)
            continue
        start: Expr = sub(mul(Var(f"i{lead + k}"), t), p)
        end: Expr = op("min", add(start, s), add(extent, p) if include else extent)
        out = mul(out, sub(end, start if include else op("max", start, 0)))
    return out


def adaptive_pool(n: int, monoid: str, with_index: bool = False) -> Rule:
    """Windows from floor(o * in / out) to ceil((o + 1) * in / out)."""

    def rule(b: Builder, self: T, output_size: Sequence[int]) -> object:
        wide = accumulator(self.dtype) if monoid == "add" else self.dtype
        x = convert(b, self, wide)
        ins = [static(d, "a pooled extent") for d in x.shape[-n:]]
        outs = [static(d, "a pooled extent") for d in b.out[0].shape[-n:]]
        if 0 in ins or 0 in outs:
            raise NotOwned("a pool of nothing")
        if all(i % o == 0 for i, o in zip(ins, outs)):
            y, index = _even(b, x, monoid, ins, outs, with_index and b.used(1))
        elif with_index and b.used(1):
            raise NotOwned("the indices of an uneven adaptive pool")
        else:
            y, index = _uneven(b, x, monoid, ins, outs), None
        y = convert(b, y, self.dtype)
        return (y, index) if with_index else y

    return rule


def _even(b: Builder, x: T, monoid: str, ins: Sequence[int], outs: Sequence[int], index: bool) -> tuple[T, T | None]:
    size = tuple(i // o for i, o in zip(ins, outs))
    zeros, ones = (0,) * len(size), (1,) * len(size)
    if index:
        made = b.window("argmax", x, size, size, zeros, ones)
        return made[0], made[1]
    if monoid == "add" and all(o == 1 for o in outs):
        dims = tuple(range(x.rank - len(size), x.rank))
        return mean(b, x, dims, True, ""), None
    y = b.window(monoid, x, size, size, zeros, ones)[0]
    return (b.map(y.dtype, y.shape, op("/", b.at(y), float(math.prod(size)))) if monoid == "add" else y), None


def _uneven(b: Builder, x: T, monoid: str, ins: Sequence[int], outs: Sequence[int]) -> T:
    """One axis at a time: every window is laid out to the longest one, what is past its end does not take part."""
    for k, (i, o) in enumerate(zip(ins, outs)):
        axis = x.rank - len(ins) + k
        longest = max(-(-(p + 1) * i // o) - p * i // o for p in range(o))
        here, tap = Var(f"i{axis}"), Var(f"i{axis + 1}")
        start, end = floordiv(mul(here, i), o), ceildiv(mul(add(here, 1), i), o)
        index = (*axes(axis), add(start, tap), *(Var(f"i{d + 1}") for d in range(axis + 1, x.rank)))
        rest = Const(0.0) if monoid == "add" else Const(lowest(x.dtype))
        value = op("select", op("<", add(start, tap), end), Load(x.name, index), rest)
        shape = (*x.shape[:axis], Const(o), Const(longest), *x.shape[axis + 1 :])
        laid = b.map(x.dtype, shape, value, "windows")
        x = b.reduce(monoid, laid, (axis + 1,))[0]
        if monoid == "add":
            x = b.map(x.dtype, x.shape, op("/", b.at(x), Cast(x.dtype, sub(end, start))), "mean")
    return x


# ------------------------------------------------------------------------------------------------ resizing
def _nearest(exact: bool) -> Rule:
    def rule(b: Builder, self: T, output_size: object, **scales: float | None) -> T:
        given = list(scales.values())
        index: list[Expr] = list(axes(self.rank))
        for k, scale in enumerate(given or [None] * (self.rank - 2)):
            axis = k + 2
            extent, out = static(self.shape[axis], "a resized extent"), static(b.out[0].shape[axis], "a resized extent")
            index[axis] = _nearest_index(Var(f"i{axis}"), extent, out, scale, exact)
        return b.map(self.dtype, b.out[0].shape, Load(self.name, tuple(index)))

    return rule


def _by_factors(rule: Rule) -> Rule:
    """The `.vec` overloads: one list of scale factors, or none."""

    def vec(b: Builder, input: T, output_size: object, scale_factors: Sequence[float] | None, **rest: object) -> object:
        given = scale_factors or (None,) * (input.rank - 2)
        return rule(b, input, output_size, **rest, **{f"scale{k}": s for k, s in enumerate(given)})

    return vec


def _nearest_index(i: Expr, extent: int, out: int, scale: float | None, exact: bool) -> Expr:
    """UpSample.h: floor(i * scale), in float32; whole factors need no float arithmetic."""
    if out % extent == 0 and (scale is None or scale == out / extent):
        return floordiv(i, out // extent)
    ratio = 1.0 / scale if scale else extent / out
    at = op("*", op("+", Cast("f32", i), 0.5) if exact else Cast("f32", i), float(ratio))
    return _inside(at, extent)


def _inside(at: Expr, extent: int) -> Expr:
    """The floor of a float position as a coordinate in [0, extent)."""
    return op("max", op("min", Cast("i64", op("floor", at)), extent - 1), 0)


def _linear_resize(n: int) -> Rule:
    """(bi|tri)linear: per axis two neighbours and a weight."""

    def rule(
        b: Builder, self: T, output_size: Sequence[int], align_corners: bool, *scales: float | None, **named: float | None
    ) -> T:
        given = [*scales, *named.values()] or [None] * n
        wide = accumulator(self.dtype)
        if not is_float(self.dtype):
            raise NotOwned("linear resizing of integers")
        low: list[Expr] = []
        high: list[Expr] = []
        weight: list[Expr] = []
        for k in range(n):
            extent, out = static(self.shape[k + 2], "a resized extent"), static(b.out[0].shape[k + 2], "a resized extent")
            a, c, w = _neighbours(Var(f"i{k + 2}"), extent, out, align_corners, given[k], wide)
            low, high, weight = [*low, a], [*high, c], [*weight, w]
        value = _blend(b, self, (Var("i0"), Var("i1")), low, high, weight, wide)
        return b.map(self.dtype, b.out[0].shape, cast(self.dtype, value, wide))

    return rule


def _neighbours(i: Expr, extent: int, out: int, corners: bool, scale: float | None, wide: str) -> tuple[Expr, Expr, Expr]:
    x = Cast(wide, i)
    if corners:
        at: Expr = op("*", x, (extent - 1) / (out - 1) if out > 1 else 0.0)
    else:
        ratio = 1.0 / scale if scale else extent / out
        at = op("max", op("-", op("*", op("+", x, 0.5), float(ratio)), 0.5), 0.0)
    low = _inside(at, extent)
    return low, op("min", op("+", low, 1), extent - 1), op("min", op("max", op("-", at, Cast(wide, low)), 0.0), 1.0)


def _blend(b: Builder, x: T, index: tuple[Expr, ...], low: list[Expr], high: list[Expr], weight: list[Expr], wide: str) -> Expr:
    if not low:
        return cast(wide, Load(x.name, index), x.dtype)
    a = _blend(b, x, (*index, low[0]), low[1:], high[1:], weight[1:], wide)
    c = _blend(b, x, (*index, high[0]), low[1:], high[1:], weight[1:], wide)
    return op("+", op("*", op("-", 1.0, weight[0]), a), op("*", weight[0], c))


# ------------------------------------------------------------------------------------------------ losses
def _nll_loss(b: Builder, self: T, target: T, weight: T | None, reduction: int, ignore_index: int) -> tuple[T, T | None]:
    """-weight[t] * x[.., t, ..] with classes on axis 1 (axis 0 of a vector); reduction 0 none, 1 mean, 2 sum."""
    if b.used(1):
        raise NotOwned("the total weight of nll_loss is read")
    wide = accumulator(self.dtype)
    each, share = class_value(b, convert(b, self, wide), target, weight and convert(b, weight, wide), int(ignore_index))
    if reduction == 0:
        return convert(b, each, self.dtype), None
    dims = tuple(range(each.rank))
    total = b.sum(each, dims)
    if reduction == 1:
        total = b.map(wide, (), op("/", b.at(total), b.at(b.sum(share, dims))), "mean")
    return convert(b, total, self.dtype), None


_POOLS: dict[str, Rule] = {
    **{f"aten.max_pool{n}d.default": max_pool(n, False) for n in (1, 2, 3)},
    **{f"aten.max_pool{n}d_with_indices.default": max_pool(n, True) for n in (1, 2, 3)},
    **{f"aten.avg_pool{n}d.default": avg_pool(n) for n in (1, 2, 3)},
    **{f"aten.adaptive_avg_pool{n}d.default": adaptive_pool(n, "add") for n in (1, 2, 3)},
    **{f"aten._adaptive_avg_pool{n}d.default": adaptive_pool(n, "add") for n in (2, 3)},
    **{f"aten.adaptive_max_pool{n}d.default": adaptive_pool(n, "max", True) for n in (1, 2, 3)},
}

_RESIZE: dict[str, Rule] = {
    **{f"aten.upsample_nearest{n}d": _nearest(False) for n in (1, 2, 3)},
    **{f"aten._upsample_nearest_exact{n}d": _nearest(True) for n in (1, 2, 3)},
    "aten.upsample_linear1d": _linear_resize(1),
    "aten.upsample_bilinear2d": _linear_resize(2),
    "aten.upsample_trilinear3d": _linear_resize(3),
}

NN: dict[str, Rule] = {
    **_POOLS,
    "aten.layer_norm.default": _layer_norm,
    "aten.native_layer_norm.default": _native_layer_norm,
    "aten.group_norm.default": _group_norm,
    "aten.native_group_norm.default": _native_group_norm,
    "aten._native_batch_norm_legit_no_training.default": _batch_norm_no_training,
    "aten._native_batch_norm_legit_functional.default": _batch_norm_functional,
    "aten._native_batch_norm_legit.no_stats": _batch_norm_no_stats,
    "aten.rms_norm.default": _rms_norm,
    **{f"{name}.default": rule for name, rule in _RESIZE.items()},
    **{f"{name}.vec": _by_factors(rule) for name, rule in _RESIZE.items()},
    "aten.nll_loss_forward.default": _nll_loss,
    "aten.nll_loss2d_forward.default": _nll_loss,
}
