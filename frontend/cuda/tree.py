"""The typed CUDA tree: what `read` makes of a file and what fission and raising rewrite. Every node is on this screen.

expr = Name | Literal | Unary | Binary | Assign | Conditional | Call | Index | Member | Cast | Lambda | Opaque
stmt = Declare | Evaluate | If | For | While | DoWhile | Switch | Return | Break | Continue | Block | Comment | Pragma

Parentheses are dropped and put back by `text` where precedence wants them. `Opaque` is C++ that is carried along, with the
expressions inside it in their places (an initialiser list).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True)
class Name:
    """An identifier, qualified or a template instance: `i`, `std::max`, `reduce<float, 4>`."""

    text: str


@dataclass(frozen=True)
class Literal:
    text: str


@dataclass(frozen=True)
class Unary:
    op: str
    value: Expr
    postfix: bool = False


@dataclass(frozen=True)
class Binary:
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Assign:
    op: str
    target: Expr
    value: Expr


@dataclass(frozen=True)
class Conditional:
    cond: Expr
    then: Expr
    orelse: Expr


@dataclass(frozen=True)
class Call:
    function: Expr
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Index:
    base: Expr
    index: Expr


@dataclass(frozen=True)
class Member:
    value: Expr
    op: str
    name: str


@dataclass(frozen=True)
class Cast:
    """`style`: "c", "functional", or a named cast such as "static_cast"."""

    type: str
    value: Expr
    style: str = "c"


@dataclass(frozen=True)
class Lambda:
    """`[captures](params) -> returns { body }`; `returns` is "" where it is left out. No name of its own is any other's in its function."""

    captures: str
    params: tuple[Param, ...]
    returns: str
    body: Body


@dataclass(frozen=True)
class Opaque:
    parts: tuple[str | Expr, ...]


Expr = Name | Literal | Unary | Binary | Assign | Conditional | Call | Index | Member | Cast | Lambda | Opaque


@dataclass(frozen=True)
class Declarator:
    """`mark`: `*`, `&`, `* __restrict__`; an extent None is `[]`; `form` of the initialiser: "=", "(" or "{"."""

    name: str
    mark: str = ""
    extents: tuple[Expr | None, ...] = ()
    init: Expr | None = None
    form: str = "="


