"""glibc gives blocks of 32 MiB and more back on every free, and eager then pays for fresh pages on every call. Commands that compare speed
start again with settings that keep memory, for all contenders alike."""

from __future__ import annotations

import os
import sys

KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "8589934592"}


def keeps_memory() -> bool:
    """This process runs with the settings."""
    return all(os.environ.get(name) == value for name, value in KEEPING.items())


def restart_keeping_memory() -> None:
    """Replace this process by itself with the settings, unless it has them."""
    if sys.platform == "linux" and not keeps_memory():
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **KEEPING})
