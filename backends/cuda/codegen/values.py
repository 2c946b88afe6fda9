"""Expressions as CUDA C++. Comes in: an IR expression and the ranges of the axes in scope. Goes out: text with its precedence and dtype.

Indices are `int` (or `long long`, where a buffer is too large for it); half and bfloat16 are computed in float and rounded after every
operation, small integers in int.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ....ir.expr import OPS, Cast, Const, Expr, Load, Op, Var, as_int, bounds, is_index, simplify
from ....ir.kernel import Buffer
from ...cpu.codegen.dtypes import HELD, WEAK_FLOAT, WEAK_INT, common, infer, operands, settled
from .functions import FUNCTIONS, Functions
from .names import Names
from .positions import Positions

# C++ precedence: larger binds tighter
TERNARY, OR, AND, BIT_OR, BIT_XOR, BIT_AND, EQUAL, LESS, SHIFT, SUM, PRODUCT, UNARY, PRIMARY = range(13)
INFIX = {
    "+": ("+", SUM), "-": ("-", SUM), "*": ("*", PRODUCT), "/": ("/", PRODUCT), "<": ("<", LESS), "<=": ("<=", LESS), ">": (">", LESS),
    ">=": (">=", LESS), "==": ("==", EQUAL), "!=": ("!=", EQUAL), "and": ("&&", AND), "or": ("||", OR), "&": ("&", BIT_AND),
    "|": ("|", BIT_OR), "^": ("^", BIT_XOR), "<<": ("<<", SHIFT), ">>": (">>", SHIFT),
}  # fmt: skip
STORAGE = {
    "f64": "double", "f32": "float", "f16": "__half", "bf16": "__nv_bfloat16", "i64": "long long", "i32": "int", "i16": "short",
    "i8": "signed char", "u8": "unsigned char", "b1": "bool",
}  # fmt: skip
_WIDEN = {"f16": "__half2float", "bf16": "__bfloat162float"}
_NARROW = {"f16": "__float2half_rn", "bf16": "__float2bfloat16_rn"}
_LIMITS = {
    "i64": (-(2**63), 2**63 - 1), "i32": (-(2**31), 2**31 - 1), "i16": (-(2**15), 2**15 - 1), "i8": (-128, 127), "u8": (0, 255),
}  # fmt: skip
_EXACT = frozenset(("neg", "abs", "min", "max", "floor", "ceil", "round", "trunc", "select", "&", "|", "^"))
INT = 2**31


def held(dtype: str) -> str:
    """The dtype of the register that holds a value of `dtype`."""
    return HELD.get(dtype, dtype)


def register_type(dtype: str) -> str:
    """The C++ type of a value in a register."""
    return STORAGE[held(dtype)]


@dataclass(frozen=True)
class Value:
    """C++ text, its precedence and its IR dtype. `narrow`: of a value of 16 bits, held as a float, the text of these bits where it is at hand."""

    text: str
    level: int
    dtype: str
    narrow: str = ""

    def inside(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"


@dataclass(frozen=True)
class Home:
    """Where a buffer lives: `memory` (a pointer, flat index), `array` (declared with its dims) or `register` (dims of extent 1 and the first
    `owned` ones left out)."""

    kind: str
    buffer: Buffer

    @property
    def kept(self) -> list[int]:
        """Dims that the declaration has."""
        b = self.buffer
        return [d for d in range(b.owned, len(b.shape)) if self.kind == "array" or as_int(b.shape[d]) != 1]


class Values(Names[Home]):
    """Prints expressions. `homes` says where each buffer lives; `wide` makes indices `long long`."""

    def __init__(self, functions: Functions, taken: set[str], wide: bool):
        super().__init__(taken)
        self.functions, self.wide = functions, wide
        self.variables: dict[str, Value] = {}  # Vars that are not axes: the slots of a monoid
        self.positions = Positions()
        self.wide_loads: dict[Load, str] = {}  # loads that a wide load before the vector loop has done

    @property
    def index_type(self) -> str:
        return "long long" if self.wide else "int"

    # -------------------------------------------------------------------------------- places
    def index(self, e: Expr) -> Value:
        """An index expression, simplified under the ranges in scope."""
        return self.value(self.positions.named(simplify(e, self.ranges)), "i64")  # type: ignore[arg-type]

    def offset(self, buffer: str, index: tuple[Expr, ...]) -> Expr:
        """The flat element offset by Horner's rule."""
        out: Expr = Const(0)
        for extent, i in zip(self.homes[buffer].buffer.shape, index):
            out = i if out == Const(0) else Op("+", (Op("*", (out, extent)), i))
        return simplify(out, self.ranges)  # type: ignore[arg-type]

    def element(self, buffer: str, index: tuple[Expr, ...]) -> str:
        """The C++ lvalue of an element."""
        home = self.homes[buffer]
        if home.kind == "memory":
            return f"{self.name(buffer)}[{self.value(self.positions.named(self.offset(buffer, index)), 'i64').text}]"
        return self.name(buffer) + "".join(f"[{self.index(index[d]).text}]" for d in home.kept)

    def load(self, e: Load) -> Value:
        dtype = self.homes[e.buffer].buffer.dtype
        if e in self.wide_loads:
            return Value(self.wide_loads[e], PRIMARY, dtype)
        text = self.element(e.buffer, e.index)
        if dtype in _WIDEN and self.homes[e.buffer].kind != "register":
            return Value(f"{_WIDEN[dtype]}({text})", PRIMARY, dtype, text)
        return Value(text, PRIMARY, dtype)

    def stored(self, v: Value, buffer: str) -> str:
        """The text to assign to an element of the buffer."""
        dtype = self.homes[buffer].buffer.dtype
        v = self.cast(v, dtype)
        if v.narrow and self.homes[buffer].kind != "register":
            return v.narrow
        return f"{_NARROW[dtype]}({v.text})" if dtype in _NARROW and self.homes[buffer].kind != "register" else v.text

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
            return self.cast(self.value(e.value, self._cast_want(e)), e.dtype, e.value)
        return self._operation(e, want)

    def _cast_want(self, e: Cast) -> str:
        inner = self.infer(e.value)
        if inner == WEAK_INT:
            return e.dtype if e.dtype in _LIMITS else "i64"
        return e.dtype if inner == WEAK_FLOAT and e.dtype not in _LIMITS and e.dtype != "b1" else "f32"

    def _operation(self, e: Op, want: str) -> Value:
        kind = OPS[e.name][1]
        if e.name == "select":
            return self._select(e, want)
        if kind == "logic":
            return self._logic(e)
        if kind == "compare" and all(is_index(a) for a in e.args) and not self.variables:
            e = Op(e.name, tuple(self.positions.named(simplify(a, self.ranges)) for a in e.args))  # type: ignore[arg-type]
        dtype = settled(common([self.infer(a) for a in operands(e)]), self._weak(e, want))
        args = [self.value(a, dtype) for a in e.args]
        if kind == "compare":
            return infix(*INFIX[e.name], *args, dtype="b1")
        if dtype == "i64" and self._overflows(e):
            args[0] = Value(f"(long long){args[0].inside(UNARY)}", UNARY, dtype)
        if e.name in ("min", "max") and dtype == "i64":
            args = self._alike(e, args)
        if e.name in ("//", "%") and dtype in _LIMITS and self._nonnegative(e):
            return infix("/" if e.name == "//" else "%", PRODUCT, *args, dtype=dtype)
        return self.arithmetic(e.name, args, dtype)

    def _alike(self, e: Op, args: list[Value]) -> list[Value]:
        """CUDA's min and max take two ints or two long longs."""
        if is_index(e) and not self.wide:
            return args
        return [replace(v, text=v.text + "LL") if isinstance(a, Const) and v.text.lstrip("-").isdigit() else self._long(a, v) for a, v in zip(e.args, args)]

    def _long(self, e: Expr, v: Value) -> Value:
        return Value(f"(long long){v.inside(UNARY)}", UNARY, v.dtype) if is_index(e) and not self.wide and not self.variables else v

    def _weak(self, e: Op, want: str) -> str:
        if OPS[e.name][1] not in ("compare", "test"):
            return want
        return "i64" if all(is_index(a) for a in e.args) else "f32"

    def _overflows(self, e: Op) -> bool:
        """Whether an int could not hold the value of an index expression."""
        if self.wide or not is_index(e) or self.variables:
            return False
        lo, hi = bounds(e, self.ranges)  # type: ignore[arg-type]
        return lo is None or hi is None or lo < -INT or hi >= INT

    def _nonnegative(self, e: Op) -> bool:
        """`//` and `%` of C++ do where nothing is negative."""
        if not is_index(e):
            return False
        (low, _), (divisor, _) = (bounds(a, self.ranges) for a in e.args)  # type: ignore[arg-type]
        return low is not None and low >= 0 and divisor is not None and divisor > 0

    def _select(self, e: Op, want: str) -> Value:
        dtype = settled(common([self.infer(a) for a in e.args[1:]]), want)
        c = self.value(e.args[0], "b1")
        a, b = self.value(e.args[1], dtype), self.value(e.args[2], dtype)
        narrow = [v.narrow or (f"{STORAGE[dtype]}({v.text})" if isinstance(x, Const) else "") for v, x in ((a, e.args[1]), (b, e.args[2]))]
        bits = f"{c.inside(OR)} ? {narrow[0]} : {narrow[1]}" if dtype in _WIDEN and all(narrow) else ""
        return Value(f"{c.inside(OR)} ? {a.inside(OR)} : {b.inside(TERNARY)}", TERNARY, dtype, bits)

    def _logic(self, e: Op) -> Value:
        args = [self.value(a, "b1") for a in e.args]
        if e.name == "not":
            return Value("!" + args[0].inside(UNARY), UNARY, "b1")
        symbol, level = INFIX[e.name]
        a, b = (v.inside(BIT_OR if v.level != level else level) for v in args)
        return Value(f"{a} {symbol} {b}", level, "b1")

    def arithmetic(self, name: str, args: list[Value], dtype: str) -> Value:
        """An operator whose arguments share a dtype, rounded to the dtype."""
        out = self._raw(name, args, dtype)
        return self._rounded(out, dtype) if dtype in HELD and name not in _EXACT and OPS[name][1] != "test" else out

    def _raw(self, name: str, args: list[Value], dtype: str) -> Value:
        if OPS[name][1] == "test":
            return call(name, *args, dtype="b1")
        if dtype == "b1" and name in ("&", "|", "^", "invert", "min", "max", "+", "*"):
            symbol = {"min": "&", "max": "|", "+": "|", "*": "&"}.get(name, name)
            return Value("!" + args[0].inside(UNARY), UNARY, dtype) if name == "invert" else infix(*INFIX[symbol], *args, dtype=dtype)
        if name in ("neg", "invert"):
            text = args[0].inside(UNARY)
            return Value(("-" if name == "neg" else "~") + (f"({text})" if text.startswith("-") else text), UNARY, dtype)
        if name in INFIX and name not in ("//", "%"):
            return infix(*INFIX[name], *args, dtype=dtype)
        return call(self._function(name, dtype), *args, dtype=dtype)

    def _function(self, name: str, dtype: str) -> str:
        """The CUDA function for an operator, or one of ours."""
        single, double, integer = FUNCTIONS[name]
        out = integer if dtype in _LIMITS else double if held(dtype) == "f64" else single
        self.functions.need(out)
        return out

    def _rounded(self, v: Value, dtype: str) -> Value:
        if dtype in _WIDEN:
            narrow = f"{_NARROW[dtype]}({v.text})"
            return Value(f"{_WIDEN[dtype]}({narrow})", PRIMARY, dtype, narrow)
        return Value(f"({STORAGE[dtype]}){v.inside(UNARY)}", UNARY, dtype)

    def cast(self, v: Value, dtype: str, e: Expr | None = None) -> Value:
        """Convert a value to another dtype."""
        if v.dtype == dtype or (v.dtype in HELD and dtype == HELD[v.dtype]):
            return replace(v, dtype=dtype, narrow=v.narrow if v.dtype == dtype else "")
        if dtype == "b1":
            return Value(f"{v.inside(LESS)} != 0", EQUAL, "b1")
        if dtype in HELD:
            return self._rounded(v, dtype) if dtype in _LIMITS or held(v.dtype) == "f32" else self._rounded(self.cast(v, held(dtype)), dtype)
        return Value(f"({STORAGE[dtype]}){v.inside(UNARY)}", UNARY, dtype)

    def number(self, value: bool | int | float, dtype: str) -> Value:
        """A constant as a C++ literal of the dtype."""
        if dtype == "b1":
            return Value("true" if value else "false", PRIMARY, dtype)
        if dtype in _LIMITS:
            low, high = _LIMITS[dtype]
            return _integer((high if value > 0 else low) if isinstance(value, float) and math.isinf(value) else int(value), dtype)
        return _floating(float(value), dtype, self.functions)


