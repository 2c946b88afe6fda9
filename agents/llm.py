"""Messages come in, a model's reply with its tokens and cost goes out: litellm behind one adapter, imported when first needed.

Retries are ours, not the client's, so that each request is counted. Budgets are reserved before a request leaves. Keys are read from
the environment by the client alone; `without_keys` removes them from anything that comes back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..ir.diagnostic import MissingTool, WarploomError

PER_MESSAGE = 64  # tokens that a chat template may add to a message
_SECRET_NAME = re.compile(r"key|token|secret|password|credential|authorization", re.I)
_LEAST_SECRET = 8


class ModelRefused(WarploomError):
    """The model cannot be asked at all: unknown name, missing or wrong key, a request that it never accepts. Correct the name or the key."""

    code = "WL-E092"


class NoReply(WarploomError):
    """No reply after all retries: rate limits, server errors or time-outs. Resume later; what was answered is kept."""

    code = "WL-E093"


class BudgetSpent(WarploomError):
    """The next request could pass the budget. Resume with a larger one; what was answered is kept."""

    code = "WL-E094"


@dataclass(frozen=True)
class Sampling:
    """How a model draws its answer, and how long one request may take."""

    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 4096
    seed: int = 0
    timeout_s: float = 180.0
    retries: int = 6


@dataclass(frozen=True)
class Reply:
    """One answer; `cost` in USD, None where the price is not known."""

    text: str
    tokens_in: int
    tokens_out: int
    cost: float | None
    seconds: float
    note: str = ""


@dataclass
class Budget:
    """Hard limits over all requests of a run: what may yet be charged is reserved before a request leaves."""

    max_cost: float | None = None
    max_tokens: int | None = None
    tokens: int = 0
    cost: float = 0.0
    _reserved: list[tuple[int, float]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reserve(self, tokens: int, cost: float) -> tuple[int, float]:
        """Sets aside what a request may need. Raises `BudgetSpent`."""
        with self._lock:
            held_tokens, held_cost = (sum(r[i] for r in self._reserved) for i in (0, 1))
            if self.max_tokens is not None and self.tokens + held_tokens + tokens > self.max_tokens:
                raise BudgetSpent(f"{self.tokens} of {self.max_tokens} tokens are spent, the next request may need {tokens}")
            if self.max_cost is not None and self.cost + held_cost + cost > self.max_cost:
                raise BudgetSpent(f"{self.cost:.4f} of {self.max_cost:.4f} USD are spent, the next request may cost {cost:.4f}")
            held = (tokens, cost)
            self._reserved.append(held)
            return held

    def settle(self, held: tuple[int, float], tokens: int, cost: float) -> None:
        """Replaces a reservation by what was charged."""
        with self._lock:
            self._reserved.remove(held)
            self.tokens += tokens
            self.cost += cost


Failed = Callable[[str, int, float], None]  # an error, and the tokens and USD it may have been charged


class Litellm:
    """Any model that litellm reaches, by its name there. `price` is USD per million tokens (in, out) where litellm knows none."""

    def __init__(self, name: str, price: tuple[float, float] | None = None):
        self.name, self.price = name, price
        self._litellm = _import_litellm()
        if price is None:
            self.price = self._known_price()

    def ask(self, messages: list[dict[str, str]], sampling: Sampling, budget: Budget, failed: Failed) -> Reply:
        """One reply. Raises `ModelRefused`, `NoReply`, `BudgetSpent`; each failed request is told to `failed` first."""
        jitter, last = random.Random(sampling.seed), ""
        for attempt in range(sampling.retries + 1):
            held = budget.reserve(*self._bound(messages, sampling))
            started = time.monotonic()
            try:
                response = self._request(messages, sampling)
            except Exception as error:
                tokens, cost = held if _may_be_charged(error) else (0, 0.0)
                budget.settle(held, tokens, cost)
                last = without_keys(f"{type(error).__name__}: {_first_line(error)}")
                failed(last, tokens, cost)
                if _is_final(error):
                    raise ModelRefused(f"{self.name}: {last}") from None
                if attempt < sampling.retries:
                    time.sleep(_pause(error, attempt, jitter))
                continue
            except BaseException:
                budget.settle(held, *held)
                raise
            reply = self._reply(response, time.monotonic() - started, attempt)
            budget.settle(held, reply.tokens_in + reply.tokens_out, reply.cost or 0.0)
            return reply
        raise NoReply(f"{self.name}: no reply after {sampling.retries + 1} requests; the last said {last}")

    def _request(self, messages: list[dict[str, str]], sampling: Sampling):
        return self._litellm.completion(
            model=self.name, messages=messages, temperature=sampling.temperature, top_p=sampling.top_p, max_tokens=sampling.max_tokens,
            seed=sampling.seed, timeout=sampling.timeout_s, num_retries=0, max_retries=0, drop_params=True,
        )  # fmt: skip

    def _reply(self, response, seconds: float, attempt: int) -> Reply:
        choices = getattr(response, "choices", None) or []
        text = (choices[0].message.content if choices and choices[0].message else "") or ""
        usage = getattr(response, "usage", None)
        tokens_in, tokens_out = int(getattr(usage, "prompt_tokens", 0) or 0), int(getattr(usage, "completion_tokens", 0) or 0)
        notes = [f"after {attempt} failed requests"] if attempt else []
        if choices and choices[0].finish_reason == "length":
            notes.append("cut off at max_tokens")
        return Reply(without_keys(text), tokens_in, tokens_out, self._cost(tokens_in, tokens_out), seconds, "; ".join(notes))

    def _cost(self, tokens_in: int, tokens_out: int) -> float | None:
        return None if self.price is None else (tokens_in * self.price[0] + tokens_out * self.price[1]) / 1e6

    def _bound(self, messages: list[dict[str, str]], sampling: Sampling) -> tuple[int, float]:
        """Tokens and USD that a request cannot exceed: a token is at least a byte."""
        most_in = sum(len(m["content"].encode()) + PER_MESSAGE for m in messages)
        return most_in + sampling.max_tokens, self._cost(most_in, sampling.max_tokens) or 0.0

    def _known_price(self) -> tuple[float, float] | None:
        with contextlib.suppress(Exception):  # litellm raises whatever it likes for a model that it does not list
            info = self._litellm.get_model_info(self.name)
            cost_in, cost_out = info.get("input_cost_per_token"), info.get("output_cost_per_token")
            if cost_in is not None:
                return 1e6 * cost_in, 1e6 * (cost_out or 0.0)
        return None


def _import_litellm():
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_LOG", "ERROR")
    try:
        import litellm
    except ImportError:
        raise MissingTool("litellm is not installed", hint="pip install 'warploom[llm]'") from None
    litellm.suppress_debug_info = True
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return litellm


_FINAL = {"AuthenticationError", "NotFoundError", "PermissionDeniedError", "UnsupportedParamsError", "BudgetExceededError"}
_FINAL_IF = {"BadRequestError", "InvalidRequestError", "ContextWindowExceededError", "ContentPolicyViolationError", "UnprocessableEntityError"}
_NOT_CHARGED = {"RateLimitError", "ServiceUnavailableError", "BadGatewayError", *_FINAL, *_FINAL_IF}


def _is_final(error: Exception) -> bool:
    """True where asking again cannot help."""
    return type(error).__name__ in _FINAL | _FINAL_IF


def _may_be_charged(error: Exception) -> bool:
    """True where the server may have worked before the connection failed."""
    name, status = type(error).__name__, getattr(error, "status_code", None)
    if name in _NOT_CHARGED:
        return False
    refused = "connection refused" in str(error).lower() or "connect" in type(error.__cause__).__name__.lower()
    return not refused and (name in {"Timeout", "APITimeoutError", "APIConnectionError"} or status in (None, 200))


def _pause(error: Exception, attempt: int, jitter: random.Random) -> float:
    """Seconds before the next request: what the server says, else doubling with jitter."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    with contextlib.suppress(TypeError, ValueError):
        return min(60.0, max(0.0, float(headers.get("retry-after") or "none")))
    return min(30.0, 0.5 * 2**attempt) * (0.5 + jitter.random())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:400]


def secrets() -> list[str]:
    """The values of environment variables whose names say that they are secret, longest first."""
    found = {v for k, v in os.environ.items() if _SECRET_NAME.search(k) and len(v) >= _LEAST_SECRET}
    return sorted(found, key=len, reverse=True)


def without_keys(text: str) -> str:
    """The text with every secret of the environment replaced."""
    for value in secrets():
        text = text.replace(value, "[key]")
    return text
