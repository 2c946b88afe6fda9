"""Tuning by measurement: a running module and a budget come in, faster schedule scripts go to this machine's records.

For each heavy kernel, variants of the sketch (its other decisions) and of the script (other tiles) are built together and timed side by
side on random data; one that is faster and gives the same numbers is the next start. `compile` reads the records on every run.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from ..backends.cpu.bind import evaluate
from ..backends.cpu.build import build, printed
from ..backends.cpu.runtime import Runtime, load
from ..frontend.dtypes import TORCH_DTYPE
from ..ir.diagnostic import WarploomError
from ..ir.expr import Load, as_int, loads, walk
from ..ir.graph import Input, TensorType
from ..ir.kernel import Buffer, Store, expressions, statements
from ..ir.machine import Machine
from ..ir.module import Launch, Module
from ..ir.types import BYTES, is_float
from ..passes.decisions import Choices
from ..passes.pipeline import kernel_key
from ..passes.schedule.script import apply
from ..passes.sketch import sketch, sketch_space
from .library import Stopwatch, random_values
from .records import Records, StoredScripts

LEAST_SHARE = 0.05
_GAIN = 0.97
_MOST_VARIANTS = 8
_MOST_BYTES = 1 << 30
_SECONDS_PER_BATCH = 0.4
_SECONDS_PER_VARIANT = 1.0
_COARSE = {torch.float16: 3e-2, torch.bfloat16: 2e-1}


class BadBudget(WarploomError):
    """`tune` is no length of time. Write it like 30s or 5m."""

    code = "WL-E062"


def seconds_of(budget: str) -> float:
    """`30s` -> 30.0, `5m` -> 300.0. Raises BadBudget."""
    m = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", budget.strip())
    if m is None:
        raise BadBudget(f"tune={budget!r}: expected a time such as 30s or 5m")
    return float(m[1]) * {"s": 1, "m": 60, "h": 3600}[m[2] or "s"]


@dataclass(frozen=True)
class Tuned:
    """One kernel that became faster: seconds before and after."""

    kernel: str
    before: float
    after: float
    script: str

    def __str__(self) -> str:
        return f"tuned {self.kernel}: {self.before * 1e3:.3f} ms before, {self.after * 1e3:.3f} ms after ({self.before / self.after:.2f}x)"


def tune(
    runtime: Runtime, tensors: Sequence[torch.Tensor], machine: Machine, records: Records, budget_s: float, watch: Stopwatch
) -> list[Tuned]:
    """Improve the heaviest kernels first, each for its share of the budget; what is faster is kept in `records`."""
    deadline = time.monotonic() + budget_s
    found: list[Tuned] = []
    waiting = _heavy(runtime.layout.module, watch.steps(runtime, tensors, 0.05 * budget_s))
    while waiting:
        seconds, launch = waiting.pop(0)
        share = seconds / (seconds + sum(s for s, _ in waiting))
        now = time.monotonic()
        if now >= deadline:
            break
        if better := _improve(launch, machine, runtime.threads, now + share * (deadline - now), watch):
            records.keep(
                "tuned", kernel_key(launch.naive), {"script": better.script, "before": better.before, "after": better.after}
            )
            found.append(better)
    return found


def remembered(module: Module, records: Records) -> tuple[str, ...]:
    """A line that names the kernels of a module whose schedule was tuned, now or by an earlier run."""
    scripts = StoredScripts(records)
    tuned = [s.program.name for s in module.steps if isinstance(s, Launch) and scripts.get(kernel_key(s.naive)) == s.script]
    return (f"schedules tuned on this machine: {', '.join(tuned)}",) if tuned else ()


def _heavy(module: Module, seconds: Sequence[float]) -> list[tuple[float, Launch]]:
    """(seconds of all its launches, launch) of each kernel that takes a share of the time, largest first. Left out are kernels of dynamic
    shape, and those whose indices depend on data, which random values would not do justice."""
    total: dict[str, float] = {}
    example: dict[str, Launch] = {}
    for s, step in zip(seconds, module.steps):
        if isinstance(step, Launch) and not step.program.dims and not _indirect(step):
            key = kernel_key(step.naive)
            total[key] = total.get(key, 0.0) + s
            example.setdefault(key, step)
    heavy = [(s, example[key]) for key, s in total.items() if s > LEAST_SHARE * sum(seconds)]
    return sorted(heavy, key=lambda pair: -pair[0])


def _indirect(launch: Launch) -> bool:
    found = (e for s in statements(launch.naive.body) for root in expressions(s) for e in walk(root))
    inside = any(isinstance(e, Load) and any(loads(i) for i in e.index) for e in found)
    return inside or any(loads(i) for s in statements(launch.naive.body) if isinstance(s, Store) for i in s.index)


def _improve(launch: Launch, machine: Machine, threads: int | None, deadline: float, watch: Stopwatch) -> Tuned | None:
    """Hill climbing: batches of variants beside the best so far, until the time is over or three batches bring nothing."""
    space = _Space(launch, machine)
    best, before, after, idle, pace = launch, 0.0, 0.0, 0, _SECONDS_PER_VARIANT
    while time.monotonic() < deadline and idle < 3:
        started = time.monotonic()
        batch = list(itertools.islice(space.variants(best), _batch_size(launch, (deadline - started) / pace)))
        if not batch:
            break
        times = _side_by_side([best, *batch], machine, threads, watch)
        pace = max(1e-3, (time.monotonic() - started) / (len(batch) + 1))
        fastest = min(range(len(times)), key=times.__getitem__)
        gain = times[fastest] / times[0]
        before = before or times[0]
        if gain > _GAIN:
            idle += 1
            continue
        best, after, idle = batch[fastest - 1], (after or before) * gain, 0
    return Tuned(launch.program.name, before, after, best.script) if best is not launch else None


def _batch_size(launch: Launch, affordable: float) -> int:
    """Variants that are timed together: as many as there is time for; each has outputs of its own."""
    _, made = _parameters(launch)
    size = sum(math.prod(as_int(d) or 1 for d in b.shape) * BYTES[b.dtype] for b in made)
    return max(1, min(_MOST_VARIANTS, int(affordable) - 1, _MOST_BYTES // max(1, size) - 1))


class _Space:
    """The variants of one kernel, each given out once: the sketch's other decisions, one number of the best script changed, then pairs of
    decisions."""

    def __init__(self, launch: Launch, machine: Machine):
        self.launch, self.machine = launch, machine
        self._tried = {launch.script}
        space = sketch_space(launch.naive, launch.kind, machine)
        self._single = [c for c in space if len(c) == 1]
        self._pairs = [c for c in space if len(c) > 1]

    def variants(self, best: Launch) -> Iterator[Launch]:
        yield from self._sketched(self._single)
        yield from self._changed(best)
        yield from self._sketched(self._pairs)

    def _sketched(self, waiting: list[Choices]) -> Iterator[Launch]:
        while waiting:
            try:
                draft = sketch(self.launch.naive, self.launch.kind, self.machine, waiting.pop(0))
            except WarploomError:
                continue
            if draft.script not in self._tried:
                self._tried.add(draft.script)
                yield replace(self.launch, program=draft.program, script=draft.script)

    def _changed(self, best: Launch) -> Iterator[Launch]:
        """One tile of the script halved or doubled, or a vector (two rows, where it is not along the lanes) more or less."""
        for m in re.finditer(r"split\((\w+), (\d+)", best.script):
            value, along = int(m[2]), f"bind({m[1]}1, vector)" in best.script
            more = self.machine.lanes if along else 2
            for number in dict.fromkeys((value * 2, value // 2, value + more, value - more)):
                script = best.script[: m.start(2)] + str(number) + best.script[m.end(2) :]
                if number < 1 or script in self._tried:
                    continue
                self._tried.add(script)
                with contextlib.suppress(WarploomError):
                    yield replace(best, program=apply(best.naive, script), script=script)


def _side_by_side(launches: Sequence[Launch], machine: Machine, threads: int | None, watch: Stopwatch) -> list[float]:
    """Seconds of each variant on equal inputs, the worse of two measurements beside the first variant; infinite for one whose numbers
    differ from the first one's."""
    given, made = _parameters(launches[0])
    inputs = tuple(Input(b.name, TensorType(b.dtype, b.shape)) for b in given)
    steps, outputs, types = [], [], {i.name: i.type for i in inputs}
    for number, launch in enumerate(launches):
        names = {b.name: f"{b.name}_{number}_made" for b in made}
        args = tuple(names.get(b.name, b.name) for b in launch.program.params)
        steps.append(replace(launch, program=replace(launch.program, name=f"variant{number}"), args=args))
        outputs += names.values()
        types |= {names[b.name]: TensorType(b.dtype, b.shape) for b in made}
    code = printed(Module("variants", (), inputs, tuple(steps), tuple(outputs), (), types), machine.isa)
    runtime = load(code.layout, build(code, machine), {}, threads)
    tensors = [_values(b) for b in given]
    right = [True] * len(launches)
    for values in (tensors, [t - 0.5 if t.is_floating_point() else t for t in tensors]):
        answers, per = runtime(values), len(made)
        right = [was and same(answers[:per], answers[n * per : (n + 1) * per]) for n, was in enumerate(right)]
    first, second = (watch.steps(runtime, tensors, _SECONDS_PER_BATCH / 2) for _ in range(2))
    ratios = [max(a / first[0], b / second[0]) for a, b in zip(first, second)]
    return [first[0] * ratio if was else float("inf") for ratio, was in zip(ratios, right)]


