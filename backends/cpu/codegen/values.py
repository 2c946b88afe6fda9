"""Expressions at width 1. Comes in: an IR expression and the scope it stands in. Goes out: C++ text with its precedence and dtype."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from ....ir.expr import OPS, Cast, Const, Expr, Load, Op, Var, as_int, bounds, is_index
from ....ir.kernel import Buffer
from .dtypes import HELD, LARGEST, SMALLEST, WEAK_FLOAT, WEAK_INT, common, held, infer, operands, rounding, scalar_type, settled
from .expand import Env, as_ranges, fold
from .linear import flatten
from .place import Home, Layout, lane_offset
from .writer import Writer

# C++ precedence: larger binds tighter
TERNARY, OR, AND, BIT_OR, BIT_XOR, BIT_AND, EQUAL, LESS, SHIFT, SUM, PRODUCT, UNARY, PRIMARY = range(13)
INFIX = {
    "+": ("+", SUM), "-": ("-", SUM), "*": ("*", PRODUCT), "/": ("/", PRODUCT), "<": ("<", LESS), "<=": ("<=", LESS), ">": (">", LESS),
    ">=": (">=", LESS), "==": ("==", EQUAL), "!=": ("!=", EQUAL), "and": ("&&", AND), "or": ("||", OR), "&": ("&", BIT_AND),
    "|": ("|", BIT_OR), "^": ("^", BIT_XOR), "<<": ("<<", SHIFT), ">>": (">>", SHIFT),
}  # fmt: skip
EXACT = frozenset(
    ("neg", "abs", "min", "max", "floor", "ceil", "round", "trunc", "select", "&", "|", "^")
)  # never leave the dtype


@dataclass(frozen=True)
class Value:
    """C++ text, its precedence, its IR dtype and whether it is a native vector."""

    text: str
    level: int
    dtype: str
    wide: bool = False

    def inside(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"


def infix(symbol: str, level: int, a: Value, b: Value, dtype: str, wide: bool = False) -> Value:
    clear = max(level, SHIFT + 1) if symbol in ("<<", ">>", "&", "|", "^") else level  # what g++ would warn about
    return Value(f"{a.inside(clear)} {symbol} {b.inside(max(level + 1, clear))}", level, dtype, wide)


def call(name: str, *args: Value | str, dtype: str, wide: bool = False) -> Value:
    return Value(f"{name}({', '.join(a if isinstance(a, str) else a.text for a in args)})", PRIMARY, dtype, wide)


def number(value: bool | int | float, dtype: str) -> Value:
    """A constant as a C++ literal of the dtype."""
    if dtype == "b1":
        return Value("true" if value else "false", PRIMARY, dtype)
    if dtype in LARGEST:
        if isinstance(value, float) and math.isinf(value):
            return Value((LARGEST if value > 0 else SMALLEST)[dtype], PRIMARY, dtype)
        return _integer(int(value), dtype)
    x = float(value)
    if dtype in ("f16", "bf16"):
        x = rounded(x, dtype)
    if math.isinf(x) or math.isnan(x):
        one = "double" if dtype == "f64" else "float"
        text = "NAN" if math.isnan(x) else "INFINITY"
        return (
            Value(f"{one}({text})" if one == "double" else text, PRIMARY, dtype)
            if not x < 0
            else Value(f"-{text}", UNARY, dtype)
        )
    text = repr(x) if dtype == "f64" else repr(float(np.float32(x))) + "f"
    if dtype != "f64" and len(text) > 16:
        text = f"{np.float32(x)!s}f" if "." in f"{np.float32(x)!s}" or "e" in f"{np.float32(x)!s}" else f"{np.float32(x)!s}.0f"
    if dtype != "f64" and math.isinf(np.float32(x)):
        text = "INFINITY" if x > 0 else "-INFINITY"
    return Value(text, PRIMARY if not text.startswith("-") else UNARY, dtype)


def _integer(value: int, dtype: str) -> Value:
    if value == -(2**63):
        return Value("INT64_MIN", PRIMARY, dtype)
    text = f"{value}LL" if abs(value) >= 2**31 else str(value)
    return Value(text, PRIMARY if value >= 0 else UNARY, dtype)


def rounded(x: float, dtype: str) -> float:
    """Nearest f16 or bf16 value."""
    if dtype == "f16":
        with np.errstate(over="ignore"):
            return float(np.float16(x))
    with np.errstate(over="ignore"):
        u = int(np.float32(x).view(np.uint32))
    if math.isnan(x):
        return x
    return float(np.uint32(((u + 0x7FFF + (u >> 16 & 1)) & 0xFFFFFFFF) & 0xFFFF0000).view(np.float32))


class Values:
    """Prints expressions at width 1. `env` holds the ranges of the axes in scope."""

    def __init__(self, layout: Layout, lanes: int, writer: Writer, env: Env):
        self.layout, self.lanes, self.writer, self.env = layout, lanes, writer, env
        self.buffers: dict[str, Buffer] = dict(layout.buffers)
        self.homes: dict[str, Home] = dict(layout.homes)
        self.names: dict[str, str] = {}
        self._folded: dict[Expr, Expr] = {}  # index expressions simplified under `env`

    @contextmanager
    def ranges(self, env: Env) -> Iterator[None]:
        old, self.env, self._folded = (self.env, self._folded), env, {}
        yield
        self.env, self._folded = old

    def name(self, ir_name: str) -> str:
        """The C++ identifier of an axis, dim or buffer."""
        if ir_name not in self.names:
            clean = ir_name if ir_name not in self.writer.taken else self.writer.fresh(ir_name)
            self.writer.taken.add(clean)
            self.names[ir_name] = clean
        return self.names[ir_name]

    def fold(self, e: Expr) -> Expr:
        """An index expression, simplified in the ranges of the axes in scope."""
        if isinstance(e, (Const, Var)):
            return e
        out = self._folded.get(e)
        if out is None:
            out = self._folded[e] = fold(e, self.env)
        return out

    # -------------------------------------------------------------------------------- places
    def offset(self, buffer: str, index: tuple[Expr, ...]) -> Expr:
        """Flat element offset."""
        return self.fold(flatten(self.buffers[buffer].shape, index))

    def pointer(self, buffer: str, offset: Expr) -> str:
        """`x + i * N + j`"""
        text = self.scalar(offset, "i64")
        return self.name(buffer) if text.text == "0" else f"{self.name(buffer)} + {text.inside(SUM)}"

    def element(self, buffer: str, index: tuple[Expr, ...]) -> str:
        """The C++ lvalue of one element, in memory or a scalar register."""
        home = self.homes[buffer]
        if home.memory:
            return f"{self.name(buffer)}[{self.scalar(self.offset(buffer, index), 'i64').text}]"
        return self.register(buffer, index)

    def register(self, buffer: str, index: tuple[Expr, ...], lane: tuple[str, int] | None = None) -> str:
        """The C++ variable of a register element; `lane` is the vector axis and which of its native vectors is meant."""
        home, b = self.homes[buffer], self.buffers[buffer]
        parts = [self.fold(i) for i in index]
        extents = list(b.shape)
        if home.wide:
            if home.private:
                parts.append(Const(lane[1] if lane else 0))
                extents.append(Const(home.vectors))
            elif lane:
                first = lane_offset(parts[-1], lane[0])
                parts[-1] = Const((first or 0) // self.lanes + lane[1])
                extents[-1] = Const(home.vectors)
        if home.named:
            kept = [str(as_int(p)) for p, d in zip(parts, extents) if as_int(d) != 1]
            return "_".join([self.name(buffer), *kept])
        return self.name(buffer) + "".join(f"[{self.scalar(p, 'i64').text}]" for p in parts)

    # -------------------------------------------------------------------------------- expressions
    def infer(self, e: Expr) -> str:
        return infer(e, self.buffers)

    def scalar(self, e: Expr, want: str = "f32") -> Value:
        """`want` is the dtype that a weak constant takes."""
        if isinstance(e, Const):
            dtype = settled(self.infer(e), want) if want != "b1" else self.infer(e)
            return number(e.value, settled(dtype, "f32"))
        if isinstance(e, Var):
            return Value(self.name(e.name), PRIMARY, "i64")
        if isinstance(e, Load):
            return self.load(e)
        if isinstance(e, Cast):
            return self.cast(self.scalar(e.value, self._cast_want(e)), e.dtype)
        return self._operation(e, want)

    def _cast_want(self, e: Cast) -> str:
        inner = self.infer(e.value)
        if inner == WEAK_INT:
            return e.dtype if e.dtype in LARGEST else "i64"
        return e.dtype if inner == WEAK_FLOAT and e.dtype not in LARGEST and e.dtype != "b1" else "f32"

    def load(self, e: Load) -> Value:
        dtype = self.buffers[e.buffer].dtype
        if self.homes[e.buffer].memory and dtype in HELD:
            return call("get", self.pointer(e.buffer, self.offset(e.buffer, e.index)), dtype=dtype)
        return Value(self.element(e.buffer, e.index), PRIMARY, dtype)

    def _operation(self, e: Op, want: str) -> Value:
        kind = OPS[e.name][1]
        if e.name == "select":
            return self._select(e, want)
        if kind == "logic":
            return self._logic([self.scalar(a, "b1") for a in e.args], e.name)
        dtype = settled(
            common([self.infer(a) for a in operands(e)]), want if kind not in ("compare", "test") else self._neighbour(e)
        )
        args = [self.scalar(a, dtype) for a in e.args]
        if kind == "compare":
            return infix(*INFIX[e.name], *args, dtype="b1")
        if e.name in ("//", "%") and dtype in LARGEST and self._nonnegative(e):
            return infix("/" if e.name == "//" else "%", PRODUCT, *args, dtype=dtype)
        return self.arithmetic(e.name, args, dtype)

    def _neighbour(self, e: Op) -> str:
        return "i64" if all(is_index(a) for a in e.args) else "f32"

    def _nonnegative(self, e: Op) -> bool:
        """`//` and `%` of C++ do where nothing is negative."""
        if not is_index(e):
            return False
        (low, _), (divisor, _) = (bounds(a, as_ranges(self.env)) for a in e.args)
        return low is not None and low >= 0 and divisor is not None and divisor > 0

    def _select(self, e: Op, want: str) -> Value:
        dtype = settled(common([self.infer(a) for a in e.args[1:]]), want)
        c, a, b = self.scalar(e.args[0], "b1"), self.scalar(e.args[1], dtype), self.scalar(e.args[2], dtype)
        kind = "" if a.text[0].isalpha() and b.text[0].isalpha() else scalar_type(dtype)
        a_text = f"{kind}({a.text})" if kind == "int64_t" else a.inside(OR)
        return Value(f"{c.inside(OR)} ? {a_text} : {b.inside(TERNARY)}", TERNARY, dtype)

    def _logic(self, args: list[Value], name: str) -> Value:
        if name == "not":
            return Value("!" + args[0].inside(UNARY), UNARY, "b1")
        symbol, level = INFIX[name]
        a, b = (v.inside(BIT_OR if v.level != level else level) for v in args)
        return Value(f"{a} {symbol} {b}", level, "b1")

    def arithmetic(self, name: str, args: list[Value], dtype: str, wide: bool = False) -> Value:
        """An operator whose arguments share a dtype, at any width; the result is narrowed to the dtype."""
        out = self._raw(name, args, dtype, wide)
        narrow = rounding(dtype)
        return call(narrow, out, dtype=dtype, wide=wide) if narrow and name not in EXACT and OPS[name][1] != "test" else out

    def _raw(self, name: str, args: list[Value], dtype: str, wide: bool) -> Value:
        if OPS[name][1] == "test":
            return call(name, *args, dtype="b1", wide=wide)
        if dtype == "b1" and name in ("&", "|", "^", "invert", "min", "max", "+", "*"):
            symbol = {"min": "&", "max": "|", "+": "|", "*": "&"}.get(name, name)
            if name == "invert":
                return Value(("~" if wide else "!") + args[0].inside(UNARY), UNARY, dtype, wide)
            return infix(*INFIX[symbol], *args, dtype=dtype, wide=wide)
        if name in ("neg", "invert"):
            return Value(("-" if name == "neg" else "~") + args[0].inside(PRIMARY), UNARY, dtype, wide)
        if name in INFIX:
            return infix(*INFIX[name], *args, dtype=dtype, wide=wide)
        function = {"//": "floor_div", "%": "floor_mod"}.get(name, name)
        explicit = f"<{scalar_type(dtype)}>" if not wide and dtype in LARGEST else ""
        return call(function + explicit, *args, dtype=dtype, wide=wide)

    def cast(self, v: Value, dtype: str) -> Value:
        """Convert a width-1 value to another dtype."""
        if v.dtype == dtype or (v.dtype in HELD and dtype == HELD[v.dtype]):
            return replace(v, dtype=dtype)
        if dtype == "b1":
            return infix("!=", EQUAL, v, Value("0", PRIMARY, dtype), dtype="b1")
        target = held(dtype)
        text = v if held(v.dtype) == target else call(scalar_type(dtype), v, dtype=target)
        return call(rounding(dtype), text, dtype=dtype) if rounding(dtype) else replace(text, dtype=dtype)
