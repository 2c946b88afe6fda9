"""The judge's word on a candidate: a strategy's program as one source file comes in, a `Verdict` goes out, in a process of its own with
seeds that nobody else knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...evaluation.candidate import Candidate as Submission
from ...evaluation.judge import Judge, Settings
from ...evaluation.task import Task
from ...evaluation.verdict import Verdict

SUFFIX = {"c++": ".cpp", "python": ".py", "cuda": ".cu"}


class Bench:
    """Judges submissions for one task; use `close` at the end. `seconds`: what the last verdict took."""

    def __init__(self, task: Task, threads: int, unsafe: bool = False):
        self.task, self.settings = task, Settings(threads=threads, unsafe=unsafe, reference_s=2.0, timing_s=1.0)
        self._judge: Judge | None = None
        self.seconds = 0.0

    def verdict(self, source: str, language: str, measure: bool, launch: str = "") -> Verdict:
        """Raises CannotJudge, MissingTool."""
        if self._judge is None:
            self._judge = Judge(self.settings)
        self._judge.settings = replace(self.settings, measure=measure)
        found = self._judge.verdict(self.task, Submission("winner" + SUFFIX[language], language, source, launch))
        self.seconds = found.seconds
        return found

    def close(self) -> None:
        if self._judge is not None:
            self._judge.close()
            self._judge = None


def reasons(verdict: Verdict) -> str:
    """Why a verdict is what it is, in one line."""
    found: Sequence[str] = [f"{f.code}: {f.message}" for f in verdict.findings] or list(verdict.reasons)
    return "; ".join(found)[:400] or "accepted"
