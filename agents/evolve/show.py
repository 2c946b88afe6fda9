"""The page of `warploom evolve show DIR`: a run's folder comes in, one HTML page that needs nothing else goes out: lineage, speed over time, roofline,
differences between the kernels that were accepted, the winning strategy in words.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...ir.diagnostic import Unreadable
from .charts import HUES, Row, hue, lineage, over_time, roofline
from .result import BEST
from .state import FILE, Json, State

PAGE = "evolve.html"
_UNKNOWN: Json = {"machine": "", "default_s": 0.0, "floor_s": 0.0, "flops": 0.0, "bandwidth": 0.0, "key": "", "scripts": {}, "bottlenecks": []}
_UNFINISHED: Json = {
    "command": "", "stopped": "", "speedup": None, "baseline": "", "interval": [], "speedup_over_default": None, "strategy": "", "bottlenecks": [],
    "verdict": {"accepted": False, "trials": 0},
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """From one accepted candidate to the next: lines of a diff as (class, text)."""

    title: str
    strategy: str
    lines: tuple[tuple[str, str], ...]


def page(folder: Path) -> str:
    """The page. Raises Unreadable."""
    if not (folder / FILE).is_file():
        raise Unreadable(f"{folder} is no folder of an evolve run", hint="give the --out of a run")
    state = State(folder, reading=True)
    try:
        return _rendered(state, _best(folder))
    finally:
        state.db.close()


def _best(folder: Path) -> Json:
    """What `best.json` holds; nothing where the run has not ended."""
    try:
        value = json.loads((folder / BEST).read_text(encoding="utf-8"))
    except OSError:
        return {}
    except ValueError as error:
        raise Unreadable(f"{folder / BEST} is damaged: {error}") from None
    return value if isinstance(value, dict) else {}


def _rendered(state: State, best: Json) -> str:
    told = state.told("started")
    facts = {**_UNKNOWN, **(told[0][1] if told else {})}
    rows = [_row(key, value, at) for key, value, at in state.told("individual")]
    default = str(facts.get("key", ""))
    judged = [k.split()[0] for k, v, _ in state.told("verdict") if '"accepted": true' in str(v["verdict"]) and not k.startswith("code")]
    accepted = [k for k in dict.fromkeys(judged) if k != default]
    winner = judged[-1] if judged else default
    default_s, floor_s = (float(facts.get(k) or 0) for k in ("default_s", "floor_s"))  # type: ignore[arg-type]
    roof = default_s / floor_s if floor_s else 1e9
    refused = [v for _, v, _ in state.told("refused")]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("show.html.j2").render(
        best={**_UNFINISHED, **best}, ended=bool(best), facts=facts, settings={"problem": "", **state.settings()}, rows=sorted(rows, key=lambda r: -r.speed), count=len(rows),
        time=over_time(rows, {*accepted}, roof), tree=lineage(rows, default, winner), hue=hue, hues=HUES,
        roof=roofline(rows, float(facts.get("flops") or 0), float(facts.get("bandwidth") or 0), winner),  # type: ignore[arg-type]
        changes=_changes(facts, rows, accepted), refused=Counter(_cause(v) for v in refused).most_common(), refusals=refused[-30:],
        operators=Counter(r.operator.split()[0] for r in rows).most_common(), winner=winner,
    )  # fmt: skip


def _cause(refusal: Json) -> str:
    return str(refusal["reason"]).split(":")[0]


def _row(key: str, value: Json, at: float) -> Row:
    ratio, seconds = value.get("ratio"), value.get("seconds")
    strategy = str(value["strategy"])
    first = re.match(r"strategy (.*)", strategy)
    scripts = value.get("scripts")
    return Row(
        key, first[1] if first else key, str(value["operator"]), tuple(value["parents"]), int(value["generation"]), at,  # type: ignore[arg-type]
        1 / float(ratio) if ratio else 0.0, float(seconds or 0), float(value.get("operations") or 0), float(value.get("bytes") or 0),  # type: ignore[arg-type]
        strategy, tuple(sorted(scripts.items())) if isinstance(scripts, dict) else (),
    )  # fmt: skip


def _changes(facts: Json, rows: list[Row], accepted: list[str]) -> list[Change]:
    """What each accepted candidate does otherwise than the one before."""
    by_key = {r.key: r for r in rows}
    scripts = facts.get("scripts")
    before = dict(scripts) if isinstance(scripts, dict) else {}
    out: list[Change] = []
    for key in accepted:
        row = by_key.get(key)
        if row is None:
            continue
        now = dict(row.scripts)
        out.append(Change(f"{row.speed:.3f}x: {row.name} ({row.operator}, generation {row.generation})", row.strategy, tuple(_diff(before, now))))
        before = now
    return out


def _diff(before: dict[str, str], now: dict[str, str]) -> list[tuple[str, str]]:
    """Kernels line by line, a step each."""

    def lines(scripts: dict[str, str]) -> list[str]:
        return [f"{role}: {step}" for role, script in scripts.items() for step in script.split("; ")]

    kinds = {"+": "new", "-": "old", " ": "same", "@": "gap"}
    found = list(difflib.unified_diff(lines(before), lines(now), lineterm="", n=1))[2:]
    return [(kinds.get(line[:1], "same"), line) for line in found]
