"""The judge's word on a candidate: a strategy's program as one source file comes in, a `Verdict` goes out, in a process of its own with
seeds that nobody else knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ...evaluation.candidate import Candidate as Submission
from ...evaluation.candidate import stated_launch
from ...evaluation.judge import Judge, Settings
from ...evaluation.task import Task
from ...evaluation.verdict import Verdict
from ...ir.diagnostic import WarploomError
from .candidate import Candidate
from .subject import Subject

SUFFIX = {"c++": ".cpp", "python": ".py", "cuda": ".cu"}


class TooSlow(WarploomError):
    """The judge's word takes longer than the run can wait. It is asked again at the end of the run."""

    code = "WL-E096"


class Judging:
    """Whoever gives verdicts on submissions also gives them on candidates, as one C++ file."""

    seconds: float

    def verdict(self, source: str, language: str, measure: bool, within: float | None = None) -> Verdict:
        """Raises CannotJudge, MissingTool, and TooSlow after `within` seconds."""
        raise NotImplementedError

    def program(self, subject: Subject, candidate: Candidate, measure: bool, within: float | None = None) -> Verdict:
        """The verdict on a candidate's kernels, with times where `measure`. Raises TooSlow after `within` seconds."""
        return self.verdict(subject.source(candidate.module, [candidate.strategy.name]), "c++", measure, within=within)

    def close(self) -> None:
        """Ends what judges."""


class Bench(Judging):
    """Judges submissions for one task; use `close` at the end. `seconds`: what the last verdict took. A judge stays with one thread, since
    what it starts dies with the thread that started it."""

    def __init__(self, task: Task, threads: int, unsafe: bool = False):
        self.task, self.settings = task, Settings(threads=threads, unsafe=unsafe, reference_s=2.0, timing_s=1.0)
        self._judge: Judge | None = None
        self._thread = ThreadPoolExecutor(1)
        self.seconds = 0.0

    def verdict(self, source: str, language: str, measure: bool, within: float | None = None) -> Verdict:
        """Raises CannotJudge, MissingTool, and TooSlow after `within` seconds, all that was started ended. CUDA states its launch in its
        first line."""
        launch = stated_launch(source) if language == "cuda" else ""
        if self._judge is None:
            self._judge, self._thread = Judge(self.settings), ThreadPoolExecutor(1, thread_name_prefix="judge")
        self._judge.settings = replace(self.settings, measure=measure)
        future = self._thread.submit(self._judge.verdict, self.task, Submission("winner" + SUFFIX[language], language, source, launch))
        try:
            found = future.result(within)
        except TimeoutError:
            if future.done():
                raise
            self.close()
            raise TooSlow(f"no verdict within {within:.0f} s") from None
        self.seconds = found.seconds
        return found

    def close(self) -> None:
        if self._judge is not None:
            self._judge.close()
            self._judge = None
            self._thread.shutdown(wait=False, cancel_futures=True)


def reasons(verdict: Verdict) -> str:
    """Why a verdict is what it is, in one line."""
    found: Sequence[str] = [f"{f.code}: {f.message}" for f in verdict.findings] or list(verdict.reasons)
    return "; ".join(found)[:400] or "accepted"
