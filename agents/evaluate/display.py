"""Progress and results come in, lines for a person go out: a bar on a terminal, plain lines elsewhere, tables at the end."""

from __future__ import annotations

import time
from collections import Counter
from typing import IO

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ...evaluation.suites.record import Suite

_EVERY_S = 10.0


class Display:
    """Shows how far a run is, with pass rate and cost so far."""

    def __init__(self, stream: IO[str]):
        self._console = Console(file=stream, highlight=False)
        self._bar: Progress | None = None
        self._tasks: dict = {}
        self._said = 0.0

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console)
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, what: str, value: dict) -> None:
        """One step further."""
        note = ""
        if value.get("judged"):
            note = f"pass {value['right']}/{value['judged']} ({100 * value['right'] / value['judged']:.0f}%)  {value['cost']:.4f} USD  {value['tokens']} tokens"
        if self._bar:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(what, total=value["of"], note="")
            self._bar.update(self._tasks[what], completed=value["done"], note=note)
        elif value["done"] == value["of"] or time.monotonic() - self._said > _EVERY_S:
            self._said = time.monotonic()
            self._console.print(f"{what} {value['done']}/{value['of']}  {note}".rstrip())


def list_table(suite: Suite) -> Group:
    """What a path holds."""
    categories: dict[str, list] = {}
    for r in suite.records:
        categories.setdefault(r.category, []).append(r)
    table = Table(title=f"{suite.name}: {len(suite.records)} records", title_justify="left")
    for column in ("category", "records", "cannot be read"):
        table.add_column(column)
    for name, records in categories.items():
        table.add_row(escape(name), str(len(records)), str(sum(bool(r.defects) for r in records)))
    rows = Table(show_edge=False)
    for column in ("id", "operator", "arguments", "defects"):
        rows.add_column(column, overflow="fold")
    for r in suite.records:
        rows.add_row(escape(_shown(r.id)), escape(_shown(r.operator)), str(len(r.arguments) or ""), escape("; ".join(r.defects)))
    notes = [f"not read: {escape(_shown(line))}" for line in suite.unread]
    return Group(table, rows, *notes)


def audit_table(suite: Suite, audits: dict[str, dict]) -> Group:
    """The findings of an audit."""
    table = Table(title=f"audit of {suite.name}", title_justify="left")
    for column in ("id", "operator", "verdict", "CUDA side", "torch", "what"):
        table.add_column(column, overflow="fold")
    for r in suite.records:
        a = audits[r.id]
        verdict = "[red]defective[/]" if a["defects"] else "[yellow]weak test[/]" if a["weak"] else "sound"
        what = "; ".join([*a["defects"], *a["weak"]])
        cuda = "agrees" if a["facts"].get("cuda", "").startswith("agrees") else ("-" if "cuda" not in a["facts"] else "disagrees")
        torch = a["facts"].get("torch", "-")
        table.add_row(escape(_shown(r.id)), escape(_shown(r.operator)), verdict, cuda, escape(torch), escape(_shown(what)))
    bad = sum(bool(a["defects"]) for a in audits.values())
    weak = sum(bool(a["weak"]) and not a["defects"] for a in audits.values())
    return Group(table, f"{len(audits)} records: {len(audits) - bad} sound ({weak} with a weak test), {bad} defective")


def probe_table(suite: Suite, rows: list[dict]) -> Group:
    """How deliberately wrong answers are judged: a line a kind, then each that is classed wrongly."""
    table = Table(title=f"wrong answers to {suite.name}", title_justify="left")
    for column in ("answer", "judged", "rightly", "verdicts"):
        table.add_column(column, overflow="fold")
    for kind in dict.fromkeys(r["answer"] for r in rows):
        mine = [r for r in rows if r["answer"] == kind]
        verdicts = ", ".join(f"{v} {n}" for v, n in Counter(r["verdict"] for r in mine).most_common())
        table.add_row(kind, str(len(mine)), str(sum(r["rightly"] for r in mine)), verdicts)
    wrong = [f"{_shown(r['id'])}, {r['answer']}: {r['verdict']} for {' or '.join(r['expected'])}; {_shown(r['detail'])}" for r in rows if not r["rightly"]]
    return Group(table, *map(escape, wrong), f"{len(rows) - len(wrong)} of {len(rows)} rightly")


def result_table(value: dict) -> Table:
    """The leaderboard."""
    table = Table(title=f"{value['suite']}, {value['protocol']}: {value['sound']} sound of {value['records']} records", title_justify="left")
    names = sorted(value["models"], key=lambda n: -(value["models"][n]["pass@1"] or 0))
    k = max([int(key[5:]) for m in value["models"].values() for key in m if key.startswith("pass@") and key[5:].isdigit()], default=1)
    columns = ["model", "compiles", "pass@1", *([f"pass@{k}"] if k > 1 else []), "geomean speedup", "tokens", "USD", "failures"]
    for column in columns:
        table.add_column(column, overflow="fold")
    for name in names:
        m = value["models"][name]
        cells = [escape(_shown(name)), _percent(m["compile_rate"]), f"{_percent(m['pass@1'])} {_interval(m.get('pass@1_interval'))}"]
        cells += [_percent(m.get(f"pass@{k}"))] if k > 1 else []
        failures = ", ".join(f"{c} {n}" for c, n in m["classes"].items() if c != "right")
        cells += [_number(m["geomean_speedup"], "x"), str(m["tokens"]), _number(m["cost_usd"]), failures]
        table.add_row(*cells)
    return table


def _shown(text: str) -> str:
    """Text from outside, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def _percent(x: float | None) -> str:
    return "-" if x is None else f"{100 * x:.1f}%"


def _interval(pair) -> str:
    return f"[dim]({100 * pair[0]:.0f}-{100 * pair[1]:.0f})[/]" if pair else ""


def _number(x: float | None, unit: str = "") -> str:
    return "-" if x is None else f"{x:.3g}{unit}"
