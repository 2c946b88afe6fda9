"""Arguments of observed runs. A value comes in, its copy in a tool's own memory goes out, and back."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .unit import Parameter

KINDS = {"in": 0, "out": 1, "inout": 2, "temp": 3}


@dataclass(frozen=True)
class Argument:
    """One argument for a checked run: `kind` is in, out, inout or temp for arrays (what the kernel may expect of its contents)."""

    parameter: Parameter
    value: Any
    kind: str = "inout"

    @property
    def kind_number(self) -> int:
        return KINDS.get(self.kind, KINDS["inout"])


def copy_in(argument: Argument, buffer: Callable[[int, int], int | None], keep: list[Any]) -> int | None:
    """The address of the argument's copy: an array in what `buffer(bytes, item size)` gives, a scalar in `keep`. None for a null pointer
    and where `buffer` has no room."""
    value = argument.value
    if value is None:
        return None
    if not isinstance(value, np.ndarray):
        keep.append(np.atleast_1d(np.asarray(value)).copy())
        return keep[-1].ctypes.data
    address = buffer(value.nbytes, value.dtype.itemsize if value.dtype.fields is None else 4)
    if address is not None:
        ctypes.memmove(address, np.ascontiguousarray(value).ctypes.data, value.nbytes)
    return address


def copy_out(address: int | None, like: np.ndarray) -> np.ndarray:
    """A new array with what stands at `address`."""
    out = np.empty_like(like, order="C")
    if address and like.nbytes:
        ctypes.memmove(out.ctypes.data, address, like.nbytes)
    return out
