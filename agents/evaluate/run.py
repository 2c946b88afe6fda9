"""A suite, models and a folder come in; every sample is asked, judged and committed; a report goes out.

One task is one sample: ask, extract, judge, and again for each repair. `workers` tasks are under way at a time, so a kill loses at most
as many requests. What the folder already holds is not done again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...evaluation.suites.outcome import Outcome
from ...evaluation.suites.record import Record, Suite
from ...ir.diagnostic import WarploomError
from ..llm import Budget, BudgetSpent, ModelRefused, NoReply, Sampling, without_keys
from .extract import extract
from .judging import CouldNot, JudgePool, JudgeSettings
from .models import Answerer, Messages, ModelOptions, open_model
from .prompts import Prompter
from .state import Exchange, Key, State

_TRANSCRIPT = 400_000  # characters of earlier messages that a repair round repeats


@dataclass(frozen=True)
class Plan:
    """What a run does. Everything here but `models`, `workers` and the budget must be the same when it is resumed."""

    suite: str
    models: tuple[str, ...]
    samples: int = 1
    protocol: str = "strict"
    repair: int = 0
    profile_guided: int = 0
    seed: int = 0
    workers: int = 1
    prompt: str = "ours"
    prompts: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    max_cost: float | None = None
    max_tokens: int | None = None
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    options: ModelOptions = field(default_factory=ModelOptions)

    def settings(self, suite: Suite) -> dict:
        """What a resumed run must agree with."""
        digest = hashlib.sha256("".join(f"{r.id}\0{r.cuda}\0{r.c_code}\0" for r in suite.records).encode()).hexdigest()
        asked = {k: getattr(self, k) for k in ("samples", "protocol", "repair", "profile_guided", "seed", "prompt")}
        drawn = {k: getattr(self.sampling, k) for k in ("temperature", "top_p", "max_tokens")}
        return {"suite": suite.name, "records": digest[:16], **asked, "sampling": drawn}


Progress = Callable[[str, dict], None]


class Run:
    """One run over a suite. `go` works until everything is done, the budget is spent, or it is interrupted."""

    def __init__(self, suite: Suite, plan: Plan, state: State, progress: Progress):
        self.suite, self.plan, self.state, self.progress = suite, plan, state, progress
        tokens, cost = state.spent()
        self.budget = Budget(plan.max_cost, plan.max_tokens, tokens, cost)
        self.models = {name: open_model(name, plan.options) for name in dict.fromkeys(plan.models)}
        self._check_prices()
        self.exchanges, self.outcomes = state.exchanges(), state.outcomes()
        self.prompter = Prompter(plan.prompt, plan.prompts)
        self.stopped: dict[str, str] = {}
        self._judged: dict[tuple[str, str], Outcome] = {}
        self._lock = threading.Lock()

    def _check_prices(self) -> None:
        unknown = [m.name for m in self.models.values() if m.price is None]
        if unknown and self.plan.max_cost is not None:
            raise ModelRefused(f"no price is known for {', '.join(unknown)}, so --max-cost cannot be kept", hint="give --price IN,OUT")

    # ---- the whole ----
    def go(self) -> None:
        """Audits the records, then works through the samples. Ctrl-C leaves a folder that can be resumed."""
        pool = JudgePool(self.plan.workers, self.plan.judge)
        try:
            audits = self.audited(pool)
            asked = [
                replace(r, kernels=audits[r.id].get("sidecar") or r.kernels) for r in self.suite.records if self._worth_asking(r, audits)
            ]
            self._describe_target()
            tasks = [(m, r, s) for s in range(self.plan.samples) for r in asked for m in self.models.values()]
            self._each(tasks, lambda task: self._sample(pool, *task), "samples")
        finally:
            pool.close()

    def audited(self, pool: JudgePool) -> dict[str, dict]:
        """The audit of every record, from the folder where it is there."""
        known = self.state.audits()
        missing = [r for r in self.suite.records if r.id not in known]
        self._each(missing, lambda record: self._audit(pool, record), "audits")
        return self.state.audits()

    def _audit(self, pool: JudgePool, record: Record) -> None:
        found = pool.audit(record)
        value = {"id": record.id, "defects": [found.why], "weak": [], "facts": {}} if isinstance(found, CouldNot) else found
        self.state.keep_audit(record.id, value)

    def _worth_asking(self, record: Record, audits: dict[str, dict]) -> bool:
        """Sound records; under the original protocol all that can be read, as published."""
        if self.plan.protocol == "original":
            return not record.defects
        return not audits.get(record.id, {}).get("defects")

    def _describe_target(self) -> None:
        if any(m.prompted for m in self.models.values()) and self.plan.prompt == "ours":
            from .target import this_machine

            self.prompter = replace(self.prompter, target=this_machine(self.plan.judge.threads))

    def _each(self, tasks: list, work: Callable, what: str) -> None:
        """Runs tasks, `workers` at a time; the first error that is no task's own ends it."""
        waiting, running, done = iter(tasks), set(), 0
        with ThreadPoolExecutor(self.plan.workers, thread_name_prefix=what) as threads:
            try:
                while True:
                    while len(running) < self.plan.workers and (task := next(waiting, None)) is not None:
                        running.add(threads.submit(work, task))
                    if not running:
                        return
                    ended, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        _raised(future)
                        done += 1
                        self.progress(what, self.so_far() | {"done": done, "of": len(tasks)})
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def so_far(self) -> dict:
        """Pass rate and cost of what is judged, for the display."""
        with self._lock:
            final = {(k.model, k.id, k.sample): v for k, v in sorted(self.outcomes.items(), key=lambda kv: kv[0].round)}
        right = sum(v["verdict"] == "accepted" for v in final.values())
        return {"judged": len(final), "right": right, "cost": self.budget.cost, "tokens": self.budget.tokens}

    # ---- one sample ----
    def _sample(self, pool: JudgePool, model: Answerer, record: Record, sample: int) -> None:
        if model.name in self.stopped:
            return
        messages = self.prompter.first(record) if model.prompted else []
        rounds = 1 + (self.plan.repair + self.plan.profile_guided if model.prompted else 0)
        repairs = profiles = 0
        for number in range(rounds):
            key = Key(model.name, record.id, sample, number)
            exchange = self._exchange(model, record, key, messages, "answer" if number == 0 else "again")
            if exchange is None:
                return
            outcome = self._outcome(pool, record, key, exchange)
            if outcome.accepted and profiles < self.plan.profile_guided:
                profiles += 1
                said = self.prompter.profile(record, outcome)
            elif not outcome.accepted and repairs < self.plan.repair:
                repairs += 1
                said = self.prompter.repair(record, outcome)
            else:
                return
            messages = _continued(messages, exchange.answer, said)

    def _exchange(self, model: Answerer, record: Record, key: Key, messages: Messages, purpose: str) -> Exchange | None:
        """The answer, from the folder where it is there; None where the model or the budget has come to its end."""
        if key in self.exchanges:
            return self.exchanges[key]
        sampling = replace(self.plan.sampling, seed=_seed(self.plan.seed, key))
        try:
            reply = model.ask(
                record, key.sample, messages, sampling, self.budget, lambda e, tokens, cost: self.state.keep_failure(key, e, tokens, cost)
            )
        except (BudgetSpent, ModelRefused) as error:
            self.stopped[model.name] = error.message
            return None
        except NoReply as error:
            self.stopped.setdefault(f"{model.name} {key.id}#{key.sample}", error.message)
            return None
        exchange = Exchange(
            purpose, without_keys(json.dumps(messages)) if messages else "", reply.text, reply.tokens_in, reply.tokens_out, reply.cost,
            reply.seconds, reply.note,
        )  # fmt: skip
        self.state.keep_exchange(key, exchange)
        with self._lock:
            self.exchanges[key] = exchange
        return exchange

    def _outcome(self, pool: JudgePool, record: Record, key: Key, exchange: Exchange) -> Outcome:
        if key in self.outcomes:
            return Outcome.from_dict(self.outcomes[key])
        outcome = self._judge(pool, record, exchange)
        self.state.keep_outcome(key, outcome.to_dict())
        with self._lock:
            self.outcomes[key] = outcome.to_dict()
        return outcome

    def _judge(self, pool: JudgePool, record: Record, exchange: Exchange) -> Outcome:
        if not exchange.answer.strip():
            return Outcome("no-answer", exchange.note or "the answer is empty")
        found = extract(exchange.answer, record)
        if not found.code.strip():
            return Outcome("extraction", "; ".join(found.notes), notes=found.notes)
        with self._lock:
            known = self._judged.get((record.id, found.code))
        if known is None:
            made = pool.score(record, found.code)
            known = Outcome("crash", f"the judge could not finish: {made.why}") if isinstance(made, CouldNot) else made
            with self._lock:
                self._judged[record.id, found.code] = known
        return replace(known, notes=(*found.notes, *known.notes))


def _raised(future: Future) -> None:
    error = future.exception()
    if error is not None:
        raise error


def _seed(seed: int, key: Key) -> int:
    """A seed of the sample's own, the same in every run."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key.id} {key.sample} {key.round}".encode()).digest()[:4], "big") >> 1


def _continued(messages: Messages, answer: str, said: str) -> Messages:
    """The conversation with one more turn; the model's own words are cut where they are very long."""
    return [*messages, {"role": "assistant", "content": answer[:_TRANSCRIPT]}, {"role": "user", "content": said}]


def start(suite: Suite, plan: Plan, folder: Path, resume: bool, progress: Progress) -> Run:
    """Opens the folder and the models. Raises `BadRunFolder`, `Unreadable`, `MissingTool`, `ModelRefused`."""
    state = State(folder, plan.settings(suite), resume)
    try:
        return Run(suite, plan, state, progress)
    except WarploomError:
        state.close()
        raise
