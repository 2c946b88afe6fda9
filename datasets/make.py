"""One pair: a Program and a seed come in, a verified `Pair` or a `Refusal` with its reason goes out.

Both sides are planned apart from the same Graph, the C side by a measurement among a few plans, the CUDA side by the roofline; both are run on
every input family and held against float64, the CUDA side with every access watched.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..backends.emulator.execute import KernelFailed
from ..ir.diagnostic import WarploomError
from ..ir.graph_text import print_graph
from ..ir.module import Launch, Module
from ..ir.text import print_program
from ..ir.version import VERSION
from . import plans, run_sides
from .c_side import COMPILE, ENTRY, CSide, NotAPair, c_side, cpu_machine
from .cuda_side import MACHINE, CudaSide, cuda_side
from .features import accesses_of, features_of
from .program import Array, Program, inputs_of, outputs_of
from .record import Pair
from .reference import Case, cases, checksum
from .roofline import cheapest
from .styles import Style

MOST_WATCHED = 6e6
"""Accesses of a run that are still watched one by one: seconds."""
TUNED = 4
"""Other plans of a C side that are measured, where it is tuned."""
BASELINE_SLACK = 64.0
"""How many times the allowed error the unscheduled C may make: one long sum, term after term, rounds coarsely and is no side of the pair."""


@dataclass(frozen=True)
class Refusal:
    """Why there is no pair: a code, the side (both, c, cuda, reference), a line. Sources are kept for whoever looks into it."""

    code: str
    side: str
    reason: str
    cuda_source: str = ""
    c_source: str = ""


@dataclass
class _Work:
    program: Program
    rng: np.random.Generator
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=lambda: processor_seconds())

    def timed(self, name: str, work):
        start = time.perf_counter()
        out = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        return out


def processor_seconds() -> float:
    """Of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def make_pair(program: Program, seed: int) -> Pair | Refusal:
    """Never raises for what the program does; a defect of ours shows as a refusal with its message."""
    with run_sides.scratch_folder() as folder:
        work = _Work(program, np.random.Generator(np.random.PCG64([seed, 77])), Path(folder))
        try:
            return _made(work, seed)
        except NotAPair as error:
            return Refusal("not-a-pair", "both", error.message)
        except WarploomError as error:
            return Refusal(f"error-{error.code}", "both", error.message[:500])


def _made(work: _Work, seed: int) -> Pair | Refusal:
    style = Style.drawn(work.rng)
    work.program = style.program(work.program)
    given = work.timed("reference", lambda: [c.prepare() for c in cases(work.program, seed)])
    useful = [c for c in given if not c.useless()]
    if not useful:
        return Refusal("weak-test", "reference", given[0].useless())
    cuda, cuda_strategy = work.timed("cuda plan", lambda: _cuda(work, style))
    found = _judge_cuda(work, cuda, useful)
    if isinstance(found, Refusal):
        return found
    cuda_verdict, cuda_errors = found
    c = work.timed("c", lambda: _c(work, style, useful))
    if isinstance(c, Refusal):
        return c
    return _record(work, seed, useful, (cuda, cuda_strategy, cuda_verdict, cuda_errors), c, style)


# ------------------------------------------------------------------------------------------------ CUDA
def _cuda(work: _Work, style: Style) -> tuple[CudaSide, dict[str, object]]:
    graph = work.program.graph
    strategy = str(work.rng.choice(["naive", "default", "tuned"], p=[0.2, 0.5, 0.3]))
    if strategy == "naive":
        module, note = plans.naive_cuda(graph), "a thread for each point"
    else:
        module, note = plans.default_cuda(graph), "the sketches' own decisions"
    if strategy == "tuned":
        others = plans.alternatives(module, MACHINE, 12, work.rng)
        module, note = cheapest(module, [plans.rescheduled(module, MACHINE, o) for o in others])
    side = cuda_side(graph, module)
    return style.cuda(side), {"name": strategy, "chosen_by": "roofline" if strategy == "tuned" else "rule", "note": note, **_texts(module)}


def _texts(module: Module) -> dict[str, object]:
    """Kernel text and script of each launch."""
    launches = [s for s in module.steps if isinstance(s, Launch)]
    return {"kernels": [{"name": x.program.name, "naive": print_program(x.naive), "script": x.script} for x in launches]}


def _judge_cuda(work: _Work, side: CudaSide, given: Sequence[Case]) -> tuple[dict[str, object], list[dict[str, float]]] | Refusal:
    outputs = outputs_of(work.program.graph)
    names = [i.name for i in work.program.graph.inputs]
    arrays = [dict(zip(names, c.arrays)) for c in given]
    try:
        made = work.timed("cuda run", lambda: run_sides.run_cuda(side, arrays, outputs))
        errors = _errors(given, made)
        if isinstance(errors, str):
            return Refusal("wrong-result", "cuda", errors, cuda_source=side.source)
        watched = accesses_of(work.program.graph) <= MOST_WATCHED
        findings = work.timed("cuda check", lambda: run_sides.check_cuda(side, arrays[0])) if watched else []
    except KernelFailed as error:
        return Refusal(_how(error), "cuda", error.message, cuda_source=side.source)
    if findings:
        return Refusal("finding", "cuda", findings[0][:400], cuda_source=side.source)
    checked = "clean" if watched else "not watched: too many accesses"
    return {"accepted": True, "by": "emulator", "check": checked, **_worst(errors)}, errors


