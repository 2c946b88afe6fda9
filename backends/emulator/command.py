"""The `run` command: file names and options come in, text or JSON on stdout and an exit code go out."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...ir.diagnostic import WarploomError
from ..toolchain import cores
from .execute import KernelFailed
from .session import Options, Session, run_files


def run_command(
    files: Sequence[str], include: Sequence[str], defines: Sequence[str], check: bool, out: str | None, as_json: bool
) -> int:
    """0: it ran (and agrees with its reference, and --check found nothing); 1: it did not; 2: unreadable; 3: no compiler."""
    folder = Path(out) if out else Path(tempfile.mkdtemp(prefix="warploom-run-"))
    options = Options(tuple(Path(i).resolve() for i in include), tuple(defines), folder, check)
    try:
        with _all_cores():
            session = run_files([Path(f) for f in files], options)
    except WarploomError as error:
        return _refuse(error, as_json)
    print(json.dumps(session.to_json()) if as_json else _text(session))
    return 0 if session.good else 1


@contextlib.contextmanager
def _all_cores() -> Iterator[None]:
    """Lets blocks share the cores where nothing in this process can have used a team of threads before it forks."""
    alone = "torch" not in sys.modules and "WARPLOOM_EMULATOR_CORES" not in os.environ
    if alone:
        os.environ["WARPLOOM_EMULATOR_CORES"] = str(cores())
    try:
        yield
    finally:
        if alone:
            del os.environ["WARPLOOM_EMULATOR_CORES"]


def _refuse(error: WarploomError, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": {"code": error.code, "message": str(error)}}))
    else:
        print(error.pretty(), file=sys.stderr)
    return 1 if isinstance(error, KernelFailed) else error.exit_code


def _text(session: Session) -> str:
    lines = [f"{name}: {path}" for name, path in session.outputs.items()]
    lines += [str(finding) for finding in session.findings]
    lines += [session.failure] if session.failure else []
    if session.max_error is not None:
        lines.append(
            f"largest error against the reference: {session.max_error:.3g}{'' if session.good else ' (does not agree)'}"
        )
    return "\n".join(lines) or "ran; it has no outputs"
