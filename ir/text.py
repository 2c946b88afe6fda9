"""The text form of both IRs, a Python subset: `parse(print(x)) == x`, always. Parsing is closed: `ast.parse` and tables, never exec.

Comes in: Program, Graph or expression, or their text. Goes out: the other one; a text outside the language is a ParseError
that underlines the place. Graph text is in `graph_text`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable

from .diagnostic import ParseError, Place, suggest
from .expr import INFIX, OPS, Cast, Const, Expr, Load, Op, Var
from .kernel import KINDS, SPACES, Alloc, Body, Buffer, Call, For, If, Program, Reduce, Stmt, Store
from .monoid import MONOIDS
from .types import DTYPES, Dim
from .variants import Range, condition, variants

# ------------------------------------------------------------------------------------------------ print expressions
_LEVEL = {"or": 1, "and": 2, "not": 3, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4, "|": 5, "^": 6, "&": 7,
          "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "/": 10, "//": 10, "%": 10, "neg": 11, "invert": 11}  # fmt: skip
_PREFIX = {"neg": "-", "invert": "~", "not": "not "}


def print_expr(e: Expr) -> str:
    """Text of a scalar expression with as few parentheses as Python's precedence allows."""
    return _print(e)[0]


def _print(e: Expr) -> tuple[str, int]:
    if isinstance(e, Const):
        return _print_const(e.value), 11 if isinstance(e.value, (int, float)) and not isinstance(e.value, bool) and _negative(e.value) else 12
    if isinstance(e, Var):
        return e.name, 12
    if isinstance(e, Load):
        return f"{e.buffer}[{_print_index(e.index)}]", 12
    if isinstance(e, Cast):
        return f"{e.dtype}({print_expr(e.value)})", 12
    return _print_op(e)


def _print_op(e: Op) -> tuple[str, int]:
    level = _LEVEL.get(e.name, 12)
    if e.name in INFIX:
        left, right = _print(e.args[0]), _print(e.args[1])
        strict_left = level == 4
        a = _paren(left, level + 1 if strict_left else level)
        return f"{a} {e.name} {_paren(right, level + 1)}", level
    if e.name in _PREFIX and not (isinstance(e.args[0], Const) and e.name != "not"):
        return _PREFIX[e.name] + _paren(_print(e.args[0]), level), level
    return f"{e.name}({', '.join(print_expr(a) for a in e.args)})", 12


def _paren(printed: tuple[str, int], level: int) -> str:
    return printed[0] if printed[1] >= level else f"({printed[0]})"


def _negative(v: float) -> bool:
    return v < 0 or (v == 0 and math.copysign(1.0, v) < 0)


def _print_const(v: bool | int | float) -> str:
    if isinstance(v, float) and math.isinf(v):
        return "inf" if v > 0 else "-inf"
    return repr(v)


def _print_index(index: tuple[Expr, ...]) -> str:
    return ", ".join(print_expr(i) for i in index) if index else "()"


# ------------------------------------------------------------------------------------------------ print programs
def print_program(p: Program) -> str:
    """Kernel text of a program, ending in a newline."""
    return "".join(line + "\n" for line, _ in program_lines(p))


def program_lines(p: Program) -> list[tuple[str, Stmt | None]]:
    """(line, statement that begins there) pairs: the header line has None."""
    head = f"def {p.name}({', '.join([*(print_dim(d) for d in p.dims), *(f'{b.name}: {print_buffer(b)}' for b in p.params)])}):"
    return [(head, None), *(_match_lines(p) if p.dispatch else _body_lines(p.body, 1))]


def _match_lines(p: Program) -> list[tuple[str, Stmt | None]]:
    out: list[tuple[str, Stmt | None]] = [(f"    match {p.dispatch}:", None)]
    for s, v in zip(p.body, variants(p)):
        ranges = " | ".join(f"within({lo}, {'inf' if hi is None else hi})" for lo, hi in v.ranges)
        out += [(f"        case {ranges}:", s), *_body_lines(v.program.body, 3)]
    return out


