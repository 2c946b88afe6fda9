"""`warploom bench int8` and `warploom bench dynamic`: one compiled model at every number of rows, against its rivals in one interleaved run.

Comes in: which sweep, the numbers of rows, a way to compile. Goes out: a table and JSON with medians per number of rows, geometric means, the
worst ratio, the machine and the command. All contenders are made once; a rival that compiles again for a new shape does so outside the time.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ..report.outcome import outcome
from .command import BadArgument, write_text
from .contenders import Contender, eager, enter, inductor, onnxruntime_available, onnxruntime_rows, quiet, ran, torch_int8
from .interleave import interleave
from .suite import machine_description


class Mlp(torch.nn.Module):
    """Linear, activation, linear."""

    def __init__(self, width: int, hidden: int, activation: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.fc1, self.fc2, self.activation = torch.nn.Linear(width, hidden), torch.nn.Linear(hidden, width), activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class SwishNorm(torch.nn.Module):
    """Matmul, swish, bias, group norm."""

    def __init__(self, width: int, columns: int, groups: int):
        super().__init__()
        self.matmul = torch.nn.Linear(width, columns)
        self.bias = torch.nn.Parameter(torch.randn(columns))
        self.norm = torch.nn.GroupNorm(groups, columns)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.matmul(x)
        return self.norm(torch.sigmoid(y) * y + self.bias)


@dataclass(frozen=True)
class Case:
    """A model whose input is `x[rows, width]`."""

    name: str
    width: int
    make: Callable[[], torch.nn.Module]


@dataclass(frozen=True)
class Sweep:
    """`passes` for our compile; `rivals` timed beside ours and eager."""

    cases: tuple[Case, ...]
    passes: tuple[str, ...]
    rivals: tuple[str, ...]


FEW = 32
"""Up to so many rows a run is short, and its time moves with what others leave in the caches: more rounds."""

LINEAR = Case("linear 1024x1024", 1024, lambda: torch.nn.Linear(1024, 1024))
SWEEPS: dict[str, Sweep] = {
    "int8": Sweep(
        (
            LINEAR,
            Case("mlp 1024-4096-1024 gelu", 1024, lambda: Mlp(1024, 4096, torch.nn.functional.gelu)),
            Case("mlp 768-3072-768 relu", 768, lambda: Mlp(768, 3072, torch.relu)),
        ),
        ("quantize:int8",),
        ("torch_int8",),
    ),
    "dynamic": Sweep(
        (LINEAR, Case("matmul swish groupnorm", 1024, lambda: SwishNorm(1024, 1024, 32))), (), ("inductor", "onnxruntime")
    ),
}


@dataclass(frozen=True)
class RowTimes:
    """Medians in milliseconds at one number of rows; `distance`: of our result from eager's, relative in the Frobenius norm."""

    case: str
    rows: int
    ms: Mapping[str, float]
    distance: float

    def ratio(self, rival: str) -> float | None:
        """Rival over ours: above 1 when we are faster."""
        return self.ms[rival] / self.ms["warploom"] if rival in self.ms else None


@dataclass(frozen=True)
class Built:
    """What `compile_model` gives: the callable, seconds to compile, variants of its most divided kernel, notes of its report."""

    run: Contender
    compile_s: float
    variants: int
    notes: tuple[str, ...] = ()


CompileRows = Callable[[torch.nn.Module, torch.Tensor, int, tuple[str, ...]], Built]
"""model, an input, the most rows, passes -> a compiled model for any number of rows."""


@dataclass
class Result:
    """All of a sweep."""

    sweep: str
    times: list[RowTimes] = field(default_factory=list)
    built: dict[str, Built] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def rivals(self) -> list[str]:
        return list(dict.fromkeys(name for t in self.times for name in t.ms if name != "warploom"))

    def ratios(self, case: str | None, rival: str) -> list[float]:
        """Of one case, or of all."""
        found = (t.ratio(rival) for t in self.times if case in (None, t.case))
        return [r for r in found if r is not None]

    def summary(self) -> dict[str, dict[str, dict[str, float]]]:
        """{case or `all`: {rival: {geomean, least}}}."""
        names = [*dict.fromkeys(t.case for t in self.times), None]
        return {
            name or "all": {
                rival: {"geomean": statistics.geometric_mean(r), "least": min(r)}
                for rival in self.rivals() if (r := self.ratios(name, rival))
            }
            for name in names
        }  # fmt: skip

    def data(self, command: str) -> dict[str, object]:
        """The JSON value."""
        built = {name: {k: v for k, v in asdict(b).items() if k != "run"} for name, b in self.built.items()}
        return {
            "sweep": self.sweep, "command": command, "threads": 1, "machine": machine_description(), "summary": self.summary(),
            "compiled": built, "absent": self.absent, "rows": [asdict(t) for t in self.times],
        }  # fmt: skip


@dataclass(frozen=True)
class RowsRequest:
    """The arguments of the command; `budget_s`: seconds of timing at each number of rows."""

    sweep: str
    compile_model: CompileRows
    rows: str = "1:512:1"
    budget_s: float = 0.1
    only: str | None = None
    out: str | None = None


def run_rows(request: RowsRequest, as_json: bool) -> int:
    """0 done, 2 usage."""
    return outcome(lambda: _rows(request, as_json), as_json)


