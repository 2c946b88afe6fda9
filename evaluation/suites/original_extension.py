"""A KernelBench_c record and an answer come in, the verdict of the benchmark's own protocol goes out.

Five draws of the reference's own inputs from seed 42 on with the weights that it makes itself, right where |a - b| <= 1e-2 + 1e-2 |b| against
torch's float32; times are means of 30 runs after 3, against torch on the same processors. The answer still runs in the sandbox.
"""

from __future__ import annotations

import time

import numpy as np

from ..build import NotBuilt
from ..candidate import Candidate
from ..contained import Contained, Ended
from ..correctness import Case
from ..judge import Judge
from ..signature import as_float64
from ..timing import net
from ..trial import Cases, Trial
from .outcome import Outcome
from .record import Record

SEED, TRIALS, ALLOWED = 42, 5, 1e-2
WARM, RUNS, MOST_S = 3, 30, 20.0


def score_original(judge: Judge, record: Record, candidate: Candidate) -> Outcome:
    """One answer's outcome. Raises `CannotJudge`, `NotBuilt`."""
    assert record.task is not None
    try:
        with judge.opened(record.task, candidate) as (reference, description, maker):
            reference.call("keep_initial_weights")
            cases = Cases(reference, description, 0.0)
            for n in range(TRIALS):
                cases.another("own0" if n == 0 else f"trial{n}", SEED + n, exact=False)
            trial = Trial(cases, maker, description, judge.threads)
            try:
                contained = trial.start(1, judge.threads)
                for case in cases.kept.values():
                    if said := _difference(trial, contained, case):
                        return Outcome("wrong-result", said, reasons=("wrong-result",))
                with judge.turn:
                    return _timed(trial, contained, reference, next(iter(cases.kept.values())))
            finally:
                trial.close()
    except Ended as end:
        return Outcome(end.finding.code, end.finding.message, reasons=(end.finding.code,))
    except NotBuilt as error:
        return Outcome("compile-error", error.finding.message, reasons=("compile-error",))


def _difference(trial: Trial, contained: Contained, case: Case) -> str:
    """One line about the first element of one call that is beyond the tolerance, "" where there is none."""
    trial.fill(contained, 0, case, "nan")
    contained.run(0, 1, trial.call_s)
    if trial.maker.collects:
        contained.ask("collect 0")
    left = iter(contained.arena.layout.slots[0])
    views = [(next(left), a) for a in trial.signature.arguments if a.kind == "tensor"]
    made = [as_float64(contained.arena.view(b, a.storage, a.shape), a.dtype) for b, a in views if a.role == "output"]
    for at, (got, output) in enumerate(zip(made, case.outputs)):
        wanted = output.value.astype(np.float64)
        with np.errstate(all="ignore"):
            far = ~np.isclose(got, wanted, rtol=ALLOWED, atol=ALLOWED)
        if far.any():
            first = tuple(int(i) for i in np.unravel_index(int(np.argmax(far)), far.shape)) if far.ndim else ()
            return f"{got[first]:.7g} where {wanted[first]:.7g} is right; {int(far.sum())} elements (output {at} {list(first)})"
    return ""


def _timed(trial: Trial, contained: Contained, reference, case: Case) -> Outcome:
    reference.call("prepare_timing", case.key, trial.threads)
    empty = min(contained.run(0, 0, 10.0) for _ in range(5))
    once = min(contained.run(0, 1, trial.call_s) for _ in range(WARM))
    runs = max(WARM, min(RUNS, int(MOST_S / max(1e-6, once))))
    ours = sum(net(contained.run(0, 1, trial.call_s), empty) for _ in range(runs)) / runs
    reference.call("time", [case.key], WARM, False, timeout=120.0)
    started = time.perf_counter()
    reference.call("time", [case.key], runs, False, timeout=600.0)
    theirs = (time.perf_counter() - started) / runs
    return Outcome("accepted", speedup=theirs / ours, time_ms=1e3 * ours, baseline_ms=1e3 * theirs, baseline="eager")
