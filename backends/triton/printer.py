"""Scheduled Programs to Triton. Comes in: a Program whose lanes are tiles (powers of two). Goes out: a `CudaProgram` whose kernels are Triton
text: one kernel per top-level nest of block loops, with its grid, in order; `block` says the warps of a program instance.
"""

from __future__ import annotations

import keyword
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ...ir.dependence import crossed
from ...ir.expr import ONE, Const, Expr, Var, add, floordiv, mod, mul, names
from ...ir.intrinsic import inline_calls
from ...ir.kernel import Buffer, Program, expressions, statements, writes
from ...ir.scope import Scope
from ...ir.text import print_program
from ...passes.barriers import with_barriers
from ...passes.regions import normalised
from ..cuda.launches import (
    Launch,
    Plan,
    beyond_int,
    block_allocs,
    plan_launches,
    rectangular,
    refuse_variants,
    used,
    whole,
    workspaces,
)
from ..cuda.program import CudaBuffer, CudaKernel, CudaLaunch, CudaProgram
from .functions import FUNCTIONS, OWN, Functions
from .statements import Statements
from .values import Home

RESERVED = frozenset((*keyword.kwlist, "tl", "triton", "range", "float", "int", "min", "max", *OWN, *(f for f in FUNCTIONS.values())))
WARPS = 4


def print_triton(program: Program, functions: Functions | None = None) -> CudaProgram:
    """The Triton of a scheduled program. Raises UnsupportedOnGpu."""
    functions = functions or Functions()
    refuse_variants(program)
    program = inline_calls(program)
    plan = plan_launches(normalised(program), program.name)
    made = [_Kernel(program, plan, launch, functions).print() for launch in plan.launches]
    roles = {b.name: "in" if b.name not in program.written() else "inout" if b.name in program.read() else "out" for b in program.params}
    buffers = [CudaBuffer(b.name, b.dtype, b.shape, roles[b.name]) for b in program.params]
    temps = [*plan.temps, *(b for _, _, spaces in made for b in spaces)]
    buffers += [CudaBuffer(b.name, b.dtype, b.shape, "temp") for b in temps]
    kernels, launches = tuple(k for k, _, _ in made), tuple(x for _, x, _ in made)
    return CudaProgram(program.name, program.dims, tuple(buffers), kernels, launches, tuple(functions.needed.values()))


@dataclass(frozen=True)
class _Kernel:
    program: Program
    plan: Plan
    launch: Launch
    functions: Functions

    def print(self) -> tuple[CudaKernel, CudaLaunch, list[Buffer]]:
        """The kernel, its launch, and the workspaces that it needs."""
        mine = used((whole(self.launch),))
        params = [b for b in (*self.program.params, *self.plan.temps) if b.name in mine]
        spaces = workspaces(self.launch)
        body = self._body(params)
        dims = self._dims(params)
        head = [body.name(d) for d in dims]
        for b in params:
            body.names[b.name] = body.fresh(f"{b.name}_ptr")
            head.append(body.names[b.name])
        for b in spaces:
            local = b.name.removeprefix(f"{self.launch.name}_").removesuffix("_space")
            body.workspaces[local] = body.fresh(f"{local}_space_ptr")
            head.append(body.workspaces[local])
        grid = self._grid(body)
        synced = with_barriers(self.launch.body, {b.name: b for b in params})
        body.declare_lanes(synced)
        with ExitStack() as stack:
            for loop in self.launch.blocks:
                stack.enter_context(body.axis(loop.axis, loop.lo, loop.hi))
            body.regions(synced)
        name = self.launch.name
        text = "\n".join(["@triton.jit", f"def {name}({', '.join(head)}):", *(body.lines or ["    pass"])])
        args = (*dims, *(b.name for b in params), *(b.name for b in spaces))
        shown = replace(self.program, name=name, body=(whole(self.launch),))
        return CudaKernel(name, text, args, print_program(shown)), CudaLaunch(name, grid, (32 * WARPS, 1, 1), Const(0), args), spaces

    def _body(self, params: list[Buffer]) -> Statements:
        written: dict[str, int] = {}
        for s in statements(self.launch.body):
            for w in writes(s):
                written[w] = written.get(w, 0) + 1
        visible = (*self.program.params, *self.plan.temps)
        scope = Scope(self.program.dims, (), visible)
        atomic: set[str] = set()
        for loop in self.launch.blocks:
            atomic |= {r.place.buffer for r in crossed(loop, scope)}
            scope = scope.enter(loop)
        taken = {*RESERVED, self.launch.name, *(k for k in self.functions.needed)}
        body = Statements(self.functions, taken, beyond_int(self.program.dims, params), frozenset(atomic), written, scope)
        for d in self.program.dims:
            body.ranges[d.name] = (d.lo, d.hi)
        for b in params:
            body.homes[b.name] = Home("memory", b)
        return body

    def _dims(self, params: list[Buffer]) -> tuple[str, ...]:
        """Dims that the kernel's text mentions."""
        seen = {n for b in (*params, *block_allocs(self.launch.body)) for d in b.shape for n in names(d)}
        seen |= {n for s in statements((whole(self.launch),)) for e in expressions(s) for n in names(e)}
        return tuple(d.name for d in self.program.dims if d.name in seen)

    def _grid(self, body: Statements) -> tuple[Expr, Expr, Expr]:
        """The grid; declares the block axes."""
        loops = self.launch.blocks
        wide = ".to(tl.int64)" if body.wide else ""
        number: Expr = Const(0)
        for loop in loops:
            number = add(mul(number, loop.hi), Var(loop.axis))
        if rectangular(loops):
            for k, loop in enumerate(loops):
                body.line(f"{body.name(loop.axis)} = tl.program_id({len(loops) - 1 - k}){wide}")
            body.block = body.value(number, "i64").text
            x, y, z = (*[loop.hi for loop in loops[::-1]], ONE, ONE, ONE)[:3]
            return x, y, z
        body.line(f"block = tl.program_id(0){wide}")
        body.taken.add("block")
        body.block = body.names["block"] = "block"
        body.ranges["block"] = (0, None)
        total: Expr = ONE
        for loop in loops[::-1]:
            digit = floordiv(Var("block"), total) if total != ONE else Var("block")
            digit = digit if loop is loops[0] else mod(digit, loop.hi)
            body.line(f"{body.name(loop.axis)} = {body.value(digit, 'i64').text}")
            total = mul(total, loop.hi)
        return total, ONE, ONE
