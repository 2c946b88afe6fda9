"""The interface of all proposers: a `Board` comes in, proposals go out. A proposer that has nothing left says so with an empty list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..evolve.board import Board, Proposal


@dataclass(frozen=True)
class Spent:
    """What a proposer has used up of the budgets that are not time."""

    tokens: int = 0
    cost_usd: float = 0.0
    calls: int = 0


class Proposer(Protocol):
    """`propose` is a function of the board (its generator included) and of what the state was told: it must not depend on time."""

    def propose(self, board: Board, want: int) -> list[Proposal]:
        """About `want` proposals; fewer where there is nothing more to propose."""
        ...

    def spent(self) -> Spent:
        """Used so far."""
        ...

    def close(self) -> None:
        """The run is over: what is under way is settled, so that `spent` is all of it."""
        ...


NOTHING = Spent()
