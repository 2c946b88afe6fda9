"""How well forecasts order programs: a pool of `warploom bench evolve --pool POOL` comes in; one line a problem, and the means, go out.

    python -m tests.agents.evolve.forecasts SUITE POOL

`rank`: Spearman's correlation of forecast and measured time over all programs of the pool, and over the faster half; `four`: the share of
the largest measured gain (of its logarithm) that the best four by forecast hold; `size`: forecast over measured time of the default schedule.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from warploom.agents.evolve.candidate import Workshop
from warploom.agents.evolve.forecast import forecast
from warploom.agents.evolve.state import State
from warploom.agents.evolve.subject import read_subject
from warploom.agents.strategy import Strategy, parse_strategies
from warploom.backends.cpu.peaks import measured


def rank(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, ties broken by order."""
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1]) if len(a) > 2 else math.nan


def quality(problem: Path, pool: Path) -> tuple[int, float, float, float, float]:
    """(programs, rank, rank of the faster half, four, size)."""
    subject = read_subject(str(problem), measured())
    workshop, state = Workshop(subject), State(pool, reading=True)
    default = workshop.make(Strategy("default schedule"))

    def seconds(candidate) -> float:
        return sum(forecast(k, subject.machine) for k in candidate.kernels.values())

    usual, said, took, whole = seconds(default), [], [], []
    for _, value, _ in state.told("pool"):
        if value.get("strategy") and value["ratio"]:
            (strategy,) = parse_strategies(str(value["strategy"]))
            said.append(math.log(seconds(workshop.make(strategy)) / usual))
            took.append(math.log(float(value["ratio"])))
            whole.append(float(value["seconds"]) / float(value["ratio"]))
    x, y = np.array(said), np.array(took)
    best = max(1e-9, -float(y.min(initial=0.0)))
    half = y <= np.median(y) if len(y) else y.astype(bool)
    four = max(0.0, -float(y[np.argsort(x, kind="stable")[:4]].min(initial=0.0))) / best
    return len(x), rank(x, y), rank(x[half], y[half]), four, usual / float(np.median(whole)) if whole else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", type=Path)
    parser.add_argument("pool", type=Path)
    args = parser.parse_args()
    rows = []
    for problem in sorted(args.suite.glob("*.py")):
        if (args.pool / problem.stem).is_dir():
            rows.append(quality(problem, args.pool / problem.stem))
            n, all_, half, four, size = rows[-1]
            print(f"{problem.stem:36} {n:4} programs  rank {all_:5.2f}, faster half {half:5.2f}  four {four:4.2f}  size {size:5.2f}", flush=True)
    if rows:
        means = np.nanmean(np.array(rows), axis=0)
        print(f"{'mean':36} {int(sum(r[0] for r in rows)):4} programs  rank {means[1]:5.2f}, faster half {means[2]:5.2f}  four {means[3]:4.2f}")


if __name__ == "__main__":
    main()