@dataclass(frozen=True)
class Declare:
    """`type` without qualifiers; `qualifiers`: const, static, extern, constexpr, volatile, __shared__ ..."""

    type: str
    declarators: tuple[Declarator, ...]
    qualifiers: tuple[str, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Evaluate:
    value: Expr
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class If:
    cond: Expr
    then: Body
    orelse: Body = ()
    line: int = field(default=0, compare=False)
    constexpr: bool = False


@dataclass(frozen=True)
class For:
    init: Stmt | None
    cond: Expr | None
    step: Expr | None
    body: Body
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class While:
    cond: Expr
    body: Body
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class DoWhile:
    body: Body
    cond: Expr
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Switch:
    """`cases`: (label or None for default, body), falling through as written."""

    value: Expr
    cases: tuple[tuple[Expr | None, Body], ...]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Return:
    value: Expr | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Break:
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Continue:
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Block:
    body: Body
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Comment:
    text: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Pragma:
    text: str
    line: int = field(default=0, compare=False)


Stmt = Declare | Evaluate | If | For | While | DoWhile | Switch | Return | Break | Continue | Block | Comment | Pragma
Body = tuple[Stmt, ...]
EXPRESSIONS = (Name, Literal, Unary, Binary, Assign, Conditional, Call, Index, Member, Cast, Lambda, Opaque)
STATEMENTS = (Declare, Evaluate, If, For, While, DoWhile, Switch, Return, Break, Continue, Block, Comment, Pragma)


@dataclass(frozen=True)
class Param:
    """`type` with its qualifiers; `mark` as in a declarator; `default` is C++ text."""

    name: str
    type: str
    mark: str = ""
    extents: tuple[Expr | None, ...] = ()
    default: str = ""

    @property
    def is_pointer(self) -> bool:
        return "*" in self.mark or bool(self.extents)

    @property
    def is_pack(self) -> bool:
        """Any number of arguments."""
        return "..." in self.mark

    @property
    def is_const(self) -> bool:
        return "const" in self.type.split()


@dataclass(frozen=True)
class Function:
    """A `__global__`, `__device__` or host function. `template` holds the parameters' texts; `start:stop` are byte offsets
    of all of it, `body_start` of its `{`; lines are 1-based."""

    name: str
    kind: str
    returns: str
    params: tuple[Param, ...]
    body: Body
    template: tuple[str, ...] = ()
    bounds: tuple[Expr, ...] = ()
    attributes: tuple[str, ...] = ()
    start: int = 0
    stop: int = 0
    line: int = 0

    @property
    def template_names(self) -> tuple[str, ...]:
        return tuple(t.split("=")[0].split()[-1].lstrip(".") for t in self.template)


@dataclass(frozen=True)
class LaunchSite:
    """`kernel<<<grid, block, shared, stream>>>(args)` in host code; `owner` is the host function around it."""

    kernel: str
    template: str
    configuration: tuple[Expr, ...]
    args: tuple[Expr, ...]
    owner: str
    start: int
    stop: int
    line: int


@dataclass(frozen=True)
class CudaFile:
    """All of a file. `symbols`: file-scope declarations; `macros`: object-like macros, name -> text."""

    source: str
    functions: tuple[Function, ...]
    launches: tuple[LaunchSite, ...]
    symbols: tuple[tuple[Declare, int, int], ...]
    macros: tuple[tuple[str, str], ...]

    @property
    def kernels(self) -> tuple[Function, ...]:
        return tuple(f for f in self.functions if f.kind == "kernel")

    def function(self, name: str) -> Function | None:
        return next((f for f in self.functions if f.name == name), None)


def children(node: Any) -> Iterator[Any]:
    """Expressions and statements directly inside a node, in order."""
    for f in fields(node):
        yield from _nodes(getattr(node, f.name))


def _nodes(value: Any) -> Iterator[Any]:
    if isinstance(value, (*EXPRESSIONS, *STATEMENTS)):
        yield value
    elif isinstance(value, Declarator):
        yield from children(value)
    elif isinstance(value, tuple):
        for one in value:
            yield from _nodes(one)


def walk(node: Any) -> Iterator[Any]:
    """Every expression and statement in `node` (a node or a tuple of nodes), outer ones first."""
    for one in _nodes(node):
        yield one
        for child in children(one):
            yield from walk(child)


def rewrite(node: Any, change: Callable[[Any], Any]) -> Any:
    """Bottom up: `change` gets each expression and statement with its children already rewritten and gives its successor
    (a statement may become a tuple of statements)."""
    if isinstance(node, tuple):
        out: list[Any] = []
        for one in node:
            new = rewrite(one, change)
            if isinstance(one, STATEMENTS) and isinstance(new, tuple):
                out.extend(new)
            else:
                out.append(new)
        return tuple(out)
    if isinstance(node, Declarator):
        return _rebuilt(node, change)
    if isinstance(node, (*EXPRESSIONS, *STATEMENTS)):
        return change(_rebuilt(node, change))
    return node


def _rebuilt(node: Any, change: Callable[[Any], Any]) -> Any:
    new = {f.name: rewrite(getattr(node, f.name), change) for f in fields(node)}
    return replace(node, **new) if any(new[n] is not getattr(node, n) for n in new) else node


def names(node: Any) -> frozenset[str]:
    """Identifiers mentioned."""
    return frozenset(n.text for n in walk(node) if isinstance(n, Name))


def unused(name: str, taken: Container[str], mark: str = "_") -> str:
    """The first of `name`, `name_1`, `name_2`, .. that is not taken; `mark` stands before the number."""
    return next(n for n in itertools.chain((name,), (f"{name}{mark}{i}" for i in itertools.count(1))) if n not in taken)


def substitute(node: Any, env: Mapping[str, Expr]) -> Any:
    """Replaces names by expressions (no scopes are looked at: names must be unique)."""
    return rewrite(node, lambda n: env.get(n.text, n) if isinstance(n, Name) else n)


def calls(node: Any) -> Iterator[Call]:
    return (n for n in walk(node) if isinstance(n, Call))


def called(call: Call) -> str:
    """The plain name of the function that is called: no scope, no template arguments; "" for a computed one."""
    if isinstance(call.function, Name):
        return call.function.text.split("<", 1)[0].rsplit("::", 1)[-1].strip()
    return ""
