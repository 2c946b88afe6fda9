"""A Graph as a Relax module: one tensor expression for each node, by the table OPERATORS. Graphs with numbers as sizes come in.

Goes out: an IRModule whose `main` takes the graph's inputs and gives its outputs, then the values that inputs are updated to. Needs TVM.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.expr import Const, Expr, simplify
from ...ir.graph import Contract, Conv, Graph, Map, Node, Reduce, Reshape, TensorType, Window, operands
from ...ir.interpret_graph import size_of
from ...ir.monoid import MONOIDS
from ...ir.monoid_terms import combine_terms, identity_terms
from .errors import Untranslated
from .library import relax, te, tirx
from .scalar import Scalars, cast, constant, dtype_of

Made = Sequence[Any]
"""Tensors of a node's outputs, in order."""
PADDED = "padded"
"""How functions are called that other kernels must not take in."""


def translate(graph: Graph, helpers: bool = False) -> Any:
    """The Relax module; `helpers`: its text may call `scalar.HELPERS`. Raises Untranslated, which names the operator, the dtype or the size that TVM's side has not."""
    if graph.dims:
        raise Untranslated(f"TVM's side has no symbolic sizes: {graph.dims[0].name}", hint="fix the program's sizes")
    builder = relax.BlockBuilder()
    values: dict[str, Any] = {i.name: relax.Var(i.name, _type(i.type)) for i in graph.inputs}
    types = graph.types()
    wanted = [*graph.outputs, *(value for _, value in graph.updates)]
    with builder.function("main", list(values.values())):
        with builder.dataflow():
            for node in graph.nodes:
                names = list(dict.fromkeys(operands(node.op)))
                given = {n: values[n] for n in names}
                if isinstance(node.op, Conv) and (pad := _padding(node, types)) is not None:
                    given[node.op.x] = builder.emit_te(pad, given[node.op.x], primfunc_name_hint=PADDED)
                made = builder.emit_te(_expression(node, names, types, helpers), *given.values(), primfunc_name_hint=_hint(node))
                parts = [made] if len(node.outputs) == 1 else [builder.emit(relax.TupleGetItem(made, k)) for k in range(len(node.outputs))]
                values.update({v.name: part for v, part in zip(node.outputs, parts)})
            result = builder.emit_output(relax.Tuple([values[name] for name in wanted]))
        builder.emit_func_output(result)
    return builder.get()


def _padding(node: Node, types: Mapping[str, TensorType]) -> Callable[..., Any] | None:
    op = node.op
    assert isinstance(op, Conv)
    return _padded(op, _sizes(node.outputs[0].type.shape)[2:], _sizes(types[op.w].shape)[2:], types[op.x].dtype)


def _type(t: TensorType) -> Any:
    return relax.TensorType(_sizes(t.shape), dtype_of(t.dtype))


def _sizes(shape: Sequence[Expr]) -> tuple[int, ...]:
    out = tuple(size_of(d, {}) for d in shape)
    if 0 in out:
        raise Untranslated("TVM's side has no empty tensors")
    return out


def _hint(node: Node) -> str:
    """`relu` of `aten.relu.default@layer1.0`, else the operator's kind."""
    found = re.match(r"(?:aten\.)?_?([a-z]\w*)", node.origin)
    return found[1] if found else type(node.op).__name__.lower()


def _expression(node: Node, names: Sequence[str], types: Mapping[str, TensorType], helpers: bool) -> Callable[..., Any]:
    make = OPERATORS.get(type(node.op))
    if make is None:
        raise Untranslated(f"TVM's side has no translation of {type(node.op).__name__} ({node.origin or node.outputs[0].name})")
    for v in node.outputs:
        dtype_of(v.type.dtype)

    def run(*tensors: Any) -> Any:
        given = {n: (t, types[n].dtype) for n, t in zip(names, tensors)}
        made = list(make(_Nest(node, given, helpers)))
        return made[0] if len(made) == 1 else made

    return run


@dataclass(frozen=True)
class _Nest:
    """A node and its operands as tensors."""

    node: Node
    given: Mapping[str, tuple[Any, str]]
    helpers: bool

    @property
    def op(self) -> Any:
        return self.node.op

    @property
    def shape(self) -> list[Any]:
        return [_whole(d) for d in _sizes(self.node.outputs[0].type.shape)]

    @property
    def dtype(self) -> str:
        return self.node.outputs[0].type.dtype

    @property
    def name(self) -> str:
        return re.sub(r"\W", "_", self.node.outputs[0].name)

    def scalars(self, axes: Sequence[Any]) -> Scalars:
        return Scalars(self.given, {f"i{k}": (a, "i64") for k, a in enumerate(axes)}, self.helpers)


def _whole(n: int) -> Any:
    return tirx.IntImm("int64", n)


def _axis(extent: int, name: str) -> Any:
    return te.reduce_axis((_whole(0), _whole(extent)), name)


# ------------------------------------------------------------------------------------------------ operators
def _map(n: _Nest) -> Made:
    return [te.compute(n.shape, lambda *i: n.scalars(i).run(n.op.expr, n.dtype), name=n.name)]


