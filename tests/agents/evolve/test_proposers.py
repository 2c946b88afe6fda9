"""A model's answers, good and bad: what they may do to a run, what they cost, and how a replay takes them."""

import pytest
from evolve_fakes import Scripted
from warploom.agents.evolve.board import Proposal
from warploom.agents.llm import Budget
from warploom.agents.proposers.by_name import NoProposer, proposer
from warploom.agents.proposers.llm import Llm, read_answer
from warploom.agents.proposers.mixed import Mixed

GOOD = """Here is what I would do:
```
strategy wide vectors
  bottleneck: latency of the exponential
  transformation: vectors of 16
  expected: 1.3
  choose softmax/vectors = 1

strategy stored
  choose softmax/tail = 2
```
"""
CODE = 'strategy by hand\n  transformation: all in C++\n  code c++\n    | extern "C" void kernel(const float* x, float* out) {}\n'
HOSTILE = CODE.replace("{}", "{ /* hostile */ }").replace("by hand", "free lunch")
USELESS = "I am sorry, I can only speak about the weather."
MALFORMED = "strategy half\n  choose softmax/vectors\n  code rust\n    | fn main() {}\n"
ILLEGAL = "strategy wrong step\n  script softmax: split(nowhere, 4)\n"
LONG = "strategy long\n" + "  choose x = 1\n" * 9000
ALL = [USELESS, GOOD, MALFORMED, MALFORMED, ILLEGAL, HOSTILE, None, CODE, LONG]


@pytest.mark.parametrize("kind", [Llm, Mixed])
def test_a_run_survives_any_model(run, kind):
    model = Scripted(ALL)

    def make(state):
        llm = Llm(model, state, "task")
        return llm if kind is Llm else Mixed(llm, state)

    search = run(kind.__name__, proposer=make, seconds=60.0, evaluations=16)
    made = search.run()
    spent = search.proposer.spent()
    assert made.best.verdict.accepted and made.best.individual.ratio <= 1.0
    assert made.evaluations <= 16 and search.state.seconds <= 60.0
    assert spent.calls == len(search.state.told("answer")) <= len(model.asked)
    assert spent.tokens == sum(v["tokens"] for _, v, _ in search.state.told("answer"))
    assert "hostile" not in made.best.individual.candidate.strategy.code
    assert made.written is None or "hostile" not in made.written.strategy.code


def test_accounting_is_exact(run):
    model = Scripted([GOOD, USELESS, None], tokens=123, cost=0.25)
    search = run("count", proposer=lambda state: Llm(model, state, "task"), seconds=60.0)
    made = search.run()
    spent = search.proposer.spent()
    assert (spent.calls, spent.tokens, spent.cost_usd) == (len(model.asked), 123 * len(model.asked), 0.25 * len(model.asked))
    assert made.stopped == "nothing new"


def test_an_answer_that_comes_last_is_paid_for(run):
    model = Scripted([GOOD], tokens=123, cost=0.25)
    search = run("late", proposer=lambda state: Mixed(Llm(model, state, "task"), state), seconds=60.0, evaluations=4)
    search.run()
    search.proposer.close()
    assert (search.proposer.spent().calls, search.proposer.spent().tokens) == (len(model.asked), 123 * len(model.asked)) != (0, 0)


def test_the_model_s_budget_holds(run):
    model = Scripted([GOOD, CODE, USELESS], tokens=100)
    search = run("tokens", proposer=lambda state: Llm(model, state, "task", Budget(max_tokens=250)), seconds=60.0)
    search.run()
    assert search.proposer.spent().tokens <= 250 and len(model.asked) <= 2


def test_answers_are_taken_from_the_record(run):
    first = Scripted(ALL)
    one = run("first", proposer=lambda state: Llm(first, state, "task"), seconds=60.0)
    one.run()
    second = Scripted(["strategy other\n  choose softmax/vectors = 8\n"])
    two = run("second", proposer=lambda state: Llm(second, state, "task"), seconds=60.0, replay="first")
    two.run()
    assert second.asked == []
    assert [k for k, *_ in two.state.told("individual")] == [k for k, *_ in one.state.told("individual")]
    assert two.proposer.spent() == one.proposer.spent()


def test_free_code_is_judged_and_never_raced(run):
    search = run("code", proposer=lambda state: Llm(Scripted([CODE, HOSTILE]), state, "task"), seconds=60.0)
    made = search.run()
    assert made.written is not None and made.written.strategy.name == "by hand"
    assert any("hostile" in s for s in search.bench.judged)
    assert any(r.strategy.name == "free lunch" and r.reason.startswith("judge: sandbox-violation") for r in made.board.refused)


def test_evidence_in_an_answer_counts_for_nothing():
    found, _ = read_answer("strategy s\n  choose a = 1\n  evidence: everything 99 run 1 on here\n")
    assert found[0].evidence == ()


def test_a_model_is_told_what_was_refused(run):
    model = Scripted([ILLEGAL, USELESS, USELESS, USELESS])
    run("told", proposer=lambda state: Llm(model, state, "the task's text"), seconds=60.0).run()
    later = "\n".join(m["content"] for m in model.asked[1])
    assert "the task's text" in later and "there is no axis `nowhere`" in later and "reviser" in later


def test_names_that_are_no_proposer():
    with pytest.raises(NoProposer, match="no proposer 'best'"):
        proposer("best", None, None, "")  # type: ignore[arg-type]
    with pytest.raises(NoProposer, match="needs --model"):
        proposer("llm", None, None, "")  # type: ignore[arg-type]


def test_a_proposal_says_where_it_came_from(run):
    search = run("origins", evaluations=16)
    search.run()
    operators = {v["operator"] for _, v, _ in search.state.told("individual")}
    assert operators <= {"knowledge", "forecast", "decision", "compose", "crossover", "learnt", "mutation", "steps"} and operators
    assert Proposal(search.board.default.candidate.strategy, "x").parents == ()
