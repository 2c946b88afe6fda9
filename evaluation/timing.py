"""A trial and its reference come in, interleaved times go out: candidate, eager and a control in each round, outputs checked.

Inputs rotate through more memory than the last-level cache holds and change place in every round. Times are medians over
rounds; the speedup is the median of the rounds' ratios with a 95% interval from its order statistics.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .contained import Contained
from .correctness import Case
from .host import Asked
from .trial import Trial
from .verdict import Finding, Measured

LEAST_ROUNDS, MOST_ROUNDS = 5, 40
MOST_ARENA = 768 << 20
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


def interval_of(values: list[float]) -> tuple[float, float]:
    """95% interval of the median from order statistics (a binomial bound; the extremes where there are few values)."""
    ordered, n = sorted(values), len(values)
    low = max(0, math.floor(n / 2 - 0.98 * math.sqrt(n)) - 1)
    return ordered[low], ordered[n - 1 - low]


def measure(trial: Trial, reference: Asked, budget_s: float) -> tuple[Measured | None, list[Finding]]:
    """Times until the interval is tight or the budget is spent. Findings where a timed output is wrong. Raises `Ended`."""
    cases = _cases(trial, reference)
    slots = slot_count(sum(a.nbytes for a in trial.signature.tensors), trial.longest_s)
    contained = trial.start(slots, trial.threads)
    trial.set_stage("timed")
    reference.call("prepare_timing", cases[0].key)
    empty = _empty_calls(contained, reference)
    samples, found, started = _Samples(), [], time.perf_counter()
    for number in range(MOST_ROUNDS):
        turn = [cases[(slot + number) % len(cases)] for slot in range(slots)]
        found += _round(trial, contained, reference, turn, "finite" if number % 2 else "nan", empty, samples)
        if found or trial.failures or _enough(samples, time.perf_counter() - started, budget_s):
            break
    if not found and not trial.failures:
        found += [f for f in [contained.leftovers(), contained.clock_drift()] if f]
        found += trial.watched_call(contained) if trial.maker.watches_calls else []
    return _summary(samples), found


def _cases(trial: Trial, reference: Asked) -> list[Case]:
    """Two to four cases of the task's own kind; eager is timed with the weights of the first."""
    wanted = 4 if trial.description.eager_s < 0.02 else 3
    keys = ["own0", "own1"]
    for extra in range(2, wanted):
        keys.append(f"timed{extra}")
        trial.cases.another(keys[-1], trial.cases.own_seed + extra)
    return [trial.cases.kept[k] for k in keys]


def _round(
    trial: Trial, contained: Contained, reference: Asked, turn: list[Case], kind: str, empty, samples: _Samples
) -> list[Finding]:
    for slot, case in enumerate(turn):
        trial.fill(contained, slot, case, kind)
    seconds = contained.run(0, len(turn), trial.call_s * len(turn))
    found: list[Finding] = []
    for slot, case in enumerate(turn):
        found += trial.check(contained, slot, case, kind)
        if found or trial.failures:
            return found
    samples.ours.append(net(seconds, empty[0]) / len(turn))
    samples.theirs.append(_eager(reference, turn, empty[1]))
    samples.control.append(_control())
    samples.warm.append(_warm(trial, contained, empty[0]))
    return found


def _eager(reference: Asked, turn: list[Case], empty: float) -> float:
    start = time.perf_counter()
    told = reference.call("time", [c.key for c in turn], timeout=120.0)
    if isinstance(told, float):  # a reference that runs in a contained process of its own holds the clock itself
        return told / len(turn)
    return net(time.perf_counter() - start, empty) / len(turn)


def net(seconds: float, empty: float) -> float:
    """Seconds without the way there and back; on a busy machine that may seem longer than all of it, so a tenth is always left."""
    return max(seconds - empty, 0.1 * seconds, 1e-7)


def _warm(trial: Trial, contained: Contained, empty: float) -> float:
    contained.run(0, 1, trial.call_s)
    return net(contained.run(0, 1, trial.call_s), empty)


def _empty_calls(contained: Contained, reference: Asked) -> tuple[float, float]:
    """Seconds of an empty round trip to either side."""
    ours = min(contained.run(0, 0, 10.0) for _ in range(5))
    theirs = []
    for _ in range(5):
        start = time.perf_counter()
        reference.call("time", [])
        theirs.append(time.perf_counter() - start)
    return ours, min(theirs)


def _control() -> float:
    """Seconds of a fixed piece of work, to see throttling and noise."""
    start = time.perf_counter()
    for _ in range(8):
        float(_CONTROL.sum())
    return time.perf_counter() - start


def _enough(samples: _Samples, elapsed: float, budget_s: float) -> bool:
    n = len(samples.ours)
    if n < LEAST_ROUNDS:
        return elapsed > 4 * budget_s and n >= 2
    low, high = interval_of([b / a for a, b in zip(samples.ours, samples.theirs)])
    return elapsed > budget_s or (n >= 8 and high < 1.05 * low)


def _summary(samples: _Samples) -> Measured | None:
    if len(samples.ours) < 2:
        return None
    ours, theirs, control, warm = (values[1:] for values in (samples.ours, samples.theirs, samples.control, samples.warm))
    ratios = [b / a for a, b in zip(ours, theirs)]
    ordered = sorted(control)
    return Measured(
        time_ms=1e3 * statistics.median(ours),
        baseline_ms=1e3 * statistics.median(theirs),
        warm_ms=1e3 * statistics.median(warm),
        speedup=statistics.median(ratios),
        interval=interval_of(ratios),
        rounds=len(ours),
        noise=ordered[int(0.9 * (len(ordered) - 1))] / max(1e-9, ordered[0]) - 1,
    )
