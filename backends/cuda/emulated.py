"""Runs a CudaProgram on the CPU, in the emulator: arrays by buffer name come in, the same arrays changed go out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ..emulator.execute import LoadedKernel, load
from ..emulator.launch import Launch
from ..emulator.sidecar import poisoned
from ..emulator.unit import Call, Parameter, build_unit
from .program import CudaProgram, Launched


class Emulated:
    """A program built for given dims. `run` may be called as often as wanted. Raises BuildFailed, KernelFailed."""

    def __init__(self, program: CudaProgram, dims: Mapping[str, int] | None = None):
        self.program, self.dims = program, dict(dims or {})
        self.sized = program.at(self.dims)
        self.names = [*(d.name for d in program.dims), *(b.name for b in program.buffers)]
        scalars = [Parameter(d.name, "int64", pointer=False) for d in program.dims]
        self.params = [*scalars, *(Parameter(b.name, b.numpy_dtype) for b in program.buffers)]
        self.kernel = self._load()

    def _load(self) -> LoadedKernel:
        calls = [self._call(x) for x in self.sized.launches]
        return load(build_unit(self.program.source, calls, self.params, filename=f"{self.program.name}.cu"))

    def _call(self, x: Launched) -> Call:
        where = {name: k for k, name in enumerate(self.names)}
        return Call(x.kernel, Launch(x.grid, x.block, x.shared_bytes), tuple(where[a] for a in x.args))

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All launches in order. `arrays`: one for each buffer that is read before it is written; bfloat16 as uint16. Buffers without one
        are made, filled with poison; all buffers are returned by name."""
        made = {b.name: arrays[b.name] if b.name in arrays else self._blank(b.name) for b in self.program.buffers}
        values = [np.int64(self.dims[d.name]) for d in self.program.dims]
        self.kernel.run(self.params, [*values, *made.values()])
        return made

    def on_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """All launches on dense CPU tensors, one for each buffer, changed in place."""
        arrays = [_array(tensors[b.name]) for b in self.program.buffers]
        values = [np.int64(self.dims[d.name]) for d in self.program.dims]
        self.kernel.run(self.params, [*values, *arrays])

    def _blank(self, name: str) -> np.ndarray:
        b = self.program.buffer(name)
        dtype = np.dtype("uint16" if b.dtype == "bf16" else b.numpy_dtype)
        return poisoned(self.sized.shapes[name], dtype)


def _array(t: torch.Tensor) -> np.ndarray:
    """The tensor's own memory; bfloat16 as its bits."""
    return (t.view(torch.uint16) if t.dtype is torch.bfloat16 else t).numpy()
