"""Kernel program -> one Python function for the interpreter: every access checked, floats carried in double and rounded on store.

Comes in: a Program without Calls. Goes out: `run(faults, log, sizes, memory)`, which executes it on flat arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from . import scalar
from .diagnostic import IllegalProgram, TypeMismatch
from .expr import OPS, Cast, Const, Expr, Load, Op, Var
from .kernel import PARALLEL, Alloc, Body, Buffer, For, If, Program, Reduce, Stmt, Store
from .monoid_terms import combine_terms
from .types import BOOL, is_float, is_int
from .typing import FLOAT_WEAK, INT_WEAK, unify

CODES = {"f64": "d", "f32": "f", "f16": "f", "bf16": "f", "i64": "q", "i32": "i", "i16": "h", "i8": "b", "u8": "B"}
Code = tuple[str, str]  # Python expression, dtype


def compile_program(p: Program, given: frozenset[str], float64: bool, races: bool, blank: Callable) -> Callable[..., None]:
    """The Python function of `p`; `given`: params that are defined at the start."""
    writer = _Writer(p, given, float64, races)
    text = writer.function()
    names: dict[str, object] = {"S": writer.statements, "blank": blank, "scalar": scalar, "INF": math.inf, "NAN": math.nan}
    names |= {f"f_{n}": f for n, f in scalar.FUNCTIONS.items()} | {f"r_{d}": f for d, f in scalar.ROUND.items()}
    names |= {f"w_{d}": f for d, f in scalar.WRAP.items()}
    exec(compile(text, f"<interpreter of {p.name}>", "exec"), names)
    return names["run"]  # type: ignore[return-value]


@dataclass
class _Writer:
    p: Program
    given: frozenset[str]
    float64: bool
    races: bool
    lines: list[str] = field(default_factory=list)
    statements: list[Stmt] = field(default_factory=list)
    depth: int = 1
    temps: int = 0

    def __post_init__(self) -> None:
        self.buffers = self.p.buffers()
        self.checked = set(self.buffers) - self.given
        written = set(self.p.written())
        self.logged = (
            {n for n in self.buffers if n in written or n not in {b.name for b in self.p.params}} if self.races else set()
        )
        names = [*self.buffers, *(d.name for d in self.p.dims), *(s.axis for s in _loops(self.p.body))]
        bad = [n for n in names if not n.isidentifier()]
        if bad:
            raise IllegalProgram(f"`{bad[0]}` is not a name")

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def temp(self) -> str:
        self.temps += 1
        return f"t{self.temps}"

    # -------------------------------------------------------------------------------- program
    def function(self) -> str:
        self.lines.append("def run(faults, log, sizes, memory):")
        for d in self.p.dims:
            self.line(f"v_{d.name} = sizes[{d.name!r}]")
        for k, b in enumerate(self.p.params):
            self.line(f"m_{b.name} = memory[{k}]")
            self.layout(b)
        self.body(self.p.body)
        return "\n".join(self.lines) + "\n"

    def layout(self, b: Buffer) -> None:
        """Shape, strides, and where needed the marks of defined elements and the log of accesses."""
        for k, d in enumerate(b.shape):
            self.line(f"n_{b.name}_{k} = {self.integer(d)}")
        if b.name in self.checked:
            self.line(f"u_{b.name} = bytearray(len(m_{b.name}))")
        if b.name in self.logged:
            self.line(f"l_{b.name} = {{}}; d_{b.name} = log.depth()")

    def body(self, body: Body) -> None:
        if not body:
            self.line("pass")
        for s in body:
            self.statement(s)

    def statement(self, s: Stmt) -> None:
        self.statements.append(s)
        if isinstance(s, For):
            self.loop(s)
        elif isinstance(s, If):
            self.line(f"if {self.expr(s.cond)[0]}:")
            self.nested(s.body)
        elif isinstance(s, Alloc):
            self.alloc(s.buffer)
        elif isinstance(s, Store):
            value = self.expr(s.value)
            self.store(s.buffer, self.element(Load(s.buffer, s.index)), value, "w")
        elif isinstance(s, Reduce):
            self.reduce(s)

    def nested(self, body: Body) -> None:
        self.depth += 1
        self.body(body)
        self.depth -= 1

    def loop(self, s: For) -> None:
        head = f"for v_{s.axis} in range({self.integer(s.lo)}, {self.integer(s.hi)}):"
        if not (self.races and s.kind in PARALLEL):
            self.line(head)
            self.nested(s.body)
            return
        run = self.temp()
        self.line(f"{run} = next(log.runs)")
        self.line(head)
        self.depth += 1
        self.line(f"log.parallel.append(({run}, v_{s.axis}))")
        self.body(s.body)
        self.line("log.parallel.pop()")
        self.depth -= 1

    def alloc(self, b: Buffer) -> None:
        sizes = " * ".join(f"({self.integer(d)})" for d in b.shape) or "1"
        self.line(f"m_{b.name} = blank({b.dtype!r}, {sizes}, {self.float64})")
        self.layout(b)

    # -------------------------------------------------------------------------------- effects
    def element(self, place: Load) -> str:
        """Emit the bounds check of a place that is written; the flat position as a temporary."""
        index = [self.temp() for _ in place.index]
        for name, e in zip(index, place.index):
            self.line(f"{name} = {self.integer(e)}")
        self.line(f"if not ({self.inside(place.buffer, index)}): {self.fault(place.buffer, index)}")
        flat = self.temp()
        self.line(f"{flat} = {self.flat(place.buffer, index)}")
        return flat

    def inside(self, buffer: str, index: list[str]) -> str:
        return " and ".join(f"0 <= {i} < n_{buffer}_{k}" for k, i in enumerate(index)) or "True"

    def flat(self, buffer: str, index: list[str]) -> str:
        out = ""
        for k, i in enumerate(index):
            out = f"({out}) * n_{buffer}_{k} + {i}" if out else i
        return out or "0"

    def fault(self, buffer: str, index: list[str]) -> str:
        rank = len(self.buffers[buffer].shape)
        shape = "".join(f"n_{buffer}_{k}," for k in range(rank))
        return f"faults.access(S[{len(self.statements) - 1}], {buffer!r}, ({''.join(i + ',' for i in index)}), ({shape}))"

    def note(self, buffer: str, flat: str, mode: str) -> str:
        return f"log.note(S[{len(self.statements) - 1}], {buffer!r}, l_{buffer}, d_{buffer}, {flat}, {mode!r})"

    def store(self, buffer: str, flat: str, value: Code, mode: str) -> None:
        if buffer in self.logged:
            self.line(self.note(buffer, flat, mode))
        self.line(f"m_{buffer}[{flat}] = {self.converted(value, self.buffers[buffer].dtype)}")
        if buffer in self.checked:
            self.line(f"u_{buffer}[{flat}] = 1")

    def reduce(self, s: Reduce) -> None:
        mode = ("scan+" if s.running else "+") + s.monoid
        env: dict[str, Code] = {}
        for k, v in enumerate(s.values):
            dtype = self.buffers[s.targets[k].buffer].dtype
            env[f"b{k}"] = (self.temp(), dtype)
            self.line(f"{env[f'b{k}'][0]} = {self.coerced(self.expr(v), dtype)}")
        places = [self.element(t) for t in s.targets]
        for k, (t, flat) in enumerate(zip(s.targets, places)):
            if t.buffer in self.checked:
                self.line(f"if not u_{t.buffer}[{flat}]: {self.fault_at(t.buffer, flat)}")
            env[f"a{k}"] = (f"m_{t.buffer}[{flat}]", self.buffers[t.buffer].dtype)
        new = [self.expr(term, env) for term in combine_terms(s.monoid)]
        results = [(self.temp(), dtype) for _, dtype in new]
        self.line("; ".join(f"{r} = {code}" for (r, _), (code, _) in zip(results, new)))
        for t, flat, value in zip(s.targets, places, results):
            self.store(t.buffer, flat, value, mode)
        for t, value in zip(s.running, results):
            self.store(t.buffer, self.element(t), value, "w")

    def fault_at(self, buffer: str, flat: str) -> str:
        return f"faults.access(S[{len(self.statements) - 1}], {buffer!r}, ({flat},), (len(m_{buffer}),))"

    # -------------------------------------------------------------------------------- expressions
    def integer(self, e: Expr) -> str:
        return self.expr(e)[0]

    def converted(self, value: Code, dtype: str) -> str:
        """A value as it is kept in a buffer of `dtype`."""
        code = self.coerced(value, dtype)
        if is_int(dtype):
            return f"w_{dtype}({code})"
        if dtype == BOOL:
            return f"1 if {code} else 0"
        return f"r_{dtype}({code})" if dtype in ("f16", "bf16") and not self.float64 else code

    def coerced(self, value: Code, dtype: str) -> str:
        """A weak constant takes `dtype`; anything else has it already."""
        code, have = value
        if unify(have, dtype) != dtype:
            raise TypeMismatch(f"{have} where {dtype} is needed")
        if have == INT_WEAK and code in ("INF", "-INF") and is_int(dtype):
            return str(scalar.LIMITS[dtype][code == "INF"])
        if have in (INT_WEAK, FLOAT_WEAK) and is_float(dtype) and not self.float64:
            return repr(scalar.ROUND[dtype](float(code))) if _is_number(code) else code
        return code

    def expr(self, e: Expr, env: Mapping[str, Code] = {}) -> Code:
        if isinstance(e, Const):
            return _const(e.value)
        if isinstance(e, Var):
            return env.get(e.name) or (f"v_{e.name}", "i64")
        if isinstance(e, Load):
            return self.load(e)
        if isinstance(e, Cast):
            return self.cast(self.expr(e.value, env), e.dtype), e.dtype
        return self.op(e, [self.expr(a, env) for a in e.args])

    def load(self, e: Load) -> Code:
        index = [self.temp() for _ in e.index]
        flat = self.temp()
        tests = [f"0 <= ({i} := {self.integer(x)}) < n_{e.buffer}_{k}" for k, (i, x) in enumerate(zip(index, e.index))]
        tests.append(f"({flat} := {self.flat(e.buffer, index)}) >= 0")
        if e.buffer in self.checked:
            tests.append(f"u_{e.buffer}[{flat}]")
        if e.buffer in self.logged:
            tests.append(self.note(e.buffer, flat, "r"))
        # A failed test leaves later indices unset, so all are computed again for the message.
        again = [self.integer(x) for x in e.index]
        return f"(m_{e.buffer}[{flat}] if {' and '.join(tests)} else {self.fault(e.buffer, again)})", self.buffers[
            e.buffer
        ].dtype

    def cast(self, value: Code, dtype: str) -> str:
        code, have = value
        if dtype == BOOL:
            return f"({code} != 0)"
        if is_float(dtype):
            narrow = dtype != "f64" and dtype != have and not self.float64
            return f"r_{dtype}({code})" if narrow else f"float({code})"
        if is_float(have) or have == FLOAT_WEAK:
            return f"scalar.to_int({code}, {dtype!r})"
        return f"w_{dtype}({code})"

    def op(self, e: Op, args: list[Code]) -> Code:
        name, kind = e.name, OPS[e.name][1]
        if name == "select":
            common = _common([args[1][1], args[2][1]], e)
            a, b = (self.coerced(x, common) if common not in (INT_WEAK, FLOAT_WEAK) else x[0] for x in args[1:])
            return f"({a} if {args[0][0]} else {b})", common
        if kind == "logic":
            return (f"(not {args[0][0]})" if name == "not" else f"({args[0][0]} {name} {args[1][0]})"), BOOL
        common = _common([d for _, d in args], e)
        codes = [self.coerced(x, common) if common not in (INT_WEAK, FLOAT_WEAK) else x[0] for x in args]
        if kind == "compare":
            return f"({codes[0]} {name} {codes[1]})", BOOL
        if kind == "test":
            return f"(({codes[0]}) != ({codes[0]}))" if name == "isnan" else f"(abs({codes[0]}) == INF)", BOOL
        return self.arithmetic(name, codes, common)

    def arithmetic(self, name: str, a: list[str], dtype: str) -> Code:
        floating = is_float(dtype) or dtype == FLOAT_WEAK
        if name in scalar.FUNCTIONS:
            return f"f_{name}({', '.join(a)})", FLOAT_WEAK if dtype == INT_WEAK else dtype
        if name == "/":
            return f"scalar.divide({a[0]}, {a[1]})", FLOAT_WEAK if dtype == INT_WEAK else dtype
        if floating and name in _FLOAT_CALLS:
            return f"scalar.{_FLOAT_CALLS[name]}({', '.join(a)})", dtype
        if name == "invert" and dtype == BOOL:
            return f"(not {a[0]})", dtype
        if name == "fmod":
            return f"scalar.truncated_remainder_int({a[0]}, {a[1]})", dtype
        code = (
            f"{name}({', '.join(a)})"
            if name in ("min", "max", "abs")
            else f"({_PREFIX[name]}{a[0]})"
            if name in _PREFIX
            else f"({a[0]} {name} {a[1]})"
        )
        narrow = is_int(dtype) and dtype != "i64" and name in ("+", "-", "*", "<<", "neg", "invert", "abs")
        return (f"w_{dtype}{code}" if code.startswith("(") else f"w_{dtype}({code})") if narrow else code, dtype


_PREFIX = {"neg": "-", "invert": "~"}
_FLOAT_CALLS = {"//": "floor_divide", "%": "remainder", "fmod": "truncated_remainder", "min": "minimum", "max": "maximum"}


def _common(dtypes: list[str], e: Op) -> str:
    out = dtypes[0]
    for d in dtypes[1:]:
        both = unify(out, d)
        if both is None:
            raise TypeMismatch(f"`{e.name}` mixes {out} and {d}")
        out = both
    return out


def _const(v: bool | int | float) -> Code:
    if isinstance(v, bool):
        return str(v), BOOL
    if isinstance(v, int):
        return str(v), INT_WEAK
    if math.isinf(v):
        return "INF" if v > 0 else "-INF", INT_WEAK
    return ("NAN", FLOAT_WEAK) if math.isnan(v) else (repr(v), FLOAT_WEAK)


def _is_number(code: str) -> bool:
    try:
        return math.isfinite(float(code))
    except ValueError:
        return False


def _loops(body: Body) -> list[For]:
    out: list[For] = []
    for s in body:
        if isinstance(s, (For, If)):
            out += [s] if isinstance(s, For) else []
            out += _loops(s.body)
    return out
