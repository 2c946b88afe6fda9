"""Splits a body at its barriers. A lowered body comes in, a list of items goes out: regions that each thread runs by itself, and
control flow that the block runs once around them.

Where threads part ways around a barrier, every region carries the conditions (`guards`) under which a thread takes part, as written
where they can be evaluated again, else as a flag of each thread. So barriers in loops, branches and behind early returns need no
continuation: a thread that has left is a thread whose guard fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ....frontend.cuda import tree as t
from ....frontend.cuda.read import UnsupportedCuda
from .inline import assigned, returns_inside
from .sync import is_barrier
from .uniform import Uniform, leaves, own_escapes, pure


@dataclass
class Region:
    """Statements that run thread by thread, for the threads that pass all guards."""

    body: list[Any]
    guards: tuple[t.Expr, ...]


@dataclass
class Once:
    """A statement that the block runs once."""

    statement: Any


@dataclass
class Fill:
    """Every thread's flag `name` becomes `value`."""

    name: str
    value: str


@dataclass
class UntilNone:
    """Leaves the loop when no thread's flag is set."""

    flag: str


@dataclass
class Choice:
    cond: t.Expr
    then: list[Any]
    orelse: list[Any]


@dataclass
class Loop:
    """`head` is a For or While whose own body is empty; `last` is set for a do-while."""

    head: Any
    items: list[Any]
    last: bool = False


@dataclass
class Split:
    """The items and the flags that were made (booleans, one a thread)."""

    items: list[Any]
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Around:
    """The loop around a statement: `uniform`, or with a flag of the threads that still run it and one of those that skip ahead."""

    uniform: bool
    live: str = ""
    skip: str = ""


