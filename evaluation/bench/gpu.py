"""`warploom bench gpu`: problems come in, a table or JSON of times against eager and Inductor on the GPU goes out.

Each problem runs in a process of its own. Contenders are interleaved on rotating inputs larger than the L2 cache; a sample ends when the
GPU is done. Without a GPU there is nothing to measure: MissingTool.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ...ir.diagnostic import MissingTool, Unreadable, WarploomError
from ..report.outcome import outcome
from .command import write_text
from .contenders import Contender, Entry, eager, enter, inductor, ran, rotating
from .interleave import interleave
from .problem import Problem
from .race import LEAST_MS, Compile
from .suite import Item, items, run_worker, zoo_items

ROTATED_BYTES = 256 << 20
"""Inputs in turn are together larger than any GPU's L2."""


@dataclass(frozen=True)
class GpuRow:
    """Medians in milliseconds; `ratio`: faster of eager and Inductor over warploom, `interval` its 95% interval; `error`: why not `ok`."""

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
    model = problem.model.cuda()
    inputs = rotating(lambda: _on_gpu(problem.inputs()), seed=1, nbytes=ROTATED_BYTES)
    try:
        run, compile_s = compile_model(model, inputs[0])
    except WarploomError as error:
        return replace(row, error=str(error))
    entries = [
        Entry("warploom", synchronised(run)),
        enter("eager", lambda: synchronised(eager(model)), inputs[0]),
        enter("inductor", lambda: synchronised(inductor(model)), inputs[0]),
    ]
    with torch.no_grad():
        samples = interleave(ran(entries), inputs, budget_s, threads=2)  # timed by the wall: the work is not this process's
    medians = {f"{name}_ms": samples.median(name) * 1e3 for name in samples.seconds}
    rival = min((name for name in ("eager", "inductor") if name in samples.seconds), key=samples.median)
    reasons = "; ".join(f"{e.name}: {e.reason}" for e in entries if e.run is None)
    interval = samples.interval(rival, "warploom")
    return replace(row, **medians, ratio=samples.ratio(rival, "warploom"), interval=interval, ok=True, compile_s=compile_s, error=reasons)


def _on_gpu(values: Sequence[object]) -> tuple:
    return tuple(v.cuda() if isinstance(v, torch.Tensor) else v for v in values)


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
        raise MissingTool("no GPU here", hint="`warploom compile --target cuda` checks kernels in the emulator; install a driver and torch for CUDA")
    chosen = items(Path(request.suite), request.only) if request.suite else zoo_items(request.only)
    rows: list[GpuRow] = []
    for target in request.targets.split(","):
        for item in chosen:
            rows.append(_measure(request, item, target))
            print(_line(rows[-1]), file=sys.stderr, flush=True)
    data = gpu_data(rows)
    if request.out:
        write_text(Path(request.out), json.dumps(data, indent=1))
    if not as_json:
        Console(file=sys.__stdout__, highlight=False).print(_table(rows))
    return (0 if all(r.ok for r in rows) else 1), data


def _measure(request: GpuRequest, item: Item, target: str) -> GpuRow:
    arguments = [item.spec, item.level, target, str(request.budget_s)]
    try:
        answer = run_worker([sys.executable, "-c", request.worker, *arguments], request.timeout_s, os.environ)
    except Unreadable as error:
        return GpuRow(item.name, item.level, target, error=error.message)
    if not isinstance(answer, dict) or ("error" in answer and "problem" not in answer):
        return GpuRow(item.name, item.level, target, error=str(answer)[:200])
    return GpuRow(**answer)


def gpu_data(rows: Sequence[GpuRow]) -> dict[str, object]:
    """The JSON value, machine included."""
    machine = {"gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None, "cuda": torch.version.cuda, "torch": torch.__version__}
    system = {"system": platform.platform(), "date": time.strftime("%Y-%m-%d")}
    return {"rows": [{**asdict(r), "counted": r.counted} for r in rows], "geomean": geomeans(rows), "machine": {**machine, **system}}


def geomeans(rows: Sequence[GpuRow]) -> dict[str, dict[str, float]]:
    """{level: {target: geometric mean of the ratios that count}}."""
    groups: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row.counted and row.ratio is not None:
            groups.setdefault(row.level, {}).setdefault(row.target, []).append(row.ratio)
    return {level: {t: statistics.geometric_mean(r) for t, r in by.items()} for level, by in groups.items()}


def _line(row: GpuRow) -> str:
    return f"{row.level}/{row.problem} [{row.target}]: " + (f"{row.ratio:.2f}x" if row.ok and row.ratio else f"failed: {row.error}")


def _table(rows: Sequence[GpuRow]) -> Table:
    table = Table("problem", "target", "warploom ms", "eager ms", "inductor ms", "speed", "95%", title="GPU", title_justify="left")
    for r in rows:
        times = [f"{t:.3f}" if t is not None else "" for t in (r.warploom_ms, r.eager_ms, r.inductor_ms)]
        interval = f"{r.interval[0]:.2f} to {r.interval[1]:.2f}" if r.interval else ""
        table.add_row(f"{r.level}/{r.problem}", r.target, *times, f"{r.ratio:.2f}x" if r.ratio else r.error[:60], interval)
    return table
