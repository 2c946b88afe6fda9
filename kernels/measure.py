"""Times a kernel: checked arguments come in, a Measured goes out whose text says how fast that is against the machine's peaks.

One thread is timed by process CPU time, several by wall time, as in every benchmark here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..backends.cpu.peaks import measured
from ..evaluation.bench.interleave import interleave
from ..evaluation.report.work import work
from . import launch

if TYPE_CHECKING:
    from .handwritten import Kernel


@dataclass(frozen=True)
class Measured:
    """`seconds`: median of a run; `flops`, `nbytes`: what the program as written must do; `peak`: share of the peak arithmetic,
    `roofline`: share of what arithmetic and memory allow; `ratio`: seconds of the other over ours, with its 95% interval."""

    name: str
    threads: int
    seconds: float
    flops: float
    nbytes: float
    peak: float
    roofline: float
    ratio: float | None = None
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        rates = f"{self.flops / self.seconds / 1e9:.3g} GFLOP/s ({self.peak:.1%} of peak), {self.nbytes / self.seconds / 1e9:.3g} GB/s"
        text = f"{self.name}: {self.seconds * 1e3:.4g} ms, {rates}, {self.roofline:.1%} of the roofline, {self.threads} thread(s)"
        if self.ratio is None or self.interval is None:
            return text
        return f"{text}; {self.ratio:.2f}x the other (95%: {self.interval[0]:.2f}..{self.interval[1]:.2f})"


def bench(kernel: Kernel, args: launch.Arguments, other: Callable[[], object] | None, budget_s: float) -> Measured:
    """Run the kernel again and again on the same arguments, in turn with `other`."""
    threads = torch.get_num_threads()
    run = launch.native(kernel.program).bound(args.tensors, args.dims, threads)
    runs: dict[str, Callable[[tuple], object]] = {"kernel": lambda _: run()}
    if other is not None:
        runs["other"] = lambda _: other()
    with torch.no_grad():
        samples = interleave(runs, [()], budget_s, threads)
    seconds, machine = samples.median("kernel"), measured()
    needed = work(kernel.programs[0], args.dims)
    peak = needed.flops / seconds / (machine.flops * threads) if machine.flops else 0.0
    roof = needed.fraction(machine, seconds, threads)
    ratio = samples.ratio("other", "kernel") if other else None
    interval = samples.interval("other", "kernel") if other else None
    return Measured(kernel.name, threads, seconds, needed.flops, needed.nbytes, peak, roof, ratio, interval)
