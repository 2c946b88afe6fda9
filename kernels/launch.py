"""A scheduled program on the CPU: built once; a call takes tensors for its params and gives back those it wrote.

Inputs that are not dense are copied; outputs must be dense, and may share no memory with another argument.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ..backends.cpu.allocator import pool
from ..backends.cpu.build import HEADERS, INCLUDE
from ..backends.cpu.host import host
from ..backends.cpu.isa import by_name
from ..backends.cpu.printer import THREADS, scratch_bytes, symbol, translation_unit
from ..backends.toolchain import Headers, compile_library, open_library
from ..frontend.dtypes import TORCH_DTYPE
from ..ir.diagnostic import InputMismatch
from ..ir.expr import Const, Expr, as_int, substitute
from ..ir.kernel import Buffer, Program
from ..ir.text import print_buffer
from .signature import Signature, sizes_of


@dataclass(frozen=True)
class Native:
    """A built program: `entry` takes its dims, the addresses of its params and of scratch memory where it needs some."""

    program: Program
    entry: Callable[..., None]
    scratch: Expr

    def bound(self, tensors: Sequence[torch.Tensor], dims: Mapping[str, int], threads: int) -> Callable[[], None]:
        """A run on checked tensors, in param order, which must outlive it."""
        given = [ctypes.c_int64(dims[d.name]) for d in self.program.dims]
        given += [ctypes.c_void_p(t.data_ptr()) for t in tensors]
        memory = None
        if self.scratch != Const(0):
            env = {**{k: Const(v) for k, v in dims.items()}, THREADS: Const(threads)}
            memory = pool.storage(as_int(substitute(self.scratch, env)) or 1)
            given.append(ctypes.c_void_p(memory.data_ptr()))
        entry, team = self.entry, _team()

        def run(kept: object = memory) -> None:
            team(threads)
            entry(*given)

        return run


@functools.cache
def _team() -> Callable[[int], None]:
    """`omp_set_num_threads` of the OpenMP library that the process has loaded."""
    return ctypes.CDLL(None).omp_set_num_threads


@functools.lru_cache(maxsize=512)
def native(program: Program, flags: tuple[str, ...] = ()) -> Native:
    """Build `program` (from the build cache where it is there), with more compiler flags where given. Raises MissingTool, BuildFailed,
    IllegalProgram."""
    isa = by_name(host().isa)
    path = compile_library([translation_unit([program], isa)], (*isa.flags, *flags), Headers.read(INCLUDE, *HEADERS), "kernel")
    entry = getattr(open_library(path), symbol(program))
    entry.restype = None
    return Native(program, entry, scratch_bytes(program, isa))


@dataclass(frozen=True)
class Arguments:
    """A checked call: a tensor per param, and the dims."""

    tensors: tuple[torch.Tensor, ...]
    dims: Mapping[str, int]

    def written(self, program: Program) -> tuple[torch.Tensor, ...]:
        names = program.written()
        return tuple(t for b, t in zip(program.params, self.tensors) if b.name in names)


def arguments(sig: Signature, tensors: Sequence[object], dims: Mapping[str, int]) -> Arguments:
    """Check the tensors of a call (all params, or all but the made ones) and allocate what is left out. Raises InputMismatch."""
    params = sig.program.params
    if len(tensors) == len(params):
        names = [b.name for b in params]
    elif len(tensors) == len(sig.given):
        names = [b.name for b in sig.given]
    else:
        raise InputMismatch(f"{sig.program.name} takes {_counts(sig)}, not {len(tensors)}", hint=_listed(sig))
    unknown = [k for k in dims if k not in {d.name for d in sig.program.dims}]
    if unknown:
        raise InputMismatch(f"{sig.program.name} has no dim `{unknown[0]}`")
    given = {name: _tensor(t, name) for name, t in zip(names, tensors)}
    env = sig.dims({name: tuple(t.shape) for name, t in given.items()}, dims)
    written = sig.program.written()
    ready = tuple(_ready(b, given.get(b.name), env, b.name in written) for b in params)
    _apart(params, ready, written)
    return Arguments(ready, env)


def _counts(sig: Signature) -> str:
    n, fewer = len(sig.program.params), len(sig.given)
    return f"{n} tensors" if n == fewer else f"{n} tensors, or {fewer} without its outputs"


def _listed(sig: Signature) -> str:
    return ", ".join(f"{b.name}: {print_buffer(b)}" for b in sig.program.params)


def _tensor(value: object, name: str) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    try:
        return torch.as_tensor(value)  # a NumPy array shares its memory
    except (TypeError, ValueError, RuntimeError) as e:
        raise InputMismatch(f"`{name}` is no tensor: {str(e).splitlines()[0]}") from None


def _ready(b: Buffer, t: torch.Tensor | None, env: Mapping[str, int], written: bool) -> torch.Tensor:
    dtype = TORCH_DTYPE[b.dtype]
    if t is None:
        return torch.empty(sizes_of(b.shape, env), dtype=dtype)
    if t.dtype is not dtype:
        raise InputMismatch(f"`{b.name}` is {t.dtype}, expected {dtype}", hint=f"pass {b.name}.to({dtype})")
    if t.device.type != "cpu":
        raise InputMismatch(f"`{b.name}` is on {t.device}, expected the CPU")
    if written and not t.is_contiguous():
        raise InputMismatch(f"`{b.name}` is written, so it must be contiguous", hint="pass a contiguous tensor and copy from it")
    if b.within is not None and t.numel():
        lo, hi = sizes_of(b.within, env)
        if t.min() < lo or t.max() >= hi:
            raise InputMismatch(f"`{b.name}` holds {t.min()}..{t.max()}, outside its range [{lo}, {hi})")
    return t if t.is_contiguous() else t.contiguous()


def _apart(params: Sequence[Buffer], tensors: Sequence[torch.Tensor], written: Sequence[str]) -> None:
    spans = [(t.data_ptr(), t.data_ptr() + t.numel() * t.element_size()) for t in tensors]
    for k, b in enumerate(params):
        for q, other in enumerate(params):
            if k != q and b.name in written and spans[k][0] < spans[q][1] and spans[q][0] < spans[k][1]:
                raise InputMismatch(f"`{b.name}` is written and shares memory with `{other.name}`", hint="pass a copy of one of them")
