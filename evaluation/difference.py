"""Is a float32 result right? Ours, eager's and a float64 reference come in; per output an error, a tolerance and a verdict go out.

An error is right within four times what eager makes, within a few units in the last place of the largest value, or within what
honest float32 arithmetic may make of the model (`rounding.Disturbed`, asked only when the first two do not hold).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

EAGER_MULTIPLE = 4.0
LAST_PLACES = 16.0
DISTURBED_MULTIPLE = 2.0
UNRELIABLE = 1e4
"""The reference differs from eager by more than so many units: it is not the same function (random draws depend on the dtype)."""

Leaves = Sequence[torch.Tensor]


@dataclass(frozen=True)
class Difference:
    """One output: `error` and `tolerance` are absolute, in the largest norm; `scale` is the largest absolute reference value."""

    name: str
    error: float
    tolerance: float
    scale: float
    right: bool
    why: str = ""

    @property
    def relative(self) -> float:
        return self.error / self.scale if self.scale else self.error


Allowance = Callable[[], Sequence[Leaves]]
"""Disturbed float64 runs of the model, made on demand."""


def compare(
    names: Sequence[str], ours: Leaves, eager: Leaves, reference: Leaves | None, disturbed: Allowance
) -> list[Difference]:
    """One Difference for each output. `reference` None: eager is the reference (there is no float64 run of this model)."""
    runs: list[Sequence[Leaves]] = []

    def moved(number: int) -> list[torch.Tensor]:
        if not runs:
            runs.append(disturbed())
        return [leaves[number] for leaves in runs[0]]

    out = []
    for number, name in enumerate(names):
        r = reference[number] if reference is not None else None
        out.append(_compare(name, ours[number], eager[number], r, lambda n=number: moved(n)))
    return out


def _compare(name: str, ours: torch.Tensor, eager: torch.Tensor, reference: torch.Tensor | None, moved: Callable) -> Difference:
    if ours.shape != eager.shape or ours.dtype != eager.dtype:
        return _wrong(name, f"{ours.dtype} {list(ours.shape)} instead of {eager.dtype} {list(eager.shape)}")
    if not eager.is_floating_point():
        return _compare_exact(name, ours, eager, reference, moved)
    if all_finite(ours) and all_finite(eager):
        return _compare_finite(name, ours.double(), eager.double(), reference, None, moved, torch.finfo(eager.dtype).eps)
    if not torch.equal(ours.isnan(), eager.isnan()):
        return _wrong(
            name, f"NaN at {int((ours.isnan() != eager.isnan()).sum())} places where eager has none, or the other way round"
        )
    where, infinite = eager.isfinite(), eager.isinf()
    if not torch.equal(ours[infinite], eager[infinite]):
        return _wrong(name, "infinities differ from eager's")
    return _compare_finite(name, _at(ours, where), _at(eager, where), reference, where, moved, torch.finfo(eager.dtype).eps)


def all_finite(t: torch.Tensor) -> bool:
    """No NaN and no infinity (the extremes propagate both)."""
    return t.numel() == 0 or all(bool(x.isfinite()) for x in torch.aminmax(t))


def _at(t: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
    """The finite values, in float64."""
    return (t if where is None else t[where]).double()


def _compare_finite(name: str, ours, eager, reference, where: torch.Tensor | None, moved: Callable, eps: float) -> Difference:
    truth = eager if reference is None else _at(reference, where)
    scale = _largest(truth)
    eager_error = _norms(eager, truth)
    if not eager_error[0] <= UNRELIABLE * eps * scale:
        truth, scale, eager_error = eager, _largest(eager), (0.0, 0.0)
    error = _norms(ours, truth)
    floor = LAST_PLACES * eps
    allowed = (max(EAGER_MULTIPLE * eager_error[0], floor * scale), max(EAGER_MULTIPLE * eager_error[1], floor * _mean(truth)))
    if reference is not None and (error[0] > allowed[0] or error[1] > allowed[1]):
        clean = _at(reference, where)
        spread = [_norms(_at(m, where), clean) for m in moved()]
        allowed = tuple(max([a, *(DISTURBED_MULTIPLE * s[k] for s in spread)]) for k, a in enumerate(allowed))
    if error[0] > allowed[0]:
        return Difference(name, error[0], allowed[0], scale, False, f"error {error[0]:.3g}, allowed {allowed[0]:.3g}")
    why = f"mean error {error[1]:.3g}, allowed {allowed[1]:.3g}" if error[1] > allowed[1] else ""
    return Difference(name, error[0], allowed[0], scale, not why, why)


def _norms(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """(largest, mean) absolute difference."""
    apart = (a - b).abs_()
    return (float(apart.max()), float(apart.mean())) if apart.numel() else (0.0, 0.0)


def _compare_exact(
    name: str, ours: torch.Tensor, eager: torch.Tensor, reference: torch.Tensor | None, moved: Callable
) -> Difference:
    """Integers and booleans are equal, except where rounding alone decides (a near tie of argmax, say)."""
    differs = ours != eager
    count = int(differs.sum())
    if count and reference is not None:
        undecided = torch.zeros_like(differs)
        for other in [reference, *moved()]:
            undecided |= other.to(eager.dtype) != eager
        count = int((differs & ~undecided).sum())
    error = float((ours.double() - eager.double()).abs().max()) if count else 0.0
    return Difference(
        name, error, 0.0, _largest(eager.double()), count == 0, f"{count} of {eager.numel()} values differ" if count else ""
    )


def _wrong(name: str, why: str) -> Difference:
    return Difference(name, float("inf"), 0.0, 1.0, False, why)


def _largest(x: torch.Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


def _mean(x: torch.Tensor) -> float:
    return float(x.abs().mean()) if x.numel() else 0.0
