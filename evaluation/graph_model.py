"""A Graph comes in, a `torch.nn.Module` that evaluates it through torch operators goes out; inputs and weights for it too.

The meaning is `ir.interpret_graph`'s. Since every step is a torch operator, `reference` widens the module to float64, disturbs and
measures it as it does a model written by hand. What an input receives after the run is one more result, after the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from ..backends.cpu.aten import scattered
from ..frontend.dtypes import TORCH_DTYPE
from ..frontend.extern import run_extern
from ..ir.diagnostic import IllegalProgram
from ..ir.graph import Contract, Conv, Extern, Graph, Input, Map, Node, Random, Reduce, Reshape, Scan, Scatter, Sort, Window
from ..ir.interpret import OutOfBounds
from ..ir.interpret_graph import size_of
from ..ir.kernel import Program
from ..ir.monoid import MONOIDS
from ..ir.monoid_terms import combine_terms, identity_terms
from ..ir.types import is_float
from .graph_map import Kinds, Places, TorchMap, Typed

Sizes = Mapping[str, int]


class GraphModel(torch.nn.Module):
    """`forward(*sizes of the dims, *tensors of the inputs)` gives the outputs, then the values of the updates. Params and buffers are the state, params first."""

    def __init__(self, graph: Graph, sizes: Sizes):
        super().__init__()
        if any(isinstance(n.op, Random) for n in graph.nodes):
            raise IllegalProgram("the graph draws random numbers: no two runs agree")
        self.graph, self.places = graph, Places()
        self.weights: dict[str, str] = {}
        for i in sorted((i for i in graph.inputs if i.role != "input"), key=lambda i: i.role != "param"):
            self._hold(i, sizes)
        self.register_buffer("_width", torch.zeros((), dtype=torch.float32), persistent=False)

    def _hold(self, i: Input, sizes: Sizes) -> None:
        value = first_weight(i, sizes)
        name = i.name if not hasattr(self, i.name) else i.name + "_"
        self.weights[i.name] = name
        if i.role == "param" and value.is_floating_point():
            self.register_parameter(name, torch.nn.Parameter(value, requires_grad=False))
        else:
            self.register_buffer(name, value)

    def forward(self, *values):
        dims = len(self.graph.dims)
        sizes = {d.name: int(v) for d, v in zip(self.graph.dims, values)}
        given = iter(values[dims:])
        kinds = Kinds(self._width.dtype == torch.float64)
        tensors: dict[str, Typed] = {}
        for i in self.graph.inputs:
            value = next(given) if i.role == "input" else getattr(self, self.weights[i.name])
            tensors[i.name] = (value, i.type.dtype)
        run = _Run(kinds, sizes, tensors, self.places)
        for node in self.graph.nodes:
            run.node(node)
        results = (*self.graph.outputs, *(value for _, value in self.graph.updates))
        return tuple(run.tensors[name][0] for name in results)


# ------------------------------------------------------------------------------------------------ operators
@dataclass
class _Run:
    kinds: Kinds
    sizes: Sizes
    tensors: dict[str, Typed]
    places: Places = field(default_factory=Places)

    def node(self, n: Node) -> None:
        for v, x in zip(n.outputs, self.outputs(n), strict=True):
            shape = self.shape(v.type.shape)
            if tuple(x.shape) != shape:
                raise IllegalProgram(f"`{v.name}` is declared {shape}, the operator gives {tuple(x.shape)}")
            self.tensors[v.name] = (self.kinds.store(x, v.type.dtype), v.type.dtype)

    def shape(self, shape) -> tuple[int, ...]:
        return tuple(size_of(d, self.sizes) for d in shape)

    def outputs(self, n: Node) -> Sequence[torch.Tensor]:
        op, shape, dtype = n.op, self.shape(n.outputs[0].type.shape), n.outputs[0].type.dtype
        if isinstance(op, Map):
            return (TorchMap(self.tensors, self.sizes, shape, self.kinds, self.places).run(op.expr, dtype),)
        if isinstance(op, Reshape):
            return (self.tensor(op.x).reshape(shape),)
        if isinstance(op, Reduce):
            return self.reduce(op.monoid, [self.tensors[x] for x in op.inputs], op.axes)
        if isinstance(op, Window):
            return self.window(op, shape)
        if isinstance(op, Scan):
            return self.scan(op.monoid, [self.tensors[x] for x in op.inputs], op.axis)
        if isinstance(op, Contract):
            return (torch.einsum(op.spec, *(self._factor(x, dtype) for x in (op.a, op.b))),)
        if isinstance(op, Conv):
            return (self.convolve(op, dtype),)
        if isinstance(op, Sort):
            return torch.sort(self.tensor(op.x), dim=op.axis, descending=op.descending, stable=True)
        if isinstance(op, Scatter):
            return (scattered(op, self.tensor(op.base), self.tensor(op.index), self.tensor(op.src)),)
        assert isinstance(op, Extern)
        return run_extern(n, {name: x for name, (x, _) in self.tensors.items()}, self.sizes)

    def tensor(self, name: str) -> torch.Tensor:
        return self.tensors[name][0]

    def _factor(self, name: str, dtype: str) -> torch.Tensor:
        """An operand of a product in the type that it is summed in."""
        x = self.tensor(name)
        return x.to(self.kinds.of(dtype)) if is_float(dtype) else x.to(torch.int64)

    def convolve(self, op: Conv, dtype: str) -> torch.Tensor:
        zeros = op.output_padding or (0,) * len(op.stride)
        x, w = self._factor(op.x, dtype), self._factor(op.w, dtype)
        return torch.ops.aten.convolution.default(
            x, w, None, list(op.stride), list(op.padding), list(op.dilation), op.transposed, list(zeros), op.groups
        )

    # -------------------------------------------------------------------------------- monoids
    def identity(self, monoid: str, slot: int, dtype: str) -> torch.Tensor:
        """The identity of a slot, a scalar."""
        return TorchMap({}, {}, (), self.kinds).run(identity_terms(monoid)[slot], dtype)

    def reduce(self, monoid: str, inputs: Sequence[Typed], axes: Sequence[int]) -> Sequence[torch.Tensor]:
        """One tensor per slot, the reduced axes dropped."""
        rank = inputs[0][0].ndim
        keep = [k for k in range(rank) if k not in axes]
        return self._over_last(
            [(x.permute([*keep, *axes]).flatten(len(keep)) if axes else x.unsqueeze(-1), d) for x, d in inputs], monoid
        )

    def _over_last(self, parts: list[Typed], monoid: str) -> Sequence[torch.Tensor]:
        x = parts[0][0]
        if x.shape[-1] == 0:
            dtypes = [d for _, d in parts] + ["i64"] * (MONOIDS[monoid].width - len(parts))
            return [self.identity(monoid, k, d).expand(x.shape[:-1]) for k, d in enumerate(dtypes)]
        if monoid in ("add", "mul"):
            return ((torch.sum if monoid == "add" else torch.prod)(x, dim=-1).to(x.dtype),)
        if monoid in ("max", "min", "any", "all"):
            return ({"max": torch.amax, "min": torch.amin, "any": torch.any, "all": torch.all}[monoid](x, dim=-1),)
        if monoid in ("argmax", "argmin"):
            position = parts[1][0] if len(parts) > 1 else torch.arange(x.shape[-1]).expand(x.shape)
            return _best(monoid, x, position)
        if monoid == "lse":
            return _log_sum(x, parts[1][0])
        acc = [(p[..., 0], d) for p, d in parts]
        for k in range(1, x.shape[-1]):
            acc = self._step(monoid, acc, [(p[..., k], d) for p, d in parts])
        return [a for a, _ in acc]

    def _step(self, monoid: str, acc: Sequence[Typed], new: Sequence[Typed]) -> list[Typed]:
        """One step of a monoid on whole tensors."""
        bound = {f"{side}{k}": t for side, slots in (("a", acc), ("b", new)) for k, t in enumerate(slots)}
        shape = tuple(acc[0][0].shape)
        evaluator = TorchMap({}, {}, shape, self.kinds, bound=bound)
        return [(evaluator.run(term, acc[k][1]), acc[k][1]) for k, term in enumerate(combine_terms(monoid))]

    def scan(self, monoid: str, inputs: Sequence[Typed], axis: int) -> Sequence[torch.Tensor]:
        """Inclusive running results along an axis."""
        x = inputs[0][0]
        if monoid in ("add", "mul"):
            return ((torch.cumsum if monoid == "add" else torch.cumprod)(x, axis).to(x.dtype),)
        if monoid in ("max", "min") and x.shape[axis]:
            return ((torch.cummax if monoid == "max" else torch.cummin)(x, axis).values,)
        parts = [(t.movedim(axis, 0), d) for t, d in inputs]
        if len(parts) < MONOIDS[monoid].width:
            position = torch.arange(x.shape[axis]).reshape([-1] + [1] * (x.ndim - 1)).expand(parts[0][0].shape)
            parts.append((position, "i64"))
        rows: list[list[Typed]] = []
        for k in range(x.shape[axis]):
            new = [(p[k], d) for p, d in parts]
            rows.append(self._step(monoid, rows[-1], new) if rows else new)
        return [torch.stack([r[s][0] for r in rows]).movedim(0, axis) if rows else inputs[0][0] for s in range(len(parts))]

    def window(self, op: Window, shape: tuple[int, ...]) -> Sequence[torch.Tensor]:
        """Every window's taps side by side along a last axis, those outside holding the identity, then reduced."""
        x, dtype = self.tensors[op.inputs[0]]
        n = len(op.size)
        lead, out, plane = x.ndim - n, shape[len(shape) - n :], tuple(x.shape[x.ndim - n :])
        inside, flat = _taps(op, out, plane)
        taps = x.flatten(lead)[..., flat]
        shape_of_taps = (*x.shape[:lead], *out, -1)
        if op.monoid in ("argmax", "argmin"):
            place = torch.where(inside, flat, torch.iinfo(torch.int64).max)
            taps = torch.where(inside, taps, self.identity(op.monoid, 0, dtype))
            return _best(op.monoid, taps.reshape(shape_of_taps), place.expand(taps.shape).reshape(shape_of_taps))
        taps = torch.where(inside, taps, self.identity(op.monoid, 0, dtype))
        return self._over_last([(taps.reshape(shape_of_taps), dtype)], op.monoid)


