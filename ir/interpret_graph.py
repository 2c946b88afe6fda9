"""The oracle for Graphs: a Graph and NumPy inputs go in, its outputs and updates come out, operator by operator.

Sums, products and contractions of floats are carried in double and rounded once to the node's dtype. bf16 arrays are float32 arrays with
rounded values. Random and Extern nodes are computed by a function passed in.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .diagnostic import IllegalProgram, InputMismatch
from .expr import Const, Expr, Var, simplify, substitute
from .graph import Contract, Conv, Extern, Graph, Map, Node, Random, Reduce, Reshape, Scan, Scatter, Sort, Window, operands
from .interpret import OutOfBounds
from .interpret_map import Array, MapEvaluator, Precision, Tensor
from .monoid import MONOIDS
from .monoid_terms import combine_terms, identity_terms
from .text import print_expr

Externs = Callable[[Node, Mapping[str, Tensor], Mapping[str, int]], Sequence[Array]]


def run_graph(g: Graph, inputs: Mapping[str, Array], externs: Externs | None = None, float64: bool = False) -> dict[str, Array]:
    """Values of the outputs and of the updated inputs (under the name of the value that they receive).

    `inputs`: an array per graph input in its NumPy dtype. `externs`: computes Random and Extern nodes. `float64`: all floats are
    doubles throughout. Raises InputMismatch, OutOfBounds, IllegalProgram.
    """
    run = _Run(Precision(float64), bind_dims(g, {k: np.shape(v) for k, v in inputs.items()}), {}, externs)
    for i in g.inputs:
        run.tensors[i.name] = (run.precision.store(np.asarray(inputs[i.name]), i.type.dtype), i.type.dtype)
    last = _last_reads(g)
    for k, node in enumerate(g.nodes):
        run.node(node)
        for name in last.get(k, ()):
            del run.tensors[name]
    return {name: run.tensors[name][0] for name in (*g.outputs, *(v for _, v in g.updates))}


def bind_dims(g: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Sizes of the dims from input shapes. Raises InputMismatch when an input is missing or shapes disagree."""
    sizes: dict[str, int] = {}
    for i in g.inputs:
        if i.name not in shapes or len(shapes[i.name]) != len(i.type.shape):
            raise InputMismatch(f"input `{i.name}` is missing or not of rank {len(i.type.shape)}")
        for d, n in zip(i.type.shape, shapes[i.name]):
            if isinstance(d, Var):
                sizes.setdefault(d.name, int(n))
    for i in g.inputs:
        for d, n in zip(i.type.shape, shapes[i.name]):
            if size_of(d, sizes) != n:
                raise InputMismatch(f"input `{i.name}` has extent {n} where {print_expr(d)} is needed")
    return sizes


def size_of(e: Expr, sizes: Mapping[str, int]) -> int:
    """A size under values of the dims."""
    value = simplify(substitute(e, {k: Const(v) for k, v in sizes.items()}))
    if not isinstance(value, Const):
        raise InputMismatch(f"the size {print_expr(e)} is not determined by the inputs")
    return int(value.value)


def _last_reads(g: Graph) -> dict[int, list[str]]:
    """Node number -> values that are not needed after it."""
    keep = g.live()
    last = {name: k for k, n in enumerate(g.nodes) for name in (*(v.name for v in n.outputs), *operands(n.op))}
    out: dict[int, list[str]] = {}
    for name, k in last.items():
        if name not in keep:
            out.setdefault(k, []).append(name)
    return out


