"""This machine comes in, the figures that a prompt names go out."""

from __future__ import annotations

from ...evaluation.native import thread_count
from ...evaluation.roofline import measured_peaks
from .prompts import Target


def this_machine(threads: int) -> Target:
    """Peaks measured here (kept in the cache), threads and the widest vector instructions."""
    count = threads or thread_count()
    peaks = measured_peaks(count)
    return Target(peaks.flops, peaks.memory, count, _isa())


def _isa() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return ""
    return "AVX-512" if " avx512f" in flags else "AVX2" if " avx2" in flags else ""
