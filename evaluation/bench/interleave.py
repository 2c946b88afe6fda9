"""Interleaved timing: contenders and rotating inputs come in, samples per contender go out, with medians, ratios and their intervals.

One thread is timed by process CPU time (a shared machine steals wall time, not CPU time); several threads by wall time.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Contender = Callable[[tuple], object]


@dataclass(frozen=True)
class Samples:
    """Seconds per run, in order; sample i of every contender was taken in the same round."""

    seconds: Mapping[str, tuple[float, ...]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> float:
        """median(slow) / median(fast): above 1 when `fast` is faster."""
        return self.median(slow) / self.median(fast)

    def interval(self, slow: str, fast: str, draws: int = 500, seed: int = 0) -> tuple[float, float]:
        """95% bootstrap interval (Efron 1979) of `ratio`, rounds drawn together."""
        rng = random.Random(seed)
        a, b = self.seconds[slow], self.seconds[fast]
        ratios = []
        for _ in range(draws):
            rounds = rng.choices(range(len(a)), k=len(a))
            ratios.append(statistics.median(a[r] for r in rounds) / statistics.median(b[r] for r in rounds))
        ratios.sort()
        return ratios[int(0.025 * draws)], ratios[int(0.975 * draws) - 1]


def clock(threads: int) -> Callable[[], float]:
    """The clock that fits a thread count."""
    return time.process_time if threads == 1 else time.perf_counter


def interleave(
    contenders: Mapping[str, Contender],
    inputs: Sequence[tuple],
    budget_s: float,
    threads: int = 1,
    min_rounds: int = 5,
    max_rounds: int = 300,
) -> Samples:
    """Run all contenders in turn, each round on the next inputs and in another order, until the budget is spent. Runs too short for
    the clock are repeated within a sample."""
    now = clock(threads)
    repeats = {name: _repeats(run, inputs[0], now) for name, run in contenders.items()}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    rng, order = random.Random(0), list(contenders)
    start = time.perf_counter()
    for number in range(max_rounds):
        if number >= min_rounds and time.perf_counter() - start > budget_s:
            break
        rng.shuffle(order)
        for name in order:
            taken[name].append(_sample(contenders[name], inputs, number, repeats[name], now))
    return Samples({name: tuple(values) for name, values in taken.items()})


def _sample(run: Contender, inputs: Sequence[tuple], number: int, repeats: int, now: Callable[[], float]) -> float:
    begin = now()
    for k in range(repeats):
        run(inputs[(number + k) % len(inputs)])
    return (now() - begin) / repeats


_LEAST_SECONDS = 1e-3


def _repeats(run: Contender, args: tuple, now: Callable[[], float]) -> int:
    """Runs per sample, so that a sample lasts a millisecond; the first run warms up."""
    run(args)
    begin = now()
    run(args)
    return max(1, int(_LEAST_SECONDS / max(now() - begin, 1e-6)))
