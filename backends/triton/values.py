"""Expressions as Triton: an IR expression comes in, the text of a scalar or of a tile goes out, with precedence and dtype.

Inside a nest of lanes an axis is `tl.arange` along its own dim of the tile, and values broadcast. A load under a condition is masked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ...ir.expr import OPS, Cast, Const, Expr, Load, Op, Var, as_int, bounds, is_index, loads, names, simplify
from ...ir.kernel import Buffer
from ..cpu.codegen.dtypes import HELD, WEAK_FLOAT, WEAK_INT, common, infer, operands, settled
from ..cuda.codegen.names import Names
from ..cuda.codegen.thread import UnsupportedOnGpu
from .functions import FUNCTIONS, Functions
from .hoisted import Hoisted

OR, XOR, AND, COMPARE, SHIFT, SUM, PRODUCT, UNARY, PRIMARY = range(9)
INFIX = {
    "+": ("+", SUM), "-": ("-", SUM), "*": ("*", PRODUCT), "/": ("/", PRODUCT), "<": ("<", COMPARE), "<=": ("<=", COMPARE),
    ">": (">", COMPARE), ">=": (">=", COMPARE), "==": ("==", COMPARE), "!=": ("!=", COMPARE), "&": ("&", AND), "|": ("|", OR),
    "^": ("^", XOR), "<<": ("<<", SHIFT), ">>": (">>", SHIFT), "and": ("&", AND), "or": ("|", OR),
}  # fmt: skip
TYPES = {
    "f64": "tl.float64", "f32": "tl.float32", "f16": "tl.float16", "bf16": "tl.bfloat16", "i64": "tl.int64", "i32": "tl.int32",
    "i16": "tl.int16", "i8": "tl.int8", "u8": "tl.uint8", "b1": "tl.int1",
}  # fmt: skip
_LIMITS = {"i64": 64, "i32": 32, "i16": 16, "i8": 8}
_EXACT = frozenset(("neg", "abs", "min", "max", "floor", "ceil", "round", "trunc", "select", "&", "|", "^"))


def held(dtype: str) -> str:
    """The dtype that a value of `dtype` is computed in."""
    return HELD.get(dtype, dtype)


@dataclass(frozen=True)
class Value:
    """Text, its precedence and its IR dtype (small ones as held)."""

    text: str
    level: int
    dtype: str

    def inside(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"


@dataclass(frozen=True)
class Home:
    """Where a buffer lives: `memory` (behind a pointer), `scalar` (of the program), `tile` (of a nest's lanes; `own`: made inside the nest)."""

    kind: str
    buffer: Buffer
    own: bool = False


class Values(Names[Home]):
    """Prints expressions. `axes`: the lanes axes of the nest being printed, in order; `mask`: the condition in force there."""

    def __init__(self, functions: Functions, taken: set[str], wide: bool):
        super().__init__(taken)
        self.functions, self.wide = functions, wide
        self.variables: dict[str, Value] = {}
        self.axes: tuple[str, ...] = ()
        self.hoisted: Hoisted | None = None  # what the nest computes where it begins
        self.hoisted_ranges: dict[str, tuple[int | None, int | None]] = {}
        self.conditions: tuple[tuple[Value, bool], ...] = ()  # what holds here, and whether it differs between lanes

    @property
    def mask(self) -> Value | None:
        """All conditions in force."""
        return _joined([c for c, _ in self.conditions])

    def varies(self, e: Expr) -> set[str]:
        """The lanes axes along which the value differs."""
        found = set(names(e)) & set(self.axes)
        if any(self.homes[x.buffer].kind == "tile" for x in loads(e) if x.buffer in self.homes):
            return set(self.axes)
        return found

    # -------------------------------------------------------------------------------- places
    def index(self, e: Expr) -> Value:
        return self.value(simplify(e, self.ranges), "i64")  # type: ignore[arg-type]

    def offset(self, buffer: str, index: tuple[Expr, ...]) -> Expr:
        """The flat element offset by Horner's rule."""
        out: Expr = Const(0)
        for extent, i in zip(self.homes[buffer].buffer.shape, index):
            out = i if out == Const(0) else Op("+", (Op("*", (out, extent)), i))
        return simplify(out, self.ranges)  # type: ignore[arg-type]

    def pointer(self, buffer: str, index: tuple[Expr, ...]) -> str:
        """`x_ptr + offsets`"""
        place = self.offset(buffer, index)
        offset = self.value(self.hoisted.place(place, self.name(buffer).removesuffix("_ptr")) if self.hoisted else place, "i64")
        return self.name(buffer) if offset.text == "0" else f"{self.name(buffer)} + {offset.inside(SUM)}"

    def variable(self, buffer: str, index: tuple[Expr, ...]) -> str:
        """The variable of an element that is no memory: arrays are a variable for each element."""
        b = self.homes[buffer].buffer
        parts = []
        for i, extent in zip(index[b.owned :], b.shape[b.owned :]):
            if as_int(extent) == 1:
                continue
            at = as_int(simplify(i, self.ranges))  # type: ignore[arg-type]
            if at is None:
                raise UnsupportedOnGpu(f"`{buffer}` is an array of a lane, indexed by a loop that is not unrolled", hint="bind the loop to unroll")
            parts.append(str(at))
        return "_".join([self.name(buffer), *parts])

    def load(self, e: Load) -> Value:
        home = self.homes[e.buffer]
        dtype = home.buffer.dtype
        if home.kind != "memory":
            return Value(self.variable(e.buffer, e.index), PRIMARY, dtype)
        wide = bool(self.varies(self.offset(e.buffer, e.index)))
        mask = _joined([c for c, varies in self.conditions if wide or not varies])
        text = f"tl.load({self.pointer(e.buffer, e.index)}{f', mask={mask.text}, other=0' if mask else ''})"
        return Value(f"{text}.to({TYPES[held(dtype)]})" if dtype in HELD else text, PRIMARY, dtype)

    @contextmanager
    def under(self, condition: Value | None, wide: bool = True) -> Iterator[None]:
        """The condition holds in what is printed inside; `wide`: it differs between lanes."""
        old = self.conditions
        if condition is not None:
            self.conditions = (*old, (condition, wide))
        yield
        self.conditions = old

    # -------------------------------------------------------------------------------- expressions
    def infer(self, e: Expr) -> str:
        if isinstance(e, Var) and e.name in self.variables:
            return self.variables[e.name].dtype
        if isinstance(e, Op) and OPS[e.name][1] not in ("compare", "logic", "test"):
            return common([self.infer(a) for a in operands(e)])
        return infer(e, self.buffers)

    def value(self, e: Expr, want: str = "f32") -> Value:
        """`want` is the dtype that a weak constant takes."""
        if isinstance(e, Const):
            return self.number(e.value, settled(self.infer(e), want if want != "b1" else "f32"))
        if isinstance(e, Var):
            return self.variables[e.name] if e.name in self.variables else Value(self.name(e.name), PRIMARY, "i64")
        if isinstance(e, Load):
            return self.load(e)
        if isinstance(e, Cast):
            return self._cast(e)
        return self._operation(e, want)

    def _cast(self, e: Cast) -> Value:
        inner = self.infer(e.value)
        want = e.dtype if inner in (WEAK_INT, WEAK_FLOAT) and e.dtype != "b1" else "f32"
        v = self.value(e.value, "i64" if want == "f32" and inner == WEAK_INT else want)
        if isinstance(e.value, Const) or is_index(e.value):
            return replace(v, dtype=e.dtype) if isinstance(e.value, Const) else self._converted(v, e.dtype, is_number=not self.varies(e.value))
        return self.cast(v, e.dtype)

    def _converted(self, v: Value, dtype: str, is_number: bool) -> Value:
        """An index as a value of a dtype: a loop's variable has no `.to`."""
        text = f"tl.cast({v.text}, {TYPES[held(dtype)]})" if is_number else f"{v.inside(PRIMARY)}.to({TYPES[held(dtype)]})"
        return Value(text, PRIMARY, dtype)

    def _operation(self, e: Op, want: str) -> Value:
        kind = OPS[e.name][1]
        if e.name == "select":
            return self._select(e, want)
        if kind == "logic":
            return self._logic(e)
        if kind == "compare" and all(is_index(a) for a in e.args) and not self.variables:
            args = [simplify(a, self.ranges) for a in e.args]  # type: ignore[arg-type]
            e = Op(e.name, tuple(self.hoisted.number(a) for a in args) if self.hoisted else tuple(args))
        dtype = settled(common([self.infer(a) for a in operands(e)]), self._weak(e, want))
        args = [self.value(a, dtype) for a in e.args]
        if kind == "compare":
            return infix(*INFIX[e.name], *args, dtype="b1")
        if e.name in ("//", "%") and dtype in TYPES and self._nonnegative(e):
            return infix(e.name, PRODUCT, *args, dtype=dtype)
        return self.arithmetic(e.name, args, dtype)

    def _weak(self, e: Op, want: str) -> str:
        if OPS[e.name][1] not in ("compare", "test"):
            return want
        return "i64" if all(is_index(a) for a in e.args) else "f32"

    def _nonnegative(self, e: Op) -> bool:
        if not is_index(e):
            return False
        (low, _), (divisor, _) = (bounds(a, {**self.ranges, **self.hoisted_ranges}) for a in e.args)  # type: ignore[arg-type]
        return low is not None and low >= 0 and divisor is not None and divisor > 0

    def _select(self, e: Op, want: str) -> Value:
        dtype = settled(common([self.infer(a) for a in e.args[1:]]), want)
        c = self.value(e.args[0], "b1")
        wide = bool(self.varies(e.args[0]))
        sure = set(loads(e.args[0]))  # loaded in any case
        with self.under(c if set(loads(e.args[1])) - sure else None, wide):
            a = self.value(e.args[1], dtype)
        with self.under(_negated(c) if set(loads(e.args[2])) - sure else None, wide):
            b = self.value(e.args[2], dtype)
        if isinstance(e.args[1], Const) and isinstance(e.args[2], Const) and dtype not in ("f32", "i32"):
            return Value(f"tl.where({c.text}, {a.text}, {b.text}).to({TYPES[held(dtype)]})", PRIMARY, dtype)
        return Value(f"tl.where({c.text}, {a.text}, {b.text})", PRIMARY, dtype)

    def _logic(self, e: Op) -> Value:
        first = self.value(e.args[0], "b1")
        if e.name == "not":
            return Value(f"{first.inside(SHIFT)} == 0", COMPARE, "b1")
        guard = first if e.name == "and" else _negated(first)
        with self.under(guard if loads(e.args[1]) else None, bool(self.varies(e.args[0]))):
            second = self.value(e.args[1], "b1")
        symbol, level = INFIX[e.name]
        return Value(f"{first.inside(SHIFT)} {symbol} {second.inside(SHIFT)}", level, "b1")

    def arithmetic(self, name: str, args: list[Value], dtype: str) -> Value:
        """An operator whose arguments share a dtype, rounded to the dtype."""
        out = self._raw(name, args, dtype)
        return self.rounded(out, dtype) if dtype in HELD and name not in _EXACT and OPS[name][1] != "test" else out

    def _raw(self, name: str, args: list[Value], dtype: str) -> Value:
        if dtype == "b1" and name in ("&", "|", "^", "invert", "min", "max", "+", "*"):
            symbol = {"min": "&", "max": "|", "+": "|", "*": "&"}.get(name, name)
            if name == "invert":
                return Value(f"{args[0].inside(SHIFT)} == 0", COMPARE, dtype)
            return infix(*INFIX[symbol], *args, dtype=dtype)
        if name in ("neg", "invert"):
            return Value(("-" if name == "neg" else "~") + args[0].inside(UNARY), UNARY, dtype)
        if name in INFIX:
            return infix(*INFIX[name], *args, dtype=dtype)
        function = FUNCTIONS.get(name)
        if function is None:
            raise UnsupportedOnGpu(f"Triton has no {name}", hint="compile for cuda")
        if name == "abs" and dtype in HELD:
            function = "tl.abs"
        self.functions.need(function)
        return Value(f"{function}({', '.join(a.text for a in args)})", PRIMARY, "b1" if OPS[name][1] == "test" else dtype)

    def rounded(self, v: Value, dtype: str) -> Value:
        return Value(f"{v.inside(PRIMARY)}.to({TYPES[dtype]}).to({TYPES[held(dtype)]})", PRIMARY, dtype)

    def cast(self, v: Value, dtype: str) -> Value:
        """Convert a value that is a tensor to another dtype."""
        if v.dtype == dtype or (v.dtype in HELD and dtype == HELD[v.dtype]):
            return replace(v, dtype=dtype)
        if dtype == "b1":
            return Value(f"{v.inside(SHIFT)} != 0", COMPARE, "b1")
        out = Value(f"tl.cast({v.text}, {TYPES[held(dtype)]})", PRIMARY, dtype) if held(v.dtype) != held(dtype) else replace(v, dtype=dtype)
        return self.rounded(out, dtype) if dtype in HELD else out

    def number(self, value: bool | int | float, dtype: str) -> Value:
        """A constant."""
        if dtype == "b1":
            return Value("True" if value else "False", PRIMARY, dtype)
        if isinstance(value, float) and (math.isinf(value) or math.isnan(value)):
            if dtype in _LIMITS:
                n = 2 ** (_LIMITS[dtype] - 1)
                return Value(str(n - 1 if value > 0 else -n), UNARY, dtype)
            text = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
            return Value(f'float("{text}")', PRIMARY, dtype)
        text = repr(float(value)) if dtype in ("f64", "f32", "f16", "bf16") else str(int(value))
        return Value(text, UNARY if text.startswith("-") else PRIMARY, dtype)


def _negated(c: Value) -> Value:
    return Value(f"({c.inside(SHIFT)} == 0)", PRIMARY, "b1")


def _joined(conditions: list[Value]) -> Value | None:
    if not conditions:
        return None
    if len(conditions) == 1:
        return conditions[0]
    return Value(" & ".join(c.inside(SHIFT) for c in conditions), AND, "b1")


def infix(symbol: str, level: int, a: Value, b: Value, dtype: str) -> Value:
    low = level + 1 if level in (COMPARE, AND, OR, XOR) else level
    if level in (AND, OR, XOR):
        low = SHIFT
    return Value(f"{a.inside(low)} {symbol} {b.inside(max(low, level + 1))}", level, dtype)
