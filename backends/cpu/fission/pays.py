"""Whether a raised kernel is worth its schedule. The raised program and its draft come in, the reason to take it or "" goes out.

A C++ compiler makes good vector loops of what fission prints, calls of glibc's vector functions included, and launches that share a loop can
only be joined there. What it does not do is to keep sums of many elements side by side: in

    for i: for j: s = 0; for k: s += a[i, k] * b[k, j]; c[i, j] = s

it takes the loop over k (in strict order, so without vectors) or an outer one that strides. The schedule keeps a vector of sums along j, and
neighbours of j lie together in memory. So a kernel is raised where it reduces within an axis along which most of its accesses are contiguous,
which fills at least half a vector, and which together with the reduction is long enough to matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ....ir.expr import as_int
from ....ir.kernel import Alloc, Body, For, If, Program, Reduce
from ....passes.draft import Draft
from ....passes.sketch import contiguity

_STEPS = 1 << 12
"""Steps of a reduction below which a launch is over before vectors matter."""


def pays(program: Program, draft: Draft) -> str:
    """Why the schedule beats loops that a C++ compiler vectorises; "" where it may not."""
    for path, inside in _sums(program.body):
        lanes, steps = path[-1], prod(as_int(loop.hi) or 1 for loop in (*path, *inside))
        vectors = [loop for loop in draft.loops() if loop.kind == "vector" and loop.axis.rstrip("0123456789") == lanes.axis.rstrip("0123456789")]
        full = 2 * (as_int(lanes.hi) or 0) >= draft.machine.lanes
        if vectors and full and steps >= _STEPS and contiguity(program, lanes.body, lanes.axis) > 0.5:
            return f"{as_int(lanes.hi)} sums lie side by side along {lanes.axis}, each of {prod(as_int(loop.hi) or 1 for loop in inside)} terms"
    return ""


def _sums(body: Body, path: tuple[For, ...] = ()) -> Iterator[tuple[tuple[For, ...], tuple[For, ...]]]:
    """(loops around a sum of its own for each iteration, loops of the sum) for each reduction into a variable."""
    own = {s.buffer.name for s in body if isinstance(s, Alloc)}
    for s in body:
        if isinstance(s, For):
            if path and own:
                for inside, r in _reductions((s,)):
                    if inside and {t.buffer for t in r.targets} & own:
                        yield path, inside
            yield from _sums(s.body, (*path, s))
        elif isinstance(s, If):
            yield from _sums(s.body, path)


def _reductions(body: Body, path: tuple[For, ...] = ()) -> Iterator[tuple[tuple[For, ...], Reduce]]:
    for s in body:
        if isinstance(s, For):
            yield from _reductions(s.body, (*path, s))
        elif isinstance(s, If):
            yield from _reductions(s.body, path)
        elif isinstance(s, Reduce):
            yield path, s
