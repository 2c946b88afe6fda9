"""Results combined across the threads of a block: device functions for folds and scans, made per monoid and dtypes.

Comes in: a monoid and the registers that hold each thread's partial result. Goes out: a call, and the function's definition.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.expr import as_int, loads
from ....ir.kernel import Alloc, Body, If, Reduce, Store, expressions, statements
from ....ir.monoid_terms import identity_terms
from ....passes.regions import Nest
from .thread import Thread, UnsupportedOnGpu
from .values import Value, register_type

FOLD_NAMES = {"add": "sum", "mul": "product"}
_SAYS = {"add": "The sum of", "mul": "The product of", "max": "The largest of", "min": "The smallest of", "any": "Whether any holds of", "all": "Whether all hold of"}
MASK = "0xffffffff"


class Folds(Thread):
    """Prints folds and scans over a block of `threads` threads."""

    threads: int

    def fold_block(self, monoid: str, parts: tuple[str, ...], dtypes: list[str]) -> None:
        """Every thread's `parts` become the combination of all threads' parts."""
        if self.threads == 1:
            return
        name = f"block_{FOLD_NAMES.get(monoid, monoid)}"
        self._define_fold(name, monoid, dtypes)
        if len(parts) == 1:
            return self.line(f"{parts[0]} = {name}<{self.threads}>({parts[0]});")
        self.line(f"{name}<{self.threads}>({', '.join(parts)});")

    def _define_fold(self, name: str, monoid: str, dtypes: list[str]) -> None:
        kinds = [register_type(d) for d in dtypes]
        single = len(kinds) == 1
        own = ["value"] if single else [f"value{k}" for k in range(len(kinds))]
        others = [f"{'other' if single else f'other{k}'}" for k in range(len(kinds))]
        shared = ["partial"] if single else [f"partial{k}" for k in range(len(kinds))]
        says = f"// {_SAYS.get(monoid, f'The {monoid} over')} one value of each thread of the block, in every thread."
        head = f"{kinds[0] if single else 'void'} {name}({', '.join(t + (' ' if single else '& ') + v for t, v in zip(kinds, own))})"
        lines = [says, "template <int threads>", f"__device__ {head} {{"]
        lines += [f"    __shared__ {t} {p}[threads / 32];" for t, p in zip(kinds, shared)]
        lines += ["    for (int offset = 16; offset > 0; offset /= 2) {"]
        lines += [f"        const {t} {o} = __shfl_xor_sync({MASK}, {v}, offset);" for t, o, v in zip(kinds, others, own)]
        lines += [f"        {self._joined(monoid, own, others, dtypes)}", "    }"]
        lines += ["    __syncthreads();  // the call before may still be reading", "    if (threadIdx.x % 32 == 0) {"]
        lines += [f"        {p}[threadIdx.x / 32] = {v};" for p, v in zip(shared, own)]
        lines += ["    }", "    __syncthreads();", *(f"    {v} = {p}[0];" for p, v in zip(shared, own))]
        lines += ["    for (int warp = 1; warp < threads / 32; ++warp) {"]
        lines += [f"        {self._joined(monoid, own, [f'{p}[warp]' for p in shared], dtypes)}", "    }"]
        lines += [f"    return {own[0]};"] if single else []
        self.functions.define(f"{name}({', '.join(kinds)})", "\n".join([*lines, "}"]))

    def _joined(self, monoid: str, into: list[str], values: list[str], dtypes: list[str]) -> str:
        """One statement that combines `values` into the registers `into`."""
        if len(into) > 1:
            return f"{self.combiner(monoid, dtypes)}({', '.join([*into, *values])});"
        return f"{into[0]} = {self._expression(monoid, into, values, dtypes)[0]};"

    def _expression(self, monoid: str, a: list[str], b: list[str], dtypes: list[str]) -> list[str]:
        made = self.combined(monoid, [Value(x, 12, d) for x, d in zip(a, dtypes)], [Value(x, 12, d) for x, d in zip(b, dtypes)])
        return [v.text for v in made]

    # -------------------------------------------------------------------------------- scans
    def scan_nest(self, nest: Nest, scans: Sequence[Reduce]) -> None:
        """A scan along the lanes: chunks of one element a thread, each carrying on where the one before ended."""
        loop, scan = nest.loops[0], scans[0]
        if len(scans) > 1 or len(nest.loops) != 1 or len(scan.targets) != 1:
            raise UnsupportedOnGpu("a nest of lanes has one scan, of one axis and one value", hint="bind the scanned axis to serial")
        before, guard, after = _around(nest.body, scan)
        target, dtype = scan.targets[0], self.homes[scan.targets[0].buffer].buffer.dtype
        kind = register_type(dtype)
        shared = self.homes[target.buffer].kind != "register"
        carry = self.fresh("carry") if shared else self.element(target.buffer, target.index)
        if shared:
            self.line(f"{kind} {carry} = {self.load(target).text};")
        count = as_int(loop.hi)
        start, running, axis = self.fresh("start"), self.fresh("running"), self.fresh(loop.axis)
        self.names[loop.axis] = axis
        end = self.index(loop.hi)
        single = count is not None and count <= self.threads
        head = "" if single else f"for ({self.index_type} {start} = 0; {start} < {end.inside(8)}; {start} += {self.threads})"
        with self.writer.block(head), self.axis(loop.axis, loop.lo, loop.hi):
            self.line(f"const {self.index_type} {axis} = {'' if single else start + ' + '}threadIdx.x;")
            inside = f"{axis} < {end.inside(8)}"
            if guard is not None:
                inside = f"{inside} && {self.value(guard.cond, 'b1').inside(5)}"
            identity = self.number(getattr(identity_terms(scan.monoid)[0], "value", 0), dtype).text
            self.line(f"{kind} {running} = {identity};")
            before = self._declared_across(before, scan, after)
            with self.writer.block(f"if ({inside})"):
                self.body(before)
                self.line(f"{running} = {self.cast(self.value(scan.values[0], dtype), dtype).text};")
            self.line(f"{running} = {self._scan_function(scan.monoid, dtype)}<{self.threads}>({running}, {carry});")
            with self.writer.block(f"if ({inside})"):
                own = [s for s in before if isinstance(s, Alloc)]
                self.assign_running(scan, running, dtype, own)
                self.body(after)
        if shared:
            with self.writer.block("if (threadIdx.x == 0)"):
                self.assign(target, Value(carry, 12, dtype))

    def _declared_across(self, before: Body, scan: Reduce, after: Body) -> Body:
        """Declares the registers that are set before the scan and read after it, which stand in blocks of their own; gives the other statements."""
        read = {x.buffer for s in statements(after) for e in expressions(s) for x in loads(e)} - {scan.running[0].buffer}
        kept = [s for s in before if isinstance(s, Alloc) and s.buffer.name in read]
        for s in kept:
            self.alloc(s.buffer)
            self.declare(self.waiting.pop(s.buffer.name))
        return tuple(s for s in before if s not in kept)

    def assign_running(self, scan: Reduce, running: str, dtype: str, own: list[Alloc]) -> None:
        place = scan.running[0]
        for s in own:
            if s.buffer.name == place.buffer:
                self.alloc(s.buffer)
                self.declare(self.waiting.pop(s.buffer.name))
        self.assign(place, Value(running, 12, dtype))

    def _scan_function(self, monoid: str, dtype: str) -> str:
        name, kind = f"block_scan_{FOLD_NAMES.get(monoid, monoid)}", register_type(dtype)
        joined = {
            pair: self._expression(monoid, [pair[0]], [pair[1]], [dtype])[0]
            for pair in (("other", "value"), ("before", "partial[warp]"), ("carry", "partial[warp]"), ("before", "value"))
        }
        text = f"""// Running {FOLD_NAMES.get(monoid, monoid)} over the threads of the block, on from `carry`, which takes in all of them.
