"""The proposer without a model: strategies from the knowledge base, then decisions that act on the bottleneck, what helped put together,
what the decisions measured so far promise, crossover and mutation of the fittest.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from ..evolve.board import Board, Individual, Proposal
from ..evolve.bottleneck import weight
from ..evolve.crossover import assembled, composed, crossed
from ..evolve.foreseen import foreseen
from ..evolve.learnt import WORST, Forecast, node_of, promising
from ..evolve.mutation import neighbours, several, steps_changed
from ..strategy import GRAPH_MARK, Strategy
from .proposer import NOTHING, Spent

HELPED = 0.985
ELITE = 6
_TRIES = 40


@dataclass(frozen=True)
class Builtin:
    """`guidance`: decisions are ordered by the roofline; `crossover`: parents are combined. Both can be left out, to see what they give."""

    guidance: bool = True
    crossover: bool = True

    def propose(self, board: Board, want: int) -> list[Proposal]:
        out: list[Proposal] = []
        if board.generation == 0:
            out += self._known(board, want)
            out += self._foreseen(board, (want + 1) // 2) if self.guidance else []
        elif self.crossover:
            out += self._combined(board, max(1, want // 4))
        out += self._structures(board, max(1, want // (5 if board.generation else 10)))
        learnt = want // 3 if board.generation else want // 2 - (len(out) if self.guidance else 0)  # what is foreseen takes its place
        out += self._promising(board, max(1, learnt))
        out += self._varied(board, max(1, want - len(out) - 1))
        out += self._promising(board, max(0, want - len(out) - 1))
        tries = 0
        while len(out) < want and tries < _TRIES * want:
            tries += 1
            if (p := self._random_move(board)) and board.is_new(p.strategy):
                out.append(p)
        return out[: max(want, 1)]

    def spent(self) -> Spent:
        return NOTHING

    def close(self) -> None:
        """Nothing is under way."""

    def _known(self, board: Board, want: int) -> list[Proposal]:
        fits = [s for s in board.known if board.is_new(s)]
        return [Proposal(s, "knowledge", (board.default.key,)) for s in fits[: max(1, want // 3)]]

    def _foreseen(self, board: Board, count: int) -> list[Proposal]:
        """The best by the roofline model alone."""
        found = [s for s in foreseen(board, count, _forecast(board)) if board.is_new(s)]
        return [Proposal(replace(s, bottleneck=_why(board, s.choices[0][0])), "forecast", (board.default.key,)) for s in found]

    def _varied(self, board: Board, count: int) -> list[Proposal]:
        """One decision changed in the best, then in the default; the most promising first."""
        out: list[Proposal] = []
        for parent in dict.fromkeys((board.best.key, board.default.key)):
            base = board.individuals[parent]
            moves = neighbours(base, base.candidate.space)
            if self.guidance:
                moves.sort(key=lambda m: -self._promise(board, m[0]))
            else:
                board.rng.shuffle(moves)
            for name, _, strategy in self._spread(moves):
                if len(out) >= count:
                    return out
                if board.is_new(strategy):
                    out.append(Proposal(replace(strategy, bottleneck=_why(board, name)), "decision", (base.key,)))
        return out

    def _structures(self, board: Board, count: int) -> list[Proposal]:
        """Two decisions about one node of the graph at once: what is packed, padded or computed again may pay only together;
        yes or no before how much."""
        base, out = board.best, []
        asked = [(n, v) for n, (own, worth) in sorted(base.candidate.space.items()) if GRAPH_MARK not in n for v in worth if v != base.choices.get(n, own)]
        pairs = [(a, b) for a, b in itertools.combinations(asked, 2) if a[0] != b[0] and node_of(a[0]) == node_of(b[0])]
        if self.guidance:
            pairs.sort(key=lambda p: -self._promise(board, p[0][0]) - self._promise(board, p[1][0]))
        else:
            board.rng.shuffle(pairs)
        space = base.candidate.space
        pairs.sort(key=lambda p: sum(len(space[n][1]) > 2 for n, _ in p))
        for pair in pairs:
            if len(out) >= count:
                break
            s = Strategy(", ".join(f"{n} = {v}" for n, v in pair)).with_choices({**base.choices, **dict(pair)})
            if board.is_new(s):
                out.append(Proposal(replace(s, bottleneck=_why(board, pair[0][0])), "decision", (base.key,)))
        return out

    def _promising(self, board: Board, count: int) -> list[Proposal]:
        """By what single decisions have done so far."""
        if count <= 0:
            return []
        forecast = _forecast(board) if self.guidance else None
        most = max((self._promise(board, n) for n in board.space), default=0.0) or 1.0

        def promise(name: str) -> float:
            return math.sqrt(self._promise(board, name) / most) if self.guidance else 0.5

        found = promising(board, count, promise, ELITE, self.crossover, forecast)
        return [Proposal(replace(s, bottleneck=_why(board, s.choices[0][0])), "learnt", keys) for s, keys in found]

    def _spread(self, moves: list[tuple[str, int, Strategy]]) -> list[tuple[str, int, Strategy]]:
        """First one value of each decision, then the others."""
        seen: dict[str, int] = {}
        order = []
        for at, move in enumerate(moves):
            seen[move[0]] = seen.get(move[0], -1) + 1
            order.append((seen[move[0]] // 2, at, move))
        return [m for _, _, m in sorted(order, key=lambda o: o[:2])]

    def _promise(self, board: Board, name: str) -> float:
        """By the kernel that the decision is about; for decisions of the graph, by the kernel where they act best."""
        role = name.split(GRAPH_MARK)[0] if GRAPH_MARK in name else None
        about = [b for b in board.bottlenecks if role in (None, b.role)]
        return max((weight(name, b) for b in about), default=0.0)

    # ---- what is known to help ----
    def _combined(self, board: Board, count: int) -> list[Proposal]:
        helped = [i for i in board.ranked if i.ratio < HELPED][: 2 * ELITE]
        out: list[Proposal] = []
        if (made := assembled(board)) and board.is_new(made[0]):
            out.append(Proposal(made[0], "compose", made[1]))
        for size in range(min(len(helped), 5), 1, -1):
            s = composed(helped[:size], f"the best {size} together")
            if board.is_new(s):
                out.append(Proposal(s, "compose", tuple(i.key for i in helped[:size])))
        tries = 0
        while len(out) < count and len(helped) > 1 and tries < _TRIES:
            tries += 1
            a, b = self._tournament(board), self._tournament(board)
            if a.key != b.key and board.is_new(s := crossed(a, b, board.rng)):
                out.append(Proposal(s, "crossover", (a.key, b.key)))
        return out[:count]

    def _tournament(self, board: Board) -> Individual:
        ranked = board.ranked[: 2 * ELITE]
        return min((board.rng.choice(ranked) for _ in range(2)), key=lambda i: i.ratio)

    def _random_move(self, board: Board) -> Proposal | None:
        parent = board.rng.choice(board.ranked[:ELITE])
        if board.rng.random() < 0.6:
            s = several(parent, parent.candidate.space, board.rng, board.rng.choice((1, 2, 3)))
            return Proposal(s, "mutation", (parent.key,))
        heavy = [b.role for b in board.bottlenecks if b.share > 0.1 and b.role in parent.candidate.kernels]
        role = board.rng.choice(heavy or sorted(parent.candidate.kernels))
        s = steps_changed(parent, role, board.rng, board.machine.lanes)
        return Proposal(s, "steps", (parent.key,)) if s else None


def _forecast(board: Board) -> Forecast:
    """What the roofline model says of a program relative to the default schedule."""
    usual = board.forecast(board.default.candidate)
    return lambda c: max(-WORST, min(WORST, math.log(board.forecast(c) / usual)))


def _why(board: Board, name: str) -> str:
    """The bottleneck that a decision answers to, in words."""
    role = name.split(GRAPH_MARK)[0] if GRAPH_MARK in name else None
    return next((b.words() for b in board.bottlenecks if role in (None, b.role)), "")
