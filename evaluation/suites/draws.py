"""A shape comes in, values for a record's inputs go out: the benchmark's own kind first, then kinds that more operators are defined on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..families import Draw
from ..signature import Argument


def _uniform(low: float, high: float) -> Draw:
    return lambda rng, shape: rng.uniform(low, high, shape)


OWN: dict[str, Draw] = {
    "unit": _uniform(0.0, 1.0),  # as the benchmark draws
    "around zero": _uniform(-0.95, 0.95),
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "above one": _uniform(1.05, 3.0),
    "below zero": _uniform(-1.0, -0.05),
    "near one": _uniform(0.98, 1.02),
}


def integers(rng: np.random.Generator, argument: Argument, among: Sequence[Argument]) -> np.ndarray:
    """Integers that may stand for indices into any of the other arrays: from 0 to below the smallest extent."""
    extents = [n for a in among if a.name != argument.name for n in a.shape] or [2]
    top = 2 if argument.dtype in {"bool", "int8", "uint8"} else max(1, min(extents))
    return rng.integers(0, top, argument.shape).astype(argument.storage)
