"""An operator's name and a record's inputs come in, what torch computes for it goes out, for operators whose meaning the name settles.

The table holds what needs no further attribute, or whose attributes follow from the shapes. What is not in it is not compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .code_reference import CodeReference
from .record import Record

_ALLOWED = 1e-3


@dataclass(frozen=True)
class ByTorch:
    """Whether the C side computes what torch does; `why` in one line where not."""

    agrees: bool
    why: str = ""


Operator = Callable[..., object]
_UNARY = ["abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp", "floor", "isfinite", "isinf", "isnan", "log", "log2", "log10", "negative", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc", "relu"]
_BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "mod", "floor_mod", "floor_divide", "equal", "not_equal", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_or", "logical_xor"]
_NAMES = {
    "negative": "neg", "power": "pow", "mod": "fmod", "floor_mod": "remainder", "equal": "eq", "not_equal": "ne", "greater": "gt",
    "greater_equal": "ge", "less": "lt", "less_equal": "le", "divide": "true_divide",
}  # fmt: skip
OPERATORS: dict[str, Operator] = {
    **{name: getattr(torch, _NAMES.get(name, name)) for name in (*_UNARY, *_BINARY)},
    "fast_exp": torch.exp,
    "fast_tanh": torch.tanh,
    "fast_erf": torch.erf,
    "softmax": lambda x: torch.softmax(x, -1),
    "fast_softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "sum": torch.sum,
    "prod": torch.prod,
    "max": torch.max,
    "min": torch.min,
    "global_pool_max": lambda x: x.amax((-2, -1), keepdim=True),
    "global_pool_avg": lambda x: x.mean((-2, -1), keepdim=True),
    "matmul": torch.matmul,
    "batch_matmul": torch.matmul,
    "dense": F.linear,
    "unpack_NCHWc_to_nchw": lambda x: x.permute(0, 1, 4, 2, 3).reshape(x.shape[0], -1, *x.shape[2:4]),
}


def by_torch(record: Record, reference: CodeReference) -> ByTorch | None:
    """Compares the C side with torch in float64; None where the table does not have the operator or its arguments do not fit."""
    operator = OPERATORS.get(record.operator)
    if operator is None or not all(a.dtype == "float32" for a in record.inputs):
        return None
    inputs = reference.inputs_of(reference.own, 41)
    try:
        made = operator(*(torch.from_numpy(x).double() for x in inputs))
    except (RuntimeError, TypeError, IndexError):
        return None
    right, got = np.asarray(made.to(torch.float64)), reference.exact(inputs)[0].astype(np.float64)  # pyright: ignore[reportAttributeAccessIssue]
    if right.size != got.size:
        return None
    return _compared(right.reshape(got.shape), got)


def _compared(right: np.ndarray, got: np.ndarray) -> ByTorch:
    with np.errstate(all="ignore"):
        error = np.abs(right - got) / (np.abs(right) + 1e-3)
    error = np.where((right == got) | (np.isnan(right) & np.isnan(got)), 0.0, np.nan_to_num(error, nan=np.inf))
    if not error.size or error.max() <= _ALLOWED:
        return ByTorch(True)
    at = np.unravel_index(int(np.argmax(error)), error.shape)
    return ByTorch(False, f"its C side gives {got[at]:.6g} where torch gives {right[at]:.6g} at {[int(i) for i in at]}")
