"""Why a kernel is as fast as it is: a Kernel and its dims come in; bytes, operations, roofline and the loop the time goes to go out.

The times are a model, not a measurement. A statement costs the largest of three: its arithmetic and its loads, each at two (vector)
instructions per cycle, and the latency of a sum that waits for itself. What memory adds is in the roofline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ..backends.cpu.peaks import measured
from ..evaluation.report.work import work
from ..ir.expr import Cast, Const, Expr, Load, Op, as_int, loads, names, substitute
from ..ir.intrinsic import inline_calls
from ..ir.kernel import Alloc, Body, For, If, Program, Reduce, Stmt, Store
from ..ir.machine import Machine
from ..ir.text import program_lines
from ..passes.draft import stride

if TYPE_CHECKING:
    from .handwritten import Kernel

LATENCY = 4.0  # cycles from one addition to the next that needs it
ISSUE = 2.0  # (vector) instructions of a kind per cycle
LONG = {"exp": 12, "exp2": 10, "expm1": 16, "log": 14, "erf": 20, "tanh": 18, "sigmoid": 18, "/": 8, "sqrt": 8, "rsqrt": 8, "pow": 40}
_OTHER_FUNCTION = 25


@dataclass(frozen=True)
class Line:
    """A line of the program with the share of the modelled time that goes to it and to all below it."""

    text: str
    share: float
    runs: float
    limit: str


@dataclass(frozen=True)
class Explanation:
    """`flops`, `nbytes`: least work of the program as written; `intensity`: flops per byte, and `balance`: the machine's, where both
    limits meet; `floor_s`: the roofline on one thread; `model_s`: the modelled time; `hottest`: the innermost loop with the largest share."""

    name: str
    flops: float
    nbytes: float
    intensity: float
    balance: float
    floor_s: float
    model_s: float
    hottest: str
    lines: tuple[Line, ...]

    @property
    def bound(self) -> str:
        return "arithmetic" if self.intensity > self.balance else "memory"

    def __str__(self) -> str:
        console = Console(width=160, highlight=False, color_system=None)
        with console.capture() as got:
            console.print(self.__rich__())
        return got.get().rstrip()

    def __rich__(self) -> Text:
        out = Text(no_wrap=True, overflow="ignore")
        out.append(
            f"{self.name}: {self.flops / 1e6:.4g} Mflop on {self.nbytes / 1e6:.4g} MB: {self.intensity:.3g} flop/byte, bound by "
            f"{self.bound} (the limits meet at {self.balance:.3g})\n"
            f"roofline {self.floor_s * 1e3:.4g} ms; the loops below need {self.model_s * 1e3:.4g} ms by the model, most of it in {self.hottest}\n"
        )
        for line in self.lines:
            heat = "bold red" if line.share > 0.5 else "yellow" if line.share > 0.1 else ""
            out.append(f"{line.share:5.0%} {line.limit:8s} | {line.text}\n", heat)
        out.rstrip()
        return out


def explain(kernel: Kernel, dims: Mapping[str, int]) -> Explanation:
    """Explain one thread's run with these dims."""
    machine = measured()
    least = work(kernel.programs[0], dims)
    program = inline_calls(kernel.program)
    model = _Model(program, machine, dims)
    total = sum(model.cost(s) for s in program.body) or 1e-12
    lines = tuple(
        Line(text, model.cycles.get(id(s), 0.0) / total if s else 1.0, model.runs.get(id(s), 0.0), model.limits.get(id(s), ""))
        for text, s in program_lines(program)
    )
    bandwidth = machine.bandwidth_cache if least.nbytes <= machine.l3 / 2 else machine.bandwidth
    return Explanation(
        kernel.name, least.flops, least.nbytes, least.flops / max(least.nbytes, 1.0), machine.flops / bandwidth,
        machine.floor_seconds(least.flops, least.nbytes), total / model.hertz, _hottest(program.body, model.cycles), lines,
    )  # fmt: skip


def _hottest(body: Body, cycles: Mapping[int, float]) -> str:
    """Follow the most expensive statement down to its innermost loop."""
    found = "straight code"
    while loops := [s for s in body if isinstance(s, (For, If))]:
        s = max(loops, key=lambda x: cycles.get(id(x), 0.0))
        found = f"`{s.axis}`" if isinstance(s, For) else found
        body = s.body
    return found


