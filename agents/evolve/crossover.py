"""Two parents come in, a child strategy goes out: decisions of either, and steps of both scripts, repaired for legality."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from ...ir.diagnostic import IllegalProgram, IllegalStep, ParseError
from ...ir.kernel import Program
from ...passes.schedule.script import apply, parse_script, print_step
from ..strategy import GRAPH_MARK, Strategy
from .board import Board, Individual
from .candidate import Candidate


def crossed(a: Individual, b: Individual, rng: random.Random) -> Strategy:
    """Each decision from the parent drawn for its kernel, decisions of the graph each on its own; a kernel whose script one of the parents
    wrote by hand gets steps of both."""
    mine, other = a.choices, b.choices
    takes: dict[str, bool] = {}
    child: dict[str, int] = {}
    for name in sorted({*mine, *other}):
        place = name.split(GRAPH_MARK)[0] if GRAPH_MARK in name else name
        source = mine if takes.setdefault(place, rng.random() < 0.5) else other
        if name in source:
            child[name] = source[name]
    scripts = dict(a.candidate.strategy.scripts) | dict(b.candidate.strategy.scripts)
    for role in list(scripts):
        one, two = _script(a.candidate, role), _script(b.candidate, role)
        if one is not None and two is not None and one != two:
            scripts[role] = spliced(a.candidate.kernels[role].naive, one, two, rng)
    made = Strategy(f"cross of {a.key[:6]} and {b.key[:6]}", scripts=tuple(sorted(scripts.items())))
    return made.with_choices(child)


def composed(parts: list[Individual], name: str) -> Strategy:
    """All decisions of several individuals, the earlier ones first in a conflict."""
    choices: dict[str, int] = {}
    scripts: dict[str, str] = {}
    for p in parts:
        choices = {**p.choices, **choices}
        scripts = {**dict(p.candidate.strategy.scripts), **scripts}
    return replace(Strategy(name).with_choices(choices), scripts=tuple(sorted(scripts.items())))


def assembled(board: Board) -> tuple[Strategy, tuple[str, ...]] | None:
    """Each kernel of the best as it ran fastest in any individual that has it; None where that is the best itself."""
    best = board.best
    choices = {n: v for n, v in best.choices.items() if GRAPH_MARK not in n}
    scripts: dict[str, str] = {}
    parents = [best.key]
    for role, launch in best.candidate.kernels.items():
        having = [i for i in board.ranked if role in i.candidate.kernels and i.kernels and i.candidate.kernels[role].naive == launch.naive]
        own = min(having, key=lambda i: (seconds_in(i, role), i.key), default=best)
        parents.append(own.key)
        choices |= {n: v for n, v in own.choices.items() if n.startswith(role + GRAPH_MARK)}
        scripts |= {r: s for r, s in own.candidate.strategy.scripts if r == role}
    if set(parents) == {best.key}:
        return None
    made = Strategy("each kernel as it ran fastest", scripts=tuple(sorted(scripts.items())))
    return made.with_choices(choices), tuple(dict.fromkeys(parents))


def seconds_in(i: Individual, role: str) -> float:
    """Time of one kernel over the default schedule's whole time."""
    whole = sum(i.kernels)
    return i.ratio * i.kernels[list(i.candidate.kernels).index(role)] / whole if whole else math.inf


def _script(candidate: Candidate, role: str) -> str | None:
    return candidate.kernels[role].script if role in candidate.kernels else None


def spliced(naive: Program, one: str, two: str, rng: random.Random) -> str:
    """The first steps of one script and the last of the other; steps that do not apply any more are left out."""
    first, second = parse_script(one), parse_script(two)
    cut = rng.randint(0, len(first))
    rest = second[min(cut, len(second)) :] if rng.random() < 0.5 else [s for s in second if s not in first[:cut]]
    return repaired(naive, [print_step(s) for s in (*first[:cut], *rest)])


def repaired(naive: Program, steps: list[str]) -> str:
    """The steps that apply, in order; each is legal on the program that the ones before it made."""
    program, kept = naive, []
    for step in steps:
        try:
            program = apply(program, step)
        except (IllegalStep, IllegalProgram, ParseError):
            continue
        kept.append(step)
    return "; ".join(kept)
