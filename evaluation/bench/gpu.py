"""`warploom bench gpu`: problems come in, a table or JSON of times against eager and Inductor on the GPU goes out.

Each problem runs in a process of its own, and the JSON is written after each. Contenders are interleaved on rotating inputs larger than the L2
cache; a sample ends when the GPU is done. Beside these times of whole calls stand those of the GPU alone (the launches of a call recorded and
replayed) and the least time that the machine could take. Without a GPU there is nothing to measure: MissingTool.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from ...backends.cuda.host import machine, no_gpu
from ...backends.cuda.recorded import recorded
from ...ir.diagnostic import MissingTool, Unreadable, WarploomError
from ..report.outcome import outcome
from .command import write_text
from .contenders import Contender, Entry, eager, enter, inductor, ran, rotating
from .interleave import Samples, interleave
from .problem import Problem, first_line
from .race import LEAST_MS, Compile
from .suite import Item, items, run_worker, zoo_items

ROTATED_BYTES = 256 << 20
"""Inputs in turn are together larger than any GPU's L2."""
REPLAYS, LEAST_SECONDS, MOST_REPEATS = 15, 1e-3, 100
"""Replays of a recording, which repeats a call until it lasts so long: a replay begins with some microseconds of its own."""
TENSOR_CORES = 16
"""Products of half floats in the time of one of float32 (datasheets: 312 to 19.5 Tflop/s of an A100, 989 to 67 of an H100)."""
TERMS = {"allow_tf32": False, "cudnn.benchmark": True}
"""Equal for all contenders: float32 is float32, and eager's convolutions may choose their algorithm."""


@dataclass(frozen=True)
class GpuRow:
    """Medians in milliseconds of whole calls; `ratio`: faster of eager and Inductor over warploom, `interval` its 95% interval. `device_ms`: of
    the GPU alone, by contender, without those whose launches cannot be recorded; `device_ratio` likewise. `floor_ms`: what reading the inputs and
    weights and writing the outputs once, or the arithmetic of the contractions, takes at the machine's peaks; `floor_share`: of warploom's
    time on the GPU. `error`: why not `ok`, or who does not take part."""

    problem: str
    level: str
    target: str
    warploom_ms: float | None = None
    eager_ms: float | None = None
    inductor_ms: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    ok: bool = False
    compile_s: float | None = None
    device_ms: Mapping[str, float] = field(default_factory=dict)
    device_ratio: float | None = None
    floor_ms: float | None = None
    floor_share: float | None = None
    error: str = ""

    @property
    def counted(self) -> bool:
        """Enters the geometric means: right, and long enough for kernels to matter."""
        return self.ok and self.ratio is not None and (self.eager_ms or 0.0) >= LEAST_MS


@dataclass(frozen=True)
class GpuRequest:
    """The arguments of `warploom bench gpu`. `worker`: Python code that runs one problem (arguments in sys.argv, JSON on stdout)."""

    worker: str
    suite: str | None = None
    targets: str = "cuda"
    only: str | None = None
    budget_s: float = 2.0
    timeout_s: float = 300.0
    out: str | None = None


def race_gpu(problem: Problem, level: str, target: str, compile_model: Compile, budget_s: float) -> GpuRow:
    """One problem on the GPU."""
    row = GpuRow(problem.name, level, target)
    equal_terms()
    try:
        there = on_gpu(problem)
        inputs = rotating(there.inputs, seed=1, nbytes=ROTATED_BYTES)
        run, compile_s = compile_model(there.model, inputs[0])
        timed = time_on_gpu(run, there.model, inputs, budget_s)
        floor_s = least_seconds(there.model, inputs[0])
    except (WarploomError, torch.OutOfMemoryError) as error:
        return replace(row, error=first_line(error))
    samples, device, rival = timed.samples, timed.device, timed.rival
    row = replace(row, **{f"{name}_ms": samples.median(name) * 1e3 for name in samples.seconds}, ok=True, compile_s=compile_s, error=timed.absent)
    row = replace(row, device_ms={name: s * 1e3 for name, s in device.items()}, floor_ms=floor_s * 1e3)
    if "warploom" in device:
        others = [s for name, s in device.items() if name != "warploom"]
        row = replace(row, floor_share=floor_s / device["warploom"], device_ratio=min(others) / device["warploom"] if others else None)
    if rival is None:
        return row
    return replace(row, ratio=samples.ratio(rival, "warploom"), interval=samples.interval(rival, "warploom"))


