"""Graph to Graph: one shape for what can be written in many ways, so that fusion sees through it.

Dead and repeated nodes go, identity maps and reshapes become their operand, a 1x1 convolution becomes a contraction, the dims of a
contraction that lie side by side become one, and reshapes sink below pointwise maps and reductions (a reshape of a stored
value costs nothing; one in the middle of a chain would stop fusion).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..ir.expr import Const, Expr, Load, Op, Var, as_int, children, loads, mul, rebuild, simplify, transform, walk
from ..ir.graph import (
    Contract,
    Conv,
    Extern,
    Graph,
    Map,
    Node,
    Random,
    Reduce,
    Reshape,
    TensorType,
    Value,
    operands,
    rename_operands,
)
from .indexing import axis_ranges, coords, dim_ranges, numel, reindex


class Rewriter:
    """Rebuilds a graph node by node. `alias` says by which value an old name is read from now on."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.types = dict(graph.types())
        self.producer: dict[str, Node] = {}
        self.nodes: list[Node] = []
        self.alias: dict[str, str] = {}
        self._taken = set(self.types)

    def fresh(self, base: str) -> str:
        n = 0
        while f"{base}_{n}" in self._taken:
            n += 1
        self._taken.add(f"{base}_{n}")
        return f"{base}_{n}"

    def emit(self, node: Node) -> None:
        self.nodes.append(node)
        for v in node.outputs:
            self.producer[v.name] = node
            self.types[v.name] = v.type

    def value(self, base: str, op: object, dtype: str, shape: tuple[Expr, ...], origin: str = "") -> str:
        """Emit a new single-output node and return its name."""
        name = self.fresh(base)
        self.emit(Node((Value(name, TensorType(dtype, shape)),), op, origin))  # type: ignore[arg-type]
        return name

    def reshape(self, x: str, shape: tuple[Expr, ...]) -> str:
        """`x` with another shape; reshapes of reshapes collapse."""
        while isinstance(self.producer.get(x, None), Node) and isinstance(self.producer[x].op, Reshape):
            x = self.producer[x].op.x  # type: ignore[union-attr]
        if self.types[x].shape == shape:
            return x
        return self.value(x, Reshape(x), self.types[x].dtype, shape)

    def finish(self) -> Graph:
        def last(name: str) -> str:
            while name in self.alias:
                name = self.alias[name]
            return name

        outputs = tuple(last(o) for o in self.graph.outputs)
        updates = tuple((i, last(v)) for i, v in self.graph.updates)
        return dead_code(replace(self.graph, nodes=tuple(self.nodes), outputs=outputs, updates=updates))


Rule = Callable[[Rewriter, Node], bool]
"""Handles the node (emits its replacement, sets aliases) and returns True, or leaves it alone and returns False."""


def rewrite(graph: Graph, rules: tuple[Rule, ...]) -> Graph:
    """One pass in program order; the first rule that takes a node wins."""
    r = Rewriter(graph)
    for node in graph.nodes:
        new = {name: _last(r.alias, name) for name in set(operands(node.op))}
        node = replace(node, op=rename_operands(node.op, {k: v for k, v in new.items() if k != v}))
        if not any(rule(r, node) for rule in rules):
            r.emit(node)
    return r.finish()


def _last(alias: dict[str, str], name: str) -> str:
    while name in alias:
        name = alias[name]
    return name


def canonicalize(graph: Graph) -> Graph:
    """All rules to a fixed point (a handful of passes)."""
    for _ in range(8):
        new = common_nodes(rewrite(graph, RULES))
        if new == graph:
            break
        graph = new
    return graph


def dead_code(graph: Graph) -> Graph:
    """Nodes that no output or update needs are dropped; random draws stay, since they move the generator."""
    needed = set(graph.live())
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if isinstance(node.op, Random) or any(v.name in needed for v in node.outputs):
            kept.append(node)
            needed.update(operands(node.op))
    return replace(graph, nodes=tuple(reversed(kept)))


