"""What a kernel must do at least: a naive program and the values of its dims come in, operations and bytes go out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...ir.expr import Cast, Const, Expr, Load, Op, as_int, loads, substitute
from ...ir.kernel import Alloc, Body, Buffer, Call, For, If, Program, Reduce, Store
from ...ir.machine import Machine
from ...ir.types import BYTES


@dataclass(frozen=True)
class Work:
    """`flops`: arithmetic operations; `nbytes`: memory traffic when every parameter moves once."""

    flops: float
    nbytes: float

    def fraction(self, machine: Machine, seconds: float, threads: int) -> float:
        """Share of the roofline that a run of `seconds` reaches; 0 where the machine's peaks are unknown."""
        return machine.floor_seconds(self.flops, self.nbytes, threads) / seconds if seconds else 0.0


def work(program: Program, dims: Mapping[str, int]) -> Work:
    """Operations of the naive program, and its bytes: each parameter once, or less where fewer elements are touched."""
    env: dict[str, Expr] = {name: Const(v) for name, v in dims.items()}
    touched: dict[str, float] = {}
    flops = _body(program.body, 1.0, env, touched)
    written, read = program.written(), program.read()
    nbytes = 0.0
    for b in program.params:
        moved = min(_elements(b, env), touched.get(b.name, 0.0)) * BYTES[b.dtype]
        nbytes += moved * (2 if b.name in written and b.name in read else 1)
    return Work(flops, nbytes)


def _elements(b: Buffer, env: Mapping[str, Expr]) -> float:
    total = 1.0
    for d in b.shape:
        total *= as_int(substitute(d, env)) or 0
    return total


def _body(body: Body, times: float, env: dict[str, Expr], touched: dict[str, float]) -> float:
    return sum(_statement(s, times, env, touched) for s in body)


def _statement(s: object, times: float, env: dict[str, Expr], touched: dict[str, float]) -> float:
    if isinstance(s, For):
        return _loop(s, times, env, touched)
    if isinstance(s, If):
        return _body(s.body, times, env, touched)
    if isinstance(s, Store):
        _touch(touched, s.buffer, times)
        return times * _operations(s.value, times, touched)
    if isinstance(s, Reduce):
        for place in (*s.targets, *s.running):
            _touch(touched, place.buffer, times)
        return times * (1 + sum(_operations(v, times, touched) for v in s.values))
    if isinstance(s, Call):
        for place in s.operands:
            _touch(touched, place.buffer, times)
        return 0.0
    assert isinstance(s, Alloc)
    return 0.0


def _loop(s: For, times: float, env: dict[str, Expr], touched: dict[str, float]) -> float:
    """A bound that depends on an outer axis is taken at that axis's middle."""
    lo, hi = as_int(substitute(s.lo, env)) or 0, as_int(substitute(s.hi, env)) or 0
    return _body(s.body, times * max(hi - lo, 0), {**env, s.axis: Const((lo + hi) // 2)}, touched)


def _touch(touched: dict[str, float], name: str, times: float) -> None:
    touched[name] = touched.get(name, 0.0) + times


def _operations(e: Expr, times: float, touched: dict[str, float]) -> int:
    """Arithmetic on values; index arithmetic and conditions are not counted."""
    if isinstance(e, Load):
        for load in loads(e):
            _touch(touched, load.buffer, times)
        return 0
    if isinstance(e, Cast):
        return _operations(e.value, times, touched)
    if isinstance(e, Op):
        counted = e.args[1:] if e.name == "select" else e.args
        return (e.name != "select") + sum(_operations(a, times, touched) for a in counted)
    return 0
