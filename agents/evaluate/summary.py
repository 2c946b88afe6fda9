"""A run folder's state and its suite come in, the report's figures go out: one value that is printed as `report.json`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ...evaluation.metrics import Paired, bootstrap, fast_p, geometric_mean, paired, pass_at_k, speedup_at_k, wilson
from ...evaluation.suites.outcome import Outcome
from ...evaluation.suites.record import Suite
from .state import Exchange, Key, State

THRESHOLDS = (0.0, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
SLOW = 0.8
# Failure classes in the order in which they are shown, with the verdicts that fall into them.
CLASSES = {
    "no answer": {"no-answer"},
    "extraction": {"extraction"},
    "compile": {"compile-error"},
    "crash": {"crash", "memory", "out-of-bounds", "sandbox-violation"},
    "timeout": {"timeout"},
    "wrong": {
        "wrong-result", "wrong-shape", "nondeterministic", "partial-read", "partial-write", "precision-downgrade", "cached-result",
        "input-mutation", "timer-tamper", "faster-than-roofline",
    },
    "hollow": {"hollow"},
    "library call": {"library-call", "reference-call"},
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One sample's last word: the outcome of its last round, the best one where a right answer was to be made faster."""

    key: Key
    outcome: Outcome
    exchange: Exchange | None
    rounds: int


def class_of(outcome: Outcome) -> str:
    """The failure class, `right` or `too slow` (right, but below 0.8 of the baseline's speed)."""
    if outcome.accepted:
        return "too slow" if outcome.speedup is not None and outcome.speedup < SLOW else "right"
    return next((name for name, codes in CLASSES.items() if outcome.verdict in codes), "wrong")


def samples_of(state: State) -> dict[str, list[Sample]]:
    """The samples of each model, in the order of their ids."""
    exchanges, rounds = state.exchanges(), defaultdict(dict)
    for key, value in state.outcomes().items():
        rounds[key.model, key.id, key.sample][key.round] = Outcome.from_dict(value)
    made: dict[str, list[Sample]] = defaultdict(list)
    for (model, id_, sample), by_round in rounds.items():
        last = _last_word(by_round)
        key = Key(model, id_, sample, last)
        made[model].append(Sample(key, by_round[last], exchanges.get(key), len(by_round)))
    return made


def _last_word(by_round: dict[int, Outcome]) -> int:
    """The fastest accepted round, else the last."""
    right = [n for n, o in by_round.items() if o.accepted]
    return max(right, key=lambda n: (by_round[n].speedup or 0.0, -n)) if right else max(by_round)


def report(state: State, suite: Suite, models: Sequence[str] = ()) -> dict:
    """The contract's report with further figures beside them. Rates are over sound records."""
    settings, audits = state.settings(), state.audits()
    defective = [{"id": r.id, "reason": "; ".join(audits[r.id]["defects"])} for r in suite.records if audits.get(r.id, {}).get("defects")]
    bad = {d["id"] for d in defective}
    weak = [
        {"id": r.id, "reason": "; ".join(audits[r.id]["weak"])}
        for r in suite.records
        if r.id not in bad and audits.get(r.id, {}).get("weak")
    ]
    sound = [r.id for r in suite.records if r.id not in bad]
    counted = [r.id for r in suite.records if not r.defects] if settings.get("protocol") == "original" else sound
    per_model, order = samples_of(state), {r.id: n for n, r in enumerate(suite.records)}
    names = list(models) or settings.get("models") or list(per_model)
    figures = {name: _figures(state, name, per_model.get(name, []), counted, suite, settings.get("samples", 1), order) for name in names}
    others = _other_baselines(audits, per_model)
    for name in names:
        figures[name]["speedups"] = _speedups(per_model.get(name, []), counted, others, name)
    return {
        "suite": suite.name, "protocol": settings.get("protocol", "strict"), "records": len(suite.records), "sound": len(sound),
        "defective": defective, "weak": weak, "unread": list(suite.unread), "models": figures, "paired": _comparisons(per_model, names, counted),
        "settings": {k: v for k, v in settings.items() if k not in {"format"}}, "stopped": settings.get("stopped", {}),
    }  # fmt: skip


