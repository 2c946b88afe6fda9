"""A record and the text of an answer's code come in, an `Outcome` goes out: the verdict under one code, and what a reader wants to know of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from dataclasses import replace

from ..build import NotBuilt
from ..judge import Judge
from ..verdict import CannotJudge
from ..workers import NativeMaker
from .answer import NoEntry, Unit, unit_of
from .builds import Builds
from .c_extents import as_large_as_read
from .code_reference import CodeReference
from .hollow import hollow, reads_inputs
from .outcome import Outcome, outcome_of
from .record import Record

# What makes a numeric failure worth a second look: was anything computed at all?
_NUMERIC = {"wrong-result", "partial-write", "partial-read", "cached-result", "precision-downgrade", "nondeterministic"}
_MEMORY = "/dev/shm"


class Scorer:
    """Scores answers under the strict protocol. Holds a judge; one answer at a time."""

    def __init__(self, judge: Judge):
        self.judge = judge
        self.builds = Builds(judge.sandbox)

    def score(self, record: Record, code: str) -> Outcome:
        """One answer's outcome. Raises `CannotJudge` where the record gives no verdict."""
        started = time.perf_counter()
        if record.form == "extension":
            from .extension import score_extension

            made = score_extension(self.judge, record, code)
        elif record.form == "pair":
            from .pair_score import score_pair

            made = score_pair(self.judge, self.builds, record, code)
        else:
            made = self._score_code(record, code)
        return replace(made, seconds=time.perf_counter() - started)

    def score_against(self, record: Record, code: str, reference: CodeReference) -> Outcome:
        """One answer's outcome against a reference that the caller has opened; any number of answers, one after the other."""
        started = time.perf_counter()
        unit = self._unit(record, code)
        made = unit if isinstance(unit, Outcome) else self._against(record, unit, reference)
        return replace(made, seconds=time.perf_counter() - started)

    def _score_code(self, record: Record, code: str) -> Outcome:
        unit = self._unit(record, code)
        if isinstance(unit, Outcome):
            return unit
        with open_reference(record, self.builds, self.judge.threads) as reference:
            return self._against(record, unit, reference)

    def _unit(self, record: Record, code: str) -> Unit | Outcome:
        """What is compiled, or the outcome of code that cannot be."""
        try:
            return compiling_unit(code, record, self.builds)
        except NoEntry as error:
            return Outcome("extraction", str(error))
        except NotBuilt as error:
            return Outcome("compile-error", error.finding.message, reasons=("compile-error",))

    def _against(self, record: Record, unit: Unit, reference: CodeReference) -> Outcome:
        maker = NativeMaker(self.builds.library(unit.text, unit.language), unit.text, self.judge.sandbox)
        made = outcome_of(self.judge.verdict_against(record.id, reference, reference.describe(), maker), "c_code")
        if made.verdict in _NUMERIC and (why := hollow(reference, maker, self.judge.threads)):
            made = replace(made, verdict="hollow", detail=why)
        elif made.verdict == "partial-read" and "wrong-result" in made.reasons and reads_inputs(reference, maker, self.judge.threads):
            made = replace(made, verdict="wrong-result", detail=made.first_wrong)  # it reads them, and puts the result elsewhere
        return replace(made, notes=(*unit.notes, *made.notes))


@contextlib.contextmanager
def open_reference(record: Record, builds: Builds, threads: int):
    """The record's C code as a reference, ended afterwards. Raises `CannotJudge`."""
    with tempfile.TemporaryDirectory(
        prefix="warploom-record-", dir=_MEMORY if os.path.isdir(_MEMORY) else None, ignore_cleanup_errors=True
    ) as folder:
        try:
            reference = _reference(record, builds, threads, folder)
        except NoEntry as error:
            raise CannotJudge(f"its C side: {error}") from None
        with contextlib.closing(reference):
            yield reference


def _reference(record: Record, builds: Builds, threads: int, folder: str) -> CodeReference:
    """The reference; where the C side fails, with its inputs as large as it reads them instead of as declared."""
    try:
        return CodeReference(record, builds, threads, folder)
    except CannotJudge:
        wide = as_large_as_read(record)
        if wide == record:
            raise
        return CodeReference(wide, builds, threads, folder)


def compiling_unit(code: str, record: Record, builds: Builds) -> Unit:
    """The answer's unit in the language that its text asks for, in the other one where it does not compile so. Raises `NotBuilt`, `NoEntry`."""
    unit = unit_of(code, record)
    try:
        builds.library(unit.text, unit.language)
        return unit
    except NotBuilt:
        other = unit_of(code, record, "c" if unit.language == "c++" else "c++")
        with contextlib.suppress(NotBuilt):
            builds.library(other.text, other.language)
            return replace(other, notes=(*other.notes, f"compiled as {other.language}"))
        raise
