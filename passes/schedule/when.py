"""The step `when`: the steps after it schedule the values of a dim in a range; the sections of a script together make a dispatching program."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.diagnostic import IllegalStep
from ...ir.kernel import Program
from ...ir.variants import Range
from .step import Step


@dataclass(frozen=True)
class When(Step):
    """What follows, up to the next `when`, schedules the program for values of a dim from `lo` to below `hi` (0: no upper end).

    when(n, 1, 8);                        ->   match n:
    when(n, 8); split(i, 8, tail=cut)              case within(1, 8): for i in serial(n): S(i)
                                                   case within(8, inf): for i0: for i1: S(i0*8 + i1)
                                                                        for i2: S(i2)

    Several `when` with nothing between them give one variant several ranges. Steps before the first one hold for all. The ranges cover
    every value of the dim, each one once.
    """

    dim: str
    lo: int
    hi: int = 0

    def apply(self, p: Program) -> Program:
        """Refused: a section is no step of its own; `script.apply` runs a whole script."""
        raise IllegalStep("`when` opens a section of a script, it changes no program by itself", hint="apply the whole script")

    @property
    def range(self) -> Range:
        return self.lo, self.hi or None


@dataclass(frozen=True)
class Section:
    """The steps of one variant."""

    dim: str
    ranges: tuple[Range, ...]
    steps: tuple[Step, ...]


def sections(steps: tuple[Step, ...]) -> tuple[tuple[Step, ...], tuple[Section, ...]]:
    """(steps before the first `when`, the sections). Raises IllegalStep when the sections speak of several dims."""
    start = next((k for k, s in enumerate(steps) if isinstance(s, When)), len(steps))
    out: list[Section] = []
    for s in steps[start:]:
        if not isinstance(s, When):
            last = out[-1]
            out[-1] = Section(last.dim, last.ranges, (*last.steps, s))
        elif out and not out[-1].steps and out[-1].dim == s.dim:
            out[-1] = Section(s.dim, (*out[-1].ranges, s.range), ())
        else:
            out.append(Section(s.dim, (s.range,), ()))
    dims = {x.dim for x in out}
    if len(dims) > 1:
        raise IllegalStep(f"a script chooses by one dim, not by {', '.join(sorted(dims))}")
    return steps[:start], tuple(out)
