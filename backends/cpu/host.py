"""Describes the CPU that this process runs on: /proc and /sys come in, an `ir.machine.Machine` goes out."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from ...ir.diagnostic import WarploomError
from ...ir.machine import Machine
from ..toolchain import cores
from .isa import ISAS, cpu_flags


class UnknownIsa(WarploomError):
    """`WARPLOOM_ISA` names no instruction set of this machine. Unset it, or choose one that the message lists."""

    code = "WL-E051"


@dataclass(frozen=True)
class _Caches:
    l1: int = 32 << 10
    l2: int = 512 << 10
    l3: int = 8 << 20


@functools.cache
def host() -> Machine:
    """This machine, with the widest ISA it has (`WARPLOOM_ISA` chooses a narrower one). Peaks are 0 until `peaks.measured` fills them in."""
    features = cpu_flags()
    caches = _caches()
    return Machine(_model_name(), _isa(features), cores(), caches.l1, caches.l2, caches.l3, features)


def _isa(features: frozenset[str]) -> str:
    have = [isa.name for isa in ISAS if isa.needs <= features]
    chosen = os.environ.get("WARPLOOM_ISA")
    if chosen and chosen not in have:
        raise UnknownIsa(f"WARPLOOM_ISA={chosen} is not available here", hint="available: " + ", ".join(have))
    return chosen or have[0]


@functools.cache
def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    first = path.read_text().split("\n\n", 1)[0] if path.exists() else ""
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _model_name() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _caches() -> _Caches:
    sizes = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if (index / "type").read_text().strip() != "Instruction":
            text = (index / "size").read_text().strip()
            sizes["l" + (index / "level").read_text().strip()] = int(text[:-1]) << {"K": 10, "M": 20}[text[-1]]
    return _Caches(**{k: v for k, v in sizes.items() if k in ("l1", "l2", "l3")})