@dataclass(frozen=True)
class TimedOnGpu:
    """`device`: seconds of the GPU alone by contender; `absent`: who cannot run the model, and why."""

    samples: Samples
    device: Mapping[str, float]
    absent: str

    @property
    def rival(self) -> str | None:
        """The faster of eager and Inductor, of those that take part."""
        return min((name for name in ("eager", "inductor") if name in self.samples.seconds), key=self.samples.median, default=None)


def time_on_gpu(run: Contender, model: torch.nn.Module, inputs: Sequence[tuple], budget_s: float) -> TimedOnGpu:
    """A compiled model, eager and Inductor in turn, then each alone on the GPU."""
    plain = [Entry("warploom", run), enter("eager", lambda: eager(model), inputs[0]), enter("inductor", lambda: inductor(model), inputs[0])]
    absent = "; ".join(f"{e.name}: {e.reason}" for e in plain if e.run is None)
    contenders = ran(plain)
    with torch.no_grad():
        samples = interleave({name: synchronised(c) for name, c in contenders.items()}, inputs, budget_s, threads=2)  # timed by the wall: the work is not this process's
        device = {name: s for name, c in contenders.items() if (s := _replayed(c, inputs)) is not None}
    return TimedOnGpu(samples, device, absent)


def _replayed(run: Contender, inputs: Sequence[tuple]) -> float | None:
    """Seconds of the launches of a call; None where they cannot be recorded, since the call waits for the GPU or allocates beside torch."""

    def work(times: int) -> None:
        for _ in range(times):
            for values in inputs:
                run(values)

    try:
        times = min(MOST_REPEATS, math.ceil(LEAST_SECONDS / max(1e-7, recorded(lambda: work(1))())))
        seconds = recorded(lambda: work(times))
        return statistics.median(seconds() for _ in range(REPLAYS)) / (times * len(inputs))
    except (RuntimeError, WarploomError):
        return None


def least_seconds(model: torch.nn.Module, inputs: tuple) -> float:
    """By the GPU's peaks, for the bytes that must move once and the arithmetic of the contractions (on tensor cores where these are of halves)."""
    gpu = machine()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = model(*inputs)
    tensors = [t for t in pytree.tree_leaves((list(inputs), result, list(model.parameters()))) if isinstance(t, torch.Tensor)]
    half = any(t.dtype in (torch.float16, torch.bfloat16) for t in tensors)
    peak = gpu.flops * gpu.cores * (TENSOR_CORES if half else 1)
    return max(sum(t.numel() * t.element_size() for t in tensors) / gpu.bandwidth_all, counter.get_total_flops() / peak)


