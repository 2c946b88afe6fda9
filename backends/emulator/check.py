"""Looks for what a GPU hides. A unit and its arguments come in, outputs and findings go out.

The kernel is compiled so that every load and store calls the checker (`checker.cpp`): out of bounds and misaligned accesses,
races within and between blocks, reads of memory that nobody wrote, divergent barriers, bad warp masks, deadlocks, and
elements of an output that no thread wrote. Kernels whose threads never wait pass a cheaper screen first (`screen.py`), and most end there.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..toolchain import compile_library
from .argument import Argument, copy_in, copy_out
from .execute import build, header_stamp, open_kernel
from .lines import Lines
from .screen import open_screen, screenable
from .unit import Unit, include_folder

CHECK_FLAGS = (
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=thread",
    "-fsanitize=bounds",
    "-fsanitize=alignment",
    "--param=tsan-distinguish-volatile=1",
    "--param=tsan-instrument-func-entry-exit=0",
)
CHECK_DEFINES = "#define WL_CHECK 1\n"
_ORDERS = (0, 1)


@dataclass(frozen=True)
class Place:
    """Where an access stood: its block, thread and 1-based source line."""

    thread: tuple[int, ...]
    block: tuple[int, ...]
    line: int


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with the access that shows it and, for a race, the access it collides with."""

    tool: str
    kind: str
    space: str
    kernel: str
    here: Place
    other: Place | None
    buffer: str = ""
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        other = self.other and {"thread": list(self.other.thread), "block": list(self.other.block), "line": self.other.line}
        return {
            "tool": self.tool,
            "kind": self.kind,
            "space": self.space,
            "line": self.here.line,
            "kernel": self.kernel,
            "block": list(self.here.block),
            "thread": list(self.here.thread),
            "other": other,
            "buffer": self.buffer,
            "detail": self.detail,
        }

    def __str__(self) -> str:
        what = f"{self.tool}: {self.kind} ({self.space}{' ' + self.buffer if self.buffer else ''}{': ' + self.detail if self.detail else ''})"
        where = f"line {self.here.line}, kernel {self.kernel}, block {_xyz(self.here.block)}, thread {_xyz(self.here.thread)}"
        other = (
            self.other
            and f"; the other: line {self.other.line}, block {_xyz(self.other.block)}, thread {_xyz(self.other.thread)}"
        )
        return f"{what} at {where}{other or ''}"


def _xyz(place: Sequence[int]) -> str:
    return "(" + ",".join(map(str, place)) + ")"


@functools.cache
def checker() -> ctypes.CDLL:
    """The checker's library, its hooks visible to the kernels that are loaded after it."""
    text = (Path(__file__).parent / "checker.cpp").read_text()
    flags = ("-std=gnu++17", "-O2", "-march=native", "-g", f"-I{include_folder()}", f'-DWL_STAMP="{header_stamp()}"')
    library = ctypes.CDLL(str(compile_library([text], flags, stem="checker")), mode=ctypes.RTLD_GLOBAL)
    library.wl_check_buffer.restype = ctypes.c_void_p
    library.wl_check_unwritten.restype = ctypes.c_size_t
    library.wl_check_report.restype = ctypes.c_char_p
    return library


def check_unit(
    unit: Unit,
    arguments: Sequence[Argument],
    *,
    include: Sequence[Path] = (),
    defines: Sequence[str] = (),
    constants: Sequence[tuple[str, np.ndarray]] = (),
) -> tuple[list[np.ndarray | None], list[Finding], str]:
    """Runs the unit in two orders of threads; gives the arrays of the first, all findings, and what ended a run early ("" mostly)."""
    if screenable(unit):
        clean = open_screen(unit, include=include, defines=defines, constants=constants).run(arguments)
        if clean is not None:
            return clean, [], ""
    checker()
    path = build(unit, include=include, defines=defines, flags=CHECK_FLAGS, extra=CHECK_DEFINES)
    lines = Lines(path)
    found: dict[tuple, Finding] = {}
    results, failure = [], ""
    for order in _ORDERS:
        arrays, report, problem = _run_once(_afresh(path, constants), arguments, order)
        results = results or arrays
        failure = failure or problem
        for finding in _read_report(report, lines):
            found.setdefault(_identity(finding), finding)
        for finding in _unwritten(arguments, report, unit):
            found.setdefault(_identity(finding), finding)
    return results, list(found.values()), failure


