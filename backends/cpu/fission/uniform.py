"""Which variables have one value for all threads of a block, and can be kept once. A lowered body comes in, their names go out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ....frontend.cuda import tree as t

PURE = frozenset(
    ("min", "max", "fminf", "fmaxf", "fmin", "fmax", "ceil", "ceilf", "floor", "floorf", "sqrtf", "sqrt", "abs", "fabsf", "fabs", "div_up",
     "infinity", "lowest", "quiet_NaN", "epsilon", "rsqrtf", "expf", "logf", "powf", "pow", "exp", "log", "log2f", "exp2f", "tanhf")
)  # fmt: skip


def pure(e: t.Expr, shared: frozenset[str] = frozenset()) -> bool:
    """No loads (but of `shared` arrays), no side effects: evaluated for a thread that is not there, it harms nothing."""
    for n in t.walk((e,)):
        if isinstance(n, t.Index) and isinstance(n.base, t.Name) and n.base.text in shared:
            continue
        if isinstance(n, (t.Assign, t.Index)) or (isinstance(n, t.Unary) and n.op in ("++", "--", "*", "&")):
            return False
        if isinstance(n, t.Call) and t.called(n) not in PURE:
            return False
        if isinstance(n, t.Opaque) and not (isinstance(n.parts[0], str) and n.parts[0].startswith("sizeof")):
            return False
        if isinstance(n, t.Member) and n.op == "->":
            return False
    return True


def divides(e: t.Expr) -> bool:
    """Whether it divides by something that might be zero."""
    return any(isinstance(n, t.Binary) and n.op in "/%" and not isinstance(n.right, t.Literal) for n in t.walk((e,)))


@dataclass
class _Variable:
    scope: int
    writes: list[tuple[int, t.Expr | None]] = field(default_factory=list)


class Uniform:
    """`scalars`: names kept once per block. `waits` tells statements that synchronise."""

    def __init__(self, body: t.Body, threads: frozenset[str], waits: Callable[[Any], bool], by_reference: frozenset[str]):
        self.places, self.waits = threads, waits
        self.shared = frozenset(
            d.name for n in t.walk(body) if isinstance(n, t.Declare) and "__shared__" in n.qualifiers for d in n.declarators
        )
        self.varying: set[str] = set(by_reference)
        while True:
            self.variables: dict[str, _Variable] = {}
            self.outside: set[str] = set()
            self.scopes = 0
            self.visit(body, 0)
            fresh = {name for name, v in self.variables.items() if name not in self.varying and not self.single(name, v)}
            if not fresh:
                break
            self.varying |= fresh
        self.scalars = frozenset(self.variables) - self.varying - self.outside

    def single(self, name: str, v: _Variable) -> bool:
        if name in self.outside:
            return False
        return all(
            scope == v.scope and (e is None or (self.settled(e, len(v.writes) == 1) and not (scope and divides(e))))
            for scope, e in v.writes
        )

    def settled(self, e: t.Expr, once: bool) -> bool:
        """Uniform; what is written once may also come from shared memory, where all threads find the same."""
        return self.uniform(e, self.shared if once else frozenset())

    def uniform(self, e: t.Expr, shared: frozenset[str] = frozenset()) -> bool:
        """The same for all threads, and computable outside their loops."""
        if not pure(e, shared):
            return False
        differing = self.places | self.varying | self.outside
        return not any(isinstance(n, t.Name) and n.text in differing and n.text not in shared for n in t.walk((e,)))

    def visit(self, body: t.Body, scope: int) -> None:
        for s in body:
            self.statement(s, scope)

    def statement(self, s: Any, scope: int) -> None:
        if isinstance(s, t.Declare):
            self.declare(s, scope)
        elif isinstance(s, t.Evaluate):
            self.evaluate(s.value, scope)
        elif self.waits(s):
            self.compound(s, scope)
        else:
            self.inside(s)

    def declare(self, s: t.Declare, scope: int) -> None:
        for d in s.declarators:
            if d.extents or "&" in d.mark or set(s.qualifiers) & {"__shared__", "static", "extern"} or d.form == "{":
                self.outside.add(d.name)
                continue
            variable = self.variables.setdefault(d.name, _Variable(scope))
            variable.writes.append((scope, d.init if d.form == "=" or d.init is None else t.Call(t.Name("?"), ())))
            if d.init is not None:
                self.nested_writes(d.init)

    def evaluate(self, e: t.Expr, scope: int) -> None:
        target = e.target if isinstance(e, t.Assign) else e.value if isinstance(e, t.Unary) and e.op in ("++", "--") else None
        if isinstance(target, t.Name):
            value = None if isinstance(e, t.Unary) else e.value  # type: ignore[union-attr]
            self.write(target.text, scope, value)
            if value is not None:
                self.nested_writes(value)
        else:
            self.nested_writes(e)

    def write(self, name: str, scope: int, value: t.Expr | None) -> None:
        if name in self.variables:
            self.variables[name].writes.append((scope, value))
        else:
            self.outside.add(name)

    def nested_writes(self, e: Any) -> None:
        """Assignments inside expressions are made thread by thread."""
        for n in t.walk((e,)):
            target = n.target if isinstance(n, t.Assign) else n.value if isinstance(n, t.Unary) and n.op in ("++", "--", "&") else None
            while isinstance(target, t.Member):
                target = target.value
            if isinstance(target, t.Name):
                self.outside.add(target.text)

    def inside(self, s: Any) -> None:
        """A statement without barriers runs thread by thread: what it writes is each thread's own."""
        for n in t.walk((s,)):
            if isinstance(n, t.Declare):
                self.outside |= {d.name for d in n.declarators}
        self.nested_writes(s)

    def compound(self, s: Any, scope: int) -> None:
        if isinstance(s, t.If):
            same = self.uniform(s.cond)
            self.nested_writes(s.cond)
            for arm in (s.then, s.orelse):
                self.visit(arm, scope if same else self.new_scope())
        elif isinstance(s, t.For):
            self.loop(s, scope)
        elif isinstance(s, (t.While, t.DoWhile)):
            self.visit(s.body, scope if self.uniform(s.cond) and not leaves(s.body, self) else self.new_scope())
        else:
            self.inside(s)

    def loop(self, s: t.For, scope: int) -> None:
        """A loop that all threads run alike keeps its scope: first taken for granted, and given up when a name in its head varies."""
        alike = (s.cond is None or self.uniform(s.cond)) and not leaves(s.body, self)
        inner = scope if alike else self.new_scope()
        if s.init is not None:
            self.statement(s.init, scope)
        if s.step is not None:
            for part in _parts(s.step):
                self.evaluate(part, inner)
        self.visit(s.body, inner)

    def new_scope(self) -> int:
        self.scopes += 1
        return self.scopes


