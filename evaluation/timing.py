"""A trial and its reference come in, interleaved times go out: candidate, eager and a control in each round, outputs checked.

Inputs rotate through more memory than the last-level cache holds and change place in every round. Times are medians over
rounds; the speedup is the median of the rounds' ratios with a 95% interval from its order statistics. Of short calls the least counts.

A call of microseconds is lost in the way to its process and back, and in waking its threads: both sides are called once more just
before, so that their threads are awake, and then as often in one go as takes a millisecond, a few times in turns, of which the
quickest counts: another process that comes in between is no part of it. Where neither side gains by several threads,
both are timed on one: on a busy machine a team waits for its last thread a thousand times as long as such a call takes.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .contained import Contained
from .correctness import Case
from .host import Asked
from .trial import Trial
from .verdict import Finding, Measured

LEAST_ROUNDS, MOST_ROUNDS = 5, 40
SHORT_ROUNDS, SHORT_WAIT_S = 9, 30.0  # of calls of microseconds: rounds cost little, and a busy machine spoils many
MOST_ARENA = 768 << 20
BATCH_S, MOST_REPEATS = 1e-3, 1 << 14
SHORT_S = 0.05  # longer calls are timed one by one, on all threads
GAIN, TRIES, TRIES_S = 1.15, 4, 0.02  # times as fast on all threads as on one, in the best of so many tries, or of what fits in so many seconds
FALLBACK_CACHE = 32 << 20
_CONTROL = np.ones(1 << 17, np.float32)


@dataclass
class _Samples:
    """Seconds per call, one of each kind per round."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


def last_level_cache() -> int:
    """Bytes of the largest cache of this machine."""
    sizes = [FALLBACK_CACHE]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        sizes.append(int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}.get(text[-1], 1))
    return max(sizes)


