"""What a bare kernel is run with. `NAME.json` beside `NAME.cu` comes in, launches, parameters and arrays go out.

    {"kernel": "saxpy", "launch": {"grid": [4,1,1], "block": [256,1,1], "shared_bytes": 0},
     "args": [{"name": "y", "kind": "inout", "dtype": "float32", "shape": [1000], "init": "np.arange(1000)"},
              {"name": "n", "kind": "scalar", "dtype": "int32", "init": "1000"}]}

Several kernels: `"kernels": [{"name", "launch", "args": [names]}]` in launch order over one `args` list. `"constants"`
maps `__constant__` symbols to values. An `in` or `inout` array whose init is null is a null pointer; outputs and temporaries are
filled with a poison (NaN, or 0xA5 in every byte) before the launch. bfloat16 arrays are stored as uint16.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...ir.diagnostic import Unreadable
from .launch import Launch, launch_comment
from .numpy_text import evaluate
from .unit import C_TYPES, Call, Parameter

_LIMIT_BYTES = 4 << 30


class _Launch(BaseModel):
    grid: list[int] = Field(min_length=1, max_length=3)
    block: list[int] = Field(min_length=1, max_length=3)
    shared_bytes: int = 0

    def launch(self) -> Launch:
        return Launch.of(tuple(self.grid), tuple(self.block), self.shared_bytes)


class _Arg(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str
    kind: Literal["in", "out", "inout", "scalar", "temp"]
    dtype: str | list[tuple[str, str]]
    shape: list[int] = []
    init: str | int | float | bool | list | None = None


class _Kernel(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str
    launch: _Launch
    args: list[str]


class _Sidecar(BaseModel):
    model_config = ConfigDict(extra="ignore")
    kernel: str | None = None
    launch: _Launch | None = None
    args: list[_Arg]
    kernels: list[_Kernel] = []
    constants: dict[str, str | int | float | list] = {}


@dataclass(frozen=True)
class Setting:
    """Everything a run needs beside the source; `values` go with `parameters`, `kinds` with both."""

    calls: tuple[Call, ...]
    parameters: tuple[Parameter, ...]
    kinds: tuple[str, ...]
    values: tuple[Any, ...]
    constants: tuple[tuple[str, np.ndarray], ...]

    def outputs(self) -> list[int]:
        """The indices of the arrays that a run is for."""
        return [i for i, kind in enumerate(self.kinds) if kind in ("out", "inout") and self.values[i] is not None]


def read_sidecar(path: Path, source: str) -> Setting:
    """The setting of `path` (a `.json`); a launch comment in the source stands in for a missing launch. Raises Unreadable."""
    try:
        parsed = _Sidecar.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}", hint="a bare kernel needs its sidecar") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise Unreadable(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError as error:
        raise Unreadable(f"{path.name} is not JSON: {error}") from None
    return _setting(parsed, path.name, source)


def _setting(s: _Sidecar, name: str, source: str) -> Setting:
    index = {arg.name: i for i, arg in enumerate(s.args)}
    calls = tuple(_call(k, index, name) for k in s.kernels) or (_single(s, name, source),)
    parameters = tuple(_parameter(arg) for arg in s.args)
    values = tuple(_argument(arg) for arg in s.args)
    constants = tuple((symbol, np.asarray(_init(value), np.float64)) for symbol, value in s.constants.items())
    return Setting(calls, parameters, tuple(a.kind for a in s.args), values, constants)


def _single(s: _Sidecar, name: str, source: str) -> Call:
    launch = s.launch.launch() if s.launch else launch_comment(source)
    if s.kernel is None or launch is None:
        raise Unreadable(f"{name} names no {'launch' if s.kernel else 'kernel'}", hint="give kernel and launch, or kernels")
    return Call(s.kernel, launch, tuple(range(len(s.args))))


def _call(k: _Kernel, index: dict[str, int], name: str) -> Call:
    unknown = [a for a in k.args if a not in index]
    if unknown:
        raise Unreadable(f"{name}: kernel {k.name} takes {unknown[0]}, which is not in args")
    return Call(k.name, k.launch.launch(), tuple(index[a] for a in k.args))


def _parameter(arg: _Arg) -> Parameter:
    struct = not isinstance(arg.dtype, str)
    pointer = arg.kind != "scalar" or arg.dtype == "pointer"
    if not struct and arg.dtype != "pointer" and arg.dtype not in C_TYPES:
        raise Unreadable(f"argument {arg.name}: dtype {arg.dtype} is not known", hint="one of " + ", ".join(C_TYPES))
    return Parameter(arg.name, "struct" if struct else str(arg.dtype), pointer)


def storage_dtype(dtype: str | list[tuple[str, str]]) -> np.dtype:
    """How NumPy holds elements of a sidecar dtype."""
    if isinstance(dtype, str):
        return np.dtype("uint16" if dtype == "bfloat16" else dtype)
    return np.dtype([(field, storage_dtype(inner)) for field, inner in dtype], align=True)


def _argument(arg: _Arg) -> Any:
    if arg.dtype == "pointer":
        return None
    dtype = storage_dtype(arg.dtype)
    if arg.kind == "scalar":
        return _filled(arg, dtype, ())[()]
    if arg.init is None and arg.kind in ("in", "inout"):
        return None
    shape = _shape(arg, dtype)
    return poisoned(shape, dtype) if arg.init is None else _filled(arg, dtype, shape)


def _shape(arg: _Arg, dtype: np.dtype) -> tuple[int, ...]:
    size = dtype.itemsize
    for extent in arg.shape:
        if extent < 0:
            raise Unreadable(f"argument {arg.name}: a negative extent in {arg.shape}")
        size *= extent
    if size > _LIMIT_BYTES:
        raise Unreadable(f"argument {arg.name}: the shape {arg.shape} takes {size} bytes")
    return tuple(arg.shape)


def poisoned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of values that a kernel does not write by chance: NaN, or 0xA5 in every byte."""
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[...] = 0xFF if dtype.kind == "f" else 0xA5
    return array


def _init(value: Any) -> Any:
    return evaluate(value) if isinstance(value, str) else value


def _filled(arg: _Arg, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    value = _init(arg.init if arg.init is not None else 0)
    try:
        if dtype.fields:
            return np.broadcast_to(np.array(tuple(value) if isinstance(value, list) else value, dtype), shape).copy()
        value = np.asarray(value)
        value = value.reshape(shape) if value.size == np.prod(shape, dtype=np.int64) else np.broadcast_to(value, shape)
        return to_bfloat16(value) if arg.dtype == "bfloat16" else np.ascontiguousarray(value.astype(dtype)).reshape(shape)
    except (TypeError, ValueError) as error:
        raise Unreadable(f"argument {arg.name}: init does not give {list(shape)} of {arg.dtype}: {error}") from None


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """The bits of float values rounded to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return (
        np.where(np.isnan(np.asarray(values, np.float32)), np.uint16(0x7FC0), rounded)
        .astype(np.uint16)
        .reshape(np.shape(values))
    )