def _reshape(n: _Nest) -> Made:
    x, _ = n.given[n.op.x]
    old = [int(d) for d in x.shape]

    def at(*i: Any) -> Any:
        flat: Any = _whole(0)
        for k, extent in zip(i, n.shape):
            flat = flat * extent + k
        index = []
        for extent in reversed(old):
            index.append(tirx.floormod(flat, _whole(extent)))
            flat = tirx.floordiv(flat, _whole(extent))
        return x[tuple(reversed(index))]

    return [te.compute(n.shape, at, name=n.name)]


def _reduce(n: _Nest) -> Made:
    op: Reduce = n.op
    x, _ = n.given[op.inputs[0]]
    extents = [int(d) for d in x.shape]
    axes = {k: _axis(extents[k], f"k{k}") for k in op.axes}

    def at(*i: Any) -> tuple[list[Any], Any]:
        free = iter(i)
        place = tuple(axes[k] if k in axes else next(free) for k in range(len(extents)))
        position: Any = _whole(0)
        for k in op.axes:
            position = position * _whole(extents[k]) + axes[k]
        return [n.given[name][0][place] for name in op.inputs], position

    return _folded(n, op.monoid, op.inputs, at, list(axes.values()))


def _folded(n: _Nest, monoid: str, inputs: Sequence[str], at: Callable[..., tuple[list[Any], Any]], axes: list[Any], inside: Callable | None = None) -> Made:
    """The fold of a monoid over reduce axes; `at`: the values and the position of a term, `inside`: the condition under which it takes part."""
    dtypes = [n.given[name][1] for name in inputs]
    dtypes += ["i64"] * (MONOIDS[monoid].width - len(dtypes))
    wide = ["f32" if d == "f16" and len(dtypes) == 1 else d for d in dtypes]  # sums need it; CUDA has no max of halves
    identities = [constant(_number(e), d) for e, d in zip(identity_terms(monoid), wide)]

    def terms(*i: Any) -> list[Any]:
        values, position = at(*i)
        values = [cast(v, d, w) for v, d, w in zip(values, dtypes, wide)] + [position] * (len(wide) - len(values))
        if inside is None or (condition := inside(*i)) is None:
            return values
        return [tirx.if_then_else(condition, v, e) for v, e in zip(values, identities)]

    if len(wide) == 1:
        fold = getattr(te, _PLAIN[monoid]) if monoid in _PLAIN else _reducer(monoid, wide, n.helpers)
        made = te.compute(n.shape, lambda *i: fold(terms(*i)[0], axis=axes), name=n.name)
        if wide == dtypes:
            return [made]
        return [te.compute(n.shape, lambda *i: made(*i).astype(dtype_of(dtypes[0])), name=f"{n.name}_rounded")]
    made = te.compute(n.shape, lambda *i: _reducer(monoid, wide, n.helpers)(tuple(terms(*i)), axis=axes), name=n.name)
    return list(made)


_PLAIN = {"add": "sum", "max": "max", "min": "min"}
"""TVM's own folds, which dlight knows. NaN takes part in max and min as TVM has it: it may be passed over."""


def _reducer(monoid: str, dtypes: Sequence[str], helpers: bool) -> Callable[..., Any]:
    def combine(a: Any, b: Any) -> Any:
        sides = [("a", a), ("b", b)]
        slots = [(side, list(values) if len(dtypes) > 1 else [values]) for side, values in sides]
        bound = {f"{side}{k}": (v, d) for side, values in slots for k, (v, d) in enumerate(zip(values, dtypes))}
        out = [Scalars({}, bound, helpers).run(term, d) for term, d in zip(combine_terms(monoid), dtypes)]
        return tuple(out) if len(out) > 1 else out[0]

    def identity(*_: Any) -> Any:
        out = [constant(_number(e), d) for e, d in zip(identity_terms(monoid), dtypes)]
        return tuple(out) if len(out) > 1 else out[0]

    return te.comm_reducer(combine, identity, name=monoid)


def _number(e: Expr) -> bool | int | float:
    folded = simplify(e)
    if isinstance(folded, Const):
        return folded.value
    return Scalars({}).value(e)[0]


def _contract(n: _Nest) -> Made:
    op: Contract = n.op
    (a, a_type), (b, b_type) = n.given[op.a], n.given[op.b]
    (left, right), out = op.spec.split("->")[0].split(","), op.spec.split("->")[1]
    sizes = {c: int(d) for letters, t in ((left, a), (right, b)) for c, d in zip(letters, t.shape)}
    summed = {c: _axis(sizes[c], c) for c in left if c not in out}

    def at(*i: Any) -> Any:
        place = {**dict(zip(out, i)), **summed}
        return cast(a[tuple(place[c] for c in left)], a_type, wide) * cast(b[tuple(place[c] for c in right)], b_type, wide)

    wide = _accumulator(n.dtype)
    return _summed(n, at, list(summed.values()), wide)


def _accumulator(dtype: str) -> str:
    return "f32" if dtype == "f16" else dtype


