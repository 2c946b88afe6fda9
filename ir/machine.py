"""What a schedule and a report need to know about a machine: ISA, caches, peaks. A backend fills it in; nothing here measures."""

from __future__ import annotations

from dataclasses import dataclass

ISAS = {"avx512": (16, 32), "avx2": (8, 16), "portable": (4, 16), "cuda": (32, 255), "triton": (32, 255)}
"""ISA -> (float32 lanes of a vector register, vector registers); of a GPU the threads of a warp, and registers of a thread."""

DOTS = {"u8": ("vnni16", "avx512_vnni"), "bf16": ("bf16dot16", "avx512_bf16")}
"""Dtype -> (intrinsic of `ir.intrinsic`, the CPU feature it needs)."""

WARP_PRODUCTS = {"f16": "mma_m16n8k16_f16", "bf16": "mma_m16n8k16_bf16"}
"""Dtype of both sides -> the intrinsic of `ir.intrinsic` that a GPU of compute capability 8.0 and more has for it."""


@dataclass(frozen=True)
class Machine:
    """One CPU socket as a process sees it, or one GPU (isa `cuda` or `triton`: cores are its multiprocessors, l1 the shared memory of a block).

    `features`: names such as vnni, avx512_bf16. `flops`: peak float32 operations per second of one core, `bandwidth`: bytes per second that
    one core reads from memory, `bandwidth_all`: all cores together, `bandwidth_cache`: one core from the last-level cache; 0 where not measured.
    """

    name: str
    isa: str
    cores: int
    l1: int
    l2: int
    l3: int
    features: frozenset[str] = frozenset()
    flops: float = 0.0
    bandwidth: float = 0.0
    bandwidth_all: float = 0.0
    bandwidth_cache: float = 0.0

    @property
    def lanes(self) -> int:
        """Float32 lanes of a vector register."""
        return ISAS[self.isa][0]

    @property
    def registers(self) -> int:
        """Vector registers."""
        return ISAS[self.isa][1]

    def dot(self, dtype: str) -> str:
        """The intrinsic that sums products of neighbours, by the dtype of its left side; empty where there is none."""
        name, feature = DOTS.get(dtype, ("", ""))
        return name if self.isa == "avx512" and feature in self.features else ""

    def warp_product(self, dtype: str) -> str:
        """The intrinsic by which a warp multiplies tiles of a dtype, sums in f32; empty where there is none."""
        modern = any(f.startswith("sm_") and int(f[3:]) >= 80 for f in self.features)
        return WARP_PRODUCTS.get(dtype, "") if self.isa == "cuda" and modern else ""

    def floor_seconds(self, flops: float, nbytes: float, threads: int = 1) -> float:
        """The roofline (Williams et al. 2009): no run is shorter than its arithmetic at peak or its bytes at full bandwidth. Data that
        half the last-level cache holds is taken to come from there."""
        if nbytes <= self.l3 / 2 and self.bandwidth_cache:
            bandwidth = self.bandwidth_cache * threads
        else:
            bandwidth = self.bandwidth if threads == 1 else max(self.bandwidth, self.bandwidth_all)
        by_flops = flops / (self.flops * threads) if self.flops else 0.0
        return max(by_flops, nbytes / bandwidth if bandwidth else 0.0)
