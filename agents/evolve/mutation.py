"""An individual comes in, strategies near it go out: one decision changed, or a number, a step or the order of steps of one script."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from ...ir.diagnostic import ParseError
from ...passes.schedule.script import parse_script, print_step
from ..strategy import Strategy
from .board import Individual
from .candidate import Space
from .crossover import repaired


def with_decision(parent: Individual, name: str, value: int) -> Strategy:
    """The parent's strategy with one more decision. A script of the kernel that was written by hand gives way to the sketch."""
    kernel = name.split("/")[0] if "/" in name else ""
    scripts = tuple((k, s) for k, s in parent.candidate.strategy.scripts if k != kernel and kernel)
    strategy = Strategy(f"{name} = {value}", scripts=scripts)
    return strategy.with_choices({**parent.choices, name: value})


def neighbours(parent: Individual, space: Space) -> list[tuple[str, int, Strategy]]:
    """(decision, value, strategy) of all strategies that differ in one decision."""
    out = []
    for name, (own, worth) in sorted(space.items()):
        now = parent.choices.get(name, own)
        out += [(name, v, with_decision(parent, name, v)) for v in worth if v != now]
    return out


def several(parent: Individual, space: Space, rng: random.Random, count: int) -> Strategy:
    """So many decisions drawn anew."""
    choices = parent.choices
    names = [n for n in sorted(space) if len(space[n][1]) > 1]
    for name in rng.sample(names, min(count, len(names))):
        choices[name] = rng.choice(space[name][1])
    return replace(parent.candidate.strategy, name=f"{count} decisions anew").with_choices(choices)


def steps_changed(parent: Individual, role: str, rng: random.Random, lanes: int) -> Strategy | None:
    """The script of one kernel with a number, a step or the order of two steps changed, repaired; None where nothing came of it."""
    launch = parent.candidate.kernels[role]
    try:
        steps = [print_step(s) for s in parse_script(launch.script)]
    except ParseError:
        return None
    if not steps:
        return None
    how = rng.choice(("number", "number", "number", "drop", "swap", "unroll"))
    changed = {"number": _number, "drop": _drop, "swap": _swap, "unroll": _unroll}[how](steps, rng, lanes)
    script = repaired(launch.naive, changed)
    if script == launch.script or not script:
        return None
    scripts = {**dict(parent.candidate.strategy.scripts), role: script}
    return replace(Strategy(f"{how} in {role}").with_choices(parent.choices), scripts=tuple(sorted(scripts.items())))


def _number(steps: list[str], rng: random.Random, lanes: int) -> list[str]:
    """One size of a split halved, doubled, or a vector (or a row) more or less."""
    places = [(k, m) for k, s in enumerate(steps) for m in [re.match(r"split\((\w+), (\d+)", s)] if m]
    if not places:
        return steps
    k, m = rng.choice(places)
    size = int(m[2])
    more = lanes if size % lanes == 0 else 1
    new = rng.choice([n for n in (2 * size, size // 2, size + more, size - more) if n >= 1])
    return [*steps[:k], f"split({m[1]}, {new}" + steps[k][m.end() :], *steps[k + 1 :]]


def _drop(steps: list[str], rng: random.Random, lanes: int) -> list[str]:
    k = rng.randrange(len(steps))
    return steps[:k] + steps[k + 1 :]


def _swap(steps: list[str], rng: random.Random, lanes: int) -> list[str]:
    if len(steps) < 2:
        return steps
    k = rng.randrange(len(steps) - 1)
    return [*steps[:k], steps[k + 1], steps[k], *steps[k + 2 :]]


def _unroll(steps: list[str], rng: random.Random, lanes: int) -> list[str]:
    """A loop over tiles cut by two or four, and that written out."""
    outer = sorted({m[1] for s in steps for m in [re.match(r"split\((\w+),", s)] if m})
    if not outer:
        return steps
    axis = rng.choice(outer) + "0"
    return [*steps, f"split({axis}, {rng.choice((2, 4))}, tail=cut)", f"bind({axis}1, unroll)"]
