"""A kernel's body in the form that splitting wants. A function goes in and comes out with: one declarator per declaration, every local
name unique, CUDA's own spellings (`__ldg`, `__expf`) replaced, and every function that synchronises written out in place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ....frontend.cuda import tree as t
from ....frontend.cuda.lambdas import declared
from . import spelling
from .inline import Inliner, assigned
from .switches import of_kernel, without_switches
from .sync import Synchronising
from .types import plain

_WHOLE = frozenset(("int", "unsigned", "unsigned int", "size_t", "int32_t", "uint32_t", "int64_t", "long", "short", "auto"))


def prepare(kernel: t.Function, file: t.CudaFile) -> t.Function:
    """The kernel, ready to be split. Raises UnsupportedCuda."""
    body = scalars(spelling.respell(single(own_parameters(kernel))))
    body = Names({p.name for p in kernel.params}).unique(body)
    sync = Synchronising(file)
    body = of_kernel(replace(kernel, body=body), file, sync.waits)
    file = without_switches(file, sync.waits, sync.functions)
    body = Inliner(file, sync).expand(kernel, body)
    body = Names({p.name for p in kernel.params}).unique(body)  # a function may use one name in several scopes
    return replace(kernel, body=flattened(body))


def own_parameters(kernel: t.Function) -> t.Body:
    """A parameter that the kernel changes is a variable of each thread that begins as the parameter."""
    changed = assigned(kernel.body)
    taken = {p.name for p in kernel.params} | t.names(kernel.body) | set(declared(kernel.body))
    first: list[t.Stmt] = []
    env: dict[str, t.Expr] = {}
    for p in kernel.params:
        if p.name not in changed:
            continue
        name = t.unused(f"{p.name}_own", taken, "")
        env[p.name] = t.Name(name)
        mark = "*" * (p.mark.count("*") + len(p.extents))
        type_ = p.type if mark else " ".join(w for w in p.type.split() if w != "const")
        first.append(t.Declare(type_, (t.Declarator(name, mark, (), t.Name(p.name)),), (), kernel.line))
    return (*first, *Names({p.name for p in kernel.params}).unique(kernel.body, env)) if env else kernel.body


def constants(kernel: t.Function) -> tuple[list[t.Declare], t.Body]:
    """Whole-number constants, which extents of arrays may name, and the body without them: `const int BK = 8;`."""
    known = {p.name for p in kernel.params} | {d.name for n in t.walk(kernel.body) if isinstance(n, t.Declare) for d in n.declarators}
    found: list[t.Declare] = []
    for n in t.walk(kernel.body):
        if isinstance(n, t.Declare) and _is_constant(n, known):
            found.append(n)
            known.discard(n.declarators[0].name)
    gone = {s.declarators[0].name for s in found}
    return found, t.rewrite(kernel.body, lambda n: () if isinstance(n, t.Declare) and n.declarators[0].name in gone else n)


def _is_constant(s: t.Declare, known: set[str]) -> bool:
    if len(s.declarators) != 1 or not {"const", "constexpr"} & set(s.qualifiers) or "__shared__" in s.qualifiers:
        return False
    d = s.declarators[0]
    if d.init is None or d.extents or d.mark or d.form != "=" or plain(s.type) not in _WHOLE:
        return False
    pure = all(isinstance(n, (t.Literal, t.Name, t.Binary, t.Unary)) for n in t.walk((d.init,)))
    return pure and not t.names((d.init,)) & (known | {"threadIdx", "blockIdx", "blockDim", "gridDim"})


def scalars(body: t.Body) -> t.Body:
    """Local arrays of one element that are only used as `a[0]` become variables."""
    one = t.Literal("1")
    found = {
        n.declarators[0].name
        for n in t.walk(body)
        if isinstance(n, t.Declare) and n.declarators[0].extents == (one,) and n.declarators[0].init is None and not n.qualifiers
    }
    uses = [n for n in t.walk(body) if isinstance(n, t.Index) and isinstance(n.base, t.Name) and n.index == t.Literal("0")]
    for name in list(found):
        total = sum(isinstance(n, t.Name) and n.text == name for n in t.walk(body))
        if total != sum(u.base == t.Name(name) for u in uses):
            found.discard(name)

    def change(n: Any) -> Any:
        if isinstance(n, t.Declare) and n.declarators[0].name in found:
            return replace(n, declarators=(replace(n.declarators[0], extents=()),))
        if isinstance(n, t.Index) and isinstance(n.base, t.Name) and n.base.text in found:
            return n.base
        return n

    return t.rewrite(body, change)


def single(body: t.Body) -> t.Body:
    """One declarator per declaration (a `for`'s initialiser stays as it is)."""

    def change(n: Any) -> Any:
        if isinstance(n, t.Declare) and len(n.declarators) > 1:
            return tuple(replace(n, declarators=(d,)) for d in n.declarators)
        return n

    out = []
    for s in body:
        if isinstance(s, t.Declare):
            out += change(s) if len(s.declarators) > 1 else [s]
        elif isinstance(s, t.For):
            out += _split_for(s)
        else:
            out.append(_bodies(s, single))
    return tuple(out)


def _split_for(s: t.For) -> list[t.Stmt]:
    """Several variables in a `for`'s initialiser move in front of it, in a block of their own."""
    loop = replace(s, body=single(s.body))
    if isinstance(s.init, t.Declare) and len(s.init.declarators) > 1:
        first, *rest = s.init.declarators
        ahead = tuple(replace(s.init, declarators=(d,)) for d in (first, *rest))
        return [t.Block((*ahead, replace(loop, init=None)), s.line)]
    return [loop]


def _bodies(s: Any, f: Any) -> Any:
    """Applies `f` to the statement lists directly inside `s`."""
    if isinstance(s, t.If):
        return replace(s, then=f(s.then), orelse=f(s.orelse))
    if isinstance(s, (t.For, t.While, t.DoWhile, t.Block)):
        return replace(s, body=f(s.body))
    if isinstance(s, t.Switch):
        return replace(s, cases=tuple((label, f(inner)) for label, inner in s.cases))
    return s


def flattened(body: t.Body) -> t.Body:
    """Blocks that only group are opened: names are unique, so nothing collides."""
    out: list[t.Stmt] = []
    for s in body:
        s = _bodies(s, flattened)
        out += s.body if isinstance(s, t.Block) else [s]
    return tuple(out)


class Names:
    """Gives every local declaration a name of its own."""

    def __init__(self, taken: set[str]):
        self.taken = set(taken)

    def fresh(self, name: str) -> str:
        new = t.unused(name, self.taken)
        self.taken.add(new)
        return new

    def unique(self, body: t.Body, env: dict[str, t.Expr] | None = None) -> t.Body:
        env = dict(env or {})
        return tuple(self._statement(s, env) for s in body)

    def _statement(self, s: Any, env: dict[str, t.Expr]) -> Any:
        """Renames in `s`; a declaration adds to `env`, which the statements after it see."""
        if isinstance(s, t.Declare):
            return self._declare(s, env)
        if isinstance(s, t.For):
            inner = dict(env)
            init = self._statement(s.init, inner) if s.init is not None else None
            cond, step = (t.substitute(e, inner) if e is not None else None for e in (s.cond, s.step))  # type: ignore[arg-type]
            return replace(s, init=init, cond=cond, step=step, body=self.unique(s.body, inner))
        if isinstance(s, t.If):
            return replace(s, cond=t.substitute(s.cond, env), then=self.unique(s.then, env), orelse=self.unique(s.orelse, env))
        if isinstance(s, (t.While, t.DoWhile)):
            return replace(s, cond=t.substitute(s.cond, env), body=self.unique(s.body, env))
        if isinstance(s, t.Block):
            return replace(s, body=self.unique(s.body, env))
        if isinstance(s, t.Switch):
            cases = tuple((label, self.unique(inner, env)) for label, inner in s.cases)
            return replace(s, value=t.substitute(s.value, env), cases=cases)
        return t.substitute(s, env) if env else s

    def _declare(self, s: t.Declare, env: dict[str, t.Expr]) -> t.Declare:
        renamed = []
        for d in s.declarators:
            extents = tuple(t.substitute(e, env) if e is not None else None for e in d.extents)  # type: ignore[arg-type]
            init = t.substitute(d.init, env) if d.init is not None else None  # type: ignore[arg-type]
            new = self.fresh(d.name)
            env[d.name] = t.Name(new)
            renamed.append(replace(d, name=new, extents=extents, init=init))
        return replace(s, declarators=tuple(renamed))
