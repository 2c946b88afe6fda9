"""A Report as a table on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from .record import Report


def show(report: Report, console: Console) -> None:
    """Print the report: verdict, times, kernels, what stayed with ATen."""
    verdict = "[green]right[/]" if report.ok else "[red]wrong[/]"
    console.print(
        f"[bold]{report.name}[/]: {verdict}, largest error {report.max_error:.2e} of the largest value; compiled in {report.compile_s:.2f} s"
    )
    console.print(f"{report.machine.name}, {report.machine.isa}, {report.threads} thread{'s' if report.threads > 1 else ''}")
    if report.times:
        console.print(_times(report))
    console.print(_kernels(report))
    if report.externs:
        console.print(_externs(report))
    for note in report.notes:
        console.print(f"note: {note}", markup=False)


def _times(report: Report) -> Table:
    table = Table("contender", "ms", "speed of warploom over it", "95%", title="Whole model", title_justify="left")
    for name, seconds in report.times.items():
        interval = report.intervals.get(name)
        ratio = f"{seconds / report.times['warploom']:.2f}x" if interval else ""
        table.add_row(name, f"{seconds * 1e3:.3f}", ratio, f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else "")
    return table


def _kernels(report: Report) -> Table:
    table = Table("kernel", "operators", "ms", "share", "Mflop", "MB", "roofline", title="Kernels", title_justify="left")
    for k in sorted(report.kernels, key=lambda k: -k.seconds):
        reached = f"{k.roofline:.0%}" if k.roofline else ""
        work = f"{k.flops / 1e6:.1f}", f"{k.nbytes / 1e6:.2f}"
        table.add_row(k.name, shortened(k.operators), f"{k.seconds * 1e3:.3f}", f"{k.share:.0%}", *work, reached)
    return table


def shortened(operators: tuple[str, ...], most: int = 4) -> str:
    """The operators that are not repeats, at most `most` of them."""
    names = list(dict.fromkeys(plain(o) for o in operators))
    return " + ".join(names[:most]) + (f" + {len(names) - most} more" if len(names) > most else "")


def plain(origin: str) -> str:
    """`aten.relu.default@layer1.0` -> `relu`."""
    target = origin.split("@")[0].strip()
    parts = target.split(".")
    return parts[1] if len(parts) > 1 else target


def _externs(report: Report) -> Table:
    table = Table("ATen call", "why", "ms", "share", title="Run by ATen", title_justify="left")
    for e in report.externs:
        table.add_row(e.op, e.reason, f"{e.seconds * 1e3:.3f}", f"{e.share:.0%}")
    return table
