"""`warploom bench evolve`: problems, seeds and a number of evaluations come in; evolution beside random search, hill climbing and its own
ablations goes out, as a table and JSON. With a budget each problem is evolved and judged first, and what that measured is in the pool.

All methods draw on one pool of measurements a problem: a program is timed once, whoever proposes it first, so that an ablation costs
minutes and differences are differences of the search. The judge is not asked for these; the folder's pool is kept and used again.
"""

from __future__ import annotations

import json
import math
import os
import platform
import random
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ...backends.cpu.peaks import measured
from ...evaluation.bench.command import write_text
from ...evaluation.report.outcome import outcome
from ...evaluation.verdict import Verdict
from ...ir.diagnostic import Unreadable, WarploomError
from ..knowledge.base import Knowledge, everything
from ..proposers.builtin import Builtin
from ..proposers.plain import Hill, Random
from ..proposers.proposer import Proposer
from ..strategy import print_strategy
from .candidate import Candidate
from .command import Request, evolve
from .judged import Judging
from .measure import Arena
from .race import Timing
from .search import Budgets, Search
from .state import FILE, State
from .subject import Subject, read_subject

REACHED = 0.98
"""A method has reached another's result when it has this share of its speedup."""


@dataclass(frozen=True)
class Method:
    """A proposer with or without roofline, knowledge and crossover; `no guidance` has neither roofline nor knowledge."""

    name: str
    proposer: Proposer
    knowledge: bool = False
    screen: bool = False


METHODS = (
    Method("evolution", Builtin(), True, True),
    Method("no roofline", Builtin(guidance=False), True, False),
    Method("no knowledge", Builtin(), False, True),
    Method("no guidance", Builtin(guidance=False), False, False),
    Method("no crossover", Builtin(crossover=False), True, True),
    Method("hill climbing", Hill()),
    Method("random search", Random()),
)


@dataclass(frozen=True)
class Trial:
    """`curve`: the best speed over the default schedule after each evaluation."""

    problem: str
    method: str
    seed: int
    curve: tuple[float, ...]

    @property
    def best(self) -> float:
        return self.curve[-1] if self.curve else 1.0

    def needed(self, goal: float) -> int:
        """Evaluations until `goal`; one more than there were, where it was not reached."""
        return next((n + 1 for n, v in enumerate(self.curve) if v >= goal), len(self.curve) + 1)


class Pool:
    """Timings by program key, kept in a run's state; what is not there is timed."""

    def __init__(self, subject: Subject, folder: Path, threads: int):
        self.state, self.subject, self.threads = State(folder), subject, threads
        self._arena: Arena | None = None
        self._control: Candidate | None = None
        self.most = 8

    def take(self, run: Path) -> None:
        """Add what a run of the same problem measured."""
        if (run / FILE).is_file():
            other = State(run, reading=True)
            self.state.tell("pool", {key: value for key, value, _ in other.told("measured")})
            other.db.close()

    def controlled(self, control: Candidate) -> Pool:
        """The pool with the default schedule as its control."""
        self._control = self._control or control
        return self

    def race(self, candidates: Sequence[Candidate], stages: Sequence[int] = ()) -> list[Timing]:
        """Known timings, and new ones for the rest."""
        missing = [c for c in candidates if self.state.recall("pool", c.key) is None]
        if missing:
            if self._arena is None:
                assert self._control is not None
                self._arena = Arena(self.subject, self._control, self.threads)
            for at in range(0, len(missing), self._arena.most):
                batch = missing[at : at + self._arena.most]
                timed = [_both(a, b) for a, b in zip(self._arena.race(batch), self._arena.race(batch))]
                self.state.tell("pool", {c.key: {**_finite(t), "strategy": print_strategy(c.strategy)} for c, t in zip(batch, timed)})
        return [self._timing(c.key) for c in candidates]

    def _timing(self, key: str) -> Timing:
        told = self.state.recall("pool", key) or {}
        ratio, seconds = (math.inf if told[k] is None else float(told[k]) for k in ("ratio", "seconds"))  # type: ignore[arg-type]
        return Timing(ratio, seconds, int(told["rounds"]), tuple(told["kernels"]), bool(told["wrong"]))  # type: ignore[arg-type]


