"""What an operator specification is. A generator of random numbers and a shape come in, a `Call` goes out: a torch function, its parameters and its inputs.

The function is the meaning: traced it becomes a Graph (`trace`), run on float64 tensors it is the reference. An operator `takes` a kind of
shape: any, rows [.., D], matrix [M, K], sequence [B, T, D], signal [N, C, L], image [N, C, H, W], volume [N, C, D, H, W], heads [B, H, T, D].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

Shape = tuple[int, ...]
Function = Callable[..., object]

CATEGORIES = (
    "elementwise", "broadcast", "reduction", "normalisation", "contraction", "convolution", "pooling", "scan", "index", "order", "resize",
    "loss", "attention", "quantised", "layout", "block",
)  # fmt: skip
KINDS = {"any": None, "rows": None, "matrix": 2, "sequence": 3, "signal": 3, "image": 4, "volume": 5, "heads": 4}
"""Kind of shape -> its rank, None for several."""
DRAWS = ("normal", "positive", "unit", "weight", "scale", "sign", "probability", "index", "count", "flag", "byte", "ubyte")
"""How an input is drawn: `index` and `count` are whole numbers below `below`, `sign` is -1 or 1, `probability` rows sum to 1."""


@dataclass(frozen=True)
class Given:
    """An input: `draw` is one of DRAWS; `below` bounds whole numbers."""

    name: str
    shape: Shape
    dtype: str = "float32"
    draw: str = "normal"
    below: int = 0


@dataclass(frozen=True)
class Call:
    """`function(first, *more)` on tensors; `first` says how the operand itself must be drawn where that is not a normal distribution."""

    function: Function
    more: tuple[Given, ...] = ()
    params: tuple[tuple[str, object], ...] = ()
    first: Given | None = None


@dataclass(frozen=True)
class Operator:
    """`call(pick, shape)` draws parameters for an operand of the shape, or gives None where none fit. `inside`: may stand within a larger
    program (its first operand is float32 of any values, and so is its result)."""

    name: str
    category: str
    takes: str
    call: Callable[[Pick, Shape], Call | None]
    inside: bool = True


@dataclass
class Pick:
    """Random choices. `scale` shrinks the shapes that it draws (1: as models have them)."""

    rng: np.random.Generator
    scale: float = 1.0
    noted: dict[str, object] = field(default_factory=dict)

    def of(self, *values):
        """One of the values."""
        return values[int(self.rng.integers(len(values)))]

    def note(self, name: str, *values):
        """One of the values, kept as a parameter of the call."""
        self.noted[name] = value = self.of(*values)
        return value

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def whole(self, low: int, high: int) -> int:
        """A whole number in low..high, both included."""
        return int(self.rng.integers(low, high + 1))

    def divisor(self, n: int, *wanted: int) -> int:
        """One of the wanted numbers that divides n; 1 where none does."""
        fits = [w for w in wanted if w <= n and n % w == 0]
        return self.of(*fits) if fits else 1


class Table(dict[str, Operator]):
    """Operators by name; `add` and `unary` fill it."""

    def add(self, name: str, category: str, takes: str = "any", inside: bool = True):
        """Registers the decorated `(pick, shape) -> Call | None`."""
        if name in self or category not in CATEGORIES or takes not in KINDS:
            raise ValueError(f"operator {name}: {category}, {takes}")

        def registered(make):
            def call(pick: Pick, shape: Shape) -> Call | None:
                pick.noted = {}
                made = make(pick, shape)
                return None if made is None else Call(made.function, made.more, tuple(pick.noted.items()), made.first)

            self[name] = Operator(name, category, takes, call, inside)
            return make

        return registered

    def unary(self, name: str, function: Function, category: str = "elementwise", draw: str = "normal", inside: bool = True) -> None:
        """An operator without parameters."""
        first = (lambda s: Given("x", s, "float32", draw)) if draw != "normal" else (lambda s: None)
        self.add(name, category, "any", inside and draw == "normal")(lambda pick, shape: Call(function, first=first(shape)))


TORCH = {
    "float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16, "int64": torch.int64, "int32": torch.int32, "int8": torch.int8,
    "uint8": torch.uint8, "bool": torch.bool,
}  # fmt: skip


def weight(name: str, *shape: int) -> Given:
    """A weight: small enough that sums over its second axis keep their size."""
    return Given(name, tuple(shape), "float32", "weight")


def vector(name: str, n: int, draw: str = "normal") -> Given:
    return Given(name, (n,), "float32", draw)


def chain(calls: Sequence[Function]) -> Function:
    """Functions of one tensor, one after the other."""

    def run(x, *more):
        for f in calls:
            x = f(x)
        return x

    return run
