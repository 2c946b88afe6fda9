"""Programs that choose among bodies by the value of a dim: variants come in, a dispatching Program goes out, and back.

match batch:                                    body = (If(0 < batch and batch < 7 ..., body), If(.., body)), dispatch = "batch"
    case within(1, 7):
        ...                                     ranges are half-open, `inf` for an open end; a variant may have several
    case within(7, 15) | within(22, inf):
        ...

Every variant is a program of its own over the same params, whose dim has the narrower range. Names of axes and buffers belong to a variant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from .expr import Const, Expr, Op, Var
from .kernel import If, Program
from .types import Dim

Range = tuple[int, int | None]
"""Half-open; None: no upper end."""


@dataclass(frozen=True)
class Variant:
    """`program` is what runs where the dim is in one of the ranges; its dim spans from the first range to the last."""

    ranges: tuple[Range, ...]
    program: Program

    def covers(self, value: int) -> bool:
        return any(lo <= value and (hi is None or value < hi) for lo, hi in self.ranges)


def condition(dim: str, ranges: Sequence[Range]) -> Expr:
    """`dim` is in one of the ranges, in the one form that `ranges_of` reads."""
    out = _inside(dim, ranges[0])
    for r in ranges[1:]:
        out = Op("or", (out, _inside(dim, r)))
    return out


def _inside(dim: str, r: Range) -> Expr:
    low = Op("<=", (Const(r[0]), Var(dim)))
    return low if r[1] is None else Op("and", (low, Op("<", (Var(dim), Const(r[1])))))


def ranges_of(cond: Expr, dim: str) -> tuple[Range, ...] | None:
    """The ranges that `condition` was made from, None for any other expression."""
    if isinstance(cond, Op) and cond.name == "or":
        left, right = (ranges_of(a, dim) for a in cond.args)
        return None if left is None or right is None else left + right
    numbers = _numbers(cond)
    return (numbers,) if numbers is not None and _inside(dim, numbers) == cond else None


def _numbers(cond: Expr) -> Range | None:
    if not isinstance(cond, Op) or len(cond.args) != 2:
        return None
    if cond.name == "and":
        low, high = cond.args
        if isinstance(low, Op) and isinstance(high, Op) and isinstance(low.args[0], Const) and isinstance(high.args[-1], Const):
            return int(low.args[0].value), int(high.args[-1].value)
        return None
    return (int(cond.args[0].value), None) if isinstance(cond.args[0], Const) else None


def variants(p: Program) -> tuple[Variant, ...]:
    """The variants of a dispatching program, in order; of any other, none. Raises ValueError for a body that is no dispatch."""
    return tuple(_variant(p, s) for s in p.body) if p.dispatch else ()


def _variant(p: Program, s: object) -> Variant:
    ranges = ranges_of(s.cond, p.dispatch) if isinstance(s, If) else None
    if ranges is None or not isinstance(s, If):
        raise ValueError(f"{p.name} dispatches on {p.dispatch}, and something in it is no variant")
    return Variant(ranges, replace(p, dims=tuple(narrowed(d, ranges) if d.name == p.dispatch else d for d in p.dims), body=s.body, dispatch=""))


def narrowed(d: Dim, ranges: Sequence[Range]) -> Dim:
    """The dim from the first value of the ranges to the last."""
    highs = [hi for _, hi in ranges]
    top = None if None in highs else max(hi for hi in highs if hi is not None) - 1
    ends = [h for h in (top, d.hi) if h is not None]
    return Dim(d.name, max(d.lo, min(lo for lo, _ in ranges)), min(ends) if ends else None)


def dispatching(p: Program, dim: str, made: Iterable[Variant]) -> Program:
    """`p` with the bodies of the variants, which differ from it in the range of `dim` and in their bodies alone."""
    body = tuple(If(condition(dim, v.ranges), v.program.body) for v in made)
    return replace(p, body=body, dispatch=dim)


def at(p: Program, value: int) -> Program:
    """The variant that runs at a value of the dim."""
    return next(v.program for v in variants(p) if v.covers(value))


def faults(p: Program) -> Iterator[tuple[If | None, str]]:
    """What keeps a dispatch from being total and disjoint: (the variant's If, why)."""
    dim = next((d for d in p.dims if d.name == p.dispatch), None)
    if dim is None:
        yield None, f"`{p.dispatch}` is not a dim of this program"
        return
    taken: list[tuple[int, float, If]] = []
    for s in p.body:
        ranges = ranges_of(s.cond, p.dispatch) if isinstance(s, If) else None
        if ranges is None or not isinstance(s, If):
            yield s if isinstance(s, If) else None, f"what stands beside the variants of `{p.dispatch}` is no variant"
            return
        taken += [(lo, float("inf") if hi is None else hi, s) for lo, hi in ranges]
    yield from _gaps(dim, sorted(taken, key=lambda t: t[:2]))


def _gaps(dim: Dim, taken: list[tuple[int, float, If]]) -> Iterator[tuple[If | None, str]]:
    at: float = dim.lo
    end = float("inf") if dim.hi is None else dim.hi + 1
    for lo, hi, s in taken:
        if hi <= lo:
            yield s, f"the range {lo}..{hi} is empty"
        if lo < at:
            yield s, f"two variants claim {dim.name} = {lo}" if lo >= dim.lo else f"{dim.name} is never {lo}"
        if lo > at:
            yield s, f"no variant takes {dim.name} = {int(at)}"
        at = max(at, hi)
    if at < end:
        yield None, f"no variant takes {dim.name} = {int(at)}"
    if at > end:
        yield taken[-1][2], f"{dim.name} is never above {dim.hi}"
