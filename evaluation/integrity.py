"""Failed calls come in, findings under the fitting codes go out.

A wrong output says that something is off; further runs say what: the same case in fresh processes tells kept state from wrong
arithmetic, single changed inputs tell data that is never read, and float64 results of rounded inputs name a weaker type.
"""

from __future__ import annotations

import numpy as np

from .contained import Contained, Ended
from .correctness import Case, compare
from .signature import as_float64
from .trial import Failure, Trial
from .verdict import CannotJudge, Finding

PROBES = 64
# Families in which rounding inputs to a weaker type neither overflows nor underflows.
ORDINARY = (
    "own",
    "touch",
    "few",
    "mixed sign",
    "many zeros",
    "spikes",
    "all negative",
    "scaled rows",
    "heavy row",
    "low variance",
    "constant rows",
)
SPARSE = ("touch", "few", "many zeros")


def named(findings: list[Finding], trial: Trial) -> list[Finding]:
    """All findings of a rejected trial, the most specific first."""
    named_failures = _diagnose(trial) if trial.failures else []
    return [*findings, *named_failures]


def _diagnose(trial: Trial) -> list[Finding]:
    first = trial.failures[0]
    left = _left_poison(trial)
    if left:
        return [left, first.finding("wrong-result")]
    try:
        downgrade = _downgrade(trial)
        if downgrade:
            return [downgrade]
        state = _state(trial, first)
        if state:
            return [state, first.finding("wrong-result")]
        unread, explains = _unread(trial)
        if unread:
            wrong = first.finding("wrong-result")
            return [unread, wrong] if explains else [wrong, unread]
    except (Ended, CannotJudge) as error:
        return [first.finding("wrong-result", f"({error}) ")]
    return [first.finding("wrong-result")]


# ---- poison ----
def _left_poison(trial: Trial) -> Finding | None:
    """Elements that hold what lay there before: certain with the finite poison, since NaN also spreads by arithmetic."""
    suspects = [f for f in trial.failures if any(m.poison for m in f.misses)]
    if not suspects:
        return None
    sure = next((f for f in suspects if f.poisoned == "finite"), None)
    if sure is None:
        sure = _again(trial, suspects[0], "finite")
    if sure is None:
        return None
    miss = next(m for m in sure.misses if m.poison)
    return Finding(
        "partial-write",
        f"{miss.count} elements of output {miss.output} were not written, the first at {list(miss.first)}",
        f"inputs {sure.case.family!r}",
    )


def _again(trial: Trial, failure: Failure, poisoned: str) -> Failure | None:
    """The failure's case in a fresh process with other poison, if that leaves poison too."""
    try:
        contained = trial.start(2, trial.threads)
        seen = len(trial.failures)
        trial.call(contained, 0, failure.case, poisoned)
        new = trial.failures[seen:]
        contained.close()
    except Ended:
        return None
    return next((f for f in new if any(m.poison for m in f.misses)), None)


# ---- weaker types ----
def _downgrade(trial: Trial) -> Finding | None:
    ordinary = [f for f in trial.failures if f.case.family.startswith(ORDINARY)]
    for failure in ordinary[:2] or trial.failures[:1]:
        name = _matches_weaker(trial, failure, 0.5)
        if name and _matches_elsewhere(trial, ordinary, failure):
            return failure.finding("precision-downgrade", f"matches {name} arithmetic: ")
    telling = [f for f in ordinary if _present(f) >= 16]
    sparse = [f for f in telling if f.case.family.startswith(SPARSE)]  # mostly values that a weaker type holds exactly
    dense = [f for f in telling if f not in sparse]
    small = [f for f in dense if _is_small_and_everywhere(f)]
    if dense and dense[0] in small and len(small) >= 0.6 * len(dense) and all(map(_is_small, sparse)) and _tiny_is_fine(trial):
        return dense[0].finding("precision-downgrade", "small errors everywhere: ")
    return None


def _matches_elsewhere(trial: Trial, ordinary: list[Failure], failure: Failure) -> bool:
    """One number may come near a weaker type's by chance; several do not."""
    if failure.outputs[failure.worst.output].size >= 16:
        return True
    others = [f for f in ordinary if f is not failure][:3]
    return len(others) >= 2 and all(_matches_weaker(trial, f, 0.1) for f in [failure, *others])


def _matches_weaker(trial: Trial, failure: Failure, share: float) -> str | None:
    """The weaker type whose rounded inputs or outputs explain the result better than float32 does."""
    at = failure.worst.output
    argument = trial.outputs[at]
    if not argument.is_float:
        return None
    got, exact = as_float64(failure.outputs[at], argument.dtype), failure.case.outputs[at].value
    far = _distance(got, exact)
    if not np.isfinite(far) or far == 0:
        return None
    for name, bits in (("bf16", 16), ("fp16 or tf32", 13)):
        if (
            argument.dtype == "float32"
            and got.size >= 8
            and _low_bits_are_zero(failure.outputs[at], bits)
            and far < 0.02 * _scale(exact)
        ):
            return name
    try:
        weaker = trial.cases.reference.call("weaker", failure.case.key, timeout=60.0)
    except CannotJudge:
        return None
    distances = {name: _distance_from_weaker(got, np.load(files[at])) for name, files in weaker.items()}
    best = min(distances, key=lambda n: distances[n])
    return best if distances[best] < share * far and far < 0.3 * _scale(exact) else None


