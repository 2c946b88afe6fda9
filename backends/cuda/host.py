"""The GPU that schedules are made for, as a Machine: the one that is here, else an H100 by its datasheet."""

from __future__ import annotations

import torch

from ...ir.machine import Machine

H100 = Machine(
    "NVIDIA H100 SXM (by datasheet: no GPU here)", "cuda", 132, 227 << 10, 50 << 20, 0, frozenset({"sm_90"}), 67e12 / 132, 3.35e12 / 132, 3.35e12
)  # fmt: skip
"""NVIDIA H100 Tensor Core GPU datasheet: 132 multiprocessors, 67 Tflop/s float32, 3.35 TB/s, 50 MB L2; 227 KiB shared memory a block."""

FLOAT_UNITS = {(7, 0): 64, (7, 2): 64, (7, 5): 64, (8, 0): 64}
"""Float32 units of a multiprocessor by compute capability (CUDA C++ Programming Guide, arithmetic instructions); all later ones have 128."""


def machine() -> Machine:
    """The current GPU of torch, its peaks from its clocks and widths; or H100."""
    if not torch.cuda.is_available():
        return H100
    p = torch.cuda.get_device_properties(torch.cuda.current_device())
    shared = getattr(p, "shared_memory_per_block_optin", 99 << 10)
    flops = 2 * FLOAT_UNITS.get((p.major, p.minor), 128) * 1e3 * p.clock_rate
    bandwidth = 2 * 1e3 * p.memory_clock_rate * p.memory_bus_width / 8
    features = frozenset({f"sm_{p.major}{p.minor}"})
    return Machine(p.name, "cuda", p.multi_processor_count, shared, p.L2_cache_size, 0, features, flops, bandwidth / p.multi_processor_count, bandwidth)


def no_gpu() -> str:
    """Why torch sees no GPU, in one line."""
    if torch.version.cuda is None:
        return f"no GPU here that torch can use: torch {torch.__version__} is built without CUDA"
    return f"no GPU here that torch {torch.__version__} can use: it needs a driver for CUDA {torch.version.cuda}, and CUDA_VISIBLE_DEVICES not to hide the GPU"
