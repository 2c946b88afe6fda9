"""The `run` command: file names and options come in, text or JSON on stdout and an exit code go out."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ...ir.diagnostic import WarploomError
from .execute import KernelFailed
from .session import Options, Session, run_files


def run_command(
    files: Sequence[str], include: Sequence[str], defines: Sequence[str], check: bool, out: str | None, as_json: bool
) -> int:
    """0: it ran (and agrees with its reference, and --check found nothing); 1: it did not; 2: unreadable; 3: no compiler."""
    folder = Path(out) if out else Path(tempfile.mkdtemp(prefix="warploom-run-"))
    options = Options(tuple(Path(i).resolve() for i in include), tuple(defines), folder, check)
    try:
        session = run_files([Path(f) for f in files], options)
    except WarploomError as error:
        return _refuse(error, as_json)
    print(json.dumps(session.to_json()) if as_json else _text(session))
    return 0 if session.good else 1


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
