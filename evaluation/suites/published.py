"""HPCTransEval's own test: a record comes in, its one set of inputs and its comparison go out, as the benchmark's harness has them.

Seed 42, float32 uniform in [0, 1) in the order of the declared inputs, outputs zeroed; right where |a - b| <= 1e-7 + 1e-7 |b| (TVM's
`assert_allclose`, in which NaN equals NaN). An input that is no float32 array gets the same bytes.
"""

from __future__ import annotations

import numpy as np

from .record import Record

SEED = 42
RTOL = ATOL = 1e-7


def inputs(record: Record) -> list[np.ndarray]:
    """The arrays of the record's inputs in C order."""
    rng = np.random.RandomState(SEED)
    made: dict[int, np.ndarray] = {}
    for shape, at in zip(record.declared[0], record.published_inputs):
        drawn = rng.random_sample(shape).astype(np.float32)
        if at >= 0:
            made[at] = drawn
    return [
        _as(made[i] if i in made else rng.random_sample(a.shape).astype(np.float32), a.storage, a.shape)
        for i, a in enumerate(record.arguments)
        if a.role == "input"
    ]


def _as(drawn: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """The first bytes of the drawn array as another type; all of it where the type is float32."""
    if dtype == np.float32:
        return np.ascontiguousarray(np.resize(drawn, shape))
    need = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.resize(drawn.reshape(-1).view(np.uint8), need)
    return raw.view(dtype).reshape(shape).copy()


def agree(reference: np.ndarray, answer: np.ndarray) -> bool:
    """The published comparison."""
    return bool(np.allclose(reference, answer, rtol=RTOL, atol=ATOL, equal_nan=True))