def _both(a: Timing, b: Timing) -> Timing:
    """Two races as one timing: the fastest of many is else the one that was lucky once."""
    kernels = tuple(math.sqrt(x * y) for x, y in zip(a.kernels, b.kernels))
    return Timing(math.sqrt(a.ratio * b.ratio), math.sqrt(a.seconds * b.seconds), a.rounds + b.rounds, kernels, a.wrong or b.wrong)


def _finite(t: Timing) -> dict[str, object]:
    return {**asdict(t), "ratio": t.ratio if math.isfinite(t.ratio) else None, "seconds": t.seconds if math.isfinite(t.seconds) else None}


class _Trusting(Judging):
    """In the judge's place: says yes, and takes no time."""

    def verdict(self, source: str, language: str, measure: bool, launch: str = "", within: float | None = None) -> Verdict:
        return Verdict(True, ())

    def program(self, subject: Subject, candidate: Candidate, measure: bool, within: float | None = None) -> Verdict:
        return Verdict(True, ())


def trial(subject: Subject, method: Method, seed: int, evaluations: int, pool: Pool, base: Knowledge) -> Trial:
    """One run of one method."""
    with tempfile.TemporaryDirectory(prefix="warploom-trial-") as folder:
        state = State(Path(folder))
        known = base if method.knowledge else Knowledge(())
        budgets = Budgets(1e9, evaluations)
        search = Search(subject, method.proposer, state, budgets, _Trusting(), seed, pool.threads, known, method.screen)  # type: ignore[arg-type]
        search._arena = pool.controlled(search.board.default.candidate)  # type: ignore[assignment]
        search.run()
        curve, best = [], 1.0
        for _, value, _ in state.told("individual"):
            best = max(best, 1 / float(value["ratio"]) if value["ratio"] else 0.0)  # type: ignore[arg-type]
            curve.append(best)
        state.db.close()
    return Trial(subject.problem.name, method.name, seed, tuple(curve + [best] * (evaluations - len(curve))))


# ------------------------------------------------------------------------------------------------ summary
@dataclass(frozen=True)
class Summary:
    """Of one method over problems and seeds: geometric mean of the speed over the default with its 95% interval; `evolution_over`: of evolution's
    speed over this method's, problem by problem and seed by seed; the evaluations that it took to reach 98% of what `evolution` reached, relative to evolution (below 1: fewer), and how often it did; `share`: of the method's
    evaluations, those that evolution needs for 98% of what both reached, with its 95% interval; `caught_up`: (n, m): after m evaluations evolution's
    mean is what the method's is after n, one more than there were where it never is."""

    method: str
    speed: float
    interval: tuple[float, float]
    evolution_over: float
    evolution_over_interval: tuple[float, float]
    needed: float
    reached: float
    share: float
    share_interval: tuple[float, float]
    caught_up: tuple[tuple[int, int], ...]


def summarise(trials: Sequence[Trial], seed: int = 0) -> list[Summary]:
    """One line a method, in the order of METHODS."""
    goals = {(t.problem, t.seed): 1 + REACHED * (t.best - 1) for t in trials if t.method == METHODS[0].name}
    out = []
    for name in dict.fromkeys(t.method for t in trials):
        own = [t for t in trials if t.method == name]
        first = {(t.problem, t.seed): t for t in trials if t.method == METHODS[0].name}
        shares = [t.needed(goals[t.problem, t.seed]) / first[t.problem, t.seed].needed(goals[t.problem, t.seed]) for t in own]
        reached = sum(t.best >= goals[t.problem, t.seed] for t in own) / len(own)
        speeds = [t.best for t in own]
        saved = [_share(first[t.problem, t.seed], t) for t in own]
        over = [first[t.problem, t.seed].best / t.best for t in own]
        out.append(Summary(name, geomean(speeds), interval(speeds, seed), geomean(over), interval(over, seed), geomean(shares), reached, geomean(saved), interval(saved, seed), _caught_up(list(first.values()), own)))
    return out


def _caught_up(evolution: Sequence[Trial], other: Sequence[Trial]) -> tuple[tuple[int, int], ...]:
    """At every fourth evaluation of the other."""
    mine, theirs = _mean_curve(evolution), _mean_curve(other)
    return tuple((n, next((m + 1 for m, v in enumerate(mine) if v >= theirs[n - 1]), len(mine) + 1)) for n in range(4, len(theirs) + 1, 4))


