"""The oracle for Kernel programs: a Program, dims and NumPy arrays go in, the arrays it writes come out, by sequential execution.

Every access is checked to be in bounds and, for what the program allocates and for outputs not passed in, to be defined before it is
read; on request every pair of accesses is checked for races between iterations of parallel axes. The program is turned into one Python
function once (names are checked to be identifiers first).
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from . import scalar
from .diagnostic import InputMismatch, WarploomError
from .expr import Const, Expr, Op, Var, substitute
from .interpret_code import CODES, compile_program
from .intrinsic import inline_calls
from .kernel import Buffer, Program, Stmt
from .text import locate, print_expr
from .types import NUMPY, is_float
from .variants import at


class Fault(WarploomError):
    """The program did, on this input, what no legal program does. Correct the underlined statement."""

    code = "WL-E014"


class OutOfBounds(Fault):
    """An index lies outside its buffer."""


class UndefinedRead(Fault):
    """An element is read before anything was written to it."""


class Race(Fault):
    """Two iterations of a parallel axis touch one element, and one of them writes it."""


def run_program(
    program: Program, dims: Mapping[str, int], args: Mapping[str, np.ndarray], float64: bool = False, check_races: bool = False
) -> dict[str, np.ndarray]:
    """Execute `program` and return the params that it writes, by name; `args` stay as they are.

    `args`: an array per param, of its shape and NumPy dtype (bf16: float32); a written param may be left out and is then undefined
    until written. `float64`: all floats are doubles, in memory too. Raises Fault, InputMismatch.
    """
    sizes = _sizes(program, dims)
    if program.dispatch:
        program = at(program, sizes[program.dispatch])
    given = frozenset(args)
    run = _compiled(program, given, float64, check_races)
    memory = [_memory(b, args.get(b.name), sizes, program, float64) for b in program.params]
    faults = _Faults(program)
    run(faults, _Log(faults), sizes, memory)
    return {b.name: _array(m, b, sizes, float64) for b, m in zip(program.params, memory) if b.name in program.written()}


def _sizes(program: Program, dims: Mapping[str, int]) -> dict[str, int]:
    for d in program.dims:
        if d.name not in dims:
            raise InputMismatch(f"dim `{d.name}` has no value")
        if dims[d.name] < d.lo or (d.hi is not None and dims[d.name] > d.hi):
            raise InputMismatch(f"dim `{d.name}` is {dims[d.name]}, outside {d.lo}..{d.hi}")
    return {d.name: int(dims[d.name]) for d in program.dims}


def evaluate(e: Expr, sizes: Mapping[str, int]) -> int:
    """An index expression over dims, as a number."""
    e = substitute(e, {k: Const(v) for k, v in sizes.items()})
    return int(_number(e))


def _number(e: Expr) -> int:
    if isinstance(e, Const):
        return int(e.value)
    if isinstance(e, Op):
        a = [_number(x) for x in e.args]
        table = {"+": lambda: a[0] + a[1], "-": lambda: a[0] - a[1], "*": lambda: a[0] * a[1], "//": lambda: a[0] // a[1],
                 "%": lambda: a[0] % a[1], "neg": lambda: -a[0], "min": lambda: min(a), "max": lambda: max(a)}  # fmt: skip
        if e.name in table:
            return table[e.name]()
    raise InputMismatch(
        f"`{print_expr(e)}` is not a size known from the dims" if not isinstance(e, Var) else f"dim `{e.name}` has no value"
    )


def shape_of(b: Buffer, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(evaluate(d, sizes) for d in b.shape)


def _memory(b: Buffer, given: np.ndarray | None, sizes: Mapping[str, int], p: Program, float64: bool) -> array | bytearray:
    shape = shape_of(b, sizes)
    if given is None:
        if b.name not in p.written():
            raise InputMismatch(f"no array for `{b.name}`")
        return blank(b.dtype, int(np.prod(shape, dtype=np.int64)), float64)
    if tuple(given.shape) != shape or given.dtype != NUMPY[b.dtype]:
        raise InputMismatch(f"`{b.name}` is {given.dtype}{list(given.shape)}, expected {np.dtype(NUMPY[b.dtype])}{list(shape)}")
    _check_within(b, given, sizes)
    if b.dtype == "b1":
        return bytearray(np.ascontiguousarray(given).tobytes())
    stored = (
        given.astype(np.float64) if is_float(b.dtype) and float64 else given.astype(np.float32) if b.dtype == "f16" else given
    )
    return array(CODES[b.dtype] if not (is_float(b.dtype) and float64) else "d", np.ascontiguousarray(stored).tobytes())


def _check_within(b: Buffer, given: np.ndarray, sizes: Mapping[str, int]) -> None:
    if b.within and given.size:
        lo, hi = (evaluate(x, sizes) for x in b.within)
        if given.min() < lo or given.max() >= hi:
            raise InputMismatch(f"`{b.name}` holds {given.min()}..{given.max()}, outside [{lo}, {hi})")


def blank(dtype: str, n: int, float64: bool) -> array | bytearray:
    """Memory for `n` elements, filled with what is easily noticed."""
    if dtype == "b1":
        return bytearray(n)
    if is_float(dtype):
        return array("d" if float64 else CODES[dtype], [scalar.NAN]) * n
    return array(CODES[dtype], [77]) * n


def _array(m: array | bytearray, b: Buffer, sizes: Mapping[str, int], float64: bool) -> np.ndarray:
    shape = shape_of(b, sizes)
    if b.dtype == "b1":
        return np.frombuffer(bytes(m), dtype=np.bool_).reshape(shape).copy()
    out = np.array(m, dtype=np.float64 if is_float(b.dtype) and float64 else None).reshape(shape)
    return out if is_float(b.dtype) and float64 else out.astype(NUMPY[b.dtype])


@lru_cache(maxsize=256)
def _compiled(program: Program, given: frozenset[str], float64: bool, check_races: bool) -> Callable[..., None]:
    return compile_program(inline_calls(program), given, float64, check_races, blank)


class _Faults:
    """Turns a failed check in the generated function into a Fault at its statement."""

    def __init__(self, program: Program):
        self.program = program

    def access(self, statement: Stmt, name: str, index: tuple[int, ...], shape: tuple[int, ...]) -> None:
        at = f"{name}[{', '.join(map(str, index))}]"
        place = locate(self.program, statement)
        if any(not 0 <= i < n for i, n in zip(index, shape)):
            raise OutOfBounds(f"{at} lies outside {name} of shape {list(shape)}", place=place)
        raise UndefinedRead(f"{at} is read before it is written", place=place)

    def race(self, statement: Stmt, name: str, what: str) -> None:
        raise Race(f"iterations meet in `{name}`: {what}", place=locate(self.program, statement))

    def divisor(self) -> None:
        raise Fault("integer division by zero")


class _Log:
    """Accesses so far, per buffer and element: which iterations of the parallel loops around them made them, and how."""

    def __init__(self, faults: _Faults):
        self.faults = faults
        self.parallel: list[tuple[int, int]] = []  # (number of the loop's run, value of the axis), outermost first
        self.runs = itertools.count()

    def depth(self) -> int:
        return len(self.parallel)

    def note(self, statement: Stmt, name: str, shadow: dict, depth: int, element: int, mode: str) -> bool:
        me = tuple(self.parallel[depth:])
        if not me:
            return True
        seen = shadow.setdefault(element, {})
        for other_mode, others in seen.items():
            if other_mode == mode and mode != "w":
                continue
            for other in others:
                for (run, v), (other_run, w) in zip(me, other):
                    if run != other_run:
                        break
                    if v != w:
                        self.faults.race(statement, name, f"{other_mode} in iteration {w}, {mode} in iteration {v}")
        seen.setdefault(mode, set()).add(me)
        return True