def _rows(request: RowsRequest, as_json: bool) -> tuple[int, object]:
    counts = row_counts(request.rows)
    torch.set_num_threads(1)
    result = Result(request.sweep)
    sweep = SWEEPS[request.sweep]
    for case in sweep.cases:
        if request.only is None or request.only in case.name:
            _case(case, sweep, counts, request, result)
    data = result.data(f"warploom bench {request.sweep} --rows {request.rows}")
    if request.out:
        write_text(Path(request.out), a_row_a_line(data))
    if not as_json:
        show(result, Console(file=sys.__stdout__, highlight=False, width=150))
    return 0, data


def a_row_a_line(data: dict) -> str:
    """JSON with one measured row a line: thousands of rows stay a file that one can read and compare."""
    rows = ",\n".join("  " + json.dumps(row) for row in data["rows"])
    return json.dumps({**data, "rows": "ROWS"}, indent=1).replace('"ROWS"', f"[\n{rows}\n ]") + "\n"


def row_counts(text: str) -> list[int]:
    """`1:512:1` (from, to, step; both ends included) or `1,7,64`. Raises BadArgument."""
    try:
        if ":" in text:
            first, last, step = (int(t) for t in text.split(":"))
            counts = list(range(first, last + 1, step))
        else:
            counts = [int(t) for t in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise BadArgument(f"--rows {text}: expected FROM:TO:STEP or numbers separated by commas")
    return counts


def _case(case: Case, sweep: Sweep, counts: Sequence[int], request: RowsRequest, result: Result) -> None:
    torch.manual_seed(0)
    model = case.make().eval()
    most = max(max(counts), 2)
    example = torch.randn(max(2, most // 2), case.width)
    built = request.compile_model(model, example, most, sweep.passes)
    result.built[case.name] = built
    makers: dict[str, Callable[[], Contender]] = {
        "eager": lambda: eager(model),
        "torch_int8": lambda: torch_int8(model),
        "inductor": lambda: inductor(model, dynamic=True),
        "onnxruntime": lambda: onnxruntime_rows(model, example, 1),
    }
    entries = []
    for name in ("eager", *sweep.rivals):
        if name == "onnxruntime" and not onnxruntime_available():
            result.absent[name] = "not installed: pip install warploom[bench]"
            continue
        entry = enter(name, makers[name], (example,))
        if entry.run is None:
            result.absent[name] = entry.reason
        entries.append(entry)
    contenders = {"warploom": built.run, **ran(entries)}
    _settle(contenders, case.width)
    for rows in counts:
        times = _at(case, rows, contenders, request.budget_s)
        result.times.append(times)
        print(f"{case.name}, {rows} rows: " + ", ".join(f"{n} {t:.3f}" for n, t in times.ms.items()), file=sys.stderr, flush=True)


def _settle(contenders: Mapping[str, Contender], width: int) -> None:
    """A few sizes before any is timed: who compiles again for a new size does so now, helper threads of compilers come to rest."""
    with torch.no_grad(), quiet():
        for rows in (1, 2, 3, 5, 8):
            for run in contenders.values():
                run((torch.randn(rows, width),))
    time.sleep(1.0)


def _at(case: Case, rows: int, contenders: Mapping[str, Contender], budget_s: float) -> RowTimes:
    torch.manual_seed(rows)
    inputs = [(torch.randn(rows, case.width),) for _ in range(4)]
    with torch.no_grad(), quiet():
        for run in contenders.values():
            run(inputs[0])
        ours, exact = contenders["warploom"](inputs[1]), contenders["eager"](inputs[1])
        samples = interleave(contenders, inputs, budget_s, 1, min_rounds=21 if rows <= FEW else 5)
    assert isinstance(ours, torch.Tensor) and isinstance(exact, torch.Tensor)
    distance = float((ours - exact).norm() / exact.norm())
    return RowTimes(case.name, rows, {n: samples.median(n) * 1e3 for n in samples.seconds}, distance)


def show(result: Result, console: Console, most: int = 24) -> None:
    """Some of the rows, then means and worst ratios."""
    rivals = result.rivals()
    table = Table("model", "rows", "warploom", *(f"{r}" for r in rivals), *(f"{r} / ours" for r in rivals), "distance", title="ms, medians, one thread", title_justify="left")
    step = max(1, len(result.times) // most)
    for t in result.times[::step]:
        ratios = [f"{r:.2f}" if (r := t.ratio(name)) is not None else "" for name in rivals]
        times = [f"{t.ms[name]:.3f}" if name in t.ms else "" for name in rivals]
        table.add_row(t.case, str(t.rows), f"{t.ms['warploom']:.3f}", *times, *ratios, f"{t.distance:.1e}")
    console.print(table)
    for case, by_rival in result.summary().items():
        means = "; ".join(f"{name} {s['geomean']:.2f}x (least {s['least']:.2f}x)" for name, s in by_rival.items())
        console.print(f"{case}: speed over {means}", markup=False)
    for name, b in result.built.items():
        console.print(f"{name}: {b.variants} variants, compiled once in {b.compile_s:.1f} s", markup=False)
        for note in b.notes:
            console.print(f"  {note}", markup=False)
    for name, why in result.absent.items():
        console.print(f"{name} is absent: {why}", markup=False)
