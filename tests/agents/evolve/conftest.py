"""A small problem as a file and as a subject; `search` makes a run with fakes."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from evolve_fakes import PROBLEM, Clock, FakeArena, FakeBench
from warploom.agents.evolve.search import Budgets, Search
from warploom.agents.evolve.state import State
from warploom.agents.evolve.subject import read_subject
from warploom.agents.proposers.builtin import Builtin
from warploom.backends.cpu.host import host


@pytest.fixture(autouse=True)
def few_forecasts(monkeypatch):
    """What is foreseen takes seconds at full length; a few programs show the same."""
    monkeypatch.setattr("warploom.agents.evolve.foreseen.MADE", 16)


@pytest.fixture(scope="session")
def problem_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "scaled_softmax.py"
    path.write_text(PROBLEM)
    return path


@pytest.fixture(scope="session")
def subject(problem_file):
    return read_subject(str(problem_file), host())


@pytest.fixture
def run(subject, tmp_path):
    """`run(name, ...)` gives a Search over fakes in the folder `name`, its clock at `.state.clock`."""

    def make(name="run", proposer=None, seconds=60.0, evaluations=0, seed=0, replay=None, **more):
        clock = Clock()
        state = State(tmp_path / name, tmp_path / replay if replay else None, clock)
        bench = FakeBench(clock)
        made = proposer(state) if proposer else Builtin()
        search = Search(subject, made, state, Budgets(seconds, evaluations), bench, seed, **more)
        search._arena = FakeArena(search.board.default.candidate, clock)
        return search

    return make
