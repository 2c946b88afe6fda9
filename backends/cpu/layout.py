"""Which slot of the pointer table each value of a module has: a Module comes in, a Layout goes out that entry and runtime agree on.

The table holds the user inputs, the weights, what is prepared from weights alone and kept between calls, the outputs, and what ATen makes;
every other value is an offset into one arena per call. The kernels are numbered: those of the steps, then those that prepare, then the updates.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.expr import Expr
from ...ir.module import Aten, Launch, Library, Module
from ...passes.plan_memory import Sharing, launched, share, touched, written


@dataclass(frozen=True)
class Segment:
    """A maximal run of launches (`first..last`, half-open, counted over launches), or one ATen step.

    `dies`: what ATen made and no later step needs.
    """

    first: int = 0
    last: int = 0
    step: Aten | Library | None = None
    dies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """`slots`: storage -> index in the pointer table; `arena`: storage -> index in the offset table, for temporaries.

    `scratch`: bytes of scratch memory that each kernel needs, over the dims and the number of threads (`printer.THREADS`).
    """

    module: Module
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    kept: tuple[str, ...]
    fresh: tuple[str, ...]
    foreign: tuple[str, ...]
    slots: dict[str, int]
    arena: dict[str, int]
    sharing: Sharing
    segments: tuple[Segment, ...]
    copies: tuple[tuple[str, str], ...]
    late: tuple[tuple[str, str], ...]
    in_place: tuple[tuple[str, str], ...]
    scratch: tuple[Expr, ...] = ()

    @property
    def step_launches(self) -> tuple[Launch, ...]:
        return tuple(s for s in self.module.steps if isinstance(s, Launch))

    @property
    def launches(self) -> tuple[Launch, ...]:
        """All kernels by number."""
        return (*self.step_launches, *self.module.prepare)


def layout(module: Module) -> Layout:
    """`copies`: updates (input, value) done by the entry; `late`: updates whose value is itself an input, done after them; `in_place`:
    updates that a kernel has made in the input's memory."""
    inputs = tuple(i.name for i in module.inputs if i.role == "input")
    weights = tuple(i.name for i in module.inputs if i.role != "input")
    sharing = share(module)
    made = launched(module)
    kept = dict.fromkeys(module.storage(name) for name in module.outputs)
    prepared = tuple(dict.fromkeys(module.storage(name) for launch in module.prepare for name in written(launch)))
    fresh = tuple(root for root in kept if root in made)
    foreign = tuple(_foreign(module, made))
    table = (*inputs, *weights, *prepared, *fresh, *foreign)
    given = {*inputs, *weights}
    in_place = tuple(u for u in module.updates if module.storage(u[1]) == u[0])
    late = tuple(u for u in module.updates if u not in in_place and module.storage(u[1]) in given)
    return Layout(
        module, inputs, weights, prepared, fresh, foreign, {name: n for n, name in enumerate(table)},
        {name: n for n, name in enumerate(sharing.temporaries)}, sharing, _segments(module, foreign),
        tuple(u for u in module.updates if u not in (*late, *in_place)), late, in_place,
    )  # fmt: skip


def _foreign(module: Module, made: dict[str, int]) -> list[str]:
    """Storages that ATen makes."""
    names = [v.name for s in module.steps if not isinstance(s, Launch) for v in s.node.outputs]
    return [n for n in dict.fromkeys(module.storage(n) for n in names) if n not in made]


def _segments(module: Module, foreign: tuple[str, ...]) -> tuple[Segment, ...]:
    dies = _last_uses(module, foreign)
    out: list[Segment] = []
    count = 0
    for number, step in enumerate(module.steps):
        if not isinstance(step, Launch):
            out.append(Segment(step=step, dies=dies.get(number, ())))
            continue
        if out and out[-1].step is None:
            out[-1] = Segment(out[-1].first, count + 1, None, (*out[-1].dies, *dies.get(number, ())))
        else:
            out.append(Segment(count, count + 1, None, dies.get(number, ())))
        count += 1
    updates = count + len(module.prepare)
    return (*out, Segment(updates, updates + 1)) if module.updates else tuple(out)


def _last_uses(module: Module, foreign: tuple[str, ...]) -> dict[int, tuple[str, ...]]:
    """Step -> the foreign storages that it is the last to touch."""
    kept = {module.storage(name) for name in (*module.outputs, *(value for _, value in module.updates))}
    last = {module.storage(name): number for number, step in enumerate(module.steps) for name in touched(step)}
    out: dict[int, tuple[str, ...]] = {}
    for name in foreign:
        if name not in kept:
            out[last[name]] = (*out.get(last[name], ()), name)
    return out
