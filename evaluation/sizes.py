"""Other sizes to check a compiled model at: its module and example tensors come in, tensors of other sizes go out.

Every variant of a dispatching kernel is run at the first value of its dim, so that none leaves `compile` unseen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ..ir.expr import Const, Var, as_int, simplify, substitute
from ..ir.graph import Input
from ..ir.module import Launch, Module
from ..ir.variants import variants

MOST = 256
"""Values of a dim beyond this, and beyond the example's, are left to the user's own runs: checking costs a run of the model in float64."""


def sizes_to_check(module: Module, example: Mapping[str, int]) -> list[dict[str, int]]:
    """Values of all dims: those at which a variant begins, one dim at a time, the others as in the example."""
    found: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}
    for step in (*module.prepare, *module.steps):
        if not isinstance(step, Launch) or not step.program.dispatch:
            continue
        name = step.program.dispatch
        for v in variants(step.program):
            value = v.ranges[0][0]
            if value != example[name] and value <= max(MOST, example[name]):
                sizes = {**example, name: value}
                found[tuple(sorted(sizes.items()))] = sizes
    return [found[key] for key in sorted(found)]


def resized(inputs: Sequence[Input], tensors: Sequence[torch.Tensor], sizes: Mapping[str, int]) -> list[torch.Tensor]:
    """Tensors of these sizes with the values of the given ones, repeated or cut off where an extent moves."""
    env = {name: Const(value) for name, value in sizes.items()}
    out = []
    for given, t in zip(inputs, tensors):
        for axis, extent in enumerate(given.type.shape):
            wanted = as_int(simplify(substitute(extent, env))) if not isinstance(extent, Var) else sizes[extent.name]
            assert wanted is not None
            t = t.index_select(axis, torch.arange(wanted) % t.shape[axis])
        out.append(t)
    return out
