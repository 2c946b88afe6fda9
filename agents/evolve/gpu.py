"""Evolution for a GPU: a `Subject` planned for it comes in; verdicts and the winner's files go out, and, where no GPU is at hand, timings that
are modelled. Numbers are checked on the GPU that is here, else in the emulator (Triton: in its interpreter).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Sequence
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
from .device import Device
from .modelled import launch_seconds
from .race import STAGES, Timing, refused
from .subject import Subject

GPUS = ("cuda", "triton")
SUFFIX = {"cuda": ".cu", "triton": ".py"}
DRAWS = 2


class Modelled:
    """In the arena's place: ratios of modelled seconds."""

    most = 64

    def __init__(self, subject: Subject, control: Candidate):
        self.subject = subject
        self.control = sum(self._kernels(control))

    def _kernels(self, c: Candidate) -> tuple[float, ...]:
        return tuple(launch_seconds(k, self.subject.machine) for k in c.kernels.values())

    def race(self, candidates: Sequence[Candidate], stages: Sequence[int] = STAGES) -> list[Timing]:
        """One timing per candidate; a kernel that cannot be printed for the target is refused like one with wrong numbers."""
        return [self._timing(c) for c in candidates]

    def _timing(self, c: Candidate) -> Timing:
        try:
            kernels = self._kernels(c)
        except WarploomError as error:
            return refused(f"illegal: {error.message}")
        return Timing(sum(kernels) / self.control, sum(kernels), 0, kernels)


class Numbers:
    """In the judge's place: a candidate is run on the GPU, without one in the emulator, on draws that nobody foresees, and held against the
    model in float64."""

    def __init__(self, target: str, device: Device | None = None):
        self.target, self.device = target, device
        self.seconds = 0.0

    def program(self, subject: Subject, candidate: Candidate, measure: bool, within: float | None = None) -> Verdict:
        """Of the candidate's numbers alone: it has no times, and takes its time. Raises MissingTool."""
        begin = time.monotonic()
        seeds = [secrets.randbelow(1 << 31) for _ in range(DRAWS)]
        try:
            run = runs(subject, candidate.module, self.target, self.device)
            held = Held(subject.problem.model, lambda *values: [t.cpu() for t in run(values)])
            found = disagreements(held, subject.example, seeds)
            findings = tuple(Finding("wrong-result", d.why or f"{d.name} differs", d.name) for d in found if not d.right)
        except WarploomError as error:
            found, findings = [], (Finding("crash", error.message),)
        self.seconds = time.monotonic() - begin
        reasons = tuple(dict.fromkeys(f.code for f in findings))
        return Verdict(not findings, reasons, trials=DRAWS, findings=findings, notes=(self._note,), threads=1, seconds=self.seconds)

    @property
    def _note(self) -> str:
        if self.device:
            return f"checked on {self.device.name} on {DRAWS} draws of inputs, and measured there"
        what = "Triton's interpreter" if self.target == "triton" else "the emulator"
        return f"checked in {what} on {DRAWS} draws of inputs; ranked by a roofline model, not measured"

    def close(self) -> None:
        """Nothing is held."""


def runs(subject: Subject, module: Module, target: str, device: Device | None) -> Callable[[Sequence[object]], list[torch.Tensor]]:
    """The module on the device, without one on CPU tensors, as a function of the model's arguments; what it updates is left as it is."""
    load = backend(target).load
    assert load is not None
    constants = device.constants(subject) if device else subject.constants
    _, runtime = load(replace(module, updates=()), {name: (constants, name) for name in constants}, subject.graph)
    places = {name: n for n, name in enumerate(subject.graph.outputs)}
    wanted = [leaf.name for leaf in subject.exported.outputs if isinstance(leaf, TensorLeaf)]

    def run(values: Sequence[object]) -> list[torch.Tensor]:
        tensors = device.tensors(subject, values) if device else subject.tensors(values)
        made = runtime([t.contiguous() for t in tensors])  # type: ignore[operator]
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