def _low_bits_are_zero(stored: np.ndarray, bits: int) -> bool:
    raw = stored.view(np.uint32)
    return bool(((raw & ((1 << bits) - 1)) == 0).mean() > 0.98 and (raw != 0).any())


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        d = (a - b.reshape(a.shape))[np.isfinite(a) & np.isfinite(b.reshape(a.shape))]
    return float(np.sqrt(np.mean(d * d))) if d.size else float("inf")


def _distance_from_weaker(got: np.ndarray, weaker: np.ndarray) -> float:
    """As `_distance`; what overflows in the weaker type and is finite here was not computed in it."""
    overflowed = np.isfinite(got) & ~np.isfinite(weaker.reshape(got.shape))
    return float("inf") if overflowed.any() else _distance(got, weaker)


def _scale(x: np.ndarray) -> float:
    finite = x[np.isfinite(x)]
    return float(np.sqrt(np.mean(finite * finite))) if finite.size else 0.0


def _present(failure: Failure) -> int:
    """Elements of the worst output that are not next to nothing."""
    value = failure.case.outputs[failure.worst.output].value
    return int((np.abs(value) > 1e-3 * _scale(value)).sum()) if value.dtype.kind == "f" else 0


def _is_small_and_everywhere(failure: Failure) -> bool:
    return failure.worst.count > 0.2 * _present(failure) and _is_small(failure)


def _is_small(failure: Failure) -> bool:
    """Next to what is not zero: among sparse inputs few outputs are anything."""
    value = failure.case.outputs[failure.worst.output].value
    return failure.worst.error < 0.02 * _scale(value[value != 0])


def _tiny_is_fine(trial: Trial) -> bool:
    """A weaker type is off by as much in every scale; a wrong constant shows most on small inputs, a wrong formula on large ones."""
    for family in ("tiny", "large"):
        case = trial.cases.of_family(family) if family in trial.description.families else None
        if case is None:
            continue
        seen = len(trial.failures)
        contained = trial.start(1, trial.threads)
        trial.call(contained, 0, case)
        contained.close()
        for failure in trial.failures[seen:]:
            miss = failure.worst
            if not miss.error < 0.1 * _scale(case.outputs[miss.output].value):
                return False
    return True


# ---- state ----
def _state(trial: Trial, failure: Failure) -> Finding | None:
    """Kept state or a race: the failing case in fresh processes, then twice in a row."""
    verdicts: list[bool] = []
    for poisoned in ("nan", "finite", failure.poisoned):
        contained = trial.start(2, trial.threads)
        verdicts += [_passes(trial, contained, failure.case, poisoned)]
        if len(verdicts) == 3:
            verdicts += [_passes(trial, contained, failure.case, poisoned, trial.maker.stirs) for _ in range(4)]
        contained.close()
    if not any(verdicts):
        return None
    stale = _stale(trial, failure)
    if stale:
        return Finding(
            "cached-result",
            f"call {len(failure.before) + 1} of a process gave the result of earlier inputs ({stale})",
            f"{failure.stage}, inputs {failure.case.family!r}",
        )
    if not all(verdicts[:3]) or not all(verdicts[3:]):
        return Finding(
            "nondeterministic",
            f"the same inputs were right in {sum(verdicts)} of {len(verdicts)} calls",
            f"inputs {failure.case.family!r}",
        )
    if failure.before and not failure.stage.startswith("second"):
        return Finding(
            "cached-result",
            "right in a fresh process, wrong after other calls: state is kept between calls",
            f"{failure.stage}, inputs {failure.case.family!r}",
        )
    return Finding(
        "nondeterministic",
        "right in a fresh process, wrong in another: a race, or state kept between calls",
        f"{failure.stage}, inputs {failure.case.family!r}",
    )


def _passes(trial: Trial, contained: Contained, case: Case, poisoned: str, stirred: bool = False) -> bool:
    seen = len(trial.failures)
    trial.call(contained, 0, case, poisoned, stirred)
    return len(trial.failures) == seen


def _stale(trial: Trial, failure: Failure) -> str | None:
    """The earlier case whose outputs these are."""
    for key in dict.fromkeys(reversed(failure.before)):
        case = trial.cases.kept.get(key)
        if case is None or key == failure.case.key:
            continue
        misses = [
            compare(i, got, argument, case.outputs[i], failure.poisoned)
            for i, (got, argument) in enumerate(zip(failure.outputs, trial.outputs))
        ]
        if not any(m.wrong for m in misses):
            return key
    return None


