"""Mutants differ from their kernel by one change, and there are hundreds of them."""

from pathlib import Path

from warploom.evaluation.candidate import read_candidate
from warploom.evaluation.mutants import mutants, sample
from warploom.evaluation.zoo import read_zoo

ZOO = Path(__file__).resolve().parents[1] / "zoo_judge"


def honest():
    return [(str(x.task), read_candidate(x.path)) for x in read_zoo(ZOO) if x.honest and x.path.suffix in {".c", ".cpp"}]


def test_hundreds_of_kinds_and_all_different():
    made = [m for _, candidate in honest() for m in mutants(candidate)]
    assert len(made) >= 400
    assert len({m.change for m in made}) >= 14
    sources = {candidate.source for _, candidate in honest()}
    assert all(m.candidate.source not in sources for m in made)


def test_a_sample_is_even_and_repeatable():
    drawn = sample(honest(), 60, 4)
    assert len(drawn) == 60
    assert drawn == sample(honest(), 60, 4) != sample(honest(), 60, 5)
    assert len({m.change for _, m in drawn}) >= 14
