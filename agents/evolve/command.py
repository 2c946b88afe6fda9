"""`warploom evolve`: a file, budgets and a proposer's name come in, a folder with a judged winner and one JSON value go out."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ...backends.cpu.peaks import measured
from ...backends.manifest import backend
from ...evaluation.report.outcome import outcome as exit_code
from ...evaluation.task import read_task
from ...evaluation.verdict import Verdict
from ...ir.diagnostic import WarploomError
from ...ir.machine import Machine
from ..knowledge.base import Knowledge, everything, general, write_back
from ..proposers.by_name import proposer
from ..strategy import Evidence, Strategy, parse_strategies, print_strategy
from ..tune import seconds_of
from .bottleneck import bottlenecks
from .candidate import Candidate
from .contest import contest
from .device import Device, here
from .features import aligned
from .gpu import GPUS, Numbers, write_source
from .judged import Bench, Judging, reasons
from .result import header, write_best, write_code, write_pack, write_winner
from .search import INDUCTOR_S, Accepted, Budgets, Listener, Outcome, Search
from .state import FOUND, Json, NotRecorded, OtherRun, State
from .subject import Subject, read_subject
from .view import listener

TARGETS = ("cpu", *GPUS)


class BadRequest(WarploomError):
    """The arguments of `evolve` do not fit. The message says what is accepted."""

    code = "WL-E084"


@dataclass(frozen=True)
class Request:
    """The arguments of `warploom evolve`."""

    file: str
    target: str = "cpu"
    budget: str = "10m"
    evaluations: int = 0
    model: str | None = None
    proposer: str = "builtin"
    seed: int = 0
    out: str | None = None
    resume: bool = False
    replay: str | None = None
    threads: int = 1
    max_tokens: int = 0
    max_cost: float = 0.0
    knowledge: bool = True
    unsafe: bool = False

    @property
    def command(self) -> str:
        """What repeats the run."""
        parts = [f"warploom evolve {Path(self.file).name}", f"--budget {self.budget}", f"--proposer {self.proposer}", f"--seed {self.seed}"]
        more = [f"--model {self.model}"] * bool(self.model) + [f"--target {self.target}"] * (self.target != "cpu")
        return " ".join([*parts, *more])


def run_evolve(request: Request, as_json: bool, began: float | None = None) -> int:
    """0: there is a judged winner (the default schedule where nothing was faster); 1: the judge refuses all; 2 usage; 3 no sandbox."""
    return exit_code(lambda: evolve(request, quiet=as_json, began=began), as_json)


def evolve(request: Request, quiet: bool = True, began: float | None = None) -> tuple[int, Json]:
    """Run, and give (exit code, what `best.json` holds). `began`: when the budget began to count, by `time.monotonic`; else now."""
    if request.target not in TARGETS:
        raise BadRequest(f"no target {request.target!r} for evolve", hint="one of " + ", ".join(TARGETS))
    budgets = Budgets(seconds_of(request.budget), request.evaluations, request.max_tokens, request.max_cost)
    torch.set_num_threads(request.threads)
    task = read_task(request.file)
    folder = Path(request.out or f"evolve-{Path(request.file).stem}")
    state = State(folder, Path(request.replay) if request.replay else None, began=began)
    try:
        state.agree(_identity(request, task.text), request.resume)
        gpu = request.target in GPUS
        device, measured_on = placed(request.target, state) if gpu else (None, "")
        subject = read_subject(request.file, recorded(state, backend(request.target).machine() if gpu else measured()))
        bench = Numbers(request.target, device) if gpu else Bench(task, request.threads, request.unsafe)
        with state.beating():
            reader = Bench(task, request.threads, request.unsafe) if isinstance(bench, Numbers) else bench
            return _evolved(request, budgets, state, subject, task.text, bench, reader, listener(quiet, budgets.seconds), folder, device, gpu and not measured_on)
    finally:
        state.close()


def recorded(state: State, machine: Machine) -> Machine:
    """The machine as the run saw it first: what is proposed depends on its caches and peaks."""

    def make(keys) -> dict[str, Json]:
        return {keys[0]: {**asdict(machine), "features": sorted(machine.features)}}

    told = state.ask("machine", ["peaks"], make)["peaks"]
    return Machine(**{**told, "features": frozenset(told["features"])})  # type: ignore[arg-type]


def placed(target: str, state: State) -> tuple[Device | None, str]:
    """The GPU that is here and the name of the one that the run is measured on: a replay has only the second, a run without one neither.
    Raises OtherRun where a run would go on elsewhere."""
    told = state.recall("machine", "device")
    if state.replaying:
        return None, str(told["name"]) if told else ""
    device = here(target)
    name = device.name if device else ""
    if told is None:
        state.tell("machine", {"device": {"name": name}})
    elif told["name"] != name:
        raise OtherRun(f"{state.out} holds a run on {told['name'] or 'no GPU'}; here is {name or 'none'}", hint="resume it where it began, or give another --out")
    return device, name


def _identity(request: Request, text: str) -> dict[str, str]:
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {
        "problem": Path(request.file).stem, "digest": digest, "seed": str(request.seed), "proposer": request.proposer, "target": request.target,
        "model": request.model or "", "threads": str(request.threads), "knowledge": str(request.knowledge),
    }  # fmt: skip


def _evolved(request: Request, budgets: Budgets, state: State, subject: Subject, subject_text: str, bench: Bench | Numbers, reader: Bench, told: Listener, folder: Path, device: Device | None, modelled: bool) -> tuple[int, Json]:
    try:
        known = _knowledge(request, state)
        search = Search(
            subject, proposer(request.proposer, request.model, state, subject_text, budgets.tokens, budgets.cost_usd, budgets.seconds), state, budgets, bench, request.seed, request.threads, known, listener=told, device=device, modelled=modelled, reader=reader
        )
        told.accepted = lambda a: keep(request, search, a, state, folder)  # type: ignore[method-assign]
        told.wrote = lambda o: keep_code(request, search, o, folder)  # type: ignore[method-assign]
        made = search.run()
        search.proposer.close()
        best = finish(request, search, made, state, bench, folder)
    finally:
        for judge in (bench, reader):
            judge.close()
    return (0 if best["verdict"]["accepted"] else 1), best  # type: ignore[index]


def _knowledge(request: Request, state: State) -> Knowledge:
    """The base as it was when the run began: a run that writes back must not change what its replay sees."""
    if not request.knowledge:
        return Knowledge(())
    told = state.ask("knowledge", ["base"], lambda keys: {keys[0]: {"text": everything().text()}})
    return Knowledge(tuple(parse_strategies(str(told["base"]["text"]))))


# ------------------------------------------------------------------------------------------------ the end
def finish(request: Request, search: Search, made: Outcome, state: State, bench: Judging | Numbers, folder: Path) -> Json:
    """Race what was accepted once more against the default, then against eager and Inductor; judge the winner on fresh seeds; write the
    folder."""
    subject, default = search.subject, made.accepted[0]
    winner, ended = _compared(request, search, _last_race(search, made, state), default, state)
    while True:
        verdict = _last_verdict(subject, winner, state, bench)
        if verdict.accepted or winner is default:
            break
        print(f"the judge takes the winner back: {reasons(verdict)}", file=sys.stderr)
        made.accepted.remove(winner)
        winner, ended = _compared(request, search, made.accepted[-1], default, state)
    if made.written is not None and made.written.speedup > (verdict.speedup or 0.0) and verdict.accepted:
        return _written_best(request, search, made, verdict, state, folder)
    strategy = aligned(winner.individual.candidate, default.individual.candidate, subject.machine)
    if search.modelled:
        return _modelled_best(request, search, made, winner, strategy, verdict, state, folder)
    over = float(ended["over_default"]) if winner is not default else 1.0  # type: ignore[arg-type]
    if winner is not default:
        strategy = replace(strategy, evidence=(Evidence(subject.problem.name, round(over, 3), run_id(state), subject.machine.name),))
        if not state.replaying:
            _learn(search, made, state)
    fields = _fields(request, search, made, winner, strategy, verdict, ended, over, state)
    fields["source_file"] = _written(request, search, winner.individual.candidate, strategy, verdict, folder)
    return write_best(folder, fields)


def _written(request: Request, search: Search, c: Candidate, strategy: Strategy, verdict: Verdict, folder: Path) -> str:
    """The winner's source and the pack of its kernels; the source's name goes out."""
    if not search.gpu:
        return write_winner(folder, search.subject, c, strategy, verdict, request.command)
    write_pack(folder, search.subject, c)
    return write_source(folder, c, request.target, header(search.subject, strategy, verdict, request.command))


def _compared(request: Request, search: Search, winner: Accepted, default: Accepted, state: State) -> tuple[Accepted, Json]:
    """The winner with the last comparison; the default where it turns out no slower."""
    if search.modelled:
        return winner, {}
    ended = _contest(request, search, winner, default, state)
    if winner is not default and float(ended["over_default"]) < 1.0:  # type: ignore[arg-type]
        return default, _contest(request, search, default, default, state)
    return winner, ended


def _modelled_best(
    request: Request, search: Search, made: Outcome, winner: Accepted, strategy: Strategy, verdict: Verdict, state: State, folder: Path
) -> Json:  # fmt: skip
    """No times: what the roofline model says is said as that, and the run counts as no evidence."""
    c = winner.individual.candidate
    nothing: Json = {"times_ms": {}, "baseline": "", "speedup": None, "interval": []}
    fields = _fields(request, search, made, winner, strategy, verdict, nothing, None, state)
    fields |= {"measured": False, "ranked_by": f"roofline model of {search.subject.machine.name}", "modelled_over_default": 1 / winner.individual.ratio}
    fields["source_file"] = _written(request, search, c, strategy, verdict, folder)
    return write_best(folder, fields)


def _written_best(request: Request, search: Search, made: Outcome, scripted: Verdict, state: State, folder: Path) -> Json:
    """Free code is the winner: judged once more, and timed by the judge alone, since it runs nowhere else."""
    written = made.written
    assert written is not None
    key = "written last"

    def make(keys) -> dict[str, Json]:
        assert isinstance(search.bench, Judging)
        verdict = search.bench.verdict(written.strategy.code, written.strategy.language, measure=True)
        return {keys[0]: {"verdict": verdict.to_json(), "seconds": verdict.seconds}}

    verdict = Verdict.from_json(str(state.ask("verdict", [key], make)[key]["verdict"]))
    if not verdict.accepted or (verdict.speedup or 0.0) <= (scripted.speedup or 0.0):
        made.written = None
        return finish(request, search, made, state, search.bench, folder)
    over = (verdict.speedup or 0.0) / (scripted.speedup or 1.0) / made.best.individual.ratio
    ended: Json = {"times_ms": {}, "baseline": "eager", "speedup": verdict.speedup, "interval": list(verdict.measured.interval) if verdict.measured else []}
    fields = _fields(request, search, made, made.best, written.strategy, verdict, ended, over, state)
    fields["source_file"] = write_code(folder, search.subject, written.strategy, verdict, request.command)
    return write_best(folder, fields)


def keep(request: Request, search: Search, accepted: Accepted, state: State, folder: Path) -> None:
    """What the judge accepts is in the folder at once, whatever becomes of the run; its speed against others is measured at the end."""
    c = accepted.individual.candidate
    strategy = aligned(c, search.board.default.candidate, search.subject.machine)
    if search.modelled:
        _modelled_best(request, search, search.outcome, accepted, strategy, accepted.verdict, state, folder)
        return
    unknown: Json = {"speedup": accepted.verdict.speedup, "interval": [], "baseline": "", "times_ms": {}}
    fields = _fields(request, search, search.outcome, accepted, strategy, accepted.verdict, unknown, 1 / accepted.individual.ratio, state)
    fields["source_file"] = _written(request, search, c, strategy, accepted.verdict, folder)
    write_best(folder, fields)


def keep_code(request: Request, search: Search, made: Outcome, folder: Path) -> None:
    """Free code for a GPU, right and not ranked, is a file beside the winner as soon as the judge accepts it."""
    write_code(folder, search.subject, made.unranked[-1].strategy, made.unranked[-1].verdict, request.command, f"code-{len(made.unranked)}")


def run_id(state: State) -> str:
    """Names a run by what it is a function of."""
    known = state.settings()
    return hashlib.sha256("\0".join(f"{k}={known[k]}" for k in sorted(known)).encode()).hexdigest()[:8]


def _last_race(search: Search, made: Outcome, state: State) -> Accepted:
    """The accepted one that is fastest beside the default in one more race; the default where none is faster."""
    default, others = made.accepted[0], made.accepted[1:][-3:]
    if not others:
        return default
    try:
        timings = search.confirmed([a.individual.candidate for a in others], "last ")
    except NotRecorded:
        return made.accepted[-1]
    best = min(range(len(others)), key=lambda k: timings[k].ratio)
    return others[best] if timings[best].ratio < 0.995 else default


def _last_verdict(subject: Subject, winner: Accepted, state: State, bench: Judging | Numbers) -> Verdict:
    """On fresh seeds, in fresh processes, with times."""
    c = winner.individual.candidate

    def make(keys) -> dict[str, Json]:
        verdict = bench.program(subject, c, True)
        return {keys[0]: {"verdict": verdict.to_json(), "seconds": verdict.seconds}}

    try:
        return Verdict.from_json(str(state.ask("verdict", [f"{c.key} last"], make)[f"{c.key} last"]["verdict"]))
    except NotRecorded:
        return winner.verdict


def _contest(request: Request, search: Search, winner: Accepted, default: Accepted, state: State) -> Json:
    subject = search.subject
    left = search.budgets.seconds - state.seconds - search.verdict_s

    def make(keys) -> dict[str, Json]:
        ended = contest(subject, winner.individual.candidate, default.individual.candidate, request.threads, 2.0, left > INDUCTOR_S, search.device)
        return {keys[0]: ended.to_json()}

    key = f"{winner.individual.key} {default.individual.key}"
    try:
        return state.ask("contest", [key], make)[key]
    except NotRecorded:
        return {"times_ms": {}, "baseline": "", "speedup": None, "interval": [], "over_default": 1 / winner.individual.ratio}


def _fields(
    request: Request, search: Search, made: Outcome, winner: Accepted, strategy: Strategy, verdict: Verdict, ended: Json, over: float | None, state: State
) -> dict[str, object]:  # fmt: skip
    spent = search.proposer.spent()
    i = winner.individual
    kernels = list(i.candidate.kernels.items())
    return {
        "problem": search.subject.problem.name, "target": request.target, "strategy": print_strategy(strategy), "verdict": _json(verdict),
        "speedup": ended["speedup"], "evaluations": made.evaluations, "source_file": "", "measured": True, "speedup_over_default": over,
        "interval": ended["interval"], "baseline": ended["baseline"], "times_ms": ended["times_ms"], "floor_ms": 1e3 * search.floor_s,
        "bottlenecks": [b.words() for b in bottlenecks(kernels, i.kernels or [1.0] * len(kernels), search.board.machine, search.cores, search.counters(i))],
        "stopped": made.stopped, "generations": made.generations, "seconds": round(state.seconds, 2), "seed": request.seed, "threads": request.threads,
        "proposer": request.proposer, "model": request.model, "tokens": spent.tokens, "cost_usd": spent.cost_usd, "calls": spent.calls,
        "search_s": round(made.seconds, 2), "judge_s": round(verdict.seconds, 2), "refused": len(made.board.refused), "accepted": len(made.accepted) - 1, "unranked_code": len(made.unranked), "machine": search.subject.machine.name, "run": run_id(state),
        "command": request.command,
    }  # fmt: skip


def _json(verdict: Verdict) -> object:
    import json

    return json.loads(verdict.to_json())


def _learn(search: Search, made: Outcome, state: State) -> None:
    """Write back what helped: the accepted strategies, and single decisions that gained 3% or more."""
    subject, out = search.subject, []
    helped = [a.individual for a in made.accepted[1:]] + [i for i in made.board.ranked if i.ratio < 0.97 and len(i.choices) == 1]
    for i in dict.fromkeys(i.key for i in helped):
        own = next(x for x in helped if x.key == i)
        seen = Evidence(subject.problem.name, round(1 / own.ratio, 3), run_id(state), subject.machine.name)
        s = general(own.candidate.effective, own.candidate, subject.machine)
        if s.choices:
            out.append(replace(s, name=", ".join(f"{n} = {v}" for n, v in s.choices), expected=round(1 / own.ratio, 2), evidence=(seen,)))
            state.tell(FOUND, {own.key: {"strategy": print_strategy(out[-1]), "ratio": own.ratio}})
    write_back(out)
