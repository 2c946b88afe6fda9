"""The CUDA side of a pair by TVM: a Graph comes in, the dlight-scheduled side and what a record says of it go out, or why TVM has none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..backends.tvm import client
from ..backends.tvm.errors import TvmFailed, Untranslated
from ..ir.graph import Graph
from .c_side import NotAPair
from .cuda_side import CudaSide

MOST_TEXT = 30_000
"""Characters of a source that somebody may still want to read: TVM repeats what it inlines."""


@dataclass(frozen=True)
class DlightSide:
    """`kernels`: for each its name, TIR text before the schedule, and the rule of dlight; `by`: TVM with its version."""

    side: CudaSide
    kernels: tuple[dict[str, str], ...]
    by: str


def missing() -> str:
    """One line where TVM is not installed, else nothing."""
    return "" if client.version() else 'TVM is not installed (pip install "warploom[tvm]"): no CUDA side is made by dlight, ours stand instead'


def dlight_side(graph: Graph) -> DlightSide | str:
    """The side, or the reason why there is none. Raises NotAPair."""
    if client.version() is None:
        return "TVM is not installed"
    try:
        made = client.cuda_program(graph)
    except (Untranslated, TvmFailed) as error:
        return error.message
    program = made.program
    if len(program.source) > MOST_TEXT:
        return f"TVM's source has {len(program.source)} characters"
    unused = {i.name for i in graph.inputs} - {b.name for b in program.buffers}
    if unused:
        raise NotAPair(f"no kernel uses {sorted(unused)[0]}")
    kernels = tuple({"name": k.name, "naive": _bare(made.functions[k.name]), "script": f"dlight.{made.rules[k.name]}"} for k in program.kernels)
    return DlightSide(CudaSide(program, {k["name"]: k["script"] for k in kernels}), kernels, f"TVM {client.version()}")


def _bare(text: str) -> str:
    """TIR text without its head of comments."""
    return re.sub(r"^(#[^\n]*\n|\s*\n)+", "", text)
