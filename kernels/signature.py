"""What a call of a kernel must bring: a Program comes in, out come the params it can make itself and, for given shapes, its dims.

A param that every run writes wholly before it reads it is `made`: the caller may leave it out, and the shapes of the others say how
large it is. Any other written param is in-out: it must be given, and its old contents matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir.defined import undefined_reads
from ..ir.diagnostic import InputMismatch
from ..ir.expr import Const, Expr, Load, Var, affine, as_int, simplify, substitute
from ..ir.intrinsic import inline_calls
from ..ir.kernel import Alloc, Body, Buffer, For, Program, Store
from ..ir.text import print_buffer, print_expr

Size = int  # or a torch.SymInt, which behaves like one


@dataclass(frozen=True)
class Signature:
    """`given`: params that every call brings, in order; `made`: those that it may leave out; `free`: dims that no given param's shape tells."""

    program: Program
    given: tuple[Buffer, ...]
    made: tuple[Buffer, ...]
    free: tuple[str, ...]

    @property
    def in_out(self) -> tuple[Buffer, ...]:
        """Given params that are written."""
        written = self.program.written()
        return tuple(b for b in self.given if b.name in written)

    def dims(self, shapes: Mapping[str, Sequence[Size]], known: Mapping[str, Size], check: bool = True) -> dict[str, Size]:
        """The value of each dim, from the shapes of the params given. Raises InputMismatch.

        `check=False` takes shapes as they are, for sizes that are symbols.
        """
        env = dict(known)
        found = {b.name: b for b in self.program.params if b.name in shapes}
        for b in found.values():
            if len(shapes[b.name]) != len(b.shape):
                raise _misfit(b, shapes[b.name], env)
        asked = [(e, n) for b in found.values() for e, n in zip(b.shape, shapes[b.name])]
        while any([_solve(e, n, env) for e, n in asked]):
            pass
        for d in self.program.dims:
            if d.name not in env:
                raise InputMismatch(f"no argument tells the dim `{d.name}` of {self.program.name}", hint=f"pass {d.name}=...")
        if check:
            self._check(found, shapes, env)
        return {d.name: env[d.name] for d in self.program.dims}

    def _check(self, found: Mapping[str, Buffer], shapes: Mapping[str, Sequence[int]], env: Mapping[str, int]) -> None:
        for name, b in found.items():
            if tuple(shapes[name]) != sizes_of(b.shape, env):
                raise _misfit(b, shapes[name], env)
        for d in self.program.dims:
            if env[d.name] < d.lo or (d.hi is not None and env[d.name] > d.hi):
                raise InputMismatch(f"`{d.name}` is {env[d.name]}, outside the range {d.lo}..{d.hi or 'inf'} of {self.program.name}")


def signature(program: Program) -> Signature:
    """The signature of a naive program."""
    made = wholly_written(program)
    given = tuple(b for b in program.params if b.name not in made)
    known: set[str] = set()
    while new := {n for b in given for e in b.shape if (n := _unknown(e, known)) is not None} - known:
        known |= new
    free = tuple(d.name for d in program.dims if d.name not in known)
    return Signature(program, given, tuple(b for b in program.params if b.name in made), free)


def wholly_written(program: Program) -> frozenset[str]:
    """Params of which every element is written in every run, and before it is read.

    Asked of the rule `defined`: the written params become allocations, and a read of each whole param follows the program.
    """
    p = inline_calls(program)
    written = [b for b in p.params if b.name in p.written()]
    sinks = tuple(replace(b, name=b.name + "$") for b in written)
    others = tuple(b for b in p.params if b not in written)
    body = (*(Alloc(b) for b in written), *p.body, *(s for b in written for s in _read_all(b)))
    bad = {place.buffer for _, place in undefined_reads(Program(p.name, p.dims, (*others, *sinks), body))}
    return frozenset(b.name for b in written) - bad


def _read_all(b: Buffer) -> Body:
    axes = [f"{b.name}${k}" for k in range(len(b.shape))]
    index = tuple(Var(a) for a in axes)
    body: Body = (Store(b.name + "$", index, Load(b.name, index)),)
    for axis, n in reversed(list(zip(axes, b.shape))):
        body = (For(axis, Const(0), n, "serial", body),)
    return body


def sizes_of(shape: Sequence[Expr], env: Mapping[str, Size]) -> tuple[Size, ...]:
    """The numbers (or symbols) of a shape."""
    return tuple(_number(e, env) for e in shape)


def _number(e: Expr, env: Mapping[str, Size]) -> Size:
    if isinstance(e, Var):
        return env[e.name]
    if not any(not isinstance(v, int) for v in env.values()):
        n = as_int(simplify(substitute(e, {k: Const(v) for k, v in env.items()})))
        if n is None:
            raise InputMismatch(f"the size `{print_expr(e)}` is no number here")
        return n
    terms = affine(e)
    if any(k is not None and not isinstance(k, Var) for k in terms):
        raise InputMismatch(f"the size `{print_expr(e)}` of an output is not linear in the dims, so it has no symbolic form")
    return sum((v * env[k.name] for k, v in terms.items() if isinstance(k, Var)), terms.get(None, 0))


def _unknown(e: Expr, known: Mapping[str, Size] | set[str]) -> str | None:
    """The one dim that a size would tell."""
    terms = affine(e)
    left = [k for k in terms if k is not None and not (isinstance(k, Var) and k.name in known)]
    return left[0].name if len(left) == 1 and isinstance(left[0], Var) else None


def _solve(e: Expr, n: Size, env: dict[str, Size]) -> bool:
    """Find the one unknown dim of `e == n`, if there is one."""
    name = _unknown(e, env)
    if name is None:
        return False
    terms = affine(e)
    rest = sum((v * env[k.name] for k, v in terms.items() if isinstance(k, Var) and k.name != name), terms.get(None, 0))
    factor = terms[Var(name)]
    env[name] = n - rest if factor == 1 else (n - rest) // factor
    return True


def _misfit(b: Buffer, shape: Sequence[Size], env: Mapping[str, Size]) -> InputMismatch:
    dims = ", ".join(f"{k}={v}" for k, v in env.items())
    return InputMismatch(f"`{b.name}` has the shape {list(shape)}, expected {print_buffer(b)}" + (f" with {dims}" if dims else ""))
