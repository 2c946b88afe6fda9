"""Does a compiled model agree with eager? The model, the compiled callable and example inputs come in; Differences per output go out.

Inputs are drawn anew for each seed, like the examples in dtype, shape, sign and zeros. Parameters and buffers of the model are left as they were; what
a run writes to buffers and inputs is compared like an output.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.func import functional_call
from torch.utils import _pytree as pytree

from .difference import Difference, all_finite, compare
from .rounding import Disturbed

SEEDS = (11, 12)
_DISTURBED_RUNS = 2


@dataclass(frozen=True)
class Run:
    """What one run gave: result leaves that are tensors, the state it left behind, the arguments as it left them."""

    leaves: list[torch.Tensor]
    others: list[object]
    state: dict[str, torch.Tensor]
    args: list[torch.Tensor]

    def values(self, subject: Subject) -> list[torch.Tensor]:
        """The tensors to compare (Python floats as tensors without axes): result, written state, written arguments."""
        return [*self.leaves, *(self.state[name] for name in subject.updated), *(self.args[n] for n in subject.mutated)]


@dataclass(frozen=True)
class Subject:
    """`model` in eager and `compiled` as a callable; `updated`: names of the parameters and buffers that a run writes, `mutated`:
    positions of the tensor arguments that it writes."""

    model: Callable[..., object]
    compiled: Callable[..., object]
    updated: tuple[str, ...] = ()
    mutated: tuple[int, ...] = ()


def disagreements(subject: Subject, example: Sequence[object], seeds: Sequence[int] = SEEDS) -> list[Difference]:
    """All Differences over all seeds, outputs first in each. A seed whose inputs eager refuses is run on the examples themselves."""
    found: list[Difference] = []
    for seed in seeds:
        found += _one_seed(subject, example, seed)
    return found


def _one_seed(subject: Subject, example: Sequence[object], seed: int) -> list[Difference]:
    args = fresh(example, seed)
    try:
        eager = run_eager(subject.model, args, seed)
    except Exception:  # the model's own code decides what it refuses; the examples it must take
        args = tuple(example)
        eager = run_eager(subject.model, args, seed)
    ours = run_compiled(subject, args, seed)
    if ours.others != eager.others or len(ours.leaves) != len(eager.leaves):
        return [Difference("result", math.inf, 0.0, 1.0, False, "its structure, or a value that is no tensor, differs from eager's")]
    reference = _reference(subject, args, seed)
    names = [
        *(f"output {n}" for n in range(len(eager.leaves))),
        *subject.updated,
        *(f"input {n}" for n in subject.mutated),
    ]

    def disturbed() -> list[list[torch.Tensor]]:
        unit = lowest_unit(subject.model, args)
        modes = (Disturbed(unit, seed + n, coherent=False) for n in range(_DISTURBED_RUNS))
        return [run_eager(subject.model, args, seed, torch.float64, mode).values(subject) for mode in modes]

    truth = reference.values(subject) if reference else None
    return compare(names, ours.values(subject), eager.values(subject), truth, disturbed)


def _reference(subject: Subject, args: Sequence[object], seed: int) -> Run | None:
    """A float64 run, None where the model cannot run in float64 (it mixes in float32 of its own)."""
    try:
        return run_eager(subject.model, args, seed, torch.float64)
    except Exception:
        return None


def run_eager(
    model: Callable[..., object],
    args: Sequence[object],
    seed: int,
    dtype: torch.dtype | None = None,
    mode: contextlib.AbstractContextManager | None = None,
) -> Run:
    """Run the model on copies of its state and arguments, in `dtype` where one is given."""
    state = {name: _convert(t.detach().clone(), dtype) for name, t in state_of(model).items()}
    args = pytree.tree_map(lambda a: _convert(a.detach().clone(), dtype) if isinstance(a, torch.Tensor) else a, tuple(args))
    with torch.no_grad(), torch.random.fork_rng(devices=_gpus()), mode or contextlib.nullcontext():
        torch.manual_seed(seed)
        result = functional_call(model, state, args) if isinstance(model, torch.nn.Module) else model(*args)
    return _run(result, state, args)


def run_compiled(subject: Subject, args: Sequence[object], seed: int) -> Run:
    """Run the compiled model on copies of the arguments; the model's state is put back afterwards."""
    state = state_of(subject.model)
    saved = {name: state[name].detach().clone() for name in subject.updated}
    args = pytree.tree_map(lambda a: a.detach().clone() if isinstance(a, torch.Tensor) else a, tuple(args))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=_gpus()):
            torch.manual_seed(seed)
            result = subject.compiled(*args)
        return _run(result, {name: state[name].detach().clone() for name in subject.updated}, args)
    finally:
        with torch.no_grad():
            for name, value in saved.items():
                state[name].copy_(value)


