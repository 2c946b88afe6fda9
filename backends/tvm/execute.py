"""A Graph run by TVM on the CPU, through LLVM, unscheduled: arrays come in and go out as files, or in memory. Needs TVM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.graph import Graph
from .library import codegen, relax, tvm
from .translate import translate


def execute(graph: Graph, folder: Path) -> None:
    """FOLDER/inK.npy for each graph input; writes outK.npy for each output, then for each update. Raises Untranslated."""
    run = compiled(graph)
    inputs = [tvm.runtime.tensor(np.load(folder / f"in{k}.npy")) for k in range(len(graph.inputs))]
    for k, made in enumerate(run(*inputs)):
        np.save(folder / f"out{k}.npy", made.numpy())


def compiled(graph: Graph) -> Callable[..., Any]:
    """TVM's function, for this machine: a TVM tensor for each graph input -> one for each output, then for each update. Raises Untranslated."""
    module = translate(graph)
    passes = relax.transform
    module = tvm.transform.Sequential([passes.AnnotateTIROpPattern(), passes.FuseOps(), passes.FuseTIR()])(module)
    program = tvm.compile(module, target=tvm.target.Target({"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu()}))
    return relax.VirtualMachine(program, tvm.cpu())["main"]


def shared(array: Any) -> Any:
    """A TVM tensor over the memory of an array or of a torch tensor."""
    return tvm.runtime.from_dlpack(array)