def _parameters(launch: Launch) -> tuple[list[Buffer], list[Buffer]]:
    """Params that are read only, and params that are written."""
    written = set(launch.program.written())
    params = launch.program.params
    return [b for b in params if b.name not in written], [b for b in params if b.name in written]


def _values(b: Buffer) -> torch.Tensor:
    """Random values that the buffer may hold."""
    if is_float(b.dtype):
        return random_values(TensorType(b.dtype, b.shape))
    shape = [as_int(d) or 0 for d in b.shape]
    lo, hi = (evaluate(e, {}) for e in b.within) if b.within else (0, 2)
    return torch.randint(lo, max(hi, lo + 1), shape).to(TORCH_DTYPE[b.dtype])


def same(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> bool:
    """Equal but for the order of sums, NaN where the other is NaN (a root of what is negative here, say)."""
    return all(torch.equal(x, y) or _close(x, y, _COARSE.get(x.dtype, 1e-4)) for x, y in zip(a, b))


def _close(x: torch.Tensor, y: torch.Tensor, rtol: float) -> bool:
    if not x.is_floating_point():
        return False
    x, y = (t if t.dtype is torch.float64 else t.float() for t in (x, y))
    scale = float(torch.nan_to_num(x, 0.0, 0.0, 0.0).abs().max())
    return torch.allclose(x, y, rtol=rtol, atol=0.1 * rtol * scale, equal_nan=True)