def slot_count(bytes_per_slot: int, seconds: float) -> int:
    """Enough slots to rotate past the cache and to make a batch last about a millisecond."""
    past_cache = math.ceil(1.5 * min(last_level_cache(), 128 << 20) / max(1, bytes_per_slot))
    long_enough = math.ceil(1e-3 / max(1e-6, seconds))
    few_enough = max(2, MOST_ARENA // max(1, bytes_per_slot))
    quick_enough = max(2, int(0.25 / max(1e-6, seconds)))
    return max(2, min(32, max(min(past_cache, 8), long_enough), few_enough, quick_enough))


def repeats_for(batch: Callable[[int], float]) -> int:
    """How often a batch is run in one go, so that it takes a millisecond or more; `batch(n)` gives the seconds of n times."""
    repeats = 1
    while (seconds := _least(batch, repeats)) < BATCH_S and repeats < MOST_REPEATS:
        repeats = min(MOST_REPEATS, repeats * max(2, min(16, math.ceil(BATCH_S / seconds))))
    return repeats


def _least(batch: Callable[[int], float], repeats: int) -> float:
    """Seconds of a batch; one that seems long is tried again, for what came in between may have made it so."""
    seconds = batch(repeats)
    for _ in range(TRIES):
        if not BATCH_S <= seconds < 100 * BATCH_S:
            break
        seconds = min(seconds, batch(repeats))
    return seconds


def quickest(batches: list[Callable[[int], float]], repeats: list[int]) -> list[float]:
    """Seconds of each batch, once over: the least of a few tries in turns."""
    least = [math.inf] * len(batches)
    for number in range(TRIES):
        if number and number * sum(least) > TRIES_S:
            break
        least = [min(seconds, batch(n)) for seconds, batch, n in zip(least, batches, repeats)]
    return [seconds / n for seconds, n in zip(least, repeats)]


def interval_of(values: list[float]) -> tuple[float, float]:
    """95% interval of the median from order statistics (a binomial bound; the extremes where there are few values)."""
    ordered, n = sorted(values), len(values)
    low = max(0, math.floor(n / 2 - 0.98 * math.sqrt(n)) - 1)
    return ordered[low], ordered[n - 1 - low]


def measure(trial: Trial, reference: Asked, budget_s: float) -> tuple[Measured | None, list[Finding]]:
    """Times until the interval is tight or the budget is spent. Findings where a timed output is wrong. Raises `Ended`."""
    cases = _cases(trial, reference)
    slots = slot_count(sum(a.nbytes for a in trial.signature.tensors), trial.longest_s)
    trial.set_stage("timed")
    sides = _chosen(trial, reference, cases, slots)
    contained = sides.contained
    samples, found, started = _Samples(), [], time.perf_counter()
    for number in range(MOST_ROUNDS):
        turn = [cases[(slot + number) % len(cases)] for slot in range(slots)]
        found += sides.round(turn, "finite" if number % 2 else "nan", samples)
        if found or trial.failures or _enough(samples, time.perf_counter() - started, budget_s, sides.short):
            break
    if not found and not trial.failures:
        found += [f for f in [contained.leftovers(), contained.clock_drift()] if f]
        found += trial.watched_call(contained) if trial.maker.watches_calls else []
    return _summary(samples, sides), found


def _chosen(trial: Trial, reference: Asked, cases: list[Case], slots: int) -> _Sides:
    """Both sides with the number of threads that they are timed on."""
    several = _Sides(trial, reference, cases, slots, trial.threads)
    if not several.short or trial.threads == 1:
        return several
    quick = several.quickest(several.turn)
    several.contained.close()
    one = _Sides(trial, reference, cases, slots, 1)
    if not any(GAIN * many < alone for many, alone in zip(quick, one.quickest(one.turn))):
        return one
    one.contained.close()
    return _Sides(trial, reference, cases, slots, trial.threads)


def _cases(trial: Trial, reference: Asked) -> list[Case]:
    """Two to four cases of the task's own kind; eager is timed with the weights of the first."""
    wanted = 4 if trial.description.eager_s < 0.02 else 3
    keys = ["own0", "own1"]
    for extra in range(2, wanted):
        keys.append(f"timed{extra}")
        trial.cases.another(keys[-1], trial.cases.own_seed + extra)
    return [trial.cases.kept[k] for k in keys]


class _Sides:
    """Candidate and reference, timed in turns on the same number of threads; `empty` are the seconds of an empty round trip to either."""

    def __init__(self, trial: Trial, reference: Asked, cases: list[Case], slots: int, threads: int):
        self.trial, self.reference, self.threads = trial, reference, threads
        self.contained = trial.start(slots, threads)
        reference.call("prepare_timing", cases[0].key, threads)
        self.empty = _empty_calls(self.contained, reference)
        self.turn = [cases[slot % len(cases)] for slot in range(slots)]
        self.short = self.contained.repeats and trial.description.eager_s < SHORT_S and not trial.description.mutated
        self.repeats = [1, 1]  # of ours and theirs
        if self.short:
            self._fill(self.turn, "nan")
            self.repeats = [repeats_for(batch) for batch in self._batches([c.key for c in self.turn])]

    def _batches(self, keys: list[str]) -> list[Callable[[int], float]]:
        return [lambda n: self._ours(len(keys), n), lambda n: self._theirs(keys, n)]

    def quickest(self, turn: list[Case]) -> list[float]:
        """Seconds of a call of either side on these cases."""
        return [s / len(turn) for s in quickest(self._batches([c.key for c in turn]), self.repeats)]

    def _fill(self, turn: list[Case], kind: str) -> None:
        for slot, case in enumerate(turn):
            self.trial.fill(self.contained, slot, case, kind)

    def round(self, turn: list[Case], kind: str, samples: _Samples) -> list[Finding]:
        """One batch of either side on these cases, one a slot, and what is wrong with its outputs."""
        self._fill(turn, kind)
        ours, theirs = self.quickest(turn) if self.short else (self._ours(len(turn), 1) / len(turn), None)
        if self.short:
            self.trial.ran(self.contained, turn)
        found: list[Finding] = []
        for slot, case in enumerate(turn):
            found += self.trial.check(self.contained, slot, case, kind)
            if found or self.trial.failures:
                return found
        samples.ours.append(ours)
        samples.theirs.append(self._theirs([c.key for c in turn], 1) / len(turn) if theirs is None else theirs)
        samples.control.append(_control())
        samples.warm.append(samples.ours[-1] if self.short else self._warm())
        return found

    def _ours(self, slots: int, repeats: int) -> float:
        timeout = self.trial.call_s * slots
        if not self.short:
            return net(self.contained.run(0, slots, timeout), self.empty[0])
        self.contained.run_often(slots - 1, slots, 1, timeout)  # wakes its threads
        return net(self.contained.run_often(0, slots, repeats, timeout), self.empty[0])

    def _theirs(self, keys: list[str], repeats: int) -> float:
        start = time.perf_counter()
        told = self.reference.call("time", keys, repeats, self.short, timeout=120.0)
        if isinstance(told, float):  # a reference that runs in a contained process of its own holds the clock itself
            return told
        return net(time.perf_counter() - start, self.empty[1])

    def _warm(self) -> float:
        self.contained.run(0, 1, self.trial.call_s)
        return net(self.contained.run(0, 1, self.trial.call_s), self.empty[0])


def net(seconds: float, empty: float) -> float:
    """Seconds without the way there and back; on a busy machine that may seem longer than all of it, so a tenth is always left."""
    return max(seconds - empty, 0.1 * seconds, 1e-7)


def _empty_calls(contained: Contained, reference: Asked) -> tuple[float, float]:
    """Seconds of an empty round trip to either side."""
    ours = min(contained.run(0, 0, 10.0) for _ in range(5))
    theirs = []
    for _ in range(5):
        start = time.perf_counter()
        reference.call("time", [], 1, False)
        theirs.append(time.perf_counter() - start)
    return ours, min(theirs)


def mean_seconds(contained: Contained, runs: int, most_s: float) -> float:
    """The mean of `runs` runs in one go on the slot 0, fewer where they would take longer than `most_s`; after one that is not counted."""
    empty = min(contained.run(0, 0, 10.0) for _ in range(5))
    once = contained.run(0, 1, 60.0)
    count = max(1, min(runs, int(most_s / max(1e-7, once))))
    return net(contained.run_often(0, 1, count, 60.0 + 2 * most_s), empty) / count


def _control() -> float:
    """Seconds of a fixed piece of work, to see throttling and noise."""
    start = time.perf_counter()
    for _ in range(8):
        float(_CONTROL.sum())
    return time.perf_counter() - start


def _enough(samples: _Samples, elapsed: float, budget_s: float, short: bool) -> bool:
    n = len(samples.ours)
    if n < (SHORT_ROUNDS if short else LEAST_ROUNDS):
        return elapsed > (SHORT_WAIT_S if short else 4 * budget_s) and n >= 2
    _, (low, high) = _least_ratio(samples.ours, samples.theirs) if short else _median_ratio(samples.ours, samples.theirs)
    return elapsed > budget_s or (n >= 8 and high < 1.05 * low)


def _median_ratio(ours: list[float], theirs: list[float]) -> tuple[float, tuple[float, float]]:
    """The speedup by rounds, with its 95% interval."""
    ratios = [b / a for a, b in zip(ours, theirs)]
    return statistics.median(ratios), interval_of(ratios)


def _least_ratio(ours: list[float], theirs: list[float]) -> tuple[float, tuple[float, float]]:
    """The speedup of the quickest rounds: what comes in between only ever adds. The interval sets the quickest of one side against the other's first quartile."""
    ours, theirs = sorted(ours), sorted(theirs)
    quarter = len(ours) // 4
    return theirs[0] / ours[0], (theirs[0] / ours[quarter], theirs[quarter] / ours[0])


def _summary(samples: _Samples, sides: _Sides) -> Measured | None:
    if len(samples.ours) < 2:
        return None
    ours, theirs, control, warm = (values[1:] for values in (samples.ours, samples.theirs, samples.control, samples.warm))
    speedup, interval = (_least_ratio if sides.short else _median_ratio)(ours, theirs)
    middle = min if sides.short else statistics.median
    ordered = sorted(control)
    return Measured(
        time_ms=1e3 * middle(ours),
        baseline_ms=1e3 * middle(theirs),
        warm_ms=1e3 * middle(warm),
        speedup=speedup,
        interval=interval,
        rounds=len(ours),
        noise=ordered[int(0.9 * (len(ordered) - 1))] / max(1e-9, ordered[0]) - 1,
        threads=sides.threads,
    )
