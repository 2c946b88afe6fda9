"""Reduce and scan as C++: element by element, across the lanes of a vector, or atomically across threads. Used by `statements`."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache

from ....ir.expr import Const, Expr, Load, substitute
from ....ir.kernel import Buffer, Reduce
from ....ir.monoid import MONOIDS
from ....ir.text import parse_expr
from .dtypes import scalar_type, vector_type
from .expand import Env
from .place import Home, Layout
from .values import BIT_AND, BIT_OR, PRIMARY, Value, call, infix
from .vectors import Lanes, Vectors
from .writer import Writer

SIMPLE = {"add": "+", "mul": "*", "max": "max", "min": "min", "any": "or", "all": "and"}
SCANS = ("add", "mul", "max", "min")


@cache
def combine(monoid: str) -> tuple[Expr, ...]:
    """The combine expressions over Vars a0, a1, .. and b0, b1, .."""
    return tuple(parse_expr(t) for t in MONOIDS[monoid].combine)


@cache
def identity(monoid: str) -> tuple[Expr, ...]:
    return tuple(parse_expr(t) for t in MONOIDS[monoid].identities)


class Reductions(Vectors):
    """Adds `reduce`. `region`: the block axes of the parallel region; `crossed`: (block axis, buffer) pairs where iterations meet."""

    def __init__(self, layout: Layout, lanes: int, writer: Writer, env: Env, crossed: frozenset[tuple[str, str]]):
        super().__init__(layout, lanes, writer, env)
        self.crossed = crossed
        self.vectors: list[Lanes] = []
        self.region: frozenset[str] = frozenset()

    @abstractmethod
    def store_vectors(self, buffer: str, index: tuple[Expr, ...], values: list[Value]) -> None: ...

    @abstractmethod
    def store_scalar(self, place: Load, value: Value) -> None: ...

    def reduce(self, s: Reduce) -> None:
        if self._shared(s.targets[0]):
            return self._atomic(s)
        if not self.vectors:
            return self._scalar_reduce(s, [self._slot(s, k) for k in range(len(s.values))])
        if all(t.buffer in self.private or any(self.varies(i, self.vectors[0]) for i in t.index) for t in s.targets):
            return self._elementwise_reduce(s)
        if s.running:
            return self._scan(s)
        self._horizontal(s)

    def _slot(self, s: Reduce, k: int) -> Value:
        dtype = self.buffers[s.targets[k].buffer].dtype
        return self.cast(self.scalar(s.values[k], dtype), dtype)

    # -------------------------------------------------------------------------------- operands with names
    def bind(self, name: str, dtype: str, wide: bool) -> Load:
        """A Load that prints as the C++ variable `name`; no buffer of the program is called so."""
        key = "%" + name
        self.buffers[key] = Buffer(key, dtype, (), "local")
        self.homes[key] = Home("register", wide=wide, named=True, private=wide)
        self.names[key] = name
        if wide:
            self.private |= {key}
        return Load(key, ())

    def bound(self, value: Value, kind: str, name: str) -> Load:
        """The value in a C++ constant, as a Load."""
        return self.bind(self.writer.temporary(kind, name, value.text, shared=False), value.dtype, value.wide)

    # -------------------------------------------------------------------------------- width 1
    def _scalar_reduce(self, s: Reduce, values: list[Value]) -> None:
        """targets = combine(targets, values) on scalars."""
        if s.monoid in SIMPLE:
            target = s.targets[0]
            dtype = self.buffers[target.buffer].dtype
            self.store_scalar(target, self._simple(s.monoid, self.load(target), values[0], dtype, False))
        else:
            b = [self.bound(v, scalar_type(v.dtype), "b") for v in values]
            new = self._combined(s.monoid, list(s.targets), list(b), None)
            kept = [self.bound(v, scalar_type(v.dtype), "a") for v in new]
            for t, v in zip(s.targets, kept):
                self.store_scalar(t, self.load(v))
        for t, a in zip(s.running, s.targets):
            dtype = self.buffers[t.buffer].dtype
            self.store_scalar(t, self.cast(self.load(a), dtype))

    def _simple(self, monoid: str, a: Value, b: Value, dtype: str, wide: bool) -> Value:
        if monoid in ("any", "all") or dtype == "b1":
            either = monoid in ("any", "max", "add")
            if wide:
                return infix("|" if either else "&", BIT_OR if either else BIT_AND, a, b, "b1", True)
            return self._logic([a, b], "or" if either else "and")
        return self.arithmetic(SIMPLE[monoid], [a, b], dtype, wide)

    def _combined(self, monoid: str, a: list[Load], b: list[Load], lanes: Lanes | None) -> list[Value]:
        env: dict[str, Expr] = {}
        for k, (x, y) in enumerate(zip(a, b)):
            env[f"a{k}"], env[f"b{k}"] = x, y
        out: list[Value] = []
        for k, e in enumerate(combine(monoid)):
            dtype = self.buffers[a[k].buffer].dtype
            e = substitute(e, env)
            out.append(self.full(e, lanes, dtype) if lanes else self.cast(self.scalar(e, dtype), dtype))
        return out

    # -------------------------------------------------------------------------------- each lane its own target
    def _elementwise_reduce(self, s: Reduce) -> None:
        dtypes = [self.buffers[t.buffer].dtype for t in s.targets]
        if s.monoid in SIMPLE:
            values = [
                self._simple(s.monoid, self.full(s.targets[0], v, dtypes[0]), self._broadcast(s, v, dtypes[0]), dtypes[0], True)
                for v in self.vectors
            ]
            if len(values) > 1 and self.homes[s.targets[0].buffer].memory:
                values = [self._named(v) for v in values]
            self.store_vectors(s.targets[0].buffer, s.targets[0].index, values)
        else:
            self._elementwise_wide(s, dtypes)
        for t, a in zip(s.running, s.targets):
            self.store_vectors(t.buffer, t.index, [self.full(a, v, self.buffers[t.buffer].dtype) for v in self.vectors])

    def _broadcast(self, s: Reduce, v: Lanes, dtype: str) -> Value:
        """The new value; at width 1 where a C++ operator or the header broadcasts it."""
        value = self.vector(s.values[0], v, dtype)
        if not value.wide and s.monoid in ("add", "mul") and dtype != "b1":
            return self.operand(value if value.dtype == dtype else self.cast(value, dtype), dtype)
        return self.vector_cast(value, dtype) if value.wide else self.wide(self.cast(value, dtype))

    def _named(self, v: Value) -> Value:
        return Value(
            self.writer.temporary(vector_type(v.dtype, self.lanes), "value", v.text, shared=False), PRIMARY, v.dtype, True
        )

    def _elementwise_wide(self, s: Reduce, dtypes: list[str]) -> None:
        """Several slots: all new values are computed before any is stored."""
        new: list[list[Value]] = []
        for v in self.vectors:
            b = [self.bound(self.full(x, v, d), vector_type(d, self.lanes), "b") for x, d in zip(s.values, dtypes)]
            new.append([self._named(x) for x in self._combined(s.monoid, list(s.targets), b, v)])
        for k, t in enumerate(s.targets):
            self.store_vectors(t.buffer, t.index, [n[k] for n in new])

    # -------------------------------------------------------------------------------- across the lanes
    def _live(self, s: Reduce, k: int, v: Lanes) -> Value:
        """The values of slot k, the identity on dead lanes."""
        dtype = self.buffers[s.targets[k].buffer].dtype
        value = self.full(s.values[k], v, dtype)
        if v.mask is None:
            return value
        neutral = identity(s.monoid)[k]
        if neutral == Const(0) and dtype != "b1":
            return (
                value
                if value.text.endswith(f", {v.mask})") and value.text.startswith("load(")
                else call("keep", v.mask, value, dtype=dtype, wide=True)
            )
        return call("select", v.mask, value, self.full(neutral, v, dtype), dtype=dtype, wide=True)

    def _horizontal(self, s: Reduce) -> None:
        if s.monoid in SIMPLE:
            dtype = self.buffers[s.targets[0].buffer].dtype
            total = self._tree(s.monoid, [self._live(s, 0, v) for v in self.vectors], dtype)
            fold = {"any": "any", "all": "all"}.get(s.monoid, f"fold_{s.monoid}")
            return self._scalar_reduce(s, [call(fold, total, dtype=dtype)])
        with self.writer.block(""):
            slots = [
                [self.bound(self._live(s, k, v), self._slot_type(s, k), "v") for k in range(len(s.values))]
                for v in self.vectors
            ]
            while len(slots) > 1:
                pairs = [self._merge(s, slots[i], slots[i + 1]) for i in range(0, len(slots) - 1, 2)]
                slots = pairs + slots[len(slots) // 2 * 2 :]
            last, step = slots[0], self.lanes // 2
            while step:
                turned = [
                    self.bound(
                        call(f"rotate<{step}>", self.name(x.buffer), dtype=self.buffers[x.buffer].dtype, wide=True),
                        self._slot_type(s, k),
                        "turned",
                    )
                    for k, x in enumerate(last)
                ]
                last, step = self._merge(s, last, turned), step // 2
            self._scalar_reduce(s, [call("lane", self.name(x.buffer), "0", dtype=self.buffers[x.buffer].dtype) for x in last])

    def _slot_type(self, s: Reduce, k: int) -> str:
        return vector_type(self.buffers[s.targets[k].buffer].dtype, self.lanes)

    def _merge(self, s: Reduce, a: list[Load], b: list[Load]) -> list[Load]:
        lanes = Lanes(self.vectors[0].axis, 0)
        return [self.bound(x, self._slot_type(s, k), "v") for k, x in enumerate(self._combined(s.monoid, a, b, lanes))]

    def _tree(self, monoid: str, values: list[Value], dtype: str) -> Value:
        while len(values) > 1:
            pairs = [self._simple(monoid, values[i], values[i + 1], dtype, True) for i in range(0, len(values) - 1, 2)]
            values = pairs + values[len(values) // 2 * 2 :]
        return values[0]

    # -------------------------------------------------------------------------------- scans along the lanes
    def _scan(self, s: Reduce) -> None:
        """Each vector is scanned in registers, then the total so far is added: the last lane is the next total."""
        target, dtype = s.targets[0], self.buffers[s.targets[0].buffer].dtype
        neutral = self.cast(self.scalar(identity(s.monoid)[0], dtype), dtype)
        local = [
            self._named(call(f"scan_{s.monoid}", self._live(s, 0, v), neutral, dtype=dtype, wide=True)) for v in self.vectors
        ]
        totals: list[Value] = []
        for v in local:
            before = self.wide(self.load(target))
            totals.append(self._named(self._simple(s.monoid, before, v, dtype, True)))
            self.store_scalar(target, call("lane", totals[-1], str(self.lanes - 1), dtype=dtype))
        self.store_vectors(s.running[0].buffer, s.running[0].index, totals)

    # -------------------------------------------------------------------------------- across threads
    def _shared(self, target: Load) -> bool:
        """Several iterations of the parallel region may hit the same element."""
        return any((axis, target.buffer) in self.crossed for axis in self.region)

    def _atomic(self, s: Reduce) -> None:
        """One target, add, mul, max or min: a compare-and-swap loop; lanes go one after the other."""
        target, dtype = s.targets[0], self.buffers[s.targets[0].buffer].dtype
        held = scalar_type(dtype)
        change = self._simple(s.monoid, Value("now", PRIMARY, dtype), Value("by", PRIMARY, dtype), dtype, False).text
        if not self.vectors or not any(self.varies(i, self.vectors[0]) for i in target.index):
            value = self._slot(s, 0) if not self.vectors else self._folded_total(s, dtype)
            inside = self.homes[target.buffer].memory
            flat = self.offset(target.buffer, target.index)
            pointer = self.pointer(target.buffer, flat) if inside else "&" + self.element(target.buffer, target.index)
            return self.writer.line(f"atomically({pointer}, [by = {value.text}]({held} now) {{ return {change}; }});")
        flat = self.offset(target.buffer, target.index)
        for v in self.vectors:
            value = self._named(self._live(s, 0, v))
            pointer, offsets = self.scattered(target.buffer, flat, v)
            kind = "i32" if "i32" in offsets.dtype else "i64"
            at = self.writer.temporary(vector_type(kind, self.lanes), "at", offsets.text, shared=False)
            with self.writer.block(f"for (int l = 0; l < {self.lanes}; ++l)"):
                guard = f"if (lane({v.mask}, l)) " if v.mask else ""
                self.writer.line(
                    f"{guard}atomically({pointer} + {at}[l], [by = {value.text}[l]]({held} now) {{ return {change}; }});"
                )

    def _folded_total(self, s: Reduce, dtype: str) -> Value:
        total = self._tree(s.monoid, [self._live(s, 0, v) for v in self.vectors], dtype)
        return call({"any": "any", "all": "all"}.get(s.monoid, f"fold_{s.monoid}"), total, dtype=dtype)
