"""Scalar meaning of every operator on Python numbers: what the interpreter calls. Total: IEEE results instead of exceptions.

Floats are carried in double and rounded when stored or cast; integers wrap to their dtype.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable

import numpy as np

INF, NAN = math.inf, math.nan


def to_f32(v: float) -> float:
    return ctypes.c_float(v).value


def to_f16(v: float) -> float:
    try:
        return struct.unpack("e", struct.pack("e", v))[0]
    except OverflowError:
        return math.copysign(INF, v)


def to_bf16(v: float) -> float:
    """Round to nearest even on the upper 16 bits of the float32."""
    bits = struct.unpack("I", struct.pack("f", to_f32(v)))[0]
    if bits & 0x7FFFFFFF > 0x7F800000:
        return NAN
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return struct.unpack("f", struct.pack("I", bits))[0]


def round_array(a: np.ndarray, dtype: str) -> np.ndarray:
    """A float array with every element rounded to `dtype` (one of the IR's floats)."""
    if dtype != "bf16":
        return a.astype({"f64": np.float64, "f32": np.float32, "f16": np.float16}[dtype])
    return np.vectorize(to_bf16, otypes=[np.float32])(a) if a.size else a.astype(np.float32)


def wrapped(bits: int, signed: bool) -> Callable[[int], int]:
    mask, half = (1 << bits) - 1, 1 << (bits - 1)
    if not signed:
        return lambda v: v & mask
    return lambda v: ((v + half) & mask) - half


WRAP = {d: wrapped(int(d[1:]), d[0] == "i") for d in ("i64", "i32", "i16", "i8", "u8")}
LIMITS = {
    d: ((-(1 << b - 1), (1 << b - 1) - 1) if d[0] == "i" else (0, (1 << b) - 1)) for d, b in ((d, int(d[1:])) for d in WRAP)
}
ROUND: dict[str, Callable[[float], float]] = {"f64": float, "f32": to_f32, "f16": to_f16, "bf16": to_bf16}


def to_int(v: float, dtype: str) -> int:
    """Truncates; what does not fit becomes the smallest value, as x86 does."""
    if v != v or math.isinf(v):
        return LIMITS[dtype][0]
    lo, hi = LIMITS["i64" if dtype == "i64" else "i32"]
    n = int(v)
    return WRAP[dtype](n if lo <= n <= hi else lo)


def divide(a: float, b: float) -> float:
    try:
        return a / b
    except ZeroDivisionError:
        return NAN if a == 0 or a != a else math.copysign(INF, a) * math.copysign(1.0, b)


def floor_divide(a: float, b: float) -> float:
    q = divide(a, b)
    return q if q != q or math.isinf(q) else float(math.floor(q))


def remainder(a: float, b: float) -> float:
    try:
        return a % b
    except (ZeroDivisionError, ValueError):
        return NAN


def truncated_remainder(a: float, b: float) -> float:
    try:
        return math.fmod(a, b)
    except (ZeroDivisionError, ValueError):
        return NAN


def truncated_remainder_int(a: int, b: int) -> int:
    r = abs(a) % abs(b)
    return -r if a < 0 else r


def minimum(a: float, b: float) -> float:
    return a if a < b or a != a else b


def maximum(a: float, b: float) -> float:
    return a if a > b or a != a else b


def power(a: float, b: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.power(np.float64(a), np.float64(b)))


def sigmoid(v: float) -> float:
    if v >= 0:
        return 1.0 / (1.0 + math.exp(-v))
    e = exp(v)
    return e / (1.0 + e)


def exp(v: float) -> float:
    try:
        return math.exp(v)
    except OverflowError:
        return INF


def rsqrt(v: float) -> float:
    return NAN if v < 0 else divide(1.0, math.sqrt(v)) if v == v else NAN


def _numpy(name: str) -> Callable[[float], float]:
    """The double-precision NumPy function: defined everywhere, NaN and infinities included."""
    f = getattr(np, name)

    def call(v: float) -> float:
        with np.errstate(all="ignore"):
            return float(f(np.float64(v)))

    return call


FUNCTIONS: dict[str, Callable[..., float]] = {
    "exp": exp, "sigmoid": sigmoid, "rsqrt": rsqrt, "pow": power, "erf": math.erf, "erfc": math.erfc, "atan2": math.atan2,
    "floor": _numpy("floor"), "ceil": _numpy("ceil"), "round": _numpy("rint"), "trunc": _numpy("trunc"),
    "asin": _numpy("arcsin"), "acos": _numpy("arccos"), "atan": _numpy("arctan"), "asinh": _numpy("arcsinh"),
    "acosh": _numpy("arccosh"), "atanh": _numpy("arctanh"),
    **{n: _numpy(n) for n in ("exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
}  # fmt: skip
