"""Statements of a program as Triton: loops, nests of lanes as tiles, results combined over tiles.

Comes in: kernel statements with barriers. Goes out: lines. A local of a nest is a tile of the nest's shape; what a mask leaves out keeps
its old value.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping

from ...ir.dependence import crossed
from ...ir.expr import Const, Expr, Load, Op, Var, as_int, bounds, is_index, loads, names, simplify
from ...ir.kernel import Alloc, Body, Buffer, Call, For, If, Reduce, Stmt, Store, map_expressions, statements, substitute_axes
from ...ir.monoid_terms import combine_terms, identity_terms
from ...ir.scope import Scope
from ...passes.barriers import Barrier
from ...passes.regions import Nest, folds, nest_at
from ..cpu.codegen.dtypes import HELD
from ..cuda.codegen.thread import UnsupportedOnGpu
from .functions import Functions
from .hoisted import Hoisted
from .values import AND, PRIMARY, SUM, TYPES, Home, Value, Values, held

Region = Stmt | Barrier
MAX_UNROLL = 64
_ATOMIC = {"add": "tl.atomic_add", "max": "tl.atomic_max", "min": "tl.atomic_min"}


class Statements(Values):
    """Prints the body of one program instance."""

    def __init__(
        self, functions: Functions, taken: set[str], wide: bool, atomic: frozenset[str], written: Mapping[str, int], scope: Scope
    ):
        super().__init__(functions, taken, wide)
        self.lines: list[str] = []
        self.depth = 1
        self.atomic, self.written, self.scope = atomic, written, scope
        self.shape: tuple[int, ...] = ()
        self.made_under: dict[str, int] = {}  # tile -> conditions in force where it was made
        self.workspaces: dict[str, str] = {}
        self.block = "0"  # the number of this program instance
        self.lane_names: dict[tuple[str, str], str] = {}  # (axis, its tl.arange) -> variable
        self.folded: tuple[Reduce, ...] = ()
        self.shared: ChainMap[str, str] = ChainMap()  # texts of indices that have names here
        self.masks = 0  # that have names now
        self.temporaries: dict[tuple[str, int, tuple[int, ...], str], str] = {}
        self.defined: set[str] = set()

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    # -------------------------------------------------------------------------------- outside lanes
    def regions(self, body: tuple[Region, ...]) -> None:
        for s in body:
            if isinstance(s, Barrier):
                self.line("tl.debug_barrier()")
            elif (nest := nest_at(s)) is not None:
                self.nest(s, nest)
            else:
                self.statement(s)

    def statement(self, s: Stmt) -> None:
        """One statement, in a nest or outside."""
        if isinstance(s, Alloc):
            self.alloc(s.buffer)
        elif isinstance(s, For):
            self.loop(s)
        elif isinstance(s, If):
            self.condition(s)
        elif isinstance(s, Store):
            self.store(Load(s.buffer, s.index), s.value)
        elif isinstance(s, Reduce):
            self.combine(s)
        elif isinstance(s, Call):
            raise UnsupportedOnGpu(f"Triton has no intrinsic {s.intrinsic}", hint="leave out tensorize")

    def inside(self, body: Body) -> None:
        if self.axes:
            for s in body:
                self.statement(s)
        else:
            self.regions(body)

    def alloc(self, b: Buffer) -> None:
        self.scope = self.scope.declare(b)
        if self.axes:
            if any(as_int(d) is None for d in b.shape):
                raise UnsupportedOnGpu(f"`{b.name}` of a lane has no fixed size")
            self.homes[b.name] = Home("tile", b, own=True)
            self.made_under[b.name] = len(self.conditions)
        elif b.space == "local":
            self.homes[b.name] = Home("tile" if b.owned else "scalar", b)
            self.made_under[b.name] = 0
        else:
            self.homes[b.name] = Home("memory", b)
            size: Expr = Const(1)
            for d in b.shape:
                size = Op("*", (size, d))
            where = self.workspaces[b.name]
            self.line(f"{self.name(b.name)} = {where} + ({self.block}) * {self.index(size).inside(SUM + 1)}")

    def loop(self, s: For) -> None:
        lo, hi = as_int(s.lo), as_int(s.hi)
        fixed = lo is not None and hi is not None
        if s.kind in ("unroll", "vector") or (fixed and self._indexes_tiles(s)):
            if s.kind == "vector" and self.dot(s):
                return
            if fixed and hi - lo <= MAX_UNROLL:  # type: ignore[operator]
                for k in range(lo, hi):  # type: ignore[arg-type]
                    self.inside(map_expressions(substitute_axes(s.body, {s.axis: Const(k)}), simplify))
                return
        low, high, guards = self._uniform_bounds(s)
        self.line(f"for {self.name(s.axis)} in range({low}, {high}):" if low != "0" else f"for {self.name(s.axis)} in range({high}):")
        self.depth += 1
        outer, self.scope, self.shared = self.scope, self.scope.enter(s), self.shared.new_child()
        with self.axis(s.axis, s.lo, s.hi):
            self._under_all(guards, s.body)
        self.scope, self.shared = outer, self.shared.parents
        self.depth -= 1

    def _indexes_tiles(self, s: For) -> bool:
        """The loop runs over an array of a lane, which is a variable for each element."""
        for q in statements(s.body):
            found = [Load(q.buffer, q.index)] if isinstance(q, Store) else list(q.targets) if isinstance(q, Reduce) else []
            for x in (*found, *(x for e in _values(q) for x in loads(e))):
                home = self.homes.get(x.buffer)
                own = home is not None and home.kind != "memory"
                if own and any(s.axis in names(i) for i in x.index[home.buffer.owned :]):  # type: ignore[union-attr]
                    return True
        return False

    def _uniform_bounds(self, s: For) -> tuple[str, str, list[Expr]]:
        """Bounds that are the same for all lanes, and conditions that keep each lane within its own."""
        low, high, guards = s.lo, s.hi, []
        if self.varies(s.lo):
            least = bounds(s.lo, self.ranges)[0]  # type: ignore[arg-type]
            guards.append(Op(">=", (Var(s.axis), s.lo)))
            low = self._known(s, least)
        if self.varies(s.hi):
            most = bounds(s.hi, self.ranges)[1]  # type: ignore[arg-type]
            guards.append(Op("<", (Var(s.axis), s.hi)))
            high = self._known(s, most)
        return self.index(low).text, self.index(high).text, guards

    def _known(self, s: For, n: int | None) -> Expr:
        if n is None:
            raise UnsupportedOnGpu(f"the bounds of `{s.axis}` differ between lanes and have no common bound")
        return Const(n)

    def _under_all(self, guards: list[Expr], body: Body) -> None:
        if not guards:
            return self.inside(body)
        condition, wide = self.value(guards[0], "b1"), bool(self.varies(guards[0]))
        product = isinstance(body[0], For) and body[0].kind == "vector"  # masks its operands itself
        if wide and not condition.text.isidentifier() and not product:
            condition = self._bound(condition, self._temporary("mask", guards[0], "b1"))
            self.masks += 1
            with self.under(condition, wide):
                self._under_all(guards[1:], body)
            self.masks -= 1
            return
        with self.under(condition, wide):
            self._under_all(guards[1:], body)

    def condition(self, s: If) -> None:
        outer, self.scope = self.scope, self.scope.enter(s)
        if not self.axes:
            self.line(f"if {self.value(s.cond, 'b1').text}:")
            self.depth, self.shared = self.depth + 1, self.shared.new_child()
            self.regions(s.body)
            self.depth, self.shared = self.depth - 1, self.shared.parents
        else:
            self._under_all(_conjuncts(s.cond), s.body)
        self.scope = outer

    # -------------------------------------------------------------------------------- nests
    def nest(self, s: Stmt, nest: Nest) -> None:
        """The lanes become axes of a tile."""
        sizes = [as_int(x.hi) for x in nest.loops]
        if any(n is None or n & (n - 1) for n in sizes):
            raise UnsupportedOnGpu(f"the lanes ({', '.join(nest.axes)}) are no powers of two", hint="split with a guard")
        self.shape = tuple(n for n in sizes if n is not None)
        folded = folds(nest, dict(self.buffers))
        self.folded = folded
        scope, atomic = self.scope, self.atomic
        for loop in nest.loops:
            found = {r.place.buffer for r in crossed(loop, self.scope) if not any(r.access.statement is f for f in folded)}
            for name in found:
                if name in self.homes and self.homes[name].kind != "memory":
                    raise UnsupportedOnGpu(f"the lanes combine into several elements of `{name}`, which is no memory", hint="rfactor")
            self.atomic = self.atomic | found
            self.scope = self.scope.enter(loop)
        self.axes = nest.axes
        saved = self.ranges
        for k, loop in enumerate(nest.loops):
            self.names[loop.axis] = self.lane_names[loop.axis, _arange(self.shape[k], k, len(self.shape))]
            self.ranges = {**self.ranges, loop.axis: (0, self.shape[k] - 1)}
        self.hoisted = Hoisted(
            self.lines, "    " * self.depth, frozenset(self.ranges), frozenset(nest.axes), self.shared, not self.wide,
            lambda e: self.value(e, "i64").text, self._declare,
        )  # fmt: skip
        self.inside(nest.body)
        self.ranges, self.axes, self.scope, self.atomic, self.hoisted = saved, (), scope, atomic, None
        for x in statements(nest.body):
            if isinstance(x, Alloc):
                self.homes.pop(x.buffer.name, None)

    def _declare(self, base: str, e: Expr) -> str:
        """A name for an index of the nest."""
        name = self.fresh(base)
        self.names[name], self.hoisted_ranges[name] = name, bounds(e, self.ranges)  # type: ignore[arg-type]
        return name

    def declare_lanes(self, body: tuple[Region, ...]) -> None:
        """Declare what the nests of the program use of `tl.arange`, each once."""
        for s in body:
            nest = nest_at(s) if not isinstance(s, Barrier) else None
            for k, loop in enumerate(nest.loops if nest else ()):
                text = _arange(as_int(loop.hi), k, len(nest.loops))  # type: ignore[union-attr]
                if (loop.axis, text) not in self.lane_names:
                    self.lane_names[loop.axis, text] = self.fresh(loop.axis)
                    self.line(f"{self.lane_names[loop.axis, text]} = {text}")
            if nest is None and isinstance(s, (For, If)):
                self.declare_lanes(s.body)

    def _shape_text(self) -> str:
        return "[" + ", ".join(map(str, self.shape)) + "]"

    # -------------------------------------------------------------------------------- stores
    def store(self, place: Load, e: Expr) -> None:
        home = self.homes[place.buffer]
        dtype = home.buffer.dtype
        if home.kind == "memory":
            return self._to_memory(place, self._typed(e, dtype), e)
        name = self.variable(place.buffer, place.index)
        mask = self._mask_of(place.buffer)
        v = self._typed(e, dtype)
        again = self.written.get(place.buffer, 0) > 1
        if home.kind == "scalar":
            text = f"tl.full((), {v.text}, {TYPES[held(dtype)]})" if isinstance(e, Const) else v.text
            return self.line(f"{name} = {text}")
        if isinstance(e, Const):
            text = f"tl.full({self._shape_text()}, {v.text}, {TYPES[held(dtype)]})"
        elif again and self.varies(e) != set(self.axes):
            text = f"tl.broadcast_to({v.text}, {self._shape_text()})"
        else:
            text = v.text
        if mask is not None and name in self.defined:
            text = f"tl.where({mask.text}, {v.text}, {name})"
        self.defined.add(name)
        self.line(f"{name} = {text}")

    def _mask_of(self, buffer: str) -> Value | None:
        """The conditions since the buffer was made."""
        held_since = self.conditions[self.made_under.get(buffer, 0) :]
        saved, self.conditions = self.conditions, held_since
        out = self.mask
        self.conditions = saved
        return out

    def _typed(self, e: Expr, dtype: str) -> Value:
        """The value in the dtype of the place that it goes to."""
        v = self.value(e, dtype)
        if isinstance(e, Const):
            return v
        if v.dtype == dtype and is_index(e):
            return self._converted(v, dtype, not self.varies(e))
        return self.cast(v, dtype)

    def _to_memory(self, place: Load, v: Value, e: Expr) -> None:
        dtype = self.homes[place.buffer].buffer.dtype
        text = v.text
        wide = bool(self.varies(self.offset(place.buffer, place.index)))
        if dtype != held(dtype) and not isinstance(e, Const):
            text = f"{v.inside(PRIMARY)}.to({TYPES[dtype]})"
        mask = self.mask if wide else None
        if not wide and self.conditions:
            uniform = [c for c, varies in self.conditions if not varies]
            mask = uniform[0] if uniform else None
        shown = f", mask={mask.text}" if mask is not None else ""
        self.line(f"tl.store({self.pointer(place.buffer, place.index)}, {text}{shown})")

    # -------------------------------------------------------------------------------- combining
    def combine(self, s: Reduce) -> None:
        dtypes = [self.homes[t.buffer].buffer.dtype for t in s.targets]
        if self.axes and any(s is f for f in self.folded):
            return self._fold(s, dtypes)
        if any(t.buffer in self.atomic for t in s.targets):
            return self._atomic(s, dtypes)
        values = [self._typed(v, d) for v, d in zip(s.values, dtypes)]
        olds = [self.load(t) for t in s.targets]
        if len(olds) > 1:
            values = [self._bound(v, f"new{k}") for k, v in enumerate(values)]
            olds = [self._bound(v, f"old{k}") for k, v in enumerate(olds)]
        for t, v in zip(s.targets, self.combined(s.monoid, olds, values)):
            self._assign(t, v)
        for t, r in zip(s.targets, s.running):
            self._assign(r, self.load(t))

    def _temporary(self, base: str, e: Expr, dtype: str) -> str:
        """A name for the value of `e`, which later values of the same type may take over: in a loop a name keeps its type."""
        varies = self.varies(e)
        key = (base, self.masks, tuple(n if a in varies else 1 for a, n in zip(self.axes, self.shape)), dtype)
        if key not in self.temporaries:
            self.temporaries[key] = self.fresh(base)
        return self.temporaries[key]

    def _bound(self, v: Value, name: str) -> Value:
        self.line(f"{name} = {v.text}")
        return Value(name, PRIMARY, v.dtype)

    def _assign(self, place: Load, v: Value) -> None:
        if self.homes[place.buffer].kind == "memory":
            return self._to_memory(place, v, place)
        name, mask = self.variable(place.buffer, place.index), self._mask_of(place.buffer)
        if self.homes[place.buffer].kind == "tile" and mask is not None:
            v = Value(f"tl.where({mask.text}, {v.text}, {name})", PRIMARY, v.dtype)
        self.defined.add(name)
        self.line(_shortened(name, v.text))

    def combined(self, monoid: str, olds: list[Value], news: list[Value]) -> list[Value]:
        """The combined value of each slot."""
        saved, conditions = self.variables, self.conditions
        self.variables = {f"a{k}": v for k, v in enumerate(olds)} | {f"b{k}": v for k, v in enumerate(news)}
        self.conditions = ()
        out = [self.cast(self.value(e, o.dtype), o.dtype) for e, o in zip(combine_terms(monoid), olds)]
        self.variables, self.conditions = saved, conditions
        return out

    def _atomic(self, s: Reduce, dtypes: list[str]) -> None:
        if s.monoid not in _ATOMIC or len(s.targets) != 1 or dtypes[0] not in ("f32", "i32", "i64"):
            raise UnsupportedOnGpu(f"Triton has no atomic for {s.monoid} of {dtypes[0]}", hint="rfactor, or another kind of loop")
        v = self._full(self._typed(s.values[0], dtypes[0]), s.values[0])
        mask = f", mask={self.mask.text}" if self.mask is not None else ""
        self.line(f"{_ATOMIC[s.monoid]}({self.pointer(s.targets[0].buffer, s.targets[0].index)}, {v.text}{mask})")

    def _full(self, v: Value, e: Expr) -> Value:
        """The value over the whole tile."""
        if not self.axes or self.varies(e) == set(self.axes):
            return v
        if isinstance(e, Const):
            return Value(f"tl.full({self._shape_text()}, {v.text}, {TYPES[held(v.dtype)]})", PRIMARY, v.dtype)
        return Value(f"tl.broadcast_to({v.text}, {self._shape_text()})", PRIMARY, v.dtype)

    # -------------------------------------------------------------------------------- folds
    def _fold(self, s: Reduce, dtypes: list[str]) -> None:
        """Combine a tile into one place."""
        values = [self._full(self._typed(v, d), v) for v, d in zip(s.values, dtypes)]
        mask = self.mask
        if mask is not None:
            ends = [self.number(getattr(e, "value", 0), d) for e, d in zip(identity_terms(s.monoid), dtypes)]
            values = [Value(f"tl.where({mask.text}, {v.text}, {e.text})", PRIMARY, v.dtype) for v, e in zip(values, ends)]
        if s.running:
            return self._scan(s, values[0], dtypes[0])
        conditions, self.conditions = self.conditions, ()
        axes: tuple[str, ...] = self.axes
        self.axes = ()
        parts = self._reduced(s.monoid, values, dtypes)
        if s.targets[0].buffer in self.atomic:
            self.line(f"{_ATOMIC[s.monoid]}({self.pointer(s.targets[0].buffer, s.targets[0].index)}, {parts[0].text})")
        else:
            olds = [self.load(t) for t in s.targets]
            if len(olds) > 1:
                olds = [self._bound(v, f"old{k}") for k, v in enumerate(olds)]
            for t, v in zip(s.targets, self.combined(s.monoid, olds, parts)):
                self._assign(t, v)
        self.conditions, self.axes = conditions, axes

    def _reduced(self, monoid: str, values: list[Value], dtypes: list[str]) -> list[Value]:
        """The tile combined over all its lanes."""
        floating = dtypes[0][0] in "fb" and dtypes[0] != "b1"
        one = {"add": "tl.sum({}, axis=None)", "max": "largest({})" if floating else "tl.max({}, axis=None)", "min": "smallest({})" if floating else "tl.min({}, axis=None)"}
        if monoid in one:
            text = one[monoid].format(values[0].text)
            self.functions.need(text.split("(")[0])
            return [Value(text, PRIMARY, dtypes[0])]
        if monoid in ("any", "all"):
            extreme = "max" if monoid == "any" else "min"
            return [Value(f"tl.{extreme}({values[0].inside(PRIMARY)}.to(tl.int32), axis=None) != 0", AND, "b1")]
        if len(self.shape) > 1:
            raise UnsupportedOnGpu(f"{monoid} over a tile of several axes", hint="collapse the axes")
        name = self._combiner(monoid, dtypes)
        if len(values) == 1:
            return [Value(f"tl.reduce({values[0].text}, 0, {name})", PRIMARY, dtypes[0])]
        parts = [f"part{k}" for k in range(len(values))]
        self.line(f"{', '.join(parts)} = tl.reduce(({', '.join(v.text for v in values)}), 0, {name})")
        return [Value(p, PRIMARY, d) for p, d in zip(parts, dtypes)]

    def _combiner(self, monoid: str, dtypes: list[str]) -> str:
        """A function of two partial results."""
        name = "_".join(("combine", monoid, *(d for d in dtypes[:1] if d in HELD)))
        width = len(dtypes)
        olds = [Value(f"a{k}", PRIMARY, d) for k, d in enumerate(dtypes)]
        news = [Value(f"b{k}", PRIMARY, d) for k, d in enumerate(dtypes)]
        made = ", ".join(v.text for v in self.combined(monoid, olds, news))
        head = ", ".join([f"a{k}" for k in range(width)] + [f"b{k}" for k in range(width)])
        self.functions.define(name, f"@triton.jit\ndef {name}({head}):\n    return {made}")
        return name

    def _scan(self, s: Reduce, v: Value, dtype: str) -> None:
        """Running results along the lanes, on from the target, which takes in all of them."""
        if len(self.shape) > 1 or len(s.targets) != 1:
            raise UnsupportedOnGpu("a scan along lanes has one axis and one value", hint="bind the scanned axis to serial")
        known = {"add": "tl.cumsum({}, 0)", "mul": "tl.cumprod({}, 0)"}
        along = known[s.monoid] if s.monoid in known else f"tl.associative_scan({{}}, 0, {self._combiner(s.monoid, [dtype])})"
        running = self.fresh("running")
        state = self.load(s.targets[0])
        so_far = Value(along.format(v.text), PRIMARY, dtype)
        self.line(f"{running} = {self.combined(s.monoid, [state], [so_far])[0].text}")
        self._assign(s.running[0], Value(running, PRIMARY, dtype))
        conditions, self.conditions = self.conditions, ()
        axes: tuple[str, ...] = self.axes
        self.axes = ()
        last = self._reduced(s.monoid, [v], [dtype])
        self._assign(s.targets[0], self.combined(s.monoid, [self.load(s.targets[0])], last)[0])
        self.conditions, self.axes = conditions, axes

    # -------------------------------------------------------------------------------- products of tiles
    def dot(self, s: For) -> bool:
        """`acc[i, j] += a[i, k] * b[k, j]` with k in the vector loop: a product of tiles. False for anything else."""
        body, guards = s.body, []
        while len(body) == 1 and isinstance(body[0], If):
            guards += _conjuncts(body[0].cond)
            body = body[0].body
        n = as_int(s.hi)
        if len(body) != 1 or not isinstance(r := body[0], Reduce) or r.monoid != "add" or len(self.axes) != 2 or n is None or n & (n - 1):
            return False
        product = r.values[0]
        target = self.homes[r.targets[0].buffer]
        if not (isinstance(product, Op) and product.name == "*" and target.kind == "tile" and target.buffer.dtype == "f32" and n >= 16):
            return False
        i, j = self.axes
        sides = {frozenset(names(f) & {i, j, s.axis}): f for f in product.args}
        a, b = sides.get(frozenset((i, s.axis))), sides.get(frozenset((s.axis, j)))
        if a is None or b is None or min(self.shape) < 16:
            return False
        k = self.fresh(s.axis)
        left = self._operand(a, (i, s.axis), (self.shape[0], n), s, k, guards)
        right = self._operand(b, (s.axis, j), (n, self.shape[1]), s, k, guards)
        acc = self.variable(r.targets[0].buffer, r.targets[0].index)
        self.line(f'{acc} = tl.dot({left}, {right}, {acc}, input_precision="ieee")')
        self.taken.discard(k)
        return True

    def _operand(self, e: Expr, axes: tuple[str, str], shape: tuple[int, int], s: For, k: str, guards: list[Expr]) -> str:
        """A tile over two axes of the product, zero where a condition on them does not hold."""
        saved = self.axes, self.shape, self.conditions, self.ranges, dict(self.names)
        hoisted, self.hoisted = self.hoisted, None
        held_now = [g for g in (*self.dot_guards, *guards) if not names(g) & (set(saved[0]) | {s.axis}) - set(axes)]
        self.axes, self.shape, self.conditions = axes, shape, ()
        self.ranges = {**self.ranges, s.axis: (0, shape[axes.index(s.axis)] - 1)}
        lines = []
        for position, axis in enumerate(axes):
            place = "[:, None]" if position == 0 else "[None, :]"
            name = k if axis == s.axis else self.fresh(f"{axis}_{'row' if position == 0 else 'column'}")
            self.names[axis] = name
            lines.append(f"{name} = tl.arange(0, {shape[position]}){place}")
        for text in lines:
            self.line(text)
        for g in held_now:
            self.conditions = (*self.conditions, (self.value(g, "b1"), True))
        v = self._full(self.value(e, "f32"), e)
        out = self._bound(v, self.fresh(f"{next(iter(loads(e))).buffer}_tile"))
        self.axes, self.shape, self.conditions, self.ranges = saved[:4]
        self.names, self.hoisted = saved[4], hoisted
        for text in (*lines, f"{out.text} ="):
            self.taken.discard(text.split(" ")[0])
        return out.text

    @property
    def dot_guards(self) -> list[Expr]:
        """The conditions around, as expressions."""
        return [c for h in self.scope.path if isinstance(h, If) for c in _conjuncts(h.cond)]


def _values(s: Stmt) -> tuple[Expr, ...]:
    return (s.value,) if isinstance(s, Store) else s.values if isinstance(s, Reduce) else ()


def _conjuncts(e: Expr) -> list[Expr]:
    return [*_conjuncts(e.args[0]), *_conjuncts(e.args[1])] if isinstance(e, Op) and e.name == "and" else [e]


def _shortened(name: str, text: str) -> str:
    """`s += v` for `s = s + v`."""
    if text.startswith(f"{name} + ") and " & " not in text:
        return f"{name} += {text[len(name) + 3 :]}"
    return f"{name} = {text}"


def _arange(size: int | None, position: int, rank: int) -> str:
    place = "" if rank == 1 else "[" + ", ".join(":" if k == position else "None" for k in range(rank)) + "]"
    return f"tl.arange(0, {size}){place}"
