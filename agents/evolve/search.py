"""The search: a subject, a proposer and budgets come in; generation by generation, candidates are proposed, screened, interpreted, raced and
judged; an `Outcome` goes out.

Everything that the search is told from outside (times, verdicts, when to stop) goes through `State.ask`, so that the same seed and the
same tellings give the same run: that is how a killed run resumes and how a run is replayed.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace

from ...backends.cpu.peaks import measured_again
from ...backends.cuda.counters import Counters
from ...backends.cuda.module import Target
from ...backends.cuda.program import CudaProgram
from ...evaluation.report.work import work
from ...evaluation.verdict import Verdict
from ...ir.diagnostic import BuildFailed, WarploomError
from ...ir.machine import Machine
from ...ir.module import Launch
from ..knowledge.base import Knowledge, specific
from ..proposers.proposer import Proposer
from ..strategy import Strategy, languages, print_strategy
from .board import Board, Individual, Proposal, Refusal
from .bottleneck import NEAR, bottlenecks, lifted
from .candidate import Candidate, Workshop
from .device import Device, Measured, programs_of
from .features import aligned
from .forecast import forecast
from .gpu import GPUS, Modelled, Numbers
from .judged import Judging, TooSlow, reasons
from .measure import Arena
from .modelled import launch_seconds
from .race import STAGES, Racing, Timing, refused
from .state import SMALL, Json, NotRecorded, State
from .subject import Subject
from .tiny import first_difference

BATCH, FIRST, FEW = 10, 5, 40
"""Candidates of a generation; of one before so many evaluations: while little is known, each measurement says much about what to try next."""
GAIN = 0.985
"""A candidate is an improvement when it takes at most this share of the time of the best accepted one."""
SCREEN = 1.35
"""A candidate predicted to take this many times as long as the best and the default schedule is not built."""
PATIENCE = 0.3
"""Share of the budget that one verdict may take before the end of the run."""
STARTS = 3.0
"""Verdicts take about so many starts of a process that exports and plans the model."""
MOST_KEPT = 0.4
"""Of the budget, for the end of the run."""
LAST_S, INDUCTOR_S = 8.0, 16.0
"""For the last race and comparison; for Inductor to take part in it: a process's first use of it takes 13 s on the machine that this was written on."""
LONG = 240.0
"""From this budget on the default schedule is judged before the search: a task that cannot be judged is found out at once."""
HOPES = 16
"""Strategies of the knowledge base that what is learnt begins with."""
MOST_FREE = 2
AT_FLOOR = "within 5% of the floor"
_IDLE = 8


@dataclass(frozen=True)
class Budgets:
    """Seconds in all, evaluations (0: no bound), tokens and money of models."""

    seconds: float
    evaluations: int = 0
    tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True)
class Accepted:
    """An individual that the judge accepted."""

    individual: Individual
    verdict: Verdict


@dataclass(frozen=True)
class Written:
    """Free code that the judge accepted, with its times; `speedup` over eager, 0 where it was not timed."""

    strategy: Strategy
    verdict: Verdict
    speedup: float


@dataclass
class Outcome:
    """`best`: what the judge accepted last, the default where nothing was faster; `written`: the fastest free code; `unranked`: free code
    for a GPU, right and not timed; `stopped`: why the search ended, after `seconds`."""

    board: Board
    best: Accepted
    accepted: list[Accepted] = field(default_factory=list)
    written: Written | None = None
    unranked: list[Written] = field(default_factory=list)
    evaluations: int = 0
    generations: int = 0
    stopped: str = ""
    seconds: float = 0.0


class Listener:
    """What a run tells a reader; all methods may be overridden."""

    def started(self, board: Board, floor_s: float) -> None: ...
    def generation(self, board: Board, outcome: Outcome, state: State) -> None: ...
    def accepted(self, best: Accepted) -> None: ...
    def wrote(self, outcome: Outcome) -> None: ...
    def said(self, line: str) -> None: ...


