"""Triton functions that printed kernels call, and which function of Triton stands for which operator.

Comes in: the names that were used. Goes out: their definitions. What only CUDA's libdevice has is written out, so that kernels run in
Triton's interpreter too; the formulas keep float32's accuracy (expm1 and log1p: Kahan's, see Higham 2002, section 1.14.1).
"""

from __future__ import annotations

OWN = ("tanh", "expm1", "log1p", "sinh", "cosh", "tan", "erfc", "round_even", "truncate", "power", "remainder_of", "logistic")

# operator -> function of float arguments
FUNCTIONS: dict[str, str] = {
    "exp": "tl.exp", "exp2": "tl.exp2", "log": "tl.log", "log2": "tl.log2", "sqrt": "tl.sqrt_rn", "rsqrt": "tl.rsqrt", "sin": "tl.sin",
    "cos": "tl.cos", "erf": "tl.erf", "floor": "tl.floor", "ceil": "tl.ceil", "abs": "tl.abs", "min": "minimum", "max": "maximum",
    "tanh": "tanh", "expm1": "expm1", "log1p": "log1p", "sinh": "sinh", "cosh": "cosh", "tan": "tan", "erfc": "erfc", "round": "round_even",
    "trunc": "truncate", "pow": "power", "fmod": "remainder_of", "sigmoid": "logistic", "log10": "log10", "isnan": "is_nan",
    "isinf": "is_infinite", "//": "floor_divide", "%": "floor_remainder",
}  # fmt: skip

_NEEDS = {"sinh": ("expm1",), "floor_remainder": ("floor_divide",), "remainder_of": ("truncate",), "power": ("truncate",)}

_TEXTS: dict[str, str] = {
    "maximum": """
@triton.jit
def maximum(a, b):
    # The larger of two values, NaN when either is.
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
""",
    "minimum": """
@triton.jit
def minimum(a, b):
    # The smaller of two values, NaN when either is.
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)
""",
    "largest": """
@triton.jit
def largest(x):
    # The largest element, NaN when any is.
    nans = tl.max((x != x).to(tl.int32), axis=None)
    return tl.where(nans > 0, float("nan"), tl.max(x, axis=None))
""",
    "smallest": """
@triton.jit
def smallest(x):
    # The smallest element, NaN when any is.
    nans = tl.max((x != x).to(tl.int32), axis=None)
    return tl.where(nans > 0, float("nan"), tl.min(x, axis=None))
""",
    "logistic": """
@triton.jit
def logistic(x):
    return 1.0 / (1.0 + tl.exp(-x))
""",
    "expm1": """
@triton.jit
def expm1(x):
    e = tl.exp(x)
    small = (e - 1.0) * x / tl.log(e)
    return tl.where(e == 1.0, x, tl.where((tl.abs(x) < 0.5) & (e != 1.0), small, e - 1.0))
""",
    "log1p": """
@triton.jit
def log1p(x):
    u = 1.0 + x
    small = tl.log(u) * x / (u - 1.0)
    return tl.where(u == 1.0, x, tl.where(tl.abs(x) < 0.5, small, tl.log(u)))
""",
    "log10": """
@triton.jit
def log10(x):
    return tl.log(x) * 0.43429448190325176
""",
    "tanh": """
@triton.jit
def tanh(x):
    a = tl.abs(x)
    e = tl.exp(-2.0 * a)
    s = x * x
    near = x * (1.0 + s * (-0.3333333333333333 + s * (0.13333333333333333 + s * (-0.05396825396825397 + s * 0.021869488536155203))))
    far = (1.0 - e) / (1.0 + e)
    return tl.where(a < 0.25, near, tl.where(x < 0.0, -far, far))
""",
    "sinh": """
@triton.jit
def sinh(x):
    t = expm1(x)
    return 0.5 * (t + t / (t + 1.0))
""",
    "cosh": """
@triton.jit
def cosh(x):
    return 0.5 * (tl.exp(x) + tl.exp(-x))
""",
    "tan": """
@triton.jit
def tan(x):
    return tl.sin(x) / tl.cos(x)
""",
    "erfc": """
@triton.jit
def erfc(x):
    return 1.0 - tl.erf(x)
""",
    "truncate": """
@triton.jit
def truncate(x):
    return tl.where(x < 0.0, tl.ceil(x), tl.floor(x))
""",
    "round_even": """
@triton.jit
def round_even(x):
    low = tl.floor(x)
    rest = x - low
    odd = low - 2.0 * tl.floor(low * 0.5)
    return tl.where((rest > 0.5) | ((rest == 0.5) & (odd != 0.0)), low + 1.0, low)
""",
    "power": """
@triton.jit
def power(x, y):
    size = tl.exp2(y * tl.log2(tl.abs(x)))
    odd = truncate(y * 0.5) * 2.0 != y
    signed = tl.where((x < 0.0) & odd, -size, size)
    whole = truncate(y) == y
    return tl.where(y == 0.0, 1.0, tl.where((x < 0.0) & (whole == 0), float("nan"), signed))
""",
    "remainder_of": """
@triton.jit
def remainder_of(a, b):
    # The remainder of a division that rounds towards zero.
    return a - truncate(a / b) * b
""",
    "is_nan": """
@triton.jit
def is_nan(x):
    return x != x
""",
    "is_infinite": """
@triton.jit
def is_infinite(x):
    return tl.abs(x) == float("inf")
""",
    "floor_divide": """
@triton.jit
def floor_divide(a, b):
    # Division rounded down.
    quotient = a // b
    rest = a - quotient * b
    return tl.where((rest != 0) & ((rest < 0) != (b < 0)), quotient - 1, quotient)
""",
    "floor_remainder": """
@triton.jit
def floor_remainder(a, b):
    # The remainder of a division rounded down: it has the sign of the divisor.
    return a - floor_divide(a, b) * b
""",
}

HEADER = "import triton\nimport triton.language as tl"


class Functions:
    """The functions that a module of kernels needs, each after those that it calls."""

    def __init__(self) -> None:
        self.needed: dict[str, str] = {"": HEADER}

    def need(self, name: str) -> None:
        """Note that `name` is used; Triton's own functions have no definition here."""
        for other in _NEEDS.get(name, ()):
            self.need(other)
        if name in _TEXTS:
            self.needed.setdefault(name, _TEXTS[name].strip("\n"))

    def define(self, name: str, text: str) -> None:
        """A definition made for one module."""
        self.needed.setdefault(name, text)
