"""Structured C++ over arrays as Kernel IR. Loops, branches and stores with affine indices come in, a `Program` goes out.

What comes in is what fission makes of a kernel whose launch is known: loops over blocks, threads or elements, local and shared arrays,
no barriers left. Every loop becomes an axis, `x = x + e` a Reduce, a scalar a local buffer of one element. The program is checked by
the IR's verifier; `NotRaised` says what stands in the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...ir import kernel as k
from ...ir.diagnostic import WarploomError
from ...ir.expr import Cast, Const, Expr, Load, Op, Var
from ...ir.verify import verify
from . import tree as t

DTYPES = {
    "float": "f32", "double": "f64", "int": "i32", "int32_t": "i32", "int64_t": "i64", "long": "i64", "bool": "b1", "uint8_t": "u8", "int8_t": "i8",
    "int16_t": "i16", "short": "i16",
}  # fmt: skip
_UNROLLED = 64

# CUDA and C names -> Kernel IR operators of floats.
_CALLS = {
    name: op
    for op, names in {
        "exp": "exp expf", "exp2": "exp2 exp2f", "expm1": "expm1 expm1f", "log": "log logf", "log2": "log2 log2f", "log10": "log10 log10f",
        "log1p": "log1p log1pf", "sqrt": "sqrt sqrtf", "rsqrt": "rsqrt rsqrtf", "sin": "sin sinf", "cos": "cos cosf", "tan": "tan tanf",
        "asin": "asin asinf", "acos": "acos acosf", "atan": "atan atanf", "sinh": "sinh sinhf", "cosh": "cosh coshf", "tanh": "tanh tanhf",
        "asinh": "asinh asinhf", "acosh": "acosh acoshf", "atanh": "atanh atanhf", "erf": "erf erff", "erfc": "erfc erfcf",
        "floor": "floor floorf", "ceil": "ceil ceilf", "trunc": "trunc truncf", "round": "rint rintf nearbyint nearbyintf", "abs": "fabs fabsf",
        "pow": "pow powf", "atan2": "atan2 atan2f", "fmod": "fmod fmodf", "max": "fmax fmaxf", "min": "fmin fminf",
    }.items()
    for name in names.split()
}  # fmt: skip
_EITHER = {"max": "max", "min": "min", "larger": "max", "smaller": "min", "abs": "abs"}
_COMPARE = ("<", "<=", ">", ">=", "==", "!=")


class NotRaised(WarploomError):
    """The kernel stays C++: the message names the construct that Kernel IR does not hold."""

    code = "WL-E082"
    exit_code = 1


@dataclass(frozen=True)
class _Typed:
    """`kind`: int (an index, i64), float (with its dtype) or bool."""

    expr: Expr
    kind: str
    dtype: str = ""


def raise_kernel(name: str, params: tuple[t.Param, ...], counts: Mapping[str, int], body: t.Body) -> k.Program:
    """`counts`: elements behind each pointer parameter. Raises NotRaised."""
    buffers = []
    for p in params:
        dtype = DTYPES.get(" ".join(w for w in p.type.split() if w not in ("const", "restrict")))
        if not p.is_pointer or dtype is None:
            raise NotRaised(f"parameter {p.name} is no array of numbers")
        buffers.append(k.Buffer(p.name, dtype, (Const(counts[p.name]),)))
    raised = _Raiser({b.name: b for b in buffers}).body(body)
    program = k.Program(name, (), tuple(buffers), raised)
    try:
        verify(program)
    except WarploomError as error:
        raise NotRaised(f"the verifier refuses it: {error.message}") from None
    return program


class _Raiser:
    def __init__(self, buffers: dict[str, k.Buffer]):
        self.buffers = dict(buffers)
        self.scalars: set[str] = set()
        self.values: dict[str, _Typed] = {}
        self.axes: set[str] = set()

    def body(self, body: t.Body) -> k.Body:
        changed = _assigned(body)
        return tuple(x for s in body for x in self.statement(s, changed))

    def statement(self, s: t.Stmt, changed: frozenset[str]) -> Iterator[k.Stmt]:
        if isinstance(s, (t.Comment, t.Pragma)):
            return
        if isinstance(s, t.For):
            yield from self.loop(s)
        elif isinstance(s, t.If):
            yield from self.branch(s)
        elif isinstance(s, t.Declare):
            yield from self.declare(s, changed)
        elif isinstance(s, t.Evaluate) and isinstance(s.value, t.Assign):
            yield self.assign(s.value)
        elif isinstance(s, t.Block):
            yield from self.body(s.body)
        else:
            raise NotRaised(f"line {s.line}: a {type(s).__name__.lower()} statement")

    # --- loops

    def loop(self, s: t.For) -> Iterator[k.Stmt]:
        if not isinstance(s.init, t.Declare) or not isinstance(s.cond, t.Binary) or s.cond.op not in ("<", "<=", ">"):
            raise NotRaised(f"line {s.line}: a loop that is not counted")
        d = s.init.declarators[0]
        if s.cond.left != t.Name(d.name) or d.init is None or d.name in _assigned(s.body):
            raise NotRaised(f"line {s.line}: a loop that is not counted")
        step = _step(s.step, d.name)
        if step is None or s.cond.op == ">":
            yield from self.unrolled(s, d.name)
            return
        lo, hi = self.index(d.init), self.index(s.cond.right)
        hi = Op("+", (hi, Const(1))) if s.cond.op == "<=" else hi
        held = self.values.pop(d.name, None)
        self.axes.add(d.name)
        axis = d.name
        if step != 1:
            self.values[d.name] = _Typed(Op("+", (lo, Op("*", (Var(axis), Const(step))))), "int")
            hi = Op("//", (Op("+", (Op("-", (hi, lo)), Const(step - 1))), Const(step)))
            lo = Const(0)
        yield k.For(axis, lo, hi, "serial", self.body(s.body))
        self.values.pop(d.name, None)
        if held is not None:
            self.values[d.name] = held

    def unrolled(self, s: t.For, name: str) -> Iterator[k.Stmt]:
        """A loop such as `for (s = 64; s > 0; s >>= 1)`: one copy of the body for each value."""
        for value in _run_values(s, name):
            self.values[name] = _Typed(Const(value), "int")
            yield from self.body(t.substitute(s.body, {name: t.Literal(str(value))}))
        self.values.pop(name, None)

    def branch(self, s: t.If) -> Iterator[k.Stmt]:
        cond = self.condition(s.cond)
        if s.then:
            yield k.If(cond, self.body(s.then))
        if s.orelse:
            yield k.If(Op("not", (cond,)), self.body(s.orelse))

    # --- variables

    def declare(self, s: t.Declare, changed: frozenset[str]) -> Iterator[k.Stmt]:
        d = s.declarators[0]
        if len(s.declarators) != 1 or d.mark:
            raise NotRaised(f"line {s.line}: pointer or reference {d.name}")
        if not d.extents and d.init is not None and d.name not in changed:
            value = self.value(d.init)
            if value.kind == "int" and s.type not in ("float", "double"):
                self.values[d.name] = value
                return
        dtype = DTYPES.get(s.type)
        if dtype is None or (dtype.startswith("i") and d.name in changed and not d.extents):
            raise NotRaised(f"line {s.line}: variable {d.name} of type {s.type}")
        shape = tuple(self.index(e) for e in d.extents if e is not None) or (Const(1),)
        name = self.fresh(d.name, k.Buffer(d.name, dtype, shape, "local"), scalar=not d.extents)
        yield k.Alloc(self.buffers[name])
        if d.init is not None:
            if d.extents:
                raise NotRaised(f"line {s.line}: array {d.name} with initial values")
            yield k.Store(name, (Const(0),), self.cast(self.value(d.init), dtype))

    def fresh(self, name: str, buffer: k.Buffer, scalar: bool) -> str:
        if name in self.buffers:
            raise NotRaised(f"two variables are called {name}")
        self.buffers[name] = buffer
        if scalar:
            self.scalars.add(name)
        return name

    def assign(self, e: t.Assign) -> k.Stmt:
        place = self.place(e.target)
        dtype = self.buffers[place.buffer].dtype
        monoid, value = _reduction(e)
        if monoid:
            return k.Reduce(monoid, (place,), (self.cast(self.value(value), dtype),))
        if e.op != "=":
            value = t.Binary(e.op[:-1], e.target, e.value)
        return k.Store(place.buffer, place.index, self.cast(self.value(value), dtype))

    def place(self, e: t.Expr) -> Load:
        indices: list[Expr] = []
        while isinstance(e, t.Index):
            indices.insert(0, self.index(e.index))
            e = e.base
        if isinstance(e, t.Name) and e.text in self.buffers:
            if e.text in self.scalars and not indices:
                return Load(e.text, (Const(0),))
            if len(indices) == len(self.buffers[e.text].shape):
                return Load(e.text, tuple(indices))
        raise NotRaised("an access through a pointer, or to a part of an array")

    # --- expressions

    def index(self, e: t.Expr) -> Expr:
        found = self.value(e)
        if found.kind != "int":
            raise NotRaised("an index that is no whole number")
        return found.expr

    def condition(self, e: t.Expr) -> Expr:
        found = self.value(e)
        return found.expr if found.kind == "bool" else Op("!=", (found.expr, Const(0)))

    def value(self, e: t.Expr) -> _Typed:
        if isinstance(e, t.Literal):
            return _literal(e.text)
        if isinstance(e, t.Name):
            return self.name(e.text)
        if isinstance(e, t.Index):
            return self.loaded(self.place(e))
        if isinstance(e, t.Binary):
            return self.binary(e)
        if isinstance(e, t.Unary):
            return self.unary(e)
        if isinstance(e, t.Conditional):
            a, b = self.alike(self.value(e.then), self.value(e.orelse))
            return _Typed(Op("select", (self.condition(e.cond), a.expr, b.expr)), a.kind, a.dtype)
        if isinstance(e, t.Cast):
            return self.converted(e)
        if isinstance(e, t.Call):
            return self.call(e)
        raise NotRaised("C++ that has no counterpart")

    def name(self, text: str) -> _Typed:
        if text in self.values:
            return self.values[text]
        if text in self.scalars:
            return self.loaded(Load(text, (Const(0),)))
        if text in self.axes:
            return _Typed(Var(text), "int")
        if text in ("INFINITY", "FLT_MAX"):
            return _Typed(Const(float("inf") if text == "INFINITY" else 3.4028234663852886e38), "float", "f32")
        raise NotRaised(f"the name {text}")

    def loaded(self, place: Load) -> _Typed:
        dtype = self.buffers[place.buffer].dtype
        if dtype == "b1":
            return _Typed(place, "bool")
        return _Typed(place, "float", dtype) if dtype.startswith("f") else _Typed(Cast("i64", place) if dtype != "i64" else place, "int")

    def binary(self, e: t.Binary) -> _Typed:
        if e.op in ("&&", "||"):
            return _Typed(Op("and" if e.op == "&&" else "or", (self.condition(e.left), self.condition(e.right))), "bool")
        a, b = self.alike(self.value(e.left), self.value(e.right))
        if e.op in _COMPARE:
            return _Typed(Op(e.op, (a.expr, b.expr)), "bool")
        if a.kind == "float":
            if e.op not in "+-*/":
                raise NotRaised(f"`{e.op}` on floating point")
            return _Typed(Op(e.op, (a.expr, b.expr)), "float", a.dtype)
        if e.op in "/%" and not (_positive(e.right) and not _may_be_negative(e.left)):
            raise NotRaised("a division whose operands may be negative")
        if e.op == ",":
            raise NotRaised("a comma")
        return _Typed(Op("//" if e.op == "/" else e.op, (a.expr, b.expr)), "int")

    def unary(self, e: t.Unary) -> _Typed:
        if e.op == "!":
            return _Typed(Op("not", (self.condition(e.value),)), "bool")
        value = self.value(e.value)
        if e.op == "-" and value.kind in ("int", "float"):
            if isinstance(value.expr, Const):
                return _Typed(Const(-value.expr.value), value.kind, value.dtype)
            return _Typed(Op("neg", (value.expr,)), value.kind, value.dtype)
        if e.op == "+":
            return value
        raise NotRaised(f"`{e.op}`")

    def converted(self, e: t.Cast) -> _Typed:
        value = self.value(e.value)
        if e.type in ("float", "double"):
            dtype = DTYPES[e.type]
            return _Typed(self.cast(value, dtype), "float", dtype)
        if e.type in ("int", "int64_t", "long", "size_t", "unsigned", "unsigned int"):
            return value if value.kind == "int" else _Typed(Cast("i64", value.expr), "int")
        raise NotRaised(f"a cast to {e.type}")

    def cast(self, value: _Typed, dtype: str) -> Expr:
        """The expression in a buffer's dtype."""
        if isinstance(value.expr, Const) and value.kind != "bool":
            return Const(float(value.expr.value)) if dtype.startswith("f") else value.expr
        same = value.dtype == dtype or (value.kind == "int" and dtype == "i64") or (value.kind == "bool" and dtype == "b1")
        return value.expr if same else Cast(dtype, value.expr)

    def alike(self, a: _Typed, b: _Typed) -> tuple[_Typed, _Typed]:
        """Both as floats where one is one; booleans count as whole numbers."""
        if a.kind == b.kind == "bool":
            return a, b
        if "float" in (a.kind, b.kind):
            dtype = "f64" if "f64" in (a.dtype, b.dtype) and not _weak(a, b) else "f32"
            return (_Typed(self.cast(a, dtype), "float", dtype), _Typed(self.cast(b, dtype), "float", dtype))
        return tuple(x if x.kind == "int" else _Typed(Cast("i64", x.expr), "int") for x in (a, b))  # type: ignore[return-value]

    def call(self, e: t.Call) -> _Typed:
        name = t.called(e)
        values = [self.value(a) for a in e.args]
        if name in _EITHER:
            if len(values) == 2:
                values = list(self.alike(*values))
            return _Typed(Op(_EITHER[name], tuple(v.expr for v in values)), values[0].kind, values[0].dtype)
        op = _CALLS.get(name)
        if op is None:
            raise NotRaised(f"a call of {name or 'a computed function'}")
        dtype = "f32" if name.endswith("f") or all(v.dtype in ("f32", "") for v in values) else "f64"
        return _Typed(Op(op, tuple(self.cast(v, dtype) for v in values)), "float", dtype)


