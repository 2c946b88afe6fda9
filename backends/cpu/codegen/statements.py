"""Statements of an expanded Program as C++. Comes in: the program, its layout. Goes out: lines in a Writer, and what the function's
head must declare (which outputs may be streamed, and when)."""

from __future__ import annotations

from dataclasses import replace

from ....ir.expr import Const, Expr, Load, Op, Var, as_int, bounds, is_index, names, walk
from ....ir.intrinsic import INTRINSICS
from ....ir.kernel import Alloc, Body, Buffer, Call, For, If, Program, Reduce, Stmt, Store, expressions, statements
from .dtypes import HELD, STORAGE, scalar_type, vector_type
from .expand import Env, as_ranges, dim_ranges, inside, varies
from .linear import polynomial, stride
from .place import ALIGN, Home, Layout, elements
from .reductions import Reductions
from .values import Value
from .vectors import Lanes, is_pure, sure_loads
from .writer import Writer


class Statements(Reductions):
    """Prints statements. `vectors` are the native vectors of the vector loop being printed, empty at width 1."""

    def __init__(self, program: Program, layout: Layout, lanes: int, writer: Writer, crossed: frozenset[tuple[str, str]]):
        super().__init__(layout, lanes, writer, dim_ranges(program), crossed)
        self.dims = frozenset(d.name for d in program.dims)
        self.constant = frozenset(b.name for b in program.params) - frozenset(program.written())
        self.streams: dict[str, set[str]] = {}

    def body(self, body: Body) -> None:
        for s in body:
            self.statement(s)

    def statement(self, s: Stmt) -> None:
        self.sure = frozenset().union(*(sure_loads(e) for e in expressions(s)))
        if isinstance(s, For):
            self._loop(s)
        elif isinstance(s, If):
            self._if(s)
        elif isinstance(s, Alloc):
            self._alloc(s.buffer)
        elif isinstance(s, Store):
            self._store(s)
        elif isinstance(s, Reduce):
            self.reduce(s)
        else:
            self._call(s)

    # -------------------------------------------------------------------------------- loops
    def _loop(self, s: For) -> None:
        if s.kind == "vector":
            self._vector_loop(s)
        elif s.kind == "block" and not self.region and as_int(s.hi) != 1:
            self._parallel(s)
        else:
            if s.kind == "unroll":
                self.writer.line("#pragma GCC unroll 16")
            self._plain_loop(s, [])

    def _head(self, s: For) -> str:
        axis = self.name(s.axis)
        lo, hi = self.scalar(s.lo, "i64").text, self.scalar(s.hi, "i64")
        return f"for (int64_t {axis} = {lo}; {axis} < {hi.inside(8)}; ++{axis})"

    def _plain_loop(self, s: For, inner: list[For]) -> None:
        """A loop and the perfectly nested ones below it that belong to the same parallel region."""
        with self.writer.block(self._head(s)), self.ranges(inside(self.env, s)):
            if inner:
                self._plain_loop(inner[0], inner[1:])
            else:
                self.body(s.body)

    def _parallel(self, s: For) -> None:
        nest = _perfect_nest(s)
        axes = {x.axis for x in nest}
        uneven = any(isinstance(x, For) and _grows(x, axes) for x in statements(nest[-1].body))
        collapse = f" collapse({len(nest)})" if len(nest) > 1 else ""
        loop = f"for{collapse} schedule({'dynamic' if uneven else 'static'})"
        enough = f"if({self.scalar(self.fold(work((s,), self.env, self.dims)), 'i64').inside(10)} >= parallel_from)"
        self.region = frozenset(axes)
        if any(self.buffers[n].space == "stream" for n in _written(nest[-1].body)):
            self.writer.line(f"#pragma omp parallel {enough}")
            with self.writer.block(""):
                self.writer.line(f"#pragma omp {loop} nowait")
                self._plain_loop(nest[0], nest[1:])
                self.writer.line("stream_fence();")
        else:
            self.writer.line(f"#pragma omp parallel {loop} {enough}")
            self._plain_loop(nest[0], nest[1:])
        self.region = frozenset()

    def _vector_loop(self, s: For) -> None:
        extent = as_int(s.hi) or 0
        count = -(-extent // self.lanes)
        self.writer.comment(f"{s.axis}: {extent} lanes")
        self.vectors = [Lanes(s.axis, u) for u in range(count)]
        if extent % self.lanes:
            rest = self.writer.temporary("mask", "live", f"first({extent % self.lanes})")
            self.vectors[-1] = replace(self.vectors[-1], mask=rest)
        old, self.private = self.private, frozenset(x.buffer.name for x in statements(s.body) if isinstance(x, Alloc))
        with self.ranges(inside(self.env, s)):
            if self.private:
                with self.writer.block(""):
                    self.body(s.body)
            else:
                self.body(s.body)
        self.vectors, self.private = [], old

    # -------------------------------------------------------------------------------- conditions
    def _if(self, s: If) -> None:
        if s.cond == Const(True):
            with self.writer.block(""):
                self.body(s.body)
            return
        uniform = [c for c in _conjuncts(s.cond) if not self._wide(c)]
        wide = [c for c in _conjuncts(s.cond) if self._wide(c)]
        if not uniform:
            return self._masked(wide, s.body)
        with self.writer.block(f"if ({self.scalar(_join(uniform), 'b1').text})"):
            self._masked(wide, s.body) if wide else self.body(s.body)

    def _wide(self, e: Expr) -> bool:
        return bool(self.vectors) and self.varies(e, self.vectors[0])

    def _masked(self, conditions: list[Expr], body: Body) -> None:
        old = self.vectors
        self.vectors = [self._under(v, conditions) for v in old]
        masks = " | ".join(v.mask or "" for v in self.vectors)
        if self._may_skip(body):
            with self.writer.block(f"if (any({masks}))"):
                self.body(body)
        else:
            self.body(body)
        self.vectors = old

    def _under(self, v: Lanes, conditions: list[Expr]) -> Lanes:
        for c in conditions:
            value = self.vector(c, v, "b1")
            text = value.text if v.mask is None else f"{v.mask} & {value.inside(6)}"
            v = replace(v, mask=self.writer.temporary("mask", "live", text, shared=is_pure(c)))
        return v

    def _may_skip(self, body: Body) -> bool:
        """A branch is worth it, or needed: loops below, buffers of its own, or uniform accesses that hold only where a lane is live."""
        for s in statements(body):
            if isinstance(s, (For, Alloc)):
                return True
            for e in (s.value, *s.index) if isinstance(s, Store) else s.values if isinstance(s, Reduce) else ():
                if any(isinstance(n, Load) and not self.varies(n, self.vectors[0]) and not self._in_bounds(n) for n in walk(e)):
                    return True
            if isinstance(s, (Store, Reduce)) and not self._elementwise(s):
                return True
        return False

    def _elementwise(self, s: Store | Reduce) -> bool:
        index = s.index if isinstance(s, Store) else s.targets[0].index
        name = s.buffer if isinstance(s, Store) else s.targets[0].buffer
        return name in self.private or any(varies(i, self.vectors[0].axis, self.private) for i in index)

    # -------------------------------------------------------------------------------- buffers
    def _alloc(self, b: Buffer) -> None:
        home = self.homes[b.name]
        if home.where == "register":
            return self._declare_registers(b, home)
        if home.where == "stack":
            return self.writer.line(f"alignas({ALIGN}) {STORAGE[b.dtype]} {self.name(b.name)}[{max(elements(b) or 1, 1)}];")
        parts = [self.scalar(self.layout.offsets[b.name], "i64").text]
        if home.where == "thread":
            parts.append(self.scalar(self.layout.shared, "i64").text)
            parts.append(f"omp_get_thread_num() * {self.scalar(self.layout.thread, 'i64').inside(11)}")
        offset = " + ".join(p for p in parts if p != "0")
        place = f"scratch + {offset}" if offset else "scratch"
        self.writer.line(f"{STORAGE[b.dtype]}* const {self.name(b.name)} = ({STORAGE[b.dtype]}*)({place});")

    def _declare_registers(self, b: Buffer, home: Home) -> None:
        kind = vector_type(b.dtype, self.lanes) if home.wide else scalar_type(b.dtype)
        name = self.register_name(b.name) if home.named else self.name(b.name)
        extents = [as_int(d) or 0 for d in b.shape]
        if home.wide:
            extents = [*extents, home.vectors] if home.private else [*extents[:-1], home.vectors]
        if not home.named:
            return self.writer.line(f"{kind} {name}{''.join(f'[{d}]' for d in extents)};")
        # lanes that a mask leaves out are computed with too: what they hold must not send a function the long way
        start = "{}" if home.wide and any(v.mask for v in self.vectors) else ""
        variables = [f"{v}{start}" for v in _numbered(name, extents)]
        for at in range(0, len(variables), 8):
            self.writer.line(f"{kind} {', '.join(variables[at : at + 8])};")

    def register_name(self, name: str) -> str:
        """A name whose numbered variables clash with nothing."""
        out = self.name(name)
        while any(t.startswith(out + "_") for t in self.writer.taken):
            out = self.names[name] = self.writer.fresh(out + "v")
        return out

    # -------------------------------------------------------------------------------- stores
    def _store(self, s: Store) -> None:
        if not self.vectors or not self._elementwise(s):
            return self._store_scalar(
                s.buffer, s.index, self.cast(self.scalar(s.value, self.buffers[s.buffer].dtype), self.buffers[s.buffer].dtype)
            )
        dtype = self.buffers[s.buffer].dtype
        values = [self.full(s.value, v, dtype) for v in self.vectors]
        if self._holds(s):
            values = [replace(v, text=f"pinned({v.text})") for v in values]
        if len(values) > 1 and self.homes[s.buffer].memory and not isinstance(s.value, Load):
            kind = self.type(dtype)
            values = [replace(v, text=self.writer.temporary(kind, "value", v.text, shared=False), level=12) for v in values]
        self.store_vectors(s.buffer, s.index, values)

    def _holds(self, s: Store) -> bool:
        """A copy of memory in registers, as `stage` makes it: it was asked for, so the compiler may not undo it."""
        return self.homes[s.buffer].wide and isinstance(s.value, Load) and self.homes[s.value.buffer].memory

    def store_vectors(self, buffer: str, index: tuple[Expr, ...], values: list[Value]) -> None:
        """Store one value per native vector."""
        lines = [self._store_line(buffer, index, v, value) for v, value in zip(self.vectors, values)]
        if self._streamed(buffer, index):
            fast = [line.replace("store(", "stream(", 1) for line in lines]
            with self.writer.block(f"if ({self.name(buffer)}_streams)"):
                for line in fast:
                    self.writer.line(line)
            with self.writer.block("else"):
                for line in lines:
                    self.writer.line(line)
        else:
            for line in lines:
                self.writer.line(line)

    def _store_line(self, buffer: str, index: tuple[Expr, ...], v: Lanes, value: Value) -> str:
        if self.homes[buffer].wide:
            target = self.register(buffer, index, (v.axis, v.vector))
            return f"{target} = {f'select({v.mask}, {value.text}, {target})' if v.mask else value.text};"
        flat = self.offset(buffer, index)
        mask = f", {v.mask}" if v.mask else ""
        near = {Const(1): "store", Const(2): "store_even"}.get(stride(flat, v.axis, self.private))  # type: ignore[arg-type]
        if near:
            return f"{near}({self.pointer(buffer, self.base(flat, v))}, {value.text}{mask});"
        pointer, offsets = self.scattered(buffer, flat, v)
        return f"scatter({pointer}, {offsets.text}, {value.text}{mask});"

    def _store_scalar(self, buffer: str, index: tuple[Expr, ...], value: Value) -> None:
        if self.homes[buffer].memory and self.buffers[buffer].dtype in HELD:
            return self.writer.line(f"put({self.pointer(buffer, self.offset(buffer, index))}, {value.text});")
        self.writer.line(f"{self.element(buffer, index)} = {value.text};")

    def store_scalar(self, place: Load, value: Value) -> None:
        self._store_scalar(place.buffer, place.index, value)

    def _streamed(self, buffer: str, index: tuple[Expr, ...]) -> bool:
        """The stores may go past the caches when the function's head finds every vector aligned; notes what it must check."""
        if self.buffers[buffer].space != "stream" or any(v.mask for v in self.vectors):
            return False
        flat = self.offset(buffer, index)
        if stride(flat, self.vectors[0].axis, self.private) != Const(1):
            return False
        checks: set[str] = set()
        for atoms, c in polynomial(flat).items():
            if c % self.lanes == 0 or atoms == (Var(self.vectors[0].axis),):
                continue
            factors = [a for a in atoms if is_index(a) and names(a) <= self.dims]
            if not factors:
                return False
            product = self.scalar(self.fold(_product([*factors, Const(c)])), "i64")
            checks.add(f"{product.inside(10)} % {self.lanes} == 0")
        self.streams.setdefault(buffer, set()).update(checks)
        return True

    # -------------------------------------------------------------------------------- intrinsics
    def _call(self, s: Call) -> None:
        pointers = [self.pointer(o.buffer, self.offset(o.buffer, o.index)) for o in s.operands[1:]]
        intrinsic, first = INTRINSICS[s.intrinsic], s.operands[0]
        if self.homes[first.buffer].wide:
            variable = self.whole_vector(first.buffer, first.index)
            vector = f"unaligned<bytes>({pointers[-1]})"
            if s.operands[-1].buffer in self.constant:  # one load for all rows that it meets
                vector = self.writer.temporary("bytes", "panel", f"pinned({vector})")
            pointers[-1] = vector
            return self.writer.line((intrinsic.code("registers") or "").format(variable, *pointers))
        pointers.insert(0, self.pointer(first.buffer, self.offset(first.buffer, first.index)))
        self.writer.line((intrinsic.code("c++") or "").format(*(f"({p})" for p in pointers)))

    def whole_vector(self, buffer: str, index: tuple[Expr, ...]) -> str:
        """The C++ variable of the native vector that begins at a place."""
        last = (as_int(self.fold(index[-1])) or 0) // self.lanes
        home, b = self.homes[buffer], self.buffers[buffer]
        parts = [*(as_int(self.fold(i)) for i in index[:-1]), last]
        extents = [*(as_int(d) for d in b.shape[:-1]), home.vectors]
        if home.named:
            return "_".join([self.name(buffer), *(str(p) for p, d in zip(parts, extents) if d != 1)])
        return self.name(buffer) + "".join(f"[{p}]" for p in parts)


def _perfect_nest(s: For) -> list[For]:
    """Block loops nested without anything between them, bounds independent of the outer ones."""
    nest = [s]
    while len(nest[-1].body) == 1 and isinstance(nest[-1].body[0], For) and nest[-1].body[0].kind == "block":
        below = nest[-1].body[0]
        if (names(below.lo) | names(below.hi)) & {x.axis for x in nest}:
            break
        nest.append(below)
    return nest


UNKNOWN = 16  # iterations of a loop whose bounds are read from memory or have no upper bound


def work(body: Body, env: Env, dims: frozenset[str]) -> Expr:
    """About how many elements a body computes, over the dims: how often its innermost statements run."""
    total: Expr = Const(0)
    for s in body:
        if isinstance(s, For):
            below = inside(env, s)
            total = Op("+", (total, Op("*", (_trips(s, env, dims), work(s.body, below, dims)))))
        elif isinstance(s, If):
            total = Op("+", (total, work(s.body, env, dims)))
        elif not isinstance(s, Alloc):
            total = Op("+", (total, Const(1)))
    return total


def _trips(s: For, env: Env, dims: frozenset[str]) -> Expr:
    """Iterations of a loop over dims alone: an upper bound where its own bounds move with outer axes."""
    count = Op("-", (s.hi, s.lo))
    if is_index(count) and names(count) <= dims:
        return count
    _, hi = bounds(count, as_ranges(env))
    return Const(max(hi, 1) if hi is not None else UNKNOWN)


def _grows(loop: For, axes: set[str]) -> bool:
    """The number of iterations moves with one of the axes, as in a triangle; what is only cut off at an edge (min, max) does not count."""
    count = polynomial(Op("-", (loop.hi, loop.lo)))
    return any(names(a) & axes for atoms in count for a in atoms if not (isinstance(a, Op) and a.name in ("min", "max")))


def _written(body: Body) -> set[str]:
    return {s.buffer for s in statements(body) if isinstance(s, Store)} | {
        t.buffer for s in statements(body) if isinstance(s, Reduce) for t in (*s.targets, *s.running)
    }


def _conjuncts(e: Expr) -> list[Expr]:
    return [*_conjuncts(e.args[0]), *_conjuncts(e.args[1])] if isinstance(e, Op) and e.name == "and" else [e]


def _join(terms: list[Expr]) -> Expr:
    out = terms[0]
    for t in terms[1:]:
        out = Op("and", (out, t))
    return out


def _product(factors: list[Expr]) -> Expr:
    out = factors[0]
    for f in factors[1:]:
        out = Op("*", (out, f))
    return out


def _numbered(name: str, extents: list[int]) -> list[str]:
    """The variables of a register buffer; extents of 1 have no number."""
    out = [name]
    for extent in extents:
        out = [f"{n}_{i}" for n in out for i in range(extent)] if extent != 1 else out
    return out
