"""ATen reductions, softmaxes, scans and sorts: Reduce, Scan and Sort nodes with Maps around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from ..ir.expr import Cast, Const, Expr, Op, Var, as_int
from ..ir.types import is_float
from .aten_pointwise import convert
from .aten_shape import slice_axis
from .builder import Builder, NotOwned, T, accumulator, cast, formula, numel, op

Rule = Callable[..., object]
Dims = Sequence[int] | int | None


def over(x: T, dim: Dims) -> tuple[int, ...]:
    """The axes that a `dim` argument names; none named means all."""
    if x.rank == 0:
        return ()
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    return tuple(sorted({x.axis(d) for d in dims})) or tuple(range(x.rank))


def count(x: T, dims: Sequence[int]) -> Expr:
    return numel([x.shape[d] for d in dims])


def as_number(n: Expr, dtype: str) -> Expr:
    """A size as a constant or a cast, for arithmetic in `dtype`."""
    value = as_int(n)
    return Cast(dtype, n) if value is None else Const(float(value)) if is_float(dtype) else Const(value)


def finish(b: Builder, x: T, dtype: str) -> T:
    """A reduction's accumulator in the dtype that ATen returns."""
    return convert(b, x, dtype)


# ------------------------------------------------------------------------------------------------ sums and the like
def _sum(b: Builder, self: T, dim: Dims = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> T:
    out = b.out[0].dtype
    x = convert(b, self, accumulator(out))
    return finish(b, b.sum(x, over(self, dim), keepdim), out)


def mean(b: Builder, x: T, dims: Sequence[int], keep: bool, role: str = "mean") -> T:
    """Arithmetic mean in the dtype of x."""
    total = b.sum(x, dims, keep)
    return b.map(x.dtype, total.shape, op("/", b.at(total), as_number(count(x, dims), x.dtype)), role)


def _mean(b: Builder, self: T, dim: Dims = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> T:
    out = b.out[0].dtype
    return finish(b, mean(b, convert(b, self, accumulator(out)), over(self, dim), keepdim, ""), out)


def _prod(b: Builder, self: T, dim: int | None = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> T:
    out = b.out[0].dtype
    dims = over(self, dim)
    x = convert(b, self, accumulator(out))
    return finish(b, b.reduce("mul", x, dims, keepdim)[0] if dims else x, out)


def _extreme(monoid: str) -> Rule:
    def rule(b: Builder, self: T, dim: Dims = None, keepdim: bool = False) -> T:
        dims = over(self, dim)
        _not_empty(self, dims)
        if self.dtype == "b1":
            return b.reduce({"max": "any", "min": "all"}[monoid], self, dims, keepdim)[0] if dims else self
        return b.reduce(monoid, self, dims, keepdim)[0] if dims else self

    return rule


def _not_empty(x: T, dims: Sequence[int]) -> None:
    if any(as_int(x.shape[d]) == 0 for d in dims):
        raise NotOwned("a reduction of nothing")


def _aminmax(b: Builder, self: T, dim: int | None = None, keepdim: bool = False) -> tuple[object, object]:
    return _extreme("min")(b, self, dim, keepdim), _extreme("max")(b, self, dim, keepdim)


def _truth(monoid: str) -> Rule:
    def rule(b: Builder, self: T, dim: Dims = None, keepdim: bool = False) -> T:
        x = convert(b, self, "b1")
        dims = over(self, dim)
        return finish(b, b.reduce(monoid, x, dims, keepdim)[0] if dims else x, b.out[0].dtype)

    return rule


def _arg(monoid: str) -> Rule:
    """argmax: the flat position over all axes when dim is None."""

    def rule(b: Builder, self: T, dim: int | None = None, keepdim: bool = False) -> T:
        return _with_index(b, monoid, self, over(self, dim), keepdim)[1]

    return rule


def _with_index(b: Builder, monoid: str, x: T, dims: Sequence[int], keep: bool) -> tuple[T, T]:
    if not dims:
        return x, b.map("i64", (), Const(0))
    _not_empty(x, dims)
    numbers = convert(b, x, "u8") if x.dtype == "b1" else x
    values, index = b.reduce(monoid, numbers, dims, keep)
    return convert(b, values, x.dtype), index


def _max_dim(monoid: str) -> Rule:
    def rule(b: Builder, self: T, dim: int, keepdim: bool = False) -> tuple[T | None, T | None]:
        dims = over(self, dim)
        if not b.used(1) and dims:
            value = _extreme(monoid.removeprefix("arg"))(b, self, dim, keepdim)
            assert isinstance(value, T)
            return value, None
        return _with_index(b, monoid, self, dims, keepdim)

    return rule


# ------------------------------------------------------------------------------------------------ variance, norms
def squared_deviation(b: Builder, x: T, dims: Sequence[int]) -> tuple[T, T]:
    """(mean, sum of squared deviations from it), reduced axes dropped: two passes, as is stable."""
    m = mean(b, x, dims, False)
    centred = op("-", b.at(x), b.kept(m, dims, x.rank))
    square = b.map(x.dtype, x.shape, op("*", centred, centred), "square")
    return m, b.sum(square, dims, False, "squares")


def _moments(b: Builder, self: T, dim: Dims, correction: float | None, keepdim: bool, root: bool) -> tuple[T, T]:
    dims = over(self, dim)
    x = convert(b, self, accumulator(self.dtype))
    if not dims:
        raise NotOwned("the variance of one number")
    m, squares = squared_deviation(b, x, dims)
    n, c = count(x, dims), 1 if correction is None else correction
    known = as_int(n)
    divisor = Const(max(0.0, known - c)) if known is not None else op("max", op("-", Cast(x.dtype, n), float(c)), 0.0)
    spread = op("/", b.at(squares), divisor)
    v = b.map(x.dtype, squares.shape, op("sqrt", spread) if root else spread)
    outs = tuple(finish(b, t, self.dtype) for t in (v, m))
    return (_keep(b, outs[0], x, dims), _keep(b, outs[1], x, dims)) if keepdim else (outs[0], outs[1])


def _keep(b: Builder, reduced: T, x: T, dims: Sequence[int]) -> T:
    """A reduced tensor with its reduced axes back, extent 1."""
    return b.reshape(reduced, tuple(Const(1) if k in dims else d for k, d in enumerate(x.shape)))


def _variance(root: bool, with_mean: bool) -> Rule:
    def rule(b: Builder, self: T, dim: Dims = None, correction: float | None = None, keepdim: bool = False) -> object:
        out = _moments(b, self, dim, correction, keepdim, root)
        return out if with_mean else out[0]

    return rule


def _unbiased(root: bool, with_mean: bool) -> Rule:
    def rule(b: Builder, self: T, unbiased: bool = True, dim: Dims = None, keepdim: bool = False) -> object:
        return _variance(root, with_mean)(b, self, dim, 1.0 if unbiased else 0.0, keepdim)

    return rule


_NORMS: dict[float, tuple[str, str, str]] = {  # ord -> (monoid, each element, the result)
    0: ("add", "select(x != 0, 1.0, 0.0)", "x"),
    1: ("add", "abs(x)", "x"),
    2: ("add", "x * x", "sqrt(x)"),
    math.inf: ("max", "abs(x)", "x"),
    -math.inf: ("min", "abs(x)", "x"),
}


def vector_norm(b: Builder, x: T, ord: float, dims: Sequence[int], keep: bool) -> T:
    monoid, each, last = _NORMS.get(
        float(ord), ("add", f"pow(abs(x), {float(ord)!r})", f"pow(x, {1 / float(ord) if ord else 0.0!r})")
    )
    if monoid != "add":
        _not_empty(x, dims)
    terms = b.map(x.dtype, x.shape, formula(each, x=b.at(x)), "terms")
    total = b.reduce(monoid, terms, dims, keep)[0] if dims else terms
    return total if last == "x" else b.map(x.dtype, total.shape, formula(last, x=b.at(total)))


def _vector_norm(
    b: Builder, self: T, ord: float = 2, dim: Dims = None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> T:
    out = b.out[0].dtype
    x = convert(b, self, accumulator(out))
    return finish(b, vector_norm(b, x, ord, over(self, dim), keepdim), out)


def _norm(
    b: Builder, self: T, p: float | None = 2, dim: Dims = None, keepdim: bool = False, dtype: torch.dtype | None = None
) -> T:
    return _vector_norm(b, self, 2 if p is None else p, dim, keepdim)


def _logsumexp(b: Builder, self: T, dim: Dims, keepdim: bool = False) -> T:
    out = b.out[0].dtype
    x = convert(b, self, accumulator(out))
    dims = over(self, dim)
    if not dims:
        return finish(b, x, out)
    _not_empty(x, dims)
    top = b.reduce("max", x, dims)[0]
    safe = b.map(x.dtype, top.shape, formula("select(isinf(m), 0.0, m)", m=b.at(top)), "safe")
    e = b.map(x.dtype, x.shape, op("exp", op("-", b.at(x), b.kept(safe, dims, x.rank))), "exp")
    total = b.sum(e, dims)
    y = finish(b, b.map(x.dtype, total.shape, op("+", op("log", b.at(total)), b.at(safe))), out)
    return _keep(b, y, x, dims) if keepdim else y


# ------------------------------------------------------------------------------------------------ softmax
def softmax(b: Builder, x: T, dim: int, log: bool = False, safe: bool = False) -> T:
    """exp(x - max) / sum, or x - max - log(sum); `safe`: rows of -inf give zeros instead of nan."""
    axis = x.axis(dim)
    if x.rank == 0:
        return b.map(
            x.dtype, (), op("-" if log else "/", op("+", b.at(x), 0.0) if log else Const(1.0), b.at(x) if log else Const(1.0))
        )
    top = b.reduce("max", x, (axis,))[0]
    highest = b.kept(top, (axis,), x.rank)
    shifted = op("-", b.at(x), highest)
    e = b.map(x.dtype, x.shape, op("exp", shifted), "exp")
    total = b.kept(b.sum(e, (axis,)), (axis,), x.rank)
    if log:
        return b.map(x.dtype, x.shape, op("-", shifted, op("log", total)))
    y = op("/", b.at(e), total)
    return b.map(x.dtype, x.shape, op("select", op("==", highest, -math.inf), 0.0, y) if safe else y)


def _softmax(log: bool, safe: bool = False) -> Rule:
    def rule(b: Builder, self: T, dim: int, dtype: torch.dtype | None = None, half_to_float: bool = False) -> T:
        out = b.out[0].dtype
        return finish(b, softmax(b, convert(b, self, accumulator(out)), dim, log, safe), out)

    return rule


# ------------------------------------------------------------------------------------------------ scans
def _scan(monoid: str) -> Rule:
    def rule(b: Builder, self: T, dim: int, dtype: torch.dtype | None = None) -> T:
        out = b.out[0].dtype
        x = convert(b, self, accumulator(out))
        return finish(b, b.scan(monoid, x, x.axis(dim))[0] if x.rank else x, out)

    return rule


def _logcumsumexp(b: Builder, self: T, dim: int) -> T:
    x = convert(b, self, accumulator(self.dtype))
    if x.rank == 0:
        return finish(b, x, self.dtype)
    ones = b.map(x.dtype, x.shape, Const(1.0), "ones")
    top, total = b.scan("lse", (x, ones), x.axis(dim), "lse")
    return b.map(self.dtype, x.shape, cast(self.dtype, op("+", b.at(top), op("log", b.at(total))), x.dtype))


def _running(monoid: str) -> Rule:
    """cummax: the index is the last position that holds the running value."""

    def rule(b: Builder, self: T, dim: int) -> tuple[T, T]:
        if self.rank == 0:
            return self, b.map("i64", (), Const(0))
        axis = self.axis(dim)
        x = convert(b, self, "u8") if self.dtype == "b1" else self
        value = b.scan(monoid, x, axis, "values")[0]
        hit = formula("x == v or isnan(x)" if is_float(x.dtype) else "x == v", x=b.at(x), v=b.at(value))
        mark = b.map("i64", x.shape, op("select", hit, Var(f"i{axis}"), 0), "mark")
        return convert(b, value, self.dtype), b.scan("max", mark, axis, "indices")[0]

    return rule


# ------------------------------------------------------------------------------------------------ sorting
def _sort(b: Builder, self: T, dim: int = -1, descending: bool = False, stable: bool | None = None) -> tuple[T, T]:
    if self.rank == 0:
        return self, b.map("i64", (), Const(0))
    if b.used(1) and not stable:
        raise NotOwned("ATen's choice among equal values")
    return b.sort(self, self.axis(dim), bool(descending))


def _argsort(b: Builder, self: T, dim: int = -1, descending: bool = False, stable: bool = False) -> T:
    if not stable:
        raise NotOwned("ATen's choice among equal values")
    return _sort(b, self, dim, descending, True)[1]


def _topk(b: Builder, self: T, k: object, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[T, T]:
    if self.rank == 0:
        return self, b.map("i64", (), Const(0))
    if b.used(1):
        raise NotOwned("ATen's choice among equal values")
    axis = self.axis(dim)
    extent = b.out[0].shape[axis]
    values, index = b.sort(self, axis, largest)
    return slice_axis(b, values, axis, Const(0), extent), slice_axis(b, index, axis, Const(0), extent)


def _spaced(b: Builder, x: T, at: int) -> T:
    """x with an axis of extent 1 put in, so that it becomes axis `at`."""
    k = x.rank + 1 + at
    return b.reshape(x, (*x.shape[:k], Const(1), *x.shape[k:]))


def _cdist(b: Builder, x1: T, x2: T, p: float, compute_mode: int | None = None) -> T:
    """|| x1[.., i, :] - x2[.., j, :] ||_p"""
    shape = (*b.out[0].shape, x1.shape[-1])
    i, j = b.broadcast(_spaced(b, x1, -2), shape), b.broadcast(_spaced(b, x2, -3), shape)
    difference = b.map(x1.dtype, shape, Op("-", (i, j)), "difference")
    return vector_norm(b, difference, p, (len(shape) - 1,), False)


REDUCE: dict[str, Rule] = {
    "aten.sum.default": _sum,
    "aten.sum.dim_IntList": _sum,
    "aten.mean.default": _mean,
    "aten.mean.dim": _mean,
    "aten.prod.default": _prod,
    "aten.prod.dim_int": _prod,
    "aten.amax.default": _extreme("max"),
    "aten.amin.default": _extreme("min"),
    "aten.max.default": _extreme("max"),
    "aten.min.default": _extreme("min"),
    "aten.aminmax.default": _aminmax,
    **{f"aten.any.{o}": _truth("any") for o in ("default", "dim", "dims")},
    **{f"aten.all.{o}": _truth("all") for o in ("default", "dim", "dims")},
    "aten.argmax.default": _arg("argmax"),
    "aten.argmin.default": _arg("argmin"),
    "aten.max.dim": _max_dim("argmax"),
    "aten.min.dim": _max_dim("argmin"),
    "aten.var.correction": _variance(False, False),
    "aten.std.correction": _variance(True, False),
    "aten.var_mean.correction": _variance(False, True),
    "aten.std_mean.correction": _variance(True, True),
    **{f"aten.var.{o}": _unbiased(False, False) for o in ("default", "dim")},
    **{f"aten.std.{o}": _unbiased(True, False) for o in ("default", "dim")},
    **{f"aten.var_mean.{o}": _unbiased(False, True) for o in ("default", "dim")},
    **{f"aten.std_mean.{o}": _unbiased(True, True) for o in ("default", "dim")},
    "aten.linalg_vector_norm.default": _vector_norm,
    "aten.norm.Scalar": _norm,
    "aten.norm.ScalarOpt_dim": _norm,
    "aten.logsumexp.default": _logsumexp,
    "aten.softmax.int": _softmax(False),
    "aten._softmax.default": _softmax(False),
    "aten._safe_softmax.default": _softmax(False, safe=True),
    "aten.log_softmax.int": _softmax(True),
    "aten._log_softmax.default": _softmax(True),
    "aten.cumsum.default": _scan("add"),
    "aten.cumprod.default": _scan("mul"),
    "aten.logcumsumexp.default": _logcumsumexp,
    "aten.cummax.default": _running("max"),
    "aten.cummin.default": _running("min"),
    "aten.sort.default": _sort,
    "aten.sort.stable": _sort,
    "aten.argsort.default": _argsort,
    "aten.argsort.stable": _argsort,
    "aten.topk.default": _topk,
    "aten._cdist_forward.default": _cdist,
    "aten.cdist.default": _cdist,
}