def _summed(n: _Nest, at: Callable[..., Any], axes: list[Any], wide: str) -> Made:
    """A sum of products, rounded once to the node's dtype."""
    made = te.compute(n.shape, lambda *i: te.sum(at(*i), axis=axes) if axes else at(*i), name=n.name)
    return [made if wide == n.dtype else te.compute(n.shape, lambda *i: cast(made(*i), wide, n.dtype), name=f"{n.name}_rounded")]


def _conv(n: _Nest) -> Made:
    """Of an input that `_padded` has made whole: every tap lies inside."""
    op: Conv = n.op
    (x, x_type), (w, w_type) = n.given[op.x], n.given[op.w]
    taps = [int(d) for d in w.shape[2:]]
    per_out, per_in = int(n.shape[1]) // op.groups, int(x.shape[1]) // op.groups
    wide = _accumulator(n.dtype)
    channel, kernel = _axis(per_in, "c"), [_axis(t, f"r{k}") for k, t in enumerate(taps)]

    def at(b: Any, o: Any, *i: Any) -> Any:
        group = tirx.floordiv(o, _whole(per_out)) if op.groups > 1 else _whole(0)
        within = tirx.floormod(o, _whole(per_out)) if op.groups > 1 else o
        if op.transposed:
            place = [p + (t - 1) * d - k * d for p, k, t, d in zip(i, kernel, taps, op.dilation)]
            weight = (group * per_in + channel, within, *kernel)
        else:
            place = [p * s + k * d for p, k, s, d in zip(i, kernel, op.stride, op.dilation)]
            weight = (o, channel, *kernel)
        return cast(x[(b, group * per_in + channel, *place)], x_type, wide) * cast(w[weight], w_type, wide)

    return _summed(n, at, [channel, *kernel], wide)


def _padded(op: Conv, out: Sequence[int], taps: Sequence[int], dtype: str) -> Callable[..., Any] | None:
    """The input of a convolution with zeros around it, and between its elements where it is transposed; None where it needs none. A kernel of
    its own: dlight may load under a condition what the condition forbids."""
    if not op.transposed and not any(op.padding):
        return None
    reach = [(t - 1) * d for t, d in zip(taps, op.dilation)]
    apart = op.stride if op.transposed else (1,) * len(taps)
    before = [r - p for r, p in zip(reach, op.padding)] if op.transposed else list(op.padding)
    plane = [o + r if op.transposed else (o - 1) * s + r + 1 for o, r, s in zip(out, reach, op.stride)]

    def run(x: Any) -> Any:
        extents = [int(d) for d in x.shape[2:]]

        def at(b: Any, c: Any, *i: Any) -> Any:
            inside, place = [], []
            for p, first, step, extent in zip(i, before, apart, extents):
                from_first = p - first
                inside += [tirx.GE(from_first, _whole(0)), tirx.LT(from_first, _whole((extent - 1) * step + 1))]
                inside += [tirx.EQ(tirx.floormod(from_first, _whole(step)), _whole(0))] if step > 1 else []
                place.append(tirx.floordiv(from_first, _whole(step)) if step > 1 else from_first)
            return tirx.if_then_else(tirx.all(*inside), x[(b, c, *place)], constant(0, dtype))

        return te.compute([*x.shape[:2], *map(_whole, plane)], at, name=PADDED)

    return run


def _under(op: Window, at: Sequence[Any], taps: Sequence[Any]) -> list[Any]:
    """Where in the input each tap of a window lies."""
    return [i * stride + tap * dilation - padding for i, tap, stride, padding, dilation in zip(at, taps, op.stride, op.padding, op.dilation)]


def _window(n: _Nest) -> Made:
    op: Window = n.op
    x, _ = n.given[op.inputs[0]]
    rank = len(op.size)
    plane = [int(d) for d in x.shape[len(x.shape) - rank :]]
    taps = [_axis(s, f"r{k}") for k, s in enumerate(op.size)]
    covered = all(p == 0 and (int(o) - 1) * s + (k - 1) * d < e for p, o, s, k, d, e in zip(op.padding, n.shape[-rank:], op.stride, op.size, op.dilation, plane))

    def at(*i: Any) -> tuple[list[Any], Any]:
        place = _under(op, i[len(i) - rank :], taps)
        position: Any = _whole(0)
        for extent, where in zip(plane, place):
            position = position * _whole(extent) + where
        return [n.given[name][0][(*i[: len(i) - rank], *place)] for name in op.inputs], position

    def inside(*i: Any) -> Any:
        if covered:
            return None
        bounds = zip(_under(op, i[len(i) - rank :], taps), plane)
        return tirx.all(*(c for where, extent in bounds for c in (tirx.GE(where, _whole(0)), tirx.LT(where, _whole(extent)))))

    return _folded(n, op.monoid, op.inputs, at, taps, inside)


OPERATORS: dict[type, Callable[[_Nest], Made]] = {
    Map: _map, Reshape: _reshape, Reduce: _reduce, Contract: _contract, Conv: _conv, Window: _window,
}  # fmt: skip
"""Scan, Scatter, Sort, Random and Extern are not here: dlight has no schedule for them."""
