"""What to do with a compile that failed: the graph and how it was planned come in, a small file that shows the failure goes out.

Each kernel is tried alone first; where one fails, it is reduced as a kernel with its schedule, else the graph is. The file's first lines
say what fails and the command that reproduces it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..backends.cpu.host import host
from ..ir.diagnostic import BuildFailed, WarploomError, WrongNumbers
from ..ir.graph import Graph
from ..ir.module import Launch
from ..ir.types import Dim
from ..passes.pipeline import Options, plan
from .reduce import Reducer
from .replay import SIZE, Case, GraphCase, KernelCase, Outcome, attempted, parse_case

BUDGET_S = 60.0


@dataclass(frozen=True)
class Reduced:
    """The smallest case found, how it fails, and how many candidates were tried."""

    case: Case
    outcome: Outcome
    tried: int

    def write(self, path: Path) -> str:
        """Write the file; gives the command that reproduces the failure."""
        command = f"warploom replay {shlex.quote(str(path))}"
        words = {"step": "the schedule changes the meaning", "wrong": "wrong numbers", "build": "the compiler refused the code", "crash": "the process died", "error": "an exception"}
        head = f"# {words.get(self.outcome.kind, self.outcome.kind)}: {self.outcome.message}\n# reproduce: {command}\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + self.case.text())
        return command


def worth_reducing(error: BaseException) -> bool:
    """Wrong numbers, refused code and exceptions of our own, as opposed to what the user's input caused."""
    return isinstance(error, (WrongNumbers, BuildFailed)) or (isinstance(error, Exception) and not isinstance(error, WarploomError))


def reduced(graph: Graph, options: Options, budget_s: float = BUDGET_S) -> Reduced | None:
    """A small case that fails as the graph does on inputs of our own; None where none fails."""
    found = next(failing(graph, options), None)
    if found is None:
        return None
    case, outcome = found
    reducer = Reducer(outcome, budget_s)
    small = reducer.reduce(case)
    if parse_case(small.text()).check().like(outcome):
        last = parse_case(small.text()).check()
    else:
        small, last = case, outcome
    return Reduced(small, last, reducer.tried)


def failing(graph: Graph, options: Options) -> Iterator[tuple[Case, Outcome]]:
    """Kernels that fail alone, then the graph where it fails."""
    for launch in _launches(graph, options):
        for case in _cases(launch):
            outcome = case.check()
            if outcome.failed:
                yield case, outcome
    whole = GraphCase(graph, options)
    outcome = whole.check()
    if outcome.failed:
        yield whole, outcome


def _launches(graph: Graph, options: Options) -> list[Launch]:
    """The kernels of the plan; none where planning itself fails."""
    kept: list[Launch] = []

    def planned() -> Outcome:
        module = plan(graph, host(), replace(options, dump=None))
        kept.extend(s for s in (*module.prepare, *module.steps) if isinstance(s, Launch))
        return Outcome("agrees")

    attempted(planned)
    known: set[tuple] = set()
    return [x for x in kept if not ((key := (replace(x.naive, name=""), x.script)) in known or known.add(key))]


def _cases(launch: Launch) -> Iterator[KernelCase]:
    """The kernel with its script; or, where that leads elsewhere, with the program that was run."""
    sizes = {d.name: _size(d) for d in launch.naive.dims}
    case = KernelCase(launch.naive, launch.script, sizes)
    yield case
    if launch.program != launch.naive and not launch.script:
        yield replace(case, program=launch.program)


def _size(d: Dim) -> int:
    return max(d.lo, min(SIZE, d.hi or SIZE))
