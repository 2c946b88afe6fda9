"""A record and an answer come in, the verdict of the benchmark's own protocol goes out: one input, its tolerance, mean times of repeated runs.

For HPCTransEval see `published.py`; the reference is the record's own C code and times are means of 100 runs after one. KernelBench_c:
`original_extension.py`. Answers still run in the sandbox.
"""

from __future__ import annotations

import time

import numpy as np

from .. import native
from ..build import NotBuilt
from ..contained import Contained, Ended
from ..judge import Judge
from ..signature import Signature
from ..timing import mean_seconds
from . import published
from .answer import NoEntry
from .builds import Builds
from .outcome import Outcome
from .record import Record
from .score import compiling_unit, open_reference

RUNS = 100
_MOST_S = 20.0


class OriginalScorer:
    """Scores answers as published. Holds a judge for its sandbox; one answer at a time."""

    def __init__(self, judge: Judge):
        self.judge = judge
        self.builds = Builds(judge.sandbox)

    def score(self, record: Record, code: str) -> Outcome:
        """One answer's outcome. Raises `CannotJudge` where the record's own side fails."""
        if record.form == "extension":
            from .extension import original_extension

            return original_extension(self.judge, record, code)
        started = time.perf_counter()
        try:
            unit = compiling_unit(code, record, self.builds)
        except NoEntry as error:
            return Outcome("extraction", str(error))
        except NotBuilt as error:
            return Outcome("compile-error", error.finding.message, reasons=("compile-error",))
        library = self.builds.library(unit.text, unit.language)
        with open_reference(record, self.builds, self.judge.threads) as reference:
            values = published.inputs(reference.record)
            wanted = reference.single(values)
            try:
                made = self._compared(reference.record, library, reference, values, wanted)
            except Ended as end:
                made = Outcome(end.finding.code, end.finding.message, reasons=(end.finding.code,))
        return Outcome(**{**vars(made), "notes": unit.notes, "seconds": time.perf_counter() - started})

    def _compared(self, record: Record, library, reference, values: list[np.ndarray], wanted: list[np.ndarray]) -> Outcome:
        signature = Signature(record.arguments)
        contained = native.start(library, "", signature, (None,) * len(record.arguments), 1, self.judge.threads, self.judge.sandbox)
        try:
            got = _outputs(contained, signature, values)
            wrong = next((i for i, (a, b) in enumerate(zip(wanted, got)) if not published.agree(a, b)), None)
            if wrong is not None:
                return Outcome("wrong-result", _difference(wanted[wrong], got[wrong], wrong), reasons=("wrong-result",))
            with self.judge.turn:
                ours = mean_seconds(contained, RUNS, _MOST_S)
                theirs = reference.mean_seconds(values, RUNS, _MOST_S)
        finally:
            contained.close()
        return Outcome("accepted", speedup=theirs / ours, time_ms=1e3 * ours, baseline_ms=1e3 * theirs, baseline="c_code")


def _outputs(contained: Contained, signature: Signature, values: list[np.ndarray]) -> list[np.ndarray]:
    """One call with zeroed outputs, as published."""
    left, views = iter(values), []
    for buffer, argument in zip(contained.arena.layout.slots[0], signature.arguments):
        view = contained.arena.view(buffer, argument.storage, argument.shape)
        if argument.role == "output":
            view[...] = 0
            views.append(view)
        else:
            view[...] = next(left)
    contained.run(0, 1, 60.0)
    return [v.copy() for v in views]


def _difference(wanted: np.ndarray, got: np.ndarray, at: int) -> str:
    with np.errstate(all="ignore"):
        far = ~np.isclose(wanted, got, rtol=published.RTOL, atol=published.ATOL, equal_nan=True)
    first = tuple(int(i) for i in np.unravel_index(int(np.argmax(far)), far.shape)) if far.ndim else ()
    return f"{got[first]!r} where {wanted[first]!r} is right; {int(far.sum())} elements (output {at} {list(first)})"
