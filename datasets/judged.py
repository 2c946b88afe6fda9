"""The judge's verdict on the sides of a pair: a Program and built libraries come in, an Answer with what was seen goes out.

Correctness as `evaluation.judge` decides it, without its race against a baseline: inputs of the judge's families beside those that a record
keeps, float64 with what honest float32 may make of each element, fenced and poisoned outputs, calls in changing order. Both sides
meet the same cases. The cases are drawn from the program's own seed: a build that is made again judges alike.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from ..evaluation import integrity, native
from ..evaluation.build import Library
from ..evaluation.contained import Contained, Ended
from ..evaluation.correctness import Case, Miss, Output, compare, load_case
from ..evaluation.graph_model import GraphModel
from ..evaluation.graph_task import GraphTask
from ..evaluation.reference import UNITS, Description, Reference, Refused, explain
from ..evaluation.sandbox import Sandbox, unavailable
from ..evaluation.signature import Argument, Signature
from ..evaluation.task import Task
from ..evaluation.trial import Cases, Trial
from ..evaluation.verdict import CannotJudge, Finding
from ..ir.expr import Cast, Op, walk
from ..ir.graph import Graph, Map
from ..ir.types import is_int
from .inputs import drawn, expression
from .program import NUMPY, Program, outputs_of
from .reference import Recorded, recorded

REFERENCE_S = 0.7
"""Processor time for cases beyond those that every pair is held against."""
CANDIDATE_S = 4.0
"""A side that has run for so long has met enough of the judge's own cases; those of the record it meets in any case."""
LEAST_FURTHER = 4
STEP_DRAWS = 8
"""Times as many disturbances as the judge makes, for a function with steps whose side seems wrong."""
_STEPS = frozenset({"floor", "ceil", "round", "trunc", "sign", "//", "%", "fmod", "<", "<=", ">", ">=", "==", "!="})
_QUICK_S = 0.005
_MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Answer:
    """`accepted`, or `findings` that say why not; `calls` whose outputs were checked; the element nearest to its allowance; `families` met; `left`:
    the outputs of each recorded case, by its key."""

    findings: tuple[Finding, ...]
    calls: int
    worst: Miss | None
    families: tuple[str, ...]
    stages: tuple[str, ...]
    left: dict[str, list[np.ndarray]] = field(repr=False, default_factory=dict)

    @property
    def accepted(self) -> bool:
        return not self.findings

    def to_json(self) -> dict[str, object]:
        """For a record."""
        return {
            "accepted": self.accepted, "judge": list(self.stages), "calls": self.calls, "families": list(self.families),
            "max_error": self.worst.error if self.worst else 0.0, "tolerance": self.worst.tolerance if self.worst else 0.0,
        }  # fmt: skip


class ProgramTask(GraphTask):
    """A Program as a task: inputs are drawn as its operators want them."""

    def __init__(self, program: Program):
        self.program, self.graph, self.sizes = program, program.graph, {}
        self.Model = partial(GraphModel, program.graph, {})

    def get_inputs(self) -> list[object]:
        seed = int(torch.randint(1 << 31, ()))
        return [tensor_of(drawn(expression(g, "own", seed, k)), g.dtype) for k, g in enumerate(self.program.inputs)]


def tensor_of(array: np.ndarray, dtype: str) -> torch.Tensor:
    """bfloat16 travels as uint16."""
    made = torch.from_numpy(np.array(array))
    return made.view(torch.bfloat16) if dtype == "bfloat16" else made


