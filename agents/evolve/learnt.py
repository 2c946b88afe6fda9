"""What single decisions have done so far: measured individuals come in; strategies near the fittest, ordered by what they promise, go out.

The logarithm of a program's time is taken to be a sum over its decisions (and over pairs of decisions about one kernel or node) and, with guidance, of
what the roofline model says, fitted by ridge regression; each proposal is the best of many draws under one sample of the fitted sum's posterior, so that what is unknown is tried
as often as it may be best (Thompson 1933; Russo et al., A Tutorial on Thompson Sampling, 2018).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ...ir.diagnostic import WarploomError
from ..strategy import GRAPH_MARK, Strategy
from .board import Board, Individual
from .candidate import Candidate, Space, told_apart

NOISE, HOPE_NOISE = 0.06, 0.15
"""Of a logarithm of a time that the sum does not explain: of one measured here, and of what a similar problem lets hope for."""
WORST = 0.5
"""Slower is as good as this: how much worse does not matter."""
DRAWS, FAR = 150, 50
"""Of a proposal: strategies near the fittest, and strategies anywhere."""
MADE = 4
"""The best of the draws for a proposal that are made into programs; the roofline model chooses each proposal among those of all."""
FORECAST, DOUBT = 0.85, 0.3
"""How much of the model's logarithm comes true, and how much that may differ from problem to problem."""
Choices = dict[str, int]
Forecast = Callable[[Candidate], float]
"""The logarithm of a program's time over the default schedule's, by the roofline model."""
Feature = tuple[tuple[str, int], ...]
MODEL: Feature = ()
"""In the place of decisions: what the roofline model says."""


def features(choices: Mapping[str, int]) -> list[Feature]:
    """Each decision, and each pair of decisions about one node or one kernel."""
    made = sorted(choices.items())
    pairs = [(a, b) for a, b in itertools.combinations(made, 2) if place_of(a[0]) == place_of(b[0])]
    return [*((c,) for c in made), *pairs]


def node_of(name: str) -> str:
    """The node that a decision of the graph is about."""
    return name.split()[-1]


def place_of(name: str) -> str:
    """The kernel that a decision is about, or the node of the graph."""
    return name.split(GRAPH_MARK)[0] + GRAPH_MARK if GRAPH_MARK in name else node_of(name)


class Learnt:
    """The fitted sum. `promise`: decision -> how much it may do (1: as much as any), which is how wide its effect is taken to be; `forecast`:
    the roofline model, where it takes part."""

    def __init__(self, board: Board, promise: Callable[[str], float], forecast: Forecast | None = None):
        told = [(i.candidate, i.ratio) for i in board.individuals.values()] + [(c, math.inf) for c in board.poor]
        plain = [(c, ratio) for c, ratio in told if not c.strategy.scripts]
        rows = [(features(told_apart(dict(c.strategy.choices), {**board.space, **c.space})), math.log(ratio), NOISE) for c, ratio in plain]
        rows += [(features(told_apart(c, board.space)), -worth, HOPE_NOISE) for c, worth in board.hopes]
        said = np.zeros(len(rows))
        if forecast:
            said[: len(plain)] = [forecast(c) for c, _ in plain]
        self.places = {f: n for n, f in enumerate(dict.fromkeys((MODEL, *(f for fs, _, _ in rows for f in fs))))}
        self.promise = promise
        x = np.zeros((len(rows), len(self.places)))
        for r, (fs, _, _) in enumerate(rows):
            x[r, [self.places[f] for f in fs]] = 1.0
        x[:, self.places[MODEL]] = said
        y = np.array([min(WORST, value) for _, value, _ in rows]) - FORECAST * said  # inf where it was screened
        weights = np.array([1 / noise**2 for _, _, noise in rows])
        prior = np.array([1 / (self.width(f) if f else DOUBT) ** 2 for f in self.places])
        precision = (x.T * weights) @ x + np.diag(prior)
        self.mean = np.linalg.solve(precision, (x.T * weights) @ y)
        self.root = np.linalg.cholesky(np.linalg.inv(precision))

    def width(self, f: Feature) -> float:
        """Standard deviation of an effect before anything is known of it."""
        most = max(self.promise(name) for name, _ in f)
        within = len(f) > 1 and GRAPH_MARK in f[0][0]
        return 0.02 + 0.06 * most if within else 0.03 + 0.12 * most

    def sample(self, rng: np.random.Generator) -> tuple[Callable[[Mapping[str, int]], float], float]:
        """One draw of all effects: a function from decisions to the logarithm of a time, and how much of the model's word comes true."""
        known = self.mean + self.root @ rng.standard_normal(len(self.places))
        unknown: dict[Feature, float] = {}

        def value(choices: Mapping[str, int]) -> float:
            total = 0.0
            for f in features(choices):
                if f in self.places:
                    total += known[self.places[f]]
                elif len(f) == 1:
                    total += unknown.setdefault(f, self.width(f) * rng.standard_normal())
            return float(total)

        return value, FORECAST + float(known[self.places[MODEL]])


