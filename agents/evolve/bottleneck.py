"""Roofline guidance: kernels, their times and the machine come in; what holds each back, which decisions may help, and a prediction that
screens candidates before they are built go out (Williams et al., Roofline, 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...evaluation.report.work import Work, work
from ...ir.expr import Load, as_int, loads
from ...ir.kernel import Body, Buffer, For, If, Reduce, Store, expressions
from ...ir.machine import Machine
from ...ir.module import Launch
from ...ir.types import BYTES
from ...passes.draft import stride
from .features import Features, features

NEAR = 1.05
"""A kernel within this factor of its floor needs no more search."""

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
    """Of one kernel: `share` of the run's time, `floor_s` by the roofline, `intensity` in operations per byte, `what` of `HELPS`."""

    role: str
    kind: str
    seconds: float
    share: float
    floor_s: float
    intensity: float
    what: str

    def words(self) -> str:
        """One line for a reader or a prompt."""
        near = self.floor_s / self.seconds if self.seconds else 0.0
        return f"{self.role}: {self.what}: {100 * self.share:.0f}% of the time, {100 * near:.0f}% of what the machine allows ({self.intensity:.2g} operations per byte)"


def bottlenecks(kernels: Sequence[tuple[str, Launch]], seconds: Sequence[float], machine: Machine, threads: int) -> list[Bottleneck]:
    """Of each kernel, the heaviest first."""
    whole = sum(seconds) or 1.0
    out = []
    for (role, launch), s in zip(kernels, seconds):
        w = work(launch.naive, {})
        floor = machine.floor_seconds(w.flops, w.nbytes, threads)
        what = _what(launch, w, s, floor, machine, threads)
        out.append(Bottleneck(role, launch.kind, s, s / whole, floor, w.flops / w.nbytes if w.nbytes else 0.0, what))
    return sorted(out, key=lambda b: -b.seconds)


def _what(launch: Launch, w: Work, seconds: float, floor: float, machine: Machine, threads: int) -> str:
    if all(n.origin in ("pack", "pad") for n in launch.nodes):
        return "overhead"
    if threads > 1 and features(launch, machine).blocks < threads:
        return "parallelism"
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


# ------------------------------------------------------------------------------------------------ prediction
_HEAVY = {"exp": 12, "expm1": 14, "log": 14, "log1p": 16, "tanh": 14, "erf": 22, "sigmoid": 14, "pow": 30, "/": 8, "sqrt": 8, "rsqrt": 8}


def predict(launch: Launch, machine: Machine) -> float:
    """Seconds that a scheduled kernel should take on one core: instructions by a rough count, memory traffic with its reuse, no overlap
    of the larger with half of the smaller."""
    flops = machine.flops or 1e11
    cycles = flops / (2 * 2 * machine.lanes)
    f = features(launch, machine)
    issue = _body(launch.program.body, 1.0, _Where(machine, f, launch.program.buffers()))
    traffic = _traffic(launch, machine, f)
    busy = issue / cycles
    return max(busy, traffic) + 0.5 * min(busy, traffic)


@dataclass(frozen=True)
class _Where:
    """What a statement's cost depends on: the axis along the lanes (empty: scalar code), and its program."""

    machine: Machine
    features: Features
    buffers: Mapping[str, Buffer]
    lane: str = ""


def _body(body: Body, times: float, at: _Where) -> float:
    total = 0.0
    for s in body:
        if isinstance(s, For):
            count = max(0, (as_int(s.hi) or 1) - (as_int(s.lo) or 0))
            if s.kind == "vector":
                vectors = max(1, -(-count // at.machine.lanes))
                total += _body(s.body, times * vectors, replace(at, lane=s.axis))
            else:
                overhead = 0.0 if s.kind == "unroll" else 0.7 * times * count
                total += overhead + _body(s.body, times * count, at)
        elif isinstance(s, If):
            total += times * 0.5 + _body(s.body, times, at)
        elif isinstance(s, (Store, Reduce)):
            total += times * _statement(s, at)
    return total


def _gathered(e: Load, at: _Where) -> bool:
    """Whether the lanes read elements that do not lie together."""
    return bool(at.lane) and stride(at.buffers[e.buffer], e.index, at.lane) not in (0, 1)


def _statement(s: Store | Reduce, at: _Where) -> float:
    """Cycles of one vector of it: a gathered load takes one a lane. A chain of dependent additions waits four cycles where too few run side
    by side."""
    cost, machine, f = 0.5, at.machine, at.features
    for e in expressions(s):
        cost += sum(machine.lanes if _gathered(x, at) else 0.5 for x in loads(e))
        cost += sum(_HEAVY.get(getattr(n, "name", ""), 0.5) for n in _ops(e))
    if isinstance(s, Reduce):
        chains = max(1, f.accumulators) if at.lane else 1
        cost = max(cost, 4.0 / min(8, chains)) if chains < 8 else cost
        if f.accumulators > machine.registers - 2:
            cost += 2.0
    return cost


def _ops(e: object) -> list[object]:
    out = []
    stack = [e]
    while stack:
        n = stack.pop()
        if hasattr(n, "args"):
            out.append(n)
            stack.extend(n.args)  # type: ignore[attr-defined]
        elif hasattr(n, "value") and not isinstance(n, (int, float)):
            stack.append(n.value)  # type: ignore[attr-defined]
    return out


def _traffic(launch: Launch, machine: Machine, f: Features) -> float:
    """Seconds of memory traffic: each parameter once; what is written without streaming is read first where it exceeds the caches."""
    bandwidth = machine.bandwidth or 2e10
    written, total = set(launch.program.written()), 0.0
    for b in launch.program.params:
        size = BYTES[b.dtype]
        for d in b.shape:
            size *= as_int(d) or 1
        factor = 1.0
        if b.name in written and b.space != "stream" and size > machine.l2:
            factor = 2.0
        total += size * factor
    if total < machine.l3 / 2 and machine.bandwidth_cache:
        bandwidth = machine.bandwidth_cache
    return total / bandwidth

