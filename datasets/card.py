"""The card of a data set: its files come in, README.md in Hugging Face form with plots goes out."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..ir.diagnostic import Unreadable
from ..ir.version import VERSION
from .coverage import covered, of_benchmark, of_rows
from .export import PAIRS, REJECTS, read_rows, unpacked
from .plot import bars, histogram
from .record import LICENSE, SCHEMA, Pair
from .run_sides import SHORT_US
from .state import FILE, writing

MOST_EXPLAINED = 40
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1 << 60, "100K<n<1M"))


def write_card(folder: Path, beside: Path | None = None) -> dict[str, Any]:
    """Writes README.md and the plots anew; `beside`: a folder of HPCTransEval records whose coverage stands next to ours. Returns the card's numbers.
    Raises Unreadable."""
    rows = [unpacked(r) for r in read_rows(folder)]
    rejects = read_rows(folder, REJECTS)
    try:
        plots = _plots(rows, rejects)
        facts = _facts(folder, rows, rejects, beside, list(plots))
    except (KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{folder / PAIRS} has a corrupted row: {type(error).__name__}: {error}") from None
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = environment.get_template("card.md.j2").render(facts)
    path = folder / "README.md"
    with writing(folder):
        (folder / "plots").mkdir(exist_ok=True)
        for name, svg in plots.items():
            (folder / "plots" / f"{name}.svg").write_text(svg)
        path.write_text(text)
    return {k: v for k, v in facts.items() if k not in ("columns", "plots")}


def _facts(folder: Path, rows: Sequence[dict], rejects: Sequence[dict], beside: Path | None, plots: list[str]) -> dict[str, Any]:
    ours = covered(of_rows(rows))
    theirs = covered(of_benchmark(beside)) if beside else None
    measured = [r["times"] for r in rows if r["times"]["naive_c_us"] >= SHORT_US and r["times"]["c_us"] >= SHORT_US]
    return {
        "pairs": len(rows), "rejects": len(rejects), "license": LICENSE.lower(), "schema": SCHEMA, "version": VERSION, "plots": plots,
        "size": next(name for most, name in _SIZES if len(rows) < most), "pairs_file": PAIRS, "rejects_file": REJECTS,
        "splits": sorted(Counter(r["split"] for r in rows).items()), "families": len({r["family"] for r in rows}),
        "columns": list(Pair.model_fields), "categories": sorted(Counter(r["category"] for r in rows).items()),
        "coverage": [(name, n, theirs.row()[name] if theirs else None) for name, n in ours.row().items()], "beside": beside is not None,
        "geomean": _geomean([t["speedup"] for t in measured]), "measured": len(measured), "slow": sum(t["interval"][1] < 0.9 for t in measured),
        "threads": sorted({r["times"]["threads"] for r in rows}), "machines": sorted({r["times"]["machine"] for r in rows}),
        "cuda_machines": sorted({r["provenance"]["cuda_machine"] for r in rows}), "strategies": _strategies(rows), "makers": sorted(Counter(r["provenance"].get("cuda_by", f"warploom {VERSION}") for r in rows).items()),
        "watched": sum(r["verdicts"]["cuda"]["check"] == "clean" for r in rows), "reasons": sorted(Counter(f"{r['code']} ({r['side']})" for r in rejects).items()),
        "fallen": sum(r["c_strategy"]["name"] == "naive" for r in rows), "explained": [_explained(r) for r in rejects[:MOST_EXPLAINED]],
        "processor_seconds": _mean([r["provenance"].get("processor_seconds", 0.0) for r in rows]), "yielded": len(rows) / max(1, len(rows) + len(rejects)), **_work(folder),
    }  # fmt: skip


def _explained(reject: dict) -> tuple[int, str, str]:
    """Number, operators and reason of a rejection."""
    return reject["number"], " + ".join(json.loads(reject["operators"])), f"{reject['code']}, {reject['reason'][:200]}"


def _strategies(rows: Sequence[dict]) -> list[tuple[str, int, int]]:
    c, cuda = (Counter(r[k]["name"] for r in rows) for k in ("c_strategy", "cuda_strategy"))
    return [(name, cuda[name], c[name]) for name in ("naive", "default", "tuned", "dlight")]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def _geomean(values: Sequence[float]) -> float | None:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def _work(folder: Path) -> dict[str, Any]:
    """What the state remembers of the build; nothing where the folder has no state (it was copied without)."""
    path = folder / FILE
    if not path.is_file():
        return {"minutes": None, "rate": None, "skipped": []}
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        seconds, finished = db.execute("SELECT coalesce(sum(seconds), 0), coalesce(sum(finished), 0) FROM spell").fetchone()
        skipped = db.execute("SELECT why, times FROM skipped ORDER BY times DESC").fetchall()
    finally:
        db.close()
    return {"minutes": seconds / 60, "rate": 60 * finished / seconds if seconds else None, "skipped": skipped}


def _plots(rows: Sequence[dict], rejects: Sequence[dict]) -> dict[str, str]:
    categories = Counter(r["category"] for r in rows)
    lengths = [float(len(r["c_source"].splitlines())) for r in rows]
    cuda = [float(len(r["cuda_source"].splitlines())) for r in rows]
    speedups = [r["times"]["speedup"] for r in rows if r["times"]["c_us"] >= SHORT_US]
    yields = [("pairs", float(len(rows))), *((f"rejected: {r}", float(n)) for r, n in Counter(x["code"] for x in rejects).items())]
    return {
        "categories": bars("Pairs by category", [(k, float(n)) for k, n in categories.most_common()]),
        "cuda_lines": bars("Lines of the CUDA side", histogram(cuda, (0, 20, 40, 80, 160, 320, 640))),
        "c_lines": bars("Lines of the C side", histogram(lengths, (0, 50, 100, 200, 400, 800, 1600))),
        "speedups": bars("C side over its naive form", histogram(speedups, (0, 0.9, 1.1, 1.5, 2, 4, 8, 16), "x")),
        "yield": bars("Programs by outcome", yields),
    }