def _mean_curve(trials: Sequence[Trial]) -> list[float]:
    """Geometric mean over trials of the best after each evaluation."""
    return [geomean(values) for values in zip(*(t.curve for t in trials))]


def _share(evolution: Trial, other: Trial) -> float:
    """Evaluations that evolution needs over those that the other needs, for what both reached."""
    goal = 1 + REACHED * (min(evolution.best, other.best) - 1)
    return evolution.needed(goal) / other.needed(goal)


def geomean(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(math.log(v) for v in values))


def interval(values: Sequence[float], seed: int, draws: int = 1000) -> tuple[float, float]:
    """95% bootstrap interval (Efron 1979) of the geometric mean."""
    rng = random.Random(seed)
    drawn = sorted(geomean(rng.choices(values, k=len(values))) for _ in range(draws))
    return drawn[int(0.025 * draws)], drawn[int(0.975 * draws) - 1]


# ------------------------------------------------------------------------------------------------ the command
@dataclass(frozen=True)
class TrialsRequest:
    """The arguments of `warploom bench evolve`."""

    suite: str | None
    only: str | None = None
    evaluations: int = 40
    seeds: int = 3
    threads: int = 1
    pool: str | None = None
    out: str | None = None
    budget: str | None = None
    methods: str | None = None

    @property
    def command(self) -> str:
        """What repeats it."""
        parts = ["warploom bench evolve --suite DIR"]
        parts += [f'--{name} "{value}"' for name, value in (("only", self.only), ("budget", self.budget), ("methods", self.methods)) if value]
        return " ".join([*parts, f"--evaluations {self.evaluations} --seeds {self.seeds} --threads {self.threads}"])


def run_trials(request: TrialsRequest, as_json: bool) -> int:
    """0: done; 2: no problems."""
    return outcome(lambda: (0, _trials(request, as_json)), as_json)


def _trials(request: TrialsRequest, quiet: bool) -> dict[str, object]:
    files = _files(request)
    torch.set_num_threads(request.threads)
    base, found, live, skipped = everything(), [], [], []
    folder = Path(request.pool or tempfile.mkdtemp(prefix="warploom-pool-"))
    for path in files:
        try:
            subject = read_subject(str(path), measured())
        except WarploomError as error:
            skipped.append({"problem": path.stem, "reason": error.message})
            continue
        pool = Pool(subject, folder / path.stem, request.threads)
        if request.budget:
            live.append(_live(request, path, folder / f"{path.stem}.run"))
            pool.take(folder / f"{path.stem}.run")
            _written(request, found, live, skipped)
        others = Knowledge(tuple(s for s in base.strategies if all(e.problem != path.stem for e in s.evidence)))
        for method in _methods(request):
            for seed in range(request.seeds):
                found.append(trial(subject, method, seed, request.evaluations, pool, others))
                print(f"{path.stem} {method.name} seed {seed}: {found[-1].best:.3f}x", file=sys.stderr)
        pool.state.close()
        _written(request, found, live, skipped)
    if not found and not live:
        raise Unreadable("no problem of the suite can be evolved", hint="; ".join(s["reason"] for s in skipped[:3]))
    if not quiet:
        console = Console(file=sys.__stdout__, highlight=False)
        summary = summarise(found)
        for made in ([live_table(live)] if live else []) + ([table(summary, request.evaluations)] if found else []):
            console.print(made)
        for line in caught_up_lines(summary):
            console.print(line)
    return _value(request, found, live, skipped)


def _written(request: TrialsRequest, found: Sequence[Trial], live: Sequence[Mapping[str, object]], skipped: Sequence[Mapping[str, str]]) -> None:
    """The file after each problem: a run of hours that ends early has not been for nothing."""
    if request.out:
        write_text(Path(request.out), json.dumps(_value(request, found, live, skipped), indent=1))


def _methods(request: TrialsRequest) -> list[Method]:
    """Evolution first: the others are held against it."""
    if request.seeds == 0:
        return []
    wanted = request.methods.split(",") if request.methods else [m.name for m in METHODS]
    unknown = [w for w in wanted if w not in {m.name for m in METHODS}]
    if unknown:
        raise Unreadable(f"no method {unknown[0]!r}", hint="one of " + ", ".join(m.name for m in METHODS))
    return [m for m in METHODS if m.name in wanted or m is METHODS[0]]


