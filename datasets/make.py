"""One pair: a Program and a seed come in, a verified `Pair` or a `Refusal` with its reason goes out.

Both sides are planned apart from the same Graph, the C side by a measurement among a few plans, the CUDA side by the roofline; the judge holds
both against float64 on the same cases, and the CUDA side runs once more with every access watched.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..backends.emulator.execute import KernelFailed
from ..evaluation.correctness import Case
from ..evaluation.verdict import CannotJudge
from ..ir.diagnostic import BuildFailed, Unreadable, WarploomError
from ..ir.graph import Graph
from ..ir.graph_text import print_graph
from ..ir.module import Launch, Module
from ..ir.text import print_program
from ..ir.version import VERSION
from . import plans, run_sides
from .c_side import COMPILE, ENTRY, CSide, NotAPair, c_side, cpu_machine
from .cuda_side import MACHINE, CudaSide, cuda_side
from .dlight_side import DlightSide, dlight_side
from .features import accesses_of, features_of
from .judged import STEP_DRAWS, Answer, Judging, has_steps
from .plain_c import COMPILE as PLAIN
from .plain_c import plain_c
from .program import Array, Program, inputs_of, outputs_of
from .record import Pair
from .reference import checksum, differs, useless
from .roofline import cheapest
from .styles import Style

MOST_WATCHED = 4e6
"""Accesses of a run that are still watched one by one: seconds."""
TUNED = 3
"""Other plans of a C side that are measured, where it is tuned."""
BASELINE_SLACK = 64.0
"""How many times the allowed error the unscheduled C may make: one long sum, term after term, rounds coarsely and is no side of the pair."""
CUDA_STRATEGIES = {"naive": 0.17, "default": 0.4, "tuned": 0.25, "dlight": 0.18}
"""How often each is drawn for a CUDA side; where dlight has none the default stands instead."""
CLEARLY = 1.03
"""Times faster than the unscheduled form: what is not, falls back to that form."""


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
    opened: float = field(default_factory=time.perf_counter)

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
    with tempfile.TemporaryDirectory(prefix="warploom-pair-", ignore_cleanup_errors=True) as folder:
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
    made = _attempt(work, style, seed, 1)
    if isinstance(made, Refusal) and made.code == "wrong-result" and has_steps(work.program.graph):
        return _attempt(work, style, seed, STEP_DRAWS)
    return made


def _attempt(work: _Work, style: Style, seed: int, disturbances: int) -> Pair | Refusal:
    try:
        with Judging(work.program, seed, disturbances) as judging:
            return _judged(work, judging, style, seed)
    except CannotJudge as error:
        return Refusal("weak-test", "reference", error.message)


def _judged(work: _Work, judging: Judging, style: Style, seed: int) -> Pair | Refusal:
    work.seconds["reference"] = round(time.perf_counter() - work.opened, 2)
    outputs = outputs_of(work.program.graph)
    kept = {n: c for n, c in judging.cases.recorded().items() if not useless(outputs, c)}
    if not kept:
        return Refusal("weak-test", "reference", useless(outputs, next(iter(judging.cases.recorded().values()))))
    cuda, cuda_strategy = work.timed("cuda plan", lambda: _cuda(work, style))
    seen = _judge_cuda(work, judging, cuda)
    if isinstance(seen, Refusal):
        return seen
    c = _c(work, judging, style, sorted(kept))
    if isinstance(c, Refusal):
        return c
    sums = _checksums(judging, kept, outputs, [seen.left, c.answer.left], c.plain_runs)
    if not sums:
        return Refusal("undecided", "both", "rounding alone decides outputs: no case gives the same integers on both sides")
    return _record(work, judging, seed, sums, (cuda, cuda_strategy, seen), c, style)


def _checksums(
    judging: Judging, kept: Mapping[int, Case], outputs: Sequence[Array], left: Sequence[Mapping], plain: Mapping[int, Sequence[np.ndarray]]
) -> dict[int, list[dict]]:
    """Of each case that both sides reproduce. Integers to the bit: those of float64 or, where a rounding decides, those of float32. `plain`: what
    the plain C form makes, case by case: its sums in one go are further off, and it is held to the same checksums."""
    made: dict[int, list[dict]] = {}
    for number, case in kept.items():
        single = [e if e.tolerance is not None else replace(e, value=e.eager) for e in case.outputs]
        for truth in (case.outputs, single):
            runs = [[*(side[case.key][k] for side in left), *(plain[number][k : k + 1] if number in plain else ())] for k in range(len(outputs))]
            sums = [checksum(len(made), o, e, r) for o, e, r in zip(outputs, truth, runs)]
            if number not in made and all(not differs(s, side[case.key][k]) for side in left for k, s in enumerate(sums)):
                made[number] = sums
    return made


# ------------------------------------------------------------------------------------------------ CUDA
def _cuda(work: _Work, style: Style) -> tuple[CudaSide, dict[str, object]]:
    graph = work.program.graph
    strategy, why = str(work.rng.choice(list(CUDA_STRATEGIES), p=list(CUDA_STRATEGIES.values()))), ""
    if strategy == "dlight":
        made = dlight_side(graph)
        if isinstance(made, DlightSide):
            told = {"name": strategy, "chosen_by": "rule", "note": f"fused by Relax, scheduled and printed by {made.by}", "by": made.by}
            return style.cuda(made.side), {**told, "kernels": list(made.kernels)}
        strategy, why = "default", f"; dlight was drawn: {made}"
    if strategy == "naive":
        module, note = plans.naive_cuda(graph), "a thread for each point"
    else:
        module, note = plans.default_cuda(graph), "the sketches' own decisions"
    if strategy == "tuned":
        others = plans.alternatives(module, MACHINE, 12, work.rng)
        module, note = cheapest(module, [plans.rescheduled(module, MACHINE, o) for o in others])
    side = cuda_side(graph, module)
    return style.cuda(side), {"name": strategy, "chosen_by": "roofline" if strategy == "tuned" else "rule", "note": note + why, **_texts(module)}


def _texts(module: Module) -> dict[str, object]:
    """Kernel text and script of each launch."""
    launches = [s for s in module.steps if isinstance(s, Launch)]
    return {"kernels": [{"name": x.program.name, "naive": print_program(x.naive), "script": x.script} for x in launches]}


def _judge_cuda(work: _Work, judging: Judging, side: CudaSide) -> _Seen | Refusal:
    graph = work.program.graph
    try:
        library = work.timed("cuda build", lambda: run_sides.cuda_library(side, [*inputs_of(graph), *outputs_of(graph)]))
        answer = work.timed("cuda run", lambda: judging.answer(library, twice=False))
        if not answer.accepted:
            return refusal("cuda", answer, cuda_source=side.source)
        watched = accesses_of(graph) <= MOST_WATCHED
        arrays = dict(zip([i.name for i in graph.inputs], judging.given[0].arrays))
        findings = work.timed("cuda check", lambda: run_sides.check_cuda(side, arrays)) if watched else []
    except KernelFailed as error:
        return Refusal(_how(error), "cuda", error.message, cuda_source=side.source)
    if findings:
        return Refusal("finding", "cuda", findings[0][:400], cuda_source=side.source)
    checked = "clean" if watched else "not watched: too many accesses"
    return _Seen({"by": "emulator", "check": checked, **answer.to_json()}, answer.left)


@dataclass(frozen=True)
class _Seen:
    verdict: dict[str, object]
    left: dict[str, list[np.ndarray]]


def refusal(side: str, answer: Answer, **sources: str) -> Refusal:
    """The rejection of a side by its first finding."""
    first = answer.findings[0]
    return Refusal(first.code, side, f"{first.message}{' at ' + first.where if first.where else ''}"[:500], **sources)


def _how(error: KernelFailed) -> str:
    """The code of a run that did not come to a good end."""
    return "timeout" if "SIGXCPU" in error.message or "SIGALRM" in error.message else "crash"


# ------------------------------------------------------------------------------------------------ C
@dataclass(frozen=True)
class _C:
    side: CSide
    naive: CSide
    plain: str
    plain_runs: Mapping[int, Sequence[np.ndarray]]
    strategy: dict[str, object]
    answer: Answer
    others: dict[str, object]
    times: dict[str, object]


def _c(work: _Work, judging: Judging, style: Style, kept: Sequence[int]) -> _C | Refusal:
    """Plans measured side by side; the fastest is judged and becomes the record's, the unscheduled forms are held to what the cases allow."""
    graph, outputs = work.program.graph, outputs_of(work.program.graph)
    modules = work.timed("c plan", lambda: _c_modules(work, graph))
    sides = {name: c_side(graph, m, style.title(work.program), style.comments) for name, m in modules.items()}
    sides = {name: style.c(s) for name, s in sides.items() if name in ("naive", "default") or s.source != sides["default"].source}
    plain = _plain(graph, modules["naive"])
    commands = {n: (s.source, COMPILE) for n, s in sides.items()} | ({"plain": (plain, PLAIN)} if plain else {})
    libraries = work.timed("c build", lambda: run_sides.build_c(commands, work.folder))
    order = list(sides)
    given = judging.given[kept[0]].arrays
    times = work.timed("c time", lambda: run_sides.time_c([libraries[n] for n in order], given, outputs))
    best = _chosen(times)
    name = order[best]
    answer = work.timed("c run", lambda: judging.answer(libraries[name].read_bytes(), twice=True))
    if not answer.accepted:
        return refusal("c", answer, c_source=sides[name].source)
    others: dict[str, object] = {}
    made: Mapping[int, Sequence[np.ndarray]] = {}
    for which in ("c_naive", "c_plain") if plain else ("c_naive",):
        wrong, made = work.timed("c others", lambda w=which: _off(libraries[w.removeprefix("c_")], judging, kept, outputs))
        if wrong and which == "c_naive":
            return Refusal("wrong-result", "c", f"the unscheduled form: {wrong}", c_source=sides["naive"].source)
        others[which] = {"accepted": not wrong, "by": "native", "slack": BASELINE_SLACK, **({"reason": wrong} if wrong else {})}
    ratio, low, high = times.ratios[best]
    measured = {
        "c_us": times.microseconds[best], "naive_c_us": times.microseconds[0], "speedup": ratio, "interval": [low, high], "baseline": "c_naive",
        "threads": 1, "clock": "processor time", "machine": cpu_machine().name, "cuda_us": None, "others": {n: times.microseconds[k] for k, n in enumerate(order)},
    }  # fmt: skip
    strategy = {"name": name.rstrip("0123456789"), "chosen_by": "measurement", "among": order, **_texts(modules[name])}
    return _C(sides[name], sides["naive"], plain, made if plain else {}, strategy, answer, others, measured)


