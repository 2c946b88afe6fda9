"""The arguments of a kernel in the order of its C call: what reference, worker and judge agree on before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STORAGE = {
    "float32": "float32", "float64": "float64", "float16": "uint16", "bfloat16": "uint16", "int64": "int64", "int32": "int32",
    "int16": "int16", "int8": "int8", "uint8": "uint8", "bool": "uint8", "complex64": "complex64", "complex128": "complex128",
}  # fmt: skip


@dataclass(frozen=True)
class Argument:
    """`role` is input, state or output; `kind` tensor, int, float or bool (a Python scalar); shapes are concrete."""

    name: str
    role: str
    kind: str
    dtype: str = ""
    shape: tuple[int, ...] = ()

    @property
    def storage(self) -> np.dtype:
        """The NumPy dtype that holds the bytes: half and bfloat16 travel as uint16, bool as uint8."""
        return np.dtype(STORAGE[self.dtype])

    @property
    def nbytes(self) -> int:
        """Bytes of the contiguous array."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.storage.itemsize if self.kind == "tensor" else 0

    @property
    def is_float(self) -> bool:
        """True for tensors that are compared with a tolerance."""
        return self.kind == "tensor" and self.dtype in {"float32", "float64", "float16", "bfloat16"}


@dataclass(frozen=True)
class Signature:
    """Inputs in order, then state in `state_dict` order, then outputs."""

    arguments: tuple[Argument, ...]

    def of(self, *roles: str) -> tuple[Argument, ...]:
        """The arguments with one of these roles, in order."""
        return tuple(a for a in self.arguments if a.role in roles)

    @property
    def tensors(self) -> tuple[Argument, ...]:
        """All that lie in shared memory."""
        return tuple(a for a in self.arguments if a.kind == "tensor")


def as_float64(array: np.ndarray, dtype: str) -> np.ndarray:
    """The values of stored bytes, half and bfloat16 decoded."""
    if dtype == "bfloat16":
        return (array.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if dtype == "float16":
        return array.view(np.float16).astype(np.float64)
    return array.astype(np.float64)