def _body_lines(body: Body, depth: int) -> list[tuple[str, Stmt | None]]:
    pad = "    " * depth
    if not body:
        return [(pad + "pass", None)]
    out: list[tuple[str, Stmt | None]] = []
    for s in body:
        out.append((pad + _statement_line(s), s))
        if isinstance(s, (For, If)):
            out += _body_lines(s.body, depth + 1)
    return out


def _statement_line(s: Stmt) -> str:
    if isinstance(s, For):
        lo = "" if s.lo == Const(0) else print_expr(s.lo) + ", "
        return f"for {s.axis} in {s.kind}({lo}{print_expr(s.hi)}):"
    if isinstance(s, If):
        return f"if {print_expr(s.cond)}:"
    if isinstance(s, Alloc):
        return f"{s.buffer.name}: {print_buffer(s.buffer)}"
    if isinstance(s, Store):
        return f"{s.buffer}[{_print_index(s.index)}] = {print_expr(s.value)}"
    if isinstance(s, Call):
        return f"{s.intrinsic}({', '.join(print_expr(o) for o in s.operands)})"
    if s.running:
        return f"{_print_tuple(s.running)} = scan({s.monoid}, {_print_tuple(s.targets)}, {_print_tuple(s.values)})"
    if s.monoid == "add":
        return f"{print_expr(s.targets[0])} += {print_expr(s.values[0])}"
    return f"reduce({s.monoid}, {_print_tuple(s.targets)}, {_print_tuple(s.values)})"


def _print_tuple(items: tuple[Expr, ...]) -> str:
    return print_expr(items[0]) if len(items) == 1 else f"({', '.join(print_expr(i) for i in items)})"


def print_dim(d: Dim) -> str:
    if d.lo == 1 and d.hi is None:
        return f"{d.name}: dim"
    return f"{d.name}: dim[{d.lo}, {'inf' if d.hi is None else d.hi}]"


def print_buffer(b: Buffer) -> str:
    space = "" if b.space == "global" else b.space + "."
    owned = [f"[{', '.join(print_expr(d) for d in b.shape[: b.owned])}]"] if b.owned else []
    dims = [*owned, *(print_expr(d) for d in b.shape[b.owned :])]
    within = f" @ within({print_expr(b.within[0])}, {print_expr(b.within[1])})" if b.within else ""
    return f"{space}{b.dtype}[{', '.join(dims) if dims else '()'}]{within}"


def locate(p: Program, statement: Stmt) -> Place | None:
    """Where a statement (by identity, else by equality) stands in the printed program."""
    lines = program_lines(p)
    text = "\n".join(line for line, _ in lines)
    for same in (lambda s: s is statement, lambda s: s == statement):
        for number, (_, s) in enumerate(lines):
            if s is not None and same(s):
                return Place(text, number)
    return None


