"""A schedule under construction: a program and steps go in, the script of those that applied comes out.

Where a rule decides on a number (a width, a tile, yes or no), it asks `Draft.choose` (see `decisions`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from ..ir.diagnostic import IllegalProgram, IllegalStep
from ..ir.expr import Expr, Var, affine, simplify, walk
from ..ir.kernel import Body, Buffer, For, Program, statements
from ..ir.machine import Machine
from ..ir.verify import verify
from .decisions import Decisions
from .indexing import ravel
from .schedule.script import apply


@dataclass(kw_only=True)
class Draft(Decisions):
    """A program under construction; `script` is the text of the steps applied so far."""

    program: Program
    machine: Machine
    steps: list[str] = field(default_factory=list)

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

        def run() -> bool:
            try:
                for t in texts:
                    self.step(t)
            except (IllegalStep, IllegalProgram):
                return False
            return True

        return self.kept(run)

    def kept(self, run: Callable[[], bool]) -> bool:
        """What `run` returns; where that is False, the draft is as it was before."""
        before, count = self.program, len(self.steps)
        if done := run():
            return done
        self.program, self.steps = before, self.steps[:count]
        return False

    def is_legal(self) -> bool:
        """The whole is provable: merged axes may hide from the prover that an index from a buffer is in range."""
        try:
            verify(self.program)
        except IllegalProgram:
            return False
        return True

    def loops(self) -> list[For]:
        return [s for s in statements(self.program.body) if isinstance(s, For)]

    def fresh(self, base: str) -> str:
        """An axis name that is not in use."""
        taken = {loop.axis for loop in self.loops()} | set(self.program.buffers())
        return base if base not in taken else next(n for k in itertools.count(2) if (n := f"{base}{k}") not in taken)

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
