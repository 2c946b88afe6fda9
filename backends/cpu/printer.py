"""Scheduled Programs to C++. Comes in: Programs and an instruction set. Goes out: one `extern "C"` function per program

    void NAME(int64_t dim.., T* param.., char* scratch)

where `scratch` (64-byte aligned, `scratch_bytes` long) is a parameter only when the program needs some. Buffers are dense and
row-major; f16 and bf16 are stored as 2 bytes, b1 as 1. Parallel regions have the team size that the caller set with
`omp_set_num_threads`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from ...ir.dependence import crossed
from ...ir.expr import Const, Expr, Op, Var, add, mul
from ...ir.intrinsic import inline_calls
from ...ir.kernel import Buffer, For, Program
from ...ir.scope import scopes
from ...ir.text import print_program
from ...ir.variants import variants
from .codegen.dtypes import STORAGE
from .codegen.expand import expand
from .codegen.place import Layout, layout
from .codegen.statements import Statements
from .codegen.writer import KEYWORDS, LIBRARY, Writer
from .isa import Isa

HEADER = "warploom_cpu.h"
THREADS = "threads"  # the Var that `scratch_bytes` uses for the team size


def symbol(program: Program) -> str:
    """The C name of a program's function."""
    return program.name + "_kernel" if program.name in KEYWORDS | LIBRARY else program.name


def scratch_bytes(program: Program, isa: Isa) -> Expr:
    """Bytes of scratch memory, over the program's dims and `THREADS`; Const(0) when the function takes none."""
    if program.dispatch:
        return _most([scratch_bytes(p, isa) for p in _variants(program)])
    return _scratch(_plan(_Same(program), isa.lanes)[1])


def _most(needs: list[Expr]) -> Expr:
    distinct = [e for e in dict.fromkeys(needs) if e != Const(0)]
    out = distinct[0] if distinct else Const(0)
    for e in distinct[1:]:
        out = Op("max", (out, e))
    return out


@lru_cache(maxsize=64)
def _variants_of(key: _Same) -> tuple[Program, ...]:
    p = key.program
    name = symbol(p)
    return tuple(replace(v.program, name=f"{name}_v{k}") for k, v in enumerate(variants(p)))


def _variants(p: Program) -> tuple[Program, ...]:
    """The variants as programs with names of their own; the same objects each time, since plans are kept by object."""
    return _variants_of(_Same(p))


class _Same:
    """A cache key that is the very program: equal programs may differ in the sign of a zero or in 1 and True."""

    def __init__(self, program: Program):
        self.program = program

    def __hash__(self) -> int:
        return id(self.program)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.program is self.program


@lru_cache(maxsize=64)
def _plan(key: _Same, lanes: int) -> tuple[Program, Layout]:
    """The expanded program, operations that a CPU lacks written out, and where its buffers live; asked for by every function of this file."""
    expanded = expand(inline_calls(key.program, "c++"), lanes)
    return expanded, layout(expanded, lanes)


def _scratch(plan: Layout) -> Expr:
    return add(plan.shared, mul(plan.thread, Var(THREADS)))


def print_function(program: Program, isa: Isa, may_alias: Iterable[str] = ()) -> str:
    """C++ of one program. `may_alias`: params that share memory with another param, so that no order of accesses is assumed."""
    if program.dispatch:
        return _print_dispatch(program, isa, frozenset(may_alias))
    expanded, plan = _plan(_Same(program), isa.lanes)
    writer = Writer({symbol(program)})
    printer = Statements(expanded, plan, isa.lanes, writer, _crossed(program))
    head = _signature(program, printer, _scratch(plan) != Const(0), frozenset(may_alias))
    printer.body(expanded.body)
    checks = [
        f"    const bool {printer.name(b)}_streams = {' && '.join([f'aligned({printer.name(b)})', *sorted(c)])};"
        for b, c in printer.streams.items()
    ]
    return "\n".join([head, *checks, *writer.lines, "}", ""])


def _print_dispatch(program: Program, isa: Isa, may_alias: frozenset[str]) -> str:
    """A function for each variant, then one that chooses among them."""
    made = _variants(program)
    needs = scratch_bytes(program, isa) != Const(0)
    whole, writer = replace(program, body=made[0].body, dispatch=""), Writer({symbol(program)})
    expanded, plan = _plan(_Same(whole), isa.lanes)
    printer = Statements(expanded, plan, isa.lanes, writer, frozenset())
    lines = [_signature(program, printer, needs, may_alias)]
    for v, s in zip(made, program.body):
        args = [printer.name(n.name) for n in (*program.dims, *program.params)]
        args += ["scratch"] if scratch_bytes(v, isa) != Const(0) else []
        cond = printer.scalar(s.cond, "b1").text  # type: ignore[union-attr]
        lines.append(f"    if ({cond}) return {v.name}({', '.join(args)});")
    return "\n".join([*(print_function(v, isa, may_alias) for v in made), *lines, "}", ""])


def _crossed(program: Program) -> frozenset[tuple[str, str]]:
    """(block axis, buffer) where iterations combine into the same element, so that the Reduce must be atomic."""
    blocks = [(s, scope) for s, scope in scopes(program) if isinstance(s, For) and s.kind == "block"]
    return frozenset((s.axis, reach.place.buffer) for s, scope in blocks for reach in crossed(s, scope))


def _signature(p: Program, printer: Statements, scratch: bool, may_alias: frozenset[str]) -> str:
    written = set(p.written())
    args = [f"int64_t {printer.name(d.name)}" for d in p.dims]
    args += [_param(b, printer, b.name in written, b.name in may_alias) for b in p.params]
    if scratch:
        args.append("char* scratch")
    return f'extern "C" void {symbol(p)}({", ".join(args)}) {{'


def _param(b: Buffer, printer: Statements, written: bool, alias: bool) -> str:
    return f"{'' if written else 'const '}{STORAGE[b.dtype]}*{' ' if alias else ' __restrict '}{printer.name(b.name)}"


def declaration(program: Program, isa: Isa) -> str:
    """The C prototype of a program's function, for a caller that does not include the header."""
    args = [f"int64_t {d.name}" for d in program.dims] + [
        f"{'' if b.name in program.written() else 'const '}void* {b.name}" for b in program.params
    ]
    scratch = ["char* scratch"] if scratch_bytes(program, isa) != Const(0) else []
    return f'extern "C" void {symbol(program)}({", ".join([*args, *scratch])});'


def translation_unit(programs: Iterable[Program], isa: Isa, entry: str | None = None) -> str:
    """A C++ file with the functions of several programs, each under its kernel text, and after them the text `entry`."""
    parts = [f'#include "{HEADER}"', "namespace wl {", ""]
    for p in programs:
        parts += [*(f"// {line}" for line in print_program(p).splitlines()), print_function(p, isa)]
    parts += ["}  // namespace wl", *([entry] if entry else []), ""]
    return "\n".join(parts)
