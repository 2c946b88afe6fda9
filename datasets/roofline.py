"""Which CUDA plan is likely fastest, without a GPU: scheduled Modules come in, the one with the least modelled time and what was compared go out.

The model is `agents.evolve.modelled`, with the figures of the H100's datasheet; records say that it chose.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..agents.evolve.modelled import module_seconds
from ..ir.diagnostic import WarploomError
from ..ir.module import Module
from .cuda_side import MACHINE


def cheapest(first: Module, others: Sequence[Module]) -> tuple[Module, str]:
    """The plan with the least modelled time, `first` where none is better, and what was compared."""
    base = seconds(first)
    best, found = first, base
    for m in others:
        try:
            t = seconds(m)
        except WarploomError:
            continue
        if t < found * 0.98:
            best, found = m, t
    return best, f"{found * 1e6:.1f} us modelled for {MACHINE.name}, {base * 1e6:.1f} us for the default, {len(others)} others tried"


def seconds(module: Module) -> float:
    """Modelled time of all launches."""
    return module_seconds(module, MACHINE)
