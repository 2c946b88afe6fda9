"""A command that may kill its process: it runs in a child, the parent stays small, passes signals on and says what to do when the child dies."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PARENT_DEATH = 1  # PR_SET_PDEATHSIG


def survive(work: Callable[[], int], died: Callable[[str], int]) -> int:
    """The exit code of `work`, run in a child; where a signal killed it that nobody sent on purpose, of `died(name of the signal)`.

    Call it before the process has threads. In the child it returns as `work` does.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)  # the parent alone hears the terminal, so that the child hears it once
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
        return work()
    before = {s: signal.signal(s, lambda number, _: os.kill(child, number)) for s in FORWARDED}
    _, status = os.waitpid(child, 0)
    for s, handler in before.items():
        signal.signal(s, handler)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return code
    if -code in (*FORWARDED, signal.SIGKILL):
        return 128 - code
    return died(signal.Signals(-code).name)
