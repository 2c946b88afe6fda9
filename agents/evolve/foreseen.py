"""The best programs by the roofline model alone, before anything was measured: a board comes in, strategies go out, the fastest forecast first.

Every decision by itself, then the promising ones put together one after the other, then changes of what was found: coordinate descent over
forecasts, which costs planning but no measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...ir.diagnostic import WarploomError
from ..strategy import GRAPH_MARK, Strategy
from .board import Board
from .candidate import Candidate, told_apart
from .learnt import named, near

MADE = 100
"""Programs that are made for it."""
GAIN = 0.01
"""Of the logarithm of a time: less is within what the model cannot tell apart."""


@dataclass
class _Foresight:
    board: Board
    forecast: Callable[[Candidate], float]
    left: int
    told: dict[tuple[tuple[str, int], ...], float] = field(default_factory=dict)
    programs: dict[str, tuple[float, dict[str, int]]] = field(default_factory=dict)
    """By key: the forecast, and the first strategy that makes it."""

    def of(self, choices: Mapping[str, int]) -> float:
        """The logarithm of a forecast relative to the default schedule; infinite where nothing can be made of it, or no more shall be."""
        plan = tuple(sorted(choices.items()))
        if plan not in self.told:
            self.told[plan] = self._made(dict(choices))
        return self.told[plan]

    def _made(self, choices: dict[str, int]) -> float:
        if self.left <= 0:
            return math.inf
        self.left -= 1
        try:
            made = self.board.workshop.make(Strategy(named(choices)).with_choices(choices))
        except WarploomError:
            return math.inf
        told = self.forecast(made)
        if made.key not in self.programs and made.key not in self.board.individuals:
            self.programs[made.key] = told, told_apart(choices, {**self.board.space, **made.space})
        return told


def foreseen(board: Board, count: int, forecast: Callable[[Candidate], float]) -> list[Strategy]:
    """At most `count` strategies, none forecast to be slower than the default schedule, no two told apart by a single decision."""
    f = _Foresight(board, forecast, MADE)
    singles = sorted((f.of({name: value}), name, value) for name, value in _moves(board))
    best: dict[str, int] = {}
    for worth, name, value in singles:
        if worth > -GAIN:
            break
        if name not in best and f.of({**best, name: value}) < f.of(best) - GAIN:
            best[name] = value
    space = board.space
    while f.left > 0 and space:
        choices, _ = near([board.default], space, board.rng, False)
        mixed = {**best, **choices}
        before = f.left
        if f.of(mixed) < f.of(best) - GAIN:
            best = mixed
        if f.left == before:
            f.left -= 1  # nothing new was drawn
    return [Strategy(named(c)).with_choices(c) for c in _apart([c for told, c in sorted(f.programs.values(), key=lambda p: p[0]) if c and told < 0], count)]


def _apart(ranked: Sequence[dict[str, int]], count: int) -> list[dict[str, int]]:
    """The first of a ranking of which no two are told apart by a single decision: a measurement of one says much of the other."""
    out: list[dict[str, int]] = []
    for choices in ranked:
        if len(out) < count and all(len({n for n, _ in choices.items() ^ other.items()}) > 1 for other in out):
            out.append(choices)
    return out


def _moves(board: Board) -> list[tuple[str, int]]:
    """Every other value of every decision, graph decisions first: they change most; at most two thirds of what may be made."""
    moves = [(n, v) for n, (own, worth) in sorted(board.space.items(), key=lambda d: (GRAPH_MARK in d[0], d[0])) for v in worth if v != own]
    if len(moves) > 2 * MADE // 3:
        moves = sorted(board.rng.sample(moves, 2 * MADE // 3))
    return moves
