"""Re-runs a data set from its files alone: rows come in, what no longer holds goes out.

Knows no Graph and no printer of ours. The C side is compiled by its recorded command in a folder of its own and called on inputs drawn from their
expressions; the CUDA side is compiled with nvcc (for sm_80) where there is one, and its launches must be complete.
"""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..backends.emulator.isolate import in_child
from ..backends.emulator.numpy_text import evaluate
from ..ir.diagnostic import MissingTool, Unreadable, WarploomError
from .export import read_rows, unpacked
from .program import Array
from .record import SCHEMA, Pair
from .reference import differs
from .run_sides import SHORT_US, time_c

SAMPLE = 20
_SECONDS = 120
_COMPILERS = ("g++", "gcc", "c++", "cc", "clang", "clang++")
_COLUMNS = (
    "id", "family", "split", "category", "graph", "cuda_source", "cuda_launches", "cuda_strategy", "buffers", "c_source", "c_entry", "c_args", "c_compile",
    "c_strategy", "inputs", "outputs", "verdicts", "times", "license", "provenance",
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """One thing that does not hold of a pair."""

    id: str
    what: str


@dataclass(frozen=True)
class Raced:
    """Microseconds a call of the C side and of its unscheduled form, their ratio with a 95% interval."""

    id: str
    c_us: float
    naive_c_us: float
    speedup: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Report:
    """`checked`: pairs that were run; `faults`: of all pairs."""

    pairs: int
    checked: int
    nvcc: bool
    faults: tuple[Fault, ...]
    raced: tuple[Raced, ...] = ()

    def to_json(self) -> dict[str, Any]:
        faults = [{"id": f.id, "what": f.what} for f in self.faults]
        value = {"ok": not self.faults, "pairs": self.pairs, "checked": self.checked, "nvcc": self.nvcc, "faults": faults}
        return value | ({"times": self.times(), "rows": [asdict(r) for r in self.raced]} if self.raced else {})

    def times(self) -> dict[str, Any]:
        """Over the pairs of which both forms take SHORT_US or more: the geometric mean, how many, how many intervals lie below 0.9."""
        long = [r for r in self.raced if min(r.c_us, r.naive_c_us) >= SHORT_US]
        mean = math.exp(sum(math.log(r.speedup) for r in long) / len(long)) if long else None
        return {"geomean": mean, "measured": len(long), "slow": sum(r.interval[1] < 0.9 for r in long), "short": len(self.raced) - len(long)}


def check(folder: Path, sample: int = SAMPLE, seed: int = 0, race: bool = False) -> Report:
    """Checks what all rows say, and runs `sample` of them (0: all); `race`: also times their C sides beside the unscheduled forms, call by call in
    turn. Raises Unreadable, MissingTool."""
    rows = read_rows(folder)
    faults: list[Fault] = _schema(rows)
    good: list[dict[str, Any]] = []
    for row in rows:
        found, whole = _read(row)
        faults += [Fault(str(row.get("id")), w) for w in found]
        good += [whole] if whole is not None else []
    faults += _together(good)
    rng = np.random.Generator(np.random.PCG64(seed))
    chosen = good if not sample or sample >= len(good) else [good[k] for k in sorted(rng.choice(len(good), sample, replace=False))]
    if shutil.which("g++") is None:
        raise MissingTool("g++ is not installed", hint="install a C++ compiler")
    nvcc = shutil.which("nvcc")
    raced: list[Raced] = []
    for row in chosen:
        faults += [Fault(row["id"], w) for w in _guarded(lambda r=row: _run(r, nvcc, raced if race else None))]
    return Report(len(rows), len(chosen), nvcc is not None, tuple(faults), tuple(raced))


def _read(row: dict[str, Any]) -> tuple[list[str], dict[str, Any] | None]:
    """What a row alone shows to be wrong; and the row with its structures, None where it cannot be read."""
    try:
        whole = unpacked(row)
        Pair.model_validate({k: whole.get(k) for k in Pair.model_fields})
    except Unreadable as error:
        return [error.message], None
    except ValidationError as error:
        first = error.errors()[0]
        return [f"the row is corrupted: {'.'.join(map(str, first['loc']))}: {first['msg']}"], None
    found = _guarded(lambda: _static(whole))
    return found, None if any(w.startswith(_CORRUPTED) for w in found) else whole


_CORRUPTED = "the row is corrupted"


def _guarded(work: Callable[[], list[str]]) -> list[str]:
    """What `work` finds; a structure without its fields is a finding too."""
    try:
        return work()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OSError) as error:
        return [f"{_CORRUPTED}: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"]


def _schema(rows: Sequence[dict[str, Any]]) -> list[Fault]:
    missing = [c for c in _COLUMNS if rows and c not in rows[0]]
    if missing:
        raise Unreadable(f"the file has no column {missing[0]!r}: not a data set of this schema")
    other = {r.get("schema_version") for r in rows} - {SCHEMA}
    if other:
        raise Unreadable(f"the file has schema {sorted(map(str, other))[0]}, this version reads {SCHEMA}")
    return []


