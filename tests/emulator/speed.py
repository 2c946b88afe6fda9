"""How fast the emulator is, in one interleaved run: barrier switches against a prototype, threads without barriers, turnaround, `--check`.

    python -m tests.emulator.speed [--prototype FOLDER] [--out FILE.json] [--rounds 7] [--no-check | --check-only]

FOLDER has the prototype's `cudaemu.h`. Switches and threads are per second and core, of processor time on one core (others may be using the
machine), by the clock on several. `--check` is the run of one order observed (the screen's, where the kernel is one for it, else the
checker's) over a plain run (-O2, vectorised) of the same kernel on the same data, both built beforehand and by turns, in processor time, for
the kernels of `representative.py`. Prints a table and writes JSON.
"""

import argparse
import ctypes
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from warploom.backends.emulator.argument import Argument
from warploom.backends.emulator.check import CHECK_DEFINES, CHECK_FLAGS, checker, place
from warploom.backends.emulator.execute import Fenced, build, load
from warploom.backends.emulator.launch import Launch
from warploom.backends.emulator.screen import open_screen, screenable
from warploom.backends.emulator.unit import Call, Parameter, build_unit
from warploom.backends.toolchain import compile_library, open_library

from .representative import REPRESENTATIVE
from .test_planted_bugs import argument

BARRIERS = """__global__ void k(int* y, int n) {
  int v = threadIdx.x;
  for (int i = 0; i < n; ++i) { __syncthreads(); v ^= i; }
  y[blockIdx.x * blockDim.x + threadIdx.x] = v;
}"""
PLAIN = "__global__ void k(float* y, const float* x) { int i = blockIdx.x * blockDim.x + threadIdx.x; y[i] = x[i] * 2.0f + 1.0f; }"
PROTOTYPE = """#include "cudaemu.h"
extern "C" void barriers(int* y, int n, int blocks, int threads) {
  emu::launch(dim3(blocks), dim3(threads), true, [=] {
    int v = threadIdx.x;
    for (int i = 0; i < n; ++i) { __syncthreads(); v ^= i; }
    y[blockIdx.x * blockDim.x + threadIdx.x] = v;
  });
}
extern "C" void plain(float* y, const float* x, int blocks, int threads) {
  emu::launch(dim3(blocks), dim3(threads), false, [=] { int i = blockIdx.x * blockDim.x + threadIdx.x; y[i] = x[i] * 2.0f + 1.0f; });
}
"""
_THREADS, _BLOCKS, _ROUNDS_IN_KERNEL = 256, 64, 100
_SIMPLE = 1 << 18


def unit_of(source, launch, arguments):
    call = Call("k", launch, tuple(range(len(arguments))))
    return build_unit(source, (call,), [a.parameter for a in arguments])


def plain_call(unit, arguments):
    """A function that runs the unit once, on memory that it keeps."""
    kernel = load(unit)
    kept = [Fenced(a.parameter.name, a.value) if isinstance(a.value, np.ndarray) else np.atleast_1d(np.asarray(a.value)).copy() for a in arguments]
    slots = (ctypes.c_void_p * len(kept))(*(k.address if isinstance(k, Fenced) else k.ctypes.data for k in kept))
    return lambda: (kernel.library.wl_run(slots), kept)[0]


def screened_call(unit, arguments):
    """The same with every access observed by the screen: what to do before, a run, what to do after."""
    screen = open_screen(unit)
    keep: list = []

    def prepare():
        return screen.place(arguments, keep)

    def run(slots):
        assert not screen.library.wl_run(slots), f"tripped: {screen.library.wl_screen_tripped()}"

    return prepare, run, screen.library.wl_screen_free


def checked_call(unit, arguments):
    """The same with every access observed by the checker, in one order of threads."""
    tool = checker()
    library = open_library(build(unit, flags=CHECK_FLAGS, extra=CHECK_DEFINES))
    keep: list = []

    def prepare():
        tool.wl_check_set_order(0)
        return (ctypes.c_void_p * max(1, len(arguments)))(*(place(tool, a, keep) for a in arguments))

    def run(slots):
        library.wl_run(slots)

    def finish():
        tool.wl_check_report()
        tool.wl_check_free_buffers()

    return prepare, run, finish


def seconds(call, clock=time.perf_counter) -> float:
    start = clock()
    call()
    return clock() - start


def threads(count: int) -> None:
    ctypes.CDLL("libgomp.so.1").omp_set_num_threads(count)