template <int threads>
__device__ {kind} {name}({kind} value, {kind}& carry) {{
    __shared__ {kind} partial[threads / 32];
    for (int offset = 1; offset < 32; offset *= 2) {{
        const {kind} other = __shfl_up_sync({MASK}, value, offset);
        if (threadIdx.x % 32 >= offset) {{
            value = {joined["other", "value"]};
        }}
    }}
    __syncthreads();  // the call before may still be reading
    if (threadIdx.x % 32 == 31) {{
        partial[threadIdx.x / 32] = value;
    }}
    __syncthreads();
    {kind} before = carry;
    for (int warp = 0; warp < threads / 32; ++warp) {{
        if (warp < threadIdx.x / 32) {{
            before = {joined["before", "partial[warp]"]};
        }}
        carry = {joined["carry", "partial[warp]"]};
    }}
    return {joined["before", "value"]};
}}"""
        self.functions.define(f"{name}({kind})", text)
        return name


def _around(body: Body, scan: Reduce) -> tuple[Body, If | None, Body]:
    """(statements before the scan, the condition around all, statements after it)."""
    guard: If | None = None
    if len(body) == 1 and isinstance(body[0], If):
        guard, body = body[0], body[0].body
    at = next((k for k, s in enumerate(body) if s is scan), None)
    if at is None or any(not isinstance(s, (Alloc, Store)) for s in body[:at]):
        raise UnsupportedOnGpu("a scan along lanes stands in the lanes' own body", hint="bind the scanned axis to serial")
    return body[:at], guard, body[at + 1 :]
