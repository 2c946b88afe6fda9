"""The mutation test in small: some weakened checks are noticed by the tables alone, every stored survivor is explained, the score holds."""

import json
import random

import pytest
from corpus import code_names, table_cases, traced
from mutants import mutants
from score import HERE, Corpus, explained, judge

SAMPLE = 30


@pytest.fixture(scope="module")
def every():
    return mutants()


@pytest.fixture(scope="module")
def corpus(every):
    codes, kept = code_names({(m.module, m.function) for m in every}), []
    for case in table_cases():
        assert traced(case, codes) is None, case
        kept.append(case)
    return Corpus(kept, [])


def test_there_are_many_and_each_has_a_name(every):
    assert len(every) >= 300 and len({m.name for m in every}) == len(every)
    assert {m.module for m in every} >= {"ir.verify", "ir.dependence", "passes.schedule.loops", "passes.schedule.staging"}


def test_a_sample_is_noticed(every, corpus):
    known = json.loads((HERE / "result.json").read_text())["verdicts"]
    by_tables = [m for m in every if known.get(m.name, "").startswith(("refusal", "meaning", "golden"))]
    chosen = random.Random(7).sample(by_tables, SAMPLE)
    survived = [m.name for m in chosen if not judge(m, corpus.of(m)).killed]
    assert survived == []


def test_checks_are_whole_again_after_a_mutant(every, corpus):
    for m in every[::40]:
        with m.applied():
            pass
    assert [c for c in corpus.cases[::7] if c.noticed()] == []


def test_survivors_are_few_and_explained():
    found = json.loads((HERE / "result.json").read_text())
    assert found["score"] >= 0.95 and found["mutants"] >= 300
    assert [s["name"] for s in found["survivors"] if s["name"] not in explained()] == []
