"""Evolution for a GPU where none is at hand: candidates are ranked by the roofline model and checked in the emulator (Triton: in its
interpreter) on inputs of the task. A `Subject` planned for the GPU comes in; timings that are modelled, verdicts, and the winner's files go out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ...backends.cuda.export import sidecar
from ...backends.cuda.module import CUDA, printed
from ...backends.cuda.program import CudaProgram
from ...backends.manifest import backend
from ...backends.triton.run import TRITON
from ...evaluation.agreement import Subject as Held
from ...evaluation.agreement import disagreements
from ...evaluation.verdict import Finding, Verdict
from ...frontend.torch_export import TensorLeaf
from ...ir.diagnostic import WarploomError
from ...ir.module import Module
from .candidate import Candidate
from .measure import Timing
from .modelled import launch_seconds
from .subject import Subject

GPUS = ("cuda", "triton")
SUFFIX = {"cuda": ".cu", "triton": ".py"}
SEEDS = (21, 22)


class Modelled:
    """In the arena's place: ratios of modelled seconds."""

    most = 64

    def __init__(self, subject: Subject, control: Candidate):
        self.subject = subject
        self.control = sum(self._kernels(control))

    def _kernels(self, c: Candidate) -> tuple[float, ...]:
        return tuple(launch_seconds(k, self.subject.machine) for k in c.kernels.values())

    def race(self, candidates: Sequence[Candidate], stages: Sequence[int] = ()) -> list[Timing]:
        """One timing per candidate; a kernel that cannot be printed for the target is refused like one with wrong numbers."""
        return [self._timing(c) for c in candidates]

    def _timing(self, c: Candidate) -> Timing:
        try:
            kernels = self._kernels(c)
        except WarploomError:
            return Timing(float("inf"), float("inf"), 0, wrong=True)
        return Timing(sum(kernels) / self.control, sum(kernels), 0, kernels)


class Emulation:
    """In the judge's place: a candidate is run on the CPU, in the emulator, and held against the model in float64."""

    def __init__(self, target: str):
        self.target = target
        self.seconds = 0.0

    def program(self, subject: Subject, candidate: Candidate, measure: bool, within: float | None = None) -> Verdict:
        """Of the candidate's numbers alone: it has no times, and takes its time. Raises MissingTool."""
        begin = time.monotonic()
        what = "Triton's interpreter" if self.target == "triton" else "the emulator"
        try:
            found = disagreements(Held(subject.problem.model, _callable(subject, candidate.module, self.target)), subject.example, SEEDS)
            findings = tuple(Finding("wrong-result", d.why or f"{d.name} differs", d.name) for d in found if not d.right)
        except WarploomError as error:
            found, findings = [], (Finding("crash", error.message),)
        self.seconds = time.monotonic() - begin
        notes = (f"checked in {what} on {len(SEEDS)} draws of inputs; ranked by a roofline model, not measured",)
        reasons = tuple(dict.fromkeys(f.code for f in findings))
        return Verdict(not findings, reasons, trials=len(SEEDS), findings=findings, notes=notes, threads=1, seconds=self.seconds)

    def close(self) -> None:
        """Nothing is held."""


def _callable(subject: Subject, module: Module, target: str):
    """The module on CPU tensors; what it updates is left as it is."""
    load = backend(target).load
    assert load is not None
    _, runtime = load(replace(module, updates=()), subject.slots, subject.graph)
    places = {name: n for n, name in enumerate(subject.graph.outputs)}
    wanted = [leaf.name for leaf in subject.exported.outputs if isinstance(leaf, TensorLeaf)]

    def run(*values: object) -> list[torch.Tensor]:
        made = runtime([t.contiguous() for t in subject.tensors(values)])  # type: ignore[operator]
        return [made[places[name]] for name in wanted]

    return run


def program_of(candidate: Candidate, target: str) -> CudaProgram:
    """All launches as one program."""
    module = replace(candidate.module, steps=(*candidate.module.prepare, *candidate.module.steps), prepare=())
    return printed(module, TRITON if target == "triton" else CUDA).programs[0]


def write_source(folder: Path, candidate: Candidate, target: str, header: Sequence[str]) -> str:
    """The winner's source and, beside it, its launches in order with every buffer. The source's name goes out."""
    code = program_of(candidate, target)
    name = f"winner{SUFFIX[target]}"
    mark = "#" if target == "triton" else "//"
    (folder / name).write_text("\n".join([*(f"{mark} {line}" for line in header), "", code.source]), encoding="utf-8")
    (folder / "winner.json").write_text(json.dumps(sidecar(code, {}), indent=1), encoding="utf-8")
    return name
