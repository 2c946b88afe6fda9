"""A look before the build: a scheduled kernel is interpreted on small extents and integer data beside its naive form. An equivalence bug
would otherwise look like a win.

The loops of the naive program are cut short (what a tile needs, twice, and its tail), buffers lose the rows that nobody touches; the script is applied again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from ...ir.diagnostic import WarploomError
from ...ir.expr import Const, as_int, bounds
from ...ir.interpret import Fault, run_program
from ...ir.kernel import Body, Buffer, For, If, Program
from ...ir.module import Launch
from ...ir.scope import accesses, scopes
from ...ir.types import NUMPY, is_float
from ...passes.schedule.script import apply

MOST_STEPS, ENOUGH = 300_000, 12_000
MOST_ELEMENTS = 1 << 24


def differs(launch: Launch) -> str | None:
    """Why the scheduled kernel is another function than the naive one; None where they agree, or where nothing small can be made of it."""
    small = shrunk(launch)
    if small is None:
        return None
    naive, scheduled = small
    args = {b.name: _data(b, n) for n, b in enumerate(naive.params) if b.name not in naive.written() or b.name in naive.read()}
    try:
        wanted = run_program(naive, {}, args)
    except Fault:
        return None
    try:
        got = run_program(scheduled, {}, args)
    except Fault as fault:
        return f"interpreted on small data: {fault.message}"
    for name, right in wanted.items():
        if not _agree(right, got[name]):
            return f"interpreted on small data, {name} differs from the naive program"
    return None


def shrunk(launch: Launch) -> tuple[Program, Program] | None:
    """(naive, scheduled) with short loops; None where they do not go together, or are still long."""
    tiles = _tiles(launch.script)
    if any((_size(b) or MOST_ELEMENTS + 1) > MOST_ELEMENTS for b in launch.naive.params):
        return None
    sizes = [replace(launch.naive, body=_cut(launch.naive.body, tiles, least)) for least in (5, 3, 2, 1)]
    sizes = [p for p in sizes if _work(p.body) <= ENOUGH] or sizes[-1:]
    for naive in sizes:
        if _work(naive.body) > MOST_STEPS:
            continue
        try:
            scheduled = apply(naive, launch.script, check=False)
        except WarploomError:
            continue
        params = tuple(_touched(b, (naive, scheduled)) for b in naive.params)
        spaces = {b.name: b.space for b in scheduled.params}
        return replace(naive, params=params), replace(scheduled, params=tuple(replace(b, space=spaces[b.name]) for b in params))
    return None


def _touched(b: Buffer, programs: Iterable[Program]) -> Buffer:
    """The buffer with as much of its first dim as both programs touch; its elements lie where they lay."""
    if not b.shape:
        return b
    most = 0
    for p in programs:
        for s, scope in scopes(p):
            for a in accesses(s):
                if a.place.buffer == b.name:
                    high = bounds(a.place.index[0], scope.ranges)[1]
                    if high is None:
                        return b
                    most = max(most, int(high) + 1)
    size = as_int(b.shape[0]) or 0
    return replace(b, shape=(Const(max(1, min(size, most))), *b.shape[1:])) if size else b


def _tiles(script: str) -> Mapping[str, int]:
    """Axis of the naive program -> the product of the sizes it is split by."""
    out: dict[str, int] = {}
    for m in re.finditer(r"split\((\w+), (\d+)", script):
        root = re.sub(r"\d+$", "", m[1])
        out[root] = out.get(root, 1) * int(m[2])
    return out


def _cut(body: Body, tiles: Mapping[str, int], least: int) -> Body:
    out = []
    for s in body:
        if isinstance(s, For):
            hi, lo = as_int(s.hi), as_int(s.lo)
            if hi is not None and lo == 0:
                tile = tiles.get(s.axis, 1)
                short = (min(2, least) if tile > 1 else least) * tile + hi % tile
                s = replace(s, hi=Const(min(hi, short)))
            s = replace(s, body=_cut(s.body, tiles, least))
        elif isinstance(s, If):
            s = replace(s, body=_cut(s.body, tiles, least))
        out.append(s)
    return tuple(out)


def _work(body: Body) -> int:
    """Statements that a run executes, about."""
    total = 0
    for s in body:
        if isinstance(s, For):
            total += max(0, (as_int(s.hi) or 0) - (as_int(s.lo) or 0)) * _work(s.body)
        elif isinstance(s, If):
            total += _work(s.body)
        else:
            total += 1
    return total


def _size(b: Buffer) -> int | None:
    total = 1
    for d in b.shape:
        n = as_int(d)
        if n is None:
            return None
        total *= n
    return total


def _data(b: Buffer, seed: int) -> np.ndarray:
    """Small integers, the same for a buffer in every run; where the buffer has a range, within it."""
    shape = tuple(as_int(d) or 0 for d in b.shape)
    rng = np.random.default_rng(seed)
    lo, hi = (as_int(b.within[0]) or 0, as_int(b.within[1]) or 1) if b.within else (-3, 4)
    if b.dtype == "b1":
        lo, hi = 0, 2
    return rng.integers(lo, max(lo + 1, hi), shape).astype(NUMPY[b.dtype])


def _agree(right: np.ndarray, got: np.ndarray) -> bool:
    """Undefined elements (outside the short loops) are the same in both."""
    if not is_float({"float32": "f32", "float64": "f64", "float16": "f16"}.get(str(right.dtype), "i64")):
        return bool(np.array_equal(right, got))
    return bool(np.allclose(right, got, rtol=1e-4, atol=1e-5, equal_nan=True))


def first_difference(launches: Iterable[Launch]) -> str | None:
    """The first kernel that differs, with why."""
    for launch in launches:
        if why := differs(launch):
            return f"{launch.program.name}: {why}"
    return None

