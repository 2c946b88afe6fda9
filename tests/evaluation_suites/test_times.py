"""Times of calls of microseconds: answers whose speed is known beforehand, on a record whose code has OpenMP."""

from __future__ import annotations

import json

import pytest
from handmade import ROW_SUM, _ir
from warploom.evaluation.judge import Judge, Settings
from warploom.evaluation.suites.audit import audit
from warploom.evaluation.suites.original import OriginalScorer
from warploom.evaluation.suites.read import read_suite
from warploom.evaluation.suites.score import Scorer

ROWS, INNER = 24, 40
BODY = f"""
  #pragma omp parallel for
  for (int32_t r = 0; r < {ROWS}; ++r) {{
    float s = 0.0f;
    for (int32_t k = 0; k < {INNER}; ++k) {{ s = (s + (x[((r * {INNER}) + k)] * x[((r * {INNER}) + k)])); }}
    y[r] = s;
  }}
"""
AGAIN = '__asm__ volatile("" ::: "memory");'


def code(times: int) -> str:
    """The sum of squares of rows, computed so many times over."""
    return "void work(float* x, float* y) {\n" + f"{BODY}  {AGAIN}\n" * times + "}\n"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A record whose C code computes everything twice."""
    folder = tmp_path_factory.mktemp("tiny")
    ir = _ir(("x", (ROWS, INNER)), ("y", (ROWS,)))
    value = {**ROW_SUM, "c_code": code(2), "ir_code": ir, "input_shape": [[ROWS, INNER]], "output_shape": [[ROWS]]}
    (folder / "Tiny.json").write_text(json.dumps([value]))
    return read_suite(folder).records[0]


@pytest.mark.parametrize(("times", "least", "most"), [(1, 1.35, 3.0), (2, 0.7, 1.4), (10, 0.1, 0.4)])
def test_speedups_of_answers_whose_speed_is_known(judge, record, times, least, most):
    outcome = Scorer(judge).score(record, code(times))
    assert outcome.accepted and least < outcome.speedup < most, outcome
    assert outcome.baseline_ms is not None and outcome.baseline_ms < 1, outcome


def test_the_published_protocol_takes_the_mean_of_runs_in_one_go(record):
    """On one thread here, for a team's times on a busy machine are anything."""
    with Judge(Settings(threads=1)) as judge:
        outcome = OriginalScorer(judge).score(record, code(10))
    assert outcome.accepted and 0.1 < outcome.speedup < 0.4, outcome


def test_repeated_calls_do_not_rest_on_what_an_earlier_one_left(judge, record):
    """It skips the work where the same buffers begin with the same numbers and every output looks done: no faster than doing it, for one is not."""
    look = f"static float *to, *from, first; int done = to == y && from == x && first == x[0]; for (int i = 0; i < {ROWS}; ++i) done &= y[i] == y[i];"
    lazy = code(1).replace(BODY, f"  {look} if (done) return; to = y; from = x; first = x[0];{BODY}")
    outcome = Scorer(judge).score(record, lazy)
    assert not outcome.accepted or (outcome.speedup or 0) < 3, outcome


def test_a_baseline_on_one_thread(judge, suite):
    found = audit(suite.records[1], judge)
    assert 0.5 < found.speeds["naive"] < 2, found.speeds  # its code has no OpenMP
