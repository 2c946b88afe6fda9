"""Kernels as objects: a Python function in the kernel text's syntax comes in, a Kernel that can be scheduled, shown, run and registered goes out.

    @warploom.kernel                                   # parsed, never executed
    def scale(x: f32[n], y: f32[n]):
        for i in serial(n):
            y[i] = x[i] * 2.0

    fast = scale.schedule("split(i, 16, tail=cut); bind(i1, vector)")    # or scale.schedule.split("i", 16, tail="cut").bind("i1", "vector")
    y = fast(x)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..backends.manifest import backend
from ..ir.diagnostic import ParseError
from ..ir.kernel import Program
from ..ir.text import print_program
from ..passes.schedule.script import Script, parse_script, print_script, print_step, run_step
from ..passes.schedule.step import Step
from . import custom_op, explain, launch, measure, show
from .signature import Signature, signature
from .source import read, shown
from .steps import Steps


def kernel(written: Callable[..., object] | str) -> Kernel:
    """The kernel that a function (as a decorator) or a text `def name(...): ...` says. The function is read, never executed.

    Raises ParseError, TypeMismatch, IllegalProgram, with the user's line underlined.
    """
    program, _ = read(written)
    return Kernel((program,))


class Schedule(Steps["Kernel"]):
    """What `k.schedule` is: call it with a script, or call the steps as methods; both give a new kernel."""

    def __init__(self, kernel: Kernel):
        self._kernel = kernel

    def __call__(self, script: str) -> Kernel:
        """The kernel after the steps of `script`, such as "split(i, 16); bind(i1, vector)". Raises IllegalStep, ParseError."""
        return self._kernel.scheduled(script)

    def _apply(self, step: Step) -> Kernel:
        return self._kernel._apply(step)


@dataclass(frozen=True)
class Kernel(Steps["Kernel"]):
    """A kernel and how it came about: `programs[0]` is as written, `programs[k + 1]` what step `k` of `steps` made. Kernels never change;
    a step gives a new one."""

    programs: tuple[Program, ...]
    steps: Script = ()

    # -------------------------------------------------------------------------------------------- schedule
    @property
    def schedule(self) -> Schedule:
        """`k.schedule("split(i, 16)")`, or the same in Python: `k.schedule.split("i", 16)`."""
        return Schedule(self)

    def scheduled(self, script: str) -> Kernel:
        """The kernel after more steps, as text."""
        out = self
        with shown():
            for step in parse_script(script):
                out = out._after(step)
        return out

    def _apply(self, step: Step) -> Kernel:
        with shown():
            if parse_script(text := print_step(step)) != (step,):
                raise ParseError(f"`{text}` is not what the step takes: names are strings, sizes are integers")
            return self._after(step)

    def _after(self, step: Step) -> Kernel:
        return Kernel((*self.programs, run_step(self.program, step)), (*self.steps, step))

    # -------------------------------------------------------------------------------------------- look
    @property
    def program(self) -> Program:
        """The program as scheduled so far."""
        return self.programs[-1]

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def script(self) -> str:
        """The steps so far, as text that `schedule` takes."""
        return print_script(self.steps)

    def __str__(self) -> str:
        return print_program(self.program)

    def __repr__(self) -> str:
        return f"<kernel {self.name}: {self.script or 'as written'}>"

    def show(self, step: int | None = None) -> None:
        """Print the program with what the last step (or step number `step`, from 0) changed highlighted."""
        show.show(self.programs, self.steps, step)

    def source(self, target: str = "cpu") -> str:
        """The source text for "cpu", "cuda" or "triton". Raises UnknownTarget, IllegalProgram where the target refuses the program."""
        return backend(target).source(self.program)

    # -------------------------------------------------------------------------------------------- run
    @cached_property
    def signature(self) -> Signature:
        """Which params a call must bring, and which it may leave out."""
        return signature(self.programs[0])

    def __call__(self, *tensors: object, **dims: int) -> object:
        """Run on the CPU: a tensor or NumPy array per param, written ones in place; params that are made wholly may be left out.

        The written ones are returned: one alone, several as a tuple. `dims`: dims that no shape tells. Raises InputMismatch.
        """
        args = launch.arguments(self.signature, tensors, dims)
        launch.native(self.program).bound(args.tensors, args.dims, torch.get_num_threads())()
        out = args.written(self.program)
        if tensors and not any(isinstance(t, torch.Tensor) for t in tensors) and any(isinstance(t, np.ndarray) for t in tensors):
            out = tuple(t.numpy() for t in out)
        return out[0] if len(out) == 1 else out

    def bench(self, *tensors: object, against: Callable[..., object] | None = None, budget_s: float = 1.0, **dims: int) -> measure.Measured:
        """Time the kernel on these tensors, interleaved with `against(*inputs)` where given. Prints nothing: the result has a text."""
        args = launch.arguments(self.signature, tensors, dims)
        inputs = [t for b, t in zip(self.program.params, args.tensors) if b in self.signature.given]
        return measure.bench(self, args, (lambda: against(*inputs)) if against else None, budget_s)

    def explain(self, *tensors: object, **dims: int) -> explain.Explanation:
        """Bytes, operations, roofline, and where the time goes, for these tensors or for dims given by name; printing it shows the loops."""
        known = launch.arguments(self.signature, tensors, dims).dims if tensors else self.signature.dims({}, dims)
        return explain.explain(self, known)

    def register(self, name: str) -> object:
        """Make it `torch.ops.<name>`, such as "mylib::scale": called with its inputs it gives new outputs, called with its outputs too it
        fills them. torch.compile and torch.export accept it. Raises BadName."""
        return custom_op.register(self, name)
