"""A Report as one self-contained HTML page: no script from elsewhere, no font, no picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .record import KernelRow, Report
from .terminal import plain, shortened

_HUES = {
    "contract": 214, "conv": 262, "window": 190, "reduce": 28, "rows": 28, "scan": 330, "map": 150, "library": 45, "aten": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One slice of the run's time: a kernel or an ATen call."""

    label: str
    share: float
    hue: int
    anchor: str


@dataclass(frozen=True)
class Bar:
    """One contender: `width` percent of the slowest, `ratio` over warploom."""

    name: str
    milliseconds: float
    width: float
    ratio: str


@dataclass(frozen=True)
class Dot:
    """A kernel on the roofline chart, in chart units (0..100, y upwards)."""

    x: float
    y: float
    hue: int
    label: str


def page(report: Report) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    kernels = sorted(report.kernels, key=lambda k: -k.seconds)
    return environment.get_template("page.html.j2").render(
        r=report, kernels=kernels, parts=_parts(report), bars=_bars(report), chart=_chart(report), hue=hue, shortened=shortened,
        nodes=_graph_lines(report.graph), owned=sum(k.share for k in report.kernels), anchor=anchor, plain=plain,
    )  # fmt: skip


def hue(kind: str) -> int:
    """The colour of a kind of kernel."""
    return next((h for word, h in _HUES.items() if word in kind), 150)


def anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def _parts(report: Report) -> list[Part]:
    parts = [Part(f"{k.name}: {shortened(k.operators)}", k.share, hue(k.kind), anchor(k.name)) for k in report.kernels]
    parts += [
        Part(f"{e.op} ({'library' if e.library else 'ATen'})", e.share, hue("library" if e.library else "aten"), "aten")
        for e in report.externs
    ]
    return [p for p in parts if p.share > 0]


def _bars(report: Report) -> list[Bar]:
    slowest = max(report.times.values(), default=0.0)
    ours = report.times.get("warploom")
    return [
        Bar(name, s * 1e3, 100 * s / slowest, f"{s / ours:.2f}x" if ours and name != "warploom" else "")
        for name, s in sorted(report.times.items(), key=lambda item: item[1])
    ]


@dataclass(frozen=True)
class Chart:
    """Log-log: `roof` as polyline points, `dots`, and tick labels (position, text)."""

    roof: str
    dots: tuple[Dot, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


_X = (-2.0, 3.0)  # log10 flops per byte
_Y = (-1.0, 4.0)  # log10 Gflop/s


def _chart(report: Report) -> Chart | None:
    machine, threads = report.machine, report.threads
    if not machine.flops or not machine.bandwidth:
        return None
    peak, bandwidth = (
        machine.flops * threads,
        machine.bandwidth if threads == 1 else max(machine.bandwidth, machine.bandwidth_all),
    )

    def at(intensity: float, flops: float) -> tuple[float, float]:
        x = (log10(max(intensity, 1e-9)) - _X[0]) / (_X[1] - _X[0])
        y = (log10(max(flops / 1e9, 1e-9)) - _Y[0]) / (_Y[1] - _Y[0])
        return 100 * min(max(x, 0.0), 1.0), 100 * min(max(y, 0.0), 1.0)

    ridge = peak / bandwidth
    corners = [at(10 ** _X[0], bandwidth * 10 ** _X[0]), at(ridge, peak), at(10 ** _X[1], peak)]
    dots = [_dot(k, at) for k in report.kernels if k.flops and k.nbytes and k.seconds]
    x_ticks = tuple((at(10.0**e, 1)[0], f"{10.0**e:g}") for e in range(-2, 4))
    y_ticks = tuple((at(1, 10.0 ** (e + 9))[1], f"{10.0**e:g}") for e in range(-1, 5))
    return Chart(" ".join(f"{x:.2f},{100 - y:.2f}" for x, y in corners), tuple(dots), x_ticks, y_ticks)


def _dot(k: KernelRow, at) -> Dot:
    x, y = at(k.flops / k.nbytes, k.flops / k.seconds)
    return Dot(
        x, 100 - y, hue(k.kind), f"{k.name}: {k.flops / k.seconds / 1e9:.1f} Gflop/s, {k.flops / k.nbytes:.2g} flop/byte"
    )


def _graph_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("def ")]