def rates(folder: Path | None, rounds: int) -> dict:
    """Barrier switches and simple threads a second, on one core and on all, ours and the prototype's by turns."""
    y, x = np.zeros(_THREADS * _BLOCKS, np.int32), np.random.default_rng(0).random(_SIMPLE).astype(np.float32)
    out = np.zeros(_SIMPLE, np.float32)
    barriers = [Argument(Parameter("y", "int32"), y, "out"), Argument(Parameter("n", "int32", pointer=False), np.int32(_ROUNDS_IN_KERNEL), "in")]
    simple = [Argument(Parameter("y", "float32"), out, "out"), Argument(Parameter("x", "float32"), x, "in")]
    calls = {
        "switches": (plain_call(unit_of(BARRIERS, Launch.of(_BLOCKS, _THREADS), barriers), barriers), _THREADS * _BLOCKS * _ROUNDS_IN_KERNEL),
        "threads": (plain_call(unit_of(PLAIN, Launch.of(_SIMPLE // 256, 256), simple), simple), _SIMPLE),
    }
    if folder is not None:
        library = ctypes.CDLL(str(compile_library([PROTOTYPE], ("-std=c++17", "-O3", "-march=native", f"-I{folder}"), stem="prototype")))
        where = [ctypes.c_void_p(a.ctypes.data) for a in (y, out, x)]
        calls["prototype's switches"] = (lambda: library.barriers(where[0], _ROUNDS_IN_KERNEL, _BLOCKS, _THREADS), calls["switches"][1])
        calls["prototype's threads"] = (lambda: library.plain(where[1], where[2], _SIMPLE // 256, 256), _SIMPLE)
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, (call, count) in calls.items():
            for cores in (1,) if name.startswith("prototype") else (1, os.cpu_count() or 1):
                threads(cores)
                clock = time.thread_time if cores == 1 else time.perf_counter
                found.setdefault(f"{name} on {cores}", []).append(count / seconds(call, clock))
    best = {name: {"median": statistics.median(v), "best": max(v)} for name, v in found.items()}
    if folder is not None:
        ratios = [a / b for a, b in zip(found["switches on 1"], found["prototype's switches on 1"])]
        best["switches, ours / prototype's"] = {"median": statistics.median(ratios), "best": max(ratios)}
    return best


SIDECAR = {
    "kernel": "k",
    "launch": {"grid": [_SIMPLE // 256], "block": [256]},
    "args": [
        {"name": "y", "kind": "out", "dtype": "float32", "shape": [_SIMPLE]},
        {"name": "x", "kind": "in", "dtype": "float32", "shape": [_SIMPLE], "init": f"np.arange({_SIMPLE})"},
    ],
}


def turnaround(rounds: int) -> dict:
    """Seconds of `warploom run kernel.cu`, from the start of its process to its end: a source never seen before, the same again, and the
    first run of an installation (its cache is empty, so the emulator's header is compiled too); with --check beside. By the clock (median and
    fastest) and of processor time, the compiler's included."""
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file, command = Path(folder) / "kernel.cu", Path(sys.executable).with_name("warploom")
        file.with_suffix(".json").write_text(json.dumps(SIDECAR))

        def timed(what: str, *options: str, **environment: str) -> None:
            call = [str(command), "run", str(file), "--out", folder, *options]
            before = os.times()
            clock = seconds(lambda: subprocess.run(call, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment}))
            after = os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            found.setdefault(what, []).append((clock, used))

        for n in range(rounds):
            file.write_text(f"{PLAIN}\n// {time.time_ns()} {n}\n")
            timed("new source")
            timed("from the cache")
            timed("new source, --check", "--check")
            timed("from the cache, --check", "--check")
        timed("first run of an installation", WARPLOOM_CACHE=str(Path(folder) / "cache"))
    return {
        name: {"clock": statistics.median(c for c, _ in v), "fastest": min(c for c, _ in v), "processor": statistics.median(p for _, p in v)}
        for name, v in found.items()
    }


def slowdowns(rounds: int) -> dict:
    """Kernel -> seconds observed over seconds plain, medians of one order each."""
    threads(1)
    found = {}
    for name, (source, launch, specs) in REPRESENTATIVE.items():
        arguments = [argument(i, spec) for i, spec in enumerate(specs)]
        unit = unit_of(source, launch, arguments)
        screened = screenable(unit)
        plain, (prepare, run, finish) = plain_call(unit, arguments), (screened_call if screened else checked_call)(unit, arguments)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            times[0].append(min(seconds(plain, time.thread_time) for _ in range(3)))
            slots = prepare()
            times[1].append(seconds(functools.partial(run, slots), time.thread_time))
            finish()
        found[name] = {"by": "screen" if screened else "checker", "plain_us": 1e6 * statistics.median(times[0])}
        found[name]["checked_us"] = 1e6 * statistics.median(times[1])
        found[name]["slowdown"] = found[name]["checked_us"] / found[name]["plain_us"]
    return found


def summary(each: dict) -> dict:
    ratios = [e["slowdown"] for e in each.values()]
    return {
        "kernels": len(each),
        "geomean": float(np.exp(np.mean(np.log(ratios)))),
        "of all time": sum(e["checked_us"] for e in each.values()) / sum(e["plain_us"] for e in each.values()),
        "above 10": sorted(name for name, e in each.items() if e["slowdown"] > 10),
        "each": each,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prototype", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-check", action="store_true", help="rates and turnaround alone")
    parser.add_argument("--check-only", action="store_true", help="--check alone; what else OUT has stays")
    given = parser.parse_args()
    stored = json.loads(given.out.read_text()) if given.check_only and given.out and given.out.exists() else {}
    command = f"python -m tests.emulator.speed --rounds {given.rounds}"
    value: dict = stored or {"command": command, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    if not given.check_only:
        value["rates"] = rates(given.prototype.resolve() if given.prototype else None, given.rounds)
        value["turnaround_s"] = turnaround(given.rounds)
    told = {"command": f"{command} --check-only", "load": os.getloadavg()[0]} if given.check_only else {}
    value["check"] = {} if given.no_check else told | summary(slowdowns(given.rounds))
    for name, rate in value.get("rates", {}).items():
        print(f"{name:32s} median {rate['median']:.4g}  best {rate['best']:.4g}", file=sys.stderr)
    print("turnaround", value.get("turnaround_s", {}), file=sys.stderr)
    for name, e in value["check"].get("each", {}).items():
        print(f"{name:32s} {e['by']:8s} {e['plain_us']:9.1f} us plain {e['checked_us']:9.1f} us observed {e['slowdown']:6.2f}", file=sys.stderr)
    print("check", {k: v for k, v in value["check"].items() if k != "each"}, file=sys.stderr)
    if given.out:
        given.out.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main()