def common_nodes(graph: Graph) -> Graph:
    """Equal operators on equal operands are computed once."""
    r = Rewriter(graph)
    seen: dict[object, tuple[Value, ...]] = {}
    for node in graph.nodes:
        op = rename_operands(node.op, {n: _last(r.alias, n) for n in set(operands(node.op))})
        key = (repr(op), tuple(v.type for v in node.outputs))
        if not isinstance(op, (Random, Extern)) and key in seen:
            r.alias.update({v.name: s.name for v, s in zip(node.outputs, seen[key])})
            continue
        seen[key] = node.outputs
        r.emit(replace(node, op=op))
    return r.finish()


# ------------------------------------------------------------------------------------------------ rules
def drop_identity(r: Rewriter, node: Node) -> bool:
    """map(x[i0, .., ik]) of x's own shape and dtype, and reshape(x) to x's own shape, are x."""
    out = node.outputs[0]
    if isinstance(node.op, Reshape):
        x = node.op.x
    elif isinstance(node.op, Map) and isinstance(node.op.expr, Load) and node.op.expr.index == coords(len(out.type.shape)):
        x = node.op.expr.buffer
    else:
        return False
    if r.types[x] != out.type:
        return False
    r.alias[out.name] = x
    return True


def merge_reshapes(r: Rewriter, node: Node) -> bool:
    """reshape(reshape(x)) is reshape(x)."""
    if not (isinstance(node.op, Reshape) and node.op.x in r.producer and isinstance(r.producer[node.op.x].op, Reshape)):
        return False
    r.alias[node.outputs[0].name] = r.reshape(node.op.x, node.outputs[0].type.shape)
    return True


def reshape_as_map(r: Rewriter, node: Node) -> bool:
    """A map that only inserts or drops dims of size one is a reshape."""
    out = node.outputs[0]
    if not (isinstance(node.op, Map) and isinstance(node.op.expr, Load) and r.types[node.op.expr.buffer].dtype == out.type.dtype):
        return False
    x = node.op.expr
    source = r.types[x.buffer].shape
    kept_out = [Var(f"i{d}") for d, s in enumerate(out.type.shape) if as_int(s) != 1]
    kept_in = [e for e, s in zip(x.index, source) if as_int(s) != 1]
    if kept_out != kept_in or numel(source) != numel(out.type.shape):
        return False
    r.alias[out.name] = r.reshape(x.buffer, out.type.shape)
    return True


def pointwise_conv(r: Rewriter, node: Node) -> bool:
    """A dense 1x1 convolution of stride 1 is a contraction over channels."""
    op = node.op
    if not (isinstance(op, Conv) and not op.transposed and op.groups == 1 and not any(op.padding) and all(s == 1 for s in op.stride)):
        return False
    if any(as_int(k) != 1 for k in r.types[op.w].shape[2:]):
        return False
    n, _, *space = node.outputs[0].type.shape
    o, c = r.types[op.w].shape[:2]
    dtype = node.outputs[0].type.dtype
    x = r.reshape(op.x, (n, c, numel(tuple(space))))
    w = r.reshape(op.w, (o, c))
    y = r.value(node.outputs[0].name, Contract("oc,ncp->nop", w, x), dtype, (n, o, numel(tuple(space))), node.origin)
    r.alias[node.outputs[0].name] = r.reshape(y, node.outputs[0].type.shape)
    return True


def merge_contract_dims(r: Rewriter, node: Node) -> bool:
    """Two letters that stand side by side in every operand that has them become one; dims of size one go."""
    op = node.op
    if not isinstance(op, Contract):
        return False
    (left, right), out = op.spec.split("->")[0].split(","), op.spec.split("->")[1]
    pair = next((p for p in _pairs((left, right, out)) if _together(p, (left, right, out))), None)
    if pair is None:
        return False
    shapes = [_merged(r.types[x].shape, t, pair) for x, t in ((op.a, left), (op.b, right))]
    shape = _merged(node.outputs[0].type.shape, out, pair)
    spec = op.spec.replace(pair, pair[0])
    a, b = r.reshape(op.a, shapes[0]), r.reshape(op.b, shapes[1])
    y = r.value(node.outputs[0].name, Contract(spec, a, b), node.outputs[0].type.dtype, shape, node.origin)
    r.alias[node.outputs[0].name] = r.reshape(y, node.outputs[0].type.shape)
    return True


