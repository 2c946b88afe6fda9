"""The last comparison of a run: winner, default schedule, eager and Inductor come in, their times in the same rounds go out, on the machine
that the run is for.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ...backends.cpu.build import build
from ...backends.cpu.runtime import Runtime, load
from ...evaluation.bench.contenders import Entry, eager, enter, inductor, ran, rotating
from ...evaluation.bench.gpu import ROTATED_BYTES
from ...evaluation.bench.interleave import interleave
from .candidate import Candidate
from .device import Device
from .gpu import runs
from .race import exclusive
from .state import Json
from .subject import Subject


@dataclass(frozen=True)
class Contest:
    """Milliseconds by contender; `speedup` of the winner over the faster of eager and Inductor, with its 95% interval."""

    times_ms: dict[str, float]
    baseline: str
    speedup: float
    interval: tuple[float, float]
    over_default: float

    def to_json(self) -> Json:
        return {
            "times_ms": self.times_ms, "baseline": self.baseline, "speedup": self.speedup, "interval": list(self.interval),
            "over_default": self.over_default,
        }  # fmt: skip


def contest(
    subject: Subject, winner: Candidate, default: Candidate, threads: int, budget_s: float, with_inductor: bool, device: Device | None = None
) -> Contest:
    """Interleaved on rotating inputs, the model's state as it is; on a device by the wall, until it is done."""
    if device is not None:
        return _on(device, subject, winner, default, budget_s, with_inductor)
    model, inputs = subject.problem.model, rotating(subject.problem.inputs, seed=2, most=6)
    torch.set_num_threads(threads)
    entries = [
        enter("winner", lambda: _ours(subject, winner, threads), inputs[0]),
        enter("default", lambda: _ours(subject, default, threads), inputs[0]),
        enter("eager", lambda: eager(model), inputs[0]),
    ]
    if with_inductor:
        entries.append(enter("inductor", lambda: inductor(model), inputs[0]))
    return _interleaved(entries, inputs, budget_s, threads)


def _on(device: Device, subject: Subject, winner: Candidate, default: Candidate, budget_s: float, with_inductor: bool) -> Contest:
    model = copy.deepcopy(subject.problem.model).to(device.place)

    def draw() -> tuple:
        return tuple(v.to(device.place) if isinstance(v, torch.Tensor) else v for v in subject.problem.inputs())

    def done(run: Callable[[tuple], object]) -> Callable[[tuple], object]:
        def call(values: tuple) -> object:
            result = run(values)
            device.wait()
            return result

        return call

    inputs = rotating(draw, seed=2, nbytes=ROTATED_BYTES, most=6)
    target = subject.machine.isa
    entries = [
        enter("winner", lambda: done(runs(subject, winner.module, target, device)), inputs[0]),
        enter("default", lambda: done(runs(subject, default.module, target, device)), inputs[0]),
        enter("eager", lambda: done(eager(model)), inputs[0]),
    ]
    if with_inductor:
        entries.append(enter("inductor", lambda: done(inductor(model)), inputs[0]))
    return _interleaved(entries, inputs, budget_s, threads=2)


def _interleaved(entries: Sequence[Entry], inputs: Sequence[tuple], budget_s: float, threads: int) -> Contest:
    with torch.no_grad(), exclusive():
        samples = interleave(ran(entries), inputs, budget_s, threads, min_rounds=25)
    times = {name: 1e3 * samples.median(name) for name in samples.seconds}
    baseline = min((n for n in times if n in ("eager", "inductor")), key=times.__getitem__)
    return Contest(
        times, baseline, samples.ratio(baseline, "winner"), samples.interval(baseline, "winner"), samples.ratio("default", "winner")
    )


def _ours(subject: Subject, candidate: Candidate, threads: int) -> Callable[[tuple], object]:
    code = subject.printed(candidate.module)
    runtime: Runtime = load(code.layout, build(code, subject.machine), subject.slots, threads)
    return lambda values: runtime(subject.tensors(values))
