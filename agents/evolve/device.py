"""A GPU that is here: candidates for it are built and raced against a control (the default schedule) on it; timings go out.

Each candidate's launches are recorded over all draws of the inputs and replayed, so that a time holds nothing of the host; the seconds of its
kernels are shares of that, by replays of each kernel alone.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import torch

from ...backends.cuda import counters
from ...backends.cuda.counters import Counters
from ...backends.cuda.driver import arch_of
from ...backends.cuda.module import CUDA, Target, printed
from ...backends.cuda.nvrtc import compile_cubin
from ...backends.cuda.program import CudaProgram
from ...backends.cuda.recorded import recorded
from ...backends.cuda.runtime import Build, cuda
from ...backends.triton.run import TRITON, triton
from ...evaluation.bench.contenders import rotating
from ...evaluation.bench.gpu import ROTATED_BYTES, equal_terms
from ...frontend.dtypes import TORCH_DTYPE
from ...ir.diagnostic import WarploomError
from ...ir.module import Module
from ..tune import same
from .candidate import Candidate
from .race import STAGES, Rounds, Runner, Timing, exclusive, timing
from .subject import Subject

LEAST_SECONDS = 4e-4
MOST_LAUNCHES = 512
"""Of one recording."""


def _nothing(program: CudaProgram) -> None:
    """Nothing is compiled ahead."""


@dataclass(frozen=True)
class Device:
    """`place`: where tensors live; `target`: how kernels are printed; `build`: as a runtime takes it; `recorded`: work as something that replays
    it and says the seconds; `wait`: until all is done; `compile`: ahead of `build`, many at a time; `counted`: hardware counters of programs, where they can be had."""

    name: str
    place: torch.device
    target: Target
    build: Build
    recorded: Callable[[Callable[[], None]], Callable[[], float]]
    wait: Callable[[], None]
    compile: Callable[[CudaProgram], object] = _nothing
    counted: Callable[[Sequence[CudaProgram]], list[Counters]] | None = None
    _moved: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, compare=False)

    def tensors(self, subject: Subject, values: Sequence[object]) -> list[torch.Tensor]:
        """What a run of the graph takes, on the device; the model's state is copied there once."""
        known, own = subject.exported.tensors(tuple(values)), subject.exported.weights
        wanted = [(known[i.name], own.get(i.name)) for i in subject.graph.inputs if i.role == "input"]
        return [self._kept(t) if t is weight else t.detach().to(self.place) for t, weight in wanted]

    def constants(self, subject: Subject) -> dict[str, torch.Tensor]:
        """What the graph needs and no caller gives, on the device."""
        return {name: self._kept(t) for name, t in subject.constants.items()}

    def _kept(self, t: torch.Tensor) -> torch.Tensor:
        if id(t) not in self._moved:
            self._moved[id(t)] = t, t.detach().to(self.place).contiguous()
        return self._moved[id(t)][1]


def here(target: str) -> Device | None:
    """The GPU that torch sees, for `cuda` or `triton`. Whatever is compared on it from here on does float32 as float32."""
    if not torch.cuda.is_available():
        return None
    equal_terms()
    place = torch.device("cuda", torch.cuda.current_device())
    name, wait = torch.cuda.get_device_name(place), torch.cuda.synchronize
    counted = (lambda programs: counters.counted(programs, target)) if counters.tool() else None
    if target == "triton":
        return Device(name, place, TRITON, triton, recorded, wait, counted=counted)
    return Device(name, place, CUDA, cuda, recorded, wait, lambda program: compile_cubin(program.source, arch_of(place)), counted)


class Measured:
    """In the arena's place: races on a GPU."""

    most = 12

    def __init__(self, subject: Subject, control: Candidate, device: Device):
        self.subject, self.control, self.device = subject, control, device
        drawn = rotating(subject.problem.inputs, seed=1, nbytes=ROTATED_BYTES, most=6)
        names = [i.name for i in subject.graph.inputs if i.role == "input"]
        constants = device.constants(subject)
        self.inputs = [{**constants, **{n: t.contiguous() for n, t in zip(names, device.tensors(subject, v))}} for v in drawn]

    def race(self, candidates: Sequence[Candidate], stages: Sequence[int] = STAGES) -> list[Timing]:
        """One timing per candidate; one that cannot be printed, compiled or launched is refused with the reason."""
        entries = [self.control, *candidates]
        with torch.no_grad(), exclusive():
            runners = [_Recorded(entry) for entry in entries]
            self._printed(runners)
            for runner in runners:
                self._guarded(runner, self._load)
            control = runners[0]
            if control.wrong:
                raise WarploomError(f"the default schedule does not run on {self.device.name}: {control.why}")
            for runner in runners:
                self._guarded(runner, lambda r: self._checked(r, control))
                self._guarded(runner, self._record)
            _Replays().run_stages(runners, stages)
        return [timing(r, runners[0]) for r in runners[1:]]

    def _guarded(self, runner: _Recorded, do: Callable[[_Recorded], None]) -> None:
        if runner.wrong:
            return
        try:
            do(runner)
        except WarploomError as error:
            runner.wrong, runner.why = True, f"illegal: {error.message}"
        except torch.OutOfMemoryError:
            runner.wrong, runner.why = True, "illegal: the device has too little memory for it"

    def _printed(self, runners: Sequence[_Recorded]) -> None:
        """Kernels are compiled on all cores before one after the other is loaded."""
        for runner in runners:
            self._guarded(runner, lambda r: r.print(self.device.target))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._compiled, [p for r in runners for p in r.programs]))

    def _compiled(self, program: CudaProgram) -> None:
        with contextlib.suppress(WarploomError):  # loading says it again, of the candidate that it belongs to
            self.device.compile(program)

    def _load(self, runner: _Recorded) -> None:
        runner.load(self.device, self.inputs)
        for n in range(min(2, len(self.inputs))):
            runner.answers.append(runner.run(n))
        self.device.wait()

    def _checked(self, runner: _Recorded, control: _Recorded) -> None:
        runner.wrong = not all(same(a, b) for a, b in zip(control.answers, runner.answers))

    def _record(self, runner: _Recorded) -> None:
        runner.record(self.device)