def _together(rows: Sequence[dict[str, Any]]) -> list[Fault]:
    """No id twice, no family in two splits."""
    faults, ids, splits = [], set(), {}
    for r in rows:
        if r["id"] in ids:
            faults.append(Fault(r["id"], "another pair has this id"))
        ids.add(r["id"])
        if splits.setdefault(r["family"], r["split"]) != r["split"]:
            faults.append(Fault(r["id"], f"its family {r['family']} stands in two splits"))
    return faults


def _static(row: dict[str, Any]) -> list[str]:
    """Launches name kernels of the source and buffers of the record; both sides have the same inputs and outputs."""
    buffers = {b["name"]: b for b in row["buffers"]}
    kernels = set(re.findall(r"__global__[^{;]*?\b(\w+)\s*\(", re.sub(r"__launch_bounds__\([\w, ]+\)", "", row["cuda_source"])))
    out = []
    for x in row["cuda_launches"]:
        if x["kernel"] not in kernels:
            out.append(f"no kernel {x['kernel']} in the CUDA source")
        if unknown := [a for a in x["args"] if a not in buffers]:
            out.append(f"the launch of {x['kernel']} names an unknown buffer {unknown[0]}")
        if len(x["grid"]) != 3 or len(x["block"]) != 3 or not 0 < math.prod(x["block"]) <= 1024 or min(x["grid"]) < 1:
            out.append(f"the launch of {x['kernel']} is incomplete")
    for role, which in (("input", "in"), ("output", "out")):
        if sorted(b["name"] for b in row["buffers"] if b["role"] == role) != sorted(a["name"] for a in row["c_args"] if a["role"] == which):
            out.append(f"the two sides have other {role}s")
    return out


# ------------------------------------------------------------------------------------------------ running
def _run(row: dict[str, Any], nvcc: str | None, raced: list[Raced] | None = None) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="warploom-check-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        faults = _nvcc(row, nvcc, folder) if nvcc else []
        (folder / "source.cpp").write_text(row["c_source"])
        command = row["c_compile"].format(source="source.cpp", library="./library.so").split()
        if not command or command[0] not in _COMPILERS:
            return [*faults, f"the command of the C side is no compiler's: {row['c_compile'][:80]}"]
        failed = _compiler(command, folder)
        if failed:
            return [*faults, f"the C side does not compile: {failed}"]
        try:
            if raced is not None:
                raced.append(_race(row, folder))
            return [*faults, *in_child(lambda: _cases(row, folder / "library.so"))]
        except WarploomError as error:
            return [*faults, f"the C side: {error.message}"]


def _race(row: dict[str, Any], folder: Path) -> Raced:
    (folder / "naive.cpp").write_text(row["c_naive"])
    if failed := _compiler(row["c_compile"].format(source="naive.cpp", library="./naive.so").split(), folder):
        raise Unreadable(f"the unscheduled form does not compile: {failed}")
    values = row["inputs"]["cases"][0]["values"]
    known = {b["name"]: b for b in row["buffers"]}
    arrays = [np.ascontiguousarray(evaluate(values[a["name"]])) for a in row["c_args"] if a["role"] == "in"]
    outputs = [Array(a["name"], known[a["name"]]["dtype"], tuple(known[a["name"]]["shape"])) for a in row["c_args"] if a["role"] == "out"]
    times = time_c([folder / "naive.so", folder / "library.so"], arrays, outputs)
    ratio, low, high = times.ratios[1]
    return Raced(row["id"], times.microseconds[1], times.microseconds[0], ratio, (low, high))


def _compiler(command: Sequence[str], folder: Path) -> str:
    """Empty where it succeeds, else its first error."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (subprocess.TimeoutExpired, OSError) as error:
        return str(error)[:200]
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    return "" if done.returncode == 0 else (lines or ["no message"])[0][:200]


def _nvcc(row: dict[str, Any], nvcc: str, folder: Path) -> list[str]:
    (folder / "kernel.cu").write_text(row["cuda_source"])
    failed = _compiler([nvcc, "-std=c++17", "-arch=sm_80", "-cubin", "kernel.cu", "-o", "kernel.cubin"], folder)
    return [f"the CUDA side does not compile: {failed}"] if failed else []


def _cases(row: dict[str, Any], library: Path) -> list[str]:
    signal.alarm(_SECONDS)
    loaded = ctypes.CDLL(str(library))
    entry = getattr(loaded, row["c_entry"])
    entry.restype = None
    shapes = {b["name"]: (b["shape"], b["dtype"]) for b in row["buffers"]}
    faults: list[str] = []
    for number, case in enumerate(row["inputs"]["cases"]):
        arrays = {name: np.ascontiguousarray(evaluate(text)) for name, text in case["values"].items()}
        for a in row["c_args"]:
            if a["role"] == "out":
                shape, dtype = shapes[a["name"]]
                arrays[a["name"]] = np.full(shape, 77, np.uint16 if dtype == "bfloat16" else dtype)
        entry(*(ctypes.c_void_p(arrays[a["name"]].ctypes.data) for a in row["c_args"]))
        faults += [w for o in row["outputs"] if o["case"] == number and (w := differs(o, arrays[o["name"]]))]
    return faults

