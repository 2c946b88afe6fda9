"""Samples of models on records come in, the figures that are published go out: rates, pass@k, speedups, their intervals, comparisons.

Every function takes plain numbers. Rates are over sound records; a speedup is baseline time / answer's time of one interleaved run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_Z95 = 1.959963984540054
BOOTSTRAPS = 2000


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that one of `k` answers drawn without replacement from `samples`, of which `right` are right, is right.

    The unbiased estimator 1 - C(n-c, k) / C(n, k) of Chen et al., "Evaluating Large Language Models Trained on Code" (2021), section 2.1.
    Raises ValueError unless 0 <= right <= samples and 1 <= k <= samples.
    """
    if not (0 <= right <= samples and 1 <= k <= samples):
        raise ValueError(f"pass@{k} of {right} among {samples}")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def speedup_at_k(speedups: Sequence[float], k: int) -> float:
    """The expected best speedup among `k` of a record's samples drawn without replacement; a failure counts 0 in `speedups`.

    speedup_n@k of Nichols et al., "Can Large Language Models Write Parallel Code?" (2024), section 4.2, for one record.
    """
    ordered, n = sorted(speedups), len(speedups)
    if not 1 <= k <= n:
        raise ValueError(f"speedup@{k} of {n} samples")
    return sum(math.comb(j, k - 1) / math.comb(n, k) * s for j, s in enumerate(ordered) if j >= k - 1)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95% interval of a rate (Wilson, "Probable inference", 1927, without continuity correction); (0, 1) of no trials."""
    if trials == 0:
        return 0.0, 1.0
    p, z2 = successes / trials, _Z95**2
    centre, spread = p + z2 / (2 * trials), _Z95 * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    return max(0.0, (centre - spread) / (1 + z2 / trials)), min(1.0, (centre + spread) / (1 + z2 / trials))


def geometric_mean(values: Sequence[float]) -> float | None:
    """The geometric mean of positive values, None of none."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def bootstrap(values: Sequence[float], groups: Sequence[str] = (), seed: int = 0) -> tuple[float, float] | None:
    """The 95% percentile interval of the geometric mean, over groups drawn with replacement; None below two.

    `groups` names each value's record: samples of one record are not independent, so they are drawn together. Without it each value is a group.
    """
    names, at = np.unique(np.asarray(groups, str), return_inverse=True) if len(groups) else (np.arange(len(values)), np.arange(len(values)))
    if len(names) < 2:
        return None
    sums = np.bincount(at, np.log(np.asarray(values, np.float64)), len(names))
    counts = np.bincount(at, minlength=len(names))
    picked = np.random.default_rng(seed).integers(0, len(names), (BOOTSTRAPS, len(names)))
    drawn = sums[picked].sum(1) / counts[picked].sum(1)
    low, high = np.exp(np.percentile(drawn, [2.5, 97.5]))
    return float(low), float(high)


def fast_p(speedups: Sequence[float | None], thresholds: Sequence[float]) -> list[float]:
    """For each p the share of answers that are right and more than p times as fast as the baseline (None: not right; p = 0: right).

    fast_p of Ouyang et al., "KernelBench" (2025), section 3.
    """
    n = max(1, len(speedups))
    return [sum(s is not None and (s > p or p == 0) for s in speedups) / n for p in thresholds]


@dataclass(frozen=True)
class Paired:
    """Two models on the same samples: how often only one was right, McNemar's exact p, and the ratio of speedups where both were."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float
    speed_ratio: float | None
    ratio_interval: tuple[float, float] | None


def paired(first: Sequence[float | None], second: Sequence[float | None], groups: Sequence[str] = ()) -> Paired:
    """Compares two models; each list holds the speedup of every sample in the same order, None where it was not right; `groups` as for `bootstrap`.

    `p_value` is of the exact two-sided McNemar test; `speed_ratio` is the geometric mean of first / second, with a bootstrap interval.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} samples against {len(second)}")
    pairs = list(zip(first, second))
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    a_only = sum(a is not None and b is None for a, b in pairs)
    b_only = sum(a is None and b is not None for a, b in pairs)
    ratios = [a / b for a, b in both]
    owners = [g for g, (a, b) in zip(groups, pairs) if a is not None and b is not None]
    return Paired(
        len(both), a_only, b_only, len(pairs) - len(both) - a_only - b_only, _mcnemar(a_only, b_only),
        geometric_mean(ratios), bootstrap(ratios, owners),
    )  # fmt: skip


def _mcnemar(a: int, b: int) -> float:
    n = a + b
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, i) for i in range(min(a, b) + 1)) / 2**n
    return min(1.0, 2 * tail)
