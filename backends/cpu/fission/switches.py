"""Switches in which threads wait, as conditions. A function's body with names of their own comes in, one without such switches goes out.

`switch (v) { case 1: A; case 2: B; break; default: C; }`  ->  `chosen = v; if (chosen == 1 || chosen == 2) { if (chosen == 1) { A } B } else { C }`

Nothing is written twice, so a barrier that cases fall through to stays one barrier.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace
from functools import reduce
from typing import Any

from ....frontend.cuda import tree as t
from ....frontend.cuda.lambdas import declared
from .inline import returns_inside
from .types import declared_type, plain, returns_of, type_of

_Entry = tuple[t.Expr | None, t.Body]


def without_switches(file: t.CudaFile, waits: Callable[[Any], bool], functions: Container[str]) -> t.CudaFile:
    """The file with such switches of `functions` and their lambdas written out: those that hold what `waits` or calls a lambda, and in what has
    to be written out itself (`Inliner`) those that return."""
    made = [_rewritten(f, file, waits) if f.name in functions and _has_switch(f.body) else f for f in file.functions]
    return replace(file, functions=tuple(made))


def of_kernel(kernel: t.Function, file: t.CudaFile, waits: Callable[[Any], bool]) -> t.Body:
    """The kernel's body without them."""
    return _rewritten(kernel, file, waits).body if _has_switch(kernel.body) else kernel.body


def _has_switch(body: t.Body) -> bool:
    return any(isinstance(n, t.Switch) for n in t.walk(body))


def _rewritten(function: t.Function, file: t.CudaFile, waits: Callable[[Any], bool]) -> t.Function:
    known = {p.name: plain(p.type) + "*" * (p.mark.count("*") + len(p.extents)) for p in function.params}
    lambdas = set()
    for n in t.walk(function.body):
        if isinstance(n, t.Declare):
            known |= {d.name: declared_type(n, d) for d in n.declarators}
            lambdas |= {d.name for d in n.declarators if isinstance(d.init, t.Lambda)}
    taken = {p.name for p in function.params} | t.names(function.body) | set(declared(function.body))
    returns = returns_of(file)

    def meets(s: Any, returning: bool) -> bool:
        found = any(isinstance(n, t.Lambda) or (isinstance(n, t.Name) and n.text in lambdas) for n in t.walk((s,)))
        return found or waits((s,)) or (returning and returns_inside((s,)))

    def opened(body: t.Body, returning: bool) -> t.Body:
        def change(n: Any) -> Any:
            if isinstance(n, t.Lambda) and not returning and waits(function.body):
                return replace(n, body=opened(n.body, True))
            if not isinstance(n, t.Switch) or not any(meets(s, returning) for _, inner in n.cases for s in inner):
                return n
            return _Conditions(n, type_of(n.value, known, returns) or "auto", taken).made()

        return t.rewrite(body, change)

    return replace(function, body=opened(function.body, function.kind == "device"))


class _Conditions:
    def __init__(self, switch: t.Switch, type_: str, taken: set[str]):
        self.switch, self.type, self.taken = switch, type_, taken
        self.line = switch.line
        self.chosen = t.Name(self.fresh("chosen"))
        self.left = ""

    def fresh(self, name: str) -> str:
        new = t.unused(name, self.taken)
        self.taken.add(new)
        return new

    def made(self) -> t.Body:
        hoisted = tuple(s for _, body in self.switch.cases for s in body if _is_bare(s))
        value = t.Declare(self.type, (t.Declarator(self.chosen.text, init=self.switch.value),), ("const",), self.line)
        chains = _chains(self.switch.cases)
        last = next((c for c in chains if any(label is None for label, _ in c)), None)
        rest = self.chain(last) if last is not None else ()
        for chain in reversed([c for c in chains if c is not last]):
            rest = (t.If(self.any_of([label for label, _ in chain]), self.chain(chain), rest, self.line),)
        left = (self.flag("false", declare=True),) if self.left else ()
        return (*hoisted, value, *left, *rest)

    def any_of(self, labels: list[t.Expr | None]) -> t.Expr:
        return reduce(lambda a, b: t.Binary("||", a, b), (t.Binary("==", self.chosen, x) for x in labels if x is not None))

    def chain(self, chain: list[_Entry]) -> t.Body:
        """Cases that fall into one another: each for those that entered there or before."""
        out: t.Body = ()
        for i, (_, body) in enumerate(chain):
            body = tuple(s for s in body if not _is_bare(s))
            leaves = any(_breaks(b) for _, b in chain[:i])
            inside = self.opened(body)
            if not inside:
                continue
            entered, later = [x for x, _ in chain[: i + 1]], [x for x, _ in chain[i + 1 :]]
            conds = [] if not later else [self.any_of(entered)] if None not in entered else [t.Unary("!", self.any_of(later))]
            conds += [t.Unary("!", t.Name(self.left_flag()))] if leaves else []
            out += (t.If(reduce(lambda a, b: t.Binary("&&", a, b), conds), inside, (), self.line),) if conds else inside
        return out

    def opened(self, body: t.Body, noted: bool = False) -> t.Body:
        """A case without its breaks: what stands behind one is done where none was met. `noted`: a break at the end is to be noted too."""
        for i, s in enumerate(body):
            if isinstance(s, t.Break):
                return (*body[:i], *((self.flag("true"),) if noted else ()))
            if not _breaks((s,)):
                continue
            rest = () if _stops((s,)) else body[i + 1 :]
            if isinstance(s, t.Block):
                made: t.Stmt = replace(s, body=self.opened(s.body, noted or bool(rest)))
            else:
                assert isinstance(s, t.If)
                made = replace(s, then=self.opened(s.then, True), orelse=self.opened(s.orelse, True))
            behind = self.opened(rest, noted)
            return (*body[:i], made, *((t.If(t.Unary("!", t.Name(self.left_flag())), behind, (), s.line),) if behind else ()))
        return body

    def left_flag(self) -> str:
        self.left = self.left or self.fresh("left")
        return self.left

    def flag(self, value: str, declare: bool = False) -> t.Stmt:
        name = self.left_flag()
        if declare:
            return t.Declare("bool", (t.Declarator(name, init=t.Literal(value)),), (), self.line)
        return t.Evaluate(t.Assign("=", t.Name(name), t.Literal(value)), self.line)


def _chains(cases: tuple[_Entry, ...]) -> list[list[_Entry]]:
    """Runs of cases, each falling into the next."""
    chains: list[list[_Entry]] = [[]]
    for case in cases:
        chains[-1].append(case)
        if _stops(case[1]):
            chains.append([])
    return [c for c in chains if c]


def _stops(body: t.Body) -> bool:
    """Whether no thread falls out at the end."""
    for s in body:
        if isinstance(s, (t.Break, t.Continue, t.Return)):
            return True
        if isinstance(s, t.Block) and _stops(s.body):
            return True
        if isinstance(s, t.If) and s.orelse and _stops(s.then) and _stops(s.orelse):
            return True
    return False


def _is_bare(s: Any) -> bool:
    """A declaration that other cases see: without a value, or of shared memory."""
    return isinstance(s, t.Declare) and ("__shared__" in s.qualifiers or all(d.init is None for d in s.declarators))


def _breaks(body: t.Body) -> bool:
    """Whether a break in `body` leaves the switch around it."""
    for s in body:
        if isinstance(s, t.Break):
            return True
        if isinstance(s, t.If) and (_breaks(s.then) or _breaks(s.orelse)):
            return True
        if isinstance(s, t.Block) and _breaks(s.body):
            return True
    return False