def _c_modules(work: _Work, graph: Graph) -> dict[str, Module]:
    default = plans.default_c(graph)
    modules = {"naive": plans.naive_c(graph), "default": default}
    if work.rng.random() < 0.25:
        for n, other in enumerate(plans.alternatives(default, cpu_machine(), TUNED, work.rng)):
            modules[f"tuned{n}"] = plans.rescheduled(default, cpu_machine(), other)
    return modules


def _chosen(times: run_sides.Times) -> int:
    """The fastest plan; the unscheduled one (the first) unless another is clearly better."""
    best = max(range(len(times.ratios)), key=lambda k: times.ratios[k][0])
    return best if times.ratios[best][0] >= CLEARLY else 0


def _plain(graph: Graph, naive: Module) -> str:
    """Empty for types that plain C has not."""
    try:
        return plain_c(graph, naive)
    except Unreadable:
        return ""


def _off(library: Path, judging: Judging, kept: Sequence[int], outputs: Sequence[Array]) -> tuple[str, dict[int, list[np.ndarray]]]:
    """What is wrong with a form's outputs, if anything, and the outputs of each case where nothing is."""
    try:
        made = dict(zip(kept, run_sides.run_c(library, [judging.given[n].arrays for n in kept], outputs)))
    except (KernelFailed, BuildFailed) as error:
        return error.message, {}
    wrong = judging.far_off(made, BASELINE_SLACK)
    return wrong, {} if wrong else made