def _weak(a: _Typed, b: _Typed) -> bool:
    return any(isinstance(x.expr, Const) and x.dtype == "f64" for x in (a, b)) and "f32" in (a.dtype, b.dtype)


def _literal(text: str) -> _Typed:
    if text in ("true", "false"):
        return _Typed(Const(text == "true"), "bool")
    low = text.lower().replace("'", "")
    try:
        if ("." in low or "e" in low) and not low.startswith("0x"):
            return _Typed(Const(float(low.rstrip("fl"))), "float", "f32" if low.endswith("f") else "f64")
        return _Typed(Const(int(low.rstrip("ul"), 0)), "int")
    except ValueError:
        raise NotRaised(f"the literal {text}") from None


def _reduction(e: t.Assign) -> tuple[str, t.Expr]:
    """The monoid and the value of `x += v`, `x = x + v`, `x = max(x, v)`; no monoid for a plain store."""
    if e.op in ("+=", "*="):
        return {"+=": "add", "*=": "mul"}[e.op], e.value
    value = e.value
    if e.op == "=" and isinstance(value, t.Binary) and value.op in "+*" and value.left == e.target and not _mentions(value.right, e.target):
        return {"+": "add", "*": "mul"}[value.op], value.right
    extreme = isinstance(value, t.Call) and t.called(value) in ("max", "min", "fmaxf", "fminf") and value.args[0] == e.target
    if e.op == "=" and extreme and isinstance(value, t.Call) and not _mentions(value.args[1], e.target):
        return t.called(value).strip("f"), value.args[1]
    return "", value


