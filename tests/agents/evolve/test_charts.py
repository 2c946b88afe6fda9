"""The pictures of a run stay readable however long it was."""

from __future__ import annotations

import itertools

from warploom.agents.evolve.charts import MOST_TICKS, Row, lineage


def row(generation: int) -> Row:
    return Row(f"k{generation}", "a strategy", "learnt", ("default",), generation, float(generation), 1.1, 1e-3, 1e6, 1e6, "", ())


def test_a_long_lineage_numbers_some_of_its_generations():
    ticks = lineage([row(g) for g in range(75)], "default", "k74").ticks
    assert 10 < len(ticks) <= MOST_TICKS and ticks[0][3] == "0"
    places = sorted(x for x, *_ in ticks)
    assert min(b - a for a, b in itertools.pairwise(places)) > 20


def test_a_short_lineage_numbers_all():
    assert [t[3] for t in lineage([row(g) for g in range(5)], "default", "k4").ticks] == ["0", "1", "2", "3", "4"]