def _how(error: KernelFailed) -> str:
    """The code of a run that did not come to a good end."""
    return "timeout" if "SIGXCPU" in error.message or "SIGALRM" in error.message else "crash"


def _errors(given: Sequence[Case], made: Sequence[Sequence[np.ndarray]], slack: float = 1.0) -> list[dict[str, float]] | str:
    """(largest error, tolerance) of each case and output, or what is wrong first."""
    out = []
    for case, arrays in zip(given, made):
        for difference in case.differences(arrays):
            if not difference.right and not difference.error <= slack * difference.tolerance:
                return f"{difference.name} in family {case.family}: {difference.why}"
            out.append({"error": difference.error, "tolerance": difference.tolerance, "scale": difference.scale})
    return out


def _worst(errors: Sequence[dict[str, float]]) -> dict[str, object]:
    def share(e: dict[str, float]) -> float:
        return e["error"] / e["tolerance"] if e["tolerance"] else 0.0

    worst = max(errors, key=share)
    return {"max_error": worst["error"], "tolerance": worst["tolerance"], "runs": len(errors)}


# ------------------------------------------------------------------------------------------------ C
@dataclass(frozen=True)
class _C:
    side: CSide
    naive: CSide
    strategy: dict[str, object]
    verdict: dict[str, object]
    errors: list[dict[str, float]]
    times: dict[str, object]


def _c(work: _Work, style: Style, given: Sequence[Case]) -> _C | Refusal:
    """Plans measured side by side; the fastest right one is the record's."""
    graph, outputs = work.program.graph, outputs_of(work.program.graph)
    default = plans.default_c(graph)
    modules = {"naive": plans.naive_c(graph), "default": default}
    if work.rng.random() < 0.25:
        for n, other in enumerate(plans.alternatives(default, cpu_machine(), TUNED, work.rng)):
            modules[f"tuned{n}"] = plans.rescheduled(default, cpu_machine(), other)
    sides = {name: c_side(graph, m, style.title(work.program), style.comments) for name, m in modules.items()}
    sides = {name: style.c(s) for name, s in sides.items() if name in ("naive", "default") or s.source != sides["default"].source}
    libraries = run_sides.build_c({n: s.source for n, s in sides.items()}, work.folder)
    order = list(sides)
    times = run_sides.time_c([libraries[n] for n in order], given[0].arrays, outputs)
    best = max(range(len(order)), key=lambda k: times.ratios[k][0])
    if times.ratios[best][0] < 1.03:
        best = 0
    name = order[best]
    for which in dict.fromkeys((name, "naive")):
        try:
            made = run_sides.run_c(libraries[which], [c.arrays for c in given], outputs)
            errors = _errors(given, made, 1.0 if which == name else BASELINE_SLACK)
        except KernelFailed as error:
            return Refusal(_how(error), "c", error.message, c_source=sides[which].source)
        if isinstance(errors, str):
            return Refusal("wrong-result", "c", f"{which}: {errors}", c_source=sides[which].source)
        if which == name:
            kept = errors
    ratio, low, high = times.ratios[best]
    measured = {
        "c_us": times.microseconds[best], "naive_c_us": times.microseconds[0], "speedup": ratio, "interval": [low, high], "baseline": "c_naive",
        "threads": 1, "clock": "processor time", "machine": cpu_machine().name, "cuda_us": None, "others": {n: times.microseconds[k] for k, n in enumerate(order)},
    }  # fmt: skip
    strategy = {"name": name.rstrip("0123456789"), "chosen_by": "measurement", "among": order, **_texts(modules[name])}
    return _C(sides[name], sides["naive"], strategy, {"accepted": True, "by": "native", **_worst(kept)}, kept, measured)


# ------------------------------------------------------------------------------------------------ record
def _record(work: _Work, seed: int, given: Sequence[Case], cuda, c: _C, style: Style) -> Pair:
    side, strategy, verdict, errors = cuda
    graph = work.program.graph
    outputs: list[Array] = outputs_of(graph)
    sums, at = [], 0
    for number, case in enumerate(given):
        for output, truth in zip(outputs, case.truth):
            allowed = max(errors[at]["tolerance"], c.errors[at]["tolerance"])
            sums.append(checksum(number, output, truth, allowed))
            at += 1
    arguments = inputs_of(graph)
    inputs = {
        "arguments": [{"name": a.name, "dtype": a.dtype, "shape": list(a.shape)} for a in arguments],
        "cases": [
            {"family": x.family, "seed": x.seed, "values": dict(zip([a.name for a in arguments], x.expressions))} for x in given
        ],
    }
    pair = Pair(
        category=work.program.category, graph=print_graph(graph), cuda_source=side.source, cuda_launches=side.launches(), cuda_strategy=strategy,
        buffers=side.buffers(graph), c_source=c.side.source, c_entry=ENTRY, c_args=[{"name": n, "type": t, "role": r} for n, t, r in c.side.args],
        c_compile=COMPILE, c_strategy=c.strategy, inputs=inputs, outputs=sums, verdicts={"cuda": verdict, "c": c.verdict}, times=c.times,
        provenance={"warploom": VERSION, "seed": seed, "params": dict(work.program.params), "parent": work.program.parent, "style": style.describe(),
                    "cuda_machine": MACHINE.name, "seconds": {k: round(v, 2) for k, v in work.seconds.items()},
                    "processor_seconds": round(processor_seconds() - work.started, 2)},
        operators=list(work.program.operators), c_naive=c.naive.source, features=features_of(graph),
    )  # fmt: skip
    return pair.identified()
