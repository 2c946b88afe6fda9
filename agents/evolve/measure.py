"""Side by side on this machine: candidates come in, times relative to a control (the default schedule) in the same rounds go out.

All candidates of a race are built as one library over the same inputs; equal kernels are printed once. One race runs at a time on a
machine. Rounds in which the control was disturbed are thrown away; the slower half of the candidates leaves after each stage (successive
halving: Karnin et al., Almost Optimal Exploration in Multi-Armed Bandits, 2013).
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from ...backends.cache import cache_folder
from ...backends.cpu.build import build
from ...backends.cpu.runtime import load
from ...evaluation.bench.contenders import rotating
from ...ir.module import Launch, Module
from ...ir.types import BYTES
from ..tune import same
from .candidate import Candidate
from .subject import Subject

STAGES = (3, 4, 8)
"""Least rounds of each stage."""
MORE, STAGE_SECONDS = 4, 0.4
"""A stage has up to this many times its rounds while it has taken less than so long: three rounds are off by 5 to 8%, twelve by 3 to 5%."""
DISTURBED = 1.25
_LEAST_SECONDS = 4e-4
_MOST_BYTES = 3 << 29


@dataclass(frozen=True)
class Timing:
    """`ratio`: seconds relative to the control's in the same rounds (below 1 is faster); `kernels`: seconds of each launch; `wrong`: its
    numbers differ from the control's."""

    ratio: float
    seconds: float
    rounds: int
    kernels: tuple[float, ...] = ()
    wrong: bool = False


@dataclass
class _Runner:
    first: int
    last: int
    taken: list[float] = field(default_factory=list)
    parts: list[list[float]] = field(default_factory=list)
    wrong: bool = False


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
        runners = [_Runner(first, last, parts=[[] for _ in range(last - first)]) for first, last in ranges]
        with torch.no_grad(), exclusive():
            self._check(runtime, entries, runners)
            steps = [runtime.stepper(tensors) for tensors in self.inputs]
            self._run_stages(steps, runners, stages)
        return [self._timing(r, runners[0]) for r in runners[1:]]

    def _check(self, runtime, entries: Sequence[Candidate], runners: Sequence[_Runner]) -> None:
        """Outputs equal to the control's on two draws."""
        for tensors in self.inputs[:2]:
            answers, at = runtime(tensors), 0
            counts = [len(e.module.outputs) for e in entries]
            right = answers[: counts[0]]
            for runner, count in zip(runners, counts):
                runner.wrong |= not same(right, answers[at : at + count])
                at += count

    def _run_stages(self, steps: Sequence[Callable[[int, int], None]], runners: Sequence[_Runner], stages: Sequence[int]) -> None:
        alive = [r for r in runners if not r.wrong]
        repeats = self._repeats(steps[0], runners[0])
        turn = 0
        for stage, rounds in enumerate(stages):
            begin = time.perf_counter()
            for number in range(MORE * rounds):
                if number >= rounds and time.perf_counter() - begin > STAGE_SECONDS:
                    break
                turn += 1
                for k in range(len(alive)):
                    self._sample(steps, alive[(k + turn) % len(alive)], turn + k, repeats)
            if stage + 1 < len(stages):
                order = sorted(alive[1:], key=lambda r: self._ratio(r, runners[0]))
                alive = [runners[0], *order[: max(1, math.ceil(len(order) / 2))]]

    def _repeats(self, step: Callable[[int, int], None], control: _Runner) -> int:
        step(control.first, control.last)
        begin = self._now()
        step(control.first, control.last)
        return max(1, math.ceil(_LEAST_SECONDS / max(1e-6, self._now() - begin)))

    def _now(self) -> float:
        return time.thread_time() if self.threads == 1 else time.perf_counter()

    def _sample(self, steps: Sequence[Callable[[int, int], None]], runner: _Runner, turn: int, repeats: int) -> None:
        parts = [0.0] * (runner.last - runner.first)
        for n in range(repeats):
            step = steps[(turn + n) % len(steps)]
            before = self._now()
            for k in range(len(parts)):
                step(runner.first + k, runner.first + k + 1)
                now = self._now()
                parts[k] += now - before
                before = now
        runner.taken.append(sum(parts) / repeats)
        for k, seconds in enumerate(parts):
            runner.parts[k].append(seconds / repeats)

    def _kept(self, control: _Runner, count: int) -> list[int]:
        """Rounds, of the first `count`, in which the control ran undisturbed."""
        usual = sorted(control.taken)[len(control.taken) // 4]
        kept = [k for k in range(count) if control.taken[k] <= DISTURBED * usual]
        return kept if len(kept) >= 3 else sorted(range(count), key=control.taken.__getitem__)[: max(1, (count + 1) // 2)]

    def _ratio(self, runner: _Runner, control: _Runner) -> float:
        if not runner.taken:
            return math.inf
        return statistics.median(runner.taken[k] / control.taken[k] for k in self._kept(control, len(runner.taken)))

    def _timing(self, runner: _Runner, control: _Runner) -> Timing:
        if runner.wrong:
            return Timing(math.inf, math.inf, 0, wrong=True)
        kept = self._kept(control, len(runner.taken))
        parts = tuple(statistics.median(p[k] for k in kept) for p in runner.parts)
        return Timing(self._ratio(runner, control), statistics.median(runner.taken[k] for k in kept), len(kept), parts)


def union(modules: Sequence[Module]) -> tuple[Module, list[tuple[int, int]]]:
    """One module that runs all, over the same inputs, and the range of launches of each. Updates are left out."""
    base = modules[0]
    given = {i.name for i in base.inputs}
    steps: list[Launch] = []
    outputs: list[str] = []
    ranges: list[tuple[int, int]] = []
    types, views = {i.name: i.type for i in base.inputs}, {}
    for n, module in enumerate(modules):

        def name(v: str, n: int = n) -> str:
            return v if v in given else f"c{n}_{v}"

        first = len(steps)
        for s in module.steps:
            assert isinstance(s, Launch)
            steps.append(replace(s, args=tuple(name(a) for a in s.args)))
        ranges.append((first, len(steps)))
        outputs += [name(o) for o in module.outputs]
        types |= {name(v): t for v, t in module.types.items()}
        views |= {name(v): name(b) for v, b in module.views.items()}
    return replace(base, name="race", steps=tuple(steps), outputs=tuple(outputs), updates=(), types=types, views=views), ranges


def _bytes(module: Module, name: str) -> int:
    total = BYTES[module.types[name].dtype]
    for d in module.types[name].shape:
        total *= int(getattr(d, "value", 1))
    return total


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """One timing at a time on this machine."""
    path = cache_folder() / "timing.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