# ---- data that is never read ----
def _unread(trial: Trial) -> tuple[Finding | None, bool]:
    """Changes single elements that move the reference's output and watches whether the candidate's moves.

    The flag says whether this explains the failure: much is unread, or what is read moves the output as it should.
    """
    shown = [_probe(trial, trial.cases.kept["own0"])]
    if shown[0][0] == 0 and "many zeros" in trial.description.families:
        case = trial.cases.kept.get("few1") or trial.cases.of_family("few:1")
        shown += [_probe(trial, case)] if case else []
    return max(shown, key=lambda s: (s[0] > 0, s[1]))[2:]


def _probe(trial: Trial, case: Case) -> tuple[int, int, Finding | None, bool]:
    """(changes unread, changes that matter, finding, explains) around one case."""
    changes = _changes(trial, case)
    if not changes:
        return 0, 0, None, False
    wanted = trial.cases.reference.call("moved_by", case.key, changes, timeout=60.0)
    contained = trial.start(1, trial.threads)
    before = _outputs(trial, contained, case, {})
    still, felt, faithful, dead, reach = [], 0, 0, 0, []
    for change, files in zip(changes, wanted):
        moves = [np.load(f) for f in files]
        must = [m > 50 * o.tolerance if o.tolerance is not None else m != 0 for m, o in zip(moves, case.outputs)]
        if not any(m.any() for m in must):
            continue
        after = _outputs(trial, contained, case, {change[0]: change})
        felt += 1
        reach.append(sum(int(m.sum()) for m in must))
        moved = [_share_moved(b, a, m) for b, a, m in zip(before, after, must) if m.any()]
        if max(moved) < 0.7:
            still.append(change)
            dead += max(moved) == 0
            reach[-1] = -reach[-1]
        else:
            faithful += all(
                _moved_alike(b, a, m, o, x) for b, a, m, o, x in zip(before, after, moves, case.outputs, trial.outputs)
            )
    contained.close()
    if not still:
        return 0, felt, None, False
    which, at, _ = still[0]
    index = [int(i) for i in np.unravel_index(at, trial.signature.of("input")[which].shape)]
    finding = Finding(
        "partial-read",
        f"{len(still)} of {felt} changed input elements that matter did not move the output",
        f"input {which} {index}",
    )
    exact = all(o.tolerance is None for o in case.outputs)  # an index may stay where it is for other reasons
    wide = 0.5 * float(max(np.quantile(np.abs(reach), 0.75), -np.median([r for r in reach if r < 0])))
    alive = sum(r >= wide for r in reach)  # changes that reach far in the reference, and move all of that
    many = dead > 0.15 * felt or (alive > 0 and len(still) > 0.15 * felt)
    return len(still), felt, finding, many or (not exact and faithful > 0.6 * (felt - len(still)))


def _moved_alike(before: np.ndarray, after: np.ndarray, moved: np.ndarray, wanted, argument) -> bool:
    """True where the candidate's output moved about as far as the reference's."""
    if wanted.tolerance is None:
        return np.array_equal(before != after, moved.reshape(before.shape) != 0)
    with np.errstate(all="ignore"):
        mine = np.abs(as_float64(after, argument.dtype) - as_float64(before, argument.dtype))
        return bool((np.abs(mine - moved) <= 50 * wanted.tolerance + 0.05 * moved).all())


def _share_moved(before: np.ndarray, after: np.ndarray, must: np.ndarray) -> float:
    """The share of what must move that has moved at all."""
    must = must.reshape(before.shape)
    return float((before[must] != after[must]).mean())


def _outputs(trial: Trial, contained: Contained, case: Case, changed: dict) -> list[np.ndarray]:
    trial.fill(contained, 0, case, "finite")
    buffers = contained.arena.layout.slots[0]
    tensors = [a for a in trial.signature.arguments if a.kind == "tensor"]
    for which, (_, at, value) in changed.items():
        argument = trial.signature.of("input")[which]
        contained.arena.view(buffers[tensors.index(argument)], argument.storage, argument.shape).reshape(-1)[at] = value
    contained.run(0, 1, trial.call_s)
    if trial.maker.collects:
        contained.ask("collect 0")
    return [contained.arena.view(b, a.storage, a.shape).copy() for b, a in zip(buffers, tensors) if a.role == "output"]


def _changes(trial: Trial, case: Case) -> list[tuple[int, int, float]]:
    """Single elements of float32 inputs and large new values: the ends of each axis, then random places."""
    rng = np.random.default_rng()
    free = [i for i, a in enumerate(trial.signature.of("input")) if a.dtype == "float32" and a.nbytes]
    made = []
    for which in free:
        array, own = case.arrays[which], trial.cases.kept["own0"].arrays[which]
        assert array is not None and own is not None
        top = float(np.abs(array).max()) or 1.0
        places = [array.size - 1, 0] + [int(i) for i in rng.integers(0, array.size, PROBES // len(free))]
        for axis, extent in enumerate(array.shape):
            at = [int(rng.integers(0, n)) for n in array.shape]
            at[axis] = extent - 1
            places.append(int(np.ravel_multi_index(at, array.shape)))
        made += [(which, at, float(top * rng.uniform(2, 3) * rng.choice([-1, 1]))) for at in places if own.reshape(-1)[at] != 0]
    return made
