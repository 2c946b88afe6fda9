"""A record comes in, the messages that a model is shown go out. The words stand in `prompts/*.j2`, so that a user can bring others.

`published`: the benchmark's request, with the same facts and instructions. `ours`: signature, launches, shapes and roofline as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jinja2

from ...evaluation.suites.outcome import Outcome
from ...evaluation.suites.record import Record
from ...ir.diagnostic import Unreadable

STYLES = ("ours", "published")
_FOLDER = Path(__file__).with_name("prompts")


@dataclass(frozen=True)
class Target:
    """The machine that an answer is for: floating point operations and bytes per second, threads, vector width in bits."""

    flops: float = 0.0
    memory: float = 0.0
    threads: int = 1
    isa: str = ""


@dataclass(frozen=True)
class Prompter:
    """Makes messages in one style; `folder` holds the templates."""

    style: str = "ours"
    folder: str = ""
    target: Target = field(default_factory=Target)

    def first(self, record: Record) -> list[dict[str, str]]:
        """The request for a first answer."""
        kind = "extension" if record.form == "extension" else "code"
        values = {"record": record, "target": self.target, "cost": _cost(record, self.target)}
        return [
            {"role": "system", "content": self._render(f"{self.style}_{kind}_system.j2", **values)},
            {"role": "user", "content": self._render(f"{self.style}_{kind}_user.j2", **values)},
        ]

    def repair(self, record: Record, outcome: Outcome) -> str:
        """What a model is told of an answer that was rejected."""
        return self._render("repair.j2", record=record, outcome=outcome)

    def profile(self, record: Record, outcome: Outcome) -> str:
        """What a model is told of an answer that is right, to make it faster."""
        return self._render("profile.j2", record=record, outcome=outcome, target=self.target, cost=_cost(record, self.target))

    def _render(self, name: str, **values) -> str:
        try:
            return _environment(self.folder).get_template(name).render(**values).strip()
        except jinja2.TemplateError as error:
            raise Unreadable(f"prompt template {name}: {type(error).__name__}: {error}") from None


@cache
def _environment(folder: str) -> jinja2.Environment:
    loader = jinja2.FileSystemLoader([folder, str(_FOLDER)] if folder else [str(_FOLDER)])
    return jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)


@dataclass(frozen=True)
class _Cost:
    """Bytes that an answer reads and writes at least, and the microseconds that this takes on the target (0: not known)."""

    bytes_in: int
    bytes_out: int
    least_us: float


def _cost(record: Record, target: Target) -> _Cost:
    read, written = (sum(a.nbytes for a in side) for side in (record.inputs, record.outputs))
    return _Cost(read, written, 1e6 * (read + written) / target.memory if target.memory else 0.0)
