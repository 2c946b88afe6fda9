"""The dtype rules: an expression and the dtypes of the buffers it loads go in, its dtype comes out, or a TypeMismatch.

Constants are weak: `int-weak` takes any number's dtype, `float-weak` any float's. `inf` and `-inf` are `int-weak` too: on an
integer they stand for its largest and smallest value. Vars are i64. Nothing else is promoted; `Cast` converts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from .diagnostic import TypeMismatch
from .expr import OPS, Cast, Const, Expr, Load, Op, Var, children
from .kernel import Alloc, Buffer, Call, For, If, Program, Reduce, Stmt, Store, statements
from .monoid_terms import combine_terms
from .text import locate, print_expr
from .types import BOOL, is_float, is_int

INT_WEAK, FLOAT_WEAK = "int-weak", "float-weak"
NOTHING: Mapping[str, str] = {}


def weak(dtype: str) -> bool:
    return dtype in (INT_WEAK, FLOAT_WEAK)


def strong(dtype: str) -> str:
    """The dtype that a lone value of weak type has: i64 or f32."""
    return {INT_WEAK: "i64", FLOAT_WEAK: "f32"}.get(dtype, dtype)


def floating(dtype: str) -> bool:
    return is_float(dtype) or dtype == FLOAT_WEAK


def integral(dtype: str) -> bool:
    return is_int(dtype) or dtype == INT_WEAK


def whole(e: Expr, dtype: str) -> bool:
    """Whether `e`, of this dtype, can be an index, a bound or a size: an integer, and not one of the infinities."""
    return integral(dtype) and not any(isinstance(n, Const) and isinstance(n.value, float) and math.isinf(n.value) for n in _own(e))


def _own(e: Expr) -> Iterator[Expr]:
    """The nodes whose value is of the expression's own dtype or a test of it: what is loaded or converted is checked apart."""
    yield e
    for kid in () if isinstance(e, (Load, Cast)) else children(e):
        yield from _own(kid)


def unify(a: str, b: str) -> str | None:
    """The common dtype of two operands, None when they do not mix."""
    if a == b:
        return a
    for x, y in ((a, b), (b, a)):
        if x == INT_WEAK and y != BOOL:
            return y
        if x == FLOAT_WEAK and is_float(y):
            return y
    return None


def infer_dtype(e: Expr, buffers: Mapping[str, str], variables: Mapping[str, str] = NOTHING) -> str:
    """The dtype of `e`: one of DTYPES, `int-weak` or `float-weak`.

    `buffers`: dtype of every buffer loaded; `variables`: dtypes of Vars that are not i64. Raises TypeMismatch.
    """
    if isinstance(e, Const):
        return _const_dtype(e.value)
    if isinstance(e, Var):
        return variables.get(e.name, "i64")
    if isinstance(e, Load):
        return _load_dtype(e, buffers, variables)
    kids = [infer_dtype(k, buffers, variables) for k in (e.args if isinstance(e, Op) else (e.value,))]
    if isinstance(e, Cast):
        return e.dtype
    if len(kids) != OPS[e.name][0]:
        raise TypeMismatch(f"`{e.name}` takes {OPS[e.name][0]} operands, not {len(kids)}")
    return _KIND[OPS[e.name][1]](e, kids)


def _const_dtype(v: bool | int | float) -> str:
    if isinstance(v, bool):
        return BOOL
    return INT_WEAK if isinstance(v, int) or math.isinf(v) else FLOAT_WEAK


def _load_dtype(e: Load, buffers: Mapping[str, str], variables: Mapping[str, str]) -> str:
    for i in e.index:
        if not whole(i, infer_dtype(i, buffers, variables)):
            raise TypeMismatch(f"the index `{print_expr(i)}` of {e.buffer} is not an integer")
    if e.buffer not in buffers:
        raise TypeMismatch(f"there is no buffer `{e.buffer}`")
    return buffers[e.buffer]


def _common(e: Op, kids: list[str]) -> str:
    out = kids[0]
    for k in kids[1:]:
        both = unify(out, k)
        if both is None:
            raise TypeMismatch(f"`{print_expr(e)}` mixes {out} and {k}", hint="convert one side, for example f32(...)")
        out = both
    return out