@dataclass
class _Run:
    precision: Precision
    sizes: Mapping[str, int]
    tensors: dict[str, Tensor]
    externs: Externs | None

    def node(self, n: Node) -> None:
        made = self.outputs(n)
        for v, a in zip(n.outputs, made, strict=True):
            shape = tuple(size_of(d, self.sizes) for d in v.type.shape)
            if a.shape != shape:
                raise IllegalProgram(f"`{v.name}` is declared {shape}, the operator gives {a.shape}")
            self.tensors[v.name] = (self.precision.store(a, v.type.dtype), v.type.dtype)

    def outputs(self, n: Node) -> Sequence[Array]:
        shape = tuple(size_of(d, self.sizes) for d in n.outputs[0].type.shape)
        op = n.op
        if isinstance(op, Map):
            return (MapEvaluator(self.tensors, self.sizes, shape, self.precision).run(op.expr, n.outputs[0].type.dtype),)
        if isinstance(op, Reshape):
            return (self.array(op.x).reshape(shape),)
        if isinstance(op, Reduce):
            return reduce_axes(op.monoid, [self.tensors[x] for x in op.inputs], op.axes, self.precision)
        if isinstance(op, Window):
            return window(op, self.tensors[op.inputs[0]], shape, self.precision)
        if isinstance(op, Scan):
            return scan(op.monoid, [self.tensors[x] for x in op.inputs], op.axis, self.precision)
        if isinstance(op, Contract):
            return (contract(op.spec, self.array(op.a), self.array(op.b)),)
        if isinstance(op, Conv):
            return (convolve(op, self.array(op.x), self.array(op.w), shape),)
        if isinstance(op, Sort):
            return sort(self.array(op.x), op.axis, op.descending)
        if isinstance(op, Scatter):
            return (scatter(op, *(self.tensors[x][0] for x in (op.base, op.index, op.src))),)
        assert isinstance(op, (Random, Extern))
        return self._outside(n)

    def array(self, name: str) -> Array:
        return self.tensors[name][0]

    def _outside(self, n: Node) -> Sequence[Array]:
        if self.externs is None:
            raise IllegalProgram(f"`{n.outputs[0].name}` is computed by ATen, and no function for that was given")
        return [np.asarray(a) for a in self.externs(n, self.tensors, self.sizes)]


# ------------------------------------------------------------------------------------------------ monoids
def _wide(a: Array) -> Array:
    return a.astype(np.float64) if a.dtype.kind == "f" else a


def _identity(monoid: str, slot: int, dtype: str, precision: Precision) -> Array:
    e = identity_terms(monoid)[slot]
    return MapEvaluator({}, {}, (), precision).run(e, dtype)


def combine(monoid: str, acc: Sequence[Tensor], new: Sequence[Tensor], precision: Precision) -> list[Array]:
    """One step of a monoid on whole arrays."""
    names = {f"{side}{k}": t for side, slots in (("a", acc), ("b", new)) for k, t in enumerate(slots)}
    shape = np.broadcast_shapes(*(t[0].shape for t in names.values()))
    evaluator = _Slots(names, {}, shape, precision)
    return [evaluator.run(term, acc[k][1]) for k, term in enumerate(combine_terms(monoid))]


class _Slots(MapEvaluator):
    """Vars a0, b0, .. are whole arrays here."""

    def value(self, e: Expr, mask: Array | bool) -> Tensor:
        return self.tensors[e.name] if isinstance(e, Var) and e.name in self.tensors else super().value(e, mask)


def _slots(monoid: str, inputs: Sequence[Tensor], position: Array) -> list[Tensor]:
    """The value of every slot: argmax and argmin count positions in their second."""
    return [*inputs, (position, "i64")] if len(inputs) < MONOIDS[monoid].width else list(inputs)


_WHOLE: dict[str, Callable[[Array], np.generic | Array]] = {
    "add": lambda a: _wide(a).sum(-1, dtype=None if a.dtype.kind == "f" else a.dtype),
    "mul": lambda a: _wide(a).prod(-1, dtype=None if a.dtype.kind == "f" else a.dtype),
    "max": lambda a: a.max(-1),
    "min": lambda a: a.min(-1),
    "any": lambda a: a.any(-1),
    "all": lambda a: a.all(-1),
}


