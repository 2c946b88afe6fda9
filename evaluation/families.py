"""A task's own inputs come in, inputs of other kinds go out: what a kernel must get right beyond the values it was shown.

A family keeps what the task's inputs promise: integers, masks and few-valued tensors stay the task's own, zeros that every
draw has (a triangular matrix) stay zero, symmetric stays symmetric, and rows that sum to one keep doing so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MOST_LINES = 512
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Promise:
    """What two draws of one input have in common."""

    keep: bool = False  # not a float tensor, or few values: only the task's own draws are inputs
    zeros: np.ndarray | None = None
    symmetric: bool = False
    distribution: bool = False

    def hold(self, array: np.ndarray) -> np.ndarray:
        """The array changed so that the promise holds."""
        if self.symmetric:
            array = (array + np.swapaxes(array, -1, -2)) / 2
        if self.zeros is not None:
            array = np.where(self.zeros, 0, array)
        if self.distribution:
            array = np.abs(array) + 1e-3
            with np.errstate(invalid="ignore"):  # rows with infinities have no shares: the case is left out
                array = array / array.sum(-1, keepdims=True)
        return array


def promise(first: np.ndarray, second: np.ndarray) -> Promise:
    """Reads the promise off two draws of the same input."""
    if first.dtype.kind not in "fV" or first.shape != second.shape or first.size == 0:
        return Promise(keep=True)
    sample = np.concatenate([first.reshape(-1)[:4096], second.reshape(-1)[:4096]]).astype(np.float64)
    if first.size >= 32 and len(np.unique(sample)) <= 8 and len(np.unique(sample)) > 1:
        return Promise(keep=True)
    zeros = (first == 0) & (second == 0)
    square = first.ndim >= 2 and first.shape[-1] == first.shape[-2] and first.shape[-1] > 1
    sums = first.reshape(-1, first.shape[-1]).astype(np.float64).sum(-1) if first.ndim else np.zeros(1)
    return Promise(
        zeros=zeros if 0.02 < zeros.mean() < 1 else None,
        symmetric=square and np.array_equal(first, np.swapaxes(first, -1, -2)),
        distribution=bool(first.ndim and first.shape[-1] > 1 and first.min() >= 0 and np.allclose(sums, 1, atol=1e-3)),
    )


def _normal(scale: float, shift: float = 0.0) -> Draw:
    return lambda rng, shape: rng.standard_normal(shape) * scale + shift


def _constant_rows(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    rows = rng.uniform(0.3, 1.7, (*shape[:-1], 1)) if shape else rng.uniform(0.3, 1.7, ())
    return np.broadcast_to(rows, shape)


def _ties(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-2, 3, shape).astype(np.float64)


def _negative(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return -np.abs(rng.standard_normal(shape)) - 0.05


def sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """About eight values in each line of the longest axis, more at the first and last index of every axis, zeros elsewhere."""
    values = rng.standard_normal(shape) + np.copysign(0.5, rng.standard_normal(shape))
    longest = max(shape, default=1)
    there = rng.random(shape) < min(0.5, 8 / longest)
    for axis, extent in enumerate(shape):
        edge = [slice(None)] * len(shape)
        area = max(1, values.size // max(1, extent))
        for at in (0, extent - 1):
            edge[axis] = slice(at, at + 1)
            there[tuple(edge)] |= rng.random(there[tuple(edge)].shape) < min(0.5, 8 / area)
    return np.where(there, values, 0)


def _spikes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.standard_normal(shape)
    if not shape:
        return values
    at = rng.integers(0, shape[-1], (*shape[:-1], 1))
    size = np.copysign(rng.uniform(20, 40, at.shape), rng.standard_normal(at.shape))
    np.put_along_axis(values, at, size, -1)
    return values


def _scaled_rows(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    scale = 10.0 ** rng.uniform(-0.7, 0.7, (*shape[:-1], 1)) if shape else 1.0
    return rng.standard_normal(shape) * scale


def _heavy_row(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """One row outweighs all others, so that errors do not average out in what is summed over rows."""
    values = rng.standard_normal(shape)
    if shape and shape[0] > 1:
        scale = np.full((shape[0],) + (1,) * (len(shape) - 1), 1e-3)
        scale[int(rng.integers(0, shape[0]))] = 1e8
        values = values * scale
    return values


def _holes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Minus infinity at places, never first in a line and never a whole line: a mask, as attention makes it."""
    values = rng.standard_normal(shape)
    there = rng.random(shape) < 0.1
    if shape:
        there[..., 0] = False
    return np.where(there, -np.inf, values)