def _pairs(terms: tuple[str, ...]) -> list[str]:
    return [t[k : k + 2] for t in terms for k in range(len(t) - 1)]


def _together(pair: str, terms: tuple[str, ...]) -> bool:
    return all(pair in t if any(c in t for c in pair) else True for t in terms)


def _merged(shape: tuple[Expr, ...], term: str, pair: str) -> tuple[Expr, ...]:
    k = term.find(pair)
    return shape if k < 0 else (*shape[:k], mul(shape[k], shape[k + 1]), *shape[k + 2 :])


def sink_reshape_map(r: Rewriter, node: Node) -> bool:
    """map over reshape(y): the map is computed in y's shape and reshaped after, when its indices stay free of // and %."""
    if not isinstance(node.op, Map):
        return False
    out = node.outputs[0]
    for load in _whole_loads(r, node):
        producer = r.producer.get(load.buffer)
        if producer is None or not isinstance(producer.op, Reshape):
            continue
        if producer.op.x not in r.producer or isinstance(r.producer[producer.op.x].op, Reshape):
            continue
        shape = r.types[producer.op.x].shape
        expr = _in_shape(r, node.op.expr, out.type.shape, shape)
        if expr is not None:
            y = r.value(out.name, Map(expr), out.type.dtype, shape, node.origin)
            r.alias[out.name] = r.reshape(y, out.type.shape)
            return True
    return False


def _in_shape(r: Rewriter, expr: Expr, old: tuple[Expr, ...], new: tuple[Expr, ...]) -> Expr | None:
    """`expr` over coordinates of shape `old`, rewritten over coordinates of the same elements in shape `new`; None when impossible."""
    if as_int(numel(old)) == 0:
        return None
    axes = tuple(f"i{d}" for d in range(len(new)))
    ranges = dim_ranges(r.graph.dims) | axis_ranges(axes, new)
    index = reindex(coords(len(new)), new, old, ranges)
    env = {f"i{d}": e for d, e in enumerate(index)}

    def leaf(n: Expr) -> Expr | None:
        if isinstance(n, Load) and n.index == coords(len(old)) and len(old) and r.types[n.buffer].shape == old:
            return Load("=" + n.buffer, coords(len(new)))
        return None

    marked = transform(expr, leaf)
    moved = _substitute_unmarked(marked, env, ranges)
    if any(isinstance(n, Op) and n.name in ("//", "%") for load in loads(moved) for i in load.index for n in walk(i)):
        return None
    if any(isinstance(n, Op) and n.name in ("//", "%") for n in walk(moved) if not isinstance(n, Load)) and not _had_divmod(expr):
        return None
    return transform(moved, lambda n: Load(r.reshape(n.buffer[1:], new), n.index) if isinstance(n, Load) and n.buffer.startswith("=") else None)


def _had_divmod(e: Expr) -> bool:
    return any(isinstance(n, Op) and n.name in ("//", "%") for n in walk(e))


def _substitute_unmarked(e: Expr, env: dict[str, Expr], ranges: dict[str, tuple[int, int]]) -> Expr:
    if isinstance(e, Load) and e.buffer.startswith("="):
        return e
    if isinstance(e, Var):
        return env.get(e.name, e)
    return simplify(rebuild(e, tuple(_substitute_unmarked(k, env, ranges) for k in children(e))), ranges)


def lift_reshape(r: Rewriter, node: Node) -> bool:
    """reshape(map over graph inputs): the map is computed in the new shape over reshaped inputs, which are free."""
    if not (isinstance(node.op, Reshape) and node.op.x in r.producer):
        return False
    source = r.producer[node.op.x]
    if not isinstance(source.op, Map) or any(x.buffer in r.producer for x in _whole_loads(r, source)):
        return False
    old, new = source.outputs[0].type.shape, node.outputs[0].type.shape
    expr = _in_shape(r, source.op.expr, old, new)
    if expr is None:
        return False
    out = node.outputs[0]
    r.alias[out.name] = r.value(node.op.x, Map(expr), out.type.dtype, new, source.origin)
    return True