def equal_terms() -> None:
    """What eager and Inductor may do to be fast, as TERMS says: for this process, from here on."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = TERMS["allow_tf32"]
    torch.backends.cudnn.benchmark = TERMS["cudnn.benchmark"]


def on_gpu(problem: Problem) -> Problem:
    """The problem with its model and its inputs on the current GPU."""

    def inputs() -> tuple[object, ...]:
        return pytree.tree_map(lambda v: v.cuda() if isinstance(v, torch.Tensor) else v, problem.inputs())

    return Problem(problem.name, problem.model.cuda(), inputs)


def synchronised(run: Contender) -> Contender:
    """The contender, done when the GPU is."""

    def call(values: tuple) -> object:
        result = run(values)
        torch.cuda.synchronize()
        return result

    return call


# ------------------------------------------------------------------------------------------------ the command
def run_gpu_bench(request: GpuRequest, as_json: bool) -> int:
    """0 done, 1 some problem failed or gave wrong numbers, 2 usage, 3 no GPU."""
    return outcome(lambda: _bench(request, as_json), as_json)


def _bench(request: GpuRequest, as_json: bool) -> tuple[int, object]:
    if not torch.cuda.is_available():
        raise MissingTool(no_gpu(), hint="`warploom compile --target cuda` checks kernels in the emulator")
    chosen = items(Path(request.suite), request.only) if request.suite else zoo_items(request.only)
    rows: list[GpuRow] = []
    for target in request.targets.split(","):
        for item in chosen:
            rows.append(_measure(request, item, target))
            print(_line(rows[-1]), file=sys.stderr, flush=True)
            if request.out:  # an interrupted run keeps what it has
                write_text(Path(request.out), json.dumps(gpu_data(rows), indent=1))
    data = gpu_data(rows)
    if not as_json:
        Console(file=sys.__stdout__, highlight=False).print(_table(rows))
    return (0 if all(r.ok for r in rows) else 1), data


def _measure(request: GpuRequest, item: Item, target: str) -> GpuRow:
    arguments = [item.spec, item.level, target, str(request.budget_s)]
    try:
        answer = run_worker([sys.executable, "-c", request.worker, *arguments], request.timeout_s, os.environ)
    except Unreadable as error:
        return GpuRow(item.name, item.level, target, error=error.message)
    if not isinstance(answer, dict) or "problem" not in answer:
        said = answer.get("error") if isinstance(answer, dict) else answer
        return GpuRow(item.name, item.level, target, error=str(said["message"] if isinstance(said, dict) else said)[:200])
    return GpuRow(**answer)


def gpu_data(rows: Sequence[GpuRow]) -> dict[str, object]:
    """The JSON value, machine included. `geomean`: of whole calls, `device_geomean`: of the GPU alone."""
    seen = machine()
    gpu = {"gpu": seen.name, "bandwidth_gb_s": seen.bandwidth_all / 1e9, "float32_tflop_s": seen.flops * seen.cores / 1e12} if torch.cuda.is_available() else {"gpu": None}
    system = {"cuda": torch.version.cuda, "torch": torch.__version__, "system": platform.platform(), "date": time.strftime("%Y-%m-%d")}
    return {
        "rows": [{**asdict(r), "counted": r.counted} for r in rows],
        "geomean": geomeans(rows), "device_geomean": geomeans(rows, "device_ratio"), "terms": TERMS, "machine": {**gpu, **system},
    }  # fmt: skip


def geomeans(rows: Sequence[GpuRow], of: str = "ratio") -> dict[str, dict[str, float]]:
    """{level: {target: geometric mean of the ratios that count}}."""
    groups: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        value = getattr(row, of)
        if row.counted and value is not None:
            groups.setdefault(row.level, {}).setdefault(row.target, []).append(value)
    return {level: {t: statistics.geometric_mean(r) for t, r in by.items()} for level, by in groups.items()}


def _line(row: GpuRow) -> str:
    name = f"{row.level}/{row.problem} [{row.target}]"
    if not row.ok:
        return f"{name}: failed: {row.error}"
    alone = f", {row.device_ratio:.2f}x on the GPU alone" if row.device_ratio else ""
    return f"{name}: " + (f"{row.ratio:.2f}x{alone}" if row.ratio else f"nobody to compare with: {row.error}")


def _table(rows: Sequence[GpuRow]) -> Table:
    head = ("problem", "target", "warploom ms", "eager ms", "inductor ms", "speed", "95%", "on the GPU alone", "of the roofline")
    table = Table(*head, title="GPU", title_justify="left")
    for r in rows:
        times = [f"{t:.3f}" if t is not None else "" for t in (r.warploom_ms, r.eager_ms, r.inductor_ms)]
        interval = f"{r.interval[0]:.2f} to {r.interval[1]:.2f}" if r.interval else ""
        alone = f"{r.device_ratio:.2f}x" if r.device_ratio else ""
        share = f"{r.floor_share:.0%}" if r.floor_share else ""
        table.add_row(f"{r.level}/{r.problem}", r.target, *times, f"{r.ratio:.2f}x" if r.ratio else r.error[:60], interval, alone, share)
    return table
