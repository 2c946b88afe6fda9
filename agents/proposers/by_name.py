"""A proposer's name, a model's name and the run's state come in, the proposer goes out."""

from __future__ import annotations

from ...ir.diagnostic import WarploomError
from ..evolve.state import State
from .builtin import Builtin
from .plain import Hill, Random
from .proposer import Proposer

NAMES = ("builtin", "llm", "mixed")
_PLAIN = {"random": Random, "hill": Hill}


class NoProposer(WarploomError):
    """`--proposer` names none, or one that needs `--model NAME`. The message lists what there is."""

    code = "WL-E085"


def proposer(name: str, model: str | None, state: State, task: str, tokens: int = 0, cost_usd: float = 0.0, seconds: float = 1e9) -> Proposer:
    """`task`: the problem's source; `tokens`, `cost_usd`: bounds for the model (0: none); `seconds` of the run. Raises NoProposer, MissingTool."""
    if name == "builtin":
        return Builtin()
    if name in _PLAIN:
        return _PLAIN[name]()
    if name not in NAMES:
        raise NoProposer(f"no proposer {name!r}", hint="one of " + ", ".join((*NAMES, *_PLAIN)))
    if not model:
        raise NoProposer(f"--proposer {name} needs --model NAME")
    from ..llm import Budget, Litellm
    from .llm import Llm
    from .mixed import Mixed

    llm = Llm(Litellm(model), state, task, Budget(cost_usd or None, tokens or None), seconds=seconds)
    return llm if name == "llm" else Mixed(llm, state)
