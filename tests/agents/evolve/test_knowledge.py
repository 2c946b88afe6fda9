"""The base: what is similar, what fits, what is written back, and what damaged files do."""

from dataclasses import replace

import pytest
from warploom.agents.evolve.candidate import Workshop
from warploom.agents.evolve.learnt import Learnt
from warploom.agents.evolve.trials import METHODS, Trial, caught_up_lines, summarise
from warploom.agents.knowledge import base
from warploom.agents.knowledge.base import SEED, Key, Knowledge, general, key_of, read, similarity, specific, write_back
from warploom.agents.knowledge.earned import missing
from warploom.agents.strategy import Evidence, Strategy, parse_strategies


@pytest.fixture
def default(subject):
    return Workshop(subject).make(Strategy("default"))


def test_similarity_is_explainable():
    a = Key("rows", "memory", (8, 12))
    assert similarity(a, a) == 1.0
    assert similarity(a, Key("contract", "memory", (8, 12))) == 0.0
    assert similarity(a, Key("rows", "memory", (9, 12))) > similarity(a, Key("rows", "memory", (4, 3))) > 0
    assert similarity(a, Key("rows", "compute", (8, 12))) < 1.0
    assert Key.parse(a.text()) == a and Key.parse("kernel rows") is None


def test_the_seed_reads_and_says_what_it_rests_on():
    known = read(SEED)
    earned = [s for s in known.strategies if s.evidence]
    assert len(known.strategies) >= 8 and len(earned) >= 3
    assert all(e.run and e.speedup > 1 for s in earned for e in s.evidence)
    assert all(any(Key.parse(n) for n in s.needs) for s in known.strategies)
    assert [why for s in earned for why in missing(s)] == []
    liar = replace(earned[0], evidence=(replace(earned[0].evidence[0], speedup=9.0),))
    assert "not 9.0" in missing(liar)[0]
    assert "no record of run" in missing(replace(liar, evidence=(Evidence("p", 2.0, "abc"),)))[0]


def test_what_fits_comes_first(default, subject):
    near = key_of(default.kernels["softmax"], subject.machine)
    far = Key("rows", "memory", (20, 3, 3, 3))

    def entry(name, key, gain, value):
        return Strategy(name, needs=(key.text(),), evidence=(Evidence("p", gain, "r"),)).with_choices({"@rows/vectors": value})

    base = Knowledge((entry("far", far, 1.3, 8), entry("near", near, 1.3, 2), entry("other", Key("conv", "compute", (1,)), 9.0, 1)))
    assert [s.name for s in base.fitting(default, subject.machine)] == ["near", "far"]
    assert all(subject.machine and Workshop(subject).make(s).kernels for s in base.fitting(default, subject.machine))


def test_what_was_found_is_general_and_comes_back(default, subject, tmp_path):
    path = tmp_path / "knowledge.txt"
    s = Strategy("here", evidence=(Evidence("mine", 1.2, "abc"),)).with_choices({"softmax/vectors": 1, "join softmax": 0})
    found = general(s, default, subject.machine)
    assert dict(found.choices) == {"@rows/vectors": 1, "join @": 0}
    write_back([found], path)
    write_back([found], path)
    known = read(path)
    assert known.strategies == (found,) and known.fitting(default, subject.machine) == [found]
    assert tuple(parse_strategies(known.text())) == known.strategies


def test_a_damaged_file_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "own_path", lambda: tmp_path / "knowledge.txt")
    (tmp_path / "knowledge.txt").write_text("strategy x\n  import os\n")
    assert base.everything().strategies == read(SEED).with_more(()).strategies
    assert (tmp_path / "knowledge.damaged").exists()


def test_trials_are_summed_up():
    evolution, other = METHODS[0].name, METHODS[-1].name
    trials = [Trial("p", evolution, 0, (1.0, 1.5, 2.0)), Trial("p", other, 0, (1.0, 1.0, 1.0)), Trial("q", evolution, 0, (1.2,) * 3), Trial("q", other, 0, (1.0, 1.0, 1.2))]
    one, two = summarise(trials)
    assert one.speed == pytest.approx((2.0 * 1.2) ** 0.5) and one.needed == 1.0 and one.reached == 1.0
    assert two.needed == pytest.approx((4 / 3 * 3) ** 0.5) and two.reached == 0.5
    assert one.evolution_over == 1.0 and two.evolution_over == pytest.approx(2.0**0.5) and two.evolution_over_interval == (1.0, 2.0)
    assert one.share == 1.0 and two.share == pytest.approx((1 / 1 * 1 / 3) ** 0.5)


def test_evolution_catches_up_when_its_mean_curve_does():
    evolution, other = METHODS[0].name, METHODS[-1].name
    fast, slow = (1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.1), (1.0, 1.0, 1.0, 1.9, 2.0, 2.0, 2.0, 3.0)
    _, two = summarise([Trial("p", evolution, 0, fast), Trial("p", other, 0, slow)])
    assert two.caught_up == ((4, 2), (8, 9))
    assert caught_up_lines([two]) == [f"{other} after 4, 8 evaluations: evolution after 2, 9"]


def test_a_general_strategy_has_names_here(default, subject):
    s = Strategy("known").with_choices({"@rows/vectors": 1, "join @": 0, "@contract/rows": 3})
    joins = {name: 0 for name in default.space if name.startswith("join ")}
    assert joins and specific(s, default) == {"softmax/vectors": 1, **joins}
    own = s.with_choices({"softmax/vectors": 2})
    assert specific(own, default) == specific(general(own, default, subject.machine), default) == {"softmax/vectors": 2}


def test_what_is_known_is_hoped_for(run, default, subject):
    key = key_of(default.kernels["softmax"], subject.machine)
    known = Strategy("known", needs=(key.text(),), evidence=(Evidence("p", 2.0, "r"),)).with_choices({"@rows/vectors": 1})
    board = run(knowledge=Knowledge((known,))).board
    learnt, nothing = Learnt(board, lambda name: 0.5), Learnt(run("other").board, lambda name: 0.5)
    feature = (("softmax/vectors", 1),)
    assert learnt.mean[learnt.places[feature]] < -0.1 and feature not in nothing.places
