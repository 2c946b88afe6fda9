"""`warploom dataset build|check|card`: flags come in, files, text or JSON and an exit code go out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..ir.diagnostic import WarploomError
from . import dlight_side
from .build import Progress, Request, build
from .card import write_card
from .check import check
from .export import publish, write_forms
from .run_sides import SHORT_US
from .state import State


def _guarded(as_json: bool, work: Callable[[], tuple[int, dict[str, Any], str]]) -> int:
    """Runs, prints one JSON value or one text, gives the exit code; an error is one line."""
    try:
        code, value, text = work()
    except WarploomError as error:
        if as_json:
            print(json.dumps({"error": {"code": error.code, "message": error.message}}))
        else:
            print(f"warploom: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(value) if as_json else text)
    return code


def run_build(
    out: str, count: int, seed: int, resume: bool, workers: int, as_json: bool, models: Sequence[str] = (), avoid: Sequence[str] = (),
    operators: Sequence[str] = (),
) -> int:
    """Builds, publishes, writes the card. Ctrl-C publishes what there is and answers 130."""

    def work() -> tuple[int, dict[str, Any], str]:
        request = Request(Path(out), count, seed, resume, workers, tuple(models), tuple(avoid), tuple(operators))
        if line := dlight_side.missing():
            print(line, file=sys.stderr)
        try:
            state = build(request, _show)
        except KeyboardInterrupt:
            _published(State(request.out), count)
            raise
        pairs, rejects = _published(state, count)
        value = {"ok": True, "pairs": pairs, "rejects": rejects, "folder": str(request.out)}
        return 0, value, f"{pairs} pairs in {request.out} ({rejects} programs rejected)"

    try:
        return _guarded(as_json, work)
    except KeyboardInterrupt:
        print("warploom: interrupted; what there is has been written, --resume goes on", file=sys.stderr)
        return 130


def _published(state: State, count: int) -> tuple[int, int]:
    """Writes all files of what there is, and closes the state. Returns (pairs, rejects)."""
    try:
        made = publish(state, count)
        write_forms(state.folder)
        write_card(state.folder)
    finally:
        state.close()
    return made


def _show(progress: Progress) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[2K{progress}"[:200], end="" if progress.pairs < progress.count else "\n", file=sys.stderr, flush=True)
    else:
        print(progress, file=sys.stderr, flush=True)


def run_check(folder: str, sample: int, seed: int, as_json: bool, race: bool = False) -> int:
    """Checks from the files alone: 0 all holds, 1 something does not."""

    def work() -> tuple[int, dict[str, Any], str]:
        report = check(Path(folder), sample, seed, race)
        lines = [f"{f.id}: {f.what}" for f in report.faults]
        lines.append(f"{report.checked} of {report.pairs} pairs run, {len(report.faults)} faults" + ("" if report.nvcc else "; CUDA not compiled: no nvcc"))
        if race and (t := report.times())["measured"]:
            lines.append(f"C sides {t['geomean']:.2f}x their unscheduled forms over {t['measured']} pairs of {SHORT_US:g} us or more, {t['slow']} below 0.9")
        return (1 if report.faults else 0), report.to_json(), "\n".join(lines)

    return _guarded(as_json, work)


def run_card(folder: str, beside: str | None, as_json: bool) -> int:
    """Writes README.md and its plots again."""

    def work() -> tuple[int, dict[str, Any], str]:
        numbers = write_card(Path(folder), Path(beside) if beside else None)
        path = str(Path(folder) / "README.md")
        return 0, {"ok": True, "card": path, "numbers": numbers}, path

    return _guarded(as_json, work)
