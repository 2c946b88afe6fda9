"""A CSV of claimed times and a device come in, a judgement of each claim goes out: possible, impossible, or only in less precision.

The bytes and operations that a problem needs are derived by running its reference. Of the bytes those that the last-level cache could hold
from the run before are not counted: all of them where the working set fits, half a cache's worth otherwise (outputs pass through it too).
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from ..ir.diagnostic import Unreadable, WarploomError
from .devices import Device, find_device
from .host import ReferenceHost, ReferenceProcess
from .task import read_task, read_text

OPEN_S = 120.0
WINOGRAD = 4.0  # multiplications that F(4x4, 3x3) saves at most (Lavin and Gray 2016)


@dataclass(frozen=True)
class Claim:
    """One row. `impossible` is None where the problem cannot be read; `floor_ms` is the least time that the device allows."""

    problem: str
    time_ms: float | None
    impossible: bool | None
    implies_precision: str | None
    floor_ms: float | None
    reason: str

    def to_dict(self) -> dict:
        """For `--json`."""
        return asdict(self)


def judge_claims(path: str | Path, device_name: str) -> list[Claim]:
    """Judges every row of the file. Raises `Unreadable`, `UnknownDevice`."""
    device = find_device(device_name)
    rows = _rows(path)
    host = ReferenceHost(1)
    try:
        return [_judge(Path(path).parent, problem, time, device, host) for problem, time in rows]
    finally:
        host.close()


def _rows(path: str | Path) -> list[tuple[str, str]]:
    reader = csv.DictReader(io.StringIO(read_text(path, "claims")))
    names = {(n or "").strip(): n for n in reader.fieldnames or []}
    if not {"problem", "time_ms"} <= set(names):
        raise Unreadable(f"claims {str(path)!r} lack the columns problem, time_ms")
    return [((row[names["problem"]] or "").strip(), (row[names["time_ms"]] or "").strip()) for row in reader]


def _judge(folder: Path, problem: str, written: str, device: Device, host: ReferenceHost) -> Claim:
    try:
        time_ms = float(written)
    except ValueError:
        return Claim(problem, None, None, None, None, f"unreadable time {written[:40]!r}")
    if not (math.isfinite(time_ms) and time_ms > 0):
        return Claim(problem, None, None, None, None, f"unreadable time {written[:40]!r}")
    reference = None
    try:
        task = read_task(folder / problem)
        reference = ReferenceProcess(host)
        cost = reference.call("needs", task, timeout=OPEN_S)
    except WarploomError as error:
        return Claim(problem, time_ms, None, None, None, error.message)
    finally:
        if reference:
            reference.close()
    return hold(problem, time_ms, cost, device)


def hold(problem: str, time_ms: float, cost, device: Device) -> Claim:
    """Holds one time against what the device allows."""
    cache = device.cache_mib * 2**20
    counted = max(0.0, cost.bytes - cache / 2) if cost.bytes > cache else 0.0
    moving = counted / (device.bandwidth * 1e9) * 1e3
    flops = cost.contraction_flops - cost.convolution_flops * (1 - 1 / WINOGRAD)
    computing = flops / (device.fastest * 1e12) * 1e3
    floor = max(moving, computing)
    speed, rate = cost.bytes / time_ms / 1e6, flops / time_ms / 1e9
    if time_ms < floor and moving >= computing:
        reason = f"moves {cost.bytes / 1e6:.4g} MB, so it needs {speed:.0f} GB/s; {device.name} has {device.bandwidth:.0f}"
    elif time_ms < floor:
        reason = (
            f"computes {flops / 1e9:.4g} Gflop, so it needs {rate:.4g} Tflop/s; {device.name} has {device.fastest:.4g} at most"
        )
    else:
        reason = f"{speed:.0f} GB/s and {rate:.3g} Tflop/s" + (" (its data fit in the cache)" if cost.bytes <= cache else "")
    weaker = _needed_precision(rate, device)
    if weaker and time_ms >= floor:
        reason += f"; float32 gives {device.fp32:.4g} Tflop/s, {weaker} is needed"
    return Claim(problem, time_ms, time_ms < floor, weaker, floor, reason)


def _needed_precision(rate: float, device: Device) -> str | None:
    """The most exact arithmetic that is fast enough where float32 is not."""
    for name, peak in device.precisions():
        if rate <= peak:
            return None if name == "float32" else name
    return device.precisions()[-1][0]


def table(rows: list[Claim], device_name: str) -> Table:
    """For a person: the impossible first."""
    device = find_device(device_name)
    bad = sum(bool(r.impossible) for r in rows)
    made = Table(title=f"{len(rows)} claims on {device.name} ({device.bandwidth:.0f} GB/s, {device.source}): {bad} impossible")
    for column in ("problem", "ms", "at least", "verdict", "why"):
        made.add_column(column, overflow="fold")
    for r in sorted(rows, key=lambda r: (not r.impossible, r.implies_precision is None)):
        word = (
            "[red]impossible"
            if r.impossible
            else "[yellow]not judged"
            if r.impossible is None
            else f"[yellow]implies {r.implies_precision}"
            if r.implies_precision
            else "possible"
        )
        made.add_row(
            r.problem,
            "" if r.time_ms is None else f"{r.time_ms:.4g}",
            "" if r.floor_ms is None else f"{r.floor_ms:.4g}",
            word,
            r.reason,
        )
    return made