class ProgramReference(Reference):
    """Answers the judge's questions in this process. `recorded:N` is the family of the N-th case that the record keeps."""

    def __init__(self, program: Program, kept: Sequence[Recorded], disturbances: int):
        super().__init__(1)
        self.program, self.kept, self.disturbances = program, kept, disturbances
        self._asked: deque[tuple[str, tuple]] = deque()

    def begin(self, task: Task, module, seed: int, folder: str) -> Description:
        """As the judge's, but an operator may round no coarser than what it makes: half inputs are exact, and half outputs are rounded once."""
        description = super().begin(task, module, seed, folder)
        types, graph = self.program.graph.types(), self.program.graph
        made = [types[v.name].dtype for n in graph.nodes for v in n.outputs if v.name not in graph.outputs]
        self.unit = max([UNITS["float32"], *(UNITS[NUMPY[d]] for d in made if d in ("f16", "bf16"))])
        return description

    def _movement(self, inputs, state, exact, seed, coherent, draws) -> list[torch.Tensor]:
        """As the judge's, as often as wanted: more disturbances show more of the elements that stand next to a step."""
        moved = super()._movement(inputs, state, exact, seed, coherent, draws)
        for n in range(1, self.disturbances):
            other = super()._movement(inputs, state, exact, seed + 1009 * n, coherent, draws)
            moved = [torch.maximum(a, b) for a, b in zip(moved, other)]
        return moved

    def _values(self, family: str, seed: int) -> list:
        name, _, number = family.partition(":")
        if name != "recorded":
            return super()._values(family, seed)
        return [tensor_of(a, g.dtype) for a, g in zip(self.kept[int(number)].arrays, self.program.inputs)]

    def call(self, method: str, *args, timeout: float = 60.0):
        """The result of `self.METHOD(*args)`. Raises CannotJudge."""
        try:
            return getattr(self, method)(*args)
        except (Refused, RuntimeError, ValueError, IndexError, TypeError, ArithmeticError) as error:
            raise CannotJudge(explain(method, error)) from None

    def send(self, method: str, *args) -> None:
        """Notes a call; `receive` carries it out."""
        self._asked.append((method, args))

    def receive(self, method: str, timeout: float = 60.0):
        """The result of the call noted first."""
        name, args = self._asked.popleft()
        return self.call(name, *args, timeout=timeout)


def has_steps(graph: Graph) -> bool:
    """Whether a small error may become a large one: roundings, signs, comparisons, casts to integers."""
    for e in (e for n in graph.nodes if isinstance(n.op, Map) for e in walk(n.op.expr)):
        if (isinstance(e, Op) and e.name in _STEPS) or (isinstance(e, Cast) and is_int(e.dtype)):
            return True
    return False


class SharedCases(Cases):
    """Cases drawn once for both sides: those of the record first, then the judge's as far as the time goes."""

    def __init__(self, reference: ProgramReference, description: Description, seed: int):
        super().__init__(reference, description, REFERENCE_S)
        self.seeds = random.Random(seed)  # pyright: ignore[reportAttributeAccessIssue]
        self.own_seed = seed
        self.drawn: list[Case] = []
        self.trial: Trial | None = None
        for key, family, at, needed in self._queue(len(reference.kept)):
            if needed or self.spent < self.budget_s:
                self._draw(key, family, at)
        if not {"own0", "own1"} <= set(self.kept):
            raise CannotJudge("the reference gives no numbers on the program's own inputs")

    def _queue(self, recorded: int) -> Iterator[tuple[str, str, int, bool]]:
        """(key, family, seed, whether it is drawn in any case). Trials know `own0` and `own1` by these names."""
        yield "own0", "recorded:0", 0, True
        for n in range(1, recorded):
            yield ("own1" if n == 1 else f"recorded{n}"), f"recorded:{n}", 0, True
        if "own1" not in self.kept:
            yield "own1", "own", self.seeds.getrandbits(31), True
        further = [f for f in self.description.families if f != "own"]
        self.seeds.shuffle(further)
        sparse = [f for f in ("touch:0", "few:0", "few:1") if further]
        for n, family in enumerate([*sparse, *further, *(f"touch:{k}" for k in range(1, 4) if further)]):
            yield f"{family} {n}", family, self.seeds.getrandbits(31), n < LEAST_FURTHER

    def _draw(self, key: str, family: str, seed: int) -> None:
        got = self.reference.call("case", key, family, seed, 4 if self.description.eager_s < _QUICK_S else 2)
        if isinstance(got, str):
            self.skipped.append(got)
            return
        self.spent += got.seconds
        self.drawn.append(load_case(key, got))
        self.kept[key] = self.drawn[-1]

    def __iter__(self) -> Iterator[Case]:
        for case in self.drawn:
            if self.trial is None or self.trial.spent_s < CANDIDATE_S or case.family.startswith("recorded"):
                yield case

    def close(self) -> None:
        """Lets go of the arrays, which are mapped files."""
        self.trial = None
        self.drawn.clear()
        self.kept.clear()

    def recorded(self) -> dict[int, Case]:
        """The cases that a record keeps, by their numbers."""
        return {int(c.family.partition(":")[2]): c for c in self.drawn if c.family.startswith("recorded")}


class _Trial(Trial):
    """Remembers what the recorded cases left."""

    left: dict[str, list[np.ndarray]]

    def _note(self, contained: Contained, case: Case, misses: list[Miss], outputs: list[np.ndarray], poisoned: str) -> None:
        self.left.setdefault(case.key, outputs)
        super()._note(contained, case, misses, outputs, poisoned)


class SideMaker:
    """Starts processes of a library whose `kernel` takes the program's inputs, then its outputs. `stirs`: its threads may be stopped anywhere."""

    collects = False
    watches_calls = False

    def __init__(self, library: bytes, signature: Signature, sandbox: Sandbox, stirs: bool):
        self.library, self.signature, self.sandbox, self.stirs = Library(library, frozenset()), signature, sandbox, stirs

    def describe(self, description, reference) -> None:
        self.signature = description.signature

    def start(self, scalars: tuple, slots: int, threads: int) -> Contained:
        """Raises Ended."""
        return native.start(self.library, "", self.signature, scalars, slots, threads, self.sandbox)

    def close(self) -> None:
        """Nothing is held."""


class Judging:
    """One program's cases and the sides that are held against them. Use as a context manager. Raises CannotJudge on entry."""

    def __init__(self, program: Program, seed: int, disturbances: int = 1):
        self.program, self.seed, self.disturbances = program, seed, disturbances
        self.sandbox = Sandbox(enabled=unavailable() is None)
        self._folder = tempfile.TemporaryDirectory(
            prefix="warploom-pair-", dir=_MEMORY if os.path.isdir(_MEMORY) else None, ignore_cleanup_errors=True
        )

    def __enter__(self) -> Judging:
        try:
            self.given = recorded(self.program, self.seed)
            self.reference = ProgramReference(self.program, self.given, self.disturbances)
            task = Task(self.program.graph.name, "graph", "")
            self.description = self.reference.call("begin", task, ProgramTask(self.program), self.seed, self._folder.name)
            self.cases = SharedCases(self.reference, self.description, self.seed)
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.cases.close()
        self._folder.cleanup()

    @property
    def signature(self) -> Signature:
        return self.description.signature

    def answer(self, library: bytes, twice: bool) -> Answer:
        """A side's verdict; `twice`: also in a second process, shuffled, with more threads than processors."""
        maker = SideMaker(library, self.signature, self.sandbox, twice)
        trial = _Trial(self.cases, maker, self.description, 1)
        trial.left, self.cases.trial = {}, trial
        stages = ["first process"]
        try:
            findings = trial.first_process()
            if twice and not findings and not trial.failures:
                stages.append("second process")
                findings = trial.second_process()
        except Ended as end:
            findings = [end.finding]
        if findings or trial.failures:
            findings = integrity.named(findings, trial)
        trial.close()
        met = dict.fromkeys(self._family(c) for c in self.cases.drawn if c.key in trial.left)
        return Answer(tuple(findings), trial.checked, trial.worst, tuple(met), tuple(stages), trial.left)

    def _family(self, case: Case) -> str:
        name, _, number = case.family.partition(":")
        return f"recorded {self.given[int(number)].family}" if name == "recorded" else name

    def far_off(self, made: dict[int, list[np.ndarray]], slack: float) -> str:
        """What is wrong first with outputs of recorded cases, by case number, when `slack` times the allowed error is allowed; "" where nothing is."""
        outputs = self.signature.of("output")
        for number, arrays in made.items():
            case = self.cases.recorded()[number]
            for at, (argument, array) in enumerate(zip(outputs, arrays)):
                miss = compare(at, _stored(array, argument), argument, _loose(case.outputs[at], slack), "nan")
                if miss.wrong:
                    return f"{outputs_of(self.program.graph)[at].name} in family {self.given[number].family}: {miss.got:.6g} for {miss.wanted:.6g}"
        return ""


def _stored(array: np.ndarray, argument: Argument) -> np.ndarray:
    return np.ascontiguousarray(array).view(argument.storage)


def _loose(output: Output, slack: float) -> Output:
    return output if output.tolerance is None else Output(output.value, output.tolerance * slack, output.eager)

