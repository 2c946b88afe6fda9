"""Graph to groups: which nodes share a kernel.

Comes in: a canonical Graph and the names of nodes that a library runs. Goes out: `Fused`, groups in run order. Two decisions,
each a rule one can read:

1. `inline`: a map that is cheap to recompute, or used once, has no storage; its expression is substituted into its readers.
2. `join`: a stored value joins the group of its latest producer when both can share outer parallel axes, P. P starts as all
   output dims of the first member; a member that reads another one away from its own row (a reduction, a window) takes that axis out of P.
   What lies between P and the element stays in cache, as a row, so a join that would need too long a row is refused.

A group begun by a contraction or convolution takes only maps over its own output: its epilogue.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from ..ir.expr import Cast, Expr, Load, Op, Var, loads, simplify, substitute, transform, walk
from ..ir.graph import Contract, Conv, Graph, Map, Node, Reshape, Window, operands
from ..ir.types import BYTES
from .decisions import Decisions
from .define import Definition, define
from .indexing import axis_ranges, coords, dim_ranges, reindex, size_hint
from .pack import Packed, Packs

ROW_BYTES = 384 << 10
"""Longest row of intermediate results kept in cache for one point of P (half of a 1 MB L2 less the inputs)."""

_COSTLY = {"exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
           "asinh", "acosh", "atanh", "erf", "erfc", "sigmoid", "pow", "atan2"}  # fmt: skip
_DIVIDES = {"/", "sqrt", "rsqrt", "fmod"}


@dataclass
class Group:
    """Members in order. `parallel[v]` gives for each P axis the position of that axis among the dims of value v."""

    kind: str
    definitions: list[Definition] = field(default_factory=list)
    extents: list[Expr] = field(default_factory=list)
    parallel: dict[str, list[int]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    packed: dict[str, Packed] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(d.node for d in self.definitions)


@dataclass(frozen=True)
class Alone:
    """A node that is not ours to lower: Extern, Random, Sort, or given to a library."""

    node: Node


@dataclass(frozen=True)
class Fused:
    """`views`: reshapes of stored values, which share memory."""

    graph: Graph
    steps: tuple[Group | Alone, ...]
    views: dict[str, str]
    inlined: frozenset[str]


def fuse(graph: Graph, library: Collection[str] = (), packs: Packs | None = None, decisions: Decisions | None = None) -> Fused:
    """Group the nodes of a canonical graph; `library` holds output names of nodes that ATen's library runs. Decisions: `join NODE` (0: the
    value begins a kernel of its own), `inline NODE` (1: computed again where it is read)."""
    return _Fuser(graph, frozenset(library), packs or {}, decisions or Decisions()).run()


def cost(e: Expr) -> int:
    """Rough instructions per element."""
    total = 0
    for n in walk(e):
        if isinstance(n, Op):
            total += 12 if n.name in _COSTLY else 4 if n.name in _DIVIDES else 1
        elif isinstance(n, (Load, Cast)):
            total += 1
    return total


def read_packed(e: Expr, packed: dict[str, Packed]) -> Expr:
    """Loads of packed operands turned to their packed form."""

    def visit(n: Expr) -> Expr | None:
        if isinstance(n, Load) and n.buffer in packed:
            return Load(packed[n.buffer].name, packed[n.buffer].index(n.index))
        return None

    return transform(e, visit)


class _Fuser:
    def __init__(self, graph: Graph, library: frozenset[str], packs: Packs, decisions: Decisions):
        self.graph, self.library, self.packs, self.decisions = graph, library, packs, decisions
        self.types = dict(graph.types())
        self.ranges = dim_ranges(graph.dims)
        self.producer = graph.producers()
        self.readers = graph.consumers()
        self.live = graph.live()
        self.costs: dict[str, int] = {}
        self.inlined: set[str] = set()
        self.riding: dict[str, bool] = {}
        self.steps: list[Group | Alone] = []
        self.home: dict[str, int] = {}

    def run(self) -> Fused:
        for node in self.graph.nodes:
            if isinstance(node.op, Map) and self._inline(node):
                self.inlined.add(node.outputs[0].name)
        for index in range(len(self.graph.nodes)):
            self._place(self.graph.nodes[index])
        self._find_outputs()
        views = {n.outputs[0].name: n.op.x for n in self.graph.nodes if isinstance(n.op, Reshape)}
        return Fused(self.graph, tuple(self.steps), views, frozenset(self.inlined))

    # -------------------------------------------------------------------------------- inline
    def _numel(self, name: str) -> int:
        return size_hint(self.types[name].shape, self.graph.dims)

    def _inline(self, node: Node) -> bool:
        """Whether the map needs no storage of its own."""
        assert isinstance(node.op, Map)
        name = node.outputs[0].name
        total = cost(node.op.expr) + sum(self.costs.get(x.buffer, 0) for x in loads(node.op.expr) if x.buffer in self.inlined)
        self.costs[name] = total
        if name in self.live or not self.readers.get(name):
            return False
        users = [(reader, x) for reader in self.readers[name] for x in self._reads(reader, name)]
        if not all(self._can_read_inline(node, reader) for reader, _ in users):
            return False
        if not loads(node.op.expr):
            return total <= 8
        if self._rides(node) and not all(self._is_epilogue(reader, name) for reader, _ in users):
            return False
        return bool(self.decisions.choose(f"inline {name}", int(self._worth_inlining(name, users, total)), (0, 1) if total <= 200 else ()))

    def _worth_inlining(self, name: str, users: list[tuple[Node, object]], total: int) -> bool:
        if any(self._amplifies(name, reader) for reader, _ in users):
            return total <= 3
        return total <= 200 if len(users) == 1 else total <= 6

    def _rides(self, node: Node) -> bool:
        """Whether the map is computed over the whole output of a contraction or convolution, so that it can be its epilogue."""
        name = node.outputs[0].name
        if name not in self.riding:
            self.riding[name] = self._finds_ride(node)
        return self.riding[name]

    def _finds_ride(self, node: Node) -> bool:
        assert isinstance(node.op, Map)
        full = coords(len(node.outputs[0].type.shape))
        for x in loads(node.op.expr):
            producer = self.producer.get(x.buffer)
            if producer is None or x.index != full or self.types[x.buffer].shape != node.outputs[0].type.shape:
                continue
            if isinstance(producer.op, (Contract, Conv)) or (isinstance(producer.op, Map) and self._rides(producer)):
                return True
        return False

    def _is_epilogue(self, reader: Node, name: str) -> bool:
        """Whether the reader can stand in the same epilogue as the value."""
        if not isinstance(reader.op, Map) or reader.outputs[0].type.shape != self.types[name].shape:
            return False
        full = coords(len(self.types[name].shape))
        return all(x.index == full for x in loads(reader.op.expr) if x.buffer == name)

    def _reads(self, reader: Node, name: str) -> list[object]:
        if isinstance(reader.op, Map):
            return [x for x in loads(reader.op.expr) if x.buffer == name]
        return [x for x in operands(reader.op) if x == name]

    def _can_read_inline(self, node: Node, reader: Node) -> bool:
        if reader.outputs[0].name in self.library:
            return False
        if isinstance(reader.op, (Contract, Conv)):
            return isinstance(node.op, Map) and isinstance(node.op.expr, Load) and isinstance(reader.op, Contract)
        if isinstance(reader.op, Reshape):
            return all(self._can_read_inline(node, r) for r in self.readers.get(reader.outputs[0].name, ())) and not self._live_view(reader)
        return define(reader, self.types) is not None

    def _live_view(self, reshape: Node) -> bool:
        return reshape.outputs[0].name in self.live

    def _amplifies(self, name: str, reader: Node) -> bool:
        """Whether the reader evaluates elements of the value more than once."""
        if isinstance(reader.op, (Window, Contract, Conv)):
            return True
        if isinstance(reader.op, Reshape):
            return any(self._amplifies(reader.outputs[0].name, r) for r in self.readers.get(reader.outputs[0].name, ()))
        domain = max(size_hint(v.type.shape, self.graph.dims) for v in reader.outputs)
        if not isinstance(reader.op, Map):
            domain = max(domain, max(self._numel(x) for x in operands(reader.op)))
        return domain > 1.5 * self._numel(name)

    # -------------------------------------------------------------------------------- resolve
    def resolve(self, definition: Definition, group: int | None) -> Definition:
        """Inlined values substituted; reshapes of values made in `group` (or inlined) too, other reshapes stay loads."""
        names = (*definition.axes, *definition.reduce_axes)
        extents = (*definition.extents, *definition.reduce_extents)
        ranges = self.ranges | axis_ranges(names, extents)
        values = tuple(simplify(self._expand(v, group, ranges), ranges) for v in definition.values)
        return Definition(definition.node, definition.extents, definition.reduce_extents, definition.monoid, values, definition.scan, definition.kind)

    def _expand(self, e: Expr, group: int | None, ranges: dict[str, tuple[int, int]]) -> Expr:
        def visit(n: Expr) -> Expr | None:
            if not isinstance(n, Load):
                return None
            node = self.producer.get(n.buffer)
            if node is None:
                return None
            if n.buffer in self.inlined and isinstance(node.op, Map):
                env = {f"i{d}": i for d, i in enumerate(n.index)}
                return self._expand(simplify(substitute(node.op.expr, env), ranges), group, ranges)
            if isinstance(node.op, Reshape) and self._through(node.op.x, group):
                index = reindex(n.index, self.types[n.buffer].shape, self.types[node.op.x].shape, ranges)
                return self._expand(Load(node.op.x, index), group, ranges)
            return None

        return transform(e, visit)

    def _through(self, x: str, group: int | None) -> bool:
        """A reshape must be seen through when what it reshapes has no memory, or has it inside this very group."""
        if x in self.inlined:
            return True
        node = self.producer.get(x)
        if node is not None and isinstance(node.op, Reshape):
            return self._through(node.op.x, group)
        return group is not None and self.home.get(x) == group

    # -------------------------------------------------------------------------------- group
    def _place(self, node: Node) -> None:
        name = node.outputs[0].name
        if name in self.inlined or isinstance(node.op, Reshape):
            return
        definition = None if name in self.library else self._define(node)
        if definition is None:
            self.steps.append(Alone(node))
            self.home.update({v.name: len(self.steps) - 1 for v in node.outputs})
            return
        candidate = self._latest(definition)
        if candidate is not None and self._join(definition, candidate):
            self.home.update({v.name: candidate for v in node.outputs})
            return
        self._begin(self.resolve(definition, None))
        self.home.update({v.name: len(self.steps) - 1 for v in node.outputs})

    def _define(self, node: Node) -> Definition | None:
        """The definition with packed operands read from where they are packed."""
        definition = define(node, self.types)
        packed = self.packs.get(node.outputs[0].name)
        if definition is None or packed is None:
            return definition
        return replace(definition, values=tuple(read_packed(v, packed) for v in definition.values))

    def _latest(self, definition: Definition) -> int | None:
        """The last step that any operand comes from, when that is a group."""
        homes = [self.home[self._base(x.buffer)] for v in self.resolve(definition, None).values for x in loads(v) if self._base(x.buffer) in self.home]
        latest = max(homes, default=None)
        return latest if latest is not None and isinstance(self.steps[latest], Group) else None

    def _base(self, name: str) -> str:
        node = self.producer.get(name)
        while node is not None and isinstance(node.op, Reshape):
            name = node.op.x
            node = self.producer.get(name)
        return name

    def _begin(self, definition: Definition) -> None:
        group = Group(definition.kind, packed=self.packs.get(definition.node.outputs[0].name, {}))
        dims = [d for d in range(len(definition.extents)) if d != definition.scan]
        group.extents = [definition.extents[d] for d in dims]
        group.definitions.append(definition)
        group.parallel.update({v.name: dims for v in definition.node.outputs})
        self.steps.append(group)

    def _join(self, definition: Definition, index: int) -> bool:
        group = self.steps[index]
        assert isinstance(group, Group)
        if definition.kind in ("contract", "conv"):
            return False
        resolved = self.resolve(definition, index)
        dims = self._shared_axes(resolved, group)
        kept = [a for a, d in enumerate(dims) if d is not None]
        if not self._acceptable(resolved, group, kept) or not self.decisions.choose(f"join {definition.node.outputs[0].name}", 1, (0,)):
            return False
        group.extents = [group.extents[a] for a in kept]
        group.parallel = {v: [p[a] for a in kept] for v, p in group.parallel.items()}
        group.parallel.update({v.name: [d for d in dims if d is not None] for v in definition.node.outputs})
        group.definitions.append(resolved)
        if (group.kind == "map" and resolved.kind != "map") or group.kind == "reduce":
            group.kind = "rows"
        return True

    def _shared_axes(self, d: Definition, group: Group) -> list[int | None]:
        """For each P axis the output dim of `d` that runs with it, None when `d` reads across it."""
        out: list[int | None] = []
        inside = [x for v in d.values for x in loads(v) if x.buffer in group.parallel]
        for a, extent in enumerate(group.extents):
            at = {x.index[group.parallel[x.buffer][a]] for x in inside}
            dim = next((k for k in range(len(d.extents)) if at == {Var(f"i{k}")}), None)
            good = dim is not None and dim != d.scan and dim not in out and d.extents[dim] == extent
            out.append(dim if good else None)
        return out

    def _acceptable(self, d: Definition, group: Group, kept: list[int]) -> bool:
        whole = len(kept) == len(group.extents) == len(d.extents)
        if group.kind in ("contract", "conv"):
            return whole and d.kind == "map" and d.monoid is None
        if not kept:
            return False
        if whole and d.kind == "map":
            return True
        points = size_hint(tuple(group.extents[a] for a in kept), self.graph.dims)
        stored = [v for m in (*group.definitions, d) for v in m.node.outputs]
        rows = [size_hint(v.type.shape, self.graph.dims) * BYTES[v.type.dtype] / points for v in stored]
        lost = len(kept) < len(group.extents)
        return sum(rows) <= ROW_BYTES and (points >= 4 or not lost)

    # -------------------------------------------------------------------------------- outputs
    def _find_outputs(self) -> None:
        needed: set[str] = {self._base(v) for v in self.live}
        for index, step in enumerate(self.steps):
            if isinstance(step, Alone):
                needed.update(self._base(x) for x in operands(step.node.op))
                continue
            for d in step.definitions:
                needed.update(b for v in d.values for x in loads(v) if self.home.get(b := self._base(x.buffer)) != index)
        for step in self.steps:
            if isinstance(step, Group):
                step.outputs = tuple(v.name for d in step.definitions for v in d.node.outputs if v.name in needed)



