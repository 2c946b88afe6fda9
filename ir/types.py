"""Dtypes and symbolic dims, shared by Graph and Kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLOATS = ("f64", "f32", "f16", "bf16")
INTS = ("i64", "i32", "i16", "i8", "u8")
BOOL = "b1"
DTYPES = (*FLOATS, *INTS, BOOL)

BYTES = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "i64": 8, "i32": 4, "i16": 2, "i8": 1, "u8": 1, "b1": 1}

# bf16 has no NumPy dtype: the interpreter holds it as float32 rounded to bfloat16 (see `interpret`).
NUMPY = {
    "f64": np.float64, "f32": np.float32, "f16": np.float16, "bf16": np.float32, "i64": np.int64, "i32": np.int32,
    "i16": np.int16, "i8": np.int8, "u8": np.uint8, "b1": np.bool_,
}  # fmt: skip


def is_float(dtype: str) -> bool:
    return dtype in FLOATS


def is_int(dtype: str) -> bool:
    return dtype in INTS


@dataclass(frozen=True)
class Dim:
    """A named symbolic dim with an inclusive range; `hi` None means unbounded. Text: `batch: dim[1, 512]`."""

    name: str
    lo: int = 1
    hi: int | None = None
