"""A case (inputs, float64 outputs, allowances) and a candidate's outputs come in, the worst element goes out."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from .signature import Argument, as_float64

POISONS = {"nan": 0x7FC0DEAD, "finite": 0x477FE123}  # float32 bits: a quiet NaN with a payload, and 65505.137


@dataclass(frozen=True)
class Output:
    """What one output must be: `value` float64 or integers, `tolerance` per element (None: exact), `eager` torch's own."""

    value: np.ndarray
    tolerance: np.ndarray | None
    eager: np.ndarray


@dataclass(frozen=True)
class Case:
    """Arrays and scalars of inputs and state in order (`arrays[i]` None where `scalars[i]` holds a Python scalar)."""

    key: str
    family: str
    arrays: tuple[np.ndarray | None, ...]
    scalars: tuple[object, ...]
    outputs: tuple[Output, ...]

    @property
    def nbytes(self) -> int:
        """Bytes that keeping this case costs."""
        arrays = [a for a in self.arrays if a is not None]
        arrays += [x for o in self.outputs for x in (o.value, o.tolerance, o.eager) if x is not None]
        return sum(a.nbytes for a in arrays)


@dataclass(frozen=True)
class Miss:
    """The worst element of one output: `ratio` is its error over its allowance; `count` elements are beyond theirs."""

    output: int
    index: tuple[int, ...]
    got: float
    wanted: float
    error: float
    tolerance: float
    reference_error: float
    ratio: float
    count: int
    first: tuple[int, ...]
    poison: bool = False

    @property
    def wrong(self) -> bool:
        """True where the element is beyond its allowance."""
        return self.ratio > 1


def load_case(key: str, files) -> Case:
    """Reads a case from the files of `reference.CaseFiles` and removes them."""
    outputs = tuple(Output(_take(e.value), _take(e.tolerance) if e.tolerance else None, _take(e.eager)) for e in files.expected)
    return Case(key, files.family, tuple(_take(a) if a else None for a in files.arrays), files.scalars, outputs)


def _take(path: str) -> np.ndarray:
    array = np.load(path, mmap_mode="r")
    os.unlink(path)
    return array


def poison(argument: Argument, kind: str) -> np.ndarray:
    """The bytes that an output holds before a call."""
    if argument.storage == np.float32:
        return np.full(argument.shape, POISONS[kind], np.uint32)
    if argument.storage.itemsize == 2:
        return np.full(argument.shape, 0x7FAD if kind == "nan" else 0x5B1D, np.uint16)
    if argument.storage == np.float64:
        return np.full(argument.shape, 0x7FF8DEADBEEF1234 if kind == "nan" else 0x40EFFC24679A1B2C, np.uint64)
    value = 0xA5 if kind == "nan" else 0x5B
    return np.full((*argument.shape, argument.storage.itemsize), value, np.uint8)


def compare(at: int, got: np.ndarray, argument: Argument, wanted: Output, poisoned: str) -> Miss:
    """The worst element of output number `at`. NaN and infinity must stand where the reference has them."""
    if wanted.tolerance is None:
        return _compare_exact(at, got, argument, wanted, poisoned)
    values, value = as_float64(got, argument.dtype).reshape(-1), wanted.value.reshape(-1)
    eager = wanted.eager.reshape(-1)
    with np.errstate(all="ignore"):
        error = np.abs(values - value)
        same = (values == value) | (np.isnan(values) & np.isnan(value))
        unsure = ~np.isfinite(eager) & np.isfinite(value)  # float32 cannot say
        edge = np.isinf(eager) & (values == eager)
        error[same | edge | unsure] = 0
        error[np.isnan(error)] = np.inf
        ratio = error / wanted.tolerance.reshape(-1)
    ratio[np.isnan(ratio)] = np.inf
    ratio[same | edge | unsure] = 0  # also where the allowance itself is no number
    ratio[np.isinf(wanted.tolerance.reshape(-1))] = 0  # honest float32 may give anything there
    return _worst(at, ratio, error, values, value, wanted, got, argument, poisoned)


def _compare_exact(at: int, got: np.ndarray, argument: Argument, wanted: Output, poisoned: str) -> Miss:
    flat, exact, eager = got.reshape(-1), wanted.value.reshape(-1), wanted.eager.reshape(-1)
    equal = (flat == exact) | (flat == eager)
    if argument.dtype == "bool":
        equal = ((flat != 0) == (exact != 0)) & (flat <= 1)
    values, value = flat.astype(np.float64), exact.astype(np.float64)
    return _worst(at, np.where(equal, 0.0, np.inf), np.abs(values - value), values, value, wanted, got, argument, poisoned)


def _worst(at, ratio, error, values, value, wanted, got, argument, poisoned) -> Miss:
    """All arrays but `got` are flat."""
    if ratio.size == 0:
        return Miss(at, (), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, ())
    bad = ratio > 1
    worst = int(np.argmax(ratio))
    index, first = (
        tuple(int(i) for i in np.unravel_index(i, got.shape)) for i in (worst, int(np.argmax(bad)) if bad.any() else worst)
    )
    tolerance = float(wanted.tolerance.reshape(-1)[worst]) if wanted.tolerance is not None else 0.0
    eager = float(abs(float(wanted.eager.reshape(-1)[worst]) - value[worst])) if wanted.tolerance is not None else 0.0
    return Miss(
        at, index, float(values[worst]), float(value[worst]), float(error[worst]), tolerance, eager,
        float(ratio[worst]), int(bad.sum()), first, bool(bad.any()) and _is_poison(got, argument, poisoned, bad.reshape(got.shape)),
    )  # fmt: skip


def _is_poison(got: np.ndarray, argument: Argument, poisoned: str, bad: np.ndarray) -> bool:
    """True where an element that is wrong still holds exactly what lay there before the call."""
    filled = poison(argument, poisoned)
    raw = np.ascontiguousarray(got)
    if filled.ndim > raw.ndim:
        same = (raw.reshape(-1).view(np.uint8).reshape(filled.shape) == filled).all(-1)
    else:
        same = raw.reshape(-1).view(filled.dtype).reshape(filled.shape) == filled
    return bool((same & bad).any())


def place(miss: Miss, family: str) -> str:
    """`output 0 [3, 17], inputs 'many zeros'`."""
    return f"output {miss.output} {list(miss.first)}, inputs {family!r}"
