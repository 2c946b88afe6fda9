"""Functions that synchronise, written out where they are called. A kernel's body comes in, one without such calls goes out.

A region can only end in the kernel's own text: a `__device__` function with a barrier or a shuffle has to become part of it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ....frontend.cuda import tree as t
from ....frontend.cuda.lambdas import as_text, declared
from ....frontend.cuda.read import UnsupportedCuda
from . import spelling
from .fold import decided, fold
from .sync import Synchronising
from .types import declared_type, plain, returns_of, type_of

_DEEPEST = 12


class Inliner:
    def __init__(self, file: t.CudaFile, sync: Synchronising):
        self.file, self.sync = file, sync
        self.returns = returns_of(file)
        self.declared: dict[str, str] = {}
        self.taken: set[str] = set()
        self.lambdas: dict[str, t.Function] = {}  # those that are written out where they are called, by the variable's name
        self.waits = False
        self.changed: frozenset[str] = frozenset()

    def expand(self, kernel: t.Function, body: t.Body) -> t.Body:
        """`body` with every synchronising function inlined. Raises UnsupportedCuda."""
        self.declared = {p.name: plain(p.type) + "*" * (p.mark.count("*") + len(p.extents)) for p in kernel.params}
        self.taken = {p.name for p in kernel.params} | set(t.names(body))
        self.waits = self.sync.waits(body)
        self.changed = assigned(body)
        made = self.body(body, 0)
        return as_text(made, frozenset((*(p.name for p in kernel.params), *declared(made))))

    def body(self, body: t.Body, depth: int) -> t.Body:
        out: list[t.Stmt] = []
        for s in body:
            if isinstance(s, t.Declare):
                for d in s.declarators:
                    self.declared[d.name] = self.known_type(s, d)
                    self.taken.add(d.name)
            out += self.statement(s, depth)
        return tuple(out)

    def known_type(self, s: t.Declare, d: t.Declarator) -> str:
        if s.type == "auto" and d.init is not None and not d.extents:
            return type_of(d.init, self.declared, self.returns)
        return declared_type(s, d)

    def statement(self, s: Any, depth: int) -> list[t.Stmt]:
        if isinstance(s, t.Declare) and isinstance(s.declarators[0].init, t.Lambda) and self.learn(s.declarators[0].name, s.declarators[0].init, s.line):
            return []
        if not self.calls_sync(s):
            self.note(s)
            return [s]
        if depth > _DEEPEST:
            raise UnsupportedCuda(f"line {s.line}: a function that synchronises calls itself")
        if isinstance(s, (t.For, t.While, t.DoWhile)):
            return [self.loop(s, depth)]
        if isinstance(s, t.Block):
            return [replace(s, body=self.body(s.body, depth))]
        if isinstance(s, t.If) and s.constexpr and (holds := decided(s.cond)) is not None:
            return list(self.body(s.then if holds else s.orelse, depth))
        if isinstance(s, t.If):
            ahead, cond = self.pulled(s.cond, s.line, depth)
            return [*ahead, replace(s, cond=cond, then=self.body(s.then, depth), orelse=self.body(s.orelse, depth))]
        if isinstance(s, t.Evaluate) and self.inlinable(s.value):
            return list(self.inlined(s.value, None, s.line, depth))  # type: ignore[arg-type]
        if isinstance(s, t.Declare):
            d = s.declarators[0]
            ahead, init = self.pulled(d.init, s.line, depth)
            return [*ahead, replace(s, declarators=(replace(d, init=init),))]
        if isinstance(s, (t.Evaluate, t.Return)):
            ahead, value = self.pulled(s.value, s.line, depth)
            return [*ahead, replace(s, value=value)]
        raise UnsupportedCuda(f"line {s.line}: a synchronising function is called in a {type(s).__name__.lower()}")

    def note(self, s: Any) -> None:
        for n in t.walk((s,)):
            if isinstance(n, t.Declare):
                for d in n.declarators:
                    self.declared[d.name] = declared_type(n, d)
                    self.taken.add(d.name)

    def loop(self, s: Any, depth: int) -> t.Stmt:
        s = replace(s, cond=self.flat(s.cond, s.line), **({"step": self.flat(s.step, s.line)} if isinstance(s, t.For) else {}))
        heads = [e for e in ((s.cond, s.step, s.init) if isinstance(s, t.For) else (s.cond,)) if e is not None]
        if any(self.calls_sync(e) for e in heads):
            raise UnsupportedCuda(f"line {s.line}: a synchronising function is called in the head of a loop")
        if isinstance(s, t.For) and s.init is not None:
            self.note(s.init)
        return replace(s, body=self.body(s.body, depth))

    def calls_sync(self, node: Any) -> bool:
        return any(self.inlinable(n) or (isinstance(n, t.Lambda) and (self.waits or self.must(n))) for n in t.walk((node,)))

    def inlinable(self, n: Any) -> bool:
        """A call of a function that synchronises or asks for its place, of a lambda, or of a function that is given a lambda."""
        if not isinstance(n, t.Call):
            return False
        if isinstance(n.function, t.Lambda):
            return self.waits or self.must(n.function)
        name = t.called(n)
        if name in self.sync.functions or name in self.lambdas:
            return True
        given = any((isinstance(a, t.Lambda) and (self.waits or self.must(a))) or (isinstance(a, t.Name) and a.text in self.lambdas) for a in n.args)
        return given and (f := self.file.function(name)) is not None and f.kind == "device"

    def learn(self, name: str, e: t.Lambda, line: int) -> bool:
        """Whether a lambda will be written out where it is called: one that synchronises, asks for its place or changes what is around it must
        be, and in a kernel that waits all are, since what they capture can be a thread's element of an array."""
        must, why = self.must(e), self.refusal(e)
        if must and why:
            raise UnsupportedCuda(f"line {line}: lambda {name} synchronises, asks for its place or changes what is around it, and {why}")
        if why or not (must or self.waits):
            return False
        self.lambdas[name] = _function(name, e, line)
        return True

    def must(self, e: t.Lambda) -> bool:
        own = {p.name for p in e.params} | set(declared(e.body))
        return self.calls_sync(t.Block(e.body)) or self.sync.waits(e.body) or asks(e.body) or bool(assigned(e.body) - own)

    def refusal(self, e: t.Lambda) -> str:
        """Why a lambda cannot be written out; "" where it can."""
        own = {p.name for p in e.params} | set(declared(e.body))
        kept = {c.strip() for c in e.captures.split(",")}
        outside = t.names(e.body) - own
        copies = outside if "=" in kept else outside & kept
        if copies & self.changed - {c[1:].strip() for c in kept if c.startswith("&")}:
            return f"it keeps a copy of {min(copies & self.changed)}, which changes"
        try:
            tail(e.body, "result", 0)
        except UnsupportedCuda:
            return "it returns inside a loop"
        return ""

    def pulled(self, e: Any, line: int, depth: int) -> tuple[list[t.Stmt], Any]:
        """Calls inside an expression move in front of it, their results into variables."""
        ahead: list[t.Stmt] = []
        if lazily(e, self.inlinable):
            e = self.flat(e, line)
        if lazily(e, self.inlinable):
            raise UnsupportedCuda(f"line {line}: a synchronising function is called under `&&`, `||` or `?:`")

        def change(n: Any) -> Any:
            if not self.inlinable(n):
                return n
            if t.called(n) in self.lambdas and (value := self.value_of(n, line)) is not n:
                return value
            result = self.fresh(t.called(n))
            ahead.extend(self.inlined(n, result, line, depth))
            return t.Name(result)

        return ahead, t.rewrite(e, change)

    def flat(self, e: Any, line: int) -> Any:
        """Calls of functions that are one expression, as that expression: it is evaluated where the call was."""
        return t.rewrite(e, lambda n: self.value_of(n, line) if self.inlinable(n) else n)

    def value_of(self, call: t.Call, line: int) -> t.Expr:
        f = self.function(call, line)
        body = tuple(s for s in f.body if not isinstance(s, t.Comment))
        if len(body) != 1 or not isinstance(body[0], t.Return) or body[0].value is None or len(call.args) != len(f.params) or any(p.is_pack for p in f.params) or self.sync.waits(body):
            return call
        types = self.template_arguments(f, call)
        value = spelling.respell(retyped(body[0].value, types))
        uses = [n.text for n in t.walk((value,)) if isinstance(n, t.Name)]
        env: dict[str, t.Expr] = {}
        for p, arg in zip(f.params, call.args):
            wanted = plain(_retype(p.type, types))
            if p.name in assigned((value,)) or (uses.count(p.name) > 1 and not isinstance(arg, (t.Name, t.Literal))):
                return call
            same = "&" in p.mark or p.is_pointer or wanted in ("auto", type_of(arg, self.declared, self.returns))
            env[p.name] = arg if same else t.Cast(wanted, arg)
        returns = plain(_retype(f.returns, types))
        made = t.substitute(value, env)
        return made if returns == "auto" else t.Cast(returns, made)

    def fresh(self, name: str) -> str:
        name = re.sub(r"\W", "_", name)
        new = t.unused(name, self.taken)
        self.taken.add(new)
        return new

    def function(self, call: t.Call, line: int) -> t.Function:
        if isinstance(call.function, t.Lambda):
            if why := self.refusal(call.function):
                raise UnsupportedCuda(f"line {line}: a lambda is called where it stands, and {why}")
            return _function("called", call.function, line)
        function = self.lambdas.get(t.called(call)) or self.file.function(t.called(call))
        assert function is not None
        return function

    def inlined(self, call: t.Call, result: str | None, line: int, depth: int) -> t.Body:
        """The statements that stand for a call; `result` receives what it returns."""
        function = self.function(call, line)
        types = self.template_arguments(function, call)
        body = spelling.respell(retyped(function.body, types))
        ahead, env = self.bound(function, call, types, body, line)
        locals_ = {d.name for n in t.walk(body) if isinstance(n, t.Declare) for d in n.declarators}
        env |= {name: t.Name(self.fresh(name)) for name in sorted(locals_)}
        body = renamed(body, env)
        self.changed |= assigned(body)
        returns = plain(_retype(function.returns, types))
        if result is not None and returns == "auto":
            returns = self.returned(body, line)
        if result is not None:
            self.declared[result] = returns
            ahead.append(t.Declare(returns, (t.Declarator(result),), (), line))
        body = tail(body, result, line)
        single = tuple(x for s in body for x in _one_each(s))
        return (*ahead, *self.body(single, depth + 1))

    def returned(self, body: t.Body, line: int) -> str:
        """The type of what a function without one gives."""
        for n in t.walk(body):
            if isinstance(n, t.Declare):
                self.declared |= {d.name: self.known_type(n, d) for d in n.declarators}
        for n in t.walk(body):
            if isinstance(n, t.Return) and n.value is not None and (type_ := type_of(n.value, self.declared, self.returns)):
                return type_
        raise UnsupportedCuda(f"line {line}: the type that a lambda gives cannot be told", hint="write it: `-> float`")

    def bound(self, f: t.Function, call: t.Call, types: dict[str, str], body: t.Body, line: int) -> tuple[list[t.Stmt], dict[str, t.Expr]]:
        """Parameters: names and literals take the parameter's place, other values a variable of its name."""
        ahead: list[t.Stmt] = []
        env: dict[str, t.Expr] = {}
        if any(p.is_pack for p in f.params):
            raise UnsupportedCuda(f"line {line}: {f.name} synchronises and takes any number of arguments", hint="write out the functions that it stands for")
        args = [*call.args, *(t.Opaque((p.default,)) for p in f.params[len(call.args) :] if p.default)]
        if len(args) != len(f.params):
            raise UnsupportedCuda(f"line {line}: {f.name} takes {len(f.params)} arguments, {len(call.args)} are given")
        changed = assigned(body)
        through = {arg.text for p, arg in zip(f.params, args) if "&" in p.mark and p.name in changed and isinstance(arg, t.Name)}
        under_way = (changed - {p.name for p in f.params}) | through  # what changes around the body while it runs
        for p, arg in zip(f.params, args):
            if isinstance(arg, t.Lambda):
                name = self.fresh(p.name)
                if why := self.refusal(arg):
                    raise UnsupportedCuda(f"line {line}: a lambda is given to {f.name}, and {why}")
                self.lambdas[name] = _function(name, arg, line)
                env[p.name] = t.Name(name)
                continue
            reference = "&" in p.mark
            simple = isinstance(arg, t.Literal) or (isinstance(arg, t.Name) and arg.text not in under_way)
            if reference or (simple and p.name not in changed and "volatile" not in p.type.split()):
                env[p.name] = arg
                continue
            name = self.fresh(p.name)
            type_ = _retype(p.type, types)
            mark = re.sub(r"__restrict__|__restrict|const", "", p.mark).strip()
            env[p.name] = t.Name(name)
            known = type_of(arg, self.declared, self.returns) if "auto" in type_.split() else plain(type_)
            self.declared[name] = known + "*" * (p.mark.count("*") + len(p.extents))
            mark = mark or "*" * len(p.extents)
            kept = () if p.name in changed or mark else ("const",)
            words = [w for w in type_.split() if w != "const"] if not mark else type_.split()
            ahead.append(t.Declare(" ".join(words), (t.Declarator(name, mark, (), arg),), kept, line))
        return ahead, env

    def template_arguments(self, f: t.Function, call: t.Call) -> dict[str, str]:
        """Template parameters by name: what the call names, else what its arguments' types tell, else the default."""
        given = split_arguments(call.function.text.partition("<")[2].rstrip().removesuffix(">")) if isinstance(call.function, t.Name) else []
        found = {name: _number(text) for name, text in zip(f.template_names, given)}
        for name, parameter in zip(f.template_names, f.template):
            if name in found:
                continue
            deduced = self.deduced(f, name, call)
            if not deduced and "=" in parameter:
                deduced = parameter.split("=", 1)[1].strip()
            if not deduced:
                raise UnsupportedCuda(f"line {f.line}: template argument {name} of {f.name} cannot be told")
            found[name] = deduced
        return found

    def deduced(self, f: t.Function, name: str, call: t.Call) -> str:
        for p, arg in zip(f.params, call.args):
            if name not in p.type.split():
                if inside := self.told(f, p, name, arg):
                    return inside
                continue
            if isinstance(arg, t.Lambda) or (isinstance(arg, t.Name) and arg.text in self.lambdas):
                return "auto"
            type_ = type_of(arg, self.declared, self.returns)
            for _ in range(p.mark.count("*") + len(p.extents)):
                type_ = type_.removesuffix("*").strip()
            if type_:
                return type_
        return ""


    def told(self, f: t.Function, p: t.Param, name: str, arg: t.Expr) -> str:
        """What an argument's type says of a parameter's template argument: T of `const Pair<T, 2>& p` for a `Pair<float, 2>`."""
        pattern = re.escape(_close(p.type))
        if not re.search(rf"<.*\b{name}\b", pattern):
            return ""
        for other in f.template_names:
            pattern = re.sub(rf"\b{other}\b", "(?P<it>.+)" if other == name else ".+", pattern, count=1 if other == name else 0)
        found = re.fullmatch(pattern, _close(type_of(arg, self.declared, self.returns)))
        return found["it"] if found else ""