# ------------------------------------------------------------------------------------------------ record
def _record(work: _Work, judging: Judging, seed: int, sums: Mapping[int, list[dict]], cuda: tuple[CudaSide, dict, _Seen], c: _C, style: Style) -> Pair:
    side, strategy, seen = cuda
    graph = work.program.graph
    arguments = inputs_of(graph)
    inputs = {
        "arguments": [{"name": a.name, "dtype": a.dtype, "shape": list(a.shape)} for a in arguments],
        "cases": [
            {"family": x.family, "seed": x.seed, "values": dict(zip([a.name for a in arguments], x.expressions))}
            for x in (judging.given[n] for n in sums)
        ],
    }
    pair = Pair(
        category=work.program.category, graph=print_graph(graph), cuda_source=side.source, cuda_launches=side.launches(), cuda_strategy=strategy,
        buffers=side.buffers(graph), c_source=c.side.source, c_entry=ENTRY, c_args=[{"name": n, "type": t, "role": r} for n, t, r in c.side.args],
        c_compile=COMPILE, c_strategy=c.strategy, inputs=inputs, outputs=[s for case in sums.values() for s in case],
        verdicts={"cuda": seen.verdict, "c": {"by": "native", **c.answer.to_json()}, **c.others}, times=c.times,
        provenance={"warploom": VERSION, "seed": seed, "params": dict(work.program.params), "parent": work.program.parent, "style": style.describe(),
                    "cuda_by": strategy.get("by", f"warploom {VERSION}"), "cuda_machine": MACHINE.name, "contained": judging.sandbox.enabled, "disturbances": judging.disturbances, "seconds": {k: round(v, 2) for k, v in work.seconds.items()},
                    "processor_seconds": round(processor_seconds() - work.started, 2)},
        operators=list(work.program.operators), c_naive=c.naive.source, c_plain=c.plain, features=features_of(graph),
    )  # fmt: skip
    return pair.identified()
