"""`warploom doctor` and `warploom cache clear`: nothing comes in, a table or JSON and an exit code go out."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from ...backends.cache import cache_folder, clear
from ...backends.cpu.doctor import Examination, examine
from .outcome import outcome


def run_doctor(as_json: bool) -> int:
    """0 all that `compile` needs is here, 3 something is absent."""

    def work() -> tuple[int, object]:
        found = examine()
        if not as_json:
            Console(file=sys.__stdout__, highlight=False).print(_table(found))
        return (0 if found.ok else 3), found.data()

    return outcome(work, as_json)


def _table(found: Examination) -> Table:
    table = Table(show_header=False, title="warploom doctor", title_justify="left")
    for f in found.findings:
        table.add_row(f.name, f.value, "[green]ok[/]" if f.ok else "[red]missing[/]")
    return table


def run_cache_clear(as_json: bool) -> int:
    """Empties the cache."""

    def work() -> tuple[int, object]:
        count, nbytes = clear()
        if not as_json:
            print(f"removed {count} entries, {nbytes / 2**20:.1f} MiB, from {cache_folder()}", file=sys.__stdout__)
        return 0, {"removed": count, "bytes": nbytes, "folder": str(cache_folder())}

    return outcome(work, as_json)
