"""What is told about one compiled model. The driver fills a Report in; `terminal`, `page` and `Report.to_json` show it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...ir.machine import Machine


@dataclass(frozen=True)
class KernelRow:
    """One launch: times in seconds, `share` of the run, `roofline` the fraction of the roofline it reaches (0: unknown)."""

    name: str
    kind: str
    operators: tuple[str, ...]
    seconds: float
    share: float
    flops: float
    nbytes: float
    roofline: float
    naive: str
    script: str
    source: str


@dataclass(frozen=True)
class ExternRow:
    """A call that ATen runs: `library` where a measurement chose it for an operator that we own."""

    op: str
    reason: str
    seconds: float
    share: float
    library: bool = False


@dataclass(frozen=True)
class Report:
    """`times`: medians in seconds by contender, `intervals`: 95% of (contender / warploom). `notes`: what a reader must know.
    `device`: of a GPU target: how it was checked, cubins, launches. `numerics`: of each lossy pass, what it changed, where, and the distance."""

    name: str
    machine: Machine
    threads: int
    compile_s: float
    max_error: float
    ok: bool
    kernels: tuple[KernelRow, ...]
    externs: tuple[ExternRow, ...]
    prepared: tuple[str, ...]
    graph: str
    steps: tuple[str, ...]
    arena_bytes: int
    times: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    device: Mapping[str, object] = field(default_factory=dict)
    numerics: tuple[Mapping[str, object], ...] = ()

    @property
    def run_s(self) -> float:
        """Seconds of one run: as timed against others, else the sum of the steps."""
        return self.times.get("warploom") or sum(k.seconds for k in self.kernels) + sum(e.seconds for e in self.externs)

    def data(self) -> dict[str, object]:
        """The fields of CONTRACT (`compile --json`), and more."""
        return {
            "ok": self.ok,
            "max_error": self.max_error,
            "compile_s": self.compile_s,
            "kernels": [_kernel(k) for k in self.kernels],
            "extern": [{"op": e.op, "reason": e.reason, "share": e.share, "library": e.library} for e in self.externs],
            "time_ms": {name: self._milliseconds(name) for name in ("warploom", "eager", "inductor")},
            "threads": self.threads,
            "name": self.name,
            "speedup_interval": {name: list(pair) for name, pair in self.intervals.items()},
            "arena_bytes": self.arena_bytes,
            "machine": {"cpu": self.machine.name, "isa": self.machine.isa, "cores": self.machine.cores},
            "notes": list(self.notes),
            **({"device": self.device} if self.device else {}),
            **({"numerics": list(self.numerics)} if self.numerics else {}),
        }

    def _milliseconds(self, name: str) -> float | None:
        return self.times[name] * 1e3 if name in self.times else None

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.data(), indent=2)

    def __str__(self) -> str:
        """The tables of `warploom compile`, 100 columns wide."""
        import io

        from rich.console import Console

        from .terminal import show

        text = io.StringIO()
        show(self, Console(file=text, width=100, highlight=False))
        return text.getvalue()

    def to_html(self) -> str:
        """A self-contained page."""
        from .page import page

        return page(self)


def _kernel(k: KernelRow) -> dict[str, object]:
    return {
        "name": k.name, "kind": k.kind, "operators": list(k.operators), "time_ms": k.seconds * 1e3, "share": k.share,
        "flops": k.flops, "bytes": k.nbytes, "roofline": k.roofline, "script": k.script,
    }  # fmt: skip
