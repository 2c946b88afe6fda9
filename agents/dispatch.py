"""Tunes which variant takes which number of rows: a running module comes in, what its tiles cost is measured, scripts with a better table are kept.

Each tile height of a padded kernel is timed at one size that its variant serves; the time of a tile is then all that the table needs, so that
a few runs decide for every size, once for a kernel on a machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..backends.cpu.bind import match_shapes
from ..backends.cpu.runtime import Runtime
from ..evaluation.sizes import resized
from ..ir.machine import Machine
from ..ir.module import Launch
from ..ir.variants import Variant, variants
from ..passes.decisions import Choices
from ..passes.pad import Rows, dynamic_rows
from ..passes.pipeline import kernel_key
from ..passes.schedule.loops import Split
from ..passes.schedule.script import parse_script
from ..passes.schedule.when import sections
from ..passes.sketch import sketch
from .library import Stopwatch
from .records import Records

MOST_ROWS = 256
_SECONDS = 0.05


@dataclass(frozen=True)
class Retabled:
    """A kernel whose table changed; `moved`: how many values of the dim up to `MOST_ROWS` another variant takes now."""

    kernel: str
    moved: int

    def __str__(self) -> str:
        return f"tuned {self.kernel}: another variant takes {self.moved} of the first {MOST_ROWS} sizes"


def tune_dispatch(runtime: Runtime, tensors: Sequence[torch.Tensor], machine: Machine, records: Records, watch: Stopwatch) -> list[Retabled]:
    """Measure the heights of every padded kernel on inputs like the given ones, at other sizes; what changed is kept in `records`."""
    module = runtime.layout.module
    example = match_shapes(module, [tuple(t.shape) for t in tensors])
    found: list[Retabled] = []
    seen: set[str] = set()
    for number, step in enumerate(module.steps):
        rows = dynamic_rows(step.naive) if isinstance(step, Launch) and step.program.dispatch else None
        if not isinstance(step, Launch) or rows is None or (key := kernel_key(step.naive)) in seen:
            continue
        seen.add(key)

        def seconds(value: int, rows: Rows = rows, number: int = number) -> float:
            assert rows.dim is not None
            given = resized(runtime.inputs, tensors, {**example, rows.dim.name: value})
            return watch.steps(runtime, given, _SECONDS)[number]

        choices: Choices = {}
        for v, height in zip(variants(step.program), heights(step.script, rows)):
            value = _served(v, rows)
            if value is not None:
                tiles = -(-rows.count(value) // height)
                choices[f"rows_cost_{height}"] = round(1e9 * seconds(value) / tiles)
        better = sketch(step.naive, step.kind, machine, choices)
        if better.program != step.program:
            records.keep("tuned", key, {"script": better.script})
            found.append(Retabled(step.program.name, _moved(variants(step.program), variants(better.program))))
    return found


def _served(v: Variant, rows: Rows) -> int | None:
    """The largest value up to `MOST_ROWS` rows that the variant takes."""
    values = [min(hi - 1 if hi is not None else lo, MOST_ROWS) for lo, hi in v.ranges]
    fitting = [x for x in values if v.covers(x) and rows.count(x) <= MOST_ROWS]
    return max(fitting, default=None)


def heights(script: str, rows: Rows) -> list[int]:
    """Rows of a tile in each section of a padded kernel's script."""
    parts = sections(parse_script(script))[1]
    splits = ([s.size for s in part.steps if isinstance(s, Split) and s.axis == rows.axis] for part in parts)
    return [sizes[0] for sizes in splits]


def _moved(before: Sequence[Variant], after: Sequence[Variant]) -> int:
    def taker(made: Sequence[Variant], value: int) -> tuple | None:
        return next((v.program.body for v in made if v.covers(value)), None)

    return sum(taker(before, x) != taker(after, x) for x in range(1, MOST_ROWS + 1))
