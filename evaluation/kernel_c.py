"""A Kernel program and sizes of its dims come in, one plain serial C function goes out: what the text means, readable by any C compiler.

    void NAME(inputs in the text's order, outputs in the text's order)

Sizes are compiled in. Floats are `float` throughout, so that `suites/oracle.h` can take the text with another number in their place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..ir.diagnostic import TypeMismatch, Unreadable
from ..ir.expr import OPS, Cast, Const, Expr, Load, Op, Var
from ..ir.interpret import evaluate
from ..ir.intrinsic import inline_calls
from ..ir.kernel import Alloc, Body, Buffer, For, If, Program, Reduce, Stmt, Store
from ..ir.monoid_terms import combine_terms
from ..ir.scalar import LIMITS
from ..ir.types import BOOL, is_float, is_int
from ..ir.typing import FLOAT_WEAK, INT_WEAK, unify
from ..ir.variants import at
from .signature import Argument

C_TYPE = {
    "f32": "float", "i64": "int64_t", "i32": "int32_t", "i16": "int16_t", "i8": "int8_t", "u8": "uint8_t", "b1": "bool",
}  # fmt: skip
_NUMPY = {"f32": "float32", "b1": "bool", "u8": "uint8"} | {f"i{n}": f"int{n}" for n in (8, 16, 32, 64)}
_PRELUDE = """#include <math.h>
#include <stdbool.h>
#include <stdint.h>
static inline int64_t wl_floor_div(int64_t a, int64_t b) {
  if (!b) return 0;
  int64_t q = a / b;
  return q * b != a && (a < 0) != (b < 0) ? q - 1 : q;
}
static inline int64_t wl_mod(int64_t a, int64_t b) { return a - wl_floor_div(a, b) * b; }
static inline int64_t wl_max_int(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t wl_min_int(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t wl_abs_int(int64_t a) { return a < 0 ? -a : a; }
static inline float wl_max(float a, float b) { return isnan(a) || a > b ? a : b; }
static inline float wl_min(float a, float b) { return isnan(a) || a < b ? a : b; }
static inline float wl_sigmoid(float a) { return 1.0f / (1.0f + expf(-a)); }
static inline float wl_rsqrt(float a) { return 1.0f / sqrtf(a); }
static inline float wl_modulo(float a, float b) { return a - floorf(a / b) * b; }
"""
_CALLED = {"sigmoid": "wl_sigmoid", "rsqrt": "wl_rsqrt", "round": "rintf"}
Code = tuple[str, str]  # C expression, dtype


def arguments(p: Program, sizes: Mapping[str, int]) -> tuple[Argument, ...]:
    """The params as arguments of the C function: those only read, then those written. Raises Unreadable for types beyond float32."""
    written = set(p.written())
    ordered = [b for b in p.params if b.name not in written] + [b for b in p.params if b.name in written]
    for b in ordered:
        if b.dtype not in _NUMPY:
            raise Unreadable(
                f"`{b.name}` is {b.dtype}: kernels of f32, integers and booleans are judged", hint="give the Graph instead"
            )
    return tuple(
        Argument(f"p_{b.name}", "output" if b.name in written else "input", "tensor", _NUMPY[b.dtype], _shape(b, sizes))
        for b in ordered
    )


def print_c(p: Program, sizes: Mapping[str, int], name: str) -> str:
    """The C text of the program at these sizes. Raises Unreadable, IllegalProgram."""
    given = arguments(p, sizes)
    body = inline_calls(at(p, sizes[p.dispatch]) if p.dispatch else p)
    writer = _Writer(body.buffers(), sizes)
    writer.body(body.body)
    dtypes = {f"p_{b.name}": b.dtype for b in p.params}
    head = ", ".join(f"{'const ' if a.role == 'input' else ''}{C_TYPE[dtypes[a.name]]}* {a.name}" for a in given)
    return "\n".join([_PRELUDE, f"void {name}({head}) {{", *writer.lines, "}", ""])


def _shape(b: Buffer, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(evaluate(d, sizes) for d in b.shape)


@dataclass
class _Writer:
    buffers: Mapping[str, Buffer]
    sizes: Mapping[str, int]
    lines: list[str] = field(default_factory=list)
    depth: int = 1
    temps: int = 0

    def line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    def temp(self) -> str:
        self.temps += 1
        return f"t{self.temps}"

    # -------------------------------------------------------------------------------- statements
    def body(self, body: Body) -> None:
        for s in body:
            self.statement(s)

    def nested(self, body: Body) -> None:
        self.depth += 1
        self.body(body)
        self.depth -= 1
        self.line("}")

    def statement(self, s: Stmt) -> None:
        if isinstance(s, For):
            v = f"v_{s.axis}"
            self.line(
                f"for (int64_t {v} = {self.integer(s.lo)}, end_{s.axis} = {self.integer(s.hi)}; {v} < end_{s.axis}; ++{v}) {{"
            )
            self.nested(s.body)
        elif isinstance(s, If):
            self.line(f"if ({self.expr(s.cond)[0]}) {{")
            self.nested(s.body)
        elif isinstance(s, Alloc):
            count = max(1, math.prod(_shape(s.buffer, self.sizes)))
            self.line(f"{self.c_type(s.buffer)} p_{s.buffer.name}[{count}];")
        elif isinstance(s, Store):
            b = self.buffers[s.buffer]
            self.line(
                f"{self.place(Load(s.buffer, s.index))} = ({self.c_type(b)})({self.coerced(self.expr(s.value), b.dtype)});"
            )
        elif isinstance(s, Reduce):
            self.reduce(s)

    def c_type(self, b: Buffer) -> str:
        if b.dtype not in C_TYPE:
            raise Unreadable(
                f"`{b.name}` is {b.dtype}: kernels of f32, integers and booleans are judged", hint="give the Graph instead"
            )
        return C_TYPE[b.dtype]

    def reduce(self, s: Reduce) -> None:
        env: dict[str, Code] = {}
        self.line("{")
        self.depth += 1
        for k, (t, v) in enumerate(zip(s.targets, s.values)):
            b = self.buffers[t.buffer]
            env[f"a{k}"], env[f"b{k}"] = (self.place(t), b.dtype), (self.temp(), b.dtype)
            self.line(f"{self.c_type(b)} {env[f'b{k}'][0]} = ({self.c_type(b)})({self.coerced(self.expr(v), b.dtype)});")
        made = []
        for k, term in enumerate(combine_terms(s.monoid)):
            b = self.buffers[s.targets[k].buffer]
            made.append(self.temp())
            self.line(f"{self.c_type(b)} {made[-1]} = ({self.c_type(b)})({self.coerced(self.expr(term, env), b.dtype)});")
        for places in (s.targets, s.running):
            for t, value in zip(places, made):
                self.line(f"{self.place(t)} = {value};")
        self.depth -= 1
        self.line("}")

    # -------------------------------------------------------------------------------- expressions
    def integer(self, e: Expr) -> str:
        return self.expr(e)[0]

    def place(self, e: Load) -> str:
        flat = ""
        for i, n in zip(e.index, _shape(self.buffers[e.buffer], self.sizes)):
            flat = f"({flat}) * {n} + {self.integer(i)}" if flat else self.integer(i)
        return f"p_{e.buffer}[{flat or '0'}]"

    def coerced(self, value: Code, dtype: str) -> str:
        """A weak constant takes `dtype`; anything else has it already."""
        code, have = value
        if unify(have, dtype) != dtype:
            raise TypeMismatch(f"{have} where {dtype} is needed")
        if have == INT_WEAK and code in ("INFINITY", "-INFINITY") and is_int(dtype):
            low, high = LIMITS[dtype]
            return str(high) if code == "INFINITY" else f"(-{-low - 1} - 1)"
        return f"(float)({code})" if have in (INT_WEAK, FLOAT_WEAK) and is_float(dtype) else code

    def expr(self, e: Expr, env: Mapping[str, Code] = {}) -> Code:
        if isinstance(e, Const):
            return _constant(e.value)
        if isinstance(e, Var):
            return env.get(e.name) or (str(self.sizes[e.name]) if e.name in self.sizes else f"v_{e.name}", "i64")
        if isinstance(e, Load):
            return self.place(e), self.buffers[e.buffer].dtype
        if isinstance(e, Cast):
            return self.cast(self.expr(e.value, env), e.dtype), e.dtype
        return self.op(e, [self.expr(a, env) for a in e.args])

    def cast(self, value: Code, dtype: str) -> str:
        code, have = value
        if dtype == BOOL:
            return f"(({code}) != 0)"
        if dtype not in C_TYPE:
            raise Unreadable(
                f"a cast to {dtype}: kernels of f32, integers and booleans are judged", hint="give the Graph instead"
            )
        if is_int(dtype) and is_float(have):
            return f"(({C_TYPE[dtype]})(int64_t)({code}))"
        return f"(({C_TYPE[dtype]})({code}))"

    def op(self, e: Op, args: list[Code]) -> Code:
        name, kind = e.name, OPS[e.name][1]
        if name == "select":
            common = _common([args[1], args[2]], e)
            a, b = (self.settled(x, common) for x in args[1:])
            return f"({args[0][0]} ? {a} : {b})", common
        if kind == "logic":
            return (
                f"(!{args[0][0]})" if name == "not" else f"({args[0][0]} {'&&' if name == 'and' else '||'} {args[1][0]})"
            ), BOOL
        common = _common(args, e)
        codes = [self.settled(x, common) for x in args]
        if kind == "compare":
            return f"({codes[0]} {name} {codes[1]})", BOOL
        if kind == "test":
            return f"({name}({codes[0]}) != 0)", BOOL
        return self.arithmetic(name, kind, codes, common)

    def settled(self, value: Code, common: str) -> str:
        return value[0] if common in (INT_WEAK, FLOAT_WEAK) else self.coerced(value, common)

    def arithmetic(self, name: str, kind: str, a: list[str], dtype: str) -> Code:
        if kind == "float" and dtype == INT_WEAK:
            a, dtype = [f"(float)({x})" for x in a], FLOAT_WEAK
        floating = is_float(dtype) or dtype == FLOAT_WEAK
        if name == "/":
            return f"({a[0]} / {a[1]})", dtype
        if kind == "float":
            return f"{_CALLED.get(name, name + 'f')}({', '.join(a)})", dtype
        if floating:
            named = {"min": "wl_min", "max": "wl_max", "abs": "fabsf", "fmod": "fmodf", "%": "wl_modulo"}
            if name == "//":
                return f"floorf({a[0]} / {a[1]})", dtype
        else:
            named = {"min": "wl_min_int", "max": "wl_max_int", "abs": "wl_abs_int", "//": "wl_floor_div", "%": "wl_mod"}
        if name in named:
            code = f"{named[name]}({', '.join(a)})"
        elif len(a) == 1:
            code = f"({'!' if dtype == BOOL else '-' if name == 'neg' else '~'}({a[0]}))"
        else:
            code = f"({a[0]} {'%' if name == 'fmod' else name} {a[1]})"
        return (f"(({C_TYPE[dtype]}){code})" if is_int(dtype) and dtype != "i64" else code), dtype


def _common(args: list[Code], e: Op) -> str:
    out = args[0][1]
    for _, d in args[1:]:
        both = unify(out, d)
        if both is None:
            raise TypeMismatch(f"`{e.name}` mixes {out} and {d}")
        out = both
    return out


def _constant(v: bool | int | float) -> Code:
    if isinstance(v, bool):
        return ("true" if v else "false"), BOOL
    if isinstance(v, int):
        return (str(v) if v >= 0 else f"({v})"), INT_WEAK
    if math.isinf(v):
        return "INFINITY" if v > 0 else "-INFINITY", INT_WEAK
    return ("NAN" if math.isnan(v) else f"({v!r})"), FLOAT_WEAK