class _Model:
    """Cycles of each statement (with all below it), times it runs, and what limits it."""

    def __init__(self, p: Program, machine: Machine, dims: Mapping[str, int]):
        self.buffers, self.lanes = p.buffers(), machine.lanes
        self.hertz = machine.flops / (2 * ISSUE * machine.lanes)
        self.env: dict[str, Expr] = {k: Const(v) for k, v in dims.items()}
        self.loops: list[tuple[For, float]] = []
        self.cycles: dict[int, float] = {}
        self.runs: dict[int, float] = {}
        self.limits: dict[int, str] = {}

    def cost(self, s: Stmt) -> float:
        """Cycles of all runs of `s`."""
        self.runs[id(s)] = self._times()
        if isinstance(s, For):
            out = self._loop(s)
        elif isinstance(s, If):
            out = sum(self.cost(x) for x in s.body)
        elif isinstance(s, Alloc):
            out = 0.0
        else:
            out = self._statement(s)
        self.cycles[id(s)] = out
        return out

    def _loop(self, s: For) -> float:
        """A bound that depends on an outer axis is taken at that axis's middle."""
        lo, hi = as_int(substitute(s.lo, self.env)) or 0, as_int(substitute(s.hi, self.env)) or 0
        before = dict(self.env)
        self.env[s.axis] = Const((lo + hi) // 2)
        self.loops.append((s, float(max(hi - lo, 0))))
        out = sum(self.cost(x) for x in s.body)
        self.loops.pop()
        self.env = before
        return out

    def _times(self) -> float:
        out = 1.0
        for _, n in self.loops:
            out *= n
        return out

    def _statement(self, s: Stmt) -> float:
        vector = next((loop.axis for loop, _ in self.loops if loop.kind == "vector"), None)
        width = next((-(-n // self.lanes) / n for loop, n in self.loops if loop.kind == "vector" and n), 1.0)
        times = self._times()
        values, places = _parts(s)
        arithmetic = times * width * (sum(_operations(v) for v in values) + (isinstance(s, Reduce) and not _multiplies(s)))
        touched = [*places, *(x for v in values for x in loads(v))]
        moved = times * sum(self._accesses(x, vector, width) for x in touched if self._in_memory(x))
        costs = {"compute": arithmetic / ISSUE, "loads": moved / ISSUE, "latency": self._waiting(s, times, width)}
        limit = max(costs, key=lambda k: costs[k])
        self.limits[id(s)] = limit if costs[limit] else ""
        return costs[limit]

    def _in_memory(self, x: Load) -> bool:
        b = self.buffers[x.buffer]
        return b.space != "local" or any(as_int(d) is None for d in b.shape)

    def _accesses(self, x: Load, vector: str | None, width: float) -> float:
        """Instructions per element of the vector loop: one per register where neighbours lie together, else one per element."""
        if vector is None:
            return 1.0
        step = stride(self.buffers[x.buffer], x.index, vector)
        return width if step in (0, 1) else 1.0

    def _waiting(self, s: Stmt, times: float, width: float) -> float:
        """A sum waits for itself, unless other sums (unrolled or along the lanes) fill the time."""
        if not isinstance(s, Reduce):
            return 0.0
        used = {n for t in s.targets for i in t.index for n in names(i)}
        inner = 0
        while inner < len(self.loops) and self.loops[-1 - inner][0].axis in used:
            inner += 1
        chains = 1.0
        for loop, n in self.loops[len(self.loops) - inner :]:
            chains *= n * width if loop.kind == "vector" else n if loop.kind in ("unroll", "serial") else 1.0
        return times * width * LATENCY / max(1.0, chains) if inner < len(self.loops) else 0.0


def _parts(s: Stmt) -> tuple[Sequence[Expr], Sequence[Load]]:
    """Values computed and places written."""
    if isinstance(s, Store):
        return (s.value,), (Load(s.buffer, s.index),)
    assert isinstance(s, Reduce)
    return s.values, (*s.targets, *s.running)


def _multiplies(s: Reduce) -> bool:
    """`a += b * c` is one instruction."""
    return s.monoid == "add" and isinstance(s.values[0], Op) and s.values[0].name == "*"


def _operations(e: Expr) -> float:
    """Instructions of a value; index arithmetic is not counted."""
    return sum(_one(x) for x in _value_nodes(e))


def _value_nodes(e: Expr) -> Iterator[Expr]:
    yield e
    if isinstance(e, (Op, Cast)):
        for kid in e.args if isinstance(e, Op) else (e.value,):
            yield from _value_nodes(kid)


def _one(e: Expr) -> float:
    if isinstance(e, Cast):
        return 1.0
    if not isinstance(e, Op):
        return 0.0
    return float(LONG.get(e.name, _OTHER_FUNCTION if e.name.isidentifier() and e.name not in _CHEAP else 1))


_CHEAP = {"select", "and", "or", "not", "min", "max", "neg", "abs", "floor", "ceil", "round", "trunc", "isnan", "isinf", "invert"}