def _other_baselines(audits: dict[str, dict], per_model: dict[str, list[Sample]]) -> dict[str, dict[str, float]]:
    """For each further baseline and record, how many times as fast as the record's own baseline it is: what audits timed, and the rules."""
    made: dict[str, dict[str, float]] = defaultdict(dict)
    for id_, found in audits.items():
        for name, speed in (found.get("speeds") or {}).items():
            made[name][id_] = speed
    for s in per_model.get("rules", []):
        if s.outcome.accepted and s.outcome.speedup:
            made["rules"].setdefault(s.key.id, s.outcome.speedup)
    return made


def _speedups(samples: list[Sample], counted: list[str], others: dict[str, dict[str, float]], model: str) -> dict[str, dict]:
    """The geometric mean over right answers against each baseline that is known, with its interval and the number of answers."""
    right = [s for s in samples if s.outcome.accepted and s.outcome.speedup and s.key.id in set(counted)]
    against = {s.outcome.baseline: {} for s in right} | {k: v for k, v in others.items() if k != model}
    made = {}
    for name, speeds in against.items():
        known = [s for s in right if s.outcome.baseline == name or s.key.id in speeds]
        if known:
            values = [(s.outcome.speedup or 1.0) / speeds.get(s.key.id, 1.0) for s in known]
            made[name] = {"geomean": geometric_mean(values), "interval": bootstrap(values, [s.key.id for s in known]), "answers": len(values)}
    return made


def audit_report(suite: Suite, audits: dict[str, dict], protocol: str) -> dict:
    """The report of an audit alone."""
    defective = [{"id": r.id, "reason": "; ".join(audits[r.id]["defects"])} for r in suite.records if audits[r.id]["defects"]]
    weak = [{"id": r.id, "reason": "; ".join(audits[r.id]["weak"])} for r in suite.records if not audits[r.id]["defects"] and audits[r.id]["weak"]]
    return {
        "suite": suite.name, "protocol": protocol, "records": len(suite.records), "sound": len(suite.records) - len(defective),
        "defective": defective, "weak": weak, "unread": list(suite.unread),
        "findings": [{"id": r.id, "operator": r.operator, "category": r.category, **audits[r.id]["facts"]} for r in suite.records],
    }  # fmt: skip


def _figures(state: State, name: str, samples: list[Sample], counted: list[str], suite: Suite, k: int, order: dict[str, int]) -> dict:
    samples = sorted(samples, key=lambda s: (order.get(s.key.id, 1 << 30), s.key.sample))
    mine = [s for s in samples if s.key.id in set(counted)]
    spent = [e for key, e in state.exchanges().items() if key.model == name]
    unknown = any(e.cost is None for e in spent)
    return {
        **_rates(mine, counted, k),
        "tokens": sum(e.tokens_in + e.tokens_out for e in spent),
        "tokens_in": sum(e.tokens_in for e in spent),
        "tokens_out": sum(e.tokens_out for e in spent),
        "cost_usd": None if unknown else round(sum(e.cost or 0.0 for e in spent), 10),
        "answer_s": sum(e.seconds for e in spent),
        "judge_s": sum(s.outcome.seconds for s in samples),
        "unasked": len(counted) * k - len(mine),
        "failed_requests": sum(model == name for model, _ in state.failures()),
        "categories": _categories(mine, counted, suite, k),
        "samples": [_row(s) for s in samples],
    }


