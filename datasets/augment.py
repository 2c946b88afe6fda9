"""New programs from operators and from programs: growth by a grammar, mutation of Graphs. All are checked as Graphs, so none contradicts itself.

    program  = value+                        grown step by step, at most MOST_STEPS
    step     = operator(value, new inputs)   chain, or a branch where the value is not the last
             | join(value, value)            add, multiply, gate, concatenate .. of equal shapes: diamonds, residuals, trees
             | input                         another root of a tree
    outputs  = the values that nothing reads, joined where their shapes are equal

Mutations of a Graph: a map inserted after a value, an elementary function or a reduction replaced, the program cut at a value (either half is kept),
an operator appended, two programs put together where a result of one fits an input of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch

from ..frontend.operators.operator import TORCH, Function, Given, Operator, Pick, Shape
from ..frontend.operators.shapes import draw_shape, fits
from ..frontend.operators.table import OPERATORS
from ..frontend.operators.trace import renamed, trace
from ..ir.expr import Const, Expr, Load, Op, Var, transform, walk
from ..ir.graph import Graph, Input, Map, Node, Reduce, TensorType, Value, operands, rename_operands
from ..ir.types import is_float
from ..ir.verify_graph import verify_graph
from .program import NUMPY, Program, outputs_of, used

MOST_STEPS = 6
Choose = Callable[[Iterable[Operator]], Operator]

JOINS: dict[str, Function] = {
    "add": torch.add, "multiply": torch.mul, "subtract": torch.sub, "maximum": torch.maximum, "gate": lambda a, b: a * torch.sigmoid(b),
    "concatenate": lambda a, b: torch.cat([a, b], -1), "average": lambda a, b: (a + b) * 0.5,
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ growth
@dataclass
class _Growth:
    """`values`: shape of each value; `steps`: how each value that is no input is made, from the positions of others."""

    pick: Pick
    values: list[Shape] = field(default_factory=list)
    inputs: list[tuple[int, Given]] = field(default_factory=list)
    steps: list[tuple[int, Function, tuple[int, ...]]] = field(default_factory=list)
    operators: list[str] = field(default_factory=list)
    params: list[tuple[str, str]] = field(default_factory=list)

    def input(self, given: Given) -> int:
        name, count = given.name, 2
        while name in {g.name for _, g in self.inputs}:
            name, count = f"{given.name}_{count}", count + 1
        self.values.append(given.shape)
        self.inputs.append((len(self.values) - 1, replace(given, name=name)))
        return len(self.values) - 1

    def apply(self, operator: Operator, at: int) -> int | None:
        """The operator on a value; None where it does not fit."""
        call = operator.call(self.pick, self.values[at])
        if call is None or call.first is not None:
            return None
        shape = _result(call.function, [Given("x", self.values[at]), *call.more])
        if shape is None:
            return None
        args = (at, *(self.input(g) for g in call.more))
        self.operators.append(operator.name)
        self.params += [(f"{operator.name}.{k}", str(v)) for k, v in call.params]
        return self.make(call.function, args, shape)

    def make(self, function: Function, args: tuple[int, ...], shape: Shape) -> int:
        self.values.append(shape)
        self.steps.append((len(self.values) - 1, function, args))
        return len(self.values) - 1

    def join(self, a: int, b: int) -> int | None:
        name = self.pick.of(*JOINS)
        shape = _result(JOINS[name], [Given("a", self.values[a]), Given("b", self.values[b])])
        if shape is None or not shape:
            return None
        self.operators.append(name if name in OPERATORS else "concatenate")
        return self.make(JOINS[name], (a, b), shape)

    def loose(self) -> list[int]:
        """Made values that no step reads."""
        read = {a for _, _, args in self.steps for a in args}
        return [n for n, _, _ in self.steps if n not in read]

    def function(self, outputs: Sequence[int]) -> Function:
        places = [n for n, _ in self.inputs]

        def run(*tensors):
            env = dict(zip(places, tensors))
            for n, f, args in self.steps:
                env[n] = f(*(env[a] for a in args))
            return [env[n] for n in outputs]

        return run


def _result(function: Function, given: Sequence[Given]) -> Shape | None:
    """Shape of the float32 result; None where there is another result or none."""
    made = function(*(torch.empty(g.shape, dtype=TORCH[g.dtype], device="meta") for g in given))
    return tuple(made.shape) if isinstance(made, torch.Tensor) and made.dtype == torch.float32 else None


def grown(pick: Pick, choose: Choose) -> Program | None:
    """A program of 2 to MOST_STEPS operators."""
    growth = _Growth(pick)
    first = choose(o for o in OPERATORS.values() if o.inside)
    at = growth.input(Given("x", draw_shape(Pick(pick.rng, pick.scale * 0.5), first.takes)))
    last = growth.apply(first, at)
    if last is None:
        return None
    wanted = pick.whole(2, MOST_STEPS)
    for _ in range(4 * wanted):
        if len(growth.steps) >= wanted:
            break
        last = _grow(growth, choose, last)
    if len(growth.steps) < 2:
        return None
    outputs = _outputs(growth)
    given = [g for _, g in growth.inputs]
    graph = trace(growth.function(outputs), given, "program")
    return Program(graph, used(graph, given), "grown", tuple(growth.operators), (("topology", _topology(growth, outputs)), *growth.params))


def _grow(growth: _Growth, choose: Choose, last: int) -> int:
    """One step; the position of the value that the next step goes on from."""
    pick = growth.pick
    partners = [k for k, s in enumerate(growth.values[:last]) if s == growth.values[last] and k != last]
    if partners and pick.chance(0.35):
        return growth.join(last, pick.of(*partners)) or last
    if pick.chance(0.12):
        return growth.join(last, growth.input(Given("other", growth.values[last]))) or last
    at = pick.of(*range(len(growth.values))) if pick.chance(0.25) and all(len(s) for s in growth.values) else last
    known = {n for n, _ in growth.inputs}
    at = last if at in known and at != 0 else at
    shape = growth.values[at]
    candidates = [o for o in OPERATORS.values() if o.inside and o.category != "block" and fits(o.takes, shape)]
    made = growth.apply(choose(candidates), at) if candidates and shape else None
    return last if made is None else made


def _outputs(growth: _Growth) -> list[int]:
    """Loose ends: those of one shape are added up, the others are outputs."""
    out: list[int] = []
    for n in growth.loose():
        same = [k for k in out if growth.values[k] == growth.values[n]]
        if same and growth.pick.chance(0.8):
            out[out.index(same[0])] = growth.make(torch.add, (same[0], n), growth.values[n])
            growth.operators.append("add")
        else:
            out.append(n)
    return out[-3:]


def _topology(growth: _Growth, outputs: Sequence[int]) -> str:
    reads = [a for _, _, args in growth.steps for a in args]
    weights = {n for n, _ in growth.inputs[1:]}
    branched = any(reads.count(n) > 1 for n in set(reads) - weights)
    joined = any(len([a for a in args if a not in weights]) > 1 for _, _, args in growth.steps)
    if len(outputs) > 1:
        return "multi-output"
    if branched and joined:
        return "residual" if reads.count(0) > 1 else "diamond"
    return "tree" if joined else "branch" if branched else "chain"


# ------------------------------------------------------------------------------------------------ mutation
_SAFE: dict[str, Callable[[Expr], Expr]] = {
    "relu": lambda x: Op("max", (x, Const(0.0))), "tanh": lambda x: Op("tanh", (x,)), "sigmoid": lambda x: Op("sigmoid", (x,)),
    "scaled": lambda x: Op("*", (x, Const(0.5))), "shifted": lambda x: Op("+", (x, Const(1.0))), "absolute": lambda x: Op("abs", (x,)),
    "square": lambda x: Op("*", (x, x)), "erf": lambda x: Op("erf", (x,)), "clipped": lambda x: Op("min", (Op("max", (x, Const(-1.0))), Const(1.0))),
}  # fmt: skip
_SWAPS = {"tanh": "erf", "erf": "tanh", "sin": "cos", "cos": "sin", "floor": "ceil", "ceil": "floor", "max": "min", "min": "max", "+": "-", "sigmoid": "tanh"}
_MONOIDS = {"add": "max", "max": "min", "min": "max"}


def mutated(pick: Pick, parents: Sequence[Program], choose: Choose) -> Program | None:
    """A child of one or two of the parents; None where the drawn mutation does not fit."""
    if not parents:
        return None
    parent = pick.of(*parents)
    name = pick.of(*MUTATIONS)
    child = MUTATIONS[name](pick, parent, parents, choose)
    if child is None:
        return None
    graph = live(child.graph)
    verify_graph(graph)
    known = {g.name: g for g in child.inputs}
    inputs = tuple(known.get(i.name) or Given(i.name, _shape(i.type), NUMPY[i.type.dtype]) for i in graph.inputs)
    params = (("mutation", name), *parent.params)
    return replace(child, graph=graph, inputs=inputs, category="mutated", params=params, parent=", ".join(parent.operators))


def _insert(pick: Pick, parent: Program, parents, choose: Choose) -> Program | None:
    graph = parent.graph
    sites = [v for n in graph.nodes for v in n.outputs if is_float(v.type.dtype)]
    if not sites:
        return None
    site, kind = pick.of(*sites), pick.of(*_SAFE)
    name = f"{site.name}_{kind}"
    if name in graph.types():
        return None
    load = Load(site.name, tuple(Var(f"i{k}") for k in range(len(site.type.shape))))
    new = Node((Value(name, site.type),), Map(_SAFE[kind](load)), f"mutation.{kind}")
    at = next(k for k, n in enumerate(graph.nodes) if site in n.outputs) + 1
    after = tuple(replace(n, op=rename_operands(n.op, {site.name: name})) for n in graph.nodes[at:])
    outputs = tuple(name if o == site.name else o for o in graph.outputs)
    return replace(parent, graph=replace(graph, nodes=(*graph.nodes[:at], new, *after), outputs=outputs), operators=(*parent.operators, "insert"))


def _replace(pick: Pick, parent: Program, parents, choose: Choose) -> Program | None:
    """Another elementary function in a map, or another monoid in a reduction."""
    graph = parent.graph
    sites = [k for k, n in enumerate(graph.nodes) if _swappable(n)]
    if not sites:
        return None
    at = pick.of(*sites)
    node = graph.nodes[at]
    if isinstance(node.op, Reduce):
        op: Map | Reduce = replace(node.op, monoid=_MONOIDS[node.op.monoid])
    else:
        assert isinstance(node.op, Map)
        names = sorted({e.name for e in walk(node.op.expr) if isinstance(e, Op) and e.name in _SWAPS})
        old = pick.of(*names)
        op = Map(_swapped(node.op.expr, old))
    nodes = (*graph.nodes[:at], replace(node, op=op, origin="mutation.replace"), *graph.nodes[at + 1 :])
    return replace(parent, graph=replace(graph, nodes=nodes), operators=(*parent.operators, "replace"))


def _swapped(e: Expr, old: str) -> Expr:
    """Outside of indices: what is read stays in bounds."""
    if isinstance(e, Load):
        return e
    return transform(e, lambda n: n if isinstance(n, Load) else Op(_SWAPS[old], tuple(_swapped(a, old) for a in n.args)) if isinstance(n, Op) and n.name == old else None)


def _swappable(n: Node) -> bool:
    if not is_float(n.outputs[0].type.dtype):
        return False
    if isinstance(n.op, Reduce):
        return n.op.monoid in _MONOIDS
    return isinstance(n.op, Map) and any(isinstance(e, Op) and e.name in _SWAPS for e in walk(n.op.expr))


def _head(pick: Pick, parent: Program, parents, choose: Choose) -> Program | None:
    """The program up to a value."""
    graph = parent.graph
    sites = [n.outputs[0].name for n in graph.nodes[:-1] if n.outputs[0].type.shape and n.outputs[0].name not in graph.outputs]
    if len(graph.nodes) < 3 or not sites:
        return None
    return replace(parent, graph=replace(graph, outputs=(pick.of(*sites),)), operators=(*parent.operators, "cut"))


def _tail(pick: Pick, parent: Program, parents, choose: Choose) -> Program | None:
    """The program from a value on: the value becomes an input."""
    graph = parent.graph
    sites = [n.outputs[0] for n in graph.nodes[:-1] if is_float(n.outputs[0].type.dtype) and n.outputs[0].type.shape]
    sites = [v for v in sites if v.name not in graph.outputs]
    if len(graph.nodes) < 3 or not sites:
        return None
    site = pick.of(*sites)
    nodes = tuple(n for n in graph.nodes if site not in n.outputs)
    inputs = (*graph.inputs, Input(site.name, site.type))
    return replace(parent, graph=replace(graph, inputs=inputs, nodes=nodes), operators=(*parent.operators, "cut"))


def _append(pick: Pick, parent: Program, parents, choose: Choose) -> Program | None:
    """An operator on a result."""
    results = [o for o in outputs_of(parent.graph) if o.dtype == "float32" and o.shape]
    if not results:
        return None
    result = pick.of(*results)
    operator = choose(o for o in OPERATORS.values() if o.inside and fits(o.takes, result.shape))
    call = operator.call(pick, result.shape)
    if call is None or call.first is not None:
        return None
    given = (Given("result", result.shape), *call.more)
    return joined(parent, Program(trace(call.function, given), given, operator.category, (operator.name,)), result.name, "result")


def _together(pick: Pick, parent: Program, parents: Sequence[Program], choose: Choose) -> Program | None:
    """A result of one program as an input of another."""
    types = parent.graph.types()
    fitting = [
        (other, i.name, o) for other in parents[-200:] for g, i in zip(other.inputs, other.graph.inputs) for o in parent.graph.outputs
        if other is not parent and g.draw == "normal" and types[o] == i.type
    ]  # fmt: skip
    if not fitting:
        return None
    other, place, result = pick.of(*fitting)
    return joined(parent, other, result, place)


def joined(first: Program, second: Program, result: str, place: str) -> Program:
    """`second` behind `first`: its input `place` is the value `result`; the other outputs of the first stay outputs."""
    taken = set(first.graph.types())
    new: dict[str, str] = {}
    for name in second.graph.types():
        candidate, count = name, 2
        while candidate in taken and name != place:
            candidate, count = f"{name}_{count}", count + 1
        new[name] = candidate
        taken.add(candidate)
    other = renamed(second.graph, {k: v for k, v in new.items() if k != v})
    nodes = tuple(replace(n, op=rename_operands(n.op, {place: result})) for n in other.nodes)
    inputs = (*first.graph.inputs, *(i for i in other.inputs if i.name != place))
    outputs = (*(o for o in first.graph.outputs if o != result), *(o for o in other.outputs if o != place))
    graph = replace(first.graph, inputs=inputs, nodes=(*first.graph.nodes, *nodes), outputs=outputs)
    given = (*first.inputs, *(replace(g, name=new.get(g.name, g.name)) for g in second.inputs if g.name != place))
    return Program(graph, given, "mutated", (*first.operators, *second.operators), (*first.params, *second.params))


def live(graph: Graph) -> Graph:
    """Without what no output needs."""
    wanted = set(graph.outputs)
    nodes: list[Node] = []
    for n in reversed(graph.nodes):
        if any(v.name in wanted for v in n.outputs):
            nodes.append(n)
            wanted |= set(operands(n.op))
    return replace(graph, inputs=tuple(i for i in graph.inputs if i.name in wanted), nodes=tuple(reversed(nodes)))


def _shape(t: TensorType) -> Shape:
    return tuple(int(d.value) for d in t.shape)  # type: ignore[union-attr]


MUTATIONS: dict[str, Callable[[Pick, Program, Sequence[Program], Choose], Program | None]] = {
    "insert": _insert, "replace": _replace, "head": _head, "tail": _tail, "append": _append, "together": _together,
}  # fmt: skip