def _taps(op: Window, out: Sequence[int], plane: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """For every (window, tap), row-major: whether it lies inside, and its flat position in the plane (0 outside)."""
    n = len(op.size)
    inside, flat = torch.ones((), dtype=torch.bool), torch.zeros((), dtype=torch.int64)
    for k, (size, stride, padding, dilation) in enumerate(zip(op.size, op.stride, op.padding, op.dilation)):
        at = torch.arange(out[k])[:, None] * stride - padding + torch.arange(size)[None, :] * dilation
        at = at.reshape([out[k] if j == k else size if j == n + k else 1 for j in range(2 * n)])
        inside = inside & (at >= 0) & (at < plane[k])
        flat = flat * plane[k] + at.clamp(0, max(0, plane[k] - 1))
    windows, taps = 1, 1
    for k in range(n):
        windows, taps = windows * out[k], taps * op.size[k]
    whole = [*out, *op.size]
    return inside.expand(whole).reshape(windows, taps), flat.expand(whole).reshape(windows, taps)


def _best(monoid: str, x: torch.Tensor, position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The best value along the last axis and the smallest position that holds it; NaN wins over all."""
    best = (torch.amax if monoid == "argmax" else torch.amin)(x, dim=-1)
    hit = x == best[..., None]
    if x.is_floating_point():
        hit = hit | torch.isnan(x)
    return best, torch.where(hit, position, torch.iinfo(position.dtype).max).amin(-1)


def _log_sum(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The maximum, and the sum of weights times exp(x - maximum); a term of minus infinity counts nothing."""
    most = x.amax(-1)
    return most, torch.where(x == -torch.inf, 0.0, weight * torch.exp(x - most[..., None])).to(x.dtype).sum(-1)


# ------------------------------------------------------------------------------------------------ inputs and weights
@dataclass(frozen=True)
class Draw:
    """How inputs are drawn: `positive` floats, and integers without a declared range as `indices` (not negative, small)."""

    positive: bool = False
    indices: bool = False


DRAWS = (Draw(), Draw(indices=True), Draw(positive=True), Draw(positive=True, indices=True))


def draw_inputs(graph: Graph, sizes: Sizes, how: Draw = Draw()) -> list[object]:
    """Values for `GraphModel.forward`: sizes of the dims, then a tensor per input, from torch's generator."""
    extents = [n for i in graph.inputs for n in _extents(i, sizes)]
    least = min((n for n in extents if n > 1), default=2)
    return [*(sizes[d.name] for d in graph.dims), *(_drawn(i, sizes, how, least) for i in graph.inputs if i.role == "input")]


def choose_draw(graph: Graph, sizes: Sizes, model: GraphModel, inputs_seed: int = 5) -> Draw:
    """The first kind of inputs on which the graph is defined and gives no NaN, else the first on which it runs. Raises OutOfBounds."""
    running: list[Draw] = []
    failure: OutOfBounds | None = None
    for how in DRAWS:
        torch.manual_seed(inputs_seed)
        try:
            with torch.no_grad():
                out = model(*draw_inputs(graph, sizes, how))
        except OutOfBounds as error:
            failure = error
            continue
        running.append(how)
        if not any(x.is_floating_point() and bool(torch.isnan(x).any()) for x in out):
            return how
    if not running:
        assert failure is not None
        raise failure
    return running[0]


def first_weight(i: Input, sizes: Sizes) -> torch.Tensor:
    """Values for a param, buffer or const: by fan-in where it has rows, else positive around one (a scale, a variance)."""
    shape, dtype = _extents(i, sizes), TORCH_DTYPE[i.type.dtype]
    if not is_float(i.type.dtype):
        return _integers(i, sizes, shape, 0, 2).to(dtype)
    if len(shape) < 2:
        return (torch.rand(shape) + 0.5).to(dtype)
    fan = max(1, torch.Size(shape[1:]).numel())
    return (torch.randn(shape) / fan**0.5).to(dtype)


def _drawn(i: Input, sizes: Sizes, how: Draw, least: int) -> torch.Tensor:
    shape, dtype = _extents(i, sizes), TORCH_DTYPE[i.type.dtype]
    if is_float(i.type.dtype):
        return (torch.rand(shape) + 0.1 if how.positive else torch.randn(shape)).to(dtype)
    if i.type.dtype == "b1":
        return torch.rand(shape) < 0.5
    low, high = (0, least) if how.indices else (0 if i.type.dtype == "u8" else -8, 9)
    return _integers(i, sizes, shape, low, high).to(dtype)


def _integers(i: Input, sizes: Sizes, shape: tuple[int, ...], low: int, high: int) -> torch.Tensor:
    if i.within is not None:
        low, high = (size_of(e, sizes) for e in i.within)
    return torch.randint(low, max(high, low + 1), shape)


def _extents(i: Input, sizes: Sizes) -> tuple[int, ...]:
    return tuple(size_of(d, sizes) for d in i.type.shape)


# ------------------------------------------------------------------------------------------------ sizes
def own_sizes(graph: Graph | Program, said: Sizes) -> dict[str, int]:
    """Sizes of the dims: as said, else some forty, within each dim's range."""
    return {d.name: said.get(d.name, _clamped(d, 40 + 3 * k)) for k, d in enumerate(graph.dims)}


def other_sizes(graph: Graph | Program, own: Sizes) -> list[dict[str, int]]:
    """Other sizes to try: the smallest, some odd ones, larger ones; each differs from `own`."""
    tried = [lambda d, k: d.lo, lambda d, k: _clamped(d, 7 + 6 * k), lambda d, k: _clamped(d, 97 + 4 * k)]
    found = [{d.name: pick(d, k) for k, d in enumerate(graph.dims)} for pick in tried]
    return [s for n, s in enumerate(found) if graph.dims and s != own and s not in found[:n]]


def _clamped(d, n: int) -> int:
    return max(d.lo, min(n, d.hi if d.hi is not None else n))
