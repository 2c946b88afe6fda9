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
    values = as_float64(got, argument.dtype)
    value = wanted.value
    with np.errstate(all="ignore"):
        error = np.abs(values - value)
        same = (values == value) | (np.isnan(values) & np.isnan(value))
        unsure = ~np.isfinite(wanted.eager) & np.isfinite(value)  # float32 cannot say
        edge = np.isinf(wanted.eager) & (values == wanted.eager)
        error[same | edge | unsure] = 0
        error[np.isnan(error)] = np.inf
        ratio = error / wanted.tolerance
    return _worst(at, ratio, error, values, value, wanted, got, argument, poisoned)


def _compare_exact(at: int, got: np.ndarray, argument: Argument, wanted: Output, poisoned: str) -> Miss:
    exact, eager = wanted.value.reshape(got.shape), wanted.eager.reshape(got.shape)
    equal = (got == exact) | (got == eager)
    if argument.dtype == "bool":
        equal = ((got != 0) == (exact != 0)) & (got <= 1)
    ratio = np.where(equal, 0.0, np.inf)
    values, value = got.astype(np.float64), exact.astype(np.float64)
    return _worst(at, ratio, np.abs(values - value), values, value, wanted, got, argument, poisoned)


def _worst(at, ratio, error, values, value, wanted, got, argument, poisoned) -> Miss:
    if ratio.size == 0:
        return Miss(at, (), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, ())
    bad = ratio > 1
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
    first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), ratio.shape)) if bad.any() else index
    tolerance = float(wanted.tolerance[index]) if wanted.tolerance is not None else 0.0
    eager = float(abs(float(wanted.eager[index]) - value[index])) if wanted.tolerance is not None else 0.0
    return Miss(
        at, index, float(values[index]), float(value[index]), float(error[index]), tolerance, eager,
        float(ratio[index]), int(bad.sum()), first, bool(bad.any()) and _is_poison(got, argument, poisoned, bad),
    )  # fmt: skip


def _is_poison(got: np.ndarray, argument: Argument, poisoned: str, bad: np.ndarray) -> bool:
    """True where an element that is wrong still holds exactly what lay there before the call."""
    filled = poison(argument, poisoned)
    raw = np.ascontiguousarray(got)
    if filled.ndim > raw.ndim:
        same = (raw.reshape(-1).view(np.uint8).reshape(filled.shape) == filled).all(-1)
    else:
        same = raw.view(filled.dtype) == filled
    return bool((same & bad).any())


def place(miss: Miss, family: str) -> str:
    """`output 0 [3, 17], inputs 'many zeros'`."""
    return f"output {miss.output} {list(miss.first)}, inputs {family!r}"
