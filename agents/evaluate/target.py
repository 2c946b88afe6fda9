"""This machine comes in, the figures that a prompt names go out."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import version

from ...evaluation.native import thread_count
from ...evaluation.roofline import measured_peaks
from .prompts import Target


def this_machine(threads: int) -> Target:
    """Peaks measured here (kept in the cache), threads and the widest vector instructions."""
    count = threads or thread_count()
    peaks = measured_peaks(count)
    return Target(peaks.flops, peaks.memory, count, _isa())


def machine_facts(threads: int) -> dict[str, str]:
    """What a report says of this machine and of what judged: processor, threads, compiler, versions."""
    name = _cpuinfo("model name").partition(":")[2].strip()
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout.splitlines() if shutil.which("g++") else []
    return {
        "processor": name or platform.processor() or platform.machine(),
        "threads": f"{threads or thread_count()} threads",
        "compiler": compiler[0] if compiler else "",
        "versions": f"torch {version('torch')}, warploom {version('warploom')}",
    }


def _cpuinfo(start: str) -> str:
    """The first line of /proc/cpuinfo that begins so, "" where there is none."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((line for line in file if line.startswith(start)), "")
    except OSError:
        return ""


def _isa() -> str:
    flags = _cpuinfo("flags")
    return "AVX-512" if " avx512f" in flags else "AVX2" if " avx2" in flags else ""
