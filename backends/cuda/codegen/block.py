"""The body of a block as CUDA C++: nests of lanes over its threads, uniform statements, results combined across threads.

Comes in: a block's body with its barriers. Goes out: lines in a Writer. What is uniform is computed by every thread alike; what all
threads share is written by thread 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ....ir.dependence import crossed
from ....ir.expr import ONE, Const, Expr, Load, add, as_int, ceildiv, mul, simplify
from ....ir.kernel import Alloc, Body, Buffer, For, If, Reduce, Stmt, Store, statements, writes
from ....ir.monoid_terms import identity_terms
from ....ir.scope import Scope
from ....ir.types import BYTES
from ....passes.barriers import Barrier
from ....passes.regions import Nest, folds, nest_at
from .folds import FOLD_NAMES, Folds
from .functions import Functions
from .thread import Thread, UnsupportedOnGpu
from .values import STORAGE, Home, Value, register_type

THREAD = "threadIdx.x"
ALIGN = 16


class Block(Folds, Thread):
    """Prints the body of one block of `threads` threads.

    `dynamic`: shared memory is one dynamic array. `workspaces`: buffers of a block in global memory, by name the parameter that holds them.
    """

    def __init__(
        self,
        functions: Functions,
        taken: set[str],
        wide: bool,
        atomic: frozenset[str],
        written: Mapping[str, int],
        threads: int,
        dynamic: bool,
        workspaces: Mapping[str, str],
        scope: Scope,
    ):
        super().__init__(functions, taken, wide, atomic, written)
        self.threads, self.dynamic, self.workspaces = threads, dynamic, workspaces
        self.scope = scope
        self.shared_bytes: Expr | int = 0
        self.lane_ranges: dict[str, tuple[int | None, int | None]] = {}
        self.lane_names: dict[tuple[str, str], str] = {}  # (axis, what it is of the thread's number) -> variable
        self.first_folds: set[int] = set()  # ids of folds whose targets hold nothing yet
        self.clean: dict[str, object] = {}  # uniform registers that hold a constant at this point

    # -------------------------------------------------------------------------------- regions
    def regions(self, body: tuple[Stmt | Barrier, ...]) -> None:
        alone: list[Stmt] = []
        for s in body:
            if not isinstance(s, (Barrier, Alloc)) and self._by_one(s):
                alone.append(s)
                continue
            self._one(self._without_identities(alone, s))
            alone = []
            self._region(s)
        self._one(alone)
        self.declare_rest(tuple(s for s in body if not isinstance(s, Barrier)))

    def _without_identities(self, alone: list[Stmt], s: Stmt | Barrier) -> list[Stmt]:
        """What thread 0 does before `s`, but for setting the places that `s` folds into to the identity: these take the fold's result."""
        nest = nest_at(s) if not isinstance(s, Barrier) else None
        for r in folds(nest, dict(self.buffers)) if nest is not None and not self.atomic else ():
            first = [q for q in alone if isinstance(q, Store) and any(_sets(q, t, e) for t, e in zip(r.targets, identity_terms(r.monoid)))]
            if not r.running and len(first) == len(r.targets):
                alone = [q for q in alone if q not in first]
                self.first_folds.add(id(r))
        return alone

    def _region(self, s: Stmt | Barrier) -> None:
        if isinstance(s, Barrier):
            if self.threads > 1:
                self.line("__syncthreads();")
        elif isinstance(s, Alloc):
            self.block_alloc(s.buffer)
        elif (nest := nest_at(s)) is not None:
            self.nest(s, nest)
        elif isinstance(s, (For, If)) and not self._plain(s):
            self._compound(s)
        else:
            self._uniform(s)

    def _uniform(self, s: Stmt) -> None:
        if self._initialises(s):
            pass
        else:
            self.declare_for(s)
            self.statement(s)
        for name in {w for q in statements((s,)) for w in writes(q)}:
            self.clean.pop(name, None)
        if isinstance(s, Store) and not self._memory(s.buffer):
            self.clean[s.buffer] = s.value

    def _compound(self, s: For | If) -> None:
        """A loop or condition that holds regions: every thread goes through it."""
        self.declare_for(s)
        self.clean = {}
        outer, self.scope = self.scope, self.scope.enter(s)
        if isinstance(s, For):
            if s.kind == "unroll":
                self.line("#pragma unroll")
            with self.writer.block(self.head(s)), self.axis(s.axis, s.lo, s.hi):
                self.regions(s.body)
        else:
            with self.writer.block(f"if ({self.value(s.cond, 'b1').text})"):
                self.regions(s.body)
        self.scope = outer
        self.clean = {}

    def _plain(self, s: Stmt) -> bool:
        """No region and no shared memory inside: one thread's statements."""
        return not any(
            isinstance(q, Barrier)
            or (isinstance(q, For) and q.kind == "lanes")
            or (isinstance(q, Alloc) and q.buffer.space != "local")
            for q in _all((s,))
        )

    def _memory(self, name: str) -> bool:
        return name in self.homes and self.homes[name].kind != "register"

    def _by_one(self, s: Stmt) -> bool:
        """Thread 0 does it: it writes what all threads share, and nothing that each thread has for itself."""
        if isinstance(s, (For, If)) and (nest_at(s) is not None or not self._plain(s)):
            return False
        own = {q.buffer.name for q in _all((s,)) if isinstance(q, Alloc)}
        targets = {w for q in _all((s,)) if not isinstance(q, (Barrier, Alloc)) for w in writes(q)} - own
        return bool(targets) and all(self._memory(w) for w in targets)

    def _one(self, group: list[Stmt]) -> None:
        if not group:
            return
        for s in group:
            self.declare_for(s)
        if self.threads == 1:
            return self.body(tuple(group))
        with self.writer.block(f"if ({THREAD} == 0)"):
            self.body(tuple(group))

    # -------------------------------------------------------------------------------- buffers
    def block_alloc(self, b: Buffer) -> None:
        """A buffer of the block: registers, shared memory, or its part of a workspace in global memory."""
        self.scope = self.scope.declare(b)
        if b.space == "local":
            return self.alloc(b)
        if b.name in self.workspaces:
            self.homes[b.name] = Home("memory", b)
            size = self._elements(b)
            at = self.value(self.block_number(), "i64").text
            self.line(f"{STORAGE[b.dtype]}* {self.name(b.name)} = {self.workspaces[b.name]} + (long long)({at}) * {size.inside(11)};")
        elif self.dynamic:
            self._dynamic(b)
        else:
            self.homes[b.name] = Home("array", b)
            dims = "".join(f"[{as_int(d)}]" for d in b.shape) or "[1]"
            aligned = f"__align__({ALIGN}) " if b.name in self.in_pairs else ""
            self.line(f"__shared__ {aligned}{STORAGE[b.dtype]} {self.name(b.name)}{dims};")

    def _elements(self, b: Buffer) -> Value:
        out: Expr = ONE
        for d in b.shape:
            out = mul(out, d)
        return self.index(out)

    def _dynamic(self, b: Buffer) -> None:
        """The next part of the dynamic shared array."""
        self.homes[b.name] = Home("memory", b)
        offset: Expr = self.shared_bytes if not isinstance(self.shared_bytes, int) else Const(self.shared_bytes)
        size: Expr = Const(BYTES[b.dtype])
        for d in b.shape:
            size = mul(size, d)
        at = self.index(offset).text
        where = "shared_memory" if at == "0" else f"shared_memory + {at}"
        kind = STORAGE[b.dtype]
        self.line(f"{kind}* {self.name(b.name)} = reinterpret_cast<{kind}*>({where});")
        self.shared_bytes = simplify(add(offset, mul(ceildiv(size, ALIGN), ALIGN)))

    def block_number(self) -> Expr:
        """The number of this block in the grid."""
        raise NotImplementedError

    # -------------------------------------------------------------------------------- lanes
    def nest(self, s: Stmt, nest: Nest) -> None:
        """Iterations of the nest over the threads; what is combined across them, afterwards."""
        known = dict(self.buffers)
        folded = folds(nest, known)
        self._mark_atomics(s, nest, folded)
        scans = [r for r in folded if r.running]
        folded = [r for r in folded if not r.running]
        exact = nest.count == self.threads
        if not exact and not scans:
            self.declare_for(s)
        parts = {id(r): self.begin_fold(r) for r in folded}
        self.folding = parts
        if scans:
            self.scan_nest(nest, scans)
        else:
            self._iterations(nest, exact)
        self.folding = {}
        for r in folded:
            self.finish_fold(r, parts[id(r)])
        for name in {w for q in statements((s,)) for w in writes(q)}:
            self.clean.pop(name, None)

    def _mark_atomics(self, s: Stmt, nest: Nest, folded: tuple[Reduce, ...]) -> None:
        """Reduces of several lanes into one element that is not the same for all of them."""
        scope = self.scope
        for loop in nest.loops:
            for r in crossed(loop, scope):
                if not any(r.access.statement is f for f in folded):
                    if not self._memory(r.place.buffer):
                        raise UnsupportedOnGpu(
                            f"the lanes combine into several elements of `{r.place.buffer}`, which each thread has in registers",
                            hint="rfactor, or place it in shared",
                        )
                    self.atomic = self.atomic | {r.place.buffer}
            scope = scope.enter(loop)

    def _iterations(self, nest: Nest, exact: bool) -> None:
        n = nest.count
        if n is not None and n <= self.threads:
            self._bind(nest, THREAD)
            if exact:
                self._lanes_body(nest)
            else:
                with self.writer.block(f"if ({THREAD} < {n})"):
                    self._lanes_body(nest)
            return
        if any(b.owned for b in self.owned_in(nest)):
            raise UnsupportedOnGpu(f"the lanes ({', '.join(nest.axes)}) own registers but are more than the block's {self.threads} threads")
        if len(nest.loops) == 1:
            axis = self.name(nest.axes[0])
            count = self.index(nest.loops[0].hi)
            kind = "int" if nest.count is not None else self.index_type
            with self.writer.block(f"for ({kind} {axis} = {THREAD}; {axis} < {count.inside(8)}; {axis} += {self.threads})"):
                self._lanes_body(nest)
            return
        lane = self.fresh("lane")
        total = nest.loops[0].hi
        for loop in nest.loops[1:]:
            total = mul(total, loop.hi)
        kind = "int" if nest.count is not None else self.index_type
        with self.writer.block(f"for ({kind} {lane} = {THREAD}; {lane} < {self.index(total).inside(8)}; {lane} += {self.threads})"):
            for axis, text in self.digits(nest, lane):
                self.line(f"const {kind} {self.name(axis)} = {text};")
            self._lanes_body(nest)
        self.taken.discard(lane)

    def owned_in(self, nest: Nest) -> list[Buffer]:
        used = {x for q in statements(nest.body) for x in writes(q)}
        return [b for name, b in self.buffers.items() if name in used and b.owned]

    def _lanes_body(self, nest: Nest) -> None:
        saved, self.scope = self.ranges, self.scope
        for loop in nest.loops:
            context = self.axis(loop.axis, loop.lo, loop.hi)
            context.__enter__()
        self.body(nest.body)
        self.ranges = saved

    def digits(self, nest: Nest, lane: str) -> list[tuple[str, str]]:
        """Each axis as a digit of the lane's number."""
        out: list[tuple[str, str]] = []
        inner: Expr | None = None
        for k, loop in reversed(list(enumerate(nest.loops))):
            text = lane if inner is None else f"{lane} / {self.index(inner).inside(11)}"
            if k:
                text = f"{text} % {self.index(loop.hi).inside(11)}"
            out.append((loop.axis, text))
            inner = loop.hi if inner is None else mul(inner, loop.hi)
        return out[::-1]

    def _bind(self, nest: Nest, lane: str) -> None:
        """The axes of a nest that fits the block; the same digits are declared once, at the head of the kernel."""
        for axis, text in self.digits(nest, lane):
            self.names[axis] = self.lane_names[axis, text]

    def declare_lanes(self, body: tuple[Stmt | Barrier, ...]) -> None:
        """Declare what the nests of the block need of the thread's number."""
        for nest in _nests(body):
            if nest.count is None or nest.count > self.threads or any(isinstance(q, Reduce) and q.running for q in nest.body):
                continue
            self.lane_ranges.update({x.axis: (0, (as_int(x.hi) or 1) - 1) for x in nest.loops})
            for axis, text in self.digits(nest, THREAD):
                if (axis, text) not in self.lane_names:
                    self.lane_names[axis, text] = self.fresh(axis)
                    self.line(f"const int {self.lane_names[axis, text]} = {text};")

    # -------------------------------------------------------------------------------- what a fold begins with
    def begin_fold(self, r: Reduce) -> tuple[str, ...]:
        """A partial result per thread: the target itself where it is a register that holds the identity."""
        out: list[str] = []
        for t, e in zip(r.targets, identity_terms(r.monoid)):
            home = self.homes[t.buffer]
            if home.kind == "register" and self._is_identity(t, e):
                self.declare_for(r)
                out.append(self.element(t.buffer, t.index))
                continue
            dtype = home.buffer.dtype
            name = self.fresh(f"thread_{FOLD_NAMES.get(r.monoid, r.monoid)}")
            self.line(f"{register_type(dtype)} {name} = {self.number(getattr(e, 'value', 0), dtype).text};")
            out.append(name)
        return tuple(out)

    def _is_identity(self, t: Load, e: Expr) -> bool:
        value = getattr(self.clean.get(t.buffer), "value", None)
        return value is not None and not self.homes[t.buffer].kept and value == getattr(e, "value", 0)

    def finish_fold(self, r: Reduce, parts: tuple[str, ...]) -> None:
        """Combine the partial results of all threads, then with what the target held."""
        dtypes = [self.homes[t.buffer].buffer.dtype for t in r.targets]
        self.fold_block(r.monoid, parts, dtypes)
        places = [self.element(t.buffer, t.index) for t in r.targets]
        if places == list(parts):
            return
        if all(self.homes[t.buffer].kind == "register" for t in r.targets):
            return self.into_places(r.monoid, r.targets, list(parts), dtypes)
        with self.writer.block(f"if ({THREAD} == 0)"):
            if any(t.buffer in self.atomic for t in r.targets):
                self.line(self.atomically(r.monoid, places[0], parts[0], dtypes[0], len(places)))
            elif id(r) in self.first_folds:
                for t, p, d in zip(r.targets, parts, dtypes):
                    self.assign(t, Value(p, 12, d))
            else:
                self.into_places(r.monoid, r.targets, list(parts), dtypes)


def _sets(s: Store, t: Load, identity: Expr) -> bool:
    """The store sets the place to the identity."""
    return (s.buffer, s.index) == (t.buffer, t.index) and getattr(s.value, "value", None) == getattr(identity, "value", 0)


def _all(body: tuple[Stmt | Barrier, ...] | Body):
    """All statements and barriers, outer ones first."""
    for s in body:
        yield s
        if isinstance(s, (For, If)):
            yield from _all(s.body)


def _nests(body: tuple[Stmt | Barrier, ...]) -> Iterator[Nest]:
    """The nests of a block in order."""
    for s in body:
        nest = nest_at(s) if not isinstance(s, Barrier) else None
        if nest is not None:
            yield nest
        elif isinstance(s, (For, If)):
            yield from _nests(s.body)


