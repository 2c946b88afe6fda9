"""How a pair looks: names, comments and layout, drawn per record, so that a model does not learn one printer. The meaning stays.

Names of arrays are chosen on the Graph, before anything is printed, so that both sides agree. Kernel names, indentation, braces and comments are
those of the printed text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..frontend.operators.trace import renamed
from .c_side import CSide
from .cuda_side import CudaSide
from .program import Program

ARRAYS = ("named", "named", "numbered", "short", "tvm")
KERNELS = ("printed", "printed", "plain", "fused", "operator")
INDENTS = ("    ", "    ", "  ", "\t")


@dataclass(frozen=True)
class Style:
    """`comments`: kernel text above C functions; `own_line`: opening braces on lines of their own."""

    arrays: str
    kernels: str
    indent: str
    own_line: bool
    comments: bool
    head: bool

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Style:
        """A style at random."""
        return cls(
            str(rng.choice(ARRAYS)), str(rng.choice(KERNELS)), str(rng.choice(INDENTS)), bool(rng.random() < 0.2), bool(rng.random() < 0.5),
            bool(rng.random() < 0.5),
        )  # fmt: skip

    def describe(self) -> dict[str, object]:
        """The choices, for a record's provenance."""
        indent = "tab" if self.indent == "\t" else len(self.indent)
        return {"arrays": self.arrays, "kernels": self.kernels, "indent": indent, "own_line": self.own_line, "comments": self.comments}

    def title(self, program: Program) -> list[str]:
        """Lines of comment at the top."""
        return [", ".join(program.operators)] if self.head else []

    def program(self, program: Program) -> Program:
        """The program with its arrays renamed."""
        graph = program.graph
        inputs, outputs = [i.name for i in graph.inputs], list(graph.outputs)
        if self.arrays == "named":
            new = {o: "out" if len(outputs) == 1 else f"out{k}" for k, o in enumerate(outputs)}
        elif self.arrays == "numbered":
            new = {n: f"input{k}" for k, n in enumerate(inputs)} | {o: f"output{k}" for k, o in enumerate(outputs)}
        elif self.arrays == "short":
            new = {n: f"a{k}" for k, n in enumerate(inputs)} | {o: f"y{k}" if k else "y" for k, o in enumerate(outputs)}
        else:
            new = {n: f"ph_{k}" if k else "ph" for k, n in enumerate(inputs)} | {o: f"compute_{k}" if k else "compute" for k, o in enumerate(outputs)}
        changed = renamed(graph, new)
        return replace(program, graph=changed, inputs=tuple(replace(g, name=i.name) for g, i in zip(program.inputs, changed.inputs)))

    def cuda(self, side: CudaSide) -> CudaSide:
        """The side with kernels renamed and its text laid out."""
        program = side.program
        new = {k.name: self._kernel(n, k.name, "kernel") for n, k in enumerate(program.kernels)}
        kernels = tuple(replace(k, name=new[k.name], text=self._laid(_words(k.text, new))) for k in program.kernels)
        launches = tuple(replace(x, kernel=new[x.kernel]) for x in program.launches)
        functions = tuple(self._laid(f) for f in program.functions)
        return replace(side, program=replace(program, kernels=kernels, launches=launches, functions=functions))

    def c(self, side: CSide) -> CSide:
        """The side with functions renamed and its text laid out."""
        new = {name: self._kernel(n, name, "step") for n, (name, _) in enumerate(side.scripts)}
        return replace(side, source=self._laid(_words(side.source, new)), scripts=tuple((new[n], s) for n, s in side.scripts))

    def _kernel(self, number: int, name: str, word: str) -> str:
        if self.kernels == "printed":
            return name
        if self.kernels == "operator":
            return f"{re.sub(r'^k[0-9]+_+|_[0-9]+$', '', name) or 'run'}_{word}{number}"
        return f"fused_{word}_{number}" if self.kernels == "fused" else f"{word}_{number}"

    def _laid(self, text: str) -> str:
        lines: list[str] = []
        for line in text.split("\n"):
            bare = line.lstrip(" ")
            depth = len(line) - len(bare)
            indent = self.indent * (depth // 4) + " " * (depth % 4)
            split = self.own_line and bare.endswith(" {") and not bare.startswith(("//", "#", "*")) and len(bare) > 2
            lines += [indent + bare[:-2], indent + "{"] if split else [indent + bare]
        return "\n".join(lines)


def _words(text: str, new: Mapping[str, str]) -> str:
    changed = {a: b for a, b in new.items() if a != b}
    if not changed:
        return text
    return re.sub(r"\b(" + "|".join(map(re.escape, changed)) + r")\b", lambda m: changed[m[1]], text)
