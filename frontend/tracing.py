"""Two corrections to torch's tracing, as contexts: recurrent networks are not unrolled, draws that nobody reads are not dropped.

Comes in: nothing. Goes out: `recurrent_shapes()` and `draws_kept()`, to be entered around torch.export.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch._C import DispatchKey
from torch._decomp import decomposition_table
from torch.fx.node import _side_effectful_functions

_LOCK = threading.RLock()
_KEYS = (DispatchKey.CompositeImplicitAutograd, DispatchKey.Autograd)


def _output(x: torch.Tensor, hidden: torch.Tensor, bidirectional: bool) -> torch.Tensor:
    """[time, batch, features] or [batch, time, features], as x has it."""
    return x.new_empty((x.shape[0], x.shape[1], hidden.shape[2] * (2 if bidirectional else 1)))


def _one_state(
    input: torch.Tensor,
    hx: torch.Tensor,
    params: Sequence[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    return _output(input, hx, bidirectional), torch.empty_like(hx, memory_format=torch.contiguous_format)


def _two_states(
    input: torch.Tensor,
    hx: Sequence[torch.Tensor],
    params: Sequence[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    h, c = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in hx)
    return _output(input, h, bidirectional), h, c


_SHAPES: dict[torch._ops.OpOverload, Callable[..., object]] = {
    torch.ops.aten.lstm.input: _two_states,
    torch.ops.aten.gru.input: _one_state,
    torch.ops.aten.rnn_tanh.input: _one_state,
    torch.ops.aten.rnn_relu.input: _one_state,
}


@contextmanager
def recurrent_shapes() -> Iterator[None]:
    """Within, these operators compute shapes only: for tracing, never for values. One thread at a time."""
    with _LOCK:
        saved = {op: dict(op.py_kernels) for op in _SHAPES}
        decompositions = {op: decomposition_table[op] for op in _SHAPES}
        try:
            for op, shape in _SHAPES.items():
                op.py_kernels.update(dict.fromkeys(_KEYS, shape))
                op._dispatch_cache.clear()
            decomposition_table.update(_SHAPES)
            yield
        finally:
            decomposition_table.update(decompositions)
            for op, kernels in saved.items():
                op.py_kernels.clear()
                op.py_kernels.update(kernels)
                op._dispatch_cache.clear()


_DRAWS = tuple(
    getattr(getattr(torch.ops.aten, name), overload)
    for name in (
        "rand",
        "randn",
        "randint",
        "randperm",
        "rand_like",
        "randn_like",
        "randint_like",
        "bernoulli",
        "native_dropout",
        "multinomial",
        "normal",
        "normal_functional",
        "uniform",
        "exponential",
        "geometric",
        "cauchy",
        "log_normal",
        "poisson",
    )
    for overload in getattr(torch.ops.aten, name).overloads()
    if "out" not in overload
)


@contextmanager
def draws_kept() -> Iterator[None]:
    """Within, dead code elimination keeps operators that move torch's generator, so that later draws stay eager's."""
    with _LOCK:
        added = [op for op in _DRAWS if op not in _side_effectful_functions]
        _side_effectful_functions.update(added)
        try:
            yield
        finally:
            _side_effectful_functions.difference_update(added)