def _need(e: Op, ok: bool, wanted: str, got: str) -> None:
    if not ok:
        raise TypeMismatch(f"`{e.name}` in `{print_expr(e)}` takes {wanted}, not {got}")


def _arith(e: Op, kids: list[str]) -> str:
    out = _common(e, kids)
    _need(e, out != BOOL, "numbers", out)
    return out


def _float(e: Op, kids: list[str]) -> str:
    out = _common(e, kids)
    _need(e, floating(out) or out == INT_WEAK, "floats", out)
    return FLOAT_WEAK if out == INT_WEAK else out


def _compare(e: Op, kids: list[str]) -> str:
    _common(e, kids)
    return BOOL


def _logic(e: Op, kids: list[str]) -> str:
    for k in kids:
        _need(e, k == BOOL, "booleans", k)
    return BOOL


def _bit(e: Op, kids: list[str]) -> str:
    out = _common(e, kids)
    _need(e, integral(out) or (out == BOOL and e.name not in ("<<", ">>")), "integers", out)
    return out


def _test(e: Op, kids: list[str]) -> str:
    _need(e, kids[0] != BOOL, "numbers", kids[0])
    return BOOL


def _select(e: Op, kids: list[str]) -> str:
    _need(e, kids[0] == BOOL, "a boolean condition", kids[0])
    return _common(e, kids[1:])


_KIND: dict[str, Callable[[Op, list[str]], str]] = {
    "arith": _arith, "float": _float, "compare": _compare, "logic": _logic, "bit": _bit, "test": _test, "select": _select,
}  # fmt: skip


def check(e: Expr, expected: str, buffers: Mapping[str, str], variables: Mapping[str, str] = NOTHING) -> None:
    """Raise TypeMismatch unless the value of `e` can be stored as `expected` without a cast."""
    got = infer_dtype(e, buffers, variables)
    if unify(got, expected) != expected:
        raise TypeMismatch(f"`{print_expr(e)}` is {got} where {expected} is needed", hint=f"write {expected}({print_expr(e)})")


def check_statement(s: Stmt, buffers: Mapping[str, str]) -> None:
    """Raise TypeMismatch when a statement itself (not its body) breaks the dtype rules."""
    if isinstance(s, (For, Alloc)):
        _check_integers((s.lo, s.hi) if isinstance(s, For) else s.buffer.shape, buffers)
    elif isinstance(s, If):
        check(s.cond, BOOL, buffers)
    elif isinstance(s, Store):
        infer_dtype(Load(s.buffer, s.index), buffers)
        check(s.value, buffers[s.buffer], buffers)
    elif isinstance(s, Reduce):
        _check_reduce(s, buffers)
    elif isinstance(s, Call):
        for o in s.operands:
            infer_dtype(o, buffers)


def _check_integers(values: tuple[Expr, ...], buffers: Mapping[str, str]) -> None:
    for v in values:
        if not whole(v, infer_dtype(v, buffers)):
            raise TypeMismatch(f"`{print_expr(v)}` must be an integer")


def _check_reduce(s: Reduce, buffers: Mapping[str, str]) -> None:
    slots = [infer_dtype(t, buffers) for t in s.targets]
    for value, slot in zip(s.values, slots):
        check(value, slot, buffers)
    for place, slot in zip(s.running, slots):
        check(place, slot, buffers)
    variables = {f"{side}{i}": slot for side in "ab" for i, slot in enumerate(slots)}
    for term, slot in zip(combine_terms(s.monoid), slots):
        check(term, slot, buffers, variables)


def dtypes(buffers: Mapping[str, Buffer]) -> dict[str, str]:
    return {name: b.dtype for name, b in buffers.items()}


def check_program(p: Program) -> None:
    """Raise TypeMismatch, the statement underlined, unless every statement of `p` keeps the dtype rules."""
    known = dtypes(p.buffers())
    for s in statements(p.body):
        try:
            check_statement(s, known)
        except TypeMismatch as e:
            raise TypeMismatch(e.message, hint=e.hint, place=locate(p, s)) from None