def _gpus() -> range:
    """The GPUs whose generators a run may move; a process that has used none is not made to."""
    return range(torch.cuda.device_count() if torch.cuda.is_initialized() else 0)


def _run(result: object, state: Mapping[str, torch.Tensor], args: object) -> Run:
    leaves = [torch.tensor(x, dtype=torch.float32) if type(x) is float else x for x in pytree.tree_leaves(result)]
    tensors = [x.detach() for x in leaves if isinstance(x, torch.Tensor)]
    others = [x for x in leaves if not isinstance(x, torch.Tensor)]
    return Run(tensors, others, dict(state), [a for a in pytree.tree_leaves(args) if isinstance(a, torch.Tensor)])


def state_of(model: object) -> dict[str, torch.Tensor]:
    """Parameters and buffers by qualified name."""
    if not isinstance(model, torch.nn.Module):
        return {}
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _convert(t: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return t.to(dtype) if dtype is not None and t.is_floating_point() else t


def lowest_unit(model: object, args: Sequence[object]) -> float:
    """Unit roundoff of the coarsest float dtype among state and arguments (float32 at the finest)."""
    tensors = [*state_of(model).values(), *(a for a in pytree.tree_leaves(list(args)) if isinstance(a, torch.Tensor))]
    return max([2.0**-24, *(torch.finfo(t.dtype).eps / 2 for t in tensors if t.is_floating_point())])


# ------------------------------------------------------------------------------------------------ fresh inputs
def fresh(example: Sequence[object], seed: int) -> tuple[object, ...]:
    """Arguments like the examples: floats drawn from the example's own values with its zeros and infinities in place, ints from its range."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(pytree.tree_map(lambda a: _fresh_tensor(a, generator) if isinstance(a, torch.Tensor) else a, tuple(example)))


_DRAWN = 262_139  # prime, so that repeats of the drawn values do not line up with rows


def _fresh_tensor(t: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if t.numel() == 0 or t.is_complex():
        return t.clone()
    if not t.is_floating_point():
        low, high = int(t.min()), int(t.max())
        return _like(t, torch.randint(low, high + 1, t.shape, generator=generator, dtype=torch.int64).to(t.device, t.dtype))
    everywhere = all_finite(t) and int(t.count_nonzero()) == t.numel()
    usual = torch.empty(0) if everywhere else t.isfinite() & (t != 0)
    pool = t.reshape(-1) if everywhere else t[usual]
    if pool.numel() == 0:
        return t.clone()
    drawn = pool[torch.randint(0, pool.numel(), (min(_DRAWN, t.numel()),), generator=generator)]
    values = drawn.repeat(-(-t.numel() // drawn.numel()))[: t.numel()].view(t.shape)
    return _like(t, values if everywhere else torch.where(usual, values, t))


def _like(t: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`values` with the strides of `t`, where it has no overlaps."""
    if t.is_contiguous() or any(stride == 0 for stride in t.stride()):
        return values.contiguous()
    return torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device).copy_(values)
