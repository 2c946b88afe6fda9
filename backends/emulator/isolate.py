"""A call in a process of its own. A function comes in, its result or exception goes out; a crash becomes KernelFailed.

The child writes to stderr only (a kernel's printf must not mix with what the command prints).
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

from .execute import KernelFailed

T = TypeVar("T")


def in_child(work: Callable[[], T], *, quiet: bool = True) -> T:
    """Forks, calls `work`, gives back what it gave. `quiet` sends the child's stdout to stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _serve(work, writing, quiet)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            answer = pipe.read()
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(pid, 0)
    return _result(answer, status)


def _serve(work: Callable[[], object], writing: int, quiet: bool) -> None:
    """The child's life: never returns."""
    faulthandler.disable()
    if quiet:
        os.dup2(2, 1)
    _one_thread()
    try:
        answer = (True, work())
    except BaseException as error:
        answer = (False, error)
    try:
        sys.stdout.flush()
        ctypes.CDLL(None).fflush(None)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(_pickled(answer))
    finally:
        os._exit(0)


def _one_thread() -> None:
    """OpenMP's teams stayed with the parent: a parallel region here would wait for them in vain."""
    with open("/proc/self/maps") as maps:
        loaded = {line.split(maxsplit=5)[5].strip() for line in maps if "gomp" in line and "/" in line}
    for path in loaded:
        ctypes.CDLL(path).omp_set_num_threads(1)


def _pickled(answer: tuple[bool, object]) -> bytes:
    try:
        return pickle.dumps(answer)
    except (pickle.PicklingError, TypeError, AttributeError):
        return pickle.dumps((False, RuntimeError(f"{type(answer[1]).__name__}: {answer[1]}")))


def _result(answer: bytes, status: int):
    if not answer:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        name = signal.Signals(number).name if number else f"exit {status}"
        raise KernelFailed(f"the run crashed ({name})", hint="an access far outside its array; --check names it")
    good, value = pickle.loads(answer)
    if not good:
        raise value
    return value
