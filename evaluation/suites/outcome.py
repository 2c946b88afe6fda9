"""What one answer to a record came to: made of the judge's verdict, kept in run folders, shown in reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from ..verdict import Finding, Verdict


@dataclass(frozen=True)
class Outcome:
    """`verdict` is a code of the contract; `detail` one line for a person; `speedup` over the record's baseline, None unless accepted.

    `first_wrong` says where the first wrong element stands and what is right there; `notes` what was done to the answer's text.
    """

    verdict: str
    detail: str = ""
    speedup: float | None = None
    interval: tuple[float, float] | None = None
    time_ms: float | None = None
    baseline_ms: float | None = None
    baseline: str = ""
    roofline_fraction: float | None = None
    reasons: tuple[str, ...] = ()
    first_wrong: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """True for a right and honest answer, slow ones included."""
        return self.verdict == "accepted"

    @property
    def compiled(self) -> bool:
        """True where the answer's code got as far as running."""
        return self.verdict not in {"no-answer", "extraction", "compile-error"}

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict) -> Outcome:
        """The inverse of `to_dict`."""
        pair = value.get("interval")
        tuples = {k: tuple(value.get(k) or ()) for k in ("reasons", "notes")}
        return cls(**{**value, **tuples, "interval": tuple(pair) if pair else None})


def outcome_of(verdict: Verdict, baseline: str) -> Outcome:
    """The judge's verdict as an outcome; speeds only where it is accepted."""
    first = verdict.findings[0] if verdict.findings else None
    wrong = next((f for f in verdict.findings if f.code == "wrong-result"), None)
    measured = verdict.measured if verdict.accepted else None
    return Outcome(
        verdict="accepted" if verdict.accepted else verdict.reasons[0],
        detail=_said(first) if first else "",
        speedup=measured.speedup if measured else None,
        interval=measured.interval if measured else None,
        time_ms=measured.time_ms if measured else None,
        baseline_ms=measured.baseline_ms if measured else None,
        baseline=baseline,
        roofline_fraction=verdict.roofline_fraction,
        reasons=verdict.reasons,
        first_wrong=_said(wrong) if wrong else "",
        notes=(*verdict.notes, *(["timed on one thread: several bring neither side anything"] if measured and measured.threads < verdict.threads else [])),
    )


def _said(finding: Finding) -> str:
    return f"{finding.message} ({finding.where})" if finding.where else finding.message