def reduce_axes(monoid: str, inputs: Sequence[Tensor], axes: Sequence[int], precision: Precision) -> list[Array]:
    """One array per slot, the reduced axes dropped."""
    rank = inputs[0][0].ndim
    keep = [k for k in range(rank) if k not in axes]

    def last(a: Array) -> Array:
        moved = a.transpose([*keep, *axes])
        return moved.reshape(*moved.shape[: len(keep)], int(np.prod(moved.shape[len(keep) :], dtype=np.int64)))

    parts = [(last(a), d) for a, d in inputs]
    n = parts[0][0].shape[-1]
    if n == 0:
        dtypes = [d for _, d in parts] + ["i64"] * (MONOIDS[monoid].width - len(parts))
        return [np.broadcast_to(_identity(monoid, k, d, precision), parts[0][0].shape[:-1]) for k, d in enumerate(dtypes)]
    if monoid in _WHOLE:
        return [np.asarray(_WHOLE[monoid](parts[0][0]))]
    if monoid in ("argmax", "argmin"):
        a = parts[0][0]
        index = (np.argmax if monoid == "argmax" else np.argmin)(a, axis=-1)
        return [np.take_along_axis(a, index[..., None], -1)[..., 0], index]
    acc = [(a[..., 0], d) for a, d in parts]
    for k in range(1, n):
        acc = _step(monoid, acc, [(a[..., k], d) for a, d in parts], precision)
    return [a for a, _ in acc]


def _step(monoid: str, acc: Sequence[Tensor], new: Sequence[Tensor], precision: Precision) -> list[Tensor]:
    return [(a, d) for a, (_, d) in zip(combine(monoid, acc, new, precision), acc)]


def scan(monoid: str, inputs: Sequence[Tensor], axis: int, precision: Precision) -> list[Array]:
    """Inclusive running results along an axis."""
    a = inputs[0][0]
    whole = {"add": np.cumsum, "mul": np.cumprod, "max": np.maximum.accumulate, "min": np.minimum.accumulate}
    if monoid in whole:
        kind = {"dtype": a.dtype} if monoid in ("add", "mul") and a.dtype.kind != "f" else {}
        return [whole[monoid](_wide(a), axis=axis, **kind)]
    position = np.broadcast_to(np.arange(a.shape[axis]).reshape([-1 if k == axis else 1 for k in range(a.ndim)]), a.shape)
    parts = [(np.moveaxis(x, axis, 0), d) for x, d in _slots(monoid, inputs, position)]
    rows: list[list[Tensor]] = []
    for k in range(a.shape[axis]):
        new = [(x[k], d) for x, d in parts]
        rows.append(_step(monoid, rows[-1], new, precision) if rows else new)
    return [np.moveaxis(np.stack([r[s][0] for r in rows]), 0, axis) if rows else parts[s][0] for s in range(len(parts))]


def window(op: Window, x: Tensor, shape: tuple[int, ...], precision: Precision) -> list[Array]:
    """Taps in row-major order; what lies outside does not take part. Index slots hold flat positions in the windowed plane."""
    a, dtype = _wide(x[0]) if op.monoid in ("add", "mul") else x[0], x[1]
    n = len(op.size)
    lead, out, plane = a.shape[: a.ndim - n], shape[len(shape) - n :], a.shape[a.ndim - n :]
    position = np.broadcast_to(np.arange(int(np.prod(plane)), dtype=np.int64).reshape(plane), a.shape)
    slots = _slots(op.monoid, [(a, dtype)], position)
    acc = [(np.full(lead + out, _identity(op.monoid, k, d, precision)), d) for k, (_, d) in enumerate(slots)]
    acc = [(_wide(s) if op.monoid in ("add", "mul") else s, d) for s, d in acc]
    for tap in itertools.product(*(range(k) for k in op.size)):
        inside, source = _taps(op, tap, out, plane)
        place = (..., *inside)
        new = [(s[(..., *source)], d) for s, d in slots]
        old = [(s[place], d) for s, d in acc]
        for (target, _), value in zip(acc, _window_step(op.monoid, old, new, precision)):
            target[place] = value
    return [s for s, _ in acc]


def _window_step(monoid: str, old: Sequence[Tensor], new: Sequence[Tensor], precision: Precision) -> list[Array]:
    direct = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
    if monoid in direct:
        return [direct[monoid](old[0][0], new[0][0])]
    return combine(monoid, old, new, precision)


