"""A folder of labelled candidates comes in, the judge's precision and recall with their 95% bounds go out.

Layout: one folder per task with `task.py` and candidates whose first line says what to expect: `// expect: accepted`, or the codes
that fit, the best first (`# expect: ...` in Python).
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from ..ir.diagnostic import Unreadable, WarploomError
from .candidate import LANGUAGES, read_candidate
from .mutants import sample
from .task import read_task
from .verdict import MEANING

_EXPECT = re.compile(r"^\s*(?://|#)\s*expect:\s*([a-z\- ]+?)\s*$")


@dataclass(frozen=True)
class Labelled:
    """A candidate file of the zoo and the codes that fit it (`accepted` alone for an honest one)."""

    task: Path
    path: Path
    expected: tuple[str, ...]

    @property
    def honest(self) -> bool:
        """True for candidates that must be accepted."""
        return self.expected == ("accepted",)


@dataclass(frozen=True)
class Outcome:
    """What the judge said of one labelled candidate."""

    labelled: Labelled
    accepted: bool
    reasons: tuple[str, ...]
    seconds: float
    message: str

    @property
    def fits(self) -> bool:
        """True where the first code is one of those expected."""
        return self.accepted if self.labelled.honest else bool(self.reasons) and self.reasons[0] in self.labelled.expected


@dataclass(frozen=True)
class Score:
    """All outcomes. A rejection is the positive answer: precision is how many rejected ones deserved it, recall how many cheats were caught."""

    outcomes: tuple[Outcome, ...]

    @property
    def clean(self) -> bool:
        """True where every honest one was accepted and every cheat rejected."""
        return all(o.accepted == o.labelled.honest for o in self.outcomes)

    def counts(self) -> dict[str, int]:
        """Cheats caught and missed, honest ones accepted and condemned, codes that fit."""
        cheats = [o for o in self.outcomes if not o.labelled.honest]
        honest = [o for o in self.outcomes if o.labelled.honest]
        return {
            "caught": sum(not o.accepted for o in cheats), "cheats": len(cheats),
            "accepted": sum(o.accepted for o in honest), "honest": len(honest),
            "fitting": sum(o.fits for o in cheats),
        }  # fmt: skip

    def to_dict(self) -> dict:
        """For `--json`."""
        n = self.counts()
        rejected = n["caught"] + n["honest"] - n["accepted"]
        return {
            **n, "recall": n["caught"] / max(1, n["cheats"]), "recall_interval": wilson(n["caught"], n["cheats"]),
            "precision": n["caught"] / max(1, rejected), "precision_interval": wilson(n["caught"], rejected),
            "median_s": statistics.median([o.seconds for o in self.outcomes] or [0.0]),
            "surprises": [{"file": _short(o.labelled.path), "expected": o.labelled.expected, "reasons": o.reasons, "message": o.message} for o in self.outcomes if not o.fits],
        }  # fmt: skip

    def table(self) -> Table:
        """For a person: the figures, then every verdict that was not as expected."""
        d = self.to_dict()
        table = Table(title=f"{len(self.outcomes)} candidates, median {d['median_s']:.1f} s")
        for column in ("what", "value", "95% interval"):
            table.add_column(column)
        table.add_row("recall (cheats rejected)", f"{d['caught']}/{d['cheats']}", _interval(d["recall_interval"]))
        table.add_row("precision (rejections deserved)", f"{d['precision']:.3f}", _interval(d["precision_interval"]))
        table.add_row("honest accepted", f"{d['accepted']}/{d['honest']}", _interval(wilson(d["accepted"], d["honest"])))
        table.add_row("first code fits", f"{d['fitting']}/{d['cheats']}", _interval(wilson(d["fitting"], d["cheats"])))
        for s in d["surprises"]:
            table.add_row(s["file"], " ".join(s["reasons"]) or "accepted", "expected " + " ".join(s["expected"]))
        return table


def wilson(hits: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """95% score interval of a proportion (Wilson 1927); (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    p, n = hits / trials, trials
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))


