"""A proposer's name, a model's name and the run's state come in, the proposer goes out."""

from __future__ import annotations

from ...ir.diagnostic import WarploomError
from ..evolve.state import State
from ..evolve.subject import Subject
from .builtin import Builtin
from .plain import Hill, Random
from .proposer import Proposer

NAMES = ("builtin", "llm", "mixed")
_PLAIN = {"random": Random, "hill": Hill}


class NoProposer(WarploomError):
    """`--proposer` names none, or one that needs `--model NAME`. The message lists what there is."""

    code = "WL-E085"


def proposer(name: str, model: str | None, state: State, subject: Subject) -> Proposer:
    """Raises NoProposer, MissingExtra."""
    if name == "builtin":
        return Builtin()
    if name in _PLAIN:
        return _PLAIN[name]()
    if name not in NAMES:
        raise NoProposer(f"no proposer {name!r}", hint="one of " + ", ".join((*NAMES, *_PLAIN)))
    raise NoProposer(f"--proposer {name} needs --model NAME")