def _taps(op: Window | Conv, tap: Sequence[int], out: Sequence[int], plane: Sequence[int]) -> tuple[list[slice], list[slice]]:
    """Output positions whose tap lies inside, and the input positions that they read."""
    inside, source = [], []
    for t, s, p, d, o, n in zip(tap, op.stride, op.padding, op.dilation, out, plane):
        offset = t * d - p
        first = max(0, -(offset // s)) if offset < 0 else 0
        last = min(o, (n - 1 - offset) // s + 1) if n - 1 - offset >= 0 else 0
        last = max(first, last)
        inside.append(slice(first, last))
        start = first * s + offset
        source.append(slice(start, start + (last - first - 1) * s + 1 if last > first else start, s))
    return inside, source


# ------------------------------------------------------------------------------------------------ products
def contract(spec: str, a: Array, b: Array) -> Array:
    """einsum of two arrays as one batched matrix product; floats in double, 8-bit integers in 64 bits."""
    (left, right), out = spec.split("->")[0].split(","), spec.split("->")[1]
    batch = [c for c in left if c in right and c in out]
    summed = [c for c in left if c in right and c not in out]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
    sizes = dict(zip(left, a.shape)) | dict(zip(right, b.shape))

    def grouped(x: Array, letters: str, *groups: list[str]) -> Array:
        moved = x.transpose([letters.index(c) for g in groups for c in g])
        return moved.reshape([int(np.prod([sizes[c] for c in g], dtype=np.int64)) for g in groups])

    a, b = (x.astype(np.int64) if x.dtype.itemsize == 1 else _wide(x) for x in (a, b))
    product = np.matmul(grouped(a, left, batch, rows, summed), grouped(b, right, batch, summed, columns))
    order = [*batch, *rows, *columns]
    return product.reshape([sizes[c] for c in order]).transpose([order.index(c) for c in out])


def convolve(op: Conv, x: Array, w: Array, shape: tuple[int, ...]) -> Array:
    """Tap by tap: a matrix product per position of the kernel."""
    g, n = op.groups, len(op.stride)
    x = _wide(x).reshape(x.shape[0], g, x.shape[1] // g, *x.shape[2:])
    w = _wide(w).reshape(g, w.shape[0] // g, *w.shape[1:])
    channels = shape[1] // g
    y = np.zeros((shape[0], g, channels, *shape[2:]), np.result_type(x, w))
    planes = (shape[2:], x.shape[3:]) if not op.transposed else (x.shape[3:], shape[2:])
    for tap in itertools.product(*(range(k) for k in w.shape[3:])):
        inside, source = _taps(op, tap, *planes)
        weight = w[(slice(None), slice(None), slice(None), *tap)]
        if op.transposed:
            inside, source = source, inside
            weight = weight.transpose(0, 2, 1)
        part = x[(..., *source)]
        flat = part.reshape(*part.shape[:3], -1) if part.size else part.reshape(*part.shape[:3], 0)
        y[(..., *inside)] += np.matmul(weight, flat).reshape(shape[0], g, channels, *part.shape[-n:])
    return y.reshape(shape)


# ------------------------------------------------------------------------------------------------ order and scatter
def sort(x: Array, axis: int, descending: bool) -> tuple[Array, Array]:
    """Stable; nan counts as the largest."""
    if descending:
        index = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        index = np.argsort(x, axis=axis, kind="stable")
    return np.take_along_axis(x, index, axis), index


_AT: dict[str, np.ufunc] = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def scatter(op: Scatter, base: Array, index: Array, src: Array) -> Array:
    if np.any((index < 0) | (index >= base.shape[op.axis])):
        raise OutOfBounds(
            f"scatter along axis {op.axis} of extent {base.shape[op.axis]} at {int(index.min())}..{int(index.max())}"
        )
    place: list[Array] = list(np.indices(index.shape, sparse=True))
    place[op.axis] = index
    out = base.copy() if op.monoid is None or not is_float_array(base) else base.astype(np.float64)
    if op.monoid is None:
        out[tuple(place)] = src
    else:
        _AT[op.monoid].at(out, tuple(place), src)
    return out


def is_float_array(a: Array) -> bool:
    return a.dtype.kind == "f"
