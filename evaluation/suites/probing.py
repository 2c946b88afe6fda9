"""A record comes in, how its deliberately wrong answers are judged goes out: does the judge say of each what it is?"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..judge import Judge
from .builds import Builds
from .outcome import Outcome
from .probes import HOSTILE, probes
from .record import Record
from .score import Scorer, open_reference

_HOSTILE_EACH = 2


@dataclass(frozen=True)
class Probed:
    """One answer's name, what was said of it, and whether that is right."""

    answer: str
    verdict: str
    expected: tuple[str, ...]
    rightly: bool
    detail: str
    speedup: float | None
    seconds: float


def probe(record: Record, judge: Judge, number: int) -> list[dict]:
    """Every wrong answer that applies, judged; of the hostile ones two, in turn by the record's `number`. Raises `CannotJudge`."""
    hostile = [HOSTILE[(number * _HOSTILE_EACH + k) % len(HOSTILE)] for k in range(_HOSTILE_EACH)]
    if record.form == "code":
        return _probed_code(record, judge, hostile)
    if record.form == "pair":
        return _probed_pair(record, judge, hostile)
    return []


def _probed_code(record: Record, judge: Judge, hostile: list[str]) -> list[dict]:
    scorer, made = Scorer(judge), []
    with open_reference(record, Builds(judge.sandbox), judge.threads) as reference:
        drawn = [reference.inputs_of(reference.own, seed) for seed in (51, 52)]
        cases = [(inputs, reference.single(inputs)) for inputs in drawn]
        for one in probes(reference.record, cases, hostile):
            made.append(_row(one, scorer.score_against(reference.record, one.code, reference)))
    return made


def _probed_pair(record: Record, judge: Judge, hostile: list[str]) -> list[dict]:
    from .pair_score import cases_of

    assert record.task is not None
    scorer = Scorer(judge)
    drawn: list[tuple[list[np.ndarray], list[np.ndarray]]] = list(zip(*cases_of(record.task)))
    return [_row(one, scorer.score(record, one.code)) for one in probes(record, drawn, hostile)]


def _row(one, outcome: Outcome) -> dict:
    rightly = one.classed(outcome)
    return asdict(Probed(one.name, outcome.verdict, tuple(sorted(one.expected)), rightly, outcome.detail, outcome.speedup, outcome.seconds))
