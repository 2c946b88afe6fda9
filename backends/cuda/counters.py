"""Hardware counters by Nsight Compute: programs come in, what share of the GPU's peaks each of them reached goes out.

`ncu` runs a process of its own that launches every program once on tensors of the right shapes; it needs the right to read counters. Raises
NoCounters.
"""

from __future__ import annotations

import csv
import io
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...ir.diagnostic import WarploomError
from .program import CudaProgram

METRICS = {
    "seconds": "gpu__time_duration.sum",
    "memory": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "compute": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "warps": "sm__warps_active.avg.pct_of_peak_sustained_active",
}
TIMEOUT_S = 120.0


class NoCounters(WarploomError):
    """Nsight Compute gave no counters. Run it as a user who may read them (NVIDIA: ERR_NVGPUCTRPERM), or go on without."""

    code = "WL-E119"
    exit_code = 3


@dataclass(frozen=True)
class Counters:
    """Shares of the peak, 0 to 1: bandwidth of the memory, throughput of the multiprocessors, resident warps."""

    memory: float
    compute: float
    warps: float

    def words(self) -> str:
        return f"counters: {100 * self.memory:.0f}% of the bandwidth, {100 * self.compute:.0f}% of the arithmetic, {100 * self.warps:.0f}% of the warps"


def tool() -> str | None:
    """Where Nsight Compute is."""
    return shutil.which("ncu")


def counted(programs: Sequence[CudaProgram], language: str) -> list[Counters]:
    """One for each program, its launches weighted by their time. `language`: cuda or triton."""
    ncu = tool()
    if ncu is None:
        raise NoCounters("Nsight Compute (ncu) is not installed")
    with tempfile.TemporaryDirectory(prefix="warploom-counters-") as folder:
        path = Path(folder) / "programs"
        path.write_bytes(pickle.dumps((language, list(programs))))
        command = [ncu, "--csv", "--metrics", ",".join(METRICS.values()), sys.executable, "-m", f"{__package__}.launched", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise NoCounters(f"Nsight Compute took more than {TIMEOUT_S:.0f} s") from None
    if done.returncode != 0 or '"Metric Name"' not in done.stdout:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERR" in line.upper()] or [f"it ended with {done.returncode}"]
        raise NoCounters(f"Nsight Compute: {said[0].strip('= ')[:200]}")
    return read(done.stdout, programs)


def read(text: str, programs: Sequence[CudaProgram]) -> list[Counters]:
    """What `ncu --csv` printed, with one row for each metric of each launch; launches of others are left out."""
    names = {k.name for p in programs for k in p.kernels}
    launches: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(io.StringIO(text[text.index('"ID"') :])):
        if _function(row["Kernel Name"] or "") in names:
            launches.setdefault(row["ID"], {})[row["Metric Name"]] = float((row["Metric Value"] or "nan").replace(",", ""))
    rows = list(launches.values())
    if len(rows) != sum(len(p.launches) for p in programs):
        raise NoCounters(f"Nsight Compute saw {len(rows)} launches, not {sum(len(p.launches) for p in programs)}")
    out = []
    for p in programs:
        own, rows = rows[: len(p.launches)], rows[len(p.launches) :]
        out.append(Counters(*(_mean(own, METRICS[name]) for name in ("memory", "compute", "warps"))))
    return out


def _function(name: str) -> str:
    """`scale` of `void scale<int>(float *)`."""
    return name.split("(")[0].split("<")[0].strip().split(" ")[-1]


def _mean(launches: Sequence[dict[str, float]], metric: str) -> float:
    """In shares, weighted by time (only its ratios matter, so its unit does not)."""
    weights = [row[METRICS["seconds"]] for row in launches]
    return sum(w * row[metric] for w, row in zip(weights, launches)) / (100 * sum(weights))
