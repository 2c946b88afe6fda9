"""Runs the two sides of a pair, each in a process of its own: sources come in, output arrays, findings and times go out.

The C side is built by the very command that its record states. What crashes or hangs ends its own process alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..backends.cache import cached
from ..backends.emulator.check import Argument, check_unit
from ..backends.emulator.execute import build
from ..backends.emulator.isolate import in_child
from ..backends.emulator.launch import Launch
from ..backends.emulator.sidecar import poisoned
from ..backends.emulator.unit import C_TYPES, Call, Parameter, Unit, build_unit
from ..backends.toolchain import compiler, open_library, run_parallel
from ..ir.diagnostic import BuildFailed
from .c_side import COMPILE, ENTRY
from .cuda_side import CudaSide
from .program import Array

SECONDS = 60
"""Of processor time: a run that takes longer is too large or does not end. Ten times as long by the clock: it waits for ever."""
COMPILE_SECONDS = 120
ROUNDS = 9
SHORT_US = 20.0
"""Calls shorter than this are left out of speedups: a clock and a loop weigh too much."""
_SLICE = 0.002
_MOST_CALLS = 2000
_PAIR = "wl_pair"
STANDARD = ("immintrin.h", "omp.h", "cmath", "cstdint", "limits", "type_traits", "utility", "cstdlib")


@dataclass(frozen=True)
class Times:
    """Microseconds a call of each library, medians of interleaved rounds; `ratios` of the first library's to each, with a 95% interval."""

    microseconds: tuple[float, ...]
    ratios: tuple[tuple[float, float, float], ...]


def build_c(sources: Mapping[str, tuple[str, str]], folder: Path) -> dict[str, Path]:
    """Compiles each (source, command) as the command says, standard headers precompiled: the libraries are the same, byte for byte. Raises
    BuildFailed with the compiler's first error."""
    running = {}
    include = _precompiled(folder) if any(command == COMPILE for _, command in sources.values()) else []
    for name, (text, command) in sources.items():
        (folder / f"{name}.cpp").write_text(text)
        words = command.format(source=f"{name}.cpp", library=f"{name}.so").split() + (include if command == COMPILE else [])
        running[name] = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    failed = ""
    for process in running.values():
        try:
            _, said = process.communicate(timeout=COMPILE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            said = "error: the compiler takes too long"
        if process.returncode:
            failed = failed or next((x for x in said.splitlines() if "error" in x), said[:200])
    if failed:
        raise BuildFailed(f"the C side does not compile: {failed.strip()[:300]}")
    return {name: folder / f"{name}.so" for name in sources}


def _precompiled(folder: Path) -> list[str]:
    """Flags under which a source whose first header is one of STANDARD finds all of them compiled beforehand."""
    with contextlib.suppress(FileExistsError):
        (folder / "headers").mkdir()
        for name in STANDARD:
            os.symlink(_standard_headers(), folder / "headers" / f"{name}.gch")
    return ["-Iheaders"]


@functools.cache
def _standard_headers() -> Path:
    words = [w for w in COMPILE.split() if w not in ("-shared", "{source}", "-o", "{library}")]
    words[words.index("c++")] = "c++-header"
    key = hashlib.sha256(f"{compiler().version} {words} {STANDARD}".encode()).hexdigest()[:24]

    def make() -> bytes:
        with tempfile.TemporaryDirectory(prefix="warploom-pair-", ignore_cleanup_errors=True) as name:
            (Path(name) / "all.h").write_text("".join(f"#include <{h}>\n" for h in STANDARD))
            run_parallel([[*words, "all.h", "-o", "all.gch"]], Path(name))
            return (Path(name) / "all.gch").read_bytes()

    return cached(f"pairs-{key}.gch", make)


def run_c(library: Path, inputs: Sequence[Sequence[np.ndarray]], outputs: Sequence[Array]) -> list[list[np.ndarray]]:
    """Outputs for each set of inputs; each output is poisoned before the call, and inputs must come back as they were."""
    return in_child(lambda: _limited(lambda: [_call(library, arrays, outputs) for arrays in inputs]))


def _limited(work):
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    signal.alarm(10 * SECONDS)
    return work()


def _call(library: Path, arrays: Sequence[np.ndarray], outputs: Sequence[Array]) -> list[np.ndarray]:
    entry = _entry(library)
    given = [a.copy() for a in arrays]
    made = [poisoned(o.shape, _numpy(o.dtype)) for o in outputs]
    entry(*(ctypes.c_void_p(a.ctypes.data) for a in (*given, *made)))
    if any(a.tobytes() != b.tobytes() for a, b in zip(given, arrays)):
        raise BuildFailed("the C side changes its inputs")
    return made


def _entry(library: Path):
    entry = getattr(open_library(library), ENTRY)
    entry.restype = None
    return entry


def time_c(libraries: Sequence[Path], arrays: Sequence[np.ndarray], outputs: Sequence[Array]) -> Times:
    """The libraries in turn, round by round, on the same arrays, one thread each. The clock is that of the thread's processor time: other workers
    compile meanwhile."""
    return in_child(lambda: _limited(lambda: _timed(libraries, arrays, outputs)))


def _timed(libraries: Sequence[Path], arrays: Sequence[np.ndarray], outputs: Sequence[Array]) -> Times:
    made = [poisoned(o.shape, _numpy(o.dtype)) for o in outputs]
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arrays, *made)]
    entries = [_entry(p) for p in libraries]
    ctypes.CDLL(None).omp_set_num_threads(1)
    counts = [_count(e, pointers) for e in entries]
    rounds = np.array([[_seconds(e, pointers, n) for e, n in zip(entries, counts)] for _ in range(ROUNDS)])
    ratios = np.sort(rounds[:, :1] / rounds, axis=0)
    middle, low, high = ROUNDS // 2, 1, ROUNDS - 2
    return Times(
        tuple(float(t) * 1e6 for t in np.median(rounds, axis=0)),
        tuple((float(r[middle]), float(r[low]), float(r[high])) for r in ratios.T),
    )


