"""C++ names of dtypes and the dtype of an expression. Small dtypes are computed in wider ones and narrowed after every operation."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ....ir.expr import OPS, Cast, Const, Expr, Load, Op, Var
from ....ir.kernel import Buffer

STORAGE = {
    "f64": "double", "f32": "float", "f16": "half", "bf16": "bfloat", "i64": "int64_t", "i32": "int32_t", "i16": "int16_t",
    "i8": "int8_t", "u8": "uint8_t", "b1": "bool",
}  # fmt: skip
# What a value of the dtype is computed in: the dtype of the register that holds it.
HELD = {"f16": "f32", "bf16": "f32", "i16": "i32", "i8": "i32", "u8": "i32"}
LARGEST = {"i64": "INT64_MAX", "i32": "INT32_MAX", "i16": "INT16_MAX", "i8": "INT8_MAX", "u8": "UINT8_MAX"}
SMALLEST = {"i64": "INT64_MIN", "i32": "INT32_MIN", "i16": "INT16_MIN", "i8": "INT8_MIN", "u8": "0"}

WEAK_INT, WEAK_FLOAT = "weak int", "weak float"


def held(dtype: str) -> str:
    return HELD.get(dtype, dtype)


def scalar_type(dtype: str) -> str:
    """C++ type of a value at width 1."""
    return STORAGE[held(dtype)]


def vector_type(dtype: str, lanes: int) -> str:
    """C++ type of a value on one native vector."""
    return "mask" if dtype == "b1" else f"{held(dtype)}x{lanes}"


def rounding(dtype: str) -> str:
    """The header function that narrows a computed value to the dtype, '' where nothing is to be done."""
    return f"to_{dtype}" if dtype in HELD else ""


def infer(e: Expr, buffers: Mapping[str, Buffer]) -> str:
    """The dtype of an expression; WEAK_INT or WEAK_FLOAT for constants alone."""
    if isinstance(e, Const):
        if isinstance(e.value, bool):
            return "b1"
        return WEAK_INT if isinstance(e.value, int) or math.isinf(e.value) else WEAK_FLOAT
    if isinstance(e, Var):
        return "i64"
    if isinstance(e, Load):
        return buffers[e.buffer].dtype
    if isinstance(e, Cast):
        return e.dtype
    kind = OPS[e.name][1]
    if kind in ("compare", "logic", "test"):
        return "b1"
    return common([infer(a, buffers) for a in operands(e)])


def operands(e: Op) -> tuple[Expr, ...]:
    """The arguments that share the dtype of the result (or, for a comparison, of each other)."""
    return e.args[1:] if e.name == "select" else e.args


def common(dtypes: list[str]) -> str:
    strong = [d for d in dtypes if d not in (WEAK_INT, WEAK_FLOAT)]
    if strong:
        return strong[0]
    return WEAK_FLOAT if WEAK_FLOAT in dtypes else WEAK_INT


def settled(dtype: str, want: str) -> str:
    """A weak dtype takes the wanted one."""
    if dtype == WEAK_INT:
        return want
    if dtype == WEAK_FLOAT:
        return want if want in ("f64", "f32", "f16", "bf16") else "f32"
    return dtype