_KEPT = ("problem", "speedup", "interval", "baseline", "times_ms", "speedup_over_default", "evaluations", "generations", "stopped", "seconds", "refused", "run", "strategy")


def _live(request: TrialsRequest, path: Path, folder: Path) -> dict[str, object]:
    """One judged run, as a user would make it; a folder that holds it already is gone on with."""
    assert request.budget is not None
    _, best = evolve(Request(str(path), budget=request.budget, out=str(folder), threads=request.threads, resume=(folder / FILE).is_file()))
    print(f"{path.stem}: {best['speedup']}x {best['baseline']}, {best['speedup_over_default']}x the default schedule", file=sys.stderr)
    return {**{k: best[k] for k in _KEPT}, "accepted": best["verdict"]["accepted"]}  # type: ignore[index]


def live_table(live: Sequence[Mapping[str, object]]) -> Table:
    """Each judged run, and geometric means."""
    out = Table(title="evolved and judged")
    for name in ("problem", "over the faster of eager and Inductor", "over the default schedule", "evaluations", "judge"):
        out.add_column(name, justify="left" if name in ("problem", "judge") else "right")
    for x in live:
        said = "accepted" if x["accepted"] else "refused"
        out.add_row(str(x["problem"]), f"{x['speedup']:.2f}x {x['baseline']}", f"{x['speedup_over_default']:.2f}x", str(x["evaluations"]), said)
    out.add_row("geometric mean", f"{_mean(live, 'speedup'):.2f}x", f"{_mean(live, 'speedup_over_default'):.2f}x")
    return out


def _mean(live: Sequence[Mapping[str, object]], field: str) -> float:
    return geomean([float(x[field]) for x in live if x[field]])  # type: ignore[arg-type]


def _files(request: TrialsRequest) -> list[Path]:
    if not request.suite:
        raise Unreadable("bench evolve needs --suite DIR", hint="a folder of problems in KernelBench form")
    files = sorted(p for p in Path(request.suite).rglob("*.py") if request.only is None or any(w in p.stem for w in request.only.split(",")))
    if not files:
        raise Unreadable(f"no problems in {request.suite}")
    return files


def _value(request: TrialsRequest, found: Sequence[Trial], live: Sequence[Mapping[str, object]], skipped: Sequence[Mapping[str, str]]) -> dict[str, object]:
    means = {"speedup": _mean(live, "speedup"), "speedup_over_default": _mean(live, "speedup_over_default")} if live else {}
    return {
        "command": request.command, "budget": request.budget, "live": list(live), "geomean": means, "load": os.getloadavg()[0],
        "evaluations": request.evaluations, "seeds": request.seeds, "threads": request.threads, "problems": sorted({t.problem for t in found}),
        "machine": measured().name, "python": platform.python_version(), "methods": [asdict(s) for s in summarise(found)],
        "trials": [asdict(t) for t in found], "skipped": list(skipped),
    }  # fmt: skip


def caught_up_lines(lines: Sequence[Summary]) -> list[str]:
    """One a method: when evolution is where the method is."""
    said = [(s.method, *(", ".join(map(str, column)) for column in zip(*s.caught_up))) for s in lines if s.method != METHODS[0].name and s.caught_up]
    return [f"{method} after {n} evaluations: evolution after {m}" for method, n, m in said]


def table(lines: Sequence[Summary], evaluations: int) -> Table:
    """Method, speed over the default schedule, evaluations relative to evolution."""
    out = Table(title=f"best of {evaluations} evaluations")
    for name in ("method", "over the default schedule", "95%", "evolution over it", "95%", "reach evolution's result", "evaluations evolution needs for theirs", "95%"):
        out.add_column(name, justify="left" if name == "method" else "right")
    for s in lines:
        out.add_row(s.method, f"{s.speed:.3f}x", f"{s.interval[0]:.3f} to {s.interval[1]:.3f}", f"{s.evolution_over:.3f}x", f"{s.evolution_over_interval[0]:.3f} to {s.evolution_over_interval[1]:.3f}", f"{100 * s.reached:.0f}%", f"{100 * s.share:.0f}%", f"{100 * s.share_interval[0]:.0f} to {100 * s.share_interval[1]:.0f}%")
    return out
