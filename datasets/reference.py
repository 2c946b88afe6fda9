"""What a record keeps of its inputs and outputs: a Program and a seed come in, cases go out; the judge's exact outputs come in, checksums go out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..evaluation.correctness import Case, Output
from ..evaluation.signature import as_float64
from .inputs import drawn, expression, families
from .program import Array, Program

SAMPLES = 64
SLACK = 4.0
"""Another compiler or instruction set may round otherwise than the run that was recorded."""
SEEN = {"float64": (32.0, 64 * 2.0**-53), "float32": (32.0, 64 * 2.0**-24), "float16": (4.0, 2 * 2.0**-11), "bfloat16": (4.0, 2 * 2.0**-8)}
"""How many times the error of the runs that were seen another run may make, where that is less than what the judge allows; and the least, as a
part of the largest value. Of halves little but the last rounding differs."""
_QUIET = 4.0
"""Places are sampled among those that are allowed no more than this times the median: next to a step anything may come out."""


@dataclass(frozen=True)
class Recorded:
    """One set of inputs that a record keeps: `expressions` in input order, `arrays` their values."""

    family: str
    seed: int
    expressions: tuple[str, ...]
    arrays: tuple[np.ndarray, ...] = field(repr=False)


def recorded(program: Program, seed: int) -> list[Recorded]:
    """A case of each input family, each with a seed of its own."""
    out = []
    for n, family in enumerate(families(program.inputs)):
        texts = tuple(expression(i, family, seed + n, k) for k, i in enumerate(program.inputs))
        out.append(Recorded(family, seed + n, texts, tuple(drawn(t) for t in texts)))
    return out


def useless(outputs: Sequence[Array], case: Case) -> str:
    """Why the case shows nothing: outputs without a finite number, or all alike. "" where it shows something."""
    values = [o.value for o in case.outputs]
    for o, v in zip(outputs, values):
        if v.dtype.kind == "f" and v.size and not np.isfinite(v).any():
            return f"{o.name} has no finite value"
    sized = [v for v in values if v.size > 8]
    if sized and all((v == v.reshape(-1)[0]).all() for v in sized):
        return "every output is one value"
    floats = [(o, o.tolerance) for o in case.outputs if o.tolerance is not None]
    if any((np.isfinite(o.eager) != np.isfinite(o.value)).any() or not np.isfinite(allowed).all() for o, allowed in floats):
        return "float32 does not reach as far"
    return ""


def checksum(number: int, array: Array, output: Output, runs: Sequence[np.ndarray] = ()) -> dict[str, object]:
    """What a record keeps of an output: a digest of integers; of floats, values at sampled places, the sum, and how far one may be off: no further
    than the judge allows, nor than many times what torch and `runs` (what the two sides made) were off."""
    head: dict[str, object] = {"case": number, "name": array.name, "dtype": array.dtype, "shape": list(array.shape)}
    flat = np.ascontiguousarray(output.value).reshape(-1)
    if output.tolerance is None:
        return {**head, "sha256": digest(flat)}
    allowed = SLACK * np.asarray(output.tolerance, np.float64).reshape(-1)
    quiet = np.flatnonzero(allowed <= _QUIET * np.median(allowed)) if len(flat) else np.arange(0)
    among = quiet if len(quiet) >= min(SAMPLES, len(flat)) else np.arange(len(flat))
    rng = np.random.Generator(np.random.PCG64(len(flat)))
    at = np.sort(rng.choice(among, min(SAMPLES, len(flat)), replace=False)) if len(flat) else among
    finite = np.isfinite(flat)
    seen = max([_off(flat, r, array.dtype, among) for r in (output.eager, *runs)])
    times, part = SEEN[array.dtype]
    least = part * float(np.abs(flat[finite]).max(initial=0.0))
    return {
        **head, "indices": at.tolist(), "values": [_number(v) for v in flat[at]], "sum": float(flat[finite].sum()),
        "tolerance": min(float(allowed[at].max(initial=0.0)), max(times * seen, least)), "sum_tolerance": float(allowed[finite].sum()),
    }  # fmt: skip


def _off(exact: np.ndarray, run: np.ndarray, dtype: str, among: np.ndarray) -> float:
    """The largest error of a run among some places."""
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(_numbers(run, dtype)[among] - exact[among])
    return float(off[np.isfinite(off)].max(initial=0.0))


def _numbers(array: np.ndarray, dtype: str) -> np.ndarray:
    return (as_float64(array, dtype) if array.dtype == np.uint16 else np.asarray(array, np.float64)).reshape(-1)


def differs(output: dict[str, Any], array: np.ndarray) -> str:
    """What is wrong with an array (half and bfloat16 also as uint16) by a checksum; "" where it agrees."""
    where = f"{output['name']} of case {output['case']}"
    if "sha256" in output:
        return "" if digest(array) == output["sha256"] else f"{where} has another digest"
    got = _numbers(array, output["dtype"])
    values, wanted = got[output["indices"]], np.array([float(v) for v in output["values"]])
    with np.errstate(invalid="ignore"):
        right = (values == wanted) | (np.isnan(values) & np.isnan(wanted)) | (np.abs(values - wanted) <= output["tolerance"])
    if not right.all():
        return f"{where} is {values[~right][0]:.6g}, {wanted[~right][0]:.6g} was recorded"
    total = float(got[np.isfinite(got)].sum())
    return "" if abs(total - output["sum"]) <= output["sum_tolerance"] else f"{where} sums to {total:.6g}, {output['sum']:.6g} was recorded"


def digest(array: np.ndarray) -> str:
    """sha256 of the bytes of an array of integers; booleans are a byte each."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _number(v: float) -> float | str:
    """JSON has no infinities and no NaN: those are text."""
    return float(v) if np.isfinite(v) else str(float(v))
