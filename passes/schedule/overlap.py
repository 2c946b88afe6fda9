"""The step `pipeline`: what an iteration will need is copied while the one before it computes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...ir.diagnostic import IllegalStep
from ...ir.expr import Const, Expr, Load, Op, Var, add, loads, mod, sub
from ...ir.kernel import Alloc, Body, For, If, Program, Stmt, expressions, statements, substitute_axes, writes
from ...ir.scope import Scope, written_names
from .step import Step, edit_loops, map_places, need_alloc, refuse, tidy

TWO = Const(2)


@dataclass(frozen=True)
class Pipeline(Step):
    """Give a staged buffer two halves and fill the one for the next iteration before the current one is used.

    pipeline(k0, B_s)    for k0 in serial(K):           ->   B_s: shared.f32[2, T]
                             B_s: shared.f32[T]              for t: B_s[0, t] = B[0, t]
                             for t: B_s[t] = B[k0, t]        for k0 in serial(K):
                             S(B_s)                              if k0 + 1 < K:
                                                                     for t: B_s[(k0 + 1) % 2, t] = B[k0 + 1, t]
                                                                 S(B_s[k0 % 2])

    The loop is serial; one statement of its body fills the buffer and does nothing else, and nothing in the loop writes what it loads.
    """

    axis: str
    buffer: str

    def apply(self, p: Program) -> Program:
        need_alloc(p, self.buffer)
        done: list[Stmt] = []

        def pipeline(loop: For, scope: Scope) -> Body:
            mine = next((s for s in loop.body if isinstance(s, Alloc) and s.buffer.name == self.buffer), None)
            if mine is None:
                return (loop,)
            done.append(loop)
            return self._pipelined(p, loop, mine)

        out = edit_loops(p, self.axis, pipeline)
        if not done:
            raise IllegalStep(f"`{self.buffer}` is not allocated in the body of `{self.axis}`", hint="stage it there first")
        return out

    def _pipelined(self, p: Program, loop: For, alloc: Alloc) -> Body:
        fill = self._fill(p, loop)
        rest = tuple(s for s in loop.body if s is not fill and s is not alloc)
        step = sub(Var(loop.axis), loop.lo)
        later = add(Var(loop.axis), 1)
        first = _halved(substitute_axes((fill,), {loop.axis: loop.lo}), self.buffer, Const(0))
        following = _halved(substitute_axes((fill,), {loop.axis: later}), self.buffer, mod(add(step, 1), TWO))
        used = _halved(rest, self.buffer, mod(step, TWO))
        ahead = If(Op("<", (later, loop.hi)), following)
        halves = replace(alloc.buffer, shape=(TWO, *alloc.buffer.shape))
        return (Alloc(halves), *tidy((If(Op("<", (loop.lo, loop.hi)), first), replace(loop, body=(ahead, *used)))))

    def _fill(self, p: Program, loop: For) -> Stmt:
        """The statement that fills the buffer."""
        if loop.kind != "serial":
            raise refuse(p, loop, f"`{loop.axis}` is {loop.kind}, only a serial loop has a next iteration")
        found = [s for s in loop.body if self.buffer in written_names((s,))]
        if len(found) != 1 or written_names((found[0],)) != {self.buffer}:
            raise refuse(p, loop, f"`{self.buffer}` is not filled by one statement that does nothing else")
        changed = written_names(loop.body)
        for s in statements((found[0],)):
            used = {x.buffer for e in expressions(s) for x in loads(e)} - set(writes(s))
            if used & changed or any(self.buffer == x.buffer for e in expressions(s) for x in loads(e)):
                raise refuse(p, s, f"this reads `{(used & changed or {self.buffer}).pop()}`, which the loop writes")
        return found[0]


def _halved(body: Body, buffer: str, half: Expr) -> Body:
    return map_places(body, lambda x: Load(x.buffer, (half, *x.index)) if x.buffer == buffer else x)
