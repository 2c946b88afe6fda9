"""A task and a candidate come in, a `Verdict` goes out.

`Judge` holds what many verdicts share: the sandbox, the preloaded reference host and this machine's peaks. One verdict goes
build -> trial (checked calls in a first and a second process) -> timing (checked too) -> roofline; a failure goes to `integrity`
for its name.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import build, integrity, roofline, timing
from .candidate import Candidate
from .contained import Ended
from .graph_task import other_shapes
from .host import Asked, ReferenceHost, ReferenceProcess
from .native import thread_count
from .sandbox import Sandbox, required
from .task import Task
from .trial import Cases, Trial
from .verdict import CannotJudge, Finding, Verdict, rejected
from .workers import Maker, maker_for

if TYPE_CHECKING:
    from .reference import Description

_MEMORY = "/dev/shm"
BASELINE = {"python": "eager", "graph": "the graph in torch", "kernel": "the text as C"}
SHAPE_S = 0.5  # of the reference's time at each further shape


@dataclass(frozen=True)
class Settings:
    """Bounds of one verdict, in seconds, and what to measure."""

    threads: int = 0
    open_s: float = 40.0
    reference_s: float = 5.0
    timing_s: float = 2.0
    measure: bool = True
    unsafe: bool = False
    inductor: bool = False


class Judge:
    """Judges many candidates. Use as a context manager; one verdict at a time per judge.

    Raises `MissingTool` (exit 3) where there is no sandbox and `Settings.unsafe` is not set.
    """

    def __init__(self, settings: Settings = Settings(), turn: contextlib.AbstractContextManager | None = None):
        """`turn`: entered while times are taken, where several judges share a machine."""
        self.settings = settings
        self.turn = turn or contextlib.nullcontext()
        self.threads = settings.threads or thread_count()
        self.sandbox = Sandbox(enabled=False) if settings.unsafe else required()
        self._host: ReferenceHost | None = None
        self._parents: dict[str, object] = {}

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process that this judge started."""
        if self._host:
            self._host.close()
            self._host = None
        for parent in self._parents.values():
            parent.close()  # pyright: ignore[reportAttributeAccessIssue]
        self._parents.clear()

    @property
    def host(self) -> ReferenceHost:
        """The preloaded parent of reference processes, started on first use."""
        if self._host is None:
            self._host = ReferenceHost(self.threads)
        return self._host

    def verdict(self, task: Task, candidate: Candidate) -> Verdict:
        """Judges one candidate, at the task's own sizes and at others of its dynamic dims. Raises `CannotJudge` where the task gives no verdict."""
        started = time.perf_counter()
        with contextlib.ExitStack() as stack:
            opening = stack.enter_context(self._opening(task))
            maker, refused = self._build(candidate)
            description = opening.description()
            seen = {"task": task.name, "candidate": candidate.name, "threads": self.threads}
            if maker is None:
                return rejected([refused], **seen, seconds=time.perf_counter() - started) if refused else rejected([])
            stack.callback(maker.close)
            verdict = self._judged(opening.reference, description, maker, started, seen)
            if verdict.measured:
                verdict = replace(verdict, measured=replace(verdict.measured, baseline=BASELINE[task.kind]))
            return self._at_other_shapes(task, maker, verdict) if verdict.accepted else verdict

    def verdict_against(self, name: str, reference, description, maker: Maker) -> Verdict:
        """Judges a built candidate against a reference that the caller has opened (see `host.ReferenceProcess`) and closes."""
        seen = {"task": name, "candidate": "answer", "threads": self.threads}
        return self._judged(reference, description, maker, time.perf_counter(), seen)

    @contextlib.contextmanager
    def opened(self, task: Task, candidate: Candidate):
        """A task's reference, its description and the maker of a candidate, for another protocol than `verdict`'s. Raises `CannotJudge`, `NotBuilt`, `Ended`."""
        with self._opening(task) as opening, contextlib.closing(maker_for(candidate, self.sandbox, self.threads, self._parents)) as maker:
            description = opening.description()
            maker.describe(description, opening.reference)
            yield opening.reference, description, maker

    @contextlib.contextmanager
    def _opening(self, task: Task):
        """An `Opening` of the task, whose process works while the caller goes on; ended afterwards."""
        with tempfile.TemporaryDirectory(
            prefix="warploom-judge-", dir=_MEMORY if os.path.isdir(_MEMORY) else None, ignore_cleanup_errors=True
        ) as folder:
            if task.kind == "kernel":
                from .kernel_task import KernelReference

                with contextlib.closing(KernelReference(task, self.sandbox, self.threads, folder)) as kernel:
                    yield Opening(kernel, kernel.describe)
            else:
                with contextlib.closing(ReferenceProcess(self.host)) as process:
                    process.send("open", task, secrets.randbits(48), folder)
                    yield Opening(process, lambda: process.receive("open", self.settings.open_s))

    def _at_other_shapes(self, task: Task, maker: Maker, verdict: Verdict) -> Verdict:
        """The verdict, turned to a rejection where the candidate fails at other sizes; sizes at which the task does not run are left out."""
        tried = []
        for other in other_shapes(task):
            with self._opening(other) as opening:
                try:
                    description = opening.description()
                    maker.describe(description, opening.reference)
                except CannotJudge:
                    continue
                except (Ended, build.NotBuilt) as end:
                    return _refused(verdict, [end.finding], other.dims)
                trial = Trial(Cases(opening.reference, description, SHAPE_S), maker, description, self.threads)
                with contextlib.closing(trial):
                    findings = self._first_process(trial)
            tried.append(other.dims)
            verdict = replace(verdict, trials=verdict.trials + trial.checked)
            if findings:
                return _refused(verdict, findings, other.dims)
        return replace(verdict, notes=(*verdict.notes, f"also right at {'; '.join(tried)}")) if tried else verdict

    def _first_process(self, trial: Trial) -> list[Finding]:
        """Findings of the long sequence alone, named."""
        try:
            findings = trial.first_process()
        except Ended as end:
            findings = [end.finding]
        return integrity.named(findings, trial) if findings or trial.failures else []

    def _build(self, candidate: Candidate) -> tuple[Maker | None, Finding | None]:
        try:
            return maker_for(candidate, self.sandbox, self.threads, self._parents), None
        except build.NotBuilt as error:
            return None, error.finding

    def _judged(
        self,
        reference,
        description,
        maker: Maker,
        started: float,
        seen: dict,
    ) -> Verdict:
        try:
            maker.describe(description, reference)
        except (Ended, build.NotBuilt) as end:
            return rejected([end.finding], **seen, seconds=time.perf_counter() - started)
        cases = Cases(reference, description, self.settings.reference_s)
        trial = Trial(cases, maker, description, self.threads)
        try:
            findings = trial.first_process()
            if not findings and not trial.failures:
                findings = trial.second_process()
            if not findings and not trial.failures and maker.watches_calls:
                findings = trial.watched_calls()
            measured = None
            if not findings and not trial.failures and self.settings.measure:
                with self.turn:
                    measured, findings = timing.measure(trial, reference, self.settings.timing_s)
        except Ended as end:
            findings, measured = [end.finding], None
        except BaseException:
            trial.close()
            raise
        if findings or trial.failures:
            findings = integrity.named(findings, trial)
        trial.close()
        bound = roofline.bound_of(description.cost, self.threads) if not findings else None
        if bound and measured and measured.time_ms < bound.least_ms:
            findings = [Finding("faster-than-roofline", f"{measured.time_ms:.4f} ms; {bound.words}")]
        worst = trial.worst
        return Verdict(
            accepted=not findings,
            reasons=tuple(dict.fromkeys(f.code for f in findings)),
            max_error=worst.error if worst else None,
            tolerance=worst.tolerance if worst else None,
            reference_error=worst.reference_error if worst else None,
            speedup=measured.speedup if measured else None,
            time_ms=measured.time_ms if measured else None,
            roofline_fraction=bound.expected_ms / measured.time_ms if bound and measured else None,
            trials=trial.checked,
            findings=tuple(findings),
            measured=measured,
            bound_ms=bound.expected_ms if bound else None,
            bound=bound.words if bound else "",
            seconds=time.perf_counter() - started,
            notes=tuple([*description.notes, *trial.notes]),
            **seen,
        )


@dataclass(frozen=True)
class Opening:
    """A reference that is being opened; `description` waits for it. Raises `CannotJudge`."""

    reference: Asked
    description: Callable[[], Description]


def _refused(verdict: Verdict, findings: list[Finding], dims: str) -> Verdict:
    """An accepted verdict with findings at other sizes."""
    named = tuple(replace(f, where=", ".join(filter(None, [f.where, f"at {dims}"]))) for f in findings)
    return replace(verdict, accepted=False, reasons=tuple(dict.fromkeys(f.code for f in named)), findings=named)


def warm_up(judge: Judge) -> threading.Thread:
    """Starts the shared parents in the background, so that a first verdict does not wait for them."""
    thread = threading.Thread(target=lambda: judge.host, daemon=True)
    thread.start()
    return thread
