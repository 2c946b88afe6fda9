"""What was measured on this machine: a question's text and its answer come in, the answer goes out again on a later compile.

Answers are entries of the build cache (atomic, checksummed, bounded, shared by processes). A question is asked anew when the machine, the
number of threads, torch or our own code generator is another one.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..backends.cache import keep, kept
from ..ir.machine import Machine

_ROOMS = ("ir", "passes", "backends/cpu")

Record = dict[str, object]


@functools.cache
def code_digest() -> str:
    """Of the sources that decide what code a kernel becomes."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256(torch.__version__.encode())
    for room in _ROOMS:
        for path in sorted(p for p in (root / room).rglob("*") if p.suffix in (".py", ".h")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Records:
    """The answers for one machine and number of threads."""

    machine: Machine
    threads: int

    def recall(self, kind: str, question: str) -> Record | None:
        """The record kept for a question, None where there is none that can be read."""
        data = kept(self._name(kind, question))
        try:
            record = json.loads(data) if data is not None else None
        except ValueError:
            return None
        return record if isinstance(record, dict) else None

    def keep(self, kind: str, question: str, record: Record) -> None:
        keep(self._name(kind, question), json.dumps(record).encode())

    def _name(self, kind: str, question: str) -> str:
        m = self.machine
        text = "\0".join([m.name, m.isa, str(m.cores), str(self.threads), code_digest(), question])
        return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


class StoredScripts(Mapping[str, str]):
    """Tuned schedule scripts by `kernel_key`, read when asked for; the store cannot be listed, so that iteration is empty."""

    def __init__(self, records: Records):
        self.records = records

    def __getitem__(self, key: str) -> str:
        record = self.records.recall("tuned", key)
        if record is None or not isinstance(script := record.get("script"), str):
            raise KeyError(key)
        return script

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