class Search:
    """One run. `device`: the GPU to measure on; `modelled`: there is none, and nothing is measured; `reader`: judges free code, `bench` where it is a judge. `arena` and `bench` are made only where something must be measured or judged. `beaten`: some kernel was faster than the
    roofline allows, so that its peaks are no reason to stop; `late`: the judge is too slow for this budget and has the last word alone."""

    def __init__(
        self, subject: Subject, proposer: Proposer, state: State, budgets: Budgets, bench: Judging | Numbers, seed: int = 0, threads: int = 1,
        knowledge: Knowledge | None = None, screen: bool = True, listener: Listener | None = None, device: Device | None = None, modelled: bool = False,
        reader: Judging | None = None,
    ):  # fmt: skip
        self.subject, self.proposer, self.state, self.budgets, self.bench = subject, proposer, state, budgets, bench
        self.threads, self.screen, self.listener = threads, screen, listener or Listener()
        self.reader = bench if isinstance(bench, Judging) else reader
        self.workshop = Workshop(subject)
        self.gpu, self.device, self.modelled = subject.machine.isa in GPUS, device, modelled
        self._model = launch_seconds if self.gpu else forecast
        default = Individual(self.workshop.make(Strategy("default schedule")), 1.0)
        known = (knowledge or Knowledge(())).scored(default.candidate, subject.machine)
        hopes = [(specific(s, default.candidate), worth) for s, worth in known[:HOPES]]
        self.board = Board(self.workshop, subject.machine, default, random.Random(seed), [s for s, _ in known], hopes, threads, self._predicted)
        self.board.individuals[default.key] = default
        self.board.seen.add(default.candidate.strategy.plan)
        self.outcome = Outcome(self.board, Accepted(default, Verdict(False, ())))
        self._arena: Racing | None = None
        self._refused_programs: dict[str, str] = {}
        self._forecasts: dict[tuple[str, Machine], float] = {}
        self._verdict_s = 0.0
        self._start_s = state.seconds - state.before
        self._judged_at = 0.0
        self._in_time = True
        self._idle = 0
        self._pace = 0.0
        self.beaten = self.late = False
        self.remeasure: Callable[[], Machine] = measured_again

    @property
    def arena(self) -> Racing:
        if self._arena is None:
            default = self.board.default.candidate
            if self.device is not None:
                self._arena = Measured(self.subject, default, self.device)
            else:
                self._arena = Modelled(self.subject, default) if self.gpu else Arena(self.subject, default, self.threads)
        return self._arena

    @property
    def cores(self) -> int:
        """What runs the kernels side by side: threads, or all multiprocessors."""
        return self.subject.machine.cores if self.gpu else self.threads

    # ---- the loop ----
    def run(self) -> Outcome:
        """Until a budget is spent, the floor is reached or nothing new is proposed. Raises CannotJudge where the task gives no verdict."""
        try:
            self._begin()
            while not self.outcome.stopped:
                self._generation()
        except NotRecorded:
            self.outcome.stopped = "the recorded run ends here"
        self.outcome.seconds = self.state.seconds
        return self.outcome

    def _begin(self) -> None:
        default = self.board.default
        judged = not self.state.replaying or self.state.recall("verdict", default.key) is not None  # the record of a shorter run has none
        verdict = self._verdict(default.candidate) if self.budgets.seconds >= LONG and judged else Verdict(True, ())
        if not verdict.accepted and not self.late:
            raise WarploomError(f"the judge refuses the default schedule: {reasons(verdict)}")
        timing = self._raced([default.candidate])[default.key]
        self.board.default = Individual(default.candidate, 1.0, timing.kernels)
        self.board.individuals[default.key] = self.board.default
        self.outcome.best = Accepted(self.board.default, verdict)
        self.outcome.accepted = [self.outcome.best]
        self._look()
        self.state.tell("started", {"run": self._facts()})
        self.listener.started(self.board, self.floor_s)

    def _facts(self) -> Json:
        """What a reader of the folder needs to know: the default's time, the floor, the machine's peaks."""
        m, default = self.board.machine, self.board.default
        return {
            "default_s": sum(default.kernels), "floor_s": self.floor_s, "flops": m.flops, "bandwidth": m.bandwidth, "machine": m.name,
            "key": default.key, "scripts": {role: k.script for role, k in default.candidate.kernels.items()},
            "bottlenecks": [b.words() for b in self.board.bottlenecks], **_work(default.candidate),
        }  # fmt: skip

    def _look(self) -> None:
        best = self.board.best
        kernels = list(best.candidate.kernels.items())
        if self.cores == 1 and best.kernels:
            higher = lifted(self.board.machine, kernels, best.kernels)
            self.beaten |= higher != self.board.machine
            self.board.machine = higher
        seen = self.counters(best)
        self.board.bottlenecks = bottlenecks(kernels, best.kernels or [1.0] * len(kernels), self.board.machine, self.cores, seen)

    def counters(self, i: Individual) -> dict[str, Counters]:
        """{role: hardware counters} of the default schedule and of what was accepted, where a GPU gives them and the run is long enough."""
        told = self.state.recall("counters", i.key)
        wanted = i.key == self.outcome.best.individual.key and self.budgets.seconds >= LONG
        if told is None and wanted and self.device is not None and self.device.counted is not None:
            told = self._counted(i.candidate, self.device.target, self.device.counted)
            self.state.tell("counters", {i.key: told})
        return {role: Counters(*shares) for role, shares in (told or {}).items()}  # type: ignore[misc]

    def _counted(self, c: Candidate, target: Target, counted: Callable[[Sequence[CudaProgram]], list[Counters]]) -> Json:
        try:
            return {role: astuple(n) for role, n in zip(c.kernels, counted(programs_of(c.module, target)))}
        except WarploomError as error:
            self.listener.said(f"no counters, so bottlenecks are by the model alone: {error.message}")
            return {}

    @property
    def floor_s(self) -> float:
        """What the default's kernels need at least, packing left out."""
        return sum(b.floor_s for b in self.board.bottlenecks if b.what != "overhead")

    def _generation(self) -> None:
        board, outcome = self.board, self.outcome
        want = self._wanted()
        begin = self.state.seconds
        proposals = self.proposer.propose(board, max(1, want))
        free = [p for p in proposals if p.strategy.code][:MOST_FREE]
        fresh = self._fresh([p for p in proposals if not p.strategy.code])[: max(1, want)]
        before = board.best.key
        self._measure(fresh)
        outcome.evaluations += len(fresh) + sum(self._free(p) for p in free)
        board.generation += 1
        outcome.generations = board.generation
        self._idle = 0 if fresh or free else self._idle + 1
        if fresh:
            self._pace = (self.state.seconds - begin) / len(fresh)
        if board.best.key != before:
            self._look()
        accepted = outcome.best
        self._accept(not proposals)
        if self.gpu and outcome.best is not accepted:
            self._look()
        self.listener.generation(board, outcome, self.state)

    def _wanted(self) -> int:
        """Candidates of this generation: as many as the time that is left allows at the pace of the last one."""

        def make(keys: Sequence[str]) -> dict[str, Json]:
            left = self.budgets.seconds - self.reserve_s - self.state.seconds
            batch = FIRST if self.outcome.evaluations < FEW else BATCH
            return {keys[0]: {"most": max(1, min(batch, int(left / self._pace) if self._pace else batch))}}

        key = str(self.board.generation)
        most = int(self.state.ask("batch", [key], make)[key]["most"])  # type: ignore[arg-type]
        return min(most, self.budgets.evaluations - self.outcome.evaluations) if self.budgets.evaluations else most

    # ---- from proposals to candidates ----
    def _fresh(self, proposals: Sequence[Proposal]) -> list[tuple[Proposal, Candidate]]:
        """Candidates that are legal, new as programs, promising, and right on small data."""
        made: dict[str, tuple[Proposal, Candidate]] = {}
        for p in proposals:
            try:
                candidate = self.workshop.make(p.strategy)
                self._predicted(candidate)
            except WarploomError as error:
                self._refuse(p, f"illegal: {error.message}")
                continue
            if candidate.key not in self.board.individuals and candidate.key not in self._refused_programs:
                made.setdefault(candidate.key, (p, candidate))
        kept = self._screened(list(made.values()))
        return [(p, c) for p, c in kept if not self._wrong_when_small(p, c)]

    def _screened(self, pairs: list[tuple[Proposal, Candidate]]) -> list[tuple[Proposal, Candidate]]:
        if not self.screen or len(pairs) < 2:
            return pairs
        best = max(self._predicted(i.candidate) for i in (self.board.best, self.board.default))
        kept = []
        for p, c in pairs:
            if self._predicted(c) > SCREEN * best:
                self.board.poor.append(c)
                self._refuse(p, f"screened: predicted to take {self._predicted(c) / best:.1f} times as long")
            else:
                kept.append((p, c))
        return kept

    def _predicted(self, candidate: Candidate) -> float:
        key = candidate.key, self.board.machine
        if key not in self._forecasts:
            self._forecasts[key] = sum(self._model(k, self.board.machine) for k in candidate.kernels.values())
        return self._forecasts[key]

    def _wrong_when_small(self, p: Proposal, candidate: Candidate) -> bool:
        default = {k.script for k in self.board.default.candidate.kernels.values()}
        for k in candidate.kernels.values():
            if k.script in default:
                continue
            if why := self._small_difference(k):
                self._refuse(p, f"wrong: {why}")
                self._refused_programs[candidate.key] = why
                return True
        return False

    def _small_difference(self, k: Launch) -> str | None:
        key = hashlib.sha256(f"{k.naive.body}\0{k.script}".encode()).hexdigest()[:24]
        told = self.state.recall(SMALL, key)
        if told is None:
            told = Json(why=first_difference([k]))
            self.state.tell(SMALL, {key: told})
        return told["why"]  # type: ignore[return-value]

    def _refuse(self, p: Proposal, reason: str) -> None:
        self.board.refused.append(Refusal(p.strategy, reason, p.operator))
        self.state.tell("refused", {f"{len(self.board.refused)}": {"strategy": print_strategy(p.strategy), "reason": reason, "operator": p.operator}})

    # ---- measuring ----
    def _measure(self, fresh: Sequence[tuple[Proposal, Candidate]]) -> None:
        timings = self._raced([c for _, c in fresh])
        for p, c in fresh:
            t = timings[c.key]
            if t.wrong or not math.isfinite(t.ratio):
                self._refused_programs[c.key] = "wrong"
                self._refuse(p, t.why or "wrong: its numbers differ from the default schedule's on full data")
                continue
            self.board.individuals[c.key] = Individual(c, t.ratio, t.kernels, p.operator, p.parents, self.board.generation)
        rows = {c.key: self._row(p, c, timings[c.key]) for p, c in fresh}
        self.state.tell("individual", rows)

    def _row(self, p: Proposal, c: Candidate, t: Timing) -> Json:
        return {
            "strategy": print_strategy(aligned(c, self.board.default.candidate, self.subject.machine)), "operator": p.operator, "parents": list(p.parents),
            "generation": self.board.generation, "ratio": t.ratio if math.isfinite(t.ratio) else None, "seconds": t.seconds if math.isfinite(t.seconds) else None,
            "scripts": {role: k.script for role, k in c.kernels.items()}, **_work(c),
        }  # fmt: skip

    def _raced(self, candidates: Sequence[Candidate]) -> dict[str, Timing]:
        """Each race is told as soon as it is over."""
        by_key = {c.key: c for c in candidates}

        def make(keys: Sequence[str]) -> dict[str, Json]:
            return {key: _as_json(t) for key, t in zip(keys, self._race([by_key[k] for k in keys], STAGES))}

        waiting = [k for k in by_key if self.state.recall("measured", k) is None]
        told = self.state.ask("measured", [k for k in by_key if k not in waiting], make)
        while waiting:
            batch, waiting = waiting[: self._most], waiting[self._most :]
            told |= self.state.ask("measured", batch, make)
        return {key: _timing(value) for key, value in told.items()}

    @property
    def _most(self) -> int:
        """Candidates of one race; a replay has no arena to ask."""
        return BATCH if self.state.replaying else self.arena.most

    def _race(self, batch: Sequence[Candidate], stages: Sequence[int]) -> list[Timing]:
        """A candidate that does not build must not take the others with it."""
        try:
            return self.arena.race(batch, stages)
        except BuildFailed:
            if len(batch) == 1:
                return [refused("it does not build")]
            return [t for c in batch for t in self._race([c], stages)]

    # ---- free code ----
    def _free(self, p: Proposal) -> int:
        """Code that goes beyond scripts never runs outside the judge, which takes its time too. 1 where the judge was asked."""
        s = p.strategy
        key = "code " + hashlib.sha256(f"{s.language}\0{s.code}".encode()).hexdigest()[:16]
        taken, judge = languages(self.subject.machine.isa), self.reader
        if s.language not in taken:
            self._refuse(p, f"illegal: code in {s.language or 'no language'}; for this target: {', '.join(taken)}")
            return 0
        assert judge is not None

        def make(keys: Sequence[str]) -> dict[str, Json]:
            verdict = judge.verdict(s.code, s.language, measure=not self.gpu)
            return {keys[0]: {"verdict": verdict.to_json(), "seconds": verdict.seconds}}

        verdict = Verdict.from_json(str(self.state.ask("verdict", [key], make)[key]["verdict"]))
        if not verdict.accepted:
            self._refuse(p, f"judge: {reasons(verdict)}")
        elif self.gpu:
            self.outcome.unranked.append(Written(s, verdict, 0.0))
            self.listener.wrote(self.outcome)
            self.listener.said(f"accepted code, emulated and so not ranked: {s.name}")
        elif verdict.speedup and verdict.speedup > (self.outcome.written.speedup if self.outcome.written else 0.0):
            self.outcome.written = Written(s, verdict, verdict.speedup)
            self.listener.said(f"accepted code: {verdict.speedup:.2f}x eager: {s.name}")
        return 1

    # ---- accepting ----
    def _accept(self, exhausted: bool) -> None:
        """Once a generation: the best, where it beats what is accepted, is raced against it once more and goes before the judge."""
        decided = self.state.ask("decision", [str(self.board.generation)], lambda keys: {keys[0]: self._decision(exhausted)})
        decision = decided[str(self.board.generation)]
        if "peaks" in decision:
            self._believe(decision["peaks"])  # type: ignore[arg-type]
        self.outcome.stopped = self._still(str(decision["stop"]), exhausted)
        self._in_time = bool(decision.get("in time", True))
        if decision["judge"]:
            self._judge_best()

    def _decision(self, exhausted: bool) -> Json:
        stop, found = self._reason_to_stop(exhausted), {}
        if stop == AT_FLOOR and not self.gpu:
            found = {"peaks": _peaks(self.remeasure())}
            self._believe(found["peaks"])
            stop = self._reason_to_stop(exhausted)
        due = self.state.seconds - self._judged_at > 2 * self._verdict_s
        in_time = self.budgets.seconds - self.reserve_s - self.state.seconds > self._verdict_s
        return {"judge": self._improved() and (due or bool(stop)), "stop": stop, "in time": in_time, **found}

    def _believe(self, peaks: Mapping[str, float]) -> None:
        """A machine that was busy when its peaks were measured can do more: only what it cannot do now ends a run."""
        known = _peaks(self.board.machine)
        self.board.machine = replace(self.board.machine, **{name: max(known[name], value) for name, value in peaks.items()})
        self._look()

    def _still(self, stop: str, exhausted: bool) -> str:
        """A resumed run with a larger budget goes on where the recorded one stopped."""
        spent = stop in ("time", "evaluations") and not self.state.replaying
        return self._reason_to_stop(exhausted) if spent else stop

    def _at_once(self, best: Individual) -> Verdict:
        """The judge's word now; at the end of the run it is asked for the last word only, see `command.finish`."""
        verdict = Verdict(True, ()) if self.outcome.stopped or self.late or not self._in_time else self._verdict(best.candidate)
        return Verdict(True, ()) if self.late else verdict

    def _improved(self) -> bool:
        return self.board.best.ratio < GAIN * self.outcome.best.individual.ratio

    def _reason_to_stop(self, exhausted: bool) -> str:
        board, b = self.board, self.budgets
        spent = self.proposer.spent()
        heavy = max((x.seconds for x in board.bottlenecks), default=0.0)
        if self.state.seconds + self.reserve_s >= b.seconds:
            return "time"
        if b.evaluations and self.outcome.evaluations >= b.evaluations:
            return "evaluations"
        if (b.tokens and spent.tokens >= b.tokens) or (b.cost_usd and spent.cost_usd >= b.cost_usd):
            return "the model's budget"
        if heavy and not self.beaten and sum(x.seconds for x in board.bottlenecks) <= NEAR * self.floor_s:
            return AT_FLOOR
        return "nothing new" if exhausted or self._idle >= _IDLE else ""

    @property
    def reserve_s(self) -> float:
        """Kept for the last race, verdict and comparison; a judge that needs longer takes it beyond the budget. Before its first verdict: what this
        process took to start says how busy the machine is."""
        compared = INDUCTOR_S if self.budgets.seconds >= 120 and not self.modelled else 0.0
        return min(MOST_KEPT * self.budgets.seconds, self.verdict_s + LAST_S + compared)

    @property
    def verdict_s(self) -> float:
        """What the last verdict should take."""
        return 0.0 if self.late or self.gpu else 1.5 * (self._verdict_s or STARTS * self._start_s)

    def _judge_best(self) -> None:
        while self._improved():
            best, last = self.board.best, self.outcome.best.individual
            mine, theirs = self.confirmed([best.candidate, last.candidate])
            if mine.ratio >= GAIN * theirs.ratio:
                self.board.individuals[best.key] = _with_ratio(best, max(best.ratio, mine.ratio * last.ratio / theirs.ratio))
                if self.board.best.key == best.key:
                    return
                continue
            verdict = self._at_once(best)
            if verdict.accepted:
                kept = _with_ratio(best, mine.ratio)
                self.board.individuals[best.key] = kept
                self.outcome.best = Accepted(kept, verdict)
                self.outcome.accepted.append(self.outcome.best)
                if verdict.trials:
                    self.listener.accepted(self.outcome.best)
                word = "accepted" if verdict.trials else "before the judge"
                self.listener.said(f"{word}: {1 / kept.ratio:.2f}x the default schedule: {best.candidate.strategy.name}")
                return
            self.board.banned.add(best.key)
            self._refuse(Proposal(best.candidate.strategy, best.operator), f"judge: {reasons(verdict)}")

    def confirmed(self, candidates: Sequence[Candidate], label: str = "") -> list[Timing]:
        """All of them in one longer race."""
        key = label + "+".join(c.key for c in candidates)

        def make(keys: Sequence[str]) -> dict[str, Json]:
            return {keys[0]: {"of": [_as_json(t) for t in self._race(candidates, (12,))]}}

        return [_timing(t) for t in self.state.ask("confirmed", [key], make)[key]["of"]]  # type: ignore[union-attr]

    def _verdict(self, candidate: Candidate) -> Verdict:
        """On seeds of its own, without times. Where the judge takes too long it is asked no more before the end of the run."""
        within = max(5.0, min(PATIENCE * self.budgets.seconds, self.budgets.seconds - self.state.seconds - self.reserve_s))

        def make(keys: Sequence[str]) -> dict[str, Json]:
            try:
                verdict = self.bench.program(self.subject, candidate, measure=False, within=within)
            except TooSlow as error:
                return {keys[0]: {"verdict": Verdict(False, (), notes=(error.message,)).to_json(), "seconds": within, "late": True}}
            return {keys[0]: {"verdict": verdict.to_json(), "seconds": verdict.seconds}}

        told = self.state.ask("verdict", [candidate.key], make)[candidate.key]
        self.late |= bool(told.get("late"))
        self._verdict_s = float(told["seconds"])  # type: ignore[arg-type]
        self._judged_at = self.state.seconds
        return Verdict.from_json(str(told["verdict"]))


