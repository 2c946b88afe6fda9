"""A suite comes in, the audit of each of its records goes out, without any model; or how deliberately wrong answers to them are judged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from ...evaluation.suites.record import Record, Suite
from .judging import CouldNot, JudgePool, JudgeSettings
from .run import Progress
from .state import State


def audit_suite(suite: Suite, workers: int, settings: JudgeSettings, folder: Path | None, progress: Progress) -> dict[str, dict]:
    """Audit results by record; kept in `folder`, where one is given, and taken from there."""
    with _opened(suite, folder) as state:
        known = state.audits() if state else {}

        def keep(record: Record, found: dict | CouldNot) -> None:
            known[record.id] = {"id": record.id, "defects": [found.why], "weak": [], "facts": {}} if isinstance(found, CouldNot) else found
            if state:
                state.keep_audit(record.id, known[record.id])

        missing = [(n, r) for n, r in enumerate(suite.records) if r.id not in known]
        _each(missing, lambda pool, record, number: pool.audit(record), keep, "audits", workers, settings, progress)
    return known


def probe_suite(
    suite: Suite, audits: dict[str, dict], workers: int, settings: JudgeSettings, folder: Path | None, progress: Progress
) -> dict[str, list[dict]]:
    """Of each sound record whose C side is known, how its deliberately wrong answers are judged; one that cannot be asked is one wrong row."""
    sound = [(n, r) for n, r in enumerate(suite.records) if not audits[r.id]["defects"] and r.form != "extension"]
    lost = {"answer": "any", "verdict": "", "expected": [], "rightly": False, "speedup": None, "seconds": 0.0}
    with _opened(suite, folder) as state:
        made = state.probes() if state else {}

        def keep(record: Record, found: list[dict] | CouldNot) -> None:
            made[record.id] = [{**lost, "detail": found.why}] if isinstance(found, CouldNot) else found
            if state:
                state.keep_probe(record.id, made[record.id])

        missing = [(n, r) for n, r in sound if r.id not in made]
        _each(missing, lambda pool, record, number: pool.probe(record, number), keep, "probes", workers, settings, progress)
    return {r.id: made[r.id] for _, r in sound}


@contextlib.contextmanager
def _opened(suite: Suite, folder: Path | None) -> Iterator[State | None]:
    if folder is None:
        yield None
        return
    state = State(folder, {"suite": suite.name}, resume=True)
    try:
        yield state
    finally:
        state.close()


def _each(
    records: Sequence[tuple[int, Record]], ask: Callable, keep: Callable, what: str, workers: int, settings: JudgeSettings, progress: Progress
) -> None:
    """Asks workers for something of each record (with its number), several at a time."""
    if not records:
        return
    pool = JudgePool(min(workers, len(records)), settings)
    try:
        with ThreadPoolExecutor(workers) as threads:
            futures = {threads.submit(ask, pool, record, number): record for number, record in records}
            try:
                for done, future in enumerate(as_completed(futures), 1):
                    keep(futures[future], future.result())
                    progress(what, {"done": done, "of": len(records)})
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        pool.close()