def _parts(e: t.Expr) -> list[t.Expr]:
    return [*_parts(e.left), *_parts(e.right)] if isinstance(e, t.Binary) and e.op == "," else [e]


def leaves(body: t.Body, uniform: Uniform) -> bool:
    """Whether some threads may leave a loop before others: a break, continue or return under a condition that varies."""
    for s in body:
        if isinstance(s, (t.Break, t.Continue, t.Return)):
            continue
        if isinstance(s, t.If):
            escapes = any(isinstance(n, (t.Break, t.Continue, t.Return)) for n in own_escapes((*s.then, *s.orelse)))
            if escapes and not uniform.uniform(s.cond):
                return True
            if leaves(s.then, uniform) or leaves(s.orelse, uniform):
                return True
        elif isinstance(s, (t.For, t.While, t.DoWhile, t.Switch)) and own_escapes((s,)):
            return True
    return False


def own_escapes(body: t.Body) -> list[Any]:
    """Breaks, continues and returns that leave the loop around `body` (not loops inside it)."""
    out: list[Any] = []
    for s in body:
        if isinstance(s, (t.Break, t.Continue, t.Return)):
            out.append(s)
        elif isinstance(s, t.If):
            out += own_escapes((*s.then, *s.orelse))
        elif isinstance(s, t.Block):
            out += own_escapes(s.body)
        elif isinstance(s, (t.For, t.While, t.DoWhile)):
            out += [n for n in t.walk((s,)) if isinstance(n, t.Return)]
        elif isinstance(s, t.Switch):
            out += [n for _, inner in s.cases for n in own_escapes(inner) if not isinstance(n, t.Break)]
    return out
