"""`warploom bench cpu`: its arguments come in, a table or JSON and an exit code go out."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from ...backends.cpu.malloc import KEEPING
from ...ir.diagnostic import Unreadable, WarploomError
from ..report.outcome import outcome
from .race import Row
from .show import line, show
from .suite import Item, bench_data, items, row_from, run_suite, run_worker, zoo_items


class BadArgument(WarploomError):
    """An argument of the command has the wrong form. The message says what is expected."""

    code = "WL-E061"


@dataclass(frozen=True)
class BenchRequest:
    """The arguments of `warploom bench cpu`. `worker`: Python code that runs one problem (arguments in sys.argv, JSON on stdout)."""

    worker: str
    suite: str | None = None
    threads: str = "1"
    only: str | None = None
    budget_s: float = 2.0
    timeout_s: float = 300.0
    library: bool = True
    out: str | None = None


def run_bench(request: BenchRequest, as_json: bool) -> int:
    """0 done, 1 some problem failed or gave wrong numbers, 2 usage."""
    return outcome(lambda: _bench(request, as_json), as_json)


def _bench(request: BenchRequest, as_json: bool) -> tuple[int, object]:
    counts = thread_counts(request.threads)
    chosen = items(Path(request.suite), request.only) if request.suite else zoo_items(request.only)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="warploom-bench-", ignore_cleanup_errors=True) as cache:
        worker = Worker(request, counts, cache)
        for row in run_suite(chosen, worker.measure, counts):
            print(line(row), file=sys.stderr, flush=True)
            rows.append(row)
    data = bench_data(rows)
    if request.out:
        write_text(Path(request.out), json.dumps(data, indent=1))
    if not as_json:
        show(rows, Console(file=sys.__stdout__, highlight=False))
    return (0 if all(r.ok for r in rows) else 1), data


@dataclass(frozen=True)
class Worker:
    """Runs the worker in processes of their own: kernel speed with malloc keeping memory, the allocator's gain without."""

    request: BenchRequest
    counts: Sequence[int]
    cache: str

    def measure(self, item: Item) -> list[Row]:
        """Rows of one problem. Raises Unreadable."""
        common = {**os.environ, "WARPLOOM_CACHE": f"{self.cache}/build", "TORCHINDUCTOR_CACHE_DIR": f"{self.cache}/inductor"}
        rows = [row_from(r) for r in self._ask(item, "race", {**common, **KEEPING})]  # type: ignore[attr-defined]
        if not rows or not rows[0].ok:
            return rows
        gain = self._ask(item, "allocator", {k: v for k, v in common.items() if k not in KEEPING})
        return [replace(row, allocator_gain=gain) for row in rows]  # type: ignore[arg-type]

    def _ask(self, item: Item, what: str, environment: Mapping[str, str]) -> object:
        request = self.request
        arguments = [item.spec, item.level, what, request.threads, str(request.budget_s), str(int(request.library))]
        answer = run_worker([sys.executable, "-c", request.worker, *arguments], request.timeout_s, environment)
        if isinstance(answer, dict) and "error" in answer:
            raise Unreadable(f"{answer['error'].get('code', '')}: {answer['error'].get('message', '')}")
        return answer


def thread_counts(text: str) -> list[int]:
    """`1,2` -> [1, 2]. Raises BadArgument."""
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise BadArgument(f"--threads {text}: expected counts such as 1,2")
    return [int(t) for t in text.split(",")]


def write_text(path: Path, text: str) -> None:
    """Raises Unreadable where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise Unreadable(f"cannot write {path}: {error.strerror or error}") from None