def _close(type_: str) -> str:
    """A type's text with no room around brackets and commas."""
    return re.sub(r"\s*([<>,])\s*", r"\1", plain(type_))


_ARITHMETIC = re.compile(r"\(*\s*(\d+)\s*([-+*/%]|>>|<<)\s*(\d+)\s*\)*")


def _number(argument: str) -> str:
    """A template argument, worked out where it is one operation on numbers: functions that call themselves count down so."""
    found = _ARITHMETIC.fullmatch(argument.strip())
    value = fold(t.Binary(found[2], t.Literal(found[1]), t.Literal(found[3]))) if found else None
    return value.text if isinstance(value, t.Literal) else argument


def _function(name: str, e: t.Lambda, line: int) -> t.Function:
    return t.Function(name, "device", e.returns or "auto", e.params, e.body, line=line)


def asks(body: t.Body) -> bool:
    """Whether a body asks where its thread is."""
    return not t.names(body).isdisjoint(("threadIdx", "blockIdx", "blockDim", "gridDim"))


def _one_each(s: Any) -> list[Any]:
    from .prepare import single

    return list(single((s,)))


def lazily(e: Any, wanted: Any) -> bool:
    """Whether a call is evaluated for some threads only: under `?:` or to the right of `&&` and `||`."""
    for n in t.walk((e,)):
        if isinstance(n, t.Conditional):
            parts: tuple[Any, ...] = (n.then, n.orelse)
        elif isinstance(n, t.Binary) and n.op in ("&&", "||"):
            parts = (n.right,)
        else:
            continue
        if any(wanted(m) for m in t.walk(parts)):
            return True
    return False


