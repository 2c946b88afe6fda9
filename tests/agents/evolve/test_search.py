"""A run is a function of its seed and of what it is told: kill, resume and replay; budgets; what is refused; the winner is judged."""

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from evolve_fakes import Clock, FakeArena
from warploom.agents.evolve import command
from warploom.agents.evolve import search as search_module
from warploom.agents.evolve.contest import Contest
from warploom.agents.evolve.race import Timing
from warploom.agents.evolve.search import AT_FLOOR
from warploom.agents.evolve.state import OtherRun, State, write_record
from warploom.agents.proposers.plain import Hill, Random
from warploom.evaluation.report.work import work
from warploom.ir.diagnostic import Unreadable, WarploomError


def proposed(search):
    return [(key, value["operator"]) for key, value, _ in search.state.told("individual")]


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing is closed."""


def killed_after(search, races):
    """The run dies in the race after so many."""
    arena, real = search.arena, FakeArena.race

    def race(candidates, stages=(3,)):
        if len(arena.raced) >= races:
            raise Killed
        return real(arena, candidates, stages)

    arena.race = race


def test_finds_and_judges_something_faster(run):
    search = run(evaluations=30)
    made = search.run()
    assert made.best.individual.ratio < 0.99
    assert made.best.verdict.accepted
    assert made.stopped == "evaluations"
    assert len(search.bench.judged) >= 1


def test_the_budget_of_time_holds(run):
    search = run(seconds=30.0)
    search.run()
    assert search.state.seconds <= 30.0


def test_a_slow_judge_has_the_last_word_alone(run):
    search = run(seconds=30.0)
    search.bench.seconds = 100.0
    made = search.run()
    assert search.late and search.state.seconds <= 30.0 and search.bench.judged == []
    assert made.best.individual.ratio < 0.99 and not made.best.verdict.trials


def test_a_busy_machine_keeps_more_for_the_last_word(run):
    quick, slow = run("quick", seconds=100.0), run("slow", seconds=100.0)
    slow._start_s = quick._start_s + 5.0
    assert quick.reserve_s < slow.reserve_s <= 0.4 * 100.0


def test_the_budget_of_evaluations_holds(run):
    made = run(evaluations=13).run()
    assert made.evaluations == 13 and made.stopped == "evaluations"


def test_a_killed_run_goes_on_without_doing_anything_twice(run):
    whole = run("whole", seconds=35.0)
    whole.run()
    raced, spells = [], 0
    for races in (3, 6, 9, 11, 13):
        search = run("killed", seconds=35.0)
        killed_after(search, races - len(raced))
        with pytest.raises(Killed):
            search.run()
        raced += search.arena.raced
        spells += 1
    last = run("killed", seconds=35.0)
    made = last.run()
    raced += last.arena.raced
    screens = [key for key, stages in raced if len(stages) > 1]
    assert len(screens) == len(set(screens))
    assert proposed(last) == proposed(whole)
    assert made.best.individual.key == whole.outcome.best.individual.key
    assert last.state.seconds <= 35.0 and spells == 5


def test_a_killed_spell_counts_to_its_last_second(tmp_path):
    clock = Clock()
    state = State(tmp_path, clock=clock, began=-3.0)
    with state.beating(every=0.01):
        clock.now = 20.0
        reader = sqlite3.connect(tmp_path / "state.sqlite")
        until = time.monotonic() + 20
        while reader.execute("SELECT seconds FROM spell").fetchone() != (23.0,):
            assert time.monotonic() < until
            time.sleep(0.01)
    assert State(tmp_path, clock=Clock()).seconds == 23.0


def test_small_data_are_looked_at_once(run, monkeypatch):
    looked = []
    monkeypatch.setattr(search_module, "first_difference", lambda kernels: looked.append(f"{kernels[0].naive.body} {kernels[0].script}"))
    search = run("killed", seconds=35.0)
    killed_after(search, 6)
    with pytest.raises(Killed):
        search.run()
    before = len(looked)
    assert before
    run("killed", seconds=35.0).run()
    assert len(looked) == len(set(looked)) > before


def test_a_replay_proposes_the_same_and_measures_nothing(run):
    first = run("first", seconds=25.0)
    first.run()
    second = run("second", seconds=25.0, replay="first")
    second.run()
    assert proposed(second) == proposed(first)
    assert second.arena.raced == [] and second.bench.judged == []
    assert second.outcome.best.individual.key == first.outcome.best.individual.key


def test_the_record_of_a_short_run_replays_with_a_long_budget(run):
    first = run("first", seconds=25.0)
    first.run()
    second = run("second", seconds=300.0, replay="first")
    second.run()
    assert second.outcome.accepted and second.outcome.best.individual.ratio <= first.outcome.best.individual.ratio


def test_a_record_replays_like_the_folder(run, tmp_path):
    first = run("first", seconds=25.0)
    first.run()
    write_record(tmp_path / "first", tmp_path / "first.json")
    second = run("second", seconds=25.0, replay="first.json")
    second.run()
    assert proposed(second) == proposed(first) and second.arena.raced == []
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(Unreadable, match="no record of an evolve run"):
        State(tmp_path / "third", tmp_path / "bad.json")


def test_two_may_open_a_folder_at_the_same_instant(tmp_path):
    State(tmp_path / "shared").close()
    with ThreadPoolExecutor(8) as pool:
        spells = list(pool.map(lambda _: State(tmp_path / "shared").spell, range(16)))
    assert sorted(spells) == list(range(2, 18))


def test_another_seed_is_another_run(run):
    one, two = run("one", evaluations=20), run("two", evaluations=20, seed=1)
    one.run(), two.run()
    assert proposed(one) != proposed(two)


def test_what_the_judge_refuses_is_no_winner(run, monkeypatch):
    search = run(seconds=25.0)
    real = search.bench.verdict
    monkeypatch.setattr(search.bench, "verdict", lambda source, *rest, **k: real("hostile", *rest, **k))
    made = search.run()
    assert any(r.reason.startswith("judge: sandbox-violation") for r in made.board.refused)
    assert all(a.individual is search.board.default for a in made.accepted if a.verdict.trials)
    assert set(made.board.banned).isdisjoint(a.individual.key for a in made.accepted)


def test_a_task_whose_default_is_refused_cannot_be_evolved(run, monkeypatch):
    search = run(seconds=300.0)
    real = search.bench.verdict
    monkeypatch.setattr(search.bench, "verdict", lambda source, *rest, **k: real("hostile", *rest, **k))
    with pytest.raises(WarploomError, match="refuses the default"):
        search.run()


@pytest.mark.parametrize("seconds", [20.0, 40.0, 55.0])
def test_a_verdict_that_would_not_end_in_time_is_left_to_the_end(run, seconds):
    search = run(f"judge {seconds}", seconds=300.0)
    search.bench.seconds, real = seconds, search.arena.race
    known = {}

    def race(candidates, stages=(3,)):
        """Each candidate is a little faster than all before."""
        for c in candidates:
            known.setdefault(c.key, 0.98 ** len(known))
        return [replace(t, ratio=known[c.key]) for c, t in zip(candidates, real(candidates, stages))]

    search.arena.race = race
    made = search.run()
    assert not search.late and made.seconds + 1.5 * seconds <= 300.0 and (seconds > 50.0 or len(search.bench.judged) >= 2)


def test_a_machine_that_can_do_more_than_it_seemed_is_searched_on(run, monkeypatch):
    def slow(search, name):
        default = search.board.default.candidate
        nbytes = sum(work(k.naive, {}).nbytes for k in default.kernels.values())
        search.board.machine = replace(search.board.machine, l3=0, flops=1e15, bandwidth=nbytes / 1e-3, bandwidth_all=nbytes / 1e-3)  # at its floor at once
        search.beaten = False
        return search

    def ended(name, factor):
        search = slow(run(name, evaluations=12), name)
        search.arena.race = lambda candidates, stages=(3,): [Timing(1.0, 1e-3, 5, (1e-3 / len(c.kernels),) * len(c.kernels)) for c in candidates]
        machine = search.board.machine
        search.remeasure = lambda: replace(machine, bandwidth=factor * machine.bandwidth)
        return search.run()

    assert ended("as measured", 1.0).stopped == AT_FLOOR
    assert ended("it was busy", 2.0).stopped == "evaluations"
    again = slow(run("again", evaluations=12, replay="it was busy"), "again")
    again.remeasure = lambda: pytest.fail("a replay measures nothing")
    assert again.run().stopped == "evaluations"


@pytest.mark.parametrize("proposer", [Random, Hill])
def test_plain_proposers_run_to_an_end(run, proposer):
    made = run(proposer=lambda state: proposer(), evaluations=20).run()
    assert 0 < made.evaluations <= 20


def test_a_folder_holds_one_run(tmp_path):
    state = State(tmp_path)
    state.agree({"seed": "0"}, resume=False)
    with pytest.raises(OtherRun, match="holds a run already"):
        State(tmp_path).agree({"seed": "0"}, resume=False)
    with pytest.raises(OtherRun, match="seed='0'"):
        State(tmp_path).agree({"seed": "1"}, resume=True)
    State(tmp_path).agree({"seed": "0"}, resume=True)


def test_tellings_are_whole_or_absent(tmp_path):
    state = State(tmp_path)

    def broken(keys):
        raise RuntimeError("the machine went away")

    with pytest.raises(RuntimeError):
        state.ask("measured", ["a", "b"], broken)
    assert state.told("measured") == []
    state.ask("measured", ["a", "b"], lambda keys: {k: {"ratio": 1.0} for k in keys})
    other = sqlite3.connect(tmp_path / "state.sqlite")
    assert other.execute("SELECT count(*) FROM told").fetchone() == (2,)


CONTEST = Contest({"winner": 1.0, "default": 1.2, "eager": 2.0}, "eager", 2.0, (1.9, 2.1), 1.2)


def ended(search, folder, monkeypatch):
    monkeypatch.setattr(command, "contest", lambda *rest: CONTEST)
    monkeypatch.setattr(command, "write_back", lambda found: None)
    return command.finish(command.Request("scaled_softmax.py"), search, search.run(), search.state, search.bench, folder)


def test_the_folder_has_what_the_contract_says(run, tmp_path, monkeypatch):
    best = ended(run(evaluations=20), tmp_path / "run", monkeypatch)
    assert {"problem", "target", "strategy", "verdict", "speedup", "evaluations", "source_file"} <= set(best)
    assert best["problem"] == "scaled_softmax" and best["verdict"]["accepted"] and best["speedup"] == 2.0
    source = (tmp_path / "run" / best["source_file"]).read_text()
    assert 'extern "C" void kernel(' in source and "// strategy " in source and "// command: warploom evolve" in source
    assert json.loads((tmp_path / "run" / "best.json").read_text()) == best


def test_the_last_word_is_the_judge_s(run, tmp_path, monkeypatch):
    search = run(seconds=25.0)
    real = search.bench.verdict
    monkeypatch.setattr(search.bench, "verdict", lambda source, *rest, **k: real(source if "default schedule" in source else "hostile", *rest, **k))
    best = ended(search, tmp_path / "run", monkeypatch)
    assert best["verdict"]["accepted"] and best["speedup_over_default"] == 1.0
    assert "strategy default schedule" in best["strategy"]
