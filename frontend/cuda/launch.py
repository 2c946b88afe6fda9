"""The launch of a bare kernel, which its text does not state.

Comes in: a kernel and the element counts that are known (inputs, outputs, arrays of the reference). Goes out: options, best first: block and
grid with the footprint that they give. The block is `__launch_bounds__` (factored where y and z are used); the grid follows from
guards (blocks that store nothing end it), from strided loops (the stride over what one block covers) and from sizes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from . import tree as t
from .footprint import Footprint, Unknown, footprint

_MOST_BLOCKS = 1 << 16
_WINDOW_LANES = 1 << 20
_AXES = "xyz"


@dataclass(frozen=True)
class LaunchOption:
    """A possible launch. `why` names the evidence; `clean`: every written element is written once and none is left out."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    footprint: Footprint
    why: str
    clean: bool


def launch_order(kernels: Sequence[t.Function]) -> tuple[t.Function, ...]:
    """Kernels by the number that ends their names where every name but one has its own, else as they stand in the source."""
    numbers = [_ending(k.name) for k in kernels]
    if len(set(numbers)) == len(numbers) and sum(n == -1 for n in numbers) <= 1:
        return tuple(k for _, k in sorted(zip(numbers, kernels), key=lambda pair: pair[0]))
    return tuple(kernels)


def _ending(name: str) -> int:
    stem, _, tail = name.rpartition("_")
    return int(tail) if stem and tail.isdigit() else -1


def launch_options(kernel: t.Function, totals: Sequence[int], scalars: dict[str, int] | None = None) -> list[LaunchOption]:
    """Launches that the kernel's text allows, best first; empty where the kernel cannot be followed."""
    found: dict[tuple, LaunchOption] = {}
    for block in _blocks(kernel):
        for grid, why in _grids(kernel, block, totals, scalars or {}):
            option = _option(kernel, grid, block, why, scalars or {})
            if option is not None:
                found.setdefault((grid, block), option)
    return sorted(found.values(), key=lambda o: (not o.clean, _rank(o, totals)))


def _rank(option: LaunchOption, totals: Sequence[int]) -> tuple:
    extents = [x.write_extent for x in option.footprint.touched.values() if x.writes]
    known = all(e in totals for e in extents)
    return (not known, option.why == "sizes", -sum(extents))


def used_axes(kernel: t.Function, place: str) -> str:
    """Which of x, y, z the kernel reads of `blockIdx`, `threadIdx` ..."""
    used = {n.name for n in t.walk(kernel.body) if isinstance(n, t.Member) and n.value == t.Name(place)}
    return "".join(a for a in _AXES if a in used)


def bound_of(kernel: t.Function) -> int | None:
    """The thread count of `__launch_bounds__`, where it is a number."""
    if kernel.bounds and isinstance(kernel.bounds[0], t.Literal):
        return int(kernel.bounds[0].text, 0)
    return None


def _blocks(kernel: t.Function) -> Iterator[tuple[int, int, int]]:
    axes = used_axes(kernel, "threadIdx")
    threads = bound_of(kernel)
    if not axes:
        yield (1, 1, 1)
    elif threads is None:
        yield from ((n, 1, 1) for n in (256, 1024, 512, 128, 64, 32, 1))
    elif axes in ("x", "y", "z"):
        yield tuple(threads if a == axes else 1 for a in _AXES)  # type: ignore[misc]
    else:
        for sizes in _factorings(threads, len(axes)):
            placed = dict(zip(axes, sizes))
            yield tuple(placed.get(a, 1) for a in _AXES)  # type: ignore[misc]


