"""A Task whose text is a Kernel program comes in, the reference that the judge asks goes out.

The text becomes plain serial C (`kernel_c`). `suites.code_reference` runs it: values in double, movements by an error of float32's size after
each operation, and the C itself as the baseline of times. The call takes the sizes of the dims, then what the program only reads, then
what it writes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ir.interpret import evaluate
from ..ir.text import parse_program
from ..ir.verify import verify
from .families import Draw
from .graph_model import own_sizes
from .graph_task import sizes_said
from .kernel_c import arguments, print_c
from .reference import CaseFiles, Description
from .sandbox import Sandbox
from .signature import Argument, Signature
from .suites.builds import Builds
from .suites.code_reference import CodeReference
from .suites.record import Record
from .task import Task
from .verdict import CannotJudge

ENTRY = "wl_reference"


class KernelReference(CodeReference):
    """Answers what the judge asks of a reference. Raises `CannotJudge` where the program reads an output before it writes it."""

    def __init__(self, task: Task, sandbox: Sandbox, threads: int, folder: str):
        self.program = parse_program(task.text)
        verify(self.program)
        self.sizes = own_sizes(self.program, sizes_said(task))
        given = arguments(self.program, self.sizes)
        self.within = {
            f"p_{b.name}": tuple(evaluate(e, self.sizes) for e in b.within) for b in self.program.params if b.within is not None
        }
        text = print_c(self.program, self.sizes, ENTRY)
        super().__init__(
            Record(task.name, "", "", "", c_code=text, entry=ENTRY, arguments=given), Builds(sandbox), threads, folder
        )
        inputs = self.inputs_of(self.own, 3)
        if not all(
            np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(self.single(inputs), self.single(inputs, 3))
        ):
            self.close()
            raise CannotJudge("the kernel updates a param in place; what it writes must not depend on what lay there before")

    def _draw(self, draw: Draw, seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        made = super()._draw(draw, seed)
        for k, a in enumerate(self.signature.of("input")):
            if a.name in self.within:
                low, high = self.within[a.name]
                made[k] = rng.integers(low, max(high, low + 1), a.shape).astype(a.storage)
        return made

    def describe(self) -> Description:
        """The call with the sizes of the dims first."""
        made = super().describe()
        dims = tuple(Argument(f"dim {name}", "input", "int") for name in self.sizes)
        return replace(
            made, signature=Signature((*dims, *self.signature.arguments)), scalars=(*self.sizes.values(), *made.scalars)
        )

    def case(self, key: str, family: str, seed: int, draws: int) -> CaseFiles | str:
        """One case; the sizes of the dims stand before its arrays."""
        made = super().case(key, family, seed, draws)
        if isinstance(made, str):
            return made
        nothing = (None,) * len(self.sizes)
        return replace(made, arrays=(*nothing, *made.arrays), scalars=(*self.sizes.values(), *made.scalars))

    def moved_by(self, key: str, changes: list[tuple[int, int, float]]) -> list[tuple[str, ...]]:
        """Inputs are counted from the first dim on."""
        return super().moved_by(key, [(which - len(self.sizes), at, value) for which, at, value in changes])