def _rates(mine: list[Sample], counted: list[str], k: int) -> dict:
    by_record: dict[str, list[Sample]] = defaultdict(list)
    for s in mine:
        by_record[s.key.id].append(s)
    right = [s for s in mine if s.outcome.accepted]
    fast = [s for s in right if s.outcome.speedup]
    speeds = [s.outcome.speedup for s in fast if s.outcome.speedup]
    complete = {i: v for i, v in by_record.items() if len(v) >= k}
    trials = len(mine)
    failed_at_one = [max(1e-6, s.outcome.speedup) if s.outcome.accepted and s.outcome.speedup else 1.0 for s in mine]
    speed_rows = [s.outcome.speedup if s.outcome.accepted else None for s in mine]
    return {
        "compile_rate": _share(sum(s.outcome.compiled for s in mine), trials),
        "compile_interval": wilson(sum(s.outcome.compiled for s in mine), trials),
        "pass@1": _mean([pass_at_k(len(v), sum(s.outcome.accepted for s in v), 1) for v in by_record.values()]),
        "pass@1_interval": wilson(len(right), trials),
        **{f"pass@{n}": _mean([pass_at_k(len(v), sum(s.outcome.accepted for s in v), n) for v in complete.values()]) for n in _ks(k) if n > 1},
        "geomean_speedup": geometric_mean(speeds),
        "geomean_interval": bootstrap(speeds, [s.key.id for s in fast]),
        "geomean_all": geometric_mean(failed_at_one),
        "geomean_all_interval": bootstrap(failed_at_one, [s.key.id for s in mine]),
        "fast_p": dict(zip(map(str, THRESHOLDS), fast_p([s if s is None else (s or 1e-9) for s in speed_rows], THRESHOLDS))),
        **{f"speedup@{n}": _mean([speedup_at_k([_speed(s) for s in v], n) for v in complete.values()]) for n in _ks(k)},
        "classes": dict(Counter(class_of(s.outcome) for s in mine)),
        "verdicts": dict(Counter(s.outcome.verdict for s in mine)),
        "records_asked": len(by_record),
        "baseline": next((s.outcome.baseline for s in right if s.outcome.baseline), ""),
    }


def _speed(s: Sample) -> float:
    return (s.outcome.speedup or 0.0) if s.outcome.accepted else 0.0


def _ks(k: int) -> list[int]:
    return sorted({1, k, *(n for n in (2, 5, 10, 25, 50, 100) if n < k)})


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _categories(mine: list[Sample], counted: list[str], suite: Suite, k: int) -> dict:
    category = {r.id: r.category for r in suite.records}
    made = {}
    for name in dict.fromkeys(category[i] for i in counted):
        inside = [s for s in mine if category[s.key.id] == name]
        rates = _rates(inside, [i for i in counted if category[i] == name], k)
        kept = ("compile_rate", "pass@1", "pass@1_interval", "geomean_speedup", "geomean_interval", "geomean_all", "classes")
        made[name] = {"records": sum(category[i] == name for i in counted), **{key: rates[key] for key in kept}}
    return made


def _row(s: Sample) -> dict:
    o = s.outcome
    return {
        "id": s.key.id, "sample": s.key.sample, "verdict": o.verdict, "speedup": o.speedup, "interval": o.interval, "time_ms": o.time_ms,
        "baseline_ms": o.baseline_ms, "class": class_of(o), "detail": o.detail, "notes": list(o.notes), "rounds": s.rounds,
        "tokens": (s.exchange.tokens_in + s.exchange.tokens_out) if s.exchange else 0, "cost_usd": s.exchange.cost if s.exchange else None,
    }  # fmt: skip


def _comparisons(per_model: dict[str, list[Sample]], names: Sequence[str], counted: list[str]) -> list[dict]:
    speeds = {
        name: {
            (s.key.id, s.key.sample): ((s.outcome.speedup or 1.0) if s.outcome.accepted else None)
            for s in per_model.get(name, [])
            if s.key.id in set(counted)
        }
        for name in names
    }
    return comparisons(speeds)


def comparisons(speeds: dict[str, dict[tuple[str, int], float | None]]) -> list[dict]:
    """Each pair of models on the samples that both have: (record, sample) -> the speedup, None where it was not right."""
    made, names = [], list(speeds)
    for at, first in enumerate(names):
        for second in names[at + 1 :]:
            shared = sorted(set(speeds[first]) & set(speeds[second]))
            if shared:
                found: Paired = paired([speeds[first][k] for k in shared], [speeds[second][k] for k in shared], [i for i, _ in shared])
                made.append({"first": first, "second": second, "samples": len(shared), **vars(found)})
    return made
