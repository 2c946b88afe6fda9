"""A CUDA program as data: sources, buffers, and launches in order with what each argument is bound to.

Made by `printer` for one kernel program and by `module` for a model; consumed by the runtime, by `export` to files and by data sets.
Sizes are expressions over the program's dims; `CudaProgram.at(dims)` gives numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...ir.expr import Expr
from ...ir.interpret import evaluate
from ...ir.types import BYTES, Dim

Three = tuple[Expr, Expr, Expr]
NUMPY_NAMES = {
    "f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "i64": "int64", "i32": "int32", "i16": "int16", "i8": "int8",
    "u8": "uint8", "b1": "bool",
}  # fmt: skip
ROLES = ("in", "out", "inout", "temp")


@dataclass(frozen=True)
class CudaBuffer:
    """An array in global memory: dense and row-major. `role`: in, out, inout, or temp (made and used by the program alone)."""

    name: str
    dtype: str
    shape: tuple[Expr, ...]
    role: str

    @property
    def numpy_dtype(self) -> str:
        return NUMPY_NAMES[self.dtype]


@dataclass(frozen=True)
class CudaLaunch:
    """One launch: `kernel<<<grid, block, shared_bytes>>>(args)`. `args` name buffers or dims, in the kernel's parameter order."""

    kernel: str
    grid: Three
    block: tuple[int, int, int]
    shared_bytes: Expr
    args: tuple[str, ...]


@dataclass(frozen=True)
class CudaKernel:
    """A `__global__` function: its text, its parameters by their own names, the IR that it was printed from, the C type of its dims."""

    name: str
    text: str
    params: tuple[str, ...]
    ir: str = ""
    dim_type: str = "int"


@dataclass(frozen=True)
class Launched:
    """A launch with numbers."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    args: tuple[str, ...]


@dataclass(frozen=True)
class Sized:
    """A program for given dims: shapes of the buffers, launches with numbers. `nbytes`: of all buffers."""

    shapes: Mapping[str, tuple[int, ...]]
    launches: tuple[Launched, ...]
    nbytes: Mapping[str, int]


@dataclass(frozen=True)
class CudaProgram:
    """Everything that runs on a device between two host steps: `functions` stand before the kernels of `source`."""

    name: str
    dims: tuple[Dim, ...]
    buffers: tuple[CudaBuffer, ...]
    kernels: tuple[CudaKernel, ...]
    launches: tuple[CudaLaunch, ...]
    functions: tuple[str, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """One CUDA C++ file with all kernels."""
        texts = dict.fromkeys(k.text for k in self.kernels)
        return "\n\n".join([*_includes(texts), *self.functions, *texts]) + "\n"

    def buffer(self, name: str) -> CudaBuffer:
        return next(b for b in self.buffers if b.name == name)

    def at(self, dims: Mapping[str, int]) -> Sized:
        """Shapes and launches for the dims. Raises InputMismatch for a dim without a value."""
        shapes = {b.name: tuple(evaluate(d, dims) for d in b.shape) for b in self.buffers}
        nbytes = {b.name: _product(shapes[b.name]) * BYTES[b.dtype] for b in self.buffers}
        return Sized(shapes, tuple(_launched(x, dims) for x in self.launches), nbytes)

    def bound(self, names: Mapping[str, str]) -> CudaProgram:
        """The same program with buffers renamed."""
        launches = tuple(replace(x, args=tuple(names.get(a, a) for a in x.args)) for x in self.launches)
        return replace(self, buffers=tuple(replace(b, name=names.get(b.name, b.name)) for b in self.buffers), launches=launches)


def _launched(x: CudaLaunch, dims: Mapping[str, int]) -> Launched:
    gx, gy, gz = (evaluate(g, dims) for g in x.grid)
    return Launched(x.kernel, (gx, gy, gz), x.block, evaluate(x.shared_bytes, dims), x.args)


def _product(shape: tuple[int, ...]) -> int:
    out = 1
    for extent in shape:
        out *= extent
    return out


def _includes(texts: Mapping[str, None]) -> list[str]:
    used = [h for h, word in (("cuda_fp16.h", "__half"), ("cuda_bf16.h", "__nv_bfloat16")) if any(word in t for t in texts)]
    return ["\n".join(f"#include <{h}>" for h in used)] if used else []
