"""A race: candidates take turns with a control in rounds, on whatever machine samples them; times relative to the control's go out.

Rounds in which the control was disturbed are thrown away; the slower half of the candidates leaves after each stage (successive halving:
Karnin et al., Almost Optimal Exploration in Multi-Armed Bandits, 2013). One race runs at a time on a machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from ...backends.cache import cache_folder
from .candidate import Candidate

STAGES = (3, 4, 8)
"""Least rounds of each stage."""
MORE, STAGE_SECONDS = 4, 0.4
"""A stage has up to this many times its rounds while it has taken less than so long: three rounds are off by 5 to 8%, twelve by 3 to 5%."""
DISTURBED = 1.25


@dataclass(frozen=True)
class Timing:
    """`ratio`: seconds relative to the control's in the same rounds (below 1 is faster); `kernels`: seconds of each launch; `wrong`: it is
    refused, and `why` where its numbers are not the reason: by itself it says that they differ from the control's."""

    ratio: float
    seconds: float
    rounds: int
    kernels: tuple[float, ...] = ()
    wrong: bool = False
    why: str = ""


def refused(why: str = "") -> Timing:
    """Of a candidate that has no times."""
    return Timing(math.inf, math.inf, 0, wrong=True, why=why)


class Racing(Protocol):
    """Where candidates are compared. `most`: of one race."""

    @property
    def most(self) -> int: ...

    def race(self, candidates: Sequence[Candidate], stages: Sequence[int] = STAGES) -> list[Timing]:
        """One timing per candidate."""
        ...


@dataclass
class Runner:
    """A candidate in a race. `taken`: seconds of each sample, `parts`: of each kernel's samples."""

    taken: list[float] = field(default_factory=list)
    parts: list[list[float]] = field(default_factory=list)
    wrong: bool = False
    why: str = ""


R = TypeVar("R", bound=Runner)


class Rounds(Generic[R]):
    """The rounds of a race. A machine says how one sample of a runner is taken."""

    def sample(self, runner: R, turn: int) -> None:
        """Add one sample to `taken`, and one for each kernel to `parts`; `turn` chooses the inputs."""
        raise NotImplementedError

    def run_stages(self, runners: Sequence[R], stages: Sequence[int]) -> None:
        """The control comes first."""
        alive = [r for r in runners if not r.wrong]
        turn = 0
        for stage, rounds in enumerate(stages):
            begin = time.perf_counter()
            for number in range(MORE * rounds):
                if number >= rounds and time.perf_counter() - begin > STAGE_SECONDS:
                    break
                turn += 1
                for k in range(len(alive)):
                    self.sample(alive[(k + turn) % len(alive)], turn + k)
            if stage + 1 < len(stages):
                order = sorted(alive[1:], key=lambda r: _ratio(r, runners[0]))
                alive = [runners[0], *order[: max(1, math.ceil(len(order) / 2))]]


def timing(runner: Runner, control: Runner) -> Timing:
    """What a runner's samples say beside the control's of the same rounds."""
    if runner.wrong:
        return refused(runner.why)
    kept = _kept(control, len(runner.taken))
    parts = tuple(statistics.median(p[k] for k in kept) for p in runner.parts)
    return Timing(_ratio(runner, control), statistics.median(runner.taken[k] for k in kept), len(kept), parts)


def _kept(control: Runner, count: int) -> list[int]:
    """Rounds, of the first `count`, in which the control ran undisturbed."""
    usual = sorted(control.taken)[len(control.taken) // 4]
    kept = [k for k in range(count) if control.taken[k] <= DISTURBED * usual]
    return kept if len(kept) >= 3 else sorted(range(count), key=control.taken.__getitem__)[: max(1, (count + 1) // 2)]


def _ratio(runner: Runner, control: Runner) -> float:
    if not runner.taken:
        return math.inf
    return statistics.median(runner.taken[k] / control.taken[k] for k in _kept(control, len(runner.taken)))


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """One timing at a time on this machine."""
    path = cache_folder() / "timing.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
