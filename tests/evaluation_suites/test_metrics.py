"""Published figures against their definitions, by enumeration and by simulation."""

import itertools
import math
import statistics

import numpy as np
import pytest
from warploom.evaluation.metrics import bootstrap, fast_p, geometric_mean, paired, pass_at_k, speedup_at_k, wilson


@pytest.mark.parametrize(("n", "c"), [(5, 0), (5, 2), (5, 5), (7, 3)])
def test_pass_at_k_counts_draws(n, c):
    answers = [True] * c + [False] * (n - c)
    for k in range(1, n + 1):
        draws = list(itertools.combinations(answers, k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))
    with pytest.raises(ValueError):
        pass_at_k(n, c, n + 1)


def test_speedup_at_k_is_the_mean_best():
    speeds = [0, 1.5, 0.2, 4, 0, 1.0]
    for k in range(1, 7):
        best = statistics.fmean(max(draw) for draw in itertools.combinations(speeds, k))
        assert speedup_at_k(speeds, k) == pytest.approx(best)


def test_wilson_covers():
    rng = np.random.default_rng(0)
    for p in (0.05, 0.5, 0.97):
        hits = [low <= p <= high for low, high in (wilson(int(rng.binomial(40, p)), 40) for _ in range(400))]
        assert 0.9 < np.mean(hits) <= 1
    assert wilson(0, 0) == (0.0, 1.0) and wilson(10, 10)[1] == pytest.approx(1) and wilson(0, 10)[0] == pytest.approx(0)


def test_means_and_intervals():
    assert geometric_mean([1, 4]) == pytest.approx(2) and geometric_mean([]) is None
    low, high = bootstrap([1.0, 2.0, 4.0, 2.0, 2.0] * 8) or (math.nan, math.nan)
    assert 1 < low < geometric_mean([1.0, 2.0, 4.0, 2.0, 2.0]) < high < 4  # pyright: ignore[reportOperatorIssue]
    assert bootstrap([2.0]) is None
    again = bootstrap([1.0, 1.0, 4.0, 4.0, 2.0, 2.0] * 8, [f"{n // 2:02}" for n in range(48)])
    assert again == pytest.approx(bootstrap([1.0, 4.0, 2.0] * 8)) and bootstrap([2.0, 3.0], ["a", "a"]) is None  # two samples of a record say no more than one


def test_fast_p_curve_falls():
    curve = fast_p([None, 0.5, 1.0, 1.2, 3.0], [0, 1, 2, 5])
    assert curve == [0.8, 0.4, 0.2, 0.0]


def test_paired_comparison():
    first, second = [2.0, None, 3.0, None, 1.0], [1.0, 1.0, None, None, 0.5]
    found = paired(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (2, 1, 1, 1)
    assert found.speed_ratio == pytest.approx(2) and found.p_value == 1.0
    assert paired([1.0] * 12, [None] * 12).p_value == pytest.approx(2 / 2**12)
