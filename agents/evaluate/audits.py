"""A suite comes in, the audit of each of its records goes out, without any model; or how deliberately wrong answers to them are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from ...evaluation.suites.record import Record, Suite
from .judging import CouldNot, JudgePool, JudgeSettings
from .run import Progress
from .state import State


def audit_suite(suite: Suite, workers: int, settings: JudgeSettings, folder: Path | None, progress: Progress) -> dict[str, dict]:
    """Audit results by record; kept in `folder`, where one is given, and taken from there."""
    state = State(folder, {"suite": suite.name}, resume=True) if folder else None
    known = state.audits() if state else {}
    missing = [r for r in suite.records if r.id not in known]

    def keep(record: Record, found: dict | CouldNot) -> None:
        value = {"id": record.id, "defects": [found.why], "weak": [], "facts": {}} if isinstance(found, CouldNot) else found
        known[record.id] = value
        if state:
            state.keep_audit(record.id, value)

    try:
        _each(missing, lambda pool, record, number: pool.audit(record), keep, "audits", workers, settings, progress)
    finally:
        if state:
            state.close()
    return known


def probe_suite(suite: Suite, audits: dict[str, dict], workers: int, settings: JudgeSettings, progress: Progress) -> dict[str, list[dict]]:
    """Of each sound record whose C side is known, how its deliberately wrong answers are judged; one that cannot be asked is one wrong row."""
    sound = [r for r in suite.records if not audits[r.id]["defects"] and r.form != "extension"]
    made: dict[str, list[dict]] = {}

    def keep(record: Record, found: list[dict] | CouldNot) -> None:
        lost = {"answer": "any", "verdict": "", "expected": [], "rightly": False, "speedup": None, "seconds": 0.0}
        made[record.id] = [{**lost, "detail": found.why}] if isinstance(found, CouldNot) else found

    _each(sound, lambda pool, record, number: pool.probe(record, number), keep, "probes", workers, settings, progress)
    return {r.id: made[r.id] for r in sound}


def _each(records: Sequence[Record], ask: Callable, keep: Callable, what: str, workers: int, settings: JudgeSettings, progress: Progress) -> None:
    """Asks workers for something of each record, several at a time."""
    pool = JudgePool(min(workers, max(1, len(records))), settings)
    try:
        with ThreadPoolExecutor(workers) as threads:
            futures = {threads.submit(ask, pool, record, number): record for number, record in enumerate(records)}
            for done, future in enumerate(as_completed(futures), 1):
                keep(futures[future], future.result())
                progress(what, {"done": done, "of": len(records)})
    finally:
        pool.close()
