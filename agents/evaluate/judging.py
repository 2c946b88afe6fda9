"""Records and answers come in, outcomes and audits go out: worker processes that each hold a judge, replaced when one ends.

A verdict needs a quiet moment for its timing: workers take turns at that.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from ...evaluation.suites.outcome import Outcome
from ...evaluation.suites.record import Record
from ...ir.diagnostic import MissingTool

_PR_SET_PDEATHSIG = 1
_MOST_S = 900.0


@dataclass(frozen=True)
class JudgeSettings:
    """How every worker judges; `threads` 0 means all processors; `inductor`: audits time torch.compile's code as a further baseline."""

    protocol: str = "strict"
    threads: int = 0
    timing_s: float = 0.6
    unsafe: bool = False
    inductor: bool = False


@dataclass(frozen=True)
class CouldNot:
    """A record that gives no verdict, in one line."""

    why: str


class JudgePool:
    """`count` workers. `score` and `audit` may be called from several threads; each call takes one worker."""

    def __init__(self, count: int, settings: JudgeSettings):
        self._context = multiprocessing.get_context("spawn")
        self._settings, self._turn = settings, self._context.Lock()
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._lock, self._all = threading.Lock(), []
        for _ in range(count):
            self._idle.put(self._new())

    def score(self, record: Record, code: str) -> Outcome | CouldNot:
        """The outcome of an answer. Raises `MissingTool` where the machine has no sandbox or compiler."""
        value = self._asked(("score", record, code))
        return value if isinstance(value, CouldNot) else Outcome.from_dict(value)

    def audit(self, record: Record) -> dict | CouldNot:
        """The audit of a record, as plain values."""
        return self._asked(("audit", record))

    def probe(self, record: Record, number: int) -> list[dict] | CouldNot:
        """How deliberately wrong answers to a record are judged, as plain values (`suites.probing.Probed`)."""
        return self._asked(("probe", record, number))

    def close(self) -> None:
        """Ends every worker."""
        for worker in self._all:
            worker.end()

    def _new(self) -> _Worker:
        worker = _Worker(self._context, self._settings, self._turn)
        with self._lock:
            self._all.append(worker)
        return worker

    def _asked(self, request: tuple) -> Any:
        for _ in range(2):
            worker = self._idle.get()
            try:
                kind, value = worker.ask(request)
            except (EOFError, OSError, TimeoutError):
                worker.end()
                self._idle.put(self._new())
                continue
            self._idle.put(worker)
            if kind == "missing":
                raise MissingTool(value)
            return CouldNot(value) if kind == "could-not" else value
        return CouldNot("the judge ended twice on it")


class _Worker:
    def __init__(self, context, settings: JudgeSettings, turn):
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, settings, turn, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, request: tuple) -> tuple[str, Any]:
        self._connection.send(request)
        if not self._connection.poll(_MOST_S):
            raise TimeoutError
        return self._connection.recv()

    def end(self) -> None:
        """Lets it go; it is ended where it does not go by itself."""
        self._connection.close()
        self._process.join(1)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(5)


def _serve(connection: Connection, settings: JudgeSettings, turn, parent: int) -> None:
    """The worker's loop; it ends with its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getppid() != parent:
        return
    from ...evaluation.judge import Judge, Settings

    try:
        judge = Judge(Settings(threads=settings.threads, timing_s=settings.timing_s, unsafe=settings.unsafe), turn=turn)
    except MissingTool as error:
        connection.recv()
        connection.send(("missing", f"{error.message} ({error.hint})"))
        return
    with judge:
        scorer = _scorer(judge, settings.protocol)
        while True:
            try:
                request = connection.recv()
            except EOFError:
                return
            connection.send(_answered(judge, scorer, request, settings.inductor))


def _scorer(judge, protocol: str):
    from ...evaluation.suites.original import OriginalScorer
    from ...evaluation.suites.score import Scorer

    return OriginalScorer(judge) if protocol == "original" else Scorer(judge)


def _answered(judge, scorer, request: tuple, inductor: bool) -> tuple[str, Any]:
    from ...evaluation.verdict import CannotJudge
    from ...ir.diagnostic import WarploomError

    try:
        if request[0] == "score":
            return "done", scorer.score(request[1], request[2]).to_dict()
        if request[0] == "probe":
            from ...evaluation.suites.probing import probe

            return "done", probe(request[1], judge, request[2])
        from ...evaluation.suites.audit import audit

        return "done", audit(request[1], judge, inductor).to_dict()
    except CannotJudge as error:
        return "could-not", error.message
    except MissingTool as error:
        return "missing", error.message
    except WarploomError as error:
        return "could-not", f"{error.code} {error.message}"
    except Exception as error:  # one record must not end the run; the line names what happened
        return "could-not", f"{type(error).__name__}: {str(error)[:300]}"
