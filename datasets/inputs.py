"""How inputs are drawn: a `Given` and a seed come in, a NumPy expression goes out, the same text that stands in the record.

Each expression names its own generator, `np.random.Generator(np.random.PCG64([seed, position]))`, so that any one of them can be evaluated
alone with nothing but `np` in scope. Families other than `own` change the values of inputs that may be anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..backends.emulator.numpy_text import evaluate
from ..frontend.operators.operator import Given

FAMILIES = ("own", "large", "tiny", "whole", "spikes")
"""`own` as the operator wants them; then values of other sizes, whole numbers with many ties, and few values that outweigh the rest."""

_DRAWS = {
    "normal": "{g}.standard_normal({s})", "positive": "{g}.uniform(0.1, 2.0, {s})", "unit": "{g}.uniform(0.02, 0.98, {s})",
    "weight": "{g}.standard_normal({s}) * {w}", "scale": "{g}.uniform(0.5, 1.5, {s})", "sign": "np.sign({g}.standard_normal({s}) + 1e-9)",
    "probability": "({g}.random({s}) + 0.05) / np.sum({g}.random({s}) + 0.05, -1, keepdims=True)", "index": "{g}.integers(0, {below}, {s})", "count": "{g}.integers(0, {below}, {s})",
    "flag": "{g}.random({s}) < 0.3", "byte": "{g}.integers(-127, 128, {s})", "ubyte": "{g}.integers(0, 256, {s})",
}  # fmt: skip
_FREE = ("normal",)
_FAMILY = {
    "large": "{g}.standard_normal({s}) * 100", "tiny": "{g}.standard_normal({s}) * 1e-3", "whole": "{g}.integers(-4, 5, {s})",
    "spikes": "np.where({g}.random({s}) < 0.01, 50.0, 0.1) * {h}.standard_normal({s})",
}  # fmt: skip


def expression(given: Given, family: str, seed: int, position: int) -> str:
    """NumPy text of one input array, of its dtype (bfloat16 as uint16)."""
    shape = given.shape
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 16
    text = _FAMILY[family] if family != "own" and _free(given) else _DRAWS[given.draw]
    drawn = text.format(
        g=_generator(seed, position), h=_generator(seed, position + 1000), s=_tuple(shape), w=f"{max(fan_in, 1) ** -0.5:.6g}",
        below=given.below,
    )  # fmt: skip
    if given.dtype == "bfloat16":
        return f"((({drawn}).astype(np.float32).view(np.uint32) + 32768) // 65536).astype(np.uint16)"
    return f"({drawn}).astype(np.{'bool_' if given.dtype == 'bool' else given.dtype})"


def _free(given: Given) -> bool:
    """Whether it may be any number."""
    return given.draw in _FREE and given.dtype.startswith(("float", "bfloat"))


def _generator(seed: int, position: int) -> str:
    return f"np.random.Generator(np.random.PCG64([{seed}, {position}]))"


def _tuple(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def families(inputs: Sequence[Given]) -> tuple[str, ...]:
    """The families that differ for these inputs."""
    return FAMILIES if any(map(_free, inputs)) else ("own", "own")


def drawn(text: str) -> np.ndarray:
    """The array of an expression. Raises Unreadable for text that is no NumPy expression."""
    return np.ascontiguousarray(evaluate(text))
