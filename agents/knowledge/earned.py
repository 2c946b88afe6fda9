"""What a strategy of the seed rests on: an entry comes in; whether a shipped record of a run measured what its evidence says goes out.

A record (`agents.evolve.state.write_record`) holds numbers alone; `warploom evolve FILE --replay agents/knowledge/runs/RUN.json` runs it again.
"""

from __future__ import annotations

from pathlib import Path

from ..evolve.state import FOUND, read_record
from ..strategy import Evidence, Strategy, parse_strategy

RUNS = Path(__file__).with_name("runs")
SLACK = 0.02
"""Of a speed: the race in which a program was found and the last one differ by this much."""


def missing(s: Strategy) -> list[str]:
    """Why its evidence does not stand, one line a piece; empty for what stands, and for a prior."""
    return [why for e in s.evidence if (why := _missing(s, e))]


def _missing(s: Strategy, e: Evidence) -> str:
    path = RUNS / f"{e.run}.json"
    if not path.is_file():
        return f"{s.name}: no record of run {e.run}"
    settings, told = read_record(path)
    if settings.get("problem") != e.problem:
        return f"{s.name}: run {e.run} is of {settings.get('problem')}, not {e.problem}"
    measured = {key: value for kind, key, value in told if kind == "measured"}
    same = [(key, 1 / float(v["ratio"])) for kind, key, v in told if kind == FOUND and parse_strategy(str(v["strategy"])).choices == s.choices]  # type: ignore[arg-type]
    speeds = [speed for key, speed in same if key in measured]
    if not speeds:
        return f"{s.name}: run {e.run} did not measure it"
    near = min(speeds, key=lambda speed: abs(speed - e.speedup))
    return "" if abs(near - e.speedup) <= SLACK * e.speedup else f"{s.name}: run {e.run} says {near:.3f}, not {e.speedup}"
