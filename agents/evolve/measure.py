"""Side by side on this CPU: candidates come in, times relative to a control (the default schedule) in the same rounds go out.

All candidates of a race are built as one library over the same inputs; equal kernels are printed once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ...backends.cpu.build import build
from ...backends.cpu.runtime import load
from ...evaluation.bench.contenders import rotating
from ...ir.module import Launch, Module
from ...ir.types import BYTES
from ..tune import same
from .candidate import Candidate
from .race import STAGES, Rounds, Runner, Timing, exclusive, timing
from .subject import Subject

_LEAST_SECONDS = 4e-4
_MOST_BYTES = 3 << 29


@dataclass
class _Range(Runner):
    """`first` to `last`: its launches in the library of the race."""

    first: int = 0
    last: int = 0


class Arena:
    """Races candidates of one subject on `threads` threads against `control`."""

    def __init__(self, subject: Subject, control: Candidate, threads: int = 1):
        self.subject, self.control, self.threads = subject, control, threads
        drawn = rotating(subject.problem.inputs, seed=1, most=6)
        self.inputs = [subject.tensors(v) for v in drawn]

    @property
    def most(self) -> int:
        """Candidates that memory allows side by side."""
        out = sum(_bytes(self.control.module, name) for name in self.control.module.types if self._made(name))
        return max(1, min(12, _MOST_BYTES // max(1, out * len(self.inputs)) - 1))

    def _made(self, name: str) -> bool:
        return name not in {i.name for i in self.subject.graph.inputs}

    def race(self, candidates: Sequence[Candidate], stages: Sequence[int] = STAGES) -> list[Timing]:
        """One timing per candidate. Raises BuildFailed."""
        entries = [self.control, *candidates]
        whole, ranges = union([e.module for e in entries])
        code = self.subject.printed(whole)
        runtime = load(code.layout, build(code, self.subject.machine), self.subject.slots, self.threads)
        runners = [_Range(parts=[[] for _ in range(last - first)], first=first, last=last) for first, last in ranges]
        with torch.no_grad(), exclusive():
            self._check(runtime, entries, runners)
            steps = [runtime.stepper(tensors) for tensors in self.inputs]
            _Turns(steps, runners[0], time.thread_time if self.threads == 1 else time.perf_counter).run_stages(runners, stages)
        return [timing(r, runners[0]) for r in runners[1:]]

    def _check(self, runtime, entries: Sequence[Candidate], runners: Sequence[_Range]) -> None:
        """Outputs equal to the control's on two draws."""
        for tensors in self.inputs[:2]:
            answers, at = runtime(tensors), 0
            counts = [len(e.module.outputs) for e in entries]
            right = answers[: counts[0]]
            for runner, count in zip(runners, counts):
                runner.wrong |= not same(right, answers[at : at + count])
                at += count


class _Turns(Rounds[_Range]):
    """Samples on the CPU: `steps` run a range of launches on one draw of the inputs each."""

    def __init__(self, steps: Sequence[Callable[[int, int], None]], control: _Range, now: Callable[[], float]):
        self.steps, self.now = steps, now
        steps[0](control.first, control.last)
        begin = now()
        steps[0](control.first, control.last)
        self.repeats = max(1, math.ceil(_LEAST_SECONDS / max(1e-6, now() - begin)))

    def sample(self, runner: _Range, turn: int) -> None:
        parts = [0.0] * (runner.last - runner.first)
        for n in range(self.repeats):
            step = self.steps[(turn + n) % len(self.steps)]
            before = self.now()
            for k in range(len(parts)):
                step(runner.first + k, runner.first + k + 1)
                now = self.now()
                parts[k] += now - before
                before = now
        runner.taken.append(sum(parts) / self.repeats)
        for k, seconds in enumerate(parts):
            runner.parts[k].append(seconds / self.repeats)


def union(modules: Sequence[Module]) -> tuple[Module, list[tuple[int, int]]]:
    """One module that runs all, over the same inputs, and the range of launches of each; what they prepare is prepared side by side. Updates
    are left out."""
    base = modules[0]
    given = {i.name for i in base.inputs}
    steps: list[Launch] = []
    prepare: list[Launch] = []
    outputs: list[str] = []
    ranges: list[tuple[int, int]] = []
    types, views = {i.name: i.type for i in base.inputs}, {}
    for n, module in enumerate(modules):

        def name(v: str, n: int = n) -> str:
            return v if v in given else f"c{n}_{v}"

        prepare += [replace(s, args=tuple(name(a) for a in s.args)) for s in module.prepare]
        first = len(steps)
        for s in module.steps:
            assert isinstance(s, Launch)
            steps.append(replace(s, args=tuple(name(a) for a in s.args)))
        ranges.append((first, len(steps)))
        outputs += [name(o) for o in module.outputs]
        types |= {name(v): t for v, t in module.types.items()}
        views |= {name(v): name(b) for v, b in module.views.items()}
    return replace(base, name="race", steps=tuple(steps), prepare=tuple(prepare), outputs=tuple(outputs), updates=(), types=types, views=views), ranges


def _bytes(module: Module, name: str) -> int:
    total = BYTES[module.types[name].dtype]
    for d in module.types[name].shape:
        total *= int(getattr(d, "value", 1))
    return total
