"""Constants folded: `0 + x` is `x`, `4 * 8` is `32`. An expression or statement comes in, a simpler one goes out."""

from __future__ import annotations

from typing import Any

from ....frontend.cuda import tree as t

_RULES = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b if a >= 0 and b > 0 else None,
    "%": lambda a, b: a % b if a >= 0 and b > 0 else None,
    ">>": lambda a, b: a >> b,
    "<<": lambda a, b: a << b,
    "&": lambda a, b: a & b,
}


def number(e: Any) -> int | None:
    """The value of a plain integer literal."""
    if isinstance(e, t.Literal) and e.text.isdigit() and (e.text == "0" or e.text[0] != "0"):
        return int(e.text)
    return None


def fold(node: Any) -> Any:
    """Folds bottom up."""
    return t.rewrite(node, _fold)


def _fold(n: Any) -> Any:
    if not isinstance(n, t.Binary):
        return n
    a, b = number(n.left), number(n.right)
    if a is not None and b is not None and n.op in _RULES:
        value = _RULES[n.op](a, b)
        return n if value is None or not 0 <= value < 2**31 else t.Literal(str(value))
    if n.op == "+" and a == 0:
        return n.right
    if n.op in ("+", "-", ">>", "<<") and b == 0:
        return n.left
    if n.op == "*" and 0 in (a, b):
        return t.Literal("0")
    if n.op == "*" and a == 1:
        return n.right
    if n.op in ("*", "/") and b == 1:
        return n.left
    if n.op in ("/", "%", ">>") and a == 0:
        return t.Literal("0")
    return n


_COMPARE = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}  # fmt: skip


def decided(e: t.Expr) -> bool | None:
    """Whether a condition of constants holds; None where it has anything else in it."""
    e = fold(e)
    if isinstance(e, t.Literal) and e.text in ("true", "false"):
        return e.text == "true"
    if (value := number(e)) is not None:
        return value != 0
    if isinstance(e, t.Unary) and e.op == "!" and (inner := decided(e.value)) is not None:
        return not inner
    if not isinstance(e, t.Binary):
        return None
    a, b = number(e.left), number(e.right)
    if e.op in _COMPARE and a is not None and b is not None:
        return _COMPARE[e.op](a, b)
    if e.op in ("&&", "||"):
        sides = [decided(e.left), decided(e.right)]
        settles = e.op == "||"
        return settles if settles in sides else None if None in sides else not settles
    return None


def steps(e: t.Expr, name: str) -> int | None:
    """By how much an index grows with `name`: 0, 1, another number, or None for unknown."""
    if name not in t.names((e,)):
        return 0
    if e == t.Name(name):
        return 1
    if isinstance(e, t.Binary) and e.op in "+-":
        a, b = steps(e.left, name), steps(e.right, name)
        return None if a is None or b is None else a + b if e.op == "+" else a - b
    if isinstance(e, t.Binary) and e.op == "*":
        for one, other in ((e.left, e.right), (e.right, e.left)):
            factor, step = number(other), steps(one, name)
            if factor is not None and step is not None:
                return factor * step
    return None