def programs_of(module: Module, target: Target) -> list[CudaProgram]:
    """One program for each kernel. Raises UnsupportedOnGpu."""
    return [printed(replace(module, steps=(s,), prepare=()), target).programs[0] for s in module.steps]


class _Recorded(Runner):
    """A candidate on the device: `kernels` on `values`, one set for each draw of the inputs; what it makes is the same memory for all."""

    def __init__(self, candidate: Candidate):
        super().__init__(parts=[[] for _ in candidate.module.steps])
        self.module = candidate.module
        self.programs: list[CudaProgram] = []
        self.prepare: CudaProgram | None = None
        self.kernels: list[Callable[[int], None]] = []
        self.answers: list[list[torch.Tensor]] = []
        self.values: list[dict[str, torch.Tensor]] = []
        self.repeats = 1
        self.whole: Callable[[], float] = float
        self.each: list[Callable[[], float]] = []

    def print(self, target: Target) -> None:
        """Raises UnsupportedOnGpu."""
        self.programs = programs_of(self.module, target)
        self.prepare = printed(replace(self.module, steps=()), target).prepare

    def load(self, device: Device, inputs: Sequence[Mapping[str, torch.Tensor]]) -> None:
        """Raises LaunchFailed, BuildFailed, TritonFailed."""
        made: dict[str, torch.Tensor] = {}
        first = [self.prepare] if self.prepare else []
        for p in [*first, *self.programs]:
            shapes = p.at({}).shapes
            for b in p.buffers:
                if b.name not in inputs[0] and b.name not in made:
                    made[b.name] = torch.empty(shapes[b.name], dtype=TORCH_DTYPE[b.dtype], device=device.place)
        self.values = [{**given, **made} for given in inputs]
        for p in first:
            self._kernel(device, p)(0)
        self.kernels = [self._kernel(device, p) for p in self.programs]

    def _kernel(self, device: Device, p: CudaProgram) -> Callable[[int], None]:
        loaded = device.build(p, {}, device.place)
        tensors = [{b.name: values[b.name] for b in p.buffers} for values in self.values]
        return lambda n: loaded.on_tensors(tensors[n])

    def run(self, n: int) -> list[torch.Tensor]:
        """Outputs for one draw."""
        for kernel in self.kernels:
            kernel(n)
        return [self.values[n][self.module.storage(o)].flatten().clone() for o in self.module.outputs]

    def record(self, device: Device) -> None:
        """So often that a replay lasts long enough for its events."""
        draws = len(self.values)
        seconds = device.recorded(lambda: self._all(range(len(self.kernels))))()
        most = max(1, MOST_LAUNCHES // (draws * len(self.kernels)))
        self.repeats = max(1, min(most, math.ceil(LEAST_SECONDS / max(1e-7, seconds))))
        self.whole = device.recorded(lambda: self._repeated(range(len(self.kernels))))
        alone = [range(k, k + 1) for k in range(len(self.kernels))]
        self.each = [device.recorded(lambda ks=ks: self._repeated(ks)) for ks in alone] if len(alone) > 1 else []

    def _repeated(self, kernels: range) -> None:
        for _ in range(self.repeats):
            self._all(kernels)

    def _all(self, kernels: range) -> None:
        for n in range(len(self.values)):
            for k in kernels:
                self.kernels[k](n)


class _Replays(Rounds[_Recorded]):
    """A sample replays all draws."""

    def sample(self, runner: _Recorded, turn: int) -> None:
        seconds = runner.whole() / (runner.repeats * len(runner.values))
        alone = [replay() for replay in runner.each] or [1.0]
        runner.taken.append(seconds)
        for part, own in zip(runner.parts, alone):
            part.append(seconds * own / sum(alone))
