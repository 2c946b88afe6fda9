"""Where the temporaries of a module live: steps come in, groups of values that share memory and offsets in one arena go out.

`share` is symbolic and done once: a temporary that dies in the launch that makes another of the same size, elementwise at the same index,
shares its memory (also that of an output). `place` is numeric and done per shape: each group gets an offset such that
groups alive at the same time do not overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..ir.expr import Expr, Var, loads
from ..ir.graph import operands
from ..ir.kernel import Buffer, Program, Reduce, Store, expressions, statements
from ..ir.module import Launch, Module, Step
from ..ir.types import BYTES

ALIGN = 64


@dataclass(frozen=True)
class Lifetime:
    """Steps `first..last` (inclusive) during which the memory holds something that is still needed."""

    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Sharing:
    """`home`: storage -> the storage whose memory it uses; `temporaries`: homes that live in the arena, with their lifetimes."""

    home: Mapping[str, str]
    temporaries: Mapping[str, Lifetime]


def touched(step: Step) -> tuple[str, ...]:
    """Values that a step reads or writes."""
    if isinstance(step, Launch):
        return step.args
    return (*operands(step.node.op), *(v.name for v in step.node.outputs))


def launched(module: Module) -> dict[str, int]:
    """Storages written by our kernels (inputs excluded) -> the first step that writes them."""
    given = {i.name for i in module.inputs}
    out: dict[str, int] = {}
    for number, step in enumerate(module.steps):
        if isinstance(step, Launch):
            for name in written(step):
                root = module.storage(name)
                if root not in given:
                    out.setdefault(root, number)
    return out


def lifetimes(module: Module) -> dict[str, Lifetime]:
    """Lifetime of every storage that our kernels write; what leaves the module lives to the end."""
    first = launched(module)
    last = dict(first)
    for number, step in enumerate(module.steps):
        for name in touched(step):
            root = module.storage(name)
            if root in last:
                last[root] = number
    for name in (*module.outputs, *(value for _, value in module.updates)):
        if (root := module.storage(name)) in last:
            last[root] = len(module.steps)
    return {root: Lifetime(first[root], last[root]) for root in first}


def share(module: Module) -> Sharing:
    """Merge storages that may use the same memory. An output stays an output: what shares with it lives there."""
    lives = lifetimes(module)
    kept = {module.storage(name) for name in module.outputs}
    home = {root: root for root in lives}
    spans = dict(lives)
    for number, step in enumerate(module.steps):
        if isinstance(step, Launch):
            for source, target in _in_place_pairs(module, step):
                _merge(source, target, number, home, spans, kept, lives)
    temporaries = {root: spans[root] for root in lives if home[root] == root and root not in kept}
    return Sharing(home, temporaries)


def _merge(
    source: str, target: str, number: int, home: dict[str, str], spans: dict[str, Lifetime], kept: set[str], lives
) -> None:
    """Let `target` continue in the memory of `source` when `source` dies here and its memory has no other tenant yet to come."""
    if source not in home or target not in home or home[target] != target or lives[target].first != number:
        return
    old = home[source]
    if old == target or spans[old].last != number or lives[source].last != number or spans[target].first != number:
        return
    if target not in kept:
        home[target], spans[old] = old, Lifetime(spans[old].first, spans[target].last)
        return
    if old not in kept:
        spans[target] = Lifetime(spans[old].first, spans[target].last)
        for root, where in list(home.items()):
            if where == old:
                home[root] = target


def _in_place_pairs(module: Module, launch: Launch) -> Iterable[tuple[str, str]]:
    """(source, target) storages such that every element of the source is read only by the statement that writes the same place of the target."""
    params = launch.program.params
    roots = [module.storage(a) for a in launch.args]
    for target, target_root in zip(params, roots):
        for source, source_root in zip(params, roots):
            alone = roots.count(source_root) == 1 and roots.count(target_root) == 1
            if alone and _same_size(module, source_root, target_root) and _in_place(launch, source, target):
                yield source_root, target_root


def _in_place(launch: Launch, source: Buffer, target: Buffer) -> bool:
    names = launch.program.written()
    if target.name not in names or source.name in names:
        return False
    if source.shape != target.shape or BYTES[source.dtype] != BYTES[target.dtype]:
        return False
    read_in_place = all(_reads_where_written(p, source.name, target.name) for p in (launch.program, launch.naive))
    return read_in_place and _written_once(launch.naive, target.name)


def _same_size(module: Module, a: str, b: str) -> bool:
    return module.types[a].shape == module.types[b].shape


def _reads_where_written(program: Program, source: str, target: str) -> bool:
    for s in statements(program.body):
        read = [x.index for e in expressions(s) for x in loads(e) if x.buffer == source]
        if read and not (isinstance(s, Store) and s.buffer == target and all(index == s.index for index in read)):
            return False
        if isinstance(s, Store) and any(x.buffer == target for e in expressions(s) for x in loads(e)):
            return False
        if isinstance(s, Reduce) and any(x.buffer == target for x in (*s.targets, *s.running, *_loads(s.values))):
            return False
    return True


def _loads(values: Iterable[Expr]):
    return [x for v in values for x in loads(v)]


def _written_once(naive: Program, target: str) -> bool:
    """One Store, indexed by distinct loop axes: no element is written twice."""
    stores = [s for s in statements(naive.body) if isinstance(s, Store) and s.buffer == target]
    if len(stores) != 1 or not all(isinstance(i, Var) for i in stores[0].index):
        return False
    return len(set(stores[0].index)) == len(stores[0].index)


def written(launch: Launch) -> list[str]:
    """Values that a launch writes: a schedule may have dropped the loop of one without elements."""
    names = {*launch.naive.written(), *launch.program.written()}
    return [arg for arg, buffer in zip(launch.args, launch.program.params) if buffer.name in names]


def place(temporaries: Mapping[str, Lifetime], nbytes: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Offsets of the temporaries and the arena's bytes. Largest first, each at the tightest gap between those alive at the same time."""
    offsets: dict[str, int] = {}
    for name in sorted(temporaries, key=lambda n: (-nbytes[n], temporaries[n].first, n)):
        size = _aligned(nbytes[name])
        neighbours = [n for n in offsets if temporaries[n].overlaps(temporaries[name])]
        offsets[name] = _tightest(sorted((offsets[n], offsets[n] + _aligned(nbytes[n])) for n in neighbours), size)
    return offsets, max((offsets[n] + _aligned(nbytes[n]) for n in offsets), default=0)


def _tightest(taken: list[tuple[int, int]], size: int) -> int:
    best, end = None, 0
    for start, stop in taken:
        gap = start - end
        if gap >= size and (best is None or gap < best[0]):
            best = gap, end
        end = max(end, stop)
    return best[1] if best else end


def _aligned(nbytes: int) -> int:
    return max(ALIGN, -(-nbytes // ALIGN) * ALIGN)
