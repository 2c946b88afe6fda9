"""A folder of problems comes in, Rows for all of them go out: each problem in a process of its own, with a time limit.

A worker is a command that prints one JSON value as the last line of its output; the caller gives it. A crash or a timeout costs one row.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from ...backends.cpu.host import host
from ...backends.toolchain import compiler
from ...frontend import zoo
from ...ir.diagnostic import Unreadable
from .race import Row, geomeans


@dataclass(frozen=True)
class Item:
    """One problem: what `load_problem` takes, its name and its level (the folder it lies in)."""

    spec: str
    name: str
    level: str


def items(folder: Path, only: str | None) -> list[Item]:
    """Problems of a suite in natural order. Raises Unreadable."""
    if not folder.is_dir():
        raise Unreadable(f"{folder} is not a folder")
    files = sorted(folder.rglob("*.py"), key=_natural)
    found = [
        Item(str(f), f.stem, f.parent.name if f.parent != folder else folder.name) for f in files if not f.name.startswith("_")
    ]
    chosen = [i for i in found if only is None or only in f"{i.level}/{i.name}"]
    if not chosen:
        raise Unreadable(f"{folder} holds no problem" + (f" whose name contains {only!r}" if only else ""))
    return chosen


def _natural(path: Path) -> tuple:
    number = path.stem.split("_")[0]
    return str(path.parent), int(number) if number.isdigit() else 1 << 30, path.stem


def zoo_items(only: str | None) -> list[Item]:
    """The models that come with the project."""
    return [Item(f"zoo:{name}", name, "zoo") for name in sorted(zoo.MODELS) if only is None or only in name]  # type: ignore[attr-defined]


def run_worker(command: Sequence[str], timeout_s: float, environment: Mapping[str, str]) -> object:
    """The worker's JSON value. Raises Unreadable when it crashes, hangs or prints none."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(environment), process_group=0
    )
    try:
        out, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise Unreadable(f"no answer within {timeout_s:.0f} s") from None
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    try:
        return json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        last = (errors.strip().splitlines() or [""])[-1]
        raise Unreadable(f"the worker ended with {process.returncode}: {last[:200]}") from None


def run_suite(chosen: Sequence[Item], measure: Callable[[Item], list[Row]], thread_counts: Sequence[int]) -> Iterator[Row]:
    """Rows as they come; a problem whose worker fails gives rows that say so."""
    for item in chosen:
        try:
            yield from measure(item)
        except Unreadable as error:
            yield from (Row(item.name, item.level, threads, error=error.message) for threads in thread_counts)


def row_from(data: Mapping[str, object]) -> Row:
    """A Row from JSON."""
    known = {f.name for f in fields(Row)}
    values = {k: v for k, v in data.items() if k in known}
    interval = values.get("interval")
    if isinstance(interval, list):
        values["interval"] = tuple(interval)
    return Row(**values)  # type: ignore[arg-type]


def bench_data(rows: Sequence[Row]) -> dict[str, object]:
    """The JSON value of `bench cpu`, machine included."""
    return {
        "rows": [{**asdict(r), "counted": r.counted} for r in rows],
        "geomean": geomeans(rows),
        "machine": machine_description(),
    }


def machine_description() -> dict[str, object]:
    machine = host()
    return {
        "cpu": machine.name, "isa": machine.isa, "cores": machine.cores, "l2": machine.l2, "l3": machine.l3, "system": platform.platform(),
        "torch": torch.__version__, "compiler": compiler().version, "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip
