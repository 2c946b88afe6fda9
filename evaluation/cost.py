"""One run of a reference comes in, the bytes and operations that any implementation needs go out.

Bytes: what of each input and of the state is consumed by some operator (a gather consumes what it picks, a slice what it
keeps), once, plus the outputs, once. Operations: multiplications and additions of contractions, and those contractions'
share apart, since only they can use matrix units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from .rounding import VIEWS, name_of

_PICKS = {"embedding", "index_select", "gather", "index", "take", "take_along_dim", "_embedding_bag", "embedding_bag"}
_METADATA = {
    "empty_like",
    "zeros_like",
    "ones_like",
    "full_like",
    "rand_like",
    "randn_like",
    "new_zeros",
    "new_empty",
    "new_ones",
    "detach",
    "alias",
}


@dataclass(frozen=True)
class Cost:
    """What a task needs at least; the convolutions' operations are part of the contractions'."""

    bytes: int
    contraction_flops: int
    other_flops: int
    convolution_flops: int = 0

    @property
    def flops(self) -> int:
        """All operations."""
        return self.contraction_flops + self.other_flops


class _Consumption(TorchDispatchMode):
    """Notes how much of each watched storage operators read, and which operators ran."""

    def __init__(self, watched: list[torch.Tensor]):
        super().__init__()
        self.full = {t.untyped_storage()._cdata: t.numel() * t.element_size() for t in watched if t.numel()}
        self.read: dict[int, int] = {}
        self.calls: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = name_of(func)
        if name not in VIEWS and name not in _METADATA:
            self._note(name, out, args)
        return out

    def _note(self, name, out, args):
        made = sum(t.numel() * t.element_size() for t in _tensors(out))
        self.calls.append((name, max((t.numel() for t in [*_tensors(out), *_tensors(args)]), default=0)))
        for position, tensor in enumerate(_tensors(args)):
            key = tensor.untyped_storage()._cdata
            if key in self.full:
                size = min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
                size = min(size, made) if name in _PICKS and position == 0 else _distinct(tensor, size)
                self.read[key] = min(self.full[key], max(size, self.read.get(key, 0)))


class _Spoken(TorchFunctionMode):
    """Notes the functions that a model calls by name, without what they call in turn."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append((resolve_name(func) or getattr(func, "__name__", "?")).split(".")[-1])
        return func(*args, **(kwargs or {}))


def _distinct(tensor: torch.Tensor, size: int) -> int:
    """Bytes of different elements: an expanded view repeats some."""
    count = 1
    for extent, stride in zip(tensor.shape, tensor.stride()):
        count *= extent if stride else 1
    return min(size, count * tensor.element_size())


def _tensors(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [t for v in value for t in _tensors(v)]
    return []


@dataclass(frozen=True)
class Calls:
    """What a run called: operators as (name, elements of the largest tensor), and the functions spoken in its source."""

    operators: tuple[tuple[str, int], ...]
    spoken: tuple[str, ...]


def measure(run: Callable[[], object], inputs: list[torch.Tensor], state: list[torch.Tensor]) -> tuple[Cost, Calls]:
    """The cost of `run`, and what it called."""
    watched = [t for t in inputs + state if isinstance(t, torch.Tensor)]
    consumption = _Consumption(watched)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, consumption, _Spoken() as spoken:
        outputs = run()
    made = sum(t.numel() * t.element_size() for t in _tensors(outputs if isinstance(outputs, list | tuple) else [outputs]))
    convolution = sum(int(n) for op, n in counter.get_flop_counts().get("Global", {}).items() if "conv" in str(op))
    other = sum(n for _, n in consumption.calls)
    return Cost(sum(consumption.read.values()) + made, int(counter.get_total_flops()), other, convolution), Calls(
        tuple(consumption.calls), tuple(spoken.names)
    )
