"""Requests to start a reference come in over a socket, forked processes with torch already loaded go out.

`ReferenceHost` is the judge's side. The host is trusted: it runs the task's own code, never a candidate.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import importlib
import os
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from typing import Any, Protocol

from ..backends.cpu.malloc import KEEPING
from .verdict import CannotJudge

_PR_SET_PDEATHSIG = 1
START_S = 240.0  # importing torch on a machine with much else to do


class ReferenceHost:
    """A preloaded parent that forks one process per task; many verdicts share its start-up."""

    def __init__(self, threads: int):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {
            **os.environ,
            **KEEPING,
            "OMP_NUM_THREADS": str(threads),
            "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        }
        package = __package__ or "warploom.evaluation"
        start = f"from {package}.host import serve; serve({theirs.fileno()}, {threads})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", start],
            env=environment,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        self._socket = ours

    def open(self) -> Connection:
        """A connection to a new process that holds a `Reference`."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._socket, [b"fork"], [theirs.fileno()])
        return Connection(ours.detach())

    def close(self) -> None:
        """Ends the host and all it forked."""
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Asked(Protocol):
    """What the judge asks questions of: `ReferenceProcess`, or a reference that answers in this process."""

    def call(self, method: str, *args, timeout: float = 60.0) -> Any:
        """The result of `method(*args)`. Raises `CannotJudge`."""
        ...

    def send(self, method: str, *args) -> None:
        """Starts a call; `receive` waits for it."""
        ...

    def receive(self, method: str, timeout: float = 60.0) -> Any:
        """The result of the call started first of those under way. Raises `CannotJudge`."""
        ...


class ReferenceProcess:
    """One task's reference in a process of its own; each call has a time limit."""

    def __init__(self, host: ReferenceHost):
        self._connection = host.open()
        self._under_way = 1
        self._pid = int(self.receive("start", START_S))

    def call(self, method: str, *args, timeout: float = 60.0):
        """The result of `Reference.method(*args)`. Raises `CannotJudge` when it raises, leaves or takes too long."""
        while self._under_way:
            with contextlib.suppress(CannotJudge):
                self.receive("an answer nobody waits for any more", timeout)
        self.send(method, *args)
        return self.receive(method, timeout)

    def send(self, method: str, *args) -> None:
        """Starts a call; `receive` waits for it."""
        self._under_way += 1
        try:
            self._connection.send((method, args))
        except OSError:
            raise CannotJudge("the reference's process has ended") from None

    def receive(self, method: str, timeout: float = 60.0):
        """The result of the call started first of those under way."""
        self._under_way -= 1
        try:
            if not self._connection.poll(timeout):
                raise CannotJudge(f"the reference takes more than {timeout:.0f} s ({method})")
            kind, value = self._connection.recv()
        except (EOFError, OSError):
            raise CannotJudge("the reference's process has ended") from None
        if kind == "error":
            raise CannotJudge(value)
        return value

    def close(self) -> None:
        """Ends the process, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._connection.close()


def serve(fd: int, threads: int) -> None:
    """The host's loop: forks for each descriptor that comes in, until the judge's end closes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    importlib.import_module(f"{__package__}.reference")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    door = socket.socket(fileno=fd)
    while True:
        message, ancillary, _, _ = door.recvmsg(64, socket.CMSG_LEN(4))
        if not message:
            return
        fds = array.array("i")
        fds.frombytes(ancillary[0][2][:4])
        if os.fork() == 0:
            door.close()
            _answer(Connection(fds[0]), threads)
        os.close(fds[0])


def _answer(connection: Connection, threads: int) -> None:
    """Runs one reference's calls, then ends this process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(2, 1)
    module = importlib.import_module(f"{__package__}.reference")
    reference = module.Reference(threads)
    try:
        connection.send(("ok", os.getpid()))
        while True:
            method, args = connection.recv()
            try:
                answer = ("ok", getattr(reference, method)(*args))
            except BaseException as error:
                answer = ("error", module.explain(method, error))
            connection.send(answer)
    finally:
        os._exit(0)
