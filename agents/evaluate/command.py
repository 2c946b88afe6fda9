"""The arguments of `warploom eval` come in, tables or one JSON value on stdout and an exit code go out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ...evaluation.suites.read import read_suite
from ...evaluation.suites.record import Suite
from ...ir.diagnostic import WarploomError
from ..llm import Sampling, without_keys
from .display import Display, audit_table, list_table, probe_table, result_table
from .judging import JudgeSettings
from .models import ModelOptions
from .prompts import STYLES


class BadEvalUsage(WarploomError):
    """The arguments of `eval` do not fit together. Correct them as the message says."""

    code = "WL-E090"


class Stopped(WarploomError):
    """The run was interrupted. Continue it with --resume."""

    code = "WL-E095"


@dataclass(frozen=True)
class EvalRequest:
    """The command line of `eval`, as given."""

    paths: tuple[str, ...]
    suite: str | None = None
    model: str = ""
    samples: int = 1
    out: str | None = None
    resume: bool = False
    list_only: bool = False
    audit: bool = False
    probe: bool = False
    protocol: str = "strict"
    repair: int = 0
    profile_guided: int = 0
    max_cost: float | None = None
    max_tokens: int | None = None
    workers: int = 0
    seed: int = 0
    prompt: str = ""
    prompts: str = ""
    temperature: float = 0.7
    top_p: float = 1.0
    answer_tokens: int = 4096
    timeout: float = 180.0
    retries: int = 6
    price: str = ""
    threads: int = 0
    unsafe: bool = False
    inductor: bool = False


def run_eval(request: EvalRequest, as_json: bool) -> int:
    """`eval`, `eval --list`, `eval --audit`, `eval --probe` and `eval report`."""
    if request.paths[:1] == ("report",):
        work: Callable[[], int] = lambda: _report(request.paths[1:], request.out, as_json)  # noqa: E731
    elif len(request.paths) != 1:
        work = _refuse("one PATH is needed", "warploom eval PATH --model NAME --out DIR")
    elif request.list_only:
        work = lambda: _list(request, as_json)  # noqa: E731
    elif request.audit:
        work = lambda: _audit(request, as_json)  # noqa: E731
    elif request.probe:
        work = lambda: _probe(request, as_json)  # noqa: E731
    else:
        work = lambda: _evaluate(request, as_json)  # noqa: E731
    try:
        return work()
    except WarploomError as error:
        return _fail(error, as_json)
    except KeyboardInterrupt:
        return _fail(Stopped("interrupted", hint="continue with --resume" if request.out else ""), as_json)


def _refuse(message: str, hint: str) -> Callable[[], int]:
    def work() -> int:
        raise BadEvalUsage(message, hint=hint)

    return work


def _fail(error: WarploomError, as_json: bool) -> int:
    message = without_keys(error.message + (f" ({error.hint})" if error.hint else ""))
    if as_json:
        print(json.dumps({"error": {"code": error.code, "message": message}}))
    else:
        print(f"{error.code} {message}", file=sys.stderr)
    return error.exit_code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ---- list and audit ----
def _list(request: EvalRequest, as_json: bool) -> int:
    suite = read_suite(request.paths[0], request.suite)
    if as_json:
        rows = [{"id": r.id, "category": r.category, "operator": r.operator, "defects": list(r.defects)} for r in suite.records]
        print(json.dumps({"suite": suite.name, "records": len(rows), "unread": list(suite.unread), "list": rows}))
    else:
        Console(highlight=False).print(list_table(suite))
    return 0


def _audit(request: EvalRequest, as_json: bool) -> int:
    from .audits import audit_suite
    from .summary import audit_report

    suite = read_suite(request.paths[0], request.suite)
    with Display(sys.stderr) as display:
        audits = audit_suite(suite, _workers(request), _judge_settings(request), Path(request.out) if request.out else None, display.update)
    value = audit_report(suite, audits, request.protocol)
    if as_json:
        print(json.dumps(value))
    else:
        Console(highlight=False).print(audit_table(suite, audits))
    return 0


def _probe(request: EvalRequest, as_json: bool) -> int:
    """0 where every deliberately wrong answer is classed rightly, else 1."""
    from .audits import audit_suite, probe_suite

    suite, settings = read_suite(request.paths[0], request.suite), _judge_settings(request)
    folder = Path(request.out) if request.out else None
    with Display(sys.stderr) as display:
        audits = audit_suite(suite, _workers(request), settings, folder, display.update)
        probed = probe_suite(suite, audits, _workers(request), settings, folder, display.update)
    rows = [{"id": i, **row} for i, found in probed.items() for row in found]
    wrong = sum(not r["rightly"] for r in rows)
    if as_json:
        print(json.dumps({"suite": suite.name, "records": len(probed), "answers": len(rows), "rightly": len(rows) - wrong, "rows": rows}))
    else:
        Console(highlight=False).print(probe_table(suite, rows))
    return 1 if wrong else 0


# ---- runs ----
def _evaluate(request: EvalRequest, as_json: bool) -> int:
    from .run import start
    from .target import machine_facts

    plan_models = tuple(m for m in request.model.split(",") if m)
    _check(request, plan_models)
    assert request.out is not None
    suite = read_suite(request.paths[0], request.suite)
    for line in suite.unread:
        _say(f"not read: {line}")
    plan = _plan(request, suite, plan_models)
    folder = Path(request.out)
    with Display(sys.stderr) as display:
        run = start(suite, plan, folder, request.resume, display.update)
        try:
            run.state.note("models", list(dict.fromkeys([*(run.state.settings().get("models") or []), *plan.models])))
            run.state.note("path", str(Path(suite.path).resolve()))
            run.state.note("machine", machine_facts(request.threads))
            run.go()
            run.state.note("stopped", run.stopped)
            value = _written(run.state, suite, folder)
        finally:
            run.state.close()
    for model, why in run.stopped.items():
        _say(f"stopped {model}: {why}")
    if as_json:
        print(json.dumps(value))
    else:
        Console(highlight=False).print(result_table(value))
        _say(f"{folder / 'report.json'}, report.csv and report.html are written")
    return 0


def _written(state, suite: Suite, folder: Path) -> dict:
    """Writes the reports of a run into its folder and gives the JSON value."""
    from .publish import write_reports
    from .summary import report

    value = report(state, suite)
    write_reports([(folder.name, value, state)], {folder.name: suite}, folder, _say)
    return value


def _check(request: EvalRequest, models: Sequence[str]) -> None:
    if not models:
        raise BadEvalUsage("no model is named", hint="--model rules, echo:FILE, local:smollm2 or a litellm name")
    if not request.out:
        raise BadEvalUsage("no folder is named", hint="--out DIR")
    if request.samples < 1 or request.repair < 0 or request.profile_guided < 0 or request.workers < 0:
        raise BadEvalUsage("--samples is at least 1; --repair, --profile-guided and --workers are not negative")
    if request.protocol not in ("strict", "original"):
        raise BadEvalUsage(f"unknown protocol {request.protocol!r}", hint="strict or original")
    if request.prompt not in ("", *STYLES):
        raise BadEvalUsage(f"unknown prompt {request.prompt!r}", hint=" or ".join(STYLES))
    if (request.max_cost is not None and request.max_cost < 0) or (request.max_tokens is not None and request.max_tokens < 0):
        raise BadEvalUsage("a budget is not negative")


def _plan(request: EvalRequest, suite: Suite, models: tuple[str, ...]):
    from .run import Plan

    prompt = request.prompt or ("published" if request.protocol == "original" else "ours")
    return Plan(
        suite=suite.name, models=models, samples=request.samples, protocol=request.protocol, repair=request.repair,
        profile_guided=request.profile_guided, seed=request.seed, workers=_workers(request), prompt=prompt, prompts=request.prompts,
        sampling=Sampling(request.temperature, request.top_p, request.answer_tokens, request.seed, request.timeout, request.retries),
        max_cost=request.max_cost, max_tokens=request.max_tokens, judge=_judge_settings(request),
        options=ModelOptions(_price(request.price), request.threads),
    )  # fmt: skip


def _judge_settings(request: EvalRequest) -> JudgeSettings:
    return JudgeSettings(protocol=request.protocol, threads=request.threads, unsafe=request.unsafe, inductor=request.inductor)


def _workers(request: EvalRequest) -> int:
    return request.workers or max(1, min(8, len(os.sched_getaffinity(0))))


def _price(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        tokens_in, tokens_out = (float(p) for p in text.split(","))
        return tokens_in, tokens_out
    except ValueError:
        raise BadEvalUsage(f"--price {text!r}", hint="USD per million tokens: IN,OUT") from None


# ---- reports of finished runs ----
def _report(folders: Sequence[str], out: str | None, as_json: bool) -> int:
    from .publish import merged, write_reports
    from .state import read_state
    from .summary import report

    if not folders:
        raise BadEvalUsage("no run folder is named", hint="warploom eval report DIR...")
    runs, suites = [], {}
    try:
        for name in folders:
            state = read_state(Path(name))
            settings = state.settings()
            suite = read_suite(settings.get("path", ""), settings.get("suite"))
            suites[name] = suite
            runs.append((name, report(state, suite), state))
        target = Path(out or folders[0])
        target.mkdir(parents=True, exist_ok=True)
        write_reports(runs, suites, target, _say)
        value = merged([(name, value) for name, value, _ in runs])
    finally:
        for _, _, state in runs:
            state.close()
    if as_json:
        print(json.dumps(value))
    else:
        Console(highlight=False).print(result_table(value))
        _say(f"{target / 'report.html'} is written")
    return 0


