"""The built-in proposer fills the time while the model thinks: both come in, proposals of whichever has some go out.

When an answer arrived is part of what the run was told, so that a replay takes it at the same point.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from ..evolve.board import Board, Proposal
from ..evolve.state import State
from .builtin import Builtin
from .llm import PATIENCE, Llm, read_answer
from .proposer import Spent

LAST_WAIT = 10.0
"""Seconds."""


@dataclass
class Mixed:
    """`llm` is asked in a thread of its own, one request at a time."""

    llm: Llm
    state: State
    builtin: Builtin = field(default_factory=Builtin)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="model"))
    _asked: Future | None = None
    _number: int = 0

    def propose(self, board: Board, want: int) -> list[Proposal]:
        arrived = self._arrived(board)
        return [*arrived, *self.builtin.propose(board, max(1, want - len(arrived)))]

    def spent(self) -> Spent:
        return self.llm.spent()

    def _arrived(self, board: Board) -> list[Proposal]:
        """The answer of this generation, where the record or the thread has one."""
        key = str(board.generation)
        told = self.state.ask("arrival", [key], lambda keys: {keys[0]: {"answer": self._ready()}})[key]
        out: list[Proposal] = []
        if told["answer"]:
            text = self.llm.taken(self._asked.result() if self._asked else None)
            self._asked = None
            out = [Proposal(s, "llm", (board.best.key,)) for s in read_answer(text)[0] if board.is_new(s)]
            self.llm.note(bool(out))
        if self._asked is None and self.llm.empty < PATIENCE and not self.state.replaying:
            self._asked = self._pool.submit(self.llm.request, self.llm.prompt(board, "strategist" if not self.llm.calls else "reviser", 4))
        return out

    def _ready(self) -> bool:
        return self._asked is not None and self._asked.done()

    def close(self) -> None:
        """An answer that is still coming is waited for a little and paid for, used or not."""
        if self._asked is not None:
            with contextlib.suppress(TimeoutError):
                self.llm.taken(self._asked.result(LAST_WAIT))
                self._asked = None
        self._pool.shutdown(wait=False, cancel_futures=True)
