"""The proposer with a model: a board comes in; a strategist is asked for strategies, a translator where one does not parse or is illegal, a
reviser with what was refused or slow; proposals go out.

Each answer is told to the run's state by its number, so that a resumed or replayed run asks nothing twice. An answer is text from outside: it
is parsed by a closed grammar, bounded in size, and what it proposes is judged like everything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...ir.diagnostic import ParseError, WarploomError
from ..evolve.board import Board, Proposal
from ..evolve.features import features
from ..evolve.state import Json, State
from ..llm import Budget, BudgetSpent, ModelRefused, NoReply, Reply, Sampling
from ..strategy import Strategy, languages, parse_strategies, print_strategy
from .proposer import Spent

MOST_ANSWER = 64_000
MOST_STRATEGIES = 8
MOST_CODE = 40_000
PATIENCE = 3
"""Answers in a row that give nothing before the model is asked no more."""
_SHOWN = 6


class Model(Protocol):
    """What is needed of `agents.llm.Litellm`."""

    def ask(self, messages: list[dict[str, str]], sampling: Sampling, budget: Budget, failed) -> Reply:
        """One reply. Raises ModelRefused, NoReply, BudgetSpent."""
        ...


@dataclass
class Llm:
    """`task`: the problem's source, for prompts; `seconds`: of the run, half of what is left of it is the longest that an answer is waited for;
    `empty`: answers in a row that gave nothing."""

    model: Model
    state: State
    task: str
    budget: Budget = field(default_factory=Budget)
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=3000, timeout_s=90.0, retries=1))
    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    empty: int = 0
    seconds: float = 1e9
    _feedback: list[str] = field(default_factory=list)
    _reported: int = 0

    def propose(self, board: Board, want: int) -> list[Proposal]:
        """Strategies out of one answer; none where the model has nothing to say any more."""
        if self.empty >= PATIENCE:
            return []
        role = "strategist" if self.calls == 0 or not self._news(board) else "reviser"
        answer = self.answer(self.prompt(board, role, want))
        found, problems = read_answer(answer)
        if problems and not found:
            answer = self.answer([*self.prompt(board, role, want), *_correction(answer, problems)])
            found, problems = read_answer(answer)
        self._feedback = problems[:_SHOWN]
        fresh = [Proposal(s, f"llm {role}", (board.best.key,)) for s in found if board.is_new(s)]
        self.note(bool(fresh))
        return fresh

    def note(self, useful: bool) -> None:
        """Whether an answer gave something new."""
        self.empty = 0 if useful else self.empty + 1

    def spent(self) -> Spent:
        return Spent(self.tokens, self.cost, self.calls)

    def close(self) -> None:
        """Every answer was waited for."""

    # ---- asking ----
    def answer(self, messages: list[dict[str, str]]) -> str:
        """The text of one answer; empty where the model was silent."""
        return self.taken(None, messages)

    def taken(self, made: Json | None, messages: list[dict[str, str]] | None = None) -> str:
        """The next answer: from the record where it is there, else `made` by an earlier `request`, else asked for now."""
        number = str(self.calls)
        told = self.state.ask("answer", [number], lambda keys: {keys[0]: made or self.request(messages or [])})[number]
        self.calls += 1
        self.tokens += int(told["tokens"])  # type: ignore[arg-type]
        self.cost += float(told["cost"])  # type: ignore[arg-type]
        return str(told["text"])[:MOST_ANSWER]

    def request(self, messages: list[dict[str, str]]) -> Json:
        """Ask, and say what came and what it cost."""
        before = self.budget.tokens, self.budget.cost
        note = ""
        try:
            patience = max(2.0, 0.5 * (self.seconds - self.state.seconds) / (1 + self.sampling.retries))
            sampling = replace(self.sampling, timeout_s=min(self.sampling.timeout_s, patience))
            reply = self.model.ask(messages, sampling, self.budget, lambda *_: None)
            text = reply.text
        except BudgetSpent as error:
            text, note, self.empty = "", error.message, PATIENCE
        except (ModelRefused, NoReply) as error:
            text, note = "", error.message
        return {"text": text, "note": note, "tokens": self.budget.tokens - before[0], "cost": self.budget.cost - before[1]}

    # ---- prompts ----
    def prompt(self, board: Board, role: str, want: int) -> list[dict[str, str]]:
        """The messages for a role: the task, the machine, the kernels as they are, what helped and what was refused."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        best = board.best
        values = {
            "role": role, "task": self.task[:6000], "machine": board.machine, "want": min(want, MOST_STRATEGIES), "best": best,
            "kernels": [(r, k, features(k, board.machine).words()) for r, k in best.candidate.kernels.items()],
            "space": sorted(board.space.items()), "bottlenecks": [b.words() for b in board.bottlenecks], "languages": languages(board.machine.isa),
            "ranked": [(1 / i.ratio, print_strategy(replace(i.candidate.strategy, code=""))) for i in board.ranked[:_SHOWN]],
            "refused": [(r.strategy.name, r.reason) for r in board.refused[-_SHOWN:]], "problems": self._feedback,
            "known": [print_strategy(s) for s in board.known[:3]],
        }  # fmt: skip
        return [
            {"role": "system", "content": environment.get_template("system.md.j2").render(values)},
            {"role": "user", "content": environment.get_template("ask.md.j2").render(values)},
        ]

    def _news(self, board: Board) -> bool:
        """Whether something was refused since the last time."""
        news = len(board.refused) > self._reported
        self._reported = len(board.refused)
        return news


def read_answer(text: str) -> tuple[list[Strategy], list[str]]:
    """Strategies of an answer, and what is wrong with the rest. Nothing in it is run."""
    text = text[:MOST_ANSWER]
    blocks = [b for b in re.findall(r"```\w*\n(.*?)```", text, re.S) if "strategy " in b] or [text]
    found: list[Strategy] = []
    problems: list[str] = []
    for block in blocks:
        for part in re.split(r"(?m)^(?=strategy )", block):
            if not part.startswith("strategy "):
                continue
            try:
                found += [_bounded(s) for s in parse_strategies(part)]
            except (ParseError, WarploomError) as error:
                problems.append(error.message)
    if not found and not problems:
        problems.append("the answer has no line `strategy NAME`")
    return found[:MOST_STRATEGIES], problems


class TooLarge(WarploomError):
    """A strategy's text is beyond what is read. Write a shorter one."""

    code = "WL-E089"


def _bounded(s: Strategy) -> Strategy:
    """A claim of evidence in an answer counts for nothing; names are kept short."""
    if len(s.code) > MOST_CODE or len(s.choices) > 60 or sum(len(x) for _, x in s.scripts) > 8000:
        raise TooLarge(f"the strategy {s.name[:40]!r} is too long")
    return replace(s, name=s.name[:80], evidence=(), bottleneck=s.bottleneck[:300], transformation=s.transformation[:300])


def _correction(answer: str, problems: Sequence[str]) -> list[dict[str, str]]:
    said = "\n".join(f"- {p}" for p in problems[:_SHOWN])
    return [
        {"role": "assistant", "content": answer[:8000] or "(nothing)"},
        {"role": "user", "content": f"This could not be read:\n{said}\nTranslate it into the form described above. Answer with strategies alone."},
    ]
