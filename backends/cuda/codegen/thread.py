"""Statements of one thread as CUDA C++: loops, conditions, registers, stores, what is combined into a place.

Comes in: kernel statements. Goes out: lines in a Writer.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....ir.diagnostic import WarploomError
from ....ir.expr import Const, Load, Var, as_int, loads, simplify
from ....ir.intrinsic import INTRINSICS
from ....ir.kernel import (
    Alloc,
    Body,
    Buffer,
    Call,
    For,
    If,
    Reduce,
    Stmt,
    Store,
    expressions,
    map_expressions,
    statements,
    substitute_axes,
    writes,
)
from ....ir.monoid_terms import combine_terms
from .functions import Functions
from .values import OR, Home, Value, Values, register_type
from .vectors import Copy, Packet, copy_of, packets
from .writer import Writer

_ASSIGN = {"add": "+=", "mul": "*="}
_ATOMIC = {"add": "atomicAdd", "max": "atomicMax", "min": "atomicMin"}
_FLOAT_ATOMIC = {"add": "atomicAdd", "max": "atomic_max", "min": "atomic_min"}
_STORED_SMALL = ("f16", "bf16")
MAX_UNROLL = 64


class UnsupportedOnGpu(WarploomError):
    """The schedule asks for something that a GPU cannot do. The message names it and what would be accepted."""

    code = "WL-E073"


class Thread(Values):
    """Prints what one thread does. `atomic`: buffers that other blocks combine into too; `written`: how often each buffer is written."""

    def __init__(self, functions: Functions, taken: set[str], wide: bool, atomic: frozenset[str], written: Mapping[str, int]):
        super().__init__(functions, taken, wide)
        self.writer = Writer()
        self.atomic, self.written = atomic, written
        self.in_pairs: frozenset[str] = frozenset()  # arrays of which several elements are read or written at a time
        self.waiting: dict[str, Buffer] = {}  # registers that are declared where they are first stored to
        self.folding: dict[int, tuple[str, ...]] = {}  # id of a Reduce across lanes -> the thread's own partial results

    def line(self, text: str) -> None:
        self.writer.line(text)

    # -------------------------------------------------------------------------------- bodies
    def body(self, body: Body) -> None:
        """Statements in order; a register is declared with its first value."""
        for k, s in enumerate(body):
            if isinstance(s, Alloc):
                self.alloc(s.buffer)
            elif self._initialises(s):
                pass
            else:
                self.declare_for(s)
                self.statement(s, body[k + 1 :])
        self.declare_rest(body)

    def declare_rest(self, body: Body) -> None:
        for s in body:
            if isinstance(s, Alloc):
                self.waiting.pop(s.buffer.name, None)

    def declare_for(self, s: Stmt) -> None:
        """Declare the waiting registers that a statement uses."""
        used = _touched(s)
        for name in [n for n in self.waiting if n in used]:
            self.declare(self.waiting.pop(name))

    def _initialises(self, s: Stmt) -> bool:
        """The statement was printed as a declaration with its value."""
        if isinstance(s, Store) and s.buffer in self.waiting and s.buffer not in _loaded(s):
            b = self.waiting[s.buffer]
            if not self.homes[b.name].kept and not _loaded(s) & self.waiting.keys():
                del self.waiting[s.buffer]
                value = self.stored(self.value(s.value, b.dtype), b.name)
                constant = "const " if self.written.get(b.name, 0) == 1 else ""
                self.line(f"{constant}{register_type(b.dtype)} {self.name(b.name)} = {value};")
                return True
        return self._clears(s)

    def _clears(self, s: Stmt) -> bool:
        """`float acc[4][4] = {};` for a nest that sets a whole array of registers to zero."""
        axes: list[For] = []
        while isinstance(s, For) and len(s.body) == 1 and s.kind != "lanes":
            axes.append(s)
            s = s.body[0]
        if not (isinstance(s, Store) and s.buffer in self.waiting and axes and isinstance(s.value, Const) and not s.value.value):
            return False
        b = self.waiting[s.buffer]
        kept = self.homes[b.name].kept
        whole = [s.index[d] for d in kept] == [Var(a.axis) for a in axes] and [b.shape[d] for d in kept] == [a.hi for a in axes]
        if not whole or str(s.value.value).startswith("-") or any(a.lo != Const(0) for a in axes):
            return False
        del self.waiting[s.buffer]
        self.declare(b, " = {}")
        return True

    def alloc(self, b: Buffer) -> None:
        """A buffer of the thread's own."""
        if any(as_int(d) is None for d in b.shape[b.owned :]):
            raise UnsupportedOnGpu(f"`{b.name}` of a thread has no fixed size", hint="place it in shared or scratch outside the lanes")
        self.homes[b.name] = Home("register", b)
        self.waiting[b.name] = b

    def declare(self, b: Buffer, value: str = "") -> None:
        dims = "".join(f"[{as_int(b.shape[d])}]" for d in self.homes[b.name].kept)
        self.line(f"{register_type(b.dtype)} {self.name(b.name)}{dims}{value};")

    # -------------------------------------------------------------------------------- statements
    def statement(self, s: Stmt, rest: Body = ()) -> None:
        if isinstance(s, For):
            self.loop(s)
        elif isinstance(s, If):
            with self.writer.block(f"if ({self.value(s.cond, 'b1').text})"):
                self.body(s.body)
        elif isinstance(s, Store):
            self.assign(Load(s.buffer, s.index), self.value(s.value, self.homes[s.buffer].buffer.dtype))
        elif isinstance(s, Reduce):
            self.combine(s)
        elif isinstance(s, Call):
            self.intrinsic(s)

    def assign(self, place: Load, v: Value) -> None:
        self.line(f"{self.element(place.buffer, place.index)} = {self.stored(v, place.buffer)};")

    def intrinsic(self, s: Call) -> None:
        """The code of an intrinsic; `{1_row}` is the distance between the rows of an operand."""
        self.functions.need(s.intrinsic)
        code = INTRINSICS[s.intrinsic].code("cuda") or ""
        rows = {f"{k}_row": self.index(self.homes[o.buffer].buffer.shape[-1]).text for k, o in enumerate(s.operands)}
        self.line(code.format(*(f"&{self.element(o.buffer, o.index)}" for o in s.operands), **rows))

    def head(self, s: For) -> str:
        axis = self.name(s.axis)
        kind = "int" if as_int(s.lo) is not None and as_int(s.hi) is not None else self.index_type
        return f"for ({kind} {axis} = {self.index(s.lo).text}; {axis} < {self.index(s.hi).inside(8)}; ++{axis})"

    def loop(self, s: For) -> None:
        n = as_int(s.hi)
        if s.kind == "vector" and n is not None and self.vector_loop(s, n):
            return
        if s.kind in ("unroll", "vector") and n is not None and n <= MAX_UNROLL:
            self.line("#pragma unroll")
        with self.writer.block(self.head(s)), self.axis(s.axis, s.lo, s.hi):
            self.body(s.body)

    # -------------------------------------------------------------------------------- vectors
    def vector_loop(self, s: For, n: int) -> bool:
        """Elements that lie together are moved by wide loads and stores; False where none do."""
        with self.axis(s.axis, s.lo, s.hi):
            copy = copy_of(s, n, self, self.in_pairs)
        if copy is not None:
            self._copied(copy)
            return True
        found = packets(s, n, self)
        if not found:
            return False
        self._packed(s, n, found)
        return True

    def _copied(self, copy: Copy) -> None:
        to, source = (f"reinterpret_cast<{c}{copy.type}*>(&{self.element(x.buffer, x.index)})" for c, x in (("", copy.to), ("const ", copy.source)))
        zeros = "0u" if copy.type == "unsigned" else f"{copy.type}{{}}"
        value = f"*{source}" if copy.condition is None else f"{self.value(copy.condition, 'b1').inside(OR)} ? *{source} : {zeros}"
        self.line(f"*{to} = {value};")

    def _packed(self, s: For, n: int, found: list[Packet]) -> None:
        old = dict(self.wide_loads)
        with self.axis(s.axis, s.lo, s.hi):
            for p in found:
                name = self.fresh(p.buffer + "4" if n == 4 else p.buffer + "2")
                start = self.element(p.buffer, p.start)
                if p.load is not None:
                    self.line(f"const {p.type} {name} = *reinterpret_cast<const {p.type}*>(&{start});")
                    p.name = name
                else:
                    self.line(f"{p.type} {name};")
                    p.name = name
            for k in range(n):
                self._lane(s, k, found)
            for p in found:
                if p.load is None:
                    self.line(f"*reinterpret_cast<{p.type}*>(&{self.element(p.buffer, p.start)}) = {p.name};")
        self.wide_loads = old

    def _lane(self, s: For, k: int, found: list[Packet]) -> None:
        component = "xyzw"[k]
        self.wide_loads = {p.at(s.axis, k): f"{p.name}.{component}" for p in found if p.load is not None}
        stores = {p.at(s.axis, k): f"{p.name}.{component}" for p in found if p.load is None}
        for x in map_expressions(substitute_axes(s.body, {s.axis: Const(k)}), simplify):
            if isinstance(x, Store) and Load(x.buffer, x.index) in stores:
                value = self.stored(self.value(x.value, self.homes[x.buffer].buffer.dtype), x.buffer)
                self.line(f"{stores[Load(x.buffer, x.index)]} = {value};")
            else:
                self.statement(x)

    # -------------------------------------------------------------------------------- combining
    def combine(self, s: Reduce) -> None:
        """targets = combine(targets, values)."""
        if s.running:
            return self._scan(s)
        parts = self.folding.get(id(s))
        if parts is None and any(t.buffer in self.atomic for t in s.targets):
            return self._atomically(s)
        dtypes = [self.homes[t.buffer].buffer.dtype for t in s.targets]
        values = [self.cast(self.value(v, d), d) for v, d in zip(s.values, dtypes)]
        if parts is not None:
            self.into_registers(s.monoid, list(parts), [v.text for v in values], dtypes)
        else:
            self.into_places(s.monoid, s.targets, [v.text for v in values], dtypes)

    def into_places(self, monoid: str, targets: tuple[Load, ...], values: list[str], dtypes: list[str]) -> None:
        """Combine values into elements, in memory or registers."""
        if all(self.homes[t.buffer].kind == "register" or d not in _STORED_SMALL for t, d in zip(targets, dtypes)):
            return self.into_registers(monoid, [self.element(t.buffer, t.index) for t in targets], values, dtypes)
        news = [Value(v, 0, d) for v, d in zip(values, dtypes)]
        for t, v in zip(targets, self.combined(monoid, [self.load(t) for t in targets], news)):
            self.assign(t, v)

    def into_registers(self, monoid: str, places: list[str], values: list[str], dtypes: list[str]) -> None:
        """Combine values into lvalues."""
        if monoid in _ASSIGN and dtypes[0] not in ("f16", "bf16", "i8", "u8", "i16", "b1"):
            return self.line(f"{places[0]} {_ASSIGN[monoid]} {values[0]};")
        if len(places) == 1:
            (out,) = self.combined(monoid, [Value(places[0], 12, dtypes[0])], [Value(values[0], 0, dtypes[0])])
            return self.line(f"{places[0]} = {out.text};")
        self.line(f"{self.combiner(monoid, dtypes)}({', '.join([*places, *values])});")

    def combined(self, monoid: str, olds: list[Value], news: list[Value]) -> list[Value]:
        """The combined value of each slot."""
        saved = self.variables
        self.variables = {f"a{k}": v for k, v in enumerate(olds)} | {f"b{k}": v for k, v in enumerate(news)}
        out = [self.cast(self.value(e, o.dtype), o.dtype) for e, o in zip(combine_terms(monoid), olds)]
        self.variables = saved
        return out

    def combiner(self, monoid: str, dtypes: list[str]) -> str:
        """A device function that combines values into references, for monoids of several slots."""
        name = f"combine_{monoid}"
        kinds = [register_type(d) for d in dtypes]
        olds = [Value(f"a{k}", 12, d) for k, d in enumerate(dtypes)]
        news = [Value(f"b{k}", 12, d) for k, d in enumerate(dtypes)]
        made = self.combined(monoid, olds, news)
        head = ", ".join([f"{t}& a{k}" for k, t in enumerate(kinds)] + [f"{t} b{k}" for k, t in enumerate(kinds)])
        lines = [f"    const {t} c{k} = {v.text};" for k, (t, v) in enumerate(zip(kinds, made))]
        lines += [f"    a{k} = c{k};" for k in range(len(kinds))]
        text = "\n".join([f"__device__ __forceinline__ void {name}({head}) {{", *lines, "}"])
        self.functions.define(f"{name}({', '.join(kinds)})", text)
        return name

    def _atomically(self, s: Reduce) -> None:
        target = s.targets[0]
        dtype = self.homes[target.buffer].buffer.dtype
        value = self.cast(self.value(s.values[0], dtype), dtype).text
        self.line(self.atomically(s.monoid, self.element(target.buffer, target.index), value, dtype, len(s.targets)))

    def atomically(self, monoid: str, place: str, value: str, dtype: str, slots: int = 1) -> str:
        """One statement that combines a value into an element that other threads combine into too."""
        if slots > 1 or monoid not in _ATOMIC or dtype not in ("f32", "f64", "i32", "i64") or (dtype == "f64" and monoid != "add"):
            raise UnsupportedOnGpu(f"there is no atomic for {monoid} of {dtype}", hint="rfactor, or another kind of loop")
        name = _FLOAT_ATOMIC[monoid] if dtype == "f32" else _ATOMIC[monoid]
        self.functions.need(name)
        if dtype == "i64":
            unsigned = "unsigned long long" if monoid == "add" else "long long"
            return f"{name}(({unsigned}*)&{place}, ({unsigned})({value}));"
        return f"{name}(&{place}, {value});"

    def _scan(self, s: Reduce) -> None:
        """A scan in one thread: combine, then store the running result."""
        dtypes = [self.homes[t.buffer].buffer.dtype for t in s.targets]
        values = [self.cast(self.value(v, d), d) for v, d in zip(s.values, dtypes)]
        self.into_registers(s.monoid, [self.element(t.buffer, t.index) for t in s.targets], [v.text for v in values], dtypes)
        for t, r in zip(s.targets, s.running):
            self.assign(r, self.load(t))


def _touched(s: Stmt) -> set[str]:
    inside = [q for q in statements((s,)) if isinstance(q, Stmt)]  # barriers stand among them
    return {x.buffer for q in inside for e in expressions(q) for x in loads(e)} | {w for q in inside for w in writes(q)}


def _loaded(s: Store) -> set[str]:
    return {x.buffer for e in (*s.index, s.value) for x in loads(e)}