def _factorings(n: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (n,)
        return
    for d in range(1, n + 1):
        if n % d == 0:
            yield from ((d, *rest) for rest in _factorings(n // d, parts - 1))


def _grids(kernel: t.Function, block: tuple[int, int, int], totals: Sequence[int], scalars: dict[str, int]) -> Iterator[tuple[tuple[int, int, int], str]]:
    axes = used_axes(kernel, "blockIdx")
    if not axes:
        yield (1, 1, 1), "no block index is read: one block"
        return
    if axes != "x":
        yield from _many_axes(kernel, block, axes, totals, scalars)
        return
    one = _option(kernel, (1, 1, 1), block, "", scalars)
    if one is None:
        return
    strides = [count for count in _strides(one.footprint) if 0 < count <= _MOST_BLOCKS]
    yield from (((count, 1, 1), "the stride of its loop") for count in strides)
    if any((o := _option(kernel, (count, 1, 1), block, "", scalars)) is not None and o.clean for count in strides):
        return
    last = _last_live(kernel, block, scalars)
    if last is not None:
        yield (last, 1, 1), "its guard"
        return
    two = _option(kernel, (2, 1, 1), block, "", scalars)
    if two is None:
        return
    for total in sorted(set(totals), reverse=True):
        for name, touched in one.footprint.touched.items():
            first, second = touched.high, two.footprint.touched[name].high
            if second > first and total >= first:
                count = (total - first) // (second - first) + 1
                if 1 <= count <= _MOST_BLOCKS * 16:
                    yield (count, 1, 1), "sizes"


def _many_axes(kernel, block, axes: str, totals: Sequence[int], scalars) -> Iterator[tuple[tuple[int, int, int], str]]:
    """Grids of two and three axes: factorings of what the sizes leave for blocks."""
    one = _option(kernel, (1, 1, 1), block, "", scalars)
    if one is None:
        return
    each = max((np.unique(np.concatenate(x.written)).size for x in one.footprint.touched.values() if x.written), default=0)
    for total in sorted(set(totals), reverse=True):
        if each and total % each == 0 and total // each <= _MOST_BLOCKS:
            for sizes in _factorings(total // each, len(axes)):
                placed = dict(zip(axes, sizes))
                yield tuple(placed.get(a, 1) for a in _AXES), "sizes"  # type: ignore[misc]


def _last_live(kernel: t.Function, block: tuple[int, int, int], scalars: dict[str, int]) -> int | None:
    """The number of blocks up to the last one that stores something; None where no guard ends them."""
    threads = block[0] * block[1] * block[2]
    start, width, last = 0, 1, 0
    while start < _MOST_BLOCKS:
        width = max(1, min(width, _WINDOW_LANES // threads))
        try:
            live = footprint(kernel, block, (start + width, 1, 1), scalars, first_block=start).live
        except Unknown:
            return None
        if live.any():
            last = start + int(np.flatnonzero(live)[-1]) + 1
        if not live.all():
            return last or None
        start, width = start + width, width * 2
    return None


def _strides(one: Footprint) -> Iterator[int]:
    """Grids for which a strided loop of one block meets the next block's stride."""
    for touched in one.touched.values():
        for index in touched.written:
            places = np.unique(index)
            jumps = np.flatnonzero(np.diff(places) > 1)
            if not jumps.size or places[0] != 0:
                continue
            run, following = int(jumps[0]) + 1, int(places[jumps[0] + 1])
            if following % run == 0:
                yield following // run


def _option(kernel: t.Function, grid, block, why: str, scalars: dict[str, int]) -> LaunchOption | None:
    try:
        found = footprint(kernel, block, grid, scalars)
    except Unknown:
        return None
    written = [x for x in found.touched.values() if x.written]
    clean = bool(written) and all(_clean(x.written) for x in written)
    return LaunchOption(grid, block, found, why, clean)


def _clean(written: list[np.ndarray]) -> bool:
    """No statement writes an element twice, and together they leave none out."""
    extent = max(int(w.max()) + 1 for w in written)
    together = np.zeros(extent, bool)
    for w in written:
        together[w] = True
    return bool(together.all()) and all(w.size <= extent and _distinct(w, extent) for w in written)


def _distinct(w: np.ndarray, extent: int) -> bool:
    return int(np.bincount(w, minlength=extent).max()) == 1


@functools.cache
def reference_footprint(function: t.Function) -> Footprint:
    """What a C function touches: one thread that runs all of it. Raises Unknown."""
    return footprint(function, (1, 1, 1), (1, 1, 1))
