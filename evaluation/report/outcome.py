"""Turns what a command does into an exit code, one line on stderr or one JSON value on stdout, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable

from ...ir.diagnostic import WarploomError


class Internal(WarploomError):
    """A defect of warploom itself. Report it with the traceback that WARPLOOM_DEBUG=1 shows."""

    code = "WL-E099"


class Interrupted(WarploomError):
    """The user interrupted the command. Nothing half-made is left behind."""

    code = "WL-E098"
    exit_code = 130


def outcome(work: Callable[[], tuple[int, object]], as_json: bool) -> int:
    """Run `work`, which gives (exit code, JSON value). What the user's code prints meanwhile goes to stderr."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            code, value = work()
    except WarploomError as error:
        return _failed(error, as_json)
    except KeyboardInterrupt:
        return _failed(Interrupted("interrupted"), as_json)
    except Exception as error:
        if os.environ.get("WARPLOOM_DEBUG"):
            raise
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return _failed(
            Internal(f"internal error: {type(error).__name__}: {first[:300]}", hint="WARPLOOM_DEBUG=1 shows where"), as_json
        )
    if as_json:
        print(json.dumps(value))
    return code


def _failed(error: WarploomError, as_json: bool) -> int:
    message = error.message + (f" ({error.hint})" if error.hint else "")
    if as_json:
        print(json.dumps({"error": {"code": error.code, "message": message}}))
    else:
        print(f"{error.code}: {message}", file=sys.stderr)
    return error.exit_code