class Splitter:
    def __init__(self, uniform: Uniform, waits: Callable[[Any], bool], taken: frozenset[str], integers: frozenset[str], rewritten: frozenset[str]):
        self.uniform, self.waits = uniform, waits
        self.integers, self.rewritten = integers, rewritten
        self.taken = set(taken)
        self.flags: list[str] = []
        self.active = ""

    def run(self, body: t.Body) -> Split:
        """Raises UnsupportedCuda where threads leave a statement in a way that has no form here."""
        items: list[Any] = []
        if any(self.waits(s) for s in body) and self.returns_from_loop(body):
            self.active = self.flag("active")
            items.append(Fill(self.active, "true"))
        self.list(body, (t.Name(self.active),) if self.active else (), items, None, follows=False)
        return Split(items, self.flags)

    def returns_from_loop(self, body: t.Body) -> bool:
        """Whether a thread can return from inside a loop or branch that others go on synchronising in."""
        for s in body:
            if not self.waits(s):
                continue
            if isinstance(s, (t.For, t.While, t.DoWhile)) and any(isinstance(n, t.Return) for n in t.walk(s.body)):
                return True
            if isinstance(s, t.If) and (any(isinstance(n, t.Return) for n in t.walk((*s.then, *s.orelse)))):
                return True
        return False

    def flag(self, name: str) -> str:
        new = next(n for n in itertools.chain((name,), (f"{name}_{i}" for i in itertools.count(1))) if n not in self.taken)
        self.taken.add(new)
        self.flags.append(new)
        return new

    # --- statement lists

    def list(self, body: t.Body, guards: tuple[t.Expr, ...], items: list[Any], around: _Around | None, follows: bool) -> tuple[t.Expr, ...]:
        """Adds the items of `body`; gives the guards under which what follows runs. `follows`: barriers come after the list."""
        region = Region([], guards)

        def close() -> None:
            nonlocal region
            if any(not isinstance(s, (t.Comment, t.Pragma)) for s in region.body):
                items.append(region)
            else:
                items.extend(Once(s) for s in region.body if isinstance(s, t.Comment))
            region = Region([], guards)

        for i, s in enumerate(body):
            later = follows or any(self.waits(r) or self.ends_region(r) for r in body[i + 1 :])
            if is_barrier(s):
                close()
            elif self.waits(s):
                close()
                guards = self.compound(s, guards, items, around, later)
                region = Region([], guards)
            elif self.scalar_statement(s):
                seen = t.names((*region.body, *region_guards(region)))
                if all(isinstance(r, t.Comment) for r in region.body):
                    items.extend(Once(r) for r in region.body)
                    region.body = []
                if self.written(s) & seen or (t.names((s,)) & self.uniform.shared and stores(region.body)):
                    close()
                items.append(Once(s))
            elif own_escapes((s,)) and (later or around is not None):
                guards, done = self.escape(s, guards, items, around, region, close)
                if not done:
                    region = Region([], guards)
            else:
                region.body.append(s)
        close()
        return guards

    def ends_region(self, s: Any) -> bool:
        """A statement that the block runs once and that cannot move in front of a region."""
        return self.scalar_statement(s) and (not isinstance(s, t.Declare) or bool(t.names((s,)) & self.uniform.shared))

    def scalar_statement(self, s: Any) -> bool:
        """A declaration or assignment of what is kept once per block."""
        if isinstance(s, t.Declare):
            return s.declarators[0].name in self.uniform.scalars
        return bool(self.written(s)) and self.written(s) <= self.uniform.scalars

    @staticmethod
    def written(s: Any) -> frozenset[str]:
        """The name that a simple statement writes."""
        if isinstance(s, t.Declare):
            return frozenset(d.name for d in s.declarators)
        if isinstance(s, t.Evaluate):
            e = s.value
            target = e.target if isinstance(e, t.Assign) else e.value if isinstance(e, t.Unary) and e.op in ("++", "--") else None
            return frozenset((target.text,)) if isinstance(target, t.Name) else frozenset()
        return frozenset()

    # --- threads that leave

    def escape(self, s: Any, guards: tuple[t.Expr, ...], items: list[Any], around: _Around | None, region: Region, close: Callable[[], None]):
        """A return, break or continue in a statement without barriers. Gives the guards after it, and whether the region goes on."""
        if isinstance(s, (t.Return, t.Break, t.Continue)):
            close()
            return self.leave(s, guards, items, around), False
        if isinstance(s, t.If) and s.orelse and self.uniform.uniform(s.cond) and around is not None and around.uniform and not returns_inside((s,)):
            close()
            return self.branch(s, guards, items, around, True), False
        if not isinstance(s, t.If) or s.orelse or not isinstance(s.then[-1], (t.Return, t.Break, t.Continue)) or own_escapes(s.then[:-1]):
            return self.flagged(s, guards, region, around), True
        last = s.then[-1]
        if self.uniform.uniform(s.cond) and (isinstance(last, t.Return) <= (around is None)) and (around is None or around.uniform):
            close()
            inner: list[Any] = []
            self.list(s.then[:-1], guards, inner, around, follows=True)
            inner.append(Once(last))
            items.append(Choice(s.cond, inner, []))
            return guards, False
        if isinstance(last, t.Return) and around is None and self.stable(s.cond):
            region.body.append(s)
            close()
            return (*guards, negated(s.cond, self.integers)), False
        return self.flagged(s, guards, region, around), True

    def leave(self, s: Any, guards, items: list[Any], around: _Around | None):
        """An unconditional return, break or continue at the level of barriers."""
        if isinstance(s, t.Return) and not guards and around is None:
            items.append(Once(s))
            return guards
        if not isinstance(s, t.Return) and around is not None and around.uniform and not guards:
            items.append(Once(s))
            return guards
        flag, value = self.flag_of(s, around)
        items.append(Region([t.Evaluate(t.Assign("=", t.Name(flag), t.Literal(value)), s.line)], guards))
        return guards if t.Name(flag) in guards else (*guards, t.Name(flag) if value == "false" else t.Unary("!", t.Name(flag)))

    def flag_of(self, s: Any, around: _Around | None) -> tuple[str, str]:
        if isinstance(s, t.Return):
            if not self.active:
                raise UnsupportedCuda(f"line {s.line}: a return that later barriers do not allow for")
            return self.active, "false"
        if around is None or around.uniform:
            raise UnsupportedCuda(f"line {s.line}: some threads leave a loop that others go on with")
        return (around.live, "false") if isinstance(s, t.Break) else (around.skip, "true")

    def flagged(self, s: Any, guards: tuple[t.Expr, ...], region: Region, around: _Around | None) -> tuple[t.Expr, ...]:
        """Escapes deep in a statement set a flag; the thread then leaves the region."""
        if not self.active and any(isinstance(n, t.Return) for n in own_escapes((s,))):
            self.active = self.flag("active")
            region.body.append(t.Evaluate(t.Assign("=", t.Name(self.active), t.Literal("true"))))
            guards = (*guards, t.Name(self.active))
        region.body.append(self._flag_inside(s, around, ()))
        return guards

    def _flag_inside(self, s: Any, around: _Around | None, others: tuple[type, ...]) -> Any:
        """`others`: what leaves a loop or switch inside, and not the loop around."""

        def change(statements: t.Body, inner: tuple[type, ...]) -> t.Body:
            out: list[Any] = []
            for one in statements:
                if isinstance(one, (t.Return, t.Break, t.Continue)) and not isinstance(one, inner):
                    flag, value = self.flag_of(one, around)
                    out += [t.Evaluate(t.Assign("=", t.Name(flag), t.Literal(value)), one.line), t.Return(None, one.line)]
                else:
                    out.append(self._flag_inside(one, around, inner))
            return tuple(out)

        if isinstance(s, t.If):
            return replace(s, then=change(s.then, others), orelse=change(s.orelse, others))
        if isinstance(s, t.Block):
            return replace(s, body=change(s.body, others))
        if isinstance(s, (t.For, t.While, t.DoWhile)):
            return replace(s, body=change(s.body, (t.Break, t.Continue)))
        if isinstance(s, t.Switch):
            return replace(s, cases=tuple((label, change(inner, (*others, t.Break))) for label, inner in s.cases))
        return s

    # --- statements with barriers inside

    def compound(self, s: Any, guards: tuple[t.Expr, ...], items: list[Any], around: _Around | None, later: bool) -> tuple[t.Expr, ...]:
        if isinstance(s, t.If):
            return self.branch(s, guards, items, around, later)
        if isinstance(s, (t.For, t.While, t.DoWhile)):
            self.loop(s, guards, items)
            return guards
        raise UnsupportedCuda(f"line {s.line}: a barrier inside a {type(s).__name__.lower()} statement")

    def branch(self, s: t.If, guards: tuple[t.Expr, ...], items: list[Any], around: _Around | None, later: bool) -> tuple[t.Expr, ...]:
        if self.uniform.uniform(s.cond):
            then: list[Any] = []
            orelse: list[Any] = []
            self.list(s.then, guards, then, around, later)
            self.list(s.orelse, guards, orelse, around, later)
            items.append(Choice(s.cond, then, orelse))
            return guards
        cond = s.cond
        if not pure(cond) or t.names((cond,)) & assigned((*s.then, *s.orelse)):
            flag = self.flag("taken")
            items.append(Region([t.Evaluate(t.Assign("=", t.Name(flag), cond), s.line)], guards))
            cond = t.Name(flag)
        self.list(s.then, (*guards, cond), items, around, later)
        self.list(s.orelse, (*guards, negated(cond, self.integers)), items, around, later)
        return guards

    def stable(self, cond: t.Expr) -> bool:
        """Whether a condition can be evaluated again later: pure, and made of names that are written once."""
        return pure(cond) and not (t.names((cond,)) & self.rewritten)

    def loop(self, s: Any, guards: tuple[t.Expr, ...], items: list[Any]) -> None:
        if self.alike(s):
            inner: list[Any] = []
            self.list(s.body, guards, inner, _Around(True), follows=True)
            items.append(Loop(_headless(s), inner, isinstance(s, t.DoWhile)))
        else:
            self.parting(s, guards, items)

    def alike(self, s: Any) -> bool:
        if s.cond is not None and not self.uniform.uniform(s.cond):
            return False
        if isinstance(s, t.For):
            declared = s.init.declarators[0].name if isinstance(s.init, t.Declare) else ""
            written = {declared} if declared else set(self.written(s.init)) if s.init is not None else set()
            stepped = assigned((s.step,)) if s.step is not None else frozenset()
            if not (written | stepped) <= self.uniform.scalars:
                return False
        return not leaves(s.body, self.uniform)

    def parting(self, s: Any, guards: tuple[t.Expr, ...], items: list[Any]) -> None:
        """A loop that threads leave one by one: it runs until no thread is left, each region for those that are still in it."""
        live, skip = self.flag("live"), ""
        if any(isinstance(n, t.Continue) for n in own_escapes(s.body)):
            skip = self.flag("skip")
        items.append(Fill(live, "false"))
        begin = [s.init] if isinstance(s, t.For) and s.init is not None else []
        items.append(Region([*begin, t.Evaluate(t.Assign("=", t.Name(live), t.Literal("true")), s.line)], guards))
        inside: list[Any] = []
        still = (*guards, t.Name(live))
        check = Region([t.Evaluate(t.Assign("=", t.Name(live), s.cond), s.line)], still) if s.cond is not None else None
        if self.active:
            inside.append(Region([t.Evaluate(t.Assign("=", t.Name(live), t.Literal("false")), s.line)], (t.Unary("!", t.Name(self.active)), t.Name(live))))
        if check is not None and not isinstance(s, t.DoWhile):
            inside.append(check)
        inside.append(UntilNone(live))
        if skip:
            inside.append(Fill(skip, "false"))
        working = (*still, t.Unary("!", t.Name(skip))) if skip else still
        self.list(s.body, working, inside, _Around(False, live, skip), follows=True)
        if isinstance(s, t.For) and s.step is not None:
            inside.append(Region([t.Evaluate(s.step, s.line)], still))
        if check is not None and isinstance(s, t.DoWhile):
            inside.append(check)
        items.append(Loop(t.While(t.Literal("true"), (), s.line), inside))


