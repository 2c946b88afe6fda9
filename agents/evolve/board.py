"""What a run knows at a moment: what proposers see. Individuals in order of their ratio, what was refused and why, bottlenecks of the best."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...ir.machine import Machine
from ..strategy import Strategy
from .bottleneck import Bottleneck
from .candidate import Candidate, Space, Workshop


@dataclass(frozen=True)
class Proposal:
    """A strategy to try; `operator` says how it came about, `parents` are keys of individuals."""

    strategy: Strategy
    operator: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Individual:
    """A measured candidate. `ratio`: its time over the default schedule's in the same rounds."""

    candidate: Candidate
    ratio: float
    kernels: tuple[float, ...] = ()
    operator: str = "default"
    parents: tuple[str, ...] = ()
    generation: int = 0

    @property
    def key(self) -> str:
        return self.candidate.key

    @property
    def choices(self) -> dict[str, int]:
        return dict(self.candidate.strategy.choices)


@dataclass(frozen=True)
class Refusal:
    """A strategy that made no individual, and why: `illegal`, `wrong`, `build` or a code of the judge first."""

    strategy: Strategy
    reason: str
    operator: str = ""


@dataclass
class Board:
    """`known`: strategies from the knowledge base that fit, best first; `hopes`: their decisions here, with the logarithm of the gain that they
    may bring; `forecast`: seconds of a program by the roofline model; `banned`: keys that the judge refused; `poor`: what the roofline model screened."""

    workshop: Workshop
    machine: Machine
    default: Individual
    rng: random.Random
    known: Sequence[Strategy] = ()
    hopes: Sequence[tuple[Mapping[str, int], float]] = ()
    threads: int = 1
    forecast: Callable[[Candidate], float] = lambda c: 1.0
    individuals: dict[str, Individual] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    bottlenecks: list[Bottleneck] = field(default_factory=list)
    seen: set[tuple[object, ...]] = field(default_factory=set)
    generation: int = 0
    banned: set[str] = field(default_factory=set)
    poor: list[Candidate] = field(default_factory=list)

    @property
    def space(self) -> Space:
        """Decisions of the default, and of what the best asks besides."""
        return {**self.default.candidate.space, **self.best.candidate.space}

    @property
    def ranked(self) -> list[Individual]:
        """The fastest first; what the judge refused is left out."""
        alive = [i for i in self.individuals.values() if i.key not in self.banned]
        return sorted(alive, key=lambda i: i.ratio)

    @property
    def best(self) -> Individual:
        return self.ranked[0] if self.individuals else self.default

    def is_new(self, strategy: Strategy) -> bool:
        """Whether a strategy that does the same was not proposed before; it is noted now."""
        if strategy.plan in self.seen:
            return False
        self.seen.add(strategy.plan)
        return True
