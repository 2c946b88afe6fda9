"""A schedule under construction: a program and steps go in, the script of those that applied comes out.

Where a rule decides on a number (a width, a tile, yes or no), it asks `Draft.choose`: the rule's own value unless the caller gave another.
What was asked is kept with the values worth trying, so that running a sketch once tells its space.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..ir.diagnostic import IllegalProgram, IllegalStep
from ..ir.expr import Expr, Var, affine, simplify, walk
from ..ir.kernel import Body, Buffer, For, Program, statements
from ..ir.machine import Machine
from .indexing import ravel
from .schedule.script import apply

Choices = dict[str, int]
"""Name of a decision -> the value taken."""


@dataclass
class Draft:
    """A program under construction; `script` is the text of the steps applied so far.

    `choices`: decisions made by the caller. `asked`: decision -> (the rule's own value, all values worth trying).
    """

    program: Program
    machine: Machine
    steps: list[str] = field(default_factory=list)
    choices: Mapping[str, int] = field(default_factory=dict)
    asked: dict[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)

    def choose(self, name: str, default: int, worth: Iterable[int]) -> int:
        """The caller's value for the decision, else `default`; `worth`: values worth trying."""
        values = dict.fromkeys((default, *worth))
        known = self.asked.get(name, (default, ()))
        self.asked[name] = known[0], tuple(dict.fromkeys((*known[1], *values)))
        return self.choices.get(name, default)

    @property
    def script(self) -> str:
        return "; ".join(self.steps)

    def step(self, text: str) -> None:
        """Apply one step; raises IllegalStep. Steps whose own precondition is enough are not verified one by one."""
        whole = text.startswith(("bind", "unguard", "set_space", "stage", "accumulate")) and "unroll" not in text
        self.program = apply(self.program, text, check=whole)
        self.steps.append(text)

    def attempt(self, *texts: str) -> bool:
        """Apply all steps or none."""
        before, count = self.program, len(self.steps)
        try:
            for t in texts:
                self.step(t)
        except (IllegalStep, IllegalProgram):
            self.program, self.steps = before, self.steps[:count]
            return False
        return True

    def loops(self) -> list[For]:
        return [s for s in statements(self.program.body) if isinstance(s, For)]

    def fresh(self, base: str) -> str:
        """An axis name that is not in use."""
        taken = {loop.axis for loop in self.loops()} | set(self.program.buffers())
        return next(n for n in (base, *(f"{base}{k}" for k in range(2, 1 << 16))) if n not in taken)

    def has(self, axis: str) -> bool:
        return any(loop.axis == axis for loop in self.loops())


def nest_of(body: Body) -> list[For]:
    """The loops of the perfect nest that a body begins with."""
    out: list[For] = []
    while len(body) == 1 and isinstance(body[0], For):
        out.append(body[0])
        body = body[0].body
    return out


def stride(buffer: Buffer, index: tuple[Expr, ...], axis: str) -> int | None:
    """Elements that a step of `axis` moves in a row-major buffer; None when it is no constant."""
    a = affine(simplify(ravel(index, buffer.shape, {})))
    rest = [k for k in a if k is not None and k != Var(axis) and any(n == Var(axis) for n in walk(k))]
    return None if rest else a.get(Var(axis), 0)
