"""Runs come in, `report.json`, `report.csv` and `report.html` go out."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ...evaluation.suites.record import Suite
from ...ir.diagnostic import MissingTool, WarploomError
from ..llm import without_keys
from .state import State
from .summary import comparisons

_COLUMNS = ("run", "model", "id", "category", "sample", "verdict", "class", "speedup", "time_ms", "baseline_ms", "rounds", "tokens", "cost_usd", "detail")
Opened = tuple[str, dict, State]


def write_reports(runs: Sequence[Opened], suites: dict[str, Suite], folder: Path, say: Callable[[str], None]) -> None:
    """Writes the three files; without Altair the page is left out, with a line that says so."""
    value = runs[0][1] if len(runs) == 1 else merged([(name, v) for name, v, _ in runs])
    _write(folder / "report.json", without_keys(json.dumps(value, indent=1)) + "\n")
    _write_csv(folder / "report.csv", runs, suites)
    try:
        from .page import page

        _write(folder / "report.html", without_keys(page(runs, suites)))
    except MissingTool as error:
        say(f"no report.html: {error.message} ({error.hint})")


class NotComparable(WarploomError):
    """Runs of different suites or records have no common figures. Report each on its own."""

    code = "WL-E097"


def names_of(runs: Sequence[tuple[str, dict]]) -> dict[tuple[str, str], str]:
    """For each run and model the name in a common report: the model's own where it stands in one run only, else with protocol or run."""
    protocols = {run: value["protocol"] for run, value in runs}
    mine = [(run, name) for run, value in runs for name in value["models"]]
    alike = {name: [run for run, other in mine if other == name] for _, name in mine}

    def shown(run: str, name: str) -> str:
        if len(alike[name]) == 1:
            return name
        apart = len({protocols[r] for r in alike[name]}) == len(alike[name])
        return f"{name} ({protocols[run] if apart else Path(run).name or run})"

    made = {key: shown(*key) for key in mine}
    return made if len(set(made.values())) == len(made) else {key: f"{key[1]} ({key[0]})" for key in mine}


def merged(runs: Sequence[tuple[str, dict]]) -> dict:
    """Several runs of one suite as one report. Models of different runs are compared on the samples that both have. Raises `NotComparable`."""
    if len(runs) == 1:
        return runs[0][1]
    told = {(value["suite"], value["settings"].get("records")) for _, value in runs}
    if len(told) > 1:
        raise NotComparable(f"runs of {', '.join(sorted({s for s, _ in told}))} over different records", hint="report each of them on its own")
    names = names_of(runs)
    models = {names[run, name]: figures for run, value in runs for name, figures in value["models"].items()}
    first = max((value for _, value in runs), key=lambda v: len(v["defective"]))
    protocols = ", ".join(dict.fromkeys(value["protocol"] for _, value in runs))
    stopped = {k: v for _, value in runs for k, v in (value.get("stopped") or {}).items()}
    return {**first, "protocol": protocols, "models": models, "paired": _pairs(models), "runs": [run for run, _ in runs], "stopped": stopped}


def _pairs(models: dict[str, dict]) -> list[dict]:
    rows = {
        name: {(s["id"], s["sample"]): ((s["speedup"] or 1.0) if s["verdict"] == "accepted" else None) for s in figures["samples"]}
        for name, figures in models.items()
    }
    return comparisons(rows)


def _write_csv(path: Path, runs: Sequence[Opened], suites: dict[str, Suite]) -> None:
    partial = path.with_suffix(".csv.partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for name, value, _ in runs:
            category = {r.id: r.category for r in suites[name].records}
            for model, figures in value["models"].items():
                for row in figures["samples"]:
                    full = {**row, "run": name, "model": model, "category": category.get(row["id"], "")}
                    writer.writerow({k: without_keys(v) if isinstance(v, str) else v for k, v in full.items()})
    os.replace(partial, path)


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, encoding="utf-8", errors="replace")
    os.replace(partial, path)
