"""A pair of a data set and an answer come in, its outcome goes out; and the audit of such a record. The pair's graph says what is right, by torch."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..build import NotBuilt
from ..candidate import Candidate
from ..graph_task import GraphTask
from ..judge import Judge
from ..task import Task
from .answer import NoEntry
from .builds import Builds
from .cuda_side import binding_of, tried_binding
from .outcome import Outcome, outcome_of
from .record import Record
from .score import compiling_unit


def score_pair(judge: Judge, builds: Builds, record: Record, code: str) -> Outcome:
    """One answer against the pair's graph, in float64 by torch; the baseline is the graph in torch. Raises `CannotJudge`."""
    assert record.task is not None
    try:
        unit = compiling_unit(code, record, builds)
    except NoEntry as error:
        return Outcome("extraction", str(error))
    except NotBuilt as error:
        return Outcome("compile-error", error.finding.message, reasons=("compile-error",))
    made = outcome_of(judge.verdict(record.task, Candidate("answer", unit.language, unit.text)), "eager")
    return replace(made, notes=(*unit.notes, *made.notes))


def audit_pair(record: Record, judge: Judge):
    """Judges the pair's own C side, and runs its CUDA side in the emulator against the graph in float64. Raises `CannotJudge`."""
    from .audit import Audit

    assert record.task is not None
    defects, facts = [], {}
    cases, wanted = cases_of(record.task)
    cuda = tried_binding(record, binding_of(record.kernels), cases, wanted, judge.sandbox)
    facts["cuda"] = f"agrees with its graph (error {cuda.error:.1e})" if cuda.agrees else cuda.why.replace("its C side", "its graph")
    defects += [] if cuda.agrees else [facts["cuda"]]
    c = judge.verdict(record.task, Candidate("record", "c++", record.c_code))
    facts["c"] = "agrees with its graph" if c.accepted else f"its C side is rejected: {c.reasons[0]}, {c.findings[0].message[:200]}"
    defects += [] if c.accepted else [facts["c"]]
    speeds = {"c_code": c.measured.speedup} if c.accepted and c.measured else {}
    return Audit(record.id, tuple(defects), (), facts, record.kernels, speeds)


def cases_of(task: Task) -> tuple[list, list]:
    """Two draws of inputs, and the graph's outputs for them in float64."""
    reference = GraphTask(task)
    model = reference.Model().eval().double()
    cases, wanted = [], []
    for seed in (31, 32):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            given = [v for v in reference.get_inputs() if isinstance(v, torch.Tensor)]
            made = model(*(v.double() if v.is_floating_point() else v for v in given))
        cases.append([v.numpy() for v in given])
        wanted.append([v.contiguous().numpy() for v in made])
    return cases, wanted

