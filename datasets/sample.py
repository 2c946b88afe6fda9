"""Which program comes next: a seed, a number and what was drawn before come in, a new Program goes out.

Sampling is a function of the seed and of earlier draws: a resumed build draws what the killed one would have drawn. Coverage steers it: operators
that are rare so far are likelier, and of a few programs the one goes on that has most of what is rare: operators, which reads which, how memory is
read, what is computed, shapes. Programs equal up to renaming to an earlier one are drawn again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..frontend.operators.operator import Given, Operator, Pick
from ..frontend.operators.shapes import draw_shape
from ..frontend.operators.table import OPERATORS
from ..frontend.operators.trace import trace
from ..ir.diagnostic import WarploomError
from ..ir.graph import Extern, Graph, Random
from .augment import grown, mutated
from .dedup import Keys, keys_of
from .features import accesses_of, features_of
from .program import Program, used
from .sources import Sources, part
from .state import Drawn

MOST_ACCESSES = 3e7
"""Of a run: what the emulator does in about a second."""
MOST_IN_FAMILY = 4
KINDS = {"operator": 0.42, "grown": 0.36, "mutated": 0.15, "model": 0.07}
"""Shares of how programs are made; without models theirs goes to growth."""
CANDIDATES = 3
"""Programs that are drawn for each that goes on."""
_TRIES = 60
_TURNS = 8
"""Draws after which another kind and smaller shapes are tried."""


@dataclass
class Coverage:
    """How often each operator, family and trait of a program was drawn."""

    operators: Counter[str] = field(default_factory=Counter)
    traits: Counter[str] = field(default_factory=Counter)
    families: Counter[str] = field(default_factory=Counter)
    same: set[str] = field(default_factory=set)
    parents: list[Program] = field(default_factory=list)

    def add(self, drawn: Drawn) -> None:
        """Count one more."""
        self.operators.update(drawn.program.operators)
        self.traits.update(traits(drawn))
        self.families[drawn.keys.family] += 1
        self.same.add(drawn.keys.same)
        self.parents.append(drawn.program)

    def gain(self, drawn: Drawn) -> float:
        """How rare a program's traits are; long programs do not win by their length alone."""
        found = traits(drawn)
        return sum(1.0 / (1 + self.traits[t]) ** 2 for t in found) / max(1, len(found)) ** 0.5

    def rare(self, rng: np.random.Generator, operators: Iterable[Operator]) -> Operator:
        """An operator, likelier the rarer it is so far."""
        choices = list(operators)
        weights = np.array([1.0 / (1 + self.operators[o.name]) ** 2 for o in choices])
        return choices[int(rng.choice(len(choices), p=weights / weights.sum()))]


def traits(drawn: Drawn) -> set[str]:
    """What coverage counts of a program."""
    f = drawn.features
    lists = [f"{name} {x}" for name in ("patterns", "memory", "functions", "shapes") for x in f[name]]  # type: ignore[union-attr,attr-defined]
    return {*(f"operator {o}" for o in drawn.program.operators), *lists, f"kinds {f['kinds']}", f"outputs {f['outputs']}", f"depth {f['depth']}"}


@dataclass(frozen=True)
class Proposal:
    """A program that is new; `skipped`: why others were drawn before it."""

    drawn: Drawn
    skipped: Mapping[str, int]


class Exhausted(WarploomError):
    """No new program was found in many draws: all are equal to earlier ones. Ask for fewer pairs or another seed."""

    code = "WL-E115"
    exit_code = 1


def propose(seed: int, number: int, coverage: Coverage, sources: Sources | None = None) -> Proposal:
    """The program of this number: of CANDIDATES new ones the one that adds most. Raises Exhausted."""
    sources = sources or Sources()
    rng = np.random.Generator(np.random.PCG64([seed, number]))
    skipped: Counter[str] = Counter()
    found: list[Drawn] = []
    kind = ""
    for turn in range(_TRIES):
        if turn % _TURNS == 0 and not found:
            kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))  # all that compete are of one kind: each keeps its share
        made = _attempt(kind, rng, coverage, sources, 0.5 ** (turn // _TURNS))
        if isinstance(made, str):
            skipped[made] += 1
            continue
        keys = keys_of(made.graph)
        why = "in a benchmark" if sources.avoids(made, keys) else _unwanted(made.graph, keys, coverage)
        if why:
            skipped[why] += 1
            continue
        found.append(Drawn(number, made, keys, features_of(made.graph)))
        if len(found) == CANDIDATES:
            break
    if not found:
        raise Exhausted(f"no new program in {_TRIES} draws: {', '.join(f'{w} {n}' for w, n in skipped.most_common(3))}")
    return Proposal(max(found, key=coverage.gain), skipped)


def _unwanted(graph: Graph, keys: Keys, coverage: Coverage) -> str:
    if keys.same in coverage.same:
        return "equal to an earlier one"
    if coverage.families[keys.family] >= MOST_IN_FAMILY:
        return "its family is full"
    if accesses_of(graph) > MOST_ACCESSES:
        return "too large"
    types = graph.types()
    if len(set(graph.outputs)) < len(graph.outputs) or any(not types[o].shape and len(graph.nodes) < 1 for o in graph.outputs):
        return "outputs share memory"
    return ""


def _attempt(kind: str, rng: np.random.Generator, coverage: Coverage, sources: Sources, scale: float) -> Program | str:
    """A program of the kind, or why there is none this time."""
    pick = Pick(rng, scale)

    def choose(operators: Iterable[Operator]) -> Operator:
        return coverage.rare(rng, (o for o in operators if not sources.operators or o.name in sources.operators))

    try:
        if kind == "operator":
            made = one_operator(choose(OPERATORS.values()), pick)
        elif kind == "model" and sources.models:
            made = part(pick, pick.of(*sources.models))
        elif kind in ("grown", "model"):
            made = grown(pick, choose)
        else:
            made = mutated(pick, coverage.parents, choose)
    except WarploomError as error:
        return f"{kind}: {error.code}"
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return f"{kind}: shapes do not go together"
    if made is None:
        return f"{kind}: no parameters fit"
    if any(isinstance(n.op, (Extern, Random)) for n in made.graph.nodes):
        return f"{kind}: not ours to compile"
    return made


def one_operator(operator: Operator, pick: Pick) -> Program | None:
    """A program of one operator with drawn shape and parameters; None where none fit."""
    shape = draw_shape(pick, operator.takes)
    call = operator.call(pick, shape)
    if call is None:
        return None
    given = (call.first or Given("x", shape), *call.more)
    graph = trace(call.function, given, operator.name)
    params = tuple((f"{operator.name}.{k}", str(v)) for k, v in call.params)
    return Program(graph, used(graph, given), operator.category, (operator.name,), params)
