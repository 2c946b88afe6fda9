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
    if not torch.equal(ours.isnan(), eager.isnan()):
        return _wrong(
            name, f"NaN at {int((ours.isnan() != eager.isnan()).sum())} places where eager has none, or the other way round"
        )
    finite = eager.isfinite()
    if not torch.equal(ours[~finite & ~eager.isnan()], eager[~finite & ~eager.isnan()]):
        return _wrong(name, "infinities differ from eager's")
    return _compare_finite(
        name, ours[finite].double(), eager[finite].double(), reference, finite, moved, torch.finfo(eager.dtype).eps
    )


def _compare_finite(name: str, ours, eager, reference, finite: torch.Tensor, moved: Callable, eps: float) -> Difference:
    truth = eager if reference is None else reference[finite].double()
    scale = _largest(truth)
    if reference is not None and not _largest(eager - truth) <= UNRELIABLE * eps * scale:
        truth, scale = eager, _largest(eager)
    error, mean = _largest(ours - truth), _mean(ours - truth)
    tolerance = max(EAGER_MULTIPLE * _largest(eager - truth), LAST_PLACES * eps * scale)
    mean_tolerance = max(EAGER_MULTIPLE * _mean(eager - truth), LAST_PLACES * eps * _mean(truth))
    if error <= tolerance and mean <= mean_tolerance:
        return Difference(name, error, tolerance, scale, True)
    if reference is not None:
        clean = reference[finite].double()
        spread = [m[finite].double() - clean for m in moved()]
        tolerance = max([tolerance, *(DISTURBED_MULTIPLE * _largest(s) for s in spread)])
        mean_tolerance = max([mean_tolerance, *(DISTURBED_MULTIPLE * _mean(s) for s in spread)])
    right = error <= tolerance and mean <= mean_tolerance
    why = (
        ""
        if right
        else f"error {error:.3g}, allowed {tolerance:.3g}"
        if error > tolerance
        else f"mean error {mean:.3g}, allowed {mean_tolerance:.3g}"
    )
    return Difference(name, error, tolerance, scale, right, why)


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