def split_arguments(text: str) -> list[str]:
    """Template arguments, split at the commas of the outermost level."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "<(") - (c in ">)")
        if c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


def assigned(body: Any) -> frozenset[str]:
    """Names that are assigned, stepped, or whose address is taken."""
    out = set()
    for n in t.walk(body):
        if isinstance(n, t.Assign) and isinstance(n.target, t.Name):
            out.add(n.target.text)
        elif isinstance(n, t.Assign):
            out |= _member_root(n.target)
        elif isinstance(n, t.Unary) and n.op in ("++", "--", "&") and isinstance(n.value, t.Name):
            out.add(n.value.text)
    return frozenset(out)


def _member_root(e: t.Expr) -> set[str]:
    """`v` of `v.x = ...`."""
    while isinstance(e, t.Member) and e.op == ".":
        e = e.value
        if isinstance(e, t.Name):
            return {e.text}
    return set()


def renamed(body: Any, env: dict[str, t.Expr]) -> Any:
    """Renames declarations and uses."""

    def change(n: Any) -> Any:
        if isinstance(n, t.Declare):
            return replace(n, declarators=tuple(replace(d, name=_text(env.get(d.name), d.name)) for d in n.declarators))
        return env.get(n.text, n) if isinstance(n, t.Name) else n

    return t.rewrite(body, change)


def _text(e: t.Expr | None, name: str) -> str:
    return e.text if isinstance(e, t.Name) else name


def _retype(type_: str, types: dict[str, str]) -> str:
    for name, value in types.items():
        type_ = re.sub(rf"\b{re.escape(name)}\b", lambda _, v=value: v, type_)
    return type_


def retyped(body: Any, types: dict[str, str]) -> Any:
    """Template parameters replaced, in types and in expressions."""
    if not types:
        return body

    def change(n: Any) -> Any:
        if isinstance(n, (t.Declare, t.Cast)):
            return replace(n, type=_retype(n.type, types))
        if isinstance(n, t.Name):
            text = _retype(n.text, types)
            return n if text == n.text else t.Literal(text) if text[:1].isdigit() else t.Name(text)
        if isinstance(n, t.Opaque):
            return t.Opaque(tuple(_retype(p, types) if isinstance(p, str) else p for p in n.parts))
        return n

    return t.rewrite(body, change)


def tail(body: t.Body, result: str | None, line: int) -> t.Body:
    """`return e` at the end of every path becomes `result = e`; what follows an early return moves into its else."""
    for i, s in enumerate(body):
        rest = body[i + 1 :]
        if isinstance(s, t.Return):
            return (*body[:i], *_result(s, result))
        if isinstance(s, t.If) and returns_inside((s,)):
            then = s.then if ends(s.then) else (*s.then, *rest)
            orelse = s.orelse if s.orelse and ends(s.orelse) else (*s.orelse, *rest)
            return (*body[:i], replace(s, then=tail(then, result, line), orelse=tail(orelse, result, line)))
        if returns_inside((s,)):
            return (*body[:i], *_left(s, rest, result, line))
    return body


def _left(s: Any, rest: t.Body, result: str | None, line: int) -> t.Body:
    """A loop that returns: it notes so and ends, and what follows is done where it has not."""
    nested = [n for n in t.walk(s.body) if isinstance(n, (t.For, t.While, t.DoWhile, t.Switch))] if isinstance(s, (t.For, t.While, t.DoWhile)) else [s]
    if any(returns_inside((n,)) for n in nested):
        raise UnsupportedCuda(f"line {s.line}: a return inside two loops, or a switch, of a function that synchronises")
    flag = f"{result or 'function'}_done"

    def change(n: Any) -> Any:
        return (*_result(n, result), t.Evaluate(t.Assign("=", t.Name(flag), t.Literal("true")), n.line), t.Break(n.line)) if isinstance(n, t.Return) else n

    told = t.Declare("bool", (t.Declarator(flag, init=t.Literal("false")),), (), s.line)
    after = tail(rest, result, line)
    return (told, replace(s, body=t.rewrite(s.body, change)), *((t.If(t.Unary("!", t.Name(flag)), after, (), s.line),) if after else ()))


def _result(s: t.Return, result: str | None) -> t.Body:
    if s.value is None:
        return ()
    return (t.Evaluate(t.Assign("=", t.Name(result), s.value) if result is not None else s.value, s.line),)


def returns_inside(body: Any) -> bool:
    return any(isinstance(n, t.Return) for n in t.walk(body))


def ends(body: t.Body) -> bool:
    """Whether every path through `body` returns."""
    last = next((s for s in reversed(body) if not isinstance(s, t.Comment)), None)
    if isinstance(last, t.If):
        return bool(last.orelse) and ends(last.then) and ends(last.orelse)
    return isinstance(last, t.Return)