def _peaks(m: Machine) -> dict[str, float]:
    return {name: getattr(m, name) for name in ("flops", "bandwidth", "bandwidth_all", "bandwidth_cache")}


def _work(candidate: Candidate) -> Json:
    """Operations and bytes of all its kernels, packing included in the bytes alone."""
    parts = [(work(k.naive, {}), all(n.origin in ("pack", "pad") for n in k.nodes)) for k in candidate.kernels.values()]
    return {"operations": sum(w.flops for w, packs in parts if not packs), "bytes": sum(w.nbytes for w, _ in parts)}


def _with_ratio(i: Individual, ratio: float) -> Individual:
    return Individual(i.candidate, ratio, i.kernels, i.operator, i.parents, i.generation)


def _as_json(t: Timing) -> Json:
    finite: Callable[[float], float | None] = lambda x: x if math.isfinite(x) else None  # noqa: E731
    return {**asdict(t), "ratio": finite(t.ratio), "seconds": finite(t.seconds)}


def _timing(value: object) -> Timing:
    assert isinstance(value, dict)
    ratio, seconds = (math.inf if value[k] is None else float(value[k]) for k in ("ratio", "seconds"))
    return Timing(ratio, seconds, int(value["rounds"]), tuple(value["kernels"]), bool(value["wrong"]), str(value.get("why", "")))