def promising(
    board: Board, count: int, promise: Callable[[str], float], elite: int, crossover: bool, forecast: Forecast | None = None
) -> list[tuple[Strategy, tuple[str, ...]]]:
    """New strategies with their parents, each the best of many draws under a sample of what was learnt; with the roofline model each is the best of
    all that were drawn for any, by what its own sample and the model say together."""
    learnt = Learnt(board, promise, forecast)
    rng = np.random.default_rng(board.rng.getrandbits(63))
    parents, out = board.ranked[:elite], []
    if forecast is None:
        for _ in range(4 * count):
            drawn = _drawn(board, learnt.sample(rng)[0], parents, crossover, 1)
            out += [d for d in drawn if len(out) < count and board.is_new(d[0])]
        return out
    samples = [learnt.sample(rng) for _ in range(count)]
    said = _said(board, [d for value, _ in samples for d in _drawn(board, value, parents, crossover, MADE)], forecast)
    for value, trust in samples:
        ranked = sorted(said, key=lambda d: value(dict(d[0].choices)) + trust * d[2])
        best = next((d for d in ranked if board.is_new(d[0])), None)
        if best:
            said.remove(best)
            out.append(best[:2])
    return out


Drawn = tuple[Strategy, tuple[str, ...]]
"""A strategy, and keys of the parents."""


def _drawn(board: Board, value: Callable[[Mapping[str, int]], float], parents: list[Individual], crossover: bool, count: int) -> list[Drawn]:
    """The best of many draws that are not the same strategy."""
    space = board.space
    drawn = [near(parents, space, board.rng, crossover) for _ in range(DRAWS)]
    drawn += [far(board.default, space, board.rng) for _ in range(FAR)]
    different = {tuple(sorted(choices.items())): (choices, keys) for choices, keys in drawn if choices}
    best = sorted(different.values(), key=lambda d: value(d[0]))[:count]
    return [(Strategy(named(choices)).with_choices(choices), keys) for choices, keys in best]


def _said(board: Board, drawn: Iterable[Drawn], forecast: Forecast) -> list[tuple[Strategy, tuple[str, ...], float]]:
    """What the model says of each program that was not measured yet; a strategy that makes none is left out."""
    seen, out = set(board.individuals), []
    for strategy, keys in drawn:
        try:
            made = board.workshop.make(strategy)
        except WarploomError:
            continue
        if made.key not in seen:
            seen.add(made.key)
            out.append((strategy, keys, forecast(made)))
    return out


def near(parents: list[Individual], space: Space, rng: random.Random, crossover: bool) -> tuple[Choices, tuple[str, ...]]:
    """A parent, or two put together kernel by kernel, with up to three decisions drawn anew."""
    first = parents[min(rng.randrange(len(parents)), rng.randrange(len(parents)))]
    choices, keys = first.choices, (first.key,)
    if crossover and len(parents) > 1 and rng.random() < 0.3:
        other = rng.choice(parents)
        choices, keys = joined(choices, other.choices, rng), (first.key, other.key)
    asked = {**space, **first.candidate.space}
    names = sorted(n for n, (_, worth) in asked.items() if len(worth) > 1)
    for name in rng.sample(names, min(len(names), rng.choice((0, 1, 1, 2, 2, 3)))):
        choices[name] = rng.choice(asked[name][1])
    return told_apart(choices, asked), keys


def far(default: Individual, space: Space, rng: random.Random) -> tuple[Choices, tuple[str, ...]]:
    """Any part of all decisions drawn anew: what pays only together is not found one by one."""
    part = rng.random()
    names = [n for n in sorted(space) if len(space[n][1]) > 1]
    return told_apart({n: rng.choice(space[n][1]) for n in names if rng.random() < part}, space), (default.key,)


def joined(mine: Mapping[str, int], other: Mapping[str, int], rng: random.Random) -> Choices:
    """Decisions of either, those of one kernel or one node together."""
    takes: dict[str, bool] = {}
    out: Choices = {}
    for name in sorted({*mine, *other}):
        source = mine if takes.setdefault(place_of(name), rng.random() < 0.5) else other
        if name in source:
            out[name] = source[name]
    return out


def named(choices: Mapping[str, int]) -> str:
    """A strategy's name from its decisions."""
    return ", ".join(f"{n} = {v}" for n, v in choices.items())[:80] or "the default schedule"
