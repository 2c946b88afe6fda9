"""Tuning by measurement: a running module and a budget come in, faster schedule scripts go to the per-machine store.

For each heavy kernel the numbers of its script (tile sizes, unroll factors) are changed one at a time; legal variants that give the same
numbers are built together and timed side by side; the fastest becomes the next start. `compile` reads the store on every run.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ...frontend.dtypes import TORCH_DTYPE
from ...ir.diagnostic import WarploomError
from ...ir.expr import as_int
from ...ir.graph import Input, TensorType
from ...ir.kernel import Buffer
from ...ir.machine import Machine
from ...ir.module import Launch, Module
from ...ir.types import is_float
from ...passes.pipeline import kernel_key
from ...passes.schedule.script import apply
from ..cache import cache_folder, contents, default_cache
from .bind import evaluate
from .build import build, printed
from .runtime import Runtime, load

LEAST_SHARE = 0.05
_GAIN = 0.97
_MOST_VARIANTS = 8


class BadBudget(WarploomError):
    """`tune` is no length of time. Write it like 30s or 5m."""

    code = "WL-E062"


def seconds_of(budget: str) -> float:
    """`30s` -> 30.0, `5m` -> 300.0. Raises BadBudget."""
    m = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", budget.strip())
    if m is None:
        raise BadBudget(f"tune={budget!r}: expected a time such as 30s or 5m")
    return float(m[1]) * {"s": 1, "m": 60, "h": 3600}[m[2] or "s"]


class StoredScripts(Mapping[str, str]):
    """Tuned scripts of this machine by kernel key, read from the cache folder when asked for."""

    def __init__(self, machine: Machine, threads: int):
        self.machine, self.threads = machine, threads
        self._any = any(cache_folder().glob("tuned-*"))

    def _name(self, key: str) -> str:
        text = f"{self.machine.name} {self.machine.isa} {self.machine.cores} {self.threads} {key}"
        return f"tuned-{hashlib.sha256(text.encode()).hexdigest()[:32]}.txt"

    def __getitem__(self, key: str) -> str:
        path = default_cache().find(self._name(key)) if self._any else None
        if path is None:
            raise KeyError(key)
        return contents(path).decode()

    def keep(self, key: str, script: str) -> None:
        """Raises OSError where the cache folder cannot be written."""
        default_cache().store(self._name(key), script.encode())

    def __iter__(self) -> Iterator[str]:
        raise TypeError("the store is asked by kernel, it is not listed")

    def __len__(self) -> int:
        return len(list(cache_folder().glob("tuned-*")))


@dataclass(frozen=True)
class Tuned:
    """One kernel that became faster: seconds before and after."""

    kernel: str
    before: float
    after: float
    script: str


def tune(
    runtime: Runtime, tensors: Sequence[torch.Tensor], machine: Machine, store: StoredScripts, budget_s: float
) -> list[Tuned]:
    """Improve the heaviest kernels first until the budget is spent; what is faster is kept in `store`."""
    deadline = time.monotonic() + budget_s
    module = runtime.layout.module
    if module.dims:
        return []
    seconds = runtime.profile(tensors, repeats=3)
    heavy = [(s, step) for s, step in zip(seconds, module.steps) if isinstance(step, Launch) and s > LEAST_SHARE * sum(seconds)]
    found: list[Tuned] = []
    seen: set[str] = set()
    for _, launch in sorted(heavy, key=lambda pair: -pair[0]):
        key = kernel_key(launch.naive)
        if key not in seen and time.monotonic() < deadline:
            seen.add(key)
            if better := _improve(launch, machine, runtime.threads, deadline):
                store.keep(key, better.script)
                found.append(better)
    return found


def _improve(launch: Launch, machine: Machine, threads: int | None, deadline: float) -> Tuned | None:
    """Hill climbing on the numbers of one script."""
    first: float | None = None
    best, tried = launch, {launch.script}
    now = 0.0
    while time.monotonic() < deadline:
        variants = _variants(best, tried)
        tried |= {v.script for v in variants}
        if not variants:
            break
        times = _side_by_side([best, *variants], machine, threads)
        first = times[0] if first is None else first
        fastest = min(range(len(times)), key=times.__getitem__)
        now = times[fastest]
        if fastest == 0 or now > _GAIN * times[0]:
            now = times[0]
            break
        best = variants[fastest - 1]
    return Tuned(launch.program.name, first or 0.0, now, best.script) if best is not launch else None


def _variants(launch: Launch, tried: set[str]) -> list[Launch]:
    """Legal schedules with one number of the script halved or doubled, or two vector widths more or less."""
    out: list[Launch] = []
    for m in re.finditer(r"split\(\w+, (\d+)", launch.script):
        value = int(m[1])
        for number in dict.fromkeys((value * 2, value // 2, value + 2, value - 2, value * 4)):
            script = launch.script[: m.start(1)] + str(number) + launch.script[m.end(1) :]
            if number > 0 and script not in tried and len(out) < _MOST_VARIANTS:
                try:
                    out.append(replace(launch, program=apply(launch.naive, script), script=script))
                except WarploomError:
                    continue
    return out


def _side_by_side(launches: Sequence[Launch], machine: Machine, threads: int | None) -> list[float]:
    """Seconds of each variant on equal inputs, infinite for one whose numbers differ from the first one's."""
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
    answers = runtime(tensors)
    times = runtime.profile(tensors, repeats=7)
    per = len(made)
    return [t if _same(answers[:per], answers[n * per : (n + 1) * per]) else float("inf") for n, t in enumerate(times)]


def _parameters(launch: Launch) -> tuple[list[Buffer], list[Buffer]]:
    """Params that are read only, and params that are written."""
    written = set(launch.program.written())
    params = launch.program.params
    return [b for b in params if b.name not in written], [b for b in params if b.name in written]


def _values(b: Buffer) -> torch.Tensor:
    """Random values that the buffer may hold."""
    shape = [as_int(d) or 0 for d in b.shape]
    if is_float(b.dtype):
        return torch.rand(shape).to(TORCH_DTYPE[b.dtype])
    lo, hi = (evaluate(e, {}) for e in b.within) if b.within else (0, 2)
    return torch.randint(lo, max(hi, lo + 1), shape).to(TORCH_DTYPE[b.dtype])


def _same(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> bool:
    return all(
        torch.allclose(x.double(), y.double(), rtol=1e-4, atol=1e-5 * float(x.double().abs().max()) if x.numel() else 0.0)
        for x, y in zip(a, b)
    )
