"""What evolution is compared with: random search (every decision drawn anew) and hill climbing (one decision of the best, in any order)."""

from __future__ import annotations

from dataclasses import dataclass

from ..evolve.board import Board, Proposal
from ..evolve.mutation import neighbours
from ..strategy import merged
from .proposer import NOTHING, Spent

_TRIES = 60


@dataclass(frozen=True)
class Random:
    """Each decision of the default's space uniformly among its values."""

    def propose(self, board: Board, want: int) -> list[Proposal]:
        out: list[Proposal] = []
        space = board.default.candidate.space
        for _ in range(_TRIES * want):
            if len(out) >= want:
                break
            s = merged("drawn", ((n, board.rng.choice(space[n][1])) for n in sorted(space)))
            if board.is_new(s):
                out.append(Proposal(s, "random", (board.default.key,)))
        return out

    def spent(self) -> Spent:
        return NOTHING

    def close(self) -> None:
        """Nothing is under way."""


@dataclass(frozen=True)
class Hill:
    """Neighbours of the best in any order."""

    def propose(self, board: Board, want: int) -> list[Proposal]:
        moves = neighbours(board.best, board.best.candidate.space)
        board.rng.shuffle(moves)
        fresh = [s for _, _, s in moves if board.is_new(s)]
        return [Proposal(s, "hill", (board.best.key,)) for s in fresh[:want]]

    def spent(self) -> Spent:
        return NOTHING

    def close(self) -> None:
        """Nothing is under way."""
