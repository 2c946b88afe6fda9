"""Runs come in, `report.json`, `report.csv` and `report.html` go out."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ...evaluation.suites.record import Suite
from ...ir.diagnostic import MissingTool
from ..llm import without_keys
from .state import State

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


def merged(runs: Sequence[tuple[str, dict]]) -> dict:
    """Several runs as one report; a model that stands in several is told apart by its run's name."""
    if len(runs) == 1:
        return runs[0][1]
    counts: dict[str, int] = {}
    for _, value in runs:
        for name in value["models"]:
            counts[name] = counts.get(name, 0) + 1
    models = {
        (name if counts[name] == 1 else f"{name} ({run})"): figures for run, value in runs for name, figures in value["models"].items()
    }
    first = runs[0][1]
    return {**first, "models": models, "paired": [p for _, v in runs for p in v["paired"]], "runs": [run for run, _ in runs]}


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
