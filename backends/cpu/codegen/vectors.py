"""Expressions on native vectors. Comes in: an IR expression below a vector loop and which native vector of the loop is meant. Goes
out: C++ text on that vector; what is alike on all lanes stays at width 1 and is broadcast where it meets a vector."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ....ir.expr import OPS, Cast, Const, Expr, Load, Op, as_int, bounds, children, is_index, simplify, walk
from .dtypes import HELD, common, held, operands, rounding, settled, vector_type
from .expand import as_ranges, varies
from .linear import at, constant_stride, stride
from .values import BIT_AND, BIT_OR, INFIX, PRIMARY, PRODUCT, SUM, TERNARY, UNARY, Value, Values, call, infix, number

COMPARE = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
INT32 = 2**31 - 1


@dataclass(frozen=True)
class Lanes:
    """Native vector `vector` of the loop over `axis`. `mask`: C++ name of the mask of its live lanes; `narrowed`: the mask was narrowed
    inside an expression, so that it may be empty."""

    axis: str
    vector: int
    mask: str | None = None
    narrowed: bool = False


class Vectors(Values):
    """Adds `vector` to `Values`."""

    private: frozenset[str] = frozenset()
    sure: frozenset[Load] = frozenset()  # loads that the statement makes on every live lane, whatever its conditions say

    def varies(self, e: Expr, lanes: Lanes) -> bool:
        return varies(e, lanes.axis, self.private)

    def type(self, dtype: str) -> str:
        return vector_type(dtype, self.lanes)

    def base(self, e: Expr, lanes: Lanes) -> Expr:
        """The value on the vector's first lane."""
        first = lanes.vector * self.lanes
        step = constant_stride(e, lanes.axis) if first else None
        if step is not None:  # the value on the loop's first lane and a constant
            return self.fold(Op("+", (at(e, lanes.axis, 0), Const(step * first))))
        return self.fold(at(e, lanes.axis, first))

    # -------------------------------------------------------------------------------- conversions
    def wide(self, v: Value) -> Value:
        """Broadcast a width-1 value."""
        if v.wide:
            return v
        if v.dtype == "b1":
            return call("every", v, dtype="b1", wide=True)
        return call(f"splat<{self.type(v.dtype)}>", v, dtype=v.dtype, wide=True)

    def operand(self, v: Value, dtype: str) -> Value:
        """An argument of a C++ vector operator of the dtype: width 1 is broadcast by the language when its C++ type is the element's."""
        if v.wide:
            return self.vector_cast(v, dtype)
        if held(dtype) == "i32" and held(v.dtype) != "i32" and not v.text.lstrip("-").isdigit():
            return call("int32_t", v, dtype=dtype)
        return replace(v, dtype=dtype)

    def vector_cast(self, v: Value, dtype: str) -> Value:
        """Convert a vector to another dtype."""
        if v.dtype == dtype or (v.dtype in HELD and dtype == HELD[v.dtype]):
            return replace(v, dtype=dtype)
        if dtype == "b1":
            return call("ne", v, f"{self.type(v.dtype)}{{}}", dtype=dtype, wide=True)
        if v.dtype == "b1":
            one = call(f"splat<{self.type(dtype)}>", "1", dtype=dtype, wide=True)
            return call("keep", v, one, dtype=dtype, wide=True)
        text = v if held(v.dtype) == held(dtype) else call(f"convert<{self.type(dtype)}>", v, dtype=dtype, wide=True)
        return call(rounding(dtype), text, dtype=dtype, wide=True) if rounding(dtype) else replace(text, dtype=dtype)

    # -------------------------------------------------------------------------------- expressions
    def vector(self, e: Expr, lanes: Lanes, want: str = "f32") -> Value:
        """The value on the vector, `wide` when it varies; a weak constant takes the dtype `want`."""
        if not self.varies(e, lanes):
            return self._uniform(e, lanes, want)
        if is_index(e):
            return self.index(e, lanes)
        if isinstance(e, Load):
            return self._load(e, lanes)
        if isinstance(e, Cast):
            return self.vector_cast(self.vector(e.value, lanes, self._cast_want(e)), e.dtype)
        if isinstance(e, Op):
            return self._vector_operation(e, lanes, want)
        raise AssertionError(f"{e} does not vary")

    def full(self, e: Expr, lanes: Lanes, dtype: str) -> Value:
        """The value on the vector, broadcast and converted to the dtype."""
        v = self.vector(e, lanes, dtype)
        return self.vector_cast(v, dtype) if v.wide else self.wide(self.cast(v, dtype))

    def _uniform(self, e: Expr, lanes: Lanes, want: str) -> Value:
        v = self.scalar(e, want)
        if lanes.narrowed and lanes.mask and not all(self._in_bounds(n) for n in walk(e) if isinstance(n, Load)):
            return Value(f"any({lanes.mask}) ? {v.text} : {number(0, v.dtype).text}", TERNARY, v.dtype)
        return v

    def _in_bounds(self, e: Load) -> bool:
        """The load touches its buffer on every path."""
        if not self.homes[e.buffer].memory:
            return True
        inside = (c for i, n in zip(e.index, self.buffers[e.buffer].shape) for c in (Op(">=", (i, Const(0))), Op("<", (i, n))))
        return all(simplify(c, as_ranges(self.env)) == Const(True) for c in inside)

    # -------------------------------------------------------------------------------- integers made of axes
    def index(self, e: Expr, lanes: Lanes) -> Value:
        """An expression of axes and constants, in int32 lanes where its bounds allow."""
        dtype = "i32" if self._fits(e) else "i64"
        step = constant_stride(e, lanes.axis)
        if step is not None:
            return self._ramp(Const(step), self.base(e, lanes), dtype)
        assert isinstance(e, Op)
        args = [self.operand(self.vector(a, lanes, "i64"), dtype) for a in e.args]
        return self._wide_arithmetic(e.name, args, dtype)

    def _ramp(self, step: Expr, base: Expr, dtype: str) -> Value:
        """iota * step + base"""
        out = Value(f"iota<{self.type(dtype)}>()", PRIMARY, dtype, True)
        if step != Const(1):
            out = infix("*", PRODUCT, out, self.operand(self.scalar(step, dtype), dtype), dtype, True)
        if base != Const(0):
            out = infix("+", SUM, out, self.operand(self.scalar(base, dtype), dtype), dtype, True)
        return out

    def _fits(self, e: Expr) -> bool:
        """Every part of an index expression is an int32."""
        return all(self._is_int32(n) for n in walk(e))

    def _is_int32(self, e: Expr) -> bool:
        lo, hi = bounds(e, as_ranges(self.env))
        return lo is not None and hi is not None and lo >= -INT32 and hi <= INT32

    # -------------------------------------------------------------------------------- operators
    def _vector_operation(self, e: Op, lanes: Lanes, want: str) -> Value:
        kind = OPS[e.name][1]
        if e.name == "select":
            return self._vector_select(e, lanes, want)
        if kind == "logic":
            return self._vector_logic(e, lanes)
        if kind == "compare" and all(is_index(a) for a in e.args):
            return self._compare_index(e, lanes)
        dtype = settled(common([self.infer(a) for a in operands(e)]), want if kind not in ("compare", "test") else "f32")
        args = [self.vector(a, lanes, dtype) for a in e.args]
        if kind == "compare":
            return self._compare(e.name, args, dtype)
        return self._wide_arithmetic(e.name, args, dtype)

    def _wide_arithmetic(self, name: str, args: list[Value], dtype: str) -> Value:
        if name in INFIX and dtype != "b1":
            if sum(a.wide for a in args) == 0:
                args = [self.wide(self.operand(a, dtype)) for a in args]
            return self.arithmetic(name, [self.operand(a, dtype) for a in args], dtype, True)
        args = [self.vector_cast(a, dtype) if a.wide else self.wide(self.cast(a, dtype)) for a in args]
        return self.arithmetic(name, args, dtype, True)

    def _compare(self, name: str, args: list[Value], dtype: str) -> Value:
        if dtype == "b1":
            a, b = (self.wide(v) for v in args)
            differ = infix("^", BIT_AND - 1, a, b, "b1", True)
            if name == "!=":
                return differ
            if name == "==":
                return Value(f"~({differ.text})", UNARY, "b1", True)
            args, dtype = [self.vector_cast(self.wide(v), "i32") for v in args], "i32"
        return call(
            COMPARE[name],
            *(self.vector_cast(a, dtype) if a.wide else self.wide(self.cast(a, dtype)) for a in args),
            dtype="b1",
            wide=True,
        )

    def _compare_index(self, e: Op, lanes: Lanes) -> Value:
        """Where the difference moves with the lane by a constant: the first (or the last) lanes, counted at width 1."""
        diff = Op("-", e.args)
        step = constant_stride(diff, lanes.axis)
        if step is None:
            dtype = "i32" if self._fits(diff) else "i64"
            return self._compare(e.name, [self._as(self.vector(a, lanes), dtype) for a in e.args], dtype)
        base = self.base(diff, lanes)
        if step in (1, -1) and e.name not in ("==", "!="):
            return self._prefix(e.name, step, base)
        bound = call("int32_t", call("clamp32", self.scalar(self.fold(Op("neg", (base,))), "i64"), dtype="i64"), dtype="i32")
        return self._compare(e.name, [self._ramp(Const(step), Const(0), "i32"), bound], "i32")

    def _as(self, v: Value, dtype: str) -> Value:
        return (
            self.vector_cast(v, dtype)
            if v.wide
            else self.wide(self.operand(v, dtype) if dtype == "i32" else self.cast(v, dtype))
        )

    def _prefix(self, name: str, step: int, base: Expr) -> Value:
        """`step * lane + base <op> 0` for step 1 or -1."""
        if step == -1:  # lane - base <mirrored op> 0
            name, base = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}[name], Op("neg", (base,))
        more = 1 if name in ("<=", ">") else 0
        count = self.fold(Op("-", (Const(more), base)))
        out = call("first", self.scalar(count, "i64"), dtype="b1", wide=True)
        return out if name in ("<", "<=") else Value("~" + out.text, UNARY, "b1", True)

    def _vector_logic(self, e: Op, lanes: Lanes) -> Value:
        a = self.vector(e.args[0], lanes, "b1")
        if e.name == "not":
            return Value("~" + self.wide(a).inside(UNARY), UNARY, "b1", True)
        below = lanes
        if a.wide and self._touches_memory(e.args[1], lanes):
            below = self.narrow(lanes, a if e.name == "and" else Value("~" + a.inside(UNARY), UNARY, "b1", True))
        b = self.vector(e.args[1], below, "b1")
        if not a.wide:  # lazy: the right side runs only where the left one leaves it open
            other = "every(false)" if e.name == "and" else "every(true)"
            left, right = (self.wide(b).inside(TERNARY), other) if e.name == "and" else (other, self.wide(b).inside(TERNARY))
            return Value(f"{a.inside(TERNARY + 1)} ? {left} : {right}", TERNARY, "b1", True)
        symbol, level = ("&", BIT_AND) if e.name == "and" else ("|", BIT_OR)
        return infix(symbol, level, a, self.wide(b), "b1", True)

    def _touches_memory(self, e: Expr, lanes: Lanes) -> bool:
        """Evaluating `e` on a dead lane might touch memory outside its buffer."""
        return any(isinstance(n, Load) and n not in self.sure and not self._in_bounds(n) for n in walk(e))

    def narrow(self, lanes: Lanes, condition: Value) -> Lanes:
        """The lanes that are live and satisfy the condition."""
        text = condition.text if lanes.mask is None else f"{lanes.mask} & {condition.inside(BIT_AND + 1)}"
        return replace(lanes, mask=self.writer.temporary("mask", "live", text), narrowed=True)

    def _vector_select(self, e: Op, lanes: Lanes, want: str) -> Value:
        dtype = settled(common([self.infer(a) for a in e.args[1:]]), want)
        c = self.vector(e.args[0], lanes, "b1")
        if not c.wide:
            a, b = (self.full(x, lanes, dtype) for x in e.args[1:])
            return Value(f"{c.inside(TERNARY + 1)} ? {a.inside(TERNARY + 1)} : {b.inside(TERNARY)}", TERNARY, dtype, True)
        touching = [self._touches_memory(x, lanes) for x in e.args[1:]]
        if any(touching):
            c = Value(self.writer.temporary("mask", "live", c.text, shared=is_pure(e.args[0])), PRIMARY, "b1", True)
        yes = self.narrow(lanes, c) if touching[0] else lanes
        no = self.narrow(lanes, Value("~" + c.inside(UNARY), UNARY, "b1", True)) if touching[1] else lanes
        a = self.full(e.args[1], yes, dtype)
        if (
            touching[0]
            and e.args[2] in (Const(0), Const(0.0))
            and isinstance(e.args[1], Load)
            and a.text.endswith(f", {yes.mask})")
        ):
            return a  # a masked load is zero elsewhere
        return call("select", c, a, self.full(e.args[2], no, dtype), dtype=dtype, wide=True)

    # -------------------------------------------------------------------------------- loads
    def _load(self, e: Load, lanes: Lanes) -> Value:
        home, dtype = self.homes[e.buffer], self.buffers[e.buffer].dtype
        if home.wide:
            return Value(self.register(e.buffer, e.index, (lanes.axis, lanes.vector)), PRIMARY, dtype, True)
        flat = self.offset(e.buffer, e.index)
        step = stride(flat, lanes.axis, self.private)
        mask = [lanes.mask] if lanes.mask else []
        if step == Const(0):
            return self.wide(self._uniform(Load(e.buffer, tuple(self.base(i, lanes) for i in e.index)), lanes, dtype))
        near = {"1": "load", "2": "load_even", "-1": "load_reversed"}.get(str(as_int(step))) if step is not None else None
        if near:
            return call(near, self.pointer(e.buffer, self.base(flat, lanes)), *mask, dtype=dtype, wide=True)
        pointer, offsets = self.scattered(e.buffer, flat, lanes)
        return call("gather", pointer, offsets, *mask, dtype=dtype, wide=True)

    def scattered(self, buffer: str, flat: Expr, lanes: Lanes) -> tuple[str, Value]:
        """(pointer, vector of element offsets) of a place whose lanes are not neighbours."""
        dtype = "i32" if self._small(buffer) else "i64"
        step = stride(flat, lanes.axis, self.private)
        if step is not None:
            return self.pointer(buffer, self.base(flat, lanes)), self._ramp(step, Const(0), dtype)
        return self.name(buffer), self._offsets(flat, lanes, dtype)

    def _small(self, buffer: str) -> bool:
        """Every element offset is an int32."""
        size = 1
        for extent in self.buffers[buffer].shape:
            hi = bounds(extent, as_ranges(self.env))[1]
            if hi is None:
                return False
            size *= max(hi, 1)
        return size <= INT32

    def _offsets(self, e: Expr, lanes: Lanes, dtype: str) -> Value:
        """Sums and products modulo 2^32 when the whole is known to fit; parts are converted."""
        if isinstance(e, Op) and e.name in ("+", "-", "*") and self.varies(e, lanes):
            args = [self._offsets(a, lanes, dtype) for a in e.args]
            return self._wide_arithmetic(e.name, args, dtype)
        return self.operand(self.vector(e, lanes, "i64"), dtype)


def sure_loads(e: Expr) -> frozenset[Load]:
    """Loads that evaluating `e` always makes: not those that wait for a condition."""
    if isinstance(e, Op) and e.name in ("select", "and", "or"):
        return sure_loads(e.args[0])
    own = frozenset((e,)) if isinstance(e, Load) else frozenset()
    return own.union(*(sure_loads(c) for c in children(e)))


def is_pure(e: Expr) -> bool:
    """Reads no memory, so its value cannot change inside a block."""
    return not any(isinstance(n, Load) for n in walk(e))
