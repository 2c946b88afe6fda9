"""Row-major index arithmetic on expressions: ravel, unravel, and how the coordinates of one shape read another."""

from __future__ import annotations

from ..ir.expr import Const, Expr, Ranges, Var, add, as_int, floordiv, mod, mul, simplify, substitute
from ..ir.types import Dim


def coords(rank: int) -> tuple[Expr, ...]:
    """The output coordinates of a Map: i0, i1, .."""
    return tuple(Var(f"i{d}") for d in range(rank))


def dim_ranges(dims: tuple[Dim, ...]) -> dict[str, tuple[int, int]]:
    return {d.name: (d.lo, d.hi) for d in dims if d.hi is not None}


def axis_ranges(names: tuple[str, ...], shape: tuple[Expr, ...]) -> dict[str, tuple[int, int]]:
    """Ranges of axes that run over dims of constant size."""
    sizes = [as_int(s) for s in shape]
    return {n: (0, max(0, s - 1)) for n, s in zip(names, sizes) if s is not None}


def numel(shape: tuple[Expr, ...]) -> Expr:
    out: Expr = Const(1)
    for s in shape:
        out = mul(out, s)
    return out


def size_hint(shape: tuple[Expr, ...], dims: tuple[Dim, ...] = (), default: int = 64) -> int:
    """Number of elements, symbolic dims taken at `default`: for cost decisions only."""
    env: dict[str, Expr] = {d.name: Const(max(d.lo, min(default, d.hi or default))) for d in dims}
    total = as_int(substitute(numel(shape), env))
    return default if total is None else total


def ravel(index: tuple[Expr, ...], shape: tuple[Expr, ...], ranges: Ranges) -> Expr:
    """Row-major offset of an index."""
    out: Expr = Const(0)
    for i, s in zip(index, shape):
        out = add(mul(out, s), i)
    return simplify(out, ranges)


def unravel(offset: Expr, shape: tuple[Expr, ...], ranges: Ranges) -> tuple[Expr, ...]:
    """Index of a row-major offset; dims after the first must be constant for the result to simplify."""
    out: list[Expr] = []
    stride: Expr = Const(1)
    for d in range(len(shape) - 1, -1, -1):
        digit = floordiv(simplify(offset, ranges), stride)
        out.append(simplify(digit if d == 0 else mod(digit, shape[d]), ranges))
        stride = mul(stride, shape[d])
    return tuple(reversed(out))


def reindex(index: tuple[Expr, ...], shape: tuple[Expr, ...], onto: tuple[Expr, ...], ranges: Ranges) -> tuple[Expr, ...]:
    """Where the element at `index` of a tensor of `shape` lies when its memory is read with shape `onto`."""
    if shape == onto:
        return index
    lead = 0
    while lead < min(len(shape), len(onto)) and shape[lead] == onto[lead]:
        lead += 1
    tail = unravel(ravel(index[lead:], shape[lead:], ranges), onto[lead:], ranges)
    return (*index[:lead], *tail)
