"""One problem, all contenders, one thread count after the other: a Problem and a way to compile it come in, Rows go out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ...ir.diagnostic import WarploomError
from .contenders import (
    Contender,
    Entry,
    eager,
    enter,
    inductor,
    onnxruntime,
    onnxruntime_available,
    ran,
    rotating,
    tvm,
    tvm_available,
)
from .interleave import Samples, interleave
from .problem import Problem

LEAST_MS = 0.2
"""Below this eager time a row says more about call overhead than about kernels: it is flagged and left out of the means."""


@dataclass(frozen=True)
class Row:
    """Medians in milliseconds, None where a contender cannot run the problem. `ratio`: faster of eager and Inductor over warploom;
    `interval` its 95% bootstrap interval; `allocator_gain`: what our allocator saves under malloc's defaults; `error`: why `ok` is False."""

    problem: str
    level: str
    threads: int
    warploom_ms: float | None = None
    eager_ms: float | None = None
    inductor_ms: float | None = None
    onnxruntime_ms: float | None = None
    tvm_ms: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    allocator_gain: float | None = None
    ok: bool = False
    compile_s: float | None = None
    inductor_compile_s: float | None = None
    error: str = ""

    @property
    def counted(self) -> bool:
        """Enters the geometric means."""
        return self.ok and self.ratio is not None and (self.eager_ms or 0.0) >= LEAST_MS


Compile = Callable[[torch.nn.Module, tuple], tuple[Contender, float]]
"""model, inputs -> (the verified compiled model, seconds it took to compile)."""


def race(problem: Problem, level: str, compile_model: Compile, thread_counts: Sequence[int], budget_s: float) -> list[Row]:
    """A Row for each thread count."""
    inputs = rotating(problem.inputs, seed=1)
    rows = []
    ours: Entry | None = None
    compile_s = 0.0
    for threads in thread_counts:
        torch.set_num_threads(threads)
        row = Row(problem.name, level, threads)
        if ours is None:
            try:
                run, compile_s = compile_model(problem.model, inputs[0])
            except WarploomError as error:
                rows.append(replace(row, error=str(error)))
                continue
            ours = Entry("warploom", run)
        rows.append(_one(row, problem, ours, compile_s, inputs, budget_s))
    return rows


def _one(row: Row, problem: Problem, ours: Entry, compile_s: float, inputs: Sequence[tuple], budget_s: float) -> Row:
    entries = [
        ours,
        enter("eager", lambda: eager(problem.model), inputs[0]),
        enter("inductor", lambda: inductor(problem.model), inputs[0]),
    ]
    if onnxruntime_available():
        entries.append(enter("onnxruntime", lambda: onnxruntime(problem.model, inputs[0], row.threads), inputs[0]))
    if row.threads == 1 and tvm_available():
        entries.append(enter("tvm", lambda: tvm(problem.model, inputs[0]), inputs[0]))
    with torch.no_grad():
        samples = interleave(ran(entries), inputs, budget_s, row.threads)
    medians = {f"{name}_ms": samples.median(name) * 1e3 for name in samples.seconds}
    rival = _faster(samples)
    built = next(e for e in entries if e.name == "inductor")
    reasons = "; ".join(f"{e.name}: {e.reason}" for e in entries if e.run is None)
    return replace(
        row, **medians, ratio=samples.ratio(rival, "warploom"), interval=samples.interval(rival, "warploom"), ok=True,
        compile_s=compile_s, inductor_compile_s=built.build_s if built.run else None, error=reasons,
    )  # fmt: skip


def _faster(samples: Samples) -> str:
    """The faster of eager and Inductor."""
    return min((name for name in ("eager", "inductor") if name in samples.seconds), key=samples.median)


def allocator_gain(problem: Problem, compile_model: Compile, switch: Callable[[bool], None], budget_s: float) -> float:
    """Time with the allocator off over time with it on; run where malloc has its defaults."""
    inputs = rotating(problem.inputs, seed=1)
    run, _ = compile_model(problem.model, inputs[0])

    def with_allocator(on: bool) -> Contender:
        def call(values: tuple) -> object:
            switch(on)
            return run(values)

        return call

    torch.set_num_threads(1)
    with torch.no_grad():
        samples = interleave({"on": with_allocator(True), "off": with_allocator(False)}, inputs, budget_s)
    switch(True)
    return samples.ratio("off", "on")


def geomeans(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """{level: {threads: geometric mean of the ratios that count}}."""
    groups: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row.counted and row.ratio is not None:
            groups.setdefault(row.level, {}).setdefault(str(row.threads), []).append(row.ratio)
    return {level: {t: statistics.geometric_mean(r) for t, r in by.items()} for level, by in groups.items()}