def read_zoo(folder: str | Path) -> list[Labelled]:
    """All labelled candidates below a folder. Raises `Unreadable` where there are none."""
    found = []
    for task in sorted(Path(folder).glob("*/task.py")):
        for path in sorted(task.parent.iterdir()):
            label = _label(path) if path.suffix in LANGUAGES and path.name != "task.py" else None
            if label:
                found.append(Labelled(task, path, label))
    if not found:
        raise Unreadable(
            f"no labelled candidates below {str(folder)!r}",
            hint="FOLDER/TASK/task.py and candidates that begin with `// expect: CODE`",
        )
    return found


def _label(path: Path) -> tuple[str, ...] | None:
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [file.readline(), file.readline()]
    for line in lines:
        match = _EXPECT.match(line)
        if match:
            codes = tuple(match.group(1).split())
            unknown = [c for c in codes if c != "accepted" and c not in MEANING]
            if unknown:
                raise Unreadable(f"{path.name} expects unknown codes: {' '.join(unknown)}")
            return codes
    return None


def judge_zoo(folder: str | Path, judge, progress: Callable[[str], None]) -> Score:
    """Judges every labelled candidate of a folder, in order."""
    outcomes = []
    for labelled in read_zoo(folder):
        outcome = _judge_one(labelled, judge)
        outcomes.append(outcome)
        mark = "ok " if outcome.fits else "?? " if outcome.accepted == labelled.honest else "!! "
        said = "accepted" if outcome.accepted else " ".join(outcome.reasons)
        progress(
            f"{mark}{_short(labelled.path):<44} {outcome.seconds:5.1f} s  {said}"
            + ("" if outcome.fits else f"  (expected {' '.join(labelled.expected)}: {outcome.message})")
        )
    return Score(tuple(outcomes))


@dataclass(frozen=True)
class Escapes:
    """Mutants judged: how many were rejected by kind of change, and which passed."""

    judged: dict[str, int]
    passed: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict:
        """For `--json`."""
        total = sum(self.judged.values())
        return {
            "mutants": total,
            "rejected": total - len(self.passed),
            "interval": wilson(total - len(self.passed), total),
            "by_change": self.judged,
            "passed": self.passed,
        }

    def table(self) -> Table:
        """For a person: counts per kind of change, then every mutant that passed."""
        d = self.to_dict()
        table = Table(title=f"{d['rejected']} of {d['mutants']} mutants rejected, 95% {_interval(d['interval'])}")
        table.add_column("change")
        table.add_column("judged")
        table.add_column("passed", overflow="fold")
        for change, count in sorted(self.judged.items()):
            table.add_row(change, str(count), ", ".join(name for kind, name in self.passed if kind == change))
        return table


def judge_mutants(folder: str | Path, count: int, seed: int, judge, progress: Callable[[str], None]) -> Escapes:
    """Derives `count` mutants from the honest C and C++ kernels of a zoo and judges them."""
    honest = [x for x in read_zoo(folder) if x.honest and x.path.suffix in {".c", ".cpp"}]
    drawn = sample([(str(x.task), read_candidate(x.path)) for x in honest], count, seed)
    judged: dict[str, int] = {}
    passed: list[tuple[str, str]] = []
    for task, mutant in drawn:
        try:
            verdict = judge.verdict(read_task(task), mutant.candidate)
        except WarploomError as error:
            progress(f"-- {mutant.candidate.name}: {error}")
            continue
        judged[mutant.change] = judged.get(mutant.change, 0) + 1
        name = f"{Path(task).parent.name}/{mutant.candidate.name}"
        if verdict.accepted:
            passed.append((mutant.change, name))
        progress(f"{'!! ' if verdict.accepted else 'ok '}{name:<64} {' '.join(verdict.reasons) or 'accepted'}")
    return Escapes(judged, tuple(passed))


def _judge_one(labelled: Labelled, judge) -> Outcome:
    try:
        verdict = judge.verdict(read_task(labelled.task), read_candidate(labelled.path))
    except WarploomError as error:
        return Outcome(labelled, False, (), 0.0, str(error))
    message = "; ".join(f"{f.message} {f.where}" for f in verdict.findings)
    return Outcome(labelled, verdict.accepted, verdict.reasons, verdict.seconds, message)


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _interval(bounds: tuple[float, float]) -> str:
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"
