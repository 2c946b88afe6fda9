"""Guards that hold in all but the last iterations of a loop are tested there only. Statements come in, statements go out.

`for (k < 1865) for (tx < 32) if (k * 16 + tx / 2 < 29835) s`
->  `for (k < 1864) for (tx < 32) s;  for (k = 1864; k < 1865; ++k) for (tx < 32) if (...) s`

A guarded store in the inner loop keeps sums in memory; without the guard the compiler keeps them in registers. The split is found by trying
all iterations, so nothing is assumed of the guard but that it depends on the two loops' variables alone.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any

import numpy as np

from ....frontend.cuda import tree as t
from .fold import number

_MOST = 1 << 22  # iterations that are tried
_LEAST = 8  # rounds without a guard below which the split is not worth its text


def peeled(body: t.Body) -> t.Body:
    """Splits every loop that gains from it."""

    def change(n: Any) -> Any:
        return _split(n) if isinstance(n, t.For) else n

    return _collapsible(t.rewrite(body, change))


def _collapsible(body: t.Body) -> t.Body:
    """Loops run on one team as deep as each still has nothing but the next inside."""
    out = list(body)
    for i, (s, loop) in enumerate(itertools.pairwise(body)):
        wanted = re.fullmatch(r"omp parallel for collapse\((\d+)\)", s.text) if isinstance(s, t.Pragma) else None
        if wanted and int(wanted[1]) > (deep := _depth(loop)):
            out[i] = replace(s, text="omp parallel for" + (f" collapse({deep})" if deep > 1 else ""))  # type: ignore[type-var]
    return tuple(out)


def _depth(s: Any) -> int:
    """How many loops stand directly in each other."""
    if not isinstance(s, t.For):
        return 0
    return 1 + (_depth(s.body[0]) if len(s.body) == 1 else 0)


def _split(loop: t.For) -> Any:
    outer, inner = counted(loop), _inner(loop)
    if outer is None or inner is None or outer[1] * inner[1][1] > _MOST:
        return loop
    at, (name, extent) = inner
    threads: t.For = loop.body[at]  # type: ignore[assignment]
    rounds = {i: _prefix(s.cond, outer, (name, extent)) for i, s in enumerate(threads.body) if isinstance(s, t.If) and not s.orelse}
    rounds = {i: n for i, n in rounds.items() if n >= max(_LEAST, outer[1] // 2)}
    if not rounds:
        return loop
    stop = min(rounds.values())
    free = tuple(x for i, s in enumerate(threads.body) for x in (s.then if i in rounds else (s,)))  # type: ignore[union-attr]
    first = replace(loop, cond=t.Binary("<", t.Name(outer[0]), t.Literal(str(stop))), body=_put(loop.body, at, replace(threads, body=free)))
    if stop == outer[1]:
        return first
    rest = replace(loop, init=t.Declare("int", (t.Declarator(outer[0], init=t.Literal(str(stop))),)))
    return (first, rest)


def _put(body: t.Body, at: int, new: t.Stmt) -> t.Body:
    return (*body[:at], new, *body[at + 1 :])


def _inner(loop: t.For) -> tuple[int, tuple[str, int]] | None:
    """The place, variable and extent of the one loop directly inside."""
    found = [(i, s) for i, s in enumerate(loop.body) if isinstance(s, t.For)]
    if len(found) != 1 or any(not isinstance(s, (t.For, t.Pragma, t.Comment)) for s in loop.body):
        return None
    counts = counted(found[0][1])
    return None if counts is None else (found[0][0], counts)


def counted(s: t.For) -> tuple[str, int] | None:
    """(variable, extent) of `for (int i = 0; i < NUMBER; ++i)`."""
    if not isinstance(s.init, t.Declare) or not isinstance(s.cond, t.Binary) or s.cond.op != "<" or len(s.init.declarators) != 1:
        return None
    d, bound = s.init.declarators[0], number(s.cond.right)
    stepped = isinstance(s.step, t.Unary) and s.step.op == "++" and s.step.value == t.Name(d.name)
    return (d.name, bound) if d.init == t.Literal("0") and s.cond.left == t.Name(d.name) and bound and stepped else None


def _prefix(cond: t.Expr, outer: tuple[str, int], inner: tuple[str, int]) -> int:
    """How many first iterations of the outer loop satisfy `cond` for all of the inner; 0 where it cannot be told."""
    values = {outer[0]: np.arange(outer[1], dtype=np.int64)[:, None], inner[0]: np.arange(inner[1], dtype=np.int64)[None, :]}
    found = _value(cond, values)
    if found is None:
        return 0
    holds = np.broadcast_to(found, (outer[1], inner[1])).astype(bool).all(1)
    return int(np.argmin(holds)) if not holds.all() else outer[1]


_OPERATORS = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.floor_divide, "%": np.mod, ">>": np.right_shift, "<<": np.left_shift,
    "&": np.bitwise_and, "|": np.bitwise_or, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal,
    "!=": np.not_equal, "&&": np.logical_and, "||": np.logical_or,
}  # fmt: skip


def _value(e: t.Expr, values: dict[str, Any]) -> Any:
    """The value of a whole-number expression for all iterations; None for what is not that, or where C and NumPy would differ."""
    if isinstance(e, t.Name):
        return values.get(e.text)
    if isinstance(e, t.Literal):
        whole = number(e)
        return None if whole is None else np.int64(whole)
    if isinstance(e, t.Cast) and e.type == "int":
        return _value(e.value, values)
    if not isinstance(e, t.Binary) or e.op not in _OPERATORS:
        return None
    a, b = _value(e.left, values), _value(e.right, values)
    if a is None or b is None or (e.op in ("/", "%", ">>", "<<") and (np.min(a) < 0 or np.min(b) < (1 if e.op in "/%" else 0))):
        return None
    made = _OPERATORS[e.op](a, b)
    return None if np.abs(made).max() >= 2**31 else made
