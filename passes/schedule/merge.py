"""The step `merge`: two dims of a buffer become one. A program comes in, the same one with the buffer's shape and every index changed goes out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...ir.diagnostic import IllegalStep
from ...ir.expr import Load, add, mul
from ...ir.kernel import Alloc, Body, Program, Stmt
from ...ir.scope import Scope
from .step import Step, edit, map_places, need_alloc, tidy


@dataclass(frozen=True)
class Merge(Step):
    """Make one dim of a buffer's dims `dim` and `dim + 1`.

    merge(t, 0)          t: shared.f32[4, 16, K]   ->   t: shared.f32[64, K]
                         t[a, b, k]                     t[a*16 + b, k]
    merge(t, 0, pad=8)   as many elements more that nothing reads: rows of shared memory that do not all begin in one bank

    The dims belong to no lanes.
    """

    buffer: str
    dim: int
    pad: int = 0

    def apply(self, p: Program) -> Program:
        b = need_alloc(p, self.buffer)
        d = self.dim
        if not b.owned <= d < len(b.shape) - 1:
            raise IllegalStep(
                f"`{b.name}` has no dims {d} and {d + 1} to merge", hint=f"its dims are {b.owned} to {len(b.shape) - 1}, owned ones apart"
            )
        if self.pad < 0:
            raise IllegalStep(f"a dim is padded by 0 and more elements, not {self.pad}")
        shape = (*b.shape[:d], add(mul(b.shape[d], b.shape[d + 1]), self.pad), *b.shape[d + 2 :])

        def reshape(s: Stmt, scope: Scope) -> Body | None:
            return (Alloc(replace(b, shape=shape)),) if isinstance(s, Alloc) and s.buffer.name == b.name else None

        def place(x: Load) -> Load:
            if x.buffer != b.name:
                return x
            return Load(x.buffer, (*x.index[:d], add(mul(x.index[d], b.shape[d + 1]), x.index[d + 1]), *x.index[d + 2 :]))

        out = edit(p, reshape)
        return replace(out, body=tidy(map_places(out.body, place)))