def _afresh(path: Path, constants: Sequence[tuple[str, np.ndarray]]) -> ctypes.CDLL:
    """The library with its `__device__` variables as they are before any launch, whatever ran in this process."""
    with tempfile.TemporaryDirectory(prefix="warploom-check-") as folder:
        own = Path(shutil.copy(path, folder))
        kernel = open_kernel(own, [name for name, _ in constants])
    for number, (_, values) in enumerate(constants):
        kernel.set_constant(number, values)
    return kernel.library


def _identity(f: Finding) -> tuple:
    lines = sorted((f.here.line, f.other.line if f.other else 0))
    return f.tool, f.kind, f.space, f.kernel, f.buffer, *lines


def collect(tool: ctypes.CDLL, library: Path) -> list[Finding]:
    """What the checker has found so far in code of `library`."""
    text = tool.wl_check_report().decode(errors="replace")
    found = {_identity(f): f for f in reversed(_read_report(_Report(text, ()), Lines(library)))}
    return list(reversed(found.values()))


@dataclass(frozen=True)
class _Report:
    text: str
    unwritten: tuple[tuple[str, int, int], ...]


def _run_once(library: ctypes.CDLL, arguments: Sequence[Argument], order: int) -> tuple[list[np.ndarray | None], _Report, str]:
    tool = checker()
    tool.wl_check_set_order(order)
    slots = (ctypes.c_void_p * max(1, len(arguments)))()
    keep: list[Any] = []
    for i, argument in enumerate(arguments):
        slots[i] = place(tool, argument, keep)
    library.wl_run.restype = ctypes.c_char_p
    failure = library.wl_run(slots)
    text = tool.wl_check_report().decode(errors="replace")
    arrays = [copy_out(slots[i], a.value) if isinstance(a.value, np.ndarray) else None for i, a in enumerate(arguments)]
    unwritten = (
        () if failure else tuple(_count_unwritten(tool, slots[i], a) for i, a in enumerate(arguments) if a.kind == "out")
    )
    tool.wl_check_free_buffers()
    return arrays, _Report(text, tuple(u for u in unwritten if u[1])), (failure or b"").decode(errors="replace")


def place(tool: ctypes.CDLL, argument: Argument, keep: list[Any]) -> int | None:
    """The address of the argument's copy between red zones of the checker."""
    name = argument.parameter.name.encode()
    return copy_in(argument, lambda size, item: tool.wl_check_buffer(name, ctypes.c_size_t(size), argument.kind_number, item), keep)


def _count_unwritten(tool: ctypes.CDLL, address: int | None, argument: Argument) -> tuple[str, int, int]:
    first = ctypes.c_size_t(0)
    count = tool.wl_check_unwritten(ctypes.c_void_p(address), ctypes.byref(first))
    item = argument.value.dtype.itemsize
    return argument.parameter.name, count // item, first.value // item


def _unwritten(arguments: Sequence[Argument], report: _Report, unit: Unit) -> list[Finding]:
    """One finding an output that has elements which no thread wrote, at the last kernel that takes it."""
    names = [a.parameter.name for a in arguments]
    lines = {k.name: k.line for k in unit.kernels}
    found = []
    for name, count, first in report.unwritten:
        kernel = next((c.kernel for c in reversed(unit.calls) if names.index(name) in c.arguments), "").split("<")[0]
        where = Place((0, 0, 0), (0, 0, 0), lines.get(kernel, 0))
        detail = f"{count} elements never written, the first at {first}"
        found.append(Finding("coverage", "partial-write", "global", kernel, where, None, name, detail))
    return found


def _read_report(report: _Report, lines: Lines) -> list[Finding]:
    rows = [row.split("\t") for row in report.text.splitlines()]
    lines.prepare({int(row[i]) for row in rows for i in (6, 7)})
    findings = [_finding(row, lines) for row in rows]
    return [f for f in findings if not _same_barrier(f)]


def _finding(row: list[str], lines: Lines) -> Finding:
    tool, kind, space, kernel, buffer, detail, site, other_site, block, thread, other_block, other_thread = row
    other = Place(_numbers(other_thread), _numbers(other_block), lines[int(other_site)]) if other_thread else None
    here = Place(_numbers(thread), _numbers(block), lines[int(site)])
    return Finding(tool, kind, space, kernel, here, other, buffer, detail)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _same_barrier(f: Finding) -> bool:
    """The compiler may copy a barrier: two copies of one line are one barrier."""
    return f.kind == "barrier-divergence" and f.other is not None and not f.detail and f.other.line == f.here.line
