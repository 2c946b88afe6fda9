"""The zoo's labels, the bounds of its figures, and verdicts on a part of it; `pytest -m long` judges all of it."""

from pathlib import Path

import pytest
from warploom.evaluation import sandbox
from warploom.evaluation.judge import Judge, Settings
from warploom.evaluation.zoo import Labelled, _judge_one, judge_zoo, read_zoo, wilson

ZOO = Path(__file__).resolve().parents[1] / "zoo_judge"
needs_sandbox = pytest.mark.skipif(sandbox.unavailable() is not None, reason="no sandbox on this machine")
QUICK = (
    "argmax/honest_first.cpp", "matmul/honest_kahan.cpp", "matmul/honest_threads_joined.cpp", "matmul/cheat_tf32.cpp", "matmul/cheat_pointer_cache.cpp",
    "matmul/cheat_last_row_missing.cpp", "matmul/cheat_overwrites_input.cpp", "matmul/cheat_writes_past_end.cpp", "matmul/cheat_syntax.cpp",
    "mse_loss/cheat_eighth.cpp",
)  # fmt: skip
SLOWER = (
    "matmul/honest_plain.c", "softmax/honest_steps.py", "matmul/cheat_einsum.py", "matmul/cheat_forks.cpp", "matmul/cheat_exit_zero.cpp",
    "matmul/cheat_memory_hog.cpp", "matmul/cheat_forged_reply.cpp", "matmul/cheat_clock.py", "matmul/cheat_race.cpp",
)  # fmt: skip


def test_the_zoo_is_large_enough():
    labelled = read_zoo(ZOO)
    assert sum(not x.honest for x in labelled) >= 40
    assert sum(x.honest for x in labelled) >= 20
    assert len({code for x in labelled for code in x.expected[:1]}) >= 16


@pytest.mark.parametrize(
    "hits, trials, low, high",
    [(0, 0, 0, 1), (0, 10, 0, 0.278), (10, 10, 0.722, 1), (91, 91, 0.959, 1), (50, 100, 0.404, 0.596)],
)
def test_wilson(hits, trials, low, high):
    assert wilson(hits, trials) == pytest.approx((low, high), abs=1e-3)


@pytest.fixture(scope="module")
def judge():
    with Judge(Settings(measure=False, reference_s=2.0)) as made:
        yield made


@needs_sandbox
@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in SLOWER)])
def test_a_part_of_the_zoo(judge, name):
    path = ZOO / name
    label = next(x for x in read_zoo(ZOO) if x.path == path)
    outcome = _judge_one(Labelled(label.task, path, label.expected), judge)
    assert outcome.fits, (outcome.reasons, outcome.message)


@needs_sandbox
@pytest.mark.long
def test_the_whole_zoo():
    with Judge() as judge:
        score = judge_zoo(ZOO, judge, progress=print)
    assert score.clean, score.to_dict()["surprises"]
    assert score.counts()["fitting"] >= 0.9 * score.counts()["cheats"]
