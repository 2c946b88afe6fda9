"""The rules of a legal Graph, as a table: `verify_graph(g)` returns g or raises IllegalProgram / TypeMismatch with the node underlined.

`infer(op, types)` is what every operator gives: dtypes and shapes from those of its operands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from .diagnostic import IllegalProgram, Place, TypeMismatch, WarploomError
from .expr import Const, Expr, add, as_int, ceildiv, floordiv, loads, mul, names, simplify, sub, walk
from .graph import (
    Contract,
    Conv,
    Graph,
    Map,
    Node,
    Operator,
    Reduce,
    Reshape,
    Scan,
    Scatter,
    Sort,
    TensorType,
    Window,
    operands,
)
from .graph_text import print_graph, print_type
from .monoid import MONOIDS
from .text import print_expr
from .types import BOOL, DTYPES, is_float
from .typing import check

Types = Mapping[str, TensorType]
Shape = tuple[Expr, ...]


# ------------------------------------------------------------------------------------------------ inference
def infer(op: Operator, types: Types, declared: Sequence[TensorType]) -> tuple[TensorType, ...]:
    """Types of an operator's results. `declared` decides what operands leave open: a Map's type, a Reshape's shape, the extents of a
    Window whose last windows stick out, everything of Random and Extern. Raises TypeMismatch or IllegalProgram."""
    rule = INFER.get(type(op))
    return rule(op, types, declared) if rule else tuple(declared)


def _map(op: Map, types: Types, declared: Sequence[TensorType]) -> tuple[TensorType, ...]:
    t = declared[0]
    axes = {f"i{k}" for k in range(len(t.shape))}
    dims = {n for d in t.shape for n in names(d)} | {n for x in types.values() for d in x.shape for n in names(d)}
    stray = names(op.expr) - axes - dims
    if stray:
        raise IllegalProgram(f"`{sorted(stray)[0]}` is neither a coordinate of the output nor a dim")
    for load in loads(op.expr):
        if len(load.index) != len(types[load.buffer].shape):
            raise TypeMismatch(f"`{print_expr(load)}` has {len(load.index)} coordinates for {print_type(types[load.buffer])}")
    check(op.expr, t.dtype, {n: x.dtype for n, x in types.items()})
    return (t,)


def _reshape(op: Reshape, types: Types, declared: Sequence[TensorType]) -> tuple[TensorType, ...]:
    x, t = types[op.x], declared[0]
    a, b = _numel(x.shape), _numel(t.shape)
    if a != b and as_int(a) is not None and as_int(b) is not None:
        raise TypeMismatch(f"{print_type(x)} has other elements than {print_type(t)}")
    return (TensorType(x.dtype, t.shape),)


def _numel(shape: Shape) -> Expr:
    out: Expr = Const(1)
    for d in shape:
        out = mul(out, d)
    return out


def _slots(op: Reduce | Window | Scan, types: Types) -> tuple[tuple[str, ...], Shape]:
    """Slot dtypes and the shape that all inputs share."""
    width = MONOIDS[op.monoid].width
    first = types[op.inputs[0]].shape
    if len(op.inputs) != width and not (op.monoid in ("argmax", "argmin") and len(op.inputs) == 1):
        raise IllegalProgram(f"{op.monoid} takes {width} tensor(s), not {len(op.inputs)}")
    if any(types[x].shape != first for x in op.inputs):
        raise TypeMismatch(f"the inputs of {op.monoid} differ in shape")
    dtypes = tuple(types[x].dtype for x in op.inputs)
    logical = op.monoid in ("any", "all")
    if any((d == BOOL) != logical for d in dtypes):
        raise TypeMismatch(f"{op.monoid} takes {'booleans' if logical else 'numbers'}, not {', '.join(dtypes)}")
    return dtypes + ("i64",) * (width - len(dtypes)), first


def _axes(axes: Sequence[int], rank: int) -> None:
    if any(not 0 <= a < rank for a in axes) or any(a >= b for a, b in pairwise(axes)):
        raise IllegalProgram(f"axes {tuple(axes)} are not rising axes of rank {rank}")


def _reduce(op: Reduce, types: Types, declared: Sequence[TensorType]) -> tuple[TensorType, ...]:
    dtypes, shape = _slots(op, types)
    _axes(op.axes, len(shape))
    kept = tuple(d for k, d in enumerate(shape) if k not in op.axes)
    return tuple(TensorType(d, kept) for d in dtypes)


def _scan(op: Scan, types: Types, declared: Sequence[TensorType]) -> tuple[TensorType, ...]:
    dtypes, shape = _slots(op, types)
    _axes((op.axis,), len(shape))
    return tuple(TensorType(d, shape) for d in dtypes)


def _window(op: Window, types: Types, declared: Sequence[TensorType]) -> tuple[TensorType, ...]:
    dtypes, shape = _slots(op, types)
    n = len(op.size)
    if not len(op.stride) == len(op.padding) == len(op.dilation) == n <= len(shape):
        raise IllegalProgram("a window's size, stride, padding and dilation have one number per trailing axis")
    lead = len(shape) - n
    out = list(declared[0].shape[lead:])
    for k in range(n):
        span = add(shape[lead + k], 2 * op.padding[k] - op.dilation[k] * (op.size[k] - 1) - 1)
        whole, sticking = add(floordiv(span, op.stride[k]), 1), add(ceildiv(span, op.stride[k]), 1)
        if k >= len(out) or simplify(out[k]) not in (simplify(whole), simplify(sticking)):
            out[k : k + 1] = [whole]
    return tuple(TensorType(d, (*shape[:lead], *out)) for d in dtypes)


def _contract(op: Contract, types: Types, declared: Sequence[TensorType]) -> tuple[TensorType, ...]:
    a, b = types[op.a], types[op.b]
    inputs, arrow, out = op.spec.partition("->")
    left, comma, right = inputs.partition(",")
    if not (arrow and comma) or len(left) != len(a.shape) or len(right) != len(b.shape):
        raise IllegalProgram(f"'{op.spec}' does not fit ranks {len(a.shape)} and {len(b.shape)}")
    if any(len(set(t)) != len(t) for t in (left, right, out)) or not set(left) ^ set(right) <= set(out) <= set(left + right):
        raise IllegalProgram(f"'{op.spec}' has a repeated or a lone letter")
    dtype = product_dtype(a.dtype, b.dtype, declared[0].dtype)
    if dtype is None:
        raise TypeMismatch(f"a contraction of {a.dtype} and {b.dtype}")
    sizes = dict(zip(left, a.shape))
    for c, d in zip(right, b.shape):
        if not same_size(sizes.setdefault(c, d), d):
            raise TypeMismatch(f"letter {c} is {print_expr(sizes[c])} on one side and {print_expr(d)} on the other")
    return (TensorType(dtype, tuple(sizes[c] for c in out)),)


def product_dtype(a: str, b: str, declared: str) -> str | None:
    """What a contraction of these gives: 8-bit integers give i32, half types themselves or, where so declared, f32."""
    if b == "i8" and a in ("u8", "i8") and declared == "i32":
        return "i32"
    if a != b or a == BOOL:
        return None
    return "f32" if a in ("f16", "bf16") and declared == "f32" else a


def same_size(a: Expr, b: Expr) -> bool:
    """Not provably different."""
    d = as_int(sub(a, b))
    return d is None or d == 0


def _conv(op: Conv, types: Types, declared: Sequence[TensorType]) -> tuple[TensorType, ...]:
    x, w = types[op.x], types[op.w]
    n = len(op.stride)
    if not len(x.shape) == len(w.shape) == n + 2 or not len(op.padding) == len(op.dilation) == n:
        raise IllegalProgram(f"a convolution over {n} axes of ranks {len(x.shape)} and {len(w.shape)}")
    if x.dtype != w.dtype or (not is_float(x.dtype) and x.dtype == BOOL):
        raise TypeMismatch(f"a convolution of {x.dtype} and {w.dtype}")
    channels, inner = (mul(w.shape[1], op.groups), w.shape[0]) if op.transposed else (w.shape[0], mul(w.shape[1], op.groups))
    if not same_size(inner, x.shape[1]):
        raise TypeMismatch(f"the input has {print_expr(x.shape[1])} channels, the weight takes {print_expr(inner)}")
    out = tuple(_conv_extent(op, k, x.shape[k + 2], w.shape[k + 2]) for k in range(n))
    return (TensorType(x.dtype, (x.shape[0], channels, *out)),)


def _conv_extent(op: Conv, k: int, d: Expr, size: Expr) -> Expr:
    reach = mul(sub(size, 1), op.dilation[k])
    if op.transposed:
        return add(sub(add(mul(sub(d, 1), op.stride[k]), reach), 2 * op.padding[k]), op.output_padding[k] + 1)
    return add(floordiv(sub(sub(add(d, 2 * op.padding[k]), reach), 1), op.stride[k]), 1)


def _scatter(op: Scatter, types: Types, declared: Sequence[TensorType]) -> tuple[TensorType, ...]:
    base, index, src = types[op.base], types[op.index], types[op.src]
    _axes((op.axis,), len(base.shape))
    if index.dtype != "i64" or src.dtype != base.dtype:
        raise TypeMismatch(f"a scatter of {src.dtype} at {index.dtype} into {base.dtype}")
    if index.shape != src.shape or len(index.shape) != len(base.shape):
        raise TypeMismatch("a scatter's index and source have one shape, of the base's rank")
    return (base,)


def _sort(op: Sort, types: Types, declared: Sequence[TensorType]) -> tuple[TensorType, ...]:
    x = types[op.x]
    _axes((op.axis,), len(x.shape))
    return x, TensorType("i64", x.shape)


INFER: dict[type, Callable[..., tuple[TensorType, ...]]] = {
    Map: _map, Reshape: _reshape, Reduce: _reduce, Scan: _scan, Window: _window, Contract: _contract, Conv: _conv, Scatter: _scatter,
    Sort: _sort,
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ rules
Rule = Callable[[Graph], None]


class _At(Exception):
    """A broken rule and the line of graph text (0-based) that breaks it."""

    def __init__(self, line: int, error: WarploomError):
        self.line, self.error = line, error


def _line(g: Graph, node: Node) -> int:
    return 1 + next(k for k, n in enumerate(g.nodes) if n is node)


def _unique(g: Graph) -> None:
    seen = {i.name for i in g.inputs} | {d.name for d in g.dims}
    if len(seen) != len(g.inputs) + len(g.dims):
        raise _At(0, IllegalProgram("two inputs have one name"))
    for node in g.nodes:
        for v in node.outputs:
            if v.name in seen:
                raise _At(_line(g, node), IllegalProgram(f"`{v.name}` is defined twice"))
            seen.add(v.name)


def _defined(g: Graph) -> None:
    known = {i.name for i in g.inputs}
    for node in g.nodes:
        for name in operands(node.op):
            if name not in known:
                raise _At(_line(g, node), IllegalProgram(f"`{name}` is not defined before this"))
        known |= {v.name for v in node.outputs}
    for name in (*g.outputs, *(v for _, v in g.updates)):
        if name not in known:
            raise _At(1 + len(g.nodes), IllegalProgram(f"`{name}` is not defined"))


def _dims(g: Graph) -> None:
    declared = {d.name for d in g.dims}
    for line, types in [(0, [i.type for i in g.inputs]), *((_line(g, n), [v.type for v in n.outputs]) for n in g.nodes)]:
        for t in types:
            stray = {n for d in t.shape for n in names(d)} - declared
            if stray or any(any(loads(e) for e in walk(d)) for d in t.shape):
                raise _At(line, IllegalProgram(f"`{sorted(stray)[0] if stray else print_type(t)}` is not a dim"))


def _dtypes(g: Graph) -> None:
    for name, t in g.types().items():
        if t.dtype not in DTYPES:
            raise _At(0, TypeMismatch(f"`{name}` has the unknown dtype {t.dtype}"))


def _types(g: Graph) -> None:
    types: dict[str, TensorType] = {i.name: i.type for i in g.inputs}
    for node in g.nodes:
        declared = tuple(v.type for v in node.outputs)
        try:
            found = infer(node.op, types, declared)
        except WarploomError as e:
            raise _At(_line(g, node), e) from None
        if len(found) != len(declared):
            raise _At(_line(g, node), IllegalProgram(f"this operator gives {len(found)} tensors, not {len(declared)}"))
        for v, t in zip(node.outputs, found):
            if not _agree(v.type, t):
                raise _At(
                    _line(g, node),
                    TypeMismatch(f"`{v.name}` is declared {print_type(v.type)}, the operator gives {print_type(t)}"),
                )
        types |= {v.name: v.type for v in node.outputs}


def _agree(a: TensorType, b: TensorType) -> bool:
    return a.dtype == b.dtype and len(a.shape) == len(b.shape) and all(same_size(x, y) for x, y in zip(a.shape, b.shape))


def _within(g: Graph) -> None:
    for i in g.inputs:
        if i.within is not None and (is_float(i.type.dtype) or i.type.dtype == BOOL):
            raise _At(0, TypeMismatch(f"`{i.name}` is declared within a range, but is no integer tensor"))


def _updates(g: Graph) -> None:
    types = g.types()
    inputs = {i.name for i in g.inputs}
    for k, (name, value) in enumerate(g.updates):
        if name not in inputs or not _agree(types[name], types[value]):
            raise _At(1 + len(g.nodes) + k, IllegalProgram(f"`{name}` cannot receive `{value}`"))


RULES: dict[str, Rule] = {
    "unique": _unique,  # SSA: every name is defined once
    "defined": _defined,  # everything is defined before it is read
    "dims": _dims,  # shapes are index expressions over the declared dims
    "dtypes": _dtypes,
    "types": _types,  # declared types are what the operators give; expressions do not promote
    "within": _within,  # only integer inputs have a value range
    "updates": _updates,  # an update has the type of the input that receives it
}


def verify_graph(g: Graph) -> Graph:
    """Check every rule of RULES in order; the error names the rule and underlines the line of graph text."""
    for name, rule in RULES.items():
        try:
            rule(g)
        except _At as at:
            e = at.error
            raise type(e)(f"{name}: {e.message}", hint=e.hint, place=Place(print_graph(g), at.line)) from None
    return g
