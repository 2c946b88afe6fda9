"""Rows of `bench cpu` as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .race import LEAST_MS, Row, geomeans


def show(rows: Sequence[Row], console: Console) -> None:
    """Print rows and geometric means; what is left out of the means is marked."""
    table = Table(
        "problem",
        "thr",
        "warploom",
        "eager",
        "inductor",
        "onnx rt",
        "tvm",
        "ratio",
        "95%",
        "allocator",
        "compile s",
        "inductor s",
        title="ms, medians",
        title_justify="left",
    )
    for r in rows:
        table.add_row(*_cells(r))
    if not console.is_terminal:
        console.width = max(console.width, 142)
    console.print(table)
    for level, by_threads in geomeans(rows).items():
        for threads, mean in by_threads.items():
            console.print(f"{level}, {threads} thread(s): geometric mean {mean:.2f}x the faster of eager and Inductor")
    small = sum(1 for r in rows if r.ok and not r.counted)
    if small:
        console.print(f"* {small} row(s) under {LEAST_MS} ms in eager are left out of the means")
    for r in rows:
        if r.error:
            console.print(f"{r.level}/{r.problem}: {r.error}", markup=False)


def _cells(r: Row) -> list[str]:
    interval = f"{r.interval[0]:.2f} to {r.interval[1]:.2f}" if r.interval else ""
    mark = "" if r.counted else "*" if r.ok else ""
    ratio = f"{r.ratio:.2f}{mark}" if r.ratio else "failed" if not r.ok else ""
    times = [_number(t, 3) for t in (r.warploom_ms, r.eager_ms, r.inductor_ms, r.onnxruntime_ms, r.tvm_ms)]
    return [
        f"{r.level}/{r.problem}",
        str(r.threads),
        *times,
        ratio,
        interval,
        _number(r.allocator_gain, 2),
        _number(r.compile_s, 2),
        _number(r.inductor_compile_s, 1),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def line(r: Row) -> str:
    """One finished row as a line of progress."""
    told = f"{r.ratio:.2f}x ({r.warploom_ms:.3f} ms)" if r.ok and r.ratio else f"failed: {r.error}"
    return f"{r.level}/{r.problem} {r.threads} thread(s): {told}"
