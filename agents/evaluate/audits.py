"""A suite comes in, the audit of each of its records goes out, without any model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from ...evaluation.suites.record import Suite
from .judging import CouldNot, JudgePool, JudgeSettings
from .run import Progress
from .state import State


def audit_suite(suite: Suite, workers: int, settings: JudgeSettings, folder: Path | None, progress: Progress) -> dict[str, dict]:
    """Audit results by record; kept in `folder`, where one is given, and taken from there."""
    state = State(folder, {"suite": suite.name}, resume=True) if folder else None
    known = state.audits() if state else {}
    missing = [r for r in suite.records if r.id not in known]
    pool = JudgePool(min(workers, max(1, len(missing))), settings)
    try:
        with ThreadPoolExecutor(workers) as threads:
            futures = {threads.submit(pool.audit, record): record for record in missing}
            for done, future in enumerate(as_completed(futures), 1):
                record, found = futures[future], future.result()
                value = {"id": record.id, "defects": [found.why], "weak": [], "facts": {}} if isinstance(found, CouldNot) else found
                known[record.id] = value
                if state:
                    state.keep_audit(record.id, value)
                progress("audits", {"done": done, "of": len(missing)})
    finally:
        pool.close()
        if state:
            state.close()
    return known
