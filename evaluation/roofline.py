"""What a task needs at least and a machine come in, the least time that any implementation can take goes out.

This machine's peaks are measured once and kept in the cache folder. A rejection uses generous multiples of them, so that a noisy
measurement never condemns honest work; the reported fraction uses the peaks themselves (Williams et al., Roofline, 2009).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from .timing import last_level_cache

MARGIN = 2.5  # above the measured peaks nothing is believed
# No core of today does more, whatever a busy machine has measured: two 512-bit FMAs and two loads at 6 GHz; 200 GB/s from memory.
CORE_FLOPS, CORE_CACHE, MEMORY = 64 * 6e9, 128 * 6e9, 200e9
MEASUREMENTS = 4


@dataclass(frozen=True)
class Peaks:
    """Float32 operations per second, bytes per second from memory and from the innermost caches, all threads together."""

    flops: float
    memory: float
    caches: float


@dataclass(frozen=True)
class Bound:
    """`expected_ms` by the measured peaks, `least_ms` with the margin of a rejection, and the reason in words."""

    expected_ms: float
    least_ms: float
    words: str


def bound_of(cost, threads: int) -> Bound:
    """The bound of one cold run: arithmetic at peak, or bytes at memory speed where they exceed the last-level cache."""
    peaks = measured_peaks(threads)
    cached = cost.bytes <= 2 * last_level_cache()
    computing = cost.contraction_flops / peaks.flops
    expected = max(cost.bytes / peaks.memory, computing)
    most = Peaks(
        max(MARGIN * peaks.flops, threads * CORE_FLOPS),
        max(MARGIN * peaks.memory, MEMORY),
        max(MARGIN * peaks.caches, threads * CORE_CACHE),
    )
    least = max(cost.bytes / (most.caches if cached else most.memory), cost.contraction_flops / most.flops)
    which = "arithmetic" if computing > cost.bytes / peaks.memory else "memory"
    amount = (
        f"{cost.contraction_flops / 1e9:.3g} GFLOP at {peaks.flops / 1e9:.0f} GFLOP/s"
        if which == "arithmetic"
        else f"{cost.bytes / 1e6:.3g} MB at {peaks.memory / 1e9:.1f} GB/s"
    )
    return Bound(1e3 * expected, 1e3 * least, f"{which} allows {1e3 * expected:.4f} ms ({amount})")


@cache
def measured_peaks(threads: int) -> Peaks:
    """Peaks of this machine with so many threads: the best of several measurements, one per session until there are enough."""
    source = Path(__file__).with_name("worker") / "peaks.cpp"
    key = hashlib.sha256(source.read_bytes() + f"{_model()}{threads}{os.cpu_count()}".encode()).hexdigest()[:16]
    kept = _folder() / f"peaks-{key}.json"
    try:
        known = [Peaks(**values) for values in json.loads(kept.read_text())]
    except (OSError, ValueError, TypeError):
        known = []
    if len(known) < MEASUREMENTS:
        known.append(_measure(source, threads))
        _keep(kept, json.dumps([asdict(p) for p in known]))
    return Peaks(max(p.flops for p in known), max(p.memory for p in known), max(p.caches for p in known))


def _measure(source: Path, threads: int) -> Peaks:
    with tempfile.TemporaryDirectory() as work:
        program = Path(work) / "peaks"
        subprocess.run(
            ["g++", "-std=c++17", "-O3", "-march=native", "-fopenmp", str(source), "-o", str(program)],
            check=True,
            capture_output=True,
        )
        said = subprocess.run([str(program), str(threads)], check=True, capture_output=True, text=True).stdout.split()
    return Peaks(*map(float, said))


def _folder() -> Path:
    return Path(
        os.environ.get("WARPLOOM_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "warploom"
    )


def _keep(path: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(text)
        partial.replace(path)


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("model name")), "")
