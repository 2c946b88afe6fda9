"""The pictures of a run as coordinates: rows of its state come in; points, lines and ticks in units of an SVG go out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, BOTTOM = 720.0, 300.0, 56.0, 32.0
MOST_TICKS = 24
"""Generations that have their number below: more would run into one another."""
HUES = {
    "default": 0, "knowledge": 280, "forecast": 310, "decision": 214, "compose": 150, "crossover": 28, "mutation": 190, "learnt": 90, "steps": 330, "random": 45, "hill": 262,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One measured candidate: `at` seconds into the run, `speed` over the default, operations and bytes of its kernels."""

    key: str
    name: str
    operator: str
    parents: tuple[str, ...]
    generation: int
    at: float
    speed: float
    seconds: float
    operations: float
    nbytes: float
    strategy: str
    scripts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Dot:
    """A point with what a reader sees on pointing at it."""

    x: float
    y: float
    r: float
    hue: int
    title: str
    strong: bool = False


@dataclass(frozen=True)
class Chart:
    """`lines`: (class, SVG path); `ticks`: (x, y, anchor, text)."""

    dots: tuple[Dot, ...]
    lines: tuple[tuple[str, str], ...]
    ticks: tuple[tuple[float, float, str, str], ...]
    height: float = HEIGHT


def hue(operator: str) -> int:
    """The colour of an operator."""
    return HUES.get(operator.split()[0], 90)


def over_time(rows: Sequence[Row], accepted: set[str], roof: float) -> Chart:
    """Each candidate's speed over the seconds of the run, the best so far as a line, the default and the roofline as levels."""
    last = max((r.at for r in rows), default=1.0) or 1.0
    top = 1.06 * max([r.speed for r in rows] + [min(roof, 1.3 * max((r.speed for r in rows), default=1.0))], default=1.0)

    def x(t: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * t / last

    def y(s: float) -> float:
        return (HEIGHT - BOTTOM) * (1 - min(s, top) / top) + 6

    best, path = 1.0, f"M{x(0):.1f},{y(1):.1f}"
    for r in rows:
        if r.speed > best:
            path += f" H{x(r.at):.1f} V{y(r.speed):.1f}"
            best = r.speed
    path += f" H{x(last):.1f}"
    dots = tuple(Dot(x(r.at), y(r.speed), 3.0 if r.key not in accepted else 6.0, hue(r.operator), _title(r), r.key in accepted) for r in rows)
    lines = [("best", path), ("level", f"M{x(0):.1f},{y(1):.1f} H{x(last):.1f}")]
    if roof <= top:
        lines.append(("roof", f"M{x(0):.1f},{y(roof):.1f} H{x(last):.1f}"))
    ticks = [(LEFT - 6, y(v) + 4, "end", f"{v:g}x") for v in _levels(top)]
    ticks += [(x(last * k / 4), HEIGHT - 6, "end" if k == 4 else "middle", f"{last * k / 4:.0f} s") for k in range(5)]
    return Chart(dots, tuple(lines), tuple(ticks))


def _levels(top: float) -> list[float]:
    step = next(s for s in (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 1e9) if top / s <= 6)
    return [step * k for k in range(int(top / step) + 1)]


def _title(r: Row) -> str:
    return f"{r.name}: {r.speed:.3f}x ({r.operator}, generation {r.generation})"


def lineage(rows: Sequence[Row], default: str, winner: str) -> Chart:
    """Generations from left to right, the fastest of each on top; edges lead from parents, those of the winner's ancestors are strong."""
    by_key = {r.key: r for r in rows}
    columns: dict[int, list[Row]] = {}
    for r in sorted(rows, key=lambda r: -r.speed):
        columns.setdefault(r.generation + 1, []).append(r)
    deepest = max((len(c) for c in columns.values()), default=1)
    height = max(160.0, 24.0 * deepest + 30)
    last = max(columns, default=1)
    place = {default: (LEFT, height / 2)}
    for g, column in columns.items():
        for k, r in enumerate(column):
            place[r.key] = (LEFT + (WIDTH - LEFT - 30) * g / last, 20 + (height - 40) * (k + 0.5) / max(1, len(column)))
    ancestors = _ancestors(winner, by_key)
    lines = [("strong" if r.key in ancestors and p in ancestors else "edge", _curve(place[p], place[r.key])) for r in rows for p in r.parents if p in place]
    dots = [Dot(*place[r.key], 3 + 4 * min(1.5, max(0.0, r.speed - 0.7)), hue(r.operator), _title(r), r.key in ancestors) for r in rows]
    dots.append(Dot(*place[default], 6, 0, "the default schedule", True))
    every = max(1, math.ceil(last / MOST_TICKS))
    ticks = [(LEFT + (WIDTH - LEFT - 30) * g / last, height - 2, "middle", str(g - 1)) for g in columns if (g - 1) % every == 0]
    return Chart(tuple(dots), tuple(sorted(lines)), tuple(ticks), height)


def _curve(a: tuple[float, float], b: tuple[float, float]) -> str:
    middle = (a[0] + b[0]) / 2
    return f"M{a[0]:.1f},{a[1]:.1f} C{middle:.1f},{a[1]:.1f} {middle:.1f},{b[1]:.1f} {b[0]:.1f},{b[1]:.1f}"


def _ancestors(key: str, by_key: dict[str, Row]) -> set[str]:
    out: set[str] = set()
    waiting = [key]
    while waiting:
        k = waiting.pop()
        if k not in out:
            out.add(k)
            waiting += by_key[k].parents if k in by_key else ()
    return out


def roofline(rows: Sequence[Row], flops: float, bandwidth: float, winner: str) -> Chart:
    """Operations per second over operations per byte, both in logarithms, under the machine's roof (Williams et al. 2009)."""
    seen = [r for r in rows if r.seconds and r.nbytes and r.operations]
    if not seen or not flops or not bandwidth:
        return Chart((), (), ())
    knee = flops / bandwidth
    xs = [r.operations / r.nbytes for r in seen] + [knee]
    ys = [r.operations / r.seconds for r in seen] + [flops]
    x0, x1, y0, y1 = math.log10(min(xs) / 2), math.log10(max(xs) * 2), math.log10(min(ys) / 2), math.log10(max(ys) * 1.5)

    def x(v: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * (math.log10(v) - x0) / (x1 - x0)

    def y(v: float) -> float:
        return (HEIGHT - BOTTOM) * (1 - (math.log10(max(v, 10**y0)) - y0) / (y1 - y0)) + 6

    left = 10**x0
    roof = f"M{x(left):.1f},{y(left * bandwidth):.1f} L{x(knee):.1f},{y(flops):.1f} H{x(10**x1):.1f}"
    dots = tuple(
        Dot(x(r.operations / r.nbytes), y(r.operations / r.seconds), 6 if r.key == winner else 3, hue(r.operator), _title(r), r.key == winner)
        for r in seen
    )
    ticks = [(x(10.0**k), HEIGHT - 6, "middle", f"{10.0**k:g}") for k in range(math.ceil(x0), math.floor(x1) + 1)]
    ticks += [(LEFT - 6, y(10.0**k) + 4, "end", f"{10.0 ** (k - 9):g} G") for k in range(math.ceil(y0), math.floor(y1) + 1)]
    return Chart(dots, (("roof", roof),), tuple(ticks))
