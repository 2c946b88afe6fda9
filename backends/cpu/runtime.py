"""Runs a compiled module: user tensors come in, output tensors go out, updates are written back.

One C call per run of launches; ATen steps in between go through torch. A call owns its pointer table, arena and outputs, so
calls may run at the same time in many threads. In a forked child OpenMP teams of the parent are gone: there a call uses one thread.
"""

from __future__ import annotations

import ctypes
import functools
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...frontend.dtypes import TORCH_DTYPE as TORCH
from ...ir.diagnostic import InputMismatch
from ...ir.module import Aten, Launch, Library
from ..toolchain import open_library
from .allocator import pool
from .aten import run_node
from .bind import Bound, Made, bind, check_tensor, check_within, row_major
from .entry import ENTRY, PROBE
from .layout import Layout
from .weights import Current, Slot, Weights

_KEPT_SHAPES = 256
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)


class Runtime:
    """`entry` is the C function of `layout`. `threads`: None follows torch.get_num_threads()."""

    def __init__(self, layout: Layout, entry: Callable, weights: Weights, threads: int | None = None):
        self.layout, self.entry, self.weights, self.threads = layout, entry, weights, threads
        module = layout.module
        self.inputs = [i for i in module.inputs if i.role == "input"]
        self._dtypes = [TORCH[i.type.dtype] for i in self.inputs]
        self._ranged = [(n, i) for n, i in enumerate(self.inputs) if i.within is not None]
        self._bounds: dict[tuple, Bound] = {}
        self._table = ctypes.c_void_p * (len(layout.slots) or 1)
        self._writes_inputs = bool(module.updates)
        self._foreign = any(s.step is not None for s in layout.segments)

    def __call__(self, args: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Run once: a tensor for each of the module's outputs. Raises InputMismatch; gradients are out of scope."""
        call = self._prepare(args)
        if self._foreign:
            self._run_mixed(call)
        else:
            for segment in self.layout.segments:
                self._run(call, segment.first, segment.last)
        if self._writes_inputs:
            self._write_back(call)
        return [self._output(o, call) for o in call.bound.outputs]

    def _prepare(self, args: Sequence[torch.Tensor], apart: bool = False) -> _Call:
        """`apart`: state that kernels write is a copy of the caller's."""
        dense = self._dense_inputs(args)
        threads = 1 if _forked else self.threads or torch.get_num_threads()
        bound = self._bounds.get((threads, *[t.shape for t in dense])) or self._bind(dense, threads)
        for number, given in self._ranged:
            check_within(given, dense[number], bound.env)
        weights = self.weights.now(threads)
        arena = pool.storage(bound.arena_bytes) if bound.arena_bytes else None
        fresh = [pool.storage(n) for n in bound.fresh_bytes]
        table = self._table(
            *[t.data_ptr() for t in dense], *weights.addresses, *weights.kept_addresses, *[s.data_ptr() for s in fresh]
        )
        call = _Call(args, dense, weights, bound, threads, arena, fresh, table, {})
        if apart:
            for target, _ in self.layout.in_place:
                slot = self.layout.slots[target]
                call.made[target] = [*dense, *weights.tensors][slot].clone()
                table[slot] = call.made[target].data_ptr()
        return call

    # -------------------------------------------------------------------------------------------- inputs and weights
    def _dense_inputs(self, args: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        dense = []
        grad = torch.is_grad_enabled()
        for t, dtype, given in zip(args, self._dtypes, self.inputs):
            if not isinstance(t, torch.Tensor) or t.dtype is not dtype or not t.is_cpu or t.layout is not torch.strided:
                check_tensor(given, t)
            if grad and t.requires_grad:
                raise InputMismatch(
                    f"input {given.name} requires grad: gradients are out of scope", hint="call it under torch.no_grad()"
                )
            dense.append(t if t.is_contiguous() else t.contiguous())
        return dense

    def _bind(self, dense: Sequence[torch.Tensor], threads: int) -> Bound:
        bound = bind(self.layout, [tuple(t.shape) for t in dense], threads)
        if len(self._bounds) >= _KEPT_SHAPES:
            self._bounds.clear()
        self._bounds[(threads, *[t.shape for t in dense])] = bound
        return bound

    def _write_back(self, call: _Call) -> None:
        """Updates land in dense memory; what was copied to become dense is copied back."""
        module, slots = self.layout.module, self.layout.slots
        current = [*call.dense, *call.weights.tensors]
        owned = [*call.args, *(owner[key] for owner, key in self.weights.slots)]
        late = [(target, current[slots[module.storage(value)]].clone()) for target, value in self.layout.late]
        with torch.no_grad():
            for target, value in late:
                owned[slots[target]].copy_(value.view(owned[slots[target]].shape))
            for target, _ in (*self.layout.copies, *self.layout.in_place):
                source, home = current[slots[target]], owned[slots[target]]
                if source.data_ptr() != home.data_ptr():
                    home.copy_(source)
        targets = [owned[slots[target]] for target, _ in module.updates]
        torch.autograd.graph.increment_version([t for t in targets if not t.is_inference()])

    # -------------------------------------------------------------------------------------------- steps
    def _run(self, call: _Call, first: int, last: int) -> None:
        base = call.arena.data_ptr() if call.arena is not None else 0
        self.entry(call.table, call.bound.dims, base, call.bound.offsets, call.threads, first, last)

    def _run_mixed(self, call: _Call) -> None:
        """Runs of launches with ATen steps in between."""
        if _forked and torch.get_num_threads() > 1:
            torch.set_num_threads(1)
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            for segment in self.layout.segments:
                if segment.step is None:
                    self._run(call, segment.first, segment.last)
                else:
                    self._run_foreign(call, segment.step)
                for name in segment.dies:
                    call.made.pop(name, None)

    def _run_foreign(self, call: _Call, step: Aten | Library) -> None:
        for name, tensor in run_node(step.node, _Reader(self.layout, call), call.bound.env).items():
            call.made[name] = _apart(tensor, call.arena)
            call.table[self.layout.slots[name]] = call.made[name].data_ptr()

    def stepper(self, args: Sequence[torch.Tensor]) -> Callable[[int, int], None]:
        """Runs any range of the module's launches on one call's memory, again and again: for timing. Updates are left out. The memory has been
        written once, so that no run pays for its pages."""
        call = self._prepare(args, apart=True)
        for storage in (*call.fresh, *([] if call.arena is None else [call.arena])):
            ctypes.memset(storage.data_ptr(), 0, storage.nbytes())
        return functools.partial(self._run, call)

    def profile(self, args: Sequence[torch.Tensor], repeats: int = 5) -> list[float]:
        """Median seconds of each step of the module, run one by one in order on a call's own memory; CPU seconds on one thread. Updates are
        left out."""
        seconds: list[list[float]] = [[] for _ in self.layout.module.steps]
        nothing = functools.partial(self._run, self._prepare(args, apart=True), 0, 0)
        idle = min(self._timed(nothing) for _ in range(5))
        for _ in range(repeats):
            call, launch = self._prepare(args, apart=True), 0
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                for number, step in enumerate(self.layout.module.steps):
                    if isinstance(step, Launch):
                        run = functools.partial(self._run, call, launch, launch + 1)
                        launch += 1
                    else:
                        run = functools.partial(self._run_foreign, call, step)
                    seconds[number].append(max(self._timed(run) - idle, 1e-9))
        return [statistics.median(s) for s in seconds]

    def _timed(self, run: Callable[[], None]) -> float:
        now = time.process_time if (self.threads or torch.get_num_threads()) == 1 else time.perf_counter
        start = now()
        run()
        return now() - start

    # -------------------------------------------------------------------------------------------- outputs
    def _output(self, o: Made, call: _Call) -> torch.Tensor:
        if o.root in call.made:
            return call.made[o.root].view(o.shape)
        slot = self.layout.slots[o.root]
        if o.given:
            return self._given(o, slot, call)
        if o.kept:
            return _Reader(self.layout, call)[o.root].view(o.shape).clone()
        storage = call.fresh[slot - len(self.inputs) - len(self.layout.weights) - len(self.layout.kept)]
        return torch.empty(0, dtype=o.dtype).set_(storage, 0, o.shape, o.stride)  # type: ignore[call-overload]

    def _given(self, o: Made, slot: int, call: _Call) -> torch.Tensor:
        """An output that is an input: that very tensor, or another shape of it."""
        if slot < len(self.inputs):
            tensor = call.args[slot]
        else:
            owner, key = self.weights.slots[slot - len(self.inputs)]
            tensor = owner[key]
        assert tensor is not None
        return tensor if tuple(tensor.shape) == o.shape else tensor.detach().reshape(o.shape)


@dataclass(slots=True)
class _Call:
    """The memory of one call. `made`: what ATen made, by storage."""

    args: Sequence[torch.Tensor]
    dense: list[torch.Tensor]
    weights: Current
    bound: Bound
    threads: int
    arena: torch.UntypedStorage | None
    fresh: list[torch.UntypedStorage]
    table: ctypes.Array
    made: dict[str, torch.Tensor]


class _Reader(Mapping[str, torch.Tensor]):
    """The tensors that an ATen step reads, made on demand over the memory they live in."""

    def __init__(self, layout: Layout, call: _Call):
        self.layout, self.call = layout, call

    def __getitem__(self, name: str) -> torch.Tensor:
        module, layout, call = self.layout.module, self.layout, self.call
        root, shape = module.storage(name), call.bound.shapes[name]
        if root in call.made:
            return call.made[root].view(shape)
        home = layout.sharing.home.get(root, root)
        slot = layout.slots.get(home, -1)
        given = [*call.dense, *call.weights.tensors]
        if 0 <= slot < len(given):
            return given[slot].view(shape)
        in_arena = home in layout.arena
        offset = call.bound.offsets[layout.arena[home]] if in_arena else 0
        storage = call.arena if in_arena else [*call.weights.kept, *call.fresh][slot - len(given)]
        dtype = TORCH[module.types[name].dtype]
        return torch.empty(0, dtype=dtype).set_(storage, offset // dtype.itemsize, shape, row_major(shape))  # type: ignore[call-overload]

    def __iter__(self):
        return iter(self.layout.module.types)

    def __len__(self) -> int:
        return len(self.layout.module.types)


def _apart(tensor: torch.Tensor, arena: torch.UntypedStorage | None) -> torch.Tensor:
    """ATen may answer with a view of its argument; memory of the arena is used again, so such an answer is copied."""
    if arena is not None and tensor.numel() and tensor.untyped_storage().data_ptr() == arena.data_ptr():
        return tensor.clone()
    return tensor


def load(module_layout: Layout, library: Path, slots: Mapping[str, Slot], threads: int | None = None) -> Runtime:
    """Bind a compiled library to weights."""
    opened = open_library(library)
    entry, probe = getattr(opened, ENTRY), getattr(opened, PROBE)
    entry.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
    ]
    probe.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    entry.restype, probe.restype = None, ctypes.c_uint64
    return Runtime(module_layout, entry, Weights(module_layout, slots, entry, probe), threads)
