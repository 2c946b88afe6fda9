"""Instruction sets the CPU backend prints for. Comes in: /proc/cpuinfo. Goes out: an `Isa` record with compiler flags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

COMMON_FLAGS = ("-O3", "-std=c++17", "-fopenmp", "-fno-math-errno", "-ffp-contract=fast", "-fwrapv", "-Wno-psabi")


@dataclass(frozen=True)
class Isa:
    """`lanes`: float32 elements of one native vector. `needs`: the CPU flags without which its code cannot run."""

    name: str
    lanes: int
    machine_flags: tuple[str, ...]
    needs: frozenset[str]

    @property
    def flags(self) -> tuple[str, ...]:
        """Compiler flags that the printed code assumes; -ffast-math is never one of them."""
        return (*COMMON_FLAGS, *self.machine_flags)


_AVX2 = frozenset({"avx2", "fma", "f16c", "bmi2"})
AVX512 = Isa(
    "avx512", 16, ("-march=native", "-mprefer-vector-width=512"), _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
)
AVX2 = Isa("avx2", 8, ("-march=x86-64-v3",), _AVX2)
PORTABLE = Isa("portable", 4, ("-march=x86-64-v2",), frozenset())
ISAS = (AVX512, AVX2, PORTABLE)


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Feature flags of the first CPU; none where the file does not say."""
    if not cpuinfo.is_file():
        return frozenset()
    for line in cpuinfo.read_text(errors="replace").splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def detect(flags: Iterable[str] | None = None) -> Isa:
    """The widest instruction set that runs on a CPU with these flags (default: this CPU)."""
    have = cpu_flags() if flags is None else frozenset(flags)
    return next(isa for isa in ISAS if isa.needs <= have)


def by_name(name: str) -> Isa:
    """The record called `name`. Raises KeyError."""
    return {isa.name: isa for isa in ISAS}[name]
