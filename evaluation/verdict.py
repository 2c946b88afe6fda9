"""What the judge answers: findings under stable codes come in, a `Verdict` that prints to JSON and parses back goes out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from ..ir.diagnostic import Unreadable, WarploomError

MEANING = {
    "compile-error": "it does not compile",
    "crash": "it crashed or left in the middle of a call",
    "timeout": "it did not return in time",
    "memory": "it asked for more memory than allowed",
    "wrong-result": "its numbers are wrong",
    "wrong-shape": "its outputs have the wrong number, shape or dtype",
    "nondeterministic": "equal inputs gave results that differ by more than rounding",
    "partial-read": "input that should matter does not change its output",
    "partial-write": "parts of an output were never written",
    "out-of-bounds": "it touched memory beside its buffers",
    "precision-downgrade": "it computes in less than the task's precision",
    "cached-result": "it hands out results of earlier calls",
    "input-mutation": "it changed its inputs",
    "reference-call": "it calls the library operator that it should replace",
    "timer-tamper": "it interferes with clocks",
    "sandbox-violation": "it tried what a kernel has no reason to do",
    "faster-than-roofline": "it is faster than the hardware allows",
}


class CannotJudge(WarploomError):
    """The task gives no verdict to hold a candidate against: its file raises, hangs, or is random. Correct the task."""

    code = "WL-E057"


@dataclass(frozen=True)
class Finding:
    """One reason for a rejection: a code of `MEANING`, what was seen, and where (`output 0 [3, 17], family sparse`)."""

    code: str
    message: str
    where: str = ""

    def __post_init__(self):
        if self.code not in MEANING:
            raise ValueError(f"unknown verdict code {self.code!r}")


@dataclass(frozen=True)
class Measured:
    """Times of one interleaved run in ms per call; `interval` is a 95% interval of the speedup, `threads` what both sides had."""

    time_ms: float
    baseline_ms: float
    warm_ms: float
    speedup: float
    interval: tuple[float, float]
    rounds: int
    noise: float
    baseline: str = "eager"
    threads: int = 0


@dataclass(frozen=True)
class Verdict:
    """The contract's fields, then what a reader needs to trust them.

    `max_error` is the absolute error of the element that stands worst against its own allowance, `tolerance` that
    allowance, `reference_error` what float32 eager makes there. `trials` counts calls whose outputs were checked.
    """

    accepted: bool
    reasons: tuple[str, ...]
    max_error: float | None = None
    tolerance: float | None = None
    reference_error: float | None = None
    speedup: float | None = None
    time_ms: float | None = None
    roofline_fraction: float | None = None
    trials: int = 0
    findings: tuple[Finding, ...] = ()
    measured: Measured | None = None
    bound_ms: float | None = None
    bound: str = ""
    threads: int = 0
    seconds: float = 0.0
    overhead_s: float = 0.0
    notes: tuple[str, ...] = ()
    task: str = ""
    candidate: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """One JSON object; `Verdict.from_json` gives an equal value back."""
        return json.dumps(_finite(asdict(self)), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """Parses what `to_json` printed. Raises `Unreadable`."""
        try:
            raw = json.loads(text)
            measured = raw.pop("measured", None)
            return cls(
                **{
                    **raw,
                    "reasons": tuple(raw["reasons"]),
                    "notes": tuple(raw.get("notes", ())),
                    "findings": tuple(Finding(**f) for f in raw.get("findings", ())),
                    "measured": Measured(**{**measured, "interval": tuple(measured["interval"])}) if measured else None,
                }
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Unreadable(f"not a verdict: {error}") from None


def _finite(value):
    """JSON has no infinity: such numbers become null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not (-float("inf") < value < float("inf")):
        return None
    return value


def rejected(findings: list[Finding], **seen) -> Verdict:
    """A rejection with each code once, in the order found."""
    return Verdict(accepted=False, reasons=tuple(dict.fromkeys(f.code for f in findings)), findings=tuple(findings), **seen)