def stores(body: list[Any]) -> bool:
    """Whether memory may change in it."""
    return any(isinstance(n, t.Call) or (isinstance(n, t.Assign) and not isinstance(n.target, t.Name)) for n in t.walk(tuple(body)))


def region_guards(region: Region) -> tuple[t.Stmt, ...]:
    return tuple(t.Evaluate(g) for g in region.guards)


def _headless(s: Any) -> Any:
    return replace(s, body=())


_OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}


def negated(e: t.Expr, integers: frozenset[str] = frozenset()) -> t.Expr:
    """`!e`; comparisons of whole numbers are turned round (with floats a NaN would pass both)."""
    if isinstance(e, t.Unary) and e.op == "!":
        return e.value
    if isinstance(e, t.Binary) and e.op in _OPPOSITE and _whole(e, integers):
        return t.Binary(_OPPOSITE[e.op], e.left, e.right)
    if isinstance(e, t.Binary) and e.op in ("||", "&&"):
        return t.Binary("&&" if e.op == "||" else "||", negated(e.left, integers), negated(e.right, integers))
    return t.Unary("!", e)


def _whole(e: t.Expr, integers: frozenset[str]) -> bool:
    for n in t.walk((e,)):
        if isinstance(n, (t.Call, t.Index, t.Opaque)) or (isinstance(n, t.Literal) and not n.text.rstrip("uUlL").isdigit()):
            return False
        if isinstance(n, t.Name) and n.text not in integers:
            return False
    return True
