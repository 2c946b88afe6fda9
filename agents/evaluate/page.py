"""Runs come in, one self-contained HTML page goes out: leaderboard, charts, audit, and each sample with its texts side by side.

Everything from outside is data in one JSON block, which the page's script shows as text only.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2

from ...evaluation.suites.record import Record, Suite
from ..llm import without_keys
from .charts import PALETTE, charts, drawing_script
from .extract import extract
from .publish import Opened, merged, names_of
from .state import Key

_MOST_TEXT = 40_000
_MOST_SAMPLES = 4000


def page(runs: Sequence[Opened], suites: dict[str, Suite]) -> str:
    """The page's text. Raises `MissingTool` where Altair is not installed."""
    value, short = _shortened(merged([(name, v) for name, v, _ in runs]))
    drawn = charts(value)
    texts = _Texts()
    samples = _samples(runs, suites, {key: short[name] for key, name in names_of([(name, v) for name, v, _ in runs]).items()}, texts)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.get_template("page.html.j2")
    return template.render(
        value=value, board=_board(value), k=_most_k(value), charts=[(title, words) for title, words, _ in drawn], runs=_folders([name for name, _, _ in runs]),
        specifications=_embedded([spec for _, _, spec in drawn]), data=_embedded({"samples": samples, "texts": texts.kept}), script=drawing_script(),
        facts=_facts(value), baselines=_baselines(value), against=list(dict.fromkeys(b for m in value["models"].values() for b in m["speedups"])),
        colours={name: PALETTE[i % len(PALETTE)] for i, name in enumerate(value["models"])},
    )  # fmt: skip


def _folders(names: list[str]) -> list[str]:
    """The folders' own names where these tell them apart: where they lay is nobody's business."""
    own = [Path(n).name or n for n in names]
    return own if len(set(own)) == len(own) else names


def _shortened(value: dict) -> tuple[dict, dict[str, str]]:
    """The report with the folders left out of file names, where names stay apart, best model first; and the short name of each."""
    names = sorted(value["models"], key=lambda n: -(value["models"][n]["pass@1"] or 0))
    short = {n: re.sub(r"^echo:[^ ]*/", "echo:", n) for n in names}
    if len(set(short.values())) < len(short):
        short = {n: n for n in names}
    pairs = [{**p, "first": short.get(p["first"], p["first"]), "second": short.get(p["second"], p["second"])} for p in value["paired"]]
    return {**value, "models": {short[n]: value["models"][n] for n in names}, "paired": pairs}, short


def _embedded(value) -> str:
    """JSON that cannot end its script element; secrets of the environment are left out."""
    text = without_keys(json.dumps(value, ensure_ascii=True, separators=(",", ":")))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class _Texts:
    """Each text once; samples refer to it by number."""

    def __init__(self):
        self.kept: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        if len(text) > _MOST_TEXT:
            text = text[:_MOST_TEXT] + f"\n... {len(text) - _MOST_TEXT} more characters"
        if text not in self._numbers:
            self._numbers[text] = len(self.kept)
            self.kept.append(text)
        return self._numbers[text]


def _board(value: dict) -> list[dict]:
    """The rows of the leaderboard, best first."""
    rows = [{"name": name, **m} for name, m in value["models"].items()]
    return sorted(rows, key=lambda r: (-(r["pass@1"] or 0), -(r["geomean_all"] or 0)))


_BASELINES = {"c_code": "the record's own C code", "eager": "torch eager"}


def _baselines(value: dict) -> str:
    found = dict.fromkeys(m["baseline"] for m in value["models"].values() if m["baseline"])
    return " or ".join(_BASELINES.get(str(b), str(b)) for b in found) or "the record's baseline"


def _facts(value: dict) -> list[tuple[str, str]]:
    """What another person needs to run it again, as pairs of words."""
    settings, machine = value["settings"], value["settings"].get("machine") or {}
    sampling = settings.get("sampling") or {}
    drawn = ", ".join(f"{k} {v}" for k, v in sampling.items())
    found = {
        "protocol": value["protocol"],
        "records": f"{value['records']} ({settings['records']} is the digest of their texts)" if "records" in settings else str(value["records"]),
        "samples": str(settings.get("samples", "")),
        "prompt": settings.get("prompt", ""),
        "sampling": f"{drawn}, seed {settings.get('seed', 0)}" if drawn else "",
        "rounds": f"{settings.get('repair', 0)} of repair, {settings.get('profile_guided', 0)} guided by times",
        "machine": ", ".join(map(str, machine.values())),
        "stopped early": "; ".join(f"{k}: {v}" for k, v in (value.get("stopped") or {}).items()),
    }
    return [(k, v) for k, v in found.items() if v]


def _most_k(value: dict) -> int:
    return max([int(key[5:]) for m in value["models"].values() for key in m if key.startswith("pass@") and key[5:].isdigit()], default=1)


def _samples(runs: Sequence[Opened], suites: dict[str, Suite], names: dict[tuple[str, str], str], texts: _Texts) -> list[dict]:
    made = []
    for run, one, state in runs:
        records, exchanges = {r.id: r for r in suites[run].records}, state.exchanges()
        outcomes = state.outcomes()
        for model, figures in one["models"].items():
            for row in figures["samples"][:_MOST_SAMPLES]:
                record = records.get(row["id"])
                if record is not None:
                    made.append(_sample(names[run, model], row, record, exchanges, outcomes, Key(model, row["id"], row["sample"]), texts))
    return made


def _sample(shown: str, row: dict, record: Record, exchanges: dict, outcomes: dict, key: Key, texts: _Texts) -> dict:
    rounds = []
    for number in range(64):
        exchange = exchanges.get(Key(key.model, key.id, key.sample, number))
        if exchange is None:
            break
        told = outcomes.get(Key(key.model, key.id, key.sample, number), {})
        code = extract(exchange.answer, record).code
        rounds.append(
            {
                "prompt": texts.number(_spoken(exchange.prompt)), "answer": texts.number(exchange.answer), "verdict": told.get("verdict", ""),
                "detail": told.get("detail", ""), "speedup": told.get("speedup"), "notes": [*(told.get("notes") or []), *([exchange.note] if exchange.note else [])],
                "diff": texts.number(_difference(record, code)),
            }
        )  # fmt: skip
    return {
        "model": shown, "id": row["id"], "operator": record.operator, "category": record.category, "sample": row["sample"], "verdict": row["verdict"],
        "class": row["class"], "speedup": row["speedup"], "time_ms": row["time_ms"], "baseline_ms": row["baseline_ms"], "detail": row["detail"],
        "cuda": texts.number(record.cuda), "rounds": rounds,
    }  # fmt: skip


def _spoken(prompt: str) -> str:
    try:
        messages = json.loads(prompt) if prompt else []
        return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in messages)
    except (ValueError, TypeError, KeyError):
        return prompt


def _difference(record: Record, code: str) -> str:
    """How the answer's code differs from the record's own C side, or from the CUDA where there is none."""
    base, name = (record.c_code, "the record's C") if record.c_code else (record.cuda, "the record's CUDA")
    if not code or len(base) + len(code) > 200_000:
        return ""
    return "\n".join(difflib.unified_diff(base.splitlines(), code.splitlines(), name, "the answer", lineterm="", n=2))