# ------------------------------------------------------------------------------------------------ parse
_BINARY: dict[type, str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.BitAnd: "&",
    ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
_COMPARE: dict[type, str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_UNARY: dict[type, str] = {ast.USub: "neg", ast.Invert: "invert", ast.Not: "not"}


class Parser:
    """Shared by Kernel and Graph text: knows the source so that errors can underline it."""

    def __init__(self, text: str):
        self.text = text

    def fail(self, node: ast.AST, message: str, hint: str = "") -> ParseError:
        line = getattr(node, "lineno", 1) - 1
        stop = getattr(node, "end_col_offset", -1) if getattr(node, "end_lineno", line + 1) == line + 1 else -1
        return ParseError(f"line {line + 1}: {message}", hint=hint, place=Place(self.text, line, getattr(node, "col_offset", 0), stop))

    def tree(self) -> ast.Module:
        try:
            return ast.parse(self.text)
        except SyntaxError as e:
            line = (e.lineno or 1) - 1
            place = Place(self.text, line, max(0, (e.offset or 1) - 1), max(1, e.end_offset or 0))
            raise ParseError(f"line {line + 1}: {e.msg}", place=place) from None
        except (ValueError, RecursionError, MemoryError) as e:
            raise ParseError(f"not a program text: {e}") from None

    def function(self) -> ast.FunctionDef:
        body = [n for n in self.tree().body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
        if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
            raise ParseError("expected one `def name(...):` and nothing else", place=Place(self.text, 0))
        return body[0]

    # -------------------------------------------------------------------------------- expressions
    def expr(self, n: ast.AST) -> Expr:
        if isinstance(n, ast.Constant):
            if isinstance(n.value, (bool, int, float)):
                return Const(n.value)
            raise self.fail(n, f"a constant must be a number or a bool, not {n.value!r}")
        if isinstance(n, ast.Name):
            return {"inf": Const(math.inf), "nan": Const(math.nan)}.get(n.id) or Var(n.id)
        if isinstance(n, ast.Subscript):
            return Load(self.name(n.value), self.index(n.slice))
        for kind, parse in self._expr_table().items():
            if isinstance(n, kind):
                return parse(n)  # type: ignore[arg-type]
        raise self.fail(n, f"{type(n).__name__} is not an expression of this language")

    def _expr_table(self) -> dict[type, Callable[..., Expr]]:
        return {ast.BinOp: self._binary, ast.UnaryOp: self._unary, ast.Compare: self._compare, ast.BoolOp: self._bool, ast.Call: self._call}

    def _binary(self, n: ast.BinOp) -> Expr:
        name = _BINARY.get(type(n.op))
        if name is None:
            raise self.fail(n, f"operator {type(n.op).__name__} is not known", "accepted: " + " ".join(_BINARY.values()))
        return Op(name, (self.expr(n.left), self.expr(n.right)))

    def _unary(self, n: ast.UnaryOp) -> Expr:
        name = _UNARY.get(type(n.op))
        if name is None:
            raise self.fail(n, "unary + is not known")
        e = self.expr(n.operand)
        if name == "neg" and isinstance(e, Const) and not isinstance(e.value, bool) and isinstance(n.operand, (ast.Constant, ast.Name)):
            return Const(-e.value)
        return Op(name, (e,))

    def _compare(self, n: ast.Compare) -> Expr:
        if len(n.ops) != 1 or type(n.ops[0]) not in _COMPARE:
            raise self.fail(n, "one comparison at a time", "accepted: < <= > >= == !=, joined by `and`")
        return Op(_COMPARE[type(n.ops[0])], (self.expr(n.left), self.expr(n.comparators[0])))

    def _bool(self, n: ast.BoolOp) -> Expr:
        name = "and" if isinstance(n.op, ast.And) else "or"
        out = self.expr(n.values[0])
        for v in n.values[1:]:
            out = Op(name, (out, self.expr(v)))
        return out

    def _call(self, n: ast.Call) -> Expr:
        name = self.name(n.func)
        if n.keywords:
            raise self.fail(n, f"{name} takes no keywords")
        if name in DTYPES:
            if len(n.args) != 1:
                raise self.fail(n, f"{name} takes one value")
            return Cast(name, self.expr(n.args[0]))
        if name not in OPS or name in INFIX:
            near = suggest(name, OPS)
            raise self.fail(n, f"`{name}` is not a function of this language", near + f"accepted: {', '.join(sorted(o for o in OPS if o.isidentifier()))}")
        if len(n.args) != OPS[name][0]:
            raise self.fail(n, f"{name} takes {OPS[name][0]} arguments, not {len(n.args)}")
        return Op(name, tuple(self.expr(a) for a in n.args))

    def name(self, n: ast.AST) -> str:
        if not isinstance(n, ast.Name):
            raise self.fail(n, "expected a name")
        return n.id

    def index(self, n: ast.AST) -> tuple[Expr, ...]:
        return tuple(self.expr(x) for x in n.elts) if isinstance(n, ast.Tuple) else (self.expr(n),)

    def integer(self, n: ast.AST) -> int:
        e = self.expr(n)
        if not (isinstance(e, Const) and isinstance(e.value, int)):
            raise self.fail(n, "expected an integer")
        return int(e.value)

    # -------------------------------------------------------------------------------- declarations
    def dim(self, name: str, n: ast.AST) -> Dim | None:
        """A Dim when the annotation is `dim` or `dim[lo, hi]`, else None."""
        if isinstance(n, ast.Name) and n.id == "dim":
            return Dim(name)
        if not (isinstance(n, ast.Subscript) and isinstance(n.value, ast.Name) and n.value.id == "dim"):
            return None
        ends = self.index(n.slice)
        if len(ends) != 2 or not all(isinstance(e, Const) for e in ends):
            raise self.fail(n, "expected dim[lo, hi] with numbers", "hi may be inf")
        lo, hi = (e.value for e in ends if isinstance(e, Const))
        return Dim(name, int(lo), None if math.isinf(hi) else int(hi))

    def buffer(self, name: str, n: ast.AST) -> Buffer:
        within = None
        if isinstance(n, ast.BinOp) and isinstance(n.op, ast.MatMult):
            within, n = self._within(n.right), n.left
        if not isinstance(n, ast.Subscript):
            raise self.fail(n, f"`{name}` needs a type such as f32[M, N] or local.f32[16]")
        space, dtype = "global", n.value
        if isinstance(dtype, ast.Attribute):
            space, dtype = self.name(dtype.value).rstrip("_"), ast.copy_location(ast.Name(dtype.attr), dtype)
        if space not in SPACES or self.name(dtype) not in DTYPES:
            raise self.fail(n.value, f"unknown space or dtype `{space}.{self.name(dtype)}`", f"spaces: {', '.join(SPACES)}; dtypes: {', '.join(DTYPES)}")
        shape, owned = self._shape(n.slice)
        return Buffer(name, self.name(dtype), shape, space, owned, within)

    def _within(self, n: ast.AST) -> tuple[Expr, Expr]:
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "within" and len(n.args) == 2:
            return self.expr(n.args[0]), self.expr(n.args[1])
        raise self.fail(n, "expected within(lo, hi)")

    def _shape(self, n: ast.AST) -> tuple[tuple[Expr, ...], int]:
        items = list(n.elts) if isinstance(n, ast.Tuple) else [n]
        if items and isinstance(items[0], ast.List):
            own = tuple(self.expr(x) for x in items[0].elts)
            return own + tuple(self.expr(x) for x in items[1:]), len(own)
        return tuple(self.expr(x) for x in items), 0

    # -------------------------------------------------------------------------------- statements
    def body(self, stmts: list[ast.stmt]) -> Body:
        return tuple(self.statement(s) for s in stmts if not isinstance(s, ast.Pass))

    def statement(self, n: ast.stmt) -> Stmt:
        if isinstance(n, ast.For):
            return self._for(n)
        if isinstance(n, ast.If):
            if n.orelse:
                raise self.fail(n, "`else` is not part of this language", "write a second `if`")
            return If(self.expr(n.test), self.body(n.body))
        if isinstance(n, ast.AnnAssign) and n.value is None:
            return Alloc(self.buffer(self.name(n.target), n.annotation))
        if isinstance(n, ast.Assign) and len(n.targets) == 1:
            return self._assign(n)
        if isinstance(n, ast.AugAssign) and isinstance(n.op, ast.Add):
            return Reduce("add", (self.place(n.target),), (self.expr(n.value),))
        if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call):
            return self._effect(n.value)
        raise self.fail(n, f"{type(n).__name__} is not a statement of this language", "accepted: for, if, name: type, b[i] = e, b[i] += e, reduce(...), intrinsic(...)")

    def _for(self, n: ast.For) -> For:
        c = n.iter
        if not (isinstance(c, ast.Call) and isinstance(c.func, ast.Name) and c.func.id in KINDS and 1 <= len(c.args) <= 2 and not n.orelse):
            raise self.fail(c, "expected a loop kind with one or two bounds", f"accepted: for i in {' | '.join(KINDS)}(lo, hi)")
        ends = [self.expr(a) for a in c.args]
        lo, hi = ends if len(ends) == 2 else (Const(0), ends[0])
        return For(self.name(n.target), lo, hi, c.func.id, self.body(n.body))

    def _assign(self, n: ast.Assign) -> Stmt:
        target, value = n.targets[0], n.value
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "scan":
            return self._reduce(value, self._places(target))
        place = self.place(target)
        return Store(place.buffer, place.index, self.expr(value))

    def _effect(self, n: ast.Call) -> Stmt:
        name = self.name(n.func)
        if name == "reduce":
            return self._reduce(n, ())
        return Call(name, tuple(self.place(a) for a in n.args))

    def _reduce(self, n: ast.Call, running: tuple[Load, ...]) -> Reduce:
        if len(n.args) != 3 or self.name(n.args[0]) not in MONOIDS:
            raise self.fail(n, "expected reduce(monoid, targets, values)", f"monoids: {', '.join(MONOIDS)}")
        monoid = self.name(n.args[0])
        values = tuple(self.expr(x) for x in (n.args[2].elts if isinstance(n.args[2], ast.Tuple) else [n.args[2]]))
        targets = self._places(n.args[1])
        width = MONOIDS[monoid].width
        if not len(targets) == len(values) == width or len(running) not in (0, width):
            raise self.fail(n, f"{monoid} has {width} slot(s): it takes {width} target(s) and {width} value(s)")
        return Reduce(monoid, targets, values, running)

    def _places(self, n: ast.AST) -> tuple[Load, ...]:
        return tuple(self.place(x) for x in n.elts) if isinstance(n, ast.Tuple) else (self.place(n),)

    def place(self, n: ast.AST) -> Load:
        if not isinstance(n, ast.Subscript):
            hint = f"there are no scalar variables: `{n.id}: local.f32[1]`, then `{n.id}[0]`" if isinstance(n, ast.Name) else ""
            raise self.fail(n, "expected a place such as b[i, j]", hint)
        return Load(self.name(n.value), self.index(n.slice))

    def program(self) -> Program:
        f = self.function()
        dims: list[Dim] = []
        params: list[Buffer] = []
        for a in f.args.args:
            if a.annotation is None:
                raise self.fail(a, f"`{a.arg}` needs a type such as dim or f32[M, N]")
            d = self.dim(a.arg, a.annotation)
            if d is not None:
                dims.append(d)
            else:
                params.append(self.buffer(a.arg, a.annotation))
        if len(f.body) == 1 and isinstance(f.body[0], ast.Match):
            dim, body = self._match(f.body[0])
            return Program(f.name, tuple(dims), tuple(params), body, dim)
        return Program(f.name, tuple(dims), tuple(params), self.body(f.body))

    # -------------------------------------------------------------------------------- variants
    def _match(self, n: ast.Match) -> tuple[str, Body]:
        dim = self.name(n.subject)
        body: list[Stmt] = []
        for case in n.cases:
            if case.guard is not None:
                raise self.fail(case.guard, "a case has no `if`", "accepted: case within(1, 7) | within(15, inf):")
            options = case.pattern.patterns if isinstance(case.pattern, ast.MatchOr) else [case.pattern]
            body.append(If(condition(dim, [self._range(o) for o in options]), self.body(case.body)))
        return dim, tuple(body)

    def _range(self, n: ast.pattern) -> Range:
        if isinstance(n, ast.MatchClass) and isinstance(n.cls, ast.Name) and n.cls.id == "within" and len(n.patterns) == 2 and not n.kwd_patterns:
            low, high = n.patterns
            if isinstance(low, ast.MatchValue):
                lo = self.integer(low.value)
                if isinstance(high, ast.MatchAs) and high.name == "inf" and high.pattern is None:
                    return lo, None
                if isinstance(high, ast.MatchValue):
                    return lo, self.integer(high.value)
        raise self.fail(n, "expected within(lo, hi) with numbers", "a half-open range; hi may be inf")


def parse_program(text: str) -> Program:
    """Kernel text to Program. Raises ParseError."""
    return Parser(text).program()


def parse_expr(text: str) -> Expr:
    """Expression text to Expr. Raises ParseError."""
    parser = Parser(text)
    tree = parser.tree()
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        raise ParseError("expected one expression", place=Place(text, 0))
    return parser.expr(tree.body[0].value)