def _count(entry, pointers) -> int:
    _seconds(entry, pointers, 1)
    return max(1, min(_MOST_CALLS, int(_SLICE / max(1e-7, _seconds(entry, pointers, 1)))))


def _seconds(entry, pointers, calls: int) -> float:
    start = time.thread_time()
    for _ in range(calls):
        entry(*pointers)
    return (time.thread_time() - start) / calls


# ------------------------------------------------------------------------------------------------ CUDA, emulated
def cuda_library(side: CudaSide, arguments: Sequence[Array]) -> bytes:
    """The emulator's library of a side, with an entry `kernel` that takes `arguments` in order; temporaries are its own, poisoned in each call.
    Raises BuildFailed."""
    unit = _unit(side, _PAIR)
    serial = ("-fno-openmp",)  # the judge's process has no OpenMP of its own, and a pair one thread
    return build(replace(unit, body=unit.body + _with_temporaries(side, arguments)), flags=serial).read_bytes()


def _with_temporaries(side: CudaSide, arguments: Sequence[Array]) -> str:
    sized = side.program.at({})
    place = {a.name: f"a{k}" for k, a in enumerate(arguments)}
    lines, passed = [], []
    for k, b in enumerate(side.program.buffers):
        if b.name not in place:
            lines += [f"  static unsigned char t{k}[{max(1, sized.nbytes[b.name])}] __attribute__((aligned(256)));", f"  memset(t{k}, 0xff, sizeof t{k});"]
        passed.append(f"({C_TYPES[b.numpy_dtype]}*){place.get(b.name, f't{k}')}")
    head = ", ".join(f"void* {name}" for name in place.values())
    start = f'#include <cstring>\nextern "C" __attribute__((visibility("default"))) void kernel({head}) {{'
    return "\n".join([start, *lines, f"  {_PAIR}({', '.join(passed)});", "}", ""])


def check_cuda(side: CudaSide, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """What the emulator finds when it watches every access of one run: bad accesses, races, unwritten outputs. Empty when clean."""
    unit, arguments = _watched(side, arrays)

    def work() -> list[str]:
        _, findings, failure = check_unit(unit, arguments)
        return [*([failure] if failure else []), *map(str, findings)]

    return in_child(lambda: _limited(work))


def _watched(side: CudaSide, arrays: Mapping[str, np.ndarray]) -> tuple[Unit, list[Argument]]:
    buffers, sized = side.program.buffers, side.program.at({})
    values = [arrays[b.name] if b.name in arrays else poisoned(sized.shapes[b.name], _numpy(b.numpy_dtype)) for b in buffers]
    return _unit(side), [Argument(Parameter(b.name, b.numpy_dtype), v, b.role) for v, b in zip(values, buffers)]


def _unit(side: CudaSide, entry: str = "") -> Unit:
    """All launches on the program's buffers in order."""
    buffers = side.program.buffers
    where = {b.name: k for k, b in enumerate(buffers)}
    calls = [Call(x.kernel, Launch(x.grid, x.block, x.shared_bytes), tuple(where[a] for a in x.args)) for x in side.program.at({}).launches]
    return build_unit(side.source, calls, [Parameter(b.name, b.numpy_dtype) for b in buffers], filename="kernel.cu", entry=entry)


def _numpy(dtype: str) -> np.dtype:
    return np.dtype("uint16" if dtype == "bfloat16" else dtype)