def _mentions(e: t.Expr, place: t.Expr) -> bool:
    return any(n == place for n in t.walk((e,)))


def _assigned(body: object) -> frozenset[str]:
    out = set()
    for n in t.walk(body):
        target = n.target if isinstance(n, t.Assign) else n.value if isinstance(n, t.Unary) and n.op in ("++", "--", "&") else None
        if isinstance(target, t.Name):
            out.add(target.text)
    return frozenset(out)


def _step(e: t.Expr | None, name: str) -> int | None:
    if isinstance(e, t.Unary) and e.op == "++":
        return 1
    if isinstance(e, t.Assign) and e.op == "+=" and e.target == t.Name(name) and isinstance(e.value, t.Literal) and e.value.text.isdigit():
        return int(e.value.text)
    return None


def _run_values(s: t.For, name: str) -> Iterator[int]:
    """The values of a loop over numbers, by running its head."""
    assert isinstance(s.init, t.Declare) and isinstance(s.cond, t.Binary)
    start, bound = s.init.declarators[0].init, s.cond.right
    if not (isinstance(start, t.Literal) and isinstance(bound, t.Literal) and start.text.isdigit() and bound.text.isdigit()):
        raise NotRaised(f"line {s.line}: a loop whose bounds are no numbers")
    value, limit = int(start.text), int(bound.text)
    compare = {"<": value.__class__.__lt__, ">": value.__class__.__gt__, "<=": value.__class__.__le__}[s.cond.op]
    for _ in range(_UNROLLED):
        if not compare(value, limit):
            return
        yield value
        value = _next(s, name, value)
    raise NotRaised(f"line {s.line}: a loop of more than {_UNROLLED} steps that are not even")


def _next(s: t.For, name: str, value: int) -> int:
    e = s.step
    if isinstance(e, t.Unary) and e.op == "--":
        return value - 1
    if isinstance(e, t.Assign) and e.target == t.Name(name) and isinstance(e.value, t.Literal) and e.value.text.isdigit():
        by = int(e.value.text)
        rules = {">>=": value >> by, "<<=": value << by, "/=": value // max(by, 1), "*=": value * by, "-=": value - by}
        if e.op in rules:
            return rules[e.op]
    raise NotRaised(f"line {s.line}: the step of a loop")


def _positive(e: t.Expr) -> bool:
    return isinstance(e, t.Literal) and e.text.isdigit() and int(e.text) > 0


def _may_be_negative(e: t.Expr) -> bool:
    return any((isinstance(n, t.Binary) and n.op == "-") or (isinstance(n, t.Unary) and n.op in "-~") for n in t.walk((e,)))
