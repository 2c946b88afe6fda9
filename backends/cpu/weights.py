"""The weights of a running module: where they live comes in, tensors, addresses and what is prepared from them go out, on every call anew.

Parameters may be changed in place or replaced between calls. Preparation (packing) runs again when a weight's address, its torch version or
a few of its words differ from the last time.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ...ir.diagnostic import InputMismatch
from ...ir.types import BYTES
from .allocator import pool
from .bind import check_tensor, evaluate, evaluated
from .layout import Layout
from .printer import THREADS

Slot = tuple[Mapping[str, torch.Tensor | None], str]
"""Where a weight lives: a mapping (a module's `_parameters`, say) and a key, looked up on every call."""


@dataclass(frozen=True)
class Current:
    """Weights as they are now (dense), their addresses, and what was prepared from them."""

    tensors: list[torch.Tensor]
    addresses: list[int]
    kept: list[torch.UntypedStorage]
    kept_addresses: list[int]


_NOTHING = Current([], [], [], [])


class Weights:
    """`run(table, arena, offsets, threads, first, last)` and `probe` are the C entries."""

    def __init__(self, layout: Layout, slots: Mapping[str, Slot], entry: Callable, probe: Callable):
        self.layout, self.entry, self.probe = layout, entry, probe
        self.slots = [slots[name] for name in layout.weights]
        self._inputs = {i.name: i for i in layout.module.inputs}
        self._state: object = None
        self._current = _NOTHING
        self._dense = False
        read = {name for launch in layout.module.prepare for name in launch.args}
        self._watched = [n for n, name in enumerate(layout.weights) if name in read]
        sizes = {
            name: math.prod(evaluated(t, {})) * BYTES[t.dtype]
            for name, t in layout.module.types.items()
            if name in {*layout.weights, *layout.kept}
        }
        self._bytes = (ctypes.c_int64 * len(self._watched))(*(sizes[layout.weights[n]] for n in self._watched))
        self._kept_bytes = [sizes[name] for name in layout.kept]
        self._probed = ctypes.c_void_p * len(self._watched)

    def now(self, threads: int) -> Current:
        """The weights at this call. Raises InputMismatch where one no longer fits."""
        if not self.slots and not self.layout.kept:
            return _NOTHING
        tensors: list[torch.Tensor] = [owner[key] for owner, key in self.slots]  # type: ignore[misc]
        addresses = [t.data_ptr() for t in tensors]
        current = self._current
        if not self._dense or addresses != current.addresses:
            return self._changed(tensors, addresses, threads)
        if self._watched and self._watch(tensors, addresses) != self._state:
            return self._changed(tensors, addresses, threads)
        return current

    def _watch(self, tensors: list[torch.Tensor], addresses: list[int]) -> object:
        versions = [0 if (t := tensors[n]).is_inference() else t._version for n in self._watched]
        digest = self.probe(self._probed(*[addresses[n] for n in self._watched]), self._bytes, len(self._watched))
        return digest, versions

    def _changed(self, tensors: list[torch.Tensor], addresses: list[int], threads: int) -> Current:
        dense = [self._checked(name, t) for name, t in zip(self.layout.weights, tensors)]
        places = [t.data_ptr() for t in dense]
        state = self._watch(dense, places) if self._watched else None
        kept = self._prepare(places, threads)
        current = Current(dense, places, kept, [s.data_ptr() for s in kept])
        self._current, self._state, self._dense = current, state, places == addresses
        return current

    def _checked(self, name: str, weight: torch.Tensor | None) -> torch.Tensor:
        """Dtype and shape as compiled; a copy where it is not dense (which then is made on every call)."""
        given = self._inputs[name]
        check_tensor(given, weight)
        assert weight is not None
        expected = evaluated(given.type, {})
        if tuple(weight.shape) != expected:
            raise InputMismatch(f"{given.role} {name}: expected shape {list(expected)}, got {list(weight.shape)}")
        return weight.detach().contiguous()

    def _prepare(self, addresses: list[int], threads: int) -> list[torch.UntypedStorage]:
        """Run the preparing kernels into new memory: another thread may still be reading the old."""
        layout = self.layout
        if not layout.module.prepare:
            return []
        first, count = len(layout.step_launches), len(layout.module.prepare)
        scratch = max((evaluate(e, {THREADS: threads}) for e in layout.scratch[first:]), default=0)
        arena = pool.storage(scratch)
        kept = [pool.storage(n) for n in self._kept_bytes]
        table = (ctypes.c_void_p * len(layout.slots))(*[None] * len(layout.inputs), *addresses, *[s.data_ptr() for s in kept])
        offsets = (ctypes.c_int64 * (len(layout.arena) + len(layout.copies) + 1))()
        self.entry(table, None, arena.data_ptr(), offsets, threads, first, first + count)
        return kept