@dataclass(frozen=True)
class Family:
    """How one kind of inputs is drawn. `coherent`: rounding errors of a long sum add up instead of averaging out."""

    name: str
    draw: Draw
    coherent: bool = False
    finite_only: bool = False
    ties: bool = False


FAMILIES = (
    Family("large", _normal(300.0)),
    Family("mixed sign", _normal(1.0)),
    Family("many zeros", sparse, ties=True),
    Family("spikes", _spikes),
    Family("tiny", _normal(1e-4)),
    Family("constant rows", _constant_rows, coherent=True, ties=True),
    Family("all negative", _negative),
    Family("ties", _ties, ties=True),
    Family("low variance", _normal(0.05, 1.0), coherent=True),
    Family("scaled rows", _scaled_rows),
    Family("heavy row", _heavy_row),
    Family("far above", _normal(300.0, 5000.0), coherent=True),  # beyond what a search or a clamp may start from
    Family("far below", _normal(300.0, -5000.0), coherent=True),
    Family("minus infinity", _holes, finite_only=True, ties=True),
)
BY_NAME = {family.name: family for family in FAMILIES}


def touched(rng: np.random.Generator, array: np.ndarray, count: int) -> np.ndarray:
    """A copy in which `count` elements have become larger than all others, with random sign: random places, edges and corners."""
    out = np.array(array, copy=True)
    top = float(np.abs(array.astype(np.float64)).max(initial=0.0)) or 1.0
    for number in range(count if out.size else 0):
        at = [int(rng.integers(0, n)) for n in out.shape]
        kind = int(rng.integers(0, 4)) if number else 0
        if kind == 0:
            at = [int(rng.choice([0, n - 1])) if rng.random() < 0.3 else n - 1 for n in out.shape]
        elif kind == 1 and out.ndim:
            axis = int(rng.integers(0, out.ndim))
            at[axis] = int(rng.choice([0, out.shape[axis] - 1]))
        out[tuple(at)] = np.asarray(top * rng.uniform(2, 3) * rng.choice([-1, 1])).astype(out.dtype)
    return out


def touched_inside(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """A copy in which three elements far from the first and the last have become larger than all others: what a look at the ends does not see."""
    out = np.array(array, copy=True)
    top = float(np.abs(array.astype(np.float64)).max(initial=0.0)) or 1.0
    places = rng.integers(out.size // 4, max(1, out.size - out.size // 4), min(3, out.size))
    out.reshape(-1)[places] = (top * rng.uniform(2, 3, places.size) * rng.choice([-1, 1], places.size)).astype(out.dtype)
    return out


def few(rng: np.random.Generator, array: np.ndarray, count: int, fill: bool) -> np.ndarray:
    """Zeros but for `count` elements: whatever is summed, each shows, and so does every rounding. `fill`: no line of zeros, for what divides by its length."""
    out = touched(rng, np.zeros(array.shape, np.float64), count)
    lines = out.reshape(-1, out.shape[-1]) if out.ndim and out.size else out.reshape(0, 1)
    if fill and 1 < len(lines) <= MOST_LINES:
        empty = np.flatnonzero(~(lines != 0).any(1))
        lines[empty, rng.integers(0, lines.shape[1], len(empty))] = rng.uniform(0.5, 2, len(empty)) * rng.choice(
            [-1, 1], len(empty)
        )
    return lines.reshape(out.shape) if len(lines) else out
