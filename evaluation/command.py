"""The arguments of `warploom judge` come in, text or one JSON value on stdout and an exit code go out."""

from __future__ import annotations

import json
import sys

from rich.console import Console

from ..ir.diagnostic import WarploomError
from .verdict import CannotJudge


class Usage(WarploomError):
    """The command's arguments do not fit together. Correct them as the message says."""

    code = "WL-E064"


def _fail(error: WarploomError, as_json: bool) -> int:
    if as_json:
        print(
            json.dumps({"error": {"code": error.code, "message": error.message + (f" ({error.hint})" if error.hint else "")}})
        )
    else:
        print(str(error), file=sys.stderr)
    return error.exit_code


def _guarded(work, as_json: bool) -> int:
    try:
        return work()
    except WarploomError as error:
        return _fail(error, as_json)
    except KeyboardInterrupt:
        return _fail(CannotJudge("interrupted"), as_json)


def run_verdict(task: str | None, candidate: str | None, precision: str, threads: int, unsafe: bool, as_json: bool) -> int:
    """One verdict: 0 accepted, 1 rejected, 2 could not judge, 3 the environment lacks something."""

    def work() -> int:
        from .candidate import read_candidate
        from .judge import Judge, Settings
        from .show import panel
        from .task import read_task

        if not task or not candidate:
            raise Usage("a task and a candidate are needed", hint="warploom judge FILE.py CANDIDATE")
        reference, kernel = read_task(task, precision), read_candidate(candidate)
        with Judge(Settings(threads=threads, unsafe=unsafe)) as judge:
            verdict = judge.verdict(reference, kernel)
        if as_json:
            print(verdict.to_json())
        else:
            Console(highlight=False).print(panel(verdict))
        return 0 if verdict.accepted else 1

    return _guarded(work, as_json)


def run_claims(path: str, device: str | None, as_json: bool) -> int:
    """The table of claims; 0 when it could be made."""

    def work() -> int:
        from .claims import judge_claims, table

        if not device:
            raise Usage("--claims needs --device", hint="such as --device a100-sxm-80gb")
        rows = judge_claims(path, device)
        if as_json:
            print(json.dumps([row.to_dict() for row in rows]))
        else:
            Console(highlight=False).print(table(rows, device))
        return 0

    return _guarded(work, as_json)


def run_mutants(folder: str, count: int, seed: int, threads: int, unsafe: bool, as_json: bool) -> int:
    """Judges mutants of a zoo's honest kernels: 0 all rejected, 1 some passed."""

    def work() -> int:
        from .judge import Judge, Settings
        from .zoo import judge_mutants

        with Judge(Settings(threads=threads, unsafe=unsafe, measure=False)) as judge:
            escapes = judge_mutants(folder, count, seed, judge, lambda line: print(line, file=sys.stderr, flush=True))
        if as_json:
            print(json.dumps(escapes.to_dict()))
        else:
            Console(highlight=False).print(escapes.table())
        return 1 if escapes.passed else 0

    return _guarded(work, as_json)


def run_zoo(folder: str, threads: int, unsafe: bool, as_json: bool) -> int:
    """Judges a labelled folder: 0 every verdict is as expected, 1 some are not."""

    def work() -> int:
        from .judge import Judge, Settings
        from .zoo import judge_zoo

        with Judge(Settings(threads=threads, unsafe=unsafe, measure=True)) as judge:
            score = judge_zoo(folder, judge, progress=lambda line: print(line, file=sys.stderr, flush=True))
        if as_json:
            print(json.dumps(score.to_dict()))
        else:
            Console(highlight=False).print(score.table())
        return 0 if score.clean else 1

    return _guarded(work, as_json)
