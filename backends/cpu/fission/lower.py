"""Exchanges between threads as stores, barriers and loads. A prepared body comes in; what goes out synchronises by barriers alone.

`v += __shfl_down_sync(m, v, o)`  ->  `float sent = v; barrier; v += @shfl_down(sent, o);`

The names that begin with `@` read an exchange array at another thread's place; `assemble` writes them as such. Stores to volatile
memory, by which the threads of a warp see one another, are lowered in the same way: all load, then all store.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ....frontend.cuda import tree as t
from ....frontend.cuda.read import UnsupportedCuda
from .inline import lazily
from .spelling import pointee
from .sync import COLLECTIVES, COUNTS, MATCHES, SHUFFLES, UNSUPPORTED, VOTES, WARP_REDUCTIONS
from .types import declared_type, plain, type_of
from .uniform import pure

BARRIER = t.Evaluate(t.Call(t.Name("__syncwarp"), ()))


@dataclass
class Lowered:
    """The body; `sent`: exchange arrays, each with its type and what inactive threads count as (None: nothing to fill)."""

    body: t.Body
    sent: dict[str, tuple[str, str | None]] = field(default_factory=dict)


# What inactive threads count as; the type takes the place of {}.
_IDLE = {"add": "0", "or": "0", "xor": "0", "and": "{}(-1)", "mul": "{}(1)", "max": "std::numeric_limits<{}>::lowest()", "min": "std::numeric_limits<{}>::max()"}


class Lowering:
    def __init__(self, kernel: t.Function, returns: dict[str, str]):
        self.returns = returns
        self.declared = {p.name: plain(p.type) + "*" * (p.mark.count("*") + len(p.extents)) for p in kernel.params}
        self.volatile = {p.name for p in kernel.params if "volatile" in p.type.split()}
        self.taken = {p.name for p in kernel.params} | set(t.names(kernel.body))
        self.sent: dict[str, tuple[str, str | None]] = {}
        for n in t.walk(kernel.body):
            if isinstance(n, t.Declare):
                for d in n.declarators:
                    self.declared[d.name] = declared_type(n, d)
                    self.taken.add(d.name)
                    if "volatile" in (*n.qualifiers, *n.type.split()):
                        self.volatile.add(d.name)

    def lower(self, body: t.Body) -> Lowered:
        """Raises UnsupportedCuda for what has no such form."""
        return Lowered(self.body(body), self.sent)

    def body(self, body: t.Body) -> t.Body:
        made = [x for s in body for x in self.statement(s)]
        return tuple(x for i, x in enumerate(made) if not (x is BARRIER and i and made[i - 1] is BARRIER))

    def exchanges(self, node: Any) -> bool:
        return any(self.is_exchange(n) or self.volatile_store(n) for n in t.walk((node,)))

    @staticmethod
    def is_exchange(n: Any) -> bool:
        return isinstance(n, t.Call) and (t.called(n) in COLLECTIVES or t.called(n) in UNSUPPORTED)

    def volatile_store(self, n: Any) -> bool:
        if not isinstance(n, t.Assign) or not isinstance(n.target, t.Index):
            return False
        base = n.target.base
        return (isinstance(base, t.Name) and base.text in self.volatile) or (isinstance(base, t.Cast) and "volatile" in base.type.split())

    def statement(self, s: Any) -> list[t.Stmt]:
        if not self.exchanges(s):
            return [s]
        if isinstance(s, t.If):
            ahead, cond = self.pulled(s.cond, s.line)
            return [*ahead, replace(s, cond=cond, then=self.body(s.then), orelse=self.body(s.orelse))]
        if isinstance(s, (t.For, t.While)):
            return self.loop(s)
        if isinstance(s, t.DoWhile) and not self.exchanges(s.cond):
            return [replace(s, body=self.body(s.body))]
        if isinstance(s, t.Block):
            return [replace(s, body=self.body(s.body))]
        if isinstance(s, t.Declare):
            d = s.declarators[0]
            ahead, init = self.pulled(d.init, s.line)
            return [*ahead, replace(s, declarators=(replace(d, init=init),))]
        if isinstance(s, t.Evaluate):
            ahead, value = self.pulled(s.value, s.line)
            return [*ahead, *self.stored(replace(s, value=value))]
        raise UnsupportedCuda(f"line {s.line}: threads exchange values in a {type(s).__name__.lower()} statement")

    def loop(self, s: t.For | t.While) -> list[t.Stmt]:
        step = s.step if isinstance(s, t.For) else None
        if step is not None and self.exchanges(step):
            raise UnsupportedCuda(f"line {s.line}: threads exchange values in the step of a loop")
        if s.cond is None or not self.exchanges(s.cond):
            return [replace(s, body=self.body(s.body))]
        if isinstance(s, t.For):
            raise UnsupportedCuda(f"line {s.line}: threads exchange values in the condition of a `for`")
        ahead, cond = self.pulled(s.cond, s.line)
        leave = t.If(t.Unary("!", cond), (t.Break(s.line),), (), s.line)
        return [replace(s, cond=t.Literal("true"), body=(*ahead, leave, *self.body(s.body)))]

    def stored(self, s: t.Evaluate) -> list[t.Stmt]:
        """`s[i] += e` on volatile memory: everyone sees what was stored before, computes, then stores."""
        if not self.volatile_store(s.value):
            return [s]
        store = s.value
        assert isinstance(store, t.Assign)
        value = store.value if store.op == "=" else t.Binary(store.op[:-1], store.target, store.value)
        type_ = type_of(store.target, self.declared, self.returns)
        if not type_:
            raise UnsupportedCuda(f"line {s.line}: the type of a volatile element cannot be told")
        name = self.fresh("stored")
        keep = t.Declare(type_, (t.Declarator(name, init=value),), (), s.line)
        return [BARRIER, keep, BARRIER, t.Evaluate(t.Assign("=", store.target, t.Name(name)), s.line), BARRIER]

    def pulled(self, e: Any, line: int) -> tuple[list[t.Stmt], Any]:
        """Exchanges inside an expression: their values are sent in front of it."""
        if e is None or not any(self.is_exchange(n) for n in t.walk((e,))):
            return [], e
        if lazily(e, lambda n: self.is_exchange(n) and not _anywhere(n)):
            raise UnsupportedCuda(f"line {line}: threads exchange values under `&&`, `||` or `?:`")
        ahead: list[t.Stmt] = []
        return ahead, t.rewrite(e, lambda n: self.exchange(n, ahead, line) if self.is_exchange(n) else n)

    def exchange(self, call: t.Call, ahead: list[t.Stmt], line: int) -> t.Expr:
        name = t.called(call)
        if name in UNSUPPORTED:
            raise UnsupportedCuda(f"line {line}: no rule for {UNSUPPORTED[name]}")
        masked = name.endswith("_sync") or name == "__activemask"
        args = call.args[1:] if masked and call.args else call.args
        if name in SHUFFLES:
            sent = self.send(args[0], None, ahead, line)
            return t.Call(t.Name(f"@{SHUFFLES[name]}"), (t.Name(sent), *args[1:]))
        if name in COUNTS:
            kind = COUNTS[name]
            sent = self.send(t.Binary("!=", args[0], t.Literal("0")), "true" if kind == "all" else "false", ahead, line)
            return t.Call(t.Name(f"@block_{kind}"), (t.Name(sent),))
        if name in VOTES:
            kind = VOTES[name]
            value = t.Binary("!=", args[0], t.Literal("0")) if args else t.Literal("true")
            sent = self.send(value, "true" if kind == "all" else "false", ahead, line)
            return t.Call(t.Name(f"@warp_{'ballot' if kind == 'active' else kind}"), (t.Name(sent),))
        if name in MATCHES:
            return self.matched(MATCHES[name], args, ahead, line)
        kind = WARP_REDUCTIONS[name]
        type_ = type_of(args[0], self.declared, self.returns)
        sent = self.send(args[0], _IDLE[kind].format(type_), ahead, line)
        return t.Call(t.Name(f"@warp_{kind}"), (t.Name(sent), *args[1:]))

    def matched(self, kind: str, args: tuple[t.Expr, ...], ahead: list[t.Stmt], line: int) -> t.Expr:
        """The lanes that send the same value, among those that take part; whether all do, where the call asks for it."""
        sent = self.send(args[0], None, ahead, line)
        ahead.pop()
        there = self.send(t.Literal("true"), "false", ahead, line)
        lanes = t.Call(t.Name(f"@warp_{kind}"), (t.Name(sent), t.Name(there)))
        if len(args) == 1:
            return lanes
        name = self.fresh("same")
        self.declared[name] = "unsigned"
        told = t.Assign("=", pointee(args[1]), t.Binary("!=", t.Name(name), t.Literal("0")))
        ahead += [t.Declare("unsigned", (t.Declarator(name, init=lanes),), (), line), t.Evaluate(told, line)]
        return t.Name(name)

    def send(self, value: t.Expr, idle: str | None, ahead: list[t.Stmt], line: int) -> str:
        type_ = "bool" if idle in ("true", "false") else type_of(value, self.declared, self.returns)
        if not type_:
            raise UnsupportedCuda(f"line {line}: the type of a value that threads exchange cannot be told")
        base = value.text if isinstance(value, t.Name) and not value.text.startswith("sent") else "value"
        name = self.fresh(f"sent_{base}" if base != "value" else "sent")
        self.declared[name] = type_
        self.sent[name] = (type_, idle)
        ahead += [t.Declare(type_, (t.Declarator(name, init=value),), (), line), BARRIER]
        return name

    def fresh(self, name: str) -> str:
        new = t.unused(name, self.taken)
        self.taken.add(new)
        return new


def _anywhere(call: t.Call) -> bool:
    """Whether an exchange can be made by threads whose condition does not want it: a shuffle of values that take no loads. The threads that
    read it all want it, or the program asks lanes that are not there."""
    return t.called(call) in SHUFFLES and all(pure(a) for a in call.args)
