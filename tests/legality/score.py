"""The mutation score of the legality checks: mutants and cases come in, verdicts go out, as a table and as JSON.

    python tests/legality/score.py                   all mutants; result.json is written beside this file (a few minutes on a quiet core)
    python tests/legality/score.py --sample 20       some of them, in under a minute; nothing is written
    python tests/legality/score.py --only WORD       those whose name has WORD in it

A mutant is killed when one case that executes the weakened function notices it. Survivors are explained in `survivors.toml`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pickle
import random
import sys
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
if __name__ == "__main__":  # started as a script; under pytest conftest.py does it
    sys.path[:0] = [str(HERE.parent / room) for room in ("legality", "fuzz", "ir", "passes")]

from corpus import Case, code_names, danger_cases, schedule_cases, table_cases, traced  # noqa: E402
from mutants import Mutant, mutants  # noqa: E402
from warploom.ir import prove  # noqa: E402

ORDER = {"refusal": 0, "meaning": 1, "danger": 2, "golden": 3, "schedule": 4}
SECONDS = 4.0
NEAR, FAR = 60, 160  # cases run that are refused at the weakened statement, and others


@dataclass(frozen=True)
class Verdict:
    """`by`: the kind of case that noticed, `why` in words; both empty for a survivor. `tried`: cases run."""

    name: str
    by: str
    why: str
    tried: int

    @property
    def killed(self) -> bool:
        return bool(self.by)


@dataclass(frozen=True)
class Corpus:
    """Cases by what they execute; `wrong`: cases in which the checks as they are let something bad through."""

    cases: Sequence[Case]
    wrong: Sequence[Case]

    def of(self, mutant: Mutant) -> list[Case]:
        """The cases worth running, those first that are refused at the weakened statement."""
        if mutant.rule is not None:
            return [c for c in self.cases if c.kind != "golden"]
        first, last = mutant.lines
        near, far = [], []
        for c in self.cases:
            if (mutant.module, mutant.function) in c.executed:
                at = any(m == mutant.module and first <= line <= last for m, line in c.refused)
                (near if at else far).append(c)
        return [*_spread(near, NEAR), *_spread(far, FAR)]


def _spread(cases: list[Case], most: int) -> list[Case]:
    """Up to `most` cases, cheap kinds first, and of each kind some from everywhere."""
    every = sorted(cases, key=lambda c: ORDER[c.kind])
    tables = [c for c in every if c.kind in ("refusal", "meaning", "golden")]
    rest = [c for c in every if c.kind not in ("refusal", "meaning", "golden")]
    step = max(1, len(rest) // most)
    return [*tables, *rest[::step][:most]]


def collect(every: Iterable[Mutant], seed: str, dangers: int, schedules: int) -> Corpus:
    codes = code_names({(m.module, m.function) for m in every})
    prove._excluded.cache_clear()
    cases, wrong = [], []
    for case in itertools.chain(table_cases(), danger_cases(seed, dangers), schedule_cases(seed, schedules)):
        (wrong if traced(case, codes) else cases).append(case)
    return Corpus(cases, wrong)


def judge(mutant: Mutant, cases: Sequence[Case], seconds: float = SECONDS) -> Verdict:
    """Run cases under the mutant until one notices, or the time is up."""
    end = time.process_time() + seconds
    tried = 0
    with mutant.applied():
        for case in cases:
            if time.process_time() > end:
                break
            tried += 1
            why = case.noticed()
            if why is not None:
                return Verdict(mutant.name, case.kind, why, tried)
    return Verdict(mutant.name, "", "", tried)


def explained() -> dict[str, str]:
    """Name of a surviving mutant -> why nothing can, or need, notice it."""
    path = HERE / "survivors.toml"
    return tomllib.loads(path.read_text()) if path.exists() else {}


def summary(verdicts: Sequence[Verdict]) -> dict[str, object]:
    killed = [v for v in verdicts if v.killed]
    by_module: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for v in verdicts:
        by_module[v.name.split(":")[0]][0] += v.killed
        by_module[v.name.split(":")[0]][1] += 1
    known = explained()
    return {
        "mutants": len(verdicts), "killed": len(killed), "score": round(len(killed) / max(1, len(verdicts)), 4),
        "killed_by": dict(Counter(v.by for v in killed)), "modules": dict(by_module),
        "survivors": [{"name": v.name, "tried": v.tried, "why": known.get(v.name, "not explained")} for v in verdicts if not v.killed],
        "verdicts": {v.name: f"{v.by}: {v.why}" for v in killed},
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Mutation score of the legality checks.")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", default="ci")
    parser.add_argument("--dangers", type=int, default=300)
    parser.add_argument("--schedules", type=int, default=450)
    parser.add_argument("--corpus", default="", help="keep the cases in this file, and take them from there")
    parser.add_argument("--out", default=str(HERE / "result.json"))
    options = parser.parse_args(arguments)
    every = mutants()
    chosen = [m for m in every if options.only in m.name]
    chosen = random.Random(options.seed).sample(chosen, options.sample) if options.sample else chosen
    begin = time.process_time()
    if options.corpus and Path(options.corpus).exists():
        corpus = pickle.loads(Path(options.corpus).read_bytes())
    else:
        corpus = collect(every, options.seed, options.dangers, options.schedules)
    if options.corpus:
        Path(options.corpus).write_bytes(pickle.dumps(corpus))
    counts = Counter(c.kind for c in corpus.cases)
    print(f"{len(every)} mutants, cases: {dict(counts)}, collected in {time.process_time() - begin:.0f} s", file=sys.stderr)
    for case in corpus.wrong:
        print(f"the checks as they are let this pass ({case.kind}, {case.noticed()}):\n{case}", file=sys.stderr)
    verdicts = []
    for m in chosen:
        v = judge(m, corpus.of(m))
        verdicts.append(v)
        print(f"{'killed  ' if v.killed else 'SURVIVED'} {v.tried:4d}  {v.name[:170]}  {v.by}: {v.why}", flush=True)
    found = {"seed": options.seed, "cases": dict(counts), **summary(verdicts)}
    print(json.dumps({k: v for k, v in found.items() if k not in ("verdicts", "survivors")}))
    if not options.sample and not options.only:
        Path(options.out).write_text(json.dumps(found, indent=1) + "\n")
    good = found["score"] >= 0.95 and not corpus.wrong  # type: ignore[operator]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
