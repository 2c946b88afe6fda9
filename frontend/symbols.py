"""Sizes: torch's symbolic ints (sympy) in, index expressions over named dims out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce

import sympy
import torch

from ..ir.diagnostic import UnsupportedModel
from ..ir.expr import Const, Expr, Op, Var, add, floordiv, mod, mul, simplify
from ..ir.types import Dim

Size = int | torch.SymInt


def _power(args: list[Expr], e: sympy.Basic) -> Expr:
    n = e.args[1]
    if not (isinstance(n, sympy.Integer) and n > 0):
        raise _unknown(e)
    return reduce(mul, [args[0]] * int(n))


def _unknown(e: object) -> UnsupportedModel:
    return UnsupportedModel(f"the size `{e}` is not an integer expression of the dynamic dims")


_NODES: dict[str, Callable[[list[Expr], sympy.Basic], Expr]] = {
    "Add": lambda a, _: reduce(add, a),
    "Mul": lambda a, _: reduce(mul, a),
    "Pow": _power,
    "PowByNatural": _power,
    "FloorDiv": lambda a, _: floordiv(a[0], a[1]),
    "CleanDiv": lambda a, _: floordiv(a[0], a[1]),
    "IntTrueDiv": lambda a, _: floordiv(a[0], a[1]),
    "CeilToInt": lambda a, _: a[0],
    "Mod": lambda a, _: mod(a[0], a[1]),
    "PythonMod": lambda a, _: mod(a[0], a[1]),
    "ModularIndexing": lambda a, _: mod(floordiv(a[0], a[1]), a[2]),
    "Max": lambda a, _: reduce(lambda x, y: simplify(Op("max", (x, y))), a),
    "Min": lambda a, _: reduce(lambda x, y: simplify(Op("min", (x, y))), a),
}


class Symbols:
    """The symbols of one export: their names in the graph and their ranges."""

    def __init__(self, ranges: Mapping[str, tuple[int, int | None]] | None = None):
        self.names: dict[str, str] = {}
        self.ranges = dict(ranges or {})
        self.used: dict[str, None] = {}

    def expr(self, size: Size) -> Expr:
        """A size as an index expression. Raises UnsupportedModel for sizes that depend on data."""
        if isinstance(size, int):
            return Const(int(size))
        return self.sympy(size.node.expr)

    def shape(self, sizes: tuple[Size, ...] | torch.Size) -> tuple[Expr, ...]:
        return tuple(self.expr(s) for s in sizes)

    def sympy(self, e: sympy.Basic) -> Expr:
        if isinstance(e, sympy.Integer):
            return Const(int(e))
        if isinstance(e, sympy.Symbol):
            return Var(self._dim(str(e)))
        build = _NODES.get(type(e).__name__)
        if build is None:
            raise _unknown(e)
        return build([self.sympy(a) for a in e.args], e)

    def _dim(self, symbol: str) -> str:
        if symbol.startswith("u"):
            raise UnsupportedModel(
                f"a size depends on the values of a tensor (`{symbol}`)", hint="such as nonzero, a boolean index or .item()"
            )
        self.used[symbol] = None
        return self.names.get(symbol, symbol)

    def dims(self) -> tuple[Dim, ...]:
        """The dims that sizes mentioned, with their ranges; one Dim for symbols of the same name."""
        out: dict[str, Dim] = {}
        for symbol in self.used:
            name = self.names.get(symbol, symbol)
            lo, hi = self.ranges.get(symbol, (1, None))
            out.setdefault(name, Dim(name, max(1, lo), hi))
        return tuple(out.values())


def ranges_of(constraints: Mapping[sympy.Symbol, object]) -> dict[str, tuple[int, int | None]]:
    """torch.export's range constraints as inclusive bounds."""
    return {str(s): (_finite(r.lower) or 0, _finite(r.upper)) for s, r in constraints.items()}  # type: ignore[attr-defined]


def _finite(v: object) -> int | None:
    try:
        number = int(v)  # type: ignore[call-overload]
    except (OverflowError, TypeError, ValueError, AttributeError):
        return None
    return None if number >= 2**62 or math.isinf(number) else number