def _whole_loads(r: Rewriter, node: Node) -> list[Load]:
    """Loads of tensors of the node's own shape, element by element (a slice from 0 reads like one and is none)."""
    assert isinstance(node.op, Map)
    shape = node.outputs[0].type.shape
    return [x for x in loads(node.op.expr) if x.index == coords(len(shape)) and r.types[x.buffer].shape == shape]


def sink_reshape_reduce(r: Rewriter, node: Node) -> bool:
    """reduce over reshape(y), when whole segments of y's dims are reduced or kept: reduce y, reshape after."""
    op = node.op
    if not (isinstance(op, Reduce) and len(op.inputs) == 1 and op.monoid not in ("argmax", "argmin")):
        return False
    producer = r.producer.get(op.inputs[0])
    if producer is None or not isinstance(producer.op, Reshape):
        return False
    y = producer.op.x
    if y not in r.producer or isinstance(r.producer[y].op, Reshape):
        return False
    axes = _sunk_axes(r.types[y].shape, r.types[op.inputs[0]].shape, op.axes)
    if axes is None:
        return False
    shape = tuple(s for d, s in enumerate(r.types[y].shape) if d not in axes)
    out = node.outputs[0]
    value = r.value(out.name, Reduce(op.monoid, (y,), axes), out.type.dtype, shape, node.origin)
    r.alias[out.name] = r.reshape(value, out.type.shape)
    return True


def _sunk_axes(y: tuple[Expr, ...], x: tuple[Expr, ...], axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The dims of `y` to reduce so that a reshape of it to `x` is reduced over `axes`; None when a segment is cut."""
    segments = _segments(y, x)
    if segments is None:
        return None
    out: list[int] = []
    for mine, theirs in segments:
        if all(d in axes for d in theirs):
            out += mine
        elif any(d in axes for d in theirs):
            return None
    return tuple(out)


def _segments(a: tuple[Expr, ...], b: tuple[Expr, ...]) -> list[tuple[list[int], list[int]]] | None:
    """The shortest runs of dims of `a` and of `b` with equal products, in order; None when symbolic sizes do not line up."""
    out: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(a) and j < len(b):
        left, right = [i], [j]
        p, q = simplify(a[i]), simplify(b[j])
        i, j = i + 1, j + 1
        while p != q:
            m, n = as_int(p), as_int(q)
            if m is None or n is None:
                return None
            if m < n and i < len(a):
                left.append(i)
                p, i = mul(p, a[i]), i + 1
            elif n < m and j < len(b):
                right.append(j)
                q, j = mul(q, b[j]), j + 1
            else:
                return None
        out.append((left, right))
    rest_ok = all(as_int(s) == 1 for s in (*a[i:], *b[j:]))
    if not rest_ok or not out:
        return None
    out[-1][0].extend(range(i, len(a)))
    out[-1][1].extend(range(j, len(b)))
    return out


def cheaper_map(r: Rewriter, node: Node) -> bool:
    """tanh(softplus(x)), the core of mish, from one exponential: with n = e(e + 2), e = exp(x), it is n/(n + 2)."""
    if not isinstance(node.op, Map):
        return False
    expr = transform(node.op.expr, _tanh_of_softplus)
    if expr == node.op.expr:
        return False
    r.emit(replace(node, op=Map(expr)))
    return True


def _tanh_of_softplus(e: Expr) -> Expr | None:
    if not (isinstance(e, Op) and e.name == "tanh" and isinstance(e.args[0], Op) and e.args[0].name == "select"):
        return None
    test, x, soft = e.args[0].args
    if soft != Op("log1p", (Op("exp", (x,)),)) or not (isinstance(test, Op) and test.name == ">" and test.args[0] == x):
        return None
    if not (isinstance(test.args[1], Const) and test.args[1].value == 20):
        return None
    power = Op("exp", (Op("min", (x, Const(20.0))),))  # at 20 the quotient is 1 to the last bit, as tanh is
    n = Op("*", (power, Op("+", (power, Const(2.0)))))
    return Op("/", (n, Op("+", (n, Const(2.0)))))


RULES: tuple[Rule, ...] = (cheaper_map, drop_identity, merge_reshapes, reshape_as_map, pointwise_conv, merge_contract_dims, sink_reshape_map, sink_reshape_reduce, lift_reshape)