def infix(symbol: str, level: int, a: Value, b: Value, dtype: str) -> Value:
    clear = max(level, SHIFT + 1) if symbol in ("<<", ">>", "&", "|", "^") else level
    return Value(f"{a.inside(clear)} {symbol} {b.inside(max(level + 1, clear))}", level, dtype)


def call(name: str, *args: Value, dtype: str) -> Value:
    return Value(f"{name}({', '.join(a.text for a in args)})", PRIMARY, dtype)


def _integer(value: int, dtype: str) -> Value:
    if value == -(2**63):
        return Value("(-9223372036854775807LL - 1)", PRIMARY, dtype)
    if value == -(2**31):
        return Value("(-2147483647 - 1)", PRIMARY, dtype)
    text = f"{value}LL" if abs(value) >= INT else str(value)
    return Value(text, PRIMARY if value >= 0 else UNARY, dtype)


def _floating(x: float, dtype: str, functions: Functions) -> Value:
    if math.isinf(x) or math.isnan(x):
        name = "NAN" if math.isnan(x) else "INFINITY"
        functions.need(name)
        return Value(f"-{name}" if x < 0 else name, UNARY if x < 0 else PRIMARY, dtype)
    if dtype == "f64":
        text = repr(x)
    else:
        with np.errstate(over="ignore"):
            single = np.float32(np.float16(x)) if dtype == "f16" else np.float32(x)
        if np.isinf(single):
            return _floating(math.copysign(math.inf, x), dtype, functions)
        text = _shortest(single) + "f"
    return Value(text, UNARY if text.startswith("-") else PRIMARY, dtype)


def _shortest(x: np.float32) -> str:
    """The shortest decimal that reads back as the same float."""
    text = str(x)
    return text if any(c in text for c in ".en") else text + ".0"
