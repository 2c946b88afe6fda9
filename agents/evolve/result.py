"""What a run leaves: an `Outcome` comes in; `best.json`, the winner's source file and the pack of its kernels go into the folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...backends.chosen import Chosen
from ...evaluation.candidate import stated_launch
from ...evaluation.verdict import Verdict
from ..strategy import GRAPH_MARK, Strategy, print_strategy
from .candidate import Candidate
from .judged import SUFFIX
from .state import Json
from .subject import Subject

BEST = "best.json"


def header(subject: Subject, strategy: Strategy, verdict: Verdict | None, command: str) -> list[str]:
    """The lines at the top of a winner's source: problem, verdict, command, strategy."""
    lines = [f"problem: {subject.problem.name}", f"command: {command}"]
    if verdict is not None:
        said = "accepted" if verdict.accepted else "refused: " + ", ".join(verdict.reasons)
        speed = f", {verdict.speedup:.2f}x eager" if verdict.speedup else ""
        lines.append(f"verdict: {said} after {verdict.trials} checked calls{speed}, {verdict.threads} thread(s)")
    return [*lines, *print_strategy(strategy).rstrip().splitlines()]


def write_winner(folder: Path, subject: Subject, candidate: Candidate, strategy: Strategy, verdict: Verdict, command: str) -> str:
    """The source file and the pack; the file's name goes out."""
    name = f"winner{SUFFIX['c++']}"
    _replace(folder / name, subject.source(candidate.module, header(subject, strategy, verdict, command)))
    write_pack(folder, subject, candidate)
    return name


def write_pack(folder: Path, subject: Subject, candidate: Candidate) -> None:
    """What `compile(kernels=...)` takes."""
    decided = dict(candidate.strategy.choices)
    decisions = {n: decided.get(n, own) for n, (own, _) in candidate.space.items() if GRAPH_MARK not in n}
    Chosen(subject.problem.name, subject.machine.isa, decisions, candidate.scripts).write(folder)


def write_code(folder: Path, subject: Subject, strategy: Strategy, verdict: Verdict, command: str, stem: str = "winner") -> str:
    """Free code under its header, below the line that states a launch; the file's name goes out."""
    mark = "#" if strategy.language == "python" else "//"
    name = f"{stem}{SUFFIX[strategy.language]}"
    lines = [f"{mark} {line}" for line in header(subject, replace(strategy, code="", language=""), verdict, command)]
    launch, code = "", strategy.code
    if strategy.language == "cuda" and stated_launch(code):
        launch, _, code = code.partition("\n")
    _replace(folder / name, "\n".join([*[launch] * bool(launch), *lines, "", code, ""]))
    return name


def write_best(folder: Path, fields: Mapping[str, object]) -> Json:
    """`best.json`, whole or not at all."""
    value = dict(fields)
    _replace(folder / BEST, json.dumps(value, indent=1))
    return value


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
