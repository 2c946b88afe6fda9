"""A record comes in, what is wrong or weak about it goes out, without any model.

Defective: a side does not run, or the two contradict each other. Weak: the published test lets a hollow answer pass (zeros, a
constant, an input copied, an empty function), or its output is constant or NaN.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np

from ..judge import Judge
from ..verdict import CannotJudge
from . import published
from .baselines import other_speeds
from .builds import Builds
from .code_reference import CodeReference
from .cuda_side import examine
from .record import Record
from .score import open_reference
from .torch_operators import by_torch


@dataclass(frozen=True)
class Audit:
    """`defects` make a record unfit; `weak` says what its published test lets pass; `facts` is what was seen; `sidecar` its launches.

    `speeds`: how many times as fast as the record's baseline something else is that the audit has timed (see `baselines.py`).
    """

    id: str
    defects: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    sidecar: str = ""
    speeds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)


def audit(record: Record, judge: Judge, inductor: bool = False) -> Audit:
    """Examines one record; `inductor`: what torch.compile makes of its operator is timed, too. Raises `MissingTool` where the machine lacks something."""
    if record.defects:
        return Audit(record.id, record.defects)
    if record.form == "extension":
        from .extension import audit_extension

        return audit_extension(record, judge)
    try:
        if record.form == "pair":
            from .pair_score import audit_pair

            return audit_pair(record, judge)
        with open_reference(record, Builds(judge.sandbox), judge.threads) as reference:
            return _audited(record, reference, judge, inductor)
    except CannotJudge as error:
        return Audit(record.id, (error.message,))


def _audited(declared: Record, reference: CodeReference, judge: Judge, inductor: bool) -> Audit:
    record = reference.record
    values = published.inputs(record)
    facts = {"c": "runs", "inputs": reference.own, **{f"note {i}": n for i, n in enumerate(reference.notes)}}
    for was, now in zip(declared.arguments, record.arguments):
        if was.shape != now.shape:
            facts[f"shape of {now.name}"] = f"{list(now.shape)} by what its C side reads, {list(was.shape)} by its IR text"
    try:
        weak = _weaknesses(record, values, reference.single(values))
    except CannotJudge as error:
        weak = (f"the published inputs are none for it: {error.message}",)
        reference.restart()
    cuda = examine(reference, judge.sandbox)
    facts["cuda"] = f"agrees with C (error {cuda.error:.1e}, binding {cuda.tried})" if cuda.agrees else cuda.why
    defects = () if cuda.agrees else (cuda.why,)
    torch_says = by_torch(record, reference)
    if torch_says is not None:
        facts["torch"] = "agrees with torch" if torch_says.agrees else torch_says.why
    with judge.turn:
        speeds = {} if defects else other_speeds(record, reference, torch_says is not None and torch_says.agrees, inductor)
    return Audit(record.id, defects, weak, facts, cuda.sidecar, speeds)


def _weaknesses(record: Record, values: list[np.ndarray], outputs: list[np.ndarray]) -> tuple[str, ...]:
    found = []
    if any(o.dtype.kind == "f" and np.isnan(o).any() for o in outputs):
        found.append("NaN in the output under the published inputs")
    if all(o.size > 1 and _one_value(o) for o in outputs):
        found.append("constant output under the published inputs")
    passing = [name for name, made in _hollow_answers(values, outputs) if _passes(outputs, made)]
    if passing:
        found.append("its published test accepts " + ", ".join(passing))
    return tuple(found)


def _hollow_answers(values: list[np.ndarray], outputs: list[np.ndarray]):
    """(name, outputs) of answers that compute nothing; the benchmark zeroes outputs, so an empty function gives zeros."""
    yield "zeros (also an empty function)", [np.zeros_like(o) for o in outputs]
    yield "a constant", [np.full_like(o, o.reshape(-1)[0] if o.size > 1 else 0) for o in outputs]
    for number, value in enumerate(values):
        if all(value.size >= o.size and value.dtype == o.dtype for o in outputs):
            yield f"a copy of input {number}", [value.reshape(-1)[: o.size].reshape(o.shape) for o in outputs]


def _passes(outputs: list[np.ndarray], made: list[np.ndarray]) -> bool:
    return all(published.agree(o, m) for o, m in zip(outputs, made))


def _one_value(x: np.ndarray) -> bool:
    first = x.reshape(-1)[0]
    return bool(np.isnan(x).all()) if x.dtype.kind == "f" and np.isnan(first) else bool((x == first).all())
