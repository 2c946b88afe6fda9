"""One record of a benchmark: what a model is asked to translate, and what an answer is held against.

A record is judged by its own C side (`c_code`), by a reference in KernelBench form or by a graph (`task`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..signature import Argument
from ..task import Task

MOST_SOURCE = 2 << 20  # characters of one source that is handed to a compiler


@dataclass(frozen=True)
class Record:
    """`arguments` are those of the C side in its order, roles input and output; `entry` is the function that an answer defines.

    `kernels` describes a pair whose launches are known (JSON text of a sidecar), "" where they have to be inferred. `published_inputs` are
    the positions among `arguments` of the benchmark's inputs in its own order. A record with `defects` cannot be judged.
    """

    id: str
    suite: str
    category: str
    operator: str
    cuda: str = ""
    c_code: str = ""
    entry: str = ""
    arguments: tuple[Argument, ...] = ()
    task: Task | None = None
    kernels: str = ""
    published_inputs: tuple[int, ...] = ()
    declared: tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]] = ((), ())
    attributes: str = ""
    topology: tuple[str, ...] = ()
    defects: tuple[str, ...] = field(default=())

    @property
    def inputs(self) -> tuple[Argument, ...]:
        """The input arguments in C order."""
        return tuple(a for a in self.arguments if a.role == "input")

    @property
    def outputs(self) -> tuple[Argument, ...]:
        """The output arguments in C order."""
        return tuple(a for a in self.arguments if a.role == "output")

    def defective(self, *reasons: str) -> Record:
        """The record with further defects."""
        return replace(self, defects=(*self.defects, *reasons))

    @property
    def form(self) -> str:
        """`code` (a C function against the record's own), `extension` (of PyTorch), or `pair` (a C function against a graph)."""
        return "code" if self.task is None else "pair" if self.task.kind == "graph" else "extension"

    @property
    def prototype(self) -> str:
        """The C declaration that an answer must define."""
        spell = {"float32": "float", "float64": "double", "bool": "uint8_t"}
        parts = ", ".join(f"{spell.get(a.dtype, a.dtype + '_t')}* {a.name}" for a in self.arguments)
        return f"void {self.entry}({parts})"


@dataclass(frozen=True)
class Suite:
    """What a folder holds: records in their order, and what could not be read (`unread`, one line each)."""

    name: str
    path: str
    records: tuple[Record, ...]
    unread: tuple[str, ...] = ()
