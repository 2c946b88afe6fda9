"""Roofline guidance: kernels, their times and the machine come in; what holds each back and which decisions may help go out (Williams et al.,
Roofline, 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...backends.cuda.counters import Counters
from ...evaluation.report.work import Work, work
from ...ir.machine import Machine
from ...ir.module import Launch
from .features import features

NEAR = 1.05
"""A kernel within this factor of its floor needs no more search."""
BOUND = 0.6
"""A unit that is busy for this share of the time holds a kernel back (Nsight Compute's guide: below 60% of both, latency does)."""

HELPS: dict[str, tuple[str, ...]] = {
    "memory": ("stream", "lines", "together", "pack_columns", "pack_rows", "join", "inline", "places", "separate", "lanes", "vectors"),
    "compute": ("columns", "rows", "pack_columns", "pack_rows", "tile_rows", "tile_columns", "dot_rows", "dot_columns", "separate", "vectors", "inline", "join", "together", "tail", "taps"),
    "latency": ("lines", "together", "vectors", "stream", "lanes", "taps", "separate", "join", "inline", "tail", "dot_columns", "dot_rows", "tile_rows", "places"),
    "overhead": ("pack_columns", "pack_rows", "stream", "columns", "rows", "join", "inline", "vectors", "tail"),
    "parallelism": ("lanes", "together", "lines", "join"),
}  # fmt: skip
"""bottleneck -> decisions that act on it, the likeliest first."""


@dataclass(frozen=True)
class Bottleneck:
    """Of one kernel: `share` of the run's time, `floor_s` by the roofline, `intensity` in operations per byte, `what` of `HELPS`, by the
    `counters` where there are any."""

    role: str
    kind: str
    seconds: float
    share: float
    floor_s: float
    intensity: float
    what: str
    counters: Counters | None = None

    def words(self) -> str:
        """One line for a reader or a prompt."""
        near = self.floor_s / self.seconds if self.seconds else 0.0
        counted = f"; {self.counters.words()}" if self.counters else ""
        return f"{self.role}: {self.what}: {100 * self.share:.0f}% of the time, {100 * near:.0f}% of what the machine allows ({self.intensity:.2g} operations per byte{counted})"


def bottlenecks(
    kernels: Sequence[tuple[str, Launch]], seconds: Sequence[float], machine: Machine, threads: int, counters: Mapping[str, Counters] | None = None
) -> list[Bottleneck]:
    """Of each kernel, the heaviest first. `counters`: role -> what was counted, of kernels on a GPU."""
    whole = sum(seconds) or 1.0
    out = []
    for (role, launch), s in zip(kernels, seconds):
        w = work(launch.naive, {})
        floor = machine.floor_seconds(w.flops, w.nbytes, threads)
        own = (counters or {}).get(role)
        what = _what(launch, w, s, machine, threads, own)
        out.append(Bottleneck(role, launch.kind, s, s / whole, floor, w.flops / w.nbytes if w.nbytes else 0.0, what, own))
    return sorted(out, key=lambda b: -b.seconds)


def _what(launch: Launch, w: Work, seconds: float, machine: Machine, threads: int, counters: Counters | None) -> str:
    if all(n.origin in ("pack", "pad") for n in launch.nodes):
        return "overhead"
    if threads > 1 and features(launch, machine).blocks < threads:
        return "parallelism"
    if counters is not None:
        if max(counters.memory, counters.compute) < BOUND:
            return "latency"
        return "memory" if counters.memory > counters.compute else "compute"
    by_memory = machine.floor_seconds(0.0, w.nbytes, threads)
    by_flops = machine.floor_seconds(w.flops, 0.0, threads)
    if max(by_memory, by_flops) > 0.45 * seconds:
        return "memory" if by_memory > by_flops else "compute"
    return "latency" if by_memory > by_flops else "compute"


def lifted(machine: Machine, kernels: Sequence[tuple[str, Launch]], seconds: Sequence[float]) -> Machine:
    """The machine with peaks that no kernel has beaten: peaks measured while another process had the memory are too low."""
    bandwidth, flops = machine.bandwidth, machine.flops
    for (_, launch), s in zip(kernels, seconds):
        w = work(launch.naive, {})
        if s > 0 and w.nbytes > machine.l3 / 2:
            bandwidth = max(bandwidth, w.nbytes / s)
        if s > 0:
            flops = max(flops, w.flops / s)
    return replace(machine, bandwidth=bandwidth, bandwidth_all=max(bandwidth, machine.bandwidth_all), flops=flops)


def weight(decision: str, b: Bottleneck) -> float:
    """How much a decision promises for a kernel with this bottleneck: its share of the time beyond the floor, by the decision's rank."""
    name = decision.rsplit("/", 1)[-1].split()[0]
    listed = HELPS[b.what]
    rank = listed.index(name) if name in listed else len(listed) + 2
    loss = max(0.02, b.share * (1 - min(1.0, b.floor_s / b.seconds if b.seconds else 1.0)))
    return loss / (2 + rank)
