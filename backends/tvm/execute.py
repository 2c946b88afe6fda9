"""A Graph run by TVM on the CPU, through LLVM, unscheduled: arrays come in and go out as files. Needs TVM."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...ir.graph import Graph
from .library import relax, tvm
from .translate import translate


def execute(graph: Graph, folder: Path) -> None:
    """FOLDER/inK.npy for each graph input; writes outK.npy for each output, then for each update. Raises Untranslated."""
    module = translate(graph)
    passes = relax.transform
    module = tvm.transform.Sequential([passes.AnnotateTIROpPattern(), passes.FuseOps(), passes.FuseTIR()])(module)
    program = tvm.compile(module, target=tvm.target.Target("llvm"))
    machine = relax.VirtualMachine(program, tvm.cpu())
    inputs = [tvm.runtime.tensor(np.load(folder / f"in{k}.npy")) for k in range(len(graph.inputs))]
    for k, made in enumerate(machine["main"](*inputs)):
        np.save(folder / f"out{k}.npy", made.numpy())
