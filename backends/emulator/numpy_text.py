"""NumPy expressions from files, evaluated by a closed table. Text comes in, an array or number goes out.

Only arithmetic, indexing, literals and the functions listed below are accepted: nothing that reads a file, no names but `np`.
"""

from __future__ import annotations

import ast
import operator
from typing import Any

import numpy as np

from ...ir.diagnostic import Unreadable

_LIMIT_BYTES = 4 << 30
_ACCEPTED = """
    abs absolute add all any arange argmax argmin argsort around array array_equal asarray broadcast_to ceil clip concatenate copy cos
    cosh cumprod cumsum diag divide dot exp expand_dims expm1 eye flip floor full full_like identity int8 int16 int32 int64 invert
    isnan linspace log log1p log2 logspace matmul max maximum mean min minimum mod multiply nan_to_num negative ones ones_like outer
    power prod ravel repeat reshape roll round sign sin sinh sort sqrt square stack subtract sum swapaxes tan tanh tile transpose tri
    tril triu uint8 uint16 uint32 uint64 vstack hstack where zeros zeros_like float16 float32 float64 bool_ array_split meshgrid
    random Generator PCG64 default_rng SeedSequence integers standard_normal normal uniform permutation choice exponential shuffled
    standard_exponential permuted astype flatten T pi e inf nan newaxis item squeeze view dtype
"""
_FUNCTIONS = frozenset(_ACCEPTED.split())
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.MatMult: operator.matmul,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}


def evaluate(text: str) -> Any:
    """The value of a NumPy expression. Raises Unreadable where it is no such expression or cannot be evaluated."""
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except Unreadable:
        raise
    except (
        SyntaxError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        MemoryError,
        RecursionError,
    ) as error:
        raise Unreadable(f"cannot evaluate `{text[:80]}`: {error}") from None


def _value(node: ast.AST) -> Any:
    handler = _NODES.get(type(node))
    if handler is None:
        raise Unreadable(f"`{ast.unparse(node)[:80]}` is not accepted in a NumPy expression")
    return handler(node)


def _constant(node: ast.Constant) -> Any:
    if isinstance(node.value, (int, float, bool, complex, str)) or node.value is None:
        return node.value
    raise Unreadable(f"the literal {node.value!r} is not accepted")


def _name(node: ast.Name) -> Any:
    if node.id != "np":
        raise Unreadable(f"the name {node.id} is not known in a NumPy expression", hint="only np is")
    return np


def _attribute(node: ast.Attribute) -> Any:
    if node.attr not in _FUNCTIONS:
        raise Unreadable(f"np.{node.attr} is not accepted in a NumPy expression")
    return getattr(_value(node.value), node.attr)


def _call(node: ast.Call) -> Any:
    arguments = [_value(a) for a in node.args]
    named = {k.arg: _value(k.value) for k in node.keywords if k.arg}
    if len(named) != len(node.keywords) or "out" in named:
        raise Unreadable("`**` and out= are not accepted in a NumPy expression")
    _refuse_huge(arguments)
    return _value(node.func)(*arguments, **named)


def _refuse_huge(arguments: list[Any]) -> None:
    """A shape or extent beyond the limit is refused before NumPy tries to allocate it."""
    for argument in arguments:
        extents = argument if isinstance(argument, (tuple, list)) else (argument,)
        whole = [e for e in extents if isinstance(e, int) and not isinstance(e, bool)]
        if len(whole) == len(extents) and isinstance(argument, tuple) and np.prod([float(e) for e in whole]) > _LIMIT_BYTES / 4:
            raise Unreadable(f"the shape {argument} is too large")


def _power(node: ast.BinOp) -> Any:
    base, exponent = _value(node.left), _value(node.right)
    if isinstance(exponent, int) and isinstance(base, int) and abs(exponent) > 64:
        raise Unreadable(f"the power {ast.unparse(node)[:80]} is too large")
    return base**exponent


def _binary(node: ast.BinOp) -> Any:
    return _power(node) if isinstance(node.op, ast.Pow) else _OPERATORS[type(node.op)](_value(node.left), _value(node.right))


def _compare(node: ast.Compare) -> Any:
    if len(node.ops) != 1 or type(node.ops[0]) not in _OPERATORS:
        raise Unreadable("one comparison at a time in a NumPy expression")
    return _OPERATORS[type(node.ops[0])](_value(node.left), _value(node.comparators[0]))


_NODES: dict[type, Any] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.UnaryOp: lambda n: _OPERATORS[type(n.op)](_value(n.operand)),
    ast.Tuple: lambda n: tuple(_value(e) for e in n.elts),
    ast.List: lambda n: [_value(e) for e in n.elts],
    ast.Subscript: lambda n: _value(n.value)[_value(n.slice)],
    ast.Slice: lambda n: slice(*(_value(e) if e else None for e in (n.lower, n.upper, n.step))),
}
