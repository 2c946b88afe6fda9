"""A process for a profiler to look at: a file with programs comes in; each is launched once on the GPU, on tensors of the right shapes."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import torch

from ...frontend.dtypes import TORCH_DTYPE
from ..triton.run import triton
from .program import CudaProgram
from .runtime import cuda


def main() -> None:
    language, programs = pickle.loads(Path(sys.argv[1]).read_bytes())
    build = triton if language == "triton" else cuda
    place = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    for p in programs:
        build(p, {}, place).on_tensors(_tensors(p, place))


def _tensors(p: CudaProgram, place: torch.device) -> dict[str, torch.Tensor]:
    """Floats of a normal distribution; whole numbers are zero, since they may be places in another array."""
    shapes = p.at({}).shapes
    out = {}
    for b in p.buffers:
        dtype = TORCH_DTYPE[b.dtype]
        out[b.name] = torch.randn(shapes[b.name], device=place).to(dtype) if dtype.is_floating_point else torch.zeros(shapes[b.name], dtype=dtype, device=place)
    return out


if __name__ == "__main__":
    main()
