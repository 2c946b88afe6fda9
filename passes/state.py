"""State that is written where it lives: the steps of a module come in, those that may write into an input's own memory go out.

    cache_1 = scatter(cache, at, row); cache receives cache_1          becomes          cache[at] = row

so that a cache of keys and values costs its new row on every call, not a copy of all rows. Only where nothing needs the old value later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir.graph import Graph, Scatter, operands
from ..ir.module import Launch, Module, Step
from .plan_memory import touched


def writes_in_place(graph: Graph, steps: Sequence[Step], views: Mapping[str, str]) -> dict[int, str]:
    """Step (a Scatter) -> the input that it may write into instead of a copy."""
    module = Module(graph.name, graph.dims, graph.inputs, tuple(steps), graph.outputs, graph.updates, views=views)
    makers = {v.name: n for n, s in enumerate(steps) if isinstance(s, Launch) and s.kind == "scatter" for v in s.nodes[0].outputs}
    found: dict[int, str] = {}
    for target, value in graph.updates:
        number = makers.get(module.storage(value))
        if number is not None and _alone(module, target, value) and _last_reader(module, number, target):
            found[number] = target
    return found


def _alone(module: Module, target: str, value: str) -> bool:
    """Whether neither the state nor its new value is anything else that leaves the module."""
    own = {module.storage(target), module.storage(value)}
    if any(module.storage(name) in own for name in module.outputs):
        return False
    others = [u for u in module.updates if u != (target, value)]
    return len(others) == len(module.updates) - 1 and not any(module.storage(name) in own for u in others for name in u)


def _last_reader(module: Module, number: int, target: str) -> bool:
    """Whether the Scatter reads the state as its base alone, no later step reads it, and no step of ATen's has handed it on."""
    step = module.steps[number]
    assert isinstance(step, Launch)
    op = step.nodes[0].op
    assert isinstance(op, Scatter)
    if module.storage(op.base) != target or target in (module.storage(op.index), module.storage(op.src)):
        return False
    foreign = [s for s in module.steps if not isinstance(s, Launch)]
    if any(module.storage(name) == target for s in foreign for name in operands(s.node.op)):
        return False
    return not any(module.storage(name) == target for s in module.steps[number + 1 :] for name in touched(s))


__all__ = ["writes_in_place"]
