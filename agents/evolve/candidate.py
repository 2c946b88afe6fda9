"""From a strategy to a program: a `Subject` and a `Strategy` come in, a `Candidate` (planned module, its space, its canonical key) goes out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ...ir.diagnostic import IllegalStep, WarploomError
from ...ir.kernel import Program
from ...ir.module import Launch, Module
from ...ir.text import print_program
from ...passes.decisions import Decisions
from ...passes.pipeline import Options, kernel_key, plan
from ...passes.schedule.script import apply
from ...passes.sketch import sketch
from ..strategy import ANY, GRAPH_MARK, Strategy
from .subject import Subject

Space = dict[str, tuple[int, tuple[int, ...]]]
"""decision -> (the rule's own value, all values worth trying)."""


class NothingNew(WarploomError):
    """The strategy names decisions that this problem does not have. Use those that its space lists."""

    code = "WL-E100"


@dataclass(frozen=True)
class Candidate:
    """`kernels`: role -> launch, in run order; `space`: every decision that was asked on the way."""

    strategy: Strategy
    module: Module
    kernels: Mapping[str, Launch]
    space: Space

    @cached_property
    def key(self) -> str:
        """Equal for equal programs, whatever strategy they came from."""
        texts = [re.sub(r"^def \w+", "def _", print_program(k.program)) + str(k.args) for k in self.kernels.values()]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]

    @property
    def effective(self) -> Strategy:
        """The strategy without decisions that change nothing here; those for a class of kernels or any node stay as they are."""
        choices = {n: v for n, v in self.strategy.choices if ANY in n}
        return self.strategy.with_choices({**choices, **told_apart(dict(self.strategy.choices), self.space)})

    @property
    def scripts(self) -> dict[str, str]:
        """{kernel key: script}: what `compile` needs to make the same kernels."""
        return {kernel_key(k.naive): k.script for k in self.kernels.values()}


def told_apart(choices: Mapping[str, int], space: Space) -> dict[str, int]:
    """Without the decisions that are the rule's own, or that this program does not ask."""
    return {n: v for n, v in sorted(choices.items()) if n in space and v != space[n][0]}


class Workshop:
    """Makes candidates of one subject; plans and sketches are kept, so that equal graphs are planned and equal kernels scheduled once."""

    def __init__(self, subject: Subject):
        self.subject = subject
        self._planned: dict[tuple[tuple[str, int], ...], tuple[Module, Space]] = {}
        self._sketched: dict[tuple[str, str, tuple[tuple[str, int], ...]], tuple[Program, str, Space]] = {}

    def make(self, strategy: Strategy) -> Candidate:
        """Raises IllegalStep, ParseError, NothingNew, NoSchedule."""
        naive, asked = self._plan(_graph_choices(strategy))
        kernels: dict[str, Launch] = {}
        space: Space = dict(asked)
        scripts = dict(strategy.scripts)
        for role, launch in roles(naive.steps):
            made = self._scheduled(role, launch, strategy, scripts, space)
            kernels[role] = made
        module = replace(naive, steps=tuple(kernels.values()))
        self._check_names(strategy, space, kernels)
        return Candidate(strategy, module, kernels, space)

    def _plan(self, choices: dict[str, int]) -> tuple[Module, Space]:
        """The module before scheduling, and what was asked on the way."""
        key = tuple(sorted(choices.items()))
        if key not in self._planned:
            decisions = _Matching(choices)
            naive = plan(self.subject.graph, self.subject.machine, Options(schedule=False, decisions=decisions))
            self._planned[key] = naive, dict(decisions.asked)
        return self._planned[key]

    def _scheduled(self, role: str, launch: Launch, strategy: Strategy, scripts: Mapping[str, str], space: Space) -> Launch:
        given = scripts.get(role) or scripts.get(ANY + launch.kind)
        choices = _kernel_choices(strategy, role, launch.kind)
        key = kernel_key(launch.naive), launch.kind, tuple(sorted(choices.items()))
        if key not in self._sketched:
            draft = sketch(launch.naive, launch.kind, self.subject.machine, choices)
            self._sketched[key] = draft.program, draft.script, dict(draft.asked)
        program, script, asked = self._sketched[key]
        space.update({f"{role}{GRAPH_MARK}{name}": values for name, values in asked.items()})
        if given is not None:
            program, script = apply(launch.naive, given), given
        return replace(launch, program=replace(program, name=launch.program.name), script=script)

    def _check_names(self, strategy: Strategy, space: Space, kernels: Mapping[str, Launch]) -> None:
        known = set(space) | {f"{n.split()[0]} {ANY}" for n in space if GRAPH_MARK not in n}
        own = [n.split(GRAPH_MARK) for n in space if GRAPH_MARK in n]
        known |= {f"{ANY}{kernels[role].kind}{GRAPH_MARK}{name}" for role, name in own}
        wrong = [name for name, _ in strategy.choices if name not in known]
        if wrong and len(wrong) == len(strategy.choices) and not strategy.scripts:
            raise NothingNew(f"there is no decision {wrong[0]!r} here", hint="decisions: " + ", ".join(sorted(space)))
        for kernel, _ in strategy.scripts:
            if kernel not in kernels and not (kernel.startswith(ANY) and any(k.kind == kernel[1:] for k in kernels.values())):
                raise IllegalStep(f"there is no kernel {kernel!r}", hint="kernels: " + ", ".join(kernels))


class _Matching(Decisions):
    """Decisions whose `decision @` answers for every node."""

    def choose(self, name: str, default: int, worth: Iterable[int]) -> int:
        own = super().choose(name, default, worth)
        return own if name in self.choices else self.choices.get(f"{name.split()[0]} {ANY}", own)


def roles(steps: Iterable[object]) -> list[tuple[str, Launch]]:
    """Each launch under a name that does not depend on its place: `matmul`, and `matmul#2` for the next of that name."""
    out: dict[str, Launch] = {}
    for step in steps:
        assert isinstance(step, Launch)
        base = re.sub(r"^k\d+_", "", step.naive.name)
        name, count = base, 1
        while name in out:
            count += 1
            name = f"{base}#{count}"
        out[name] = step
    return list(out.items())


def _graph_choices(strategy: Strategy) -> dict[str, int]:
    return {name: value for name, value in strategy.choices if GRAPH_MARK not in name}


def _kernel_choices(strategy: Strategy, role: str, kind: str) -> dict[str, int]:
    """The decisions of one kernel: those for its class, overruled by its own."""
    out: dict[str, int] = {}
    for prefix in (f"{ANY}{kind}{GRAPH_MARK}", f"{role}{GRAPH_MARK}"):
        out.update({name.removeprefix(prefix): value for name, value in strategy.choices if name.startswith(prefix)})
    return out
