"""Emits graph nodes: typed handles in, nodes out. What every operator rule of the table writes with.

`T` is a handle on a graph value. Shapes are tuples of index expressions over the graph's dims.
"""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..ir.diagnostic import TypeMismatch
from ..ir.expr import OPS, Cast, Const, Expr, Load, Op, Var, add, as_int, mul, simplify, substitute
from ..ir.graph import Contract, Conv, Map, Node, Operator, Reduce, Reshape, Scan, Sort, TensorType, Value, Window
from ..ir.monoid import MONOIDS
from ..ir.text import parse_expr
from ..ir.types import DTYPES, is_float
from ..ir.typing import check

Shape = tuple[Expr, ...]
Number = bool | int | float
Scalar = Number | Expr

_C_WORDS = [
    "auto",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "typedef",
    "union",
    "unsigned",
    "void",
    "volatile",
    "while",
    "bool",
    "class",
    "new",
    "delete",
    "this",
    "template",
    "typename",
    "namespace",
    "operator",
    "private",
    "public",
    "protected",
    "virtual",
    "using",
    "try",
    "catch",
    "throw",
    "true",
    "false",
    "map",
    "reshape",
    "reduce",
    "contract",
    "conv",
    "window",
    "scan",
    "scatter",
    "sort",
    "random",
    "inf",
    "nan",
    "dim",
    "serial",
    "block",
    "lanes",
    "vector",
    "unroll",
    "update",
    "within",
    "size",
    "number",
]
_RESERVED = frozenset([*_C_WORDS, *DTYPES, *OPS, *keyword.kwlist, *keyword.softkwlist])
_SHORT = {"_native_batch_norm_legit_functional": "batch_norm", "_native_batch_norm_legit_no_training": "batch_norm",
          "_scaled_dot_product_flash_attention_for_cpu": "attention", "scaled_dot_product_attention": "attention"}  # fmt: skip
_AXIS = re.compile(r"i\d+\Z")


class NotOwned(Exception):
    """An operator rule declines this call; the node becomes an extern with this reason."""


@dataclass(frozen=True)
class T:
    name: str
    dtype: str
    shape: Shape

    @property
    def rank(self) -> int:
        return len(self.shape)

    def axis(self, dim: int) -> int:
        """A non-negative axis; a 0-d tensor has axis 0 as torch has it."""
        return dim % max(1, self.rank)


def axes(rank: int) -> tuple[Var, ...]:
    """The output coordinates i0, i1, .. of a Map."""
    return tuple(Var(f"i{k}") for k in range(rank))


def numel(shape: Sequence[Expr]) -> Expr:
    out: Expr = Const(1)
    for d in shape:
        out = mul(out, d)
    return out


def op(name: str, *args: Scalar) -> Op:
    """An operator node; numbers become weak constants."""
    return Op(name, tuple(constant(a) for a in args))


def constant(v: Scalar) -> Expr:
    return Const(v) if isinstance(v, (bool, int, float)) else v


def cast(dtype: str, e: Expr, source: str) -> Expr:
    return e if dtype == source else Cast(dtype, e)


def accumulator(dtype: str) -> str:
    """The dtype that ATen computes in: float32 for the half types."""
    return "f32" if dtype in ("f16", "bf16") else dtype


_FORMULAS: dict[str, Expr] = {}


def formula(text: str, **values: Expr) -> Expr:
    """IR text with its names replaced: formula("max(x, 0)", x=load)."""
    if text not in _FORMULAS:
        _FORMULAS[text] = parse_expr(text)
    return substitute(_FORMULAS[text], values)


def safe_name(name: str) -> str:
    """An identifier that is no word of the IR text, of Python or of C."""
    name = re.sub(r"\W", "_", name)
    if not name or name[0].isdigit():
        name = "t_" + name
    return name + "_t" if name in _RESERVED or _AXIS.match(name) else name


class Builder:
    """Collects nodes in order. `hint` names the values that the current operator emits."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.dtypes: dict[str, str] = {}
        self.defined: dict[str, Node] = {}
        self.hint = "t"
        self.origin = ""
        self.out: tuple[TensorType, ...] = ()  # what ATen gives for the current operator
        self.node: object = None  # the FX node being converted
        self.roles: dict[str, str] = {}
        self.weights: dict[str, torch.Tensor] = {}
        self.within: dict[str, tuple[Expr, Expr]] = {}  # index ranges that inputs must keep

    # -------------------------------------------------------------------------------- emission
    def fresh(self, role: str = "") -> str:
        hint = _SHORT.get(self.hint.rstrip("_0123456789"), self.hint)
        stem = safe_name(f"{hint}_{role}" if role else hint)
        name, n = stem, 1
        while name in self.types:
            n += 1
            name = f"{stem}_{n}"
        return name

    def declare_input(self, name: str, role: str, value: torch.Tensor | None) -> None:
        self.roles[name] = role
        if value is not None:
            self.weights[name] = value

    def used(self, slot: int) -> bool:
        """Whether the current operator's result number `slot` is read."""
        users = getattr(self.node, "users", ())
        return any(u.target is not operator.getitem or u.args[1] == slot for u in users)

    def handle(self, name: str) -> T:
        t = self.types[name]
        return T(name, t.dtype, t.shape)

    def retype(self, made: tuple[T, ...], shape: Shape) -> tuple[T, ...]:
        """The node just emitted with another declared shape for all its results."""
        node = self.nodes.pop()
        types = [TensorType(t.dtype, shape) for t in made]
        self.nodes.append(replace(node, outputs=tuple(Value(t.name, tt) for t, tt in zip(made, types))))
        self.defined |= {t.name: self.nodes[-1] for t in made}
        return tuple(self.declare(t.name, tt) for t, tt in zip(made, types))

    def fx_arg(self, k: int) -> torch.Tensor:
        """The fake tensor that the current call's argument `k` is: for its strides."""
        return self.node.args[k].meta["val"]  # type: ignore[attr-defined]

    def declare(self, name: str, t: TensorType) -> T:
        self.types[name] = t
        self.dtypes[name] = t.dtype
        return T(name, t.dtype, t.shape)

    def emit(self, operator: Operator, *types: TensorType, role: str = "") -> tuple[T, ...]:
        out = [self.declare(self.fresh(role), t) for t in types]
        node = Node(tuple(Value(t.name, TensorType(t.dtype, t.shape)) for t in out), operator, self.origin)
        self.nodes.append(node)
        self.defined |= {t.name: node for t in out}
        return tuple(out)

    # -------------------------------------------------------------------------------- loads
    def load(self, x: T, *index: Scalar) -> Load:
        return Load(x.name, tuple(constant(i) for i in index))

    def at(self, x: T) -> Load:
        """x at the output coordinates."""
        return Load(x.name, axes(x.rank))

    def broadcast(self, x: T, shape: Shape) -> Load:
        """x at the output coordinates of a Map of this shape, broadcasting as torch does."""
        lead = len(shape) - x.rank
        index = tuple(
            Var(f"i{lead + k}") if d == shape[lead + k] and d != Const(1) else Const(0) for k, d in enumerate(x.shape)
        )
        return Load(x.name, index)

    def kept(self, x: T, over: Sequence[int], rank: int) -> Load:
        """A reduced tensor (axes `over` dropped) at the output coordinates of a Map of the unreduced rank."""
        return Load(x.name, tuple(v for k, v in enumerate(axes(rank)) if k not in over))

    # -------------------------------------------------------------------------------- operators
    def map(self, dtype: str, shape: Sequence[Expr], expr: Expr, role: str = "") -> T:
        """out[i0, i1, ..] = expr. Raises NotOwned when the expression breaks the dtype rules."""
        try:
            check(expr, dtype, self.dtypes)
        except TypeMismatch as e:
            raise NotOwned(f"no rule for these dtypes: {e.message}") from None
        return self.emit(Map(simplify(expr)), TensorType(dtype, tuple(shape)), role=role)[0]

    def cast(self, x: T, dtype: str) -> T:
        return x if x.dtype == dtype else self.map(dtype, x.shape, Cast(dtype, self.at(x)), "cast")

    def reshape(self, x: T, shape: Sequence[Expr], role: str = "") -> T:
        shape = tuple(shape)
        return x if shape == x.shape else self.emit(Reshape(x.name), TensorType(x.dtype, shape), role=role)[0]

    def reduce(
        self, monoid: str, inputs: T | Sequence[T], over: Sequence[int], keep: bool = False, role: str = ""
    ) -> tuple[T, ...]:
        """One tensor per slot; `keep` leaves reduced axes with extent 1."""
        xs = (inputs,) if isinstance(inputs, T) else tuple(inputs)
        over = tuple(sorted(set(over)))
        types = tuple(TensorType(d, _without(xs[0].shape, over)) for d in slot_dtypes(monoid, xs))
        out = self.emit(Reduce(monoid, tuple(x.name for x in xs), over), *types, role=role or monoid)
        if keep:
            shape = tuple(Const(1) if k in over else d for k, d in enumerate(xs[0].shape))
            out = tuple(self.reshape(t, shape, role or monoid) for t in out)
        return out

    def sum(self, x: T, over: Sequence[int], keep: bool = False, role: str = "sum") -> T:
        return self.reduce("add", x, over, keep, role)[0] if over else x

    def scan(self, monoid: str, inputs: T | Sequence[T], axis: int, role: str = "") -> tuple[T, ...]:
        xs = (inputs,) if isinstance(inputs, T) else tuple(inputs)
        types = tuple(TensorType(d, xs[0].shape) for d in slot_dtypes(monoid, xs))
        return self.emit(Scan(monoid, tuple(x.name for x in xs), axis), *types, role=role)

    def window(
        self,
        monoid: str,
        x: T,
        size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        role: str = "",
    ) -> tuple[T, ...]:
        lead = x.rank - len(size)
        spatial = tuple(
            window_extent(d, k, s, p, dl) for d, k, s, p, dl in zip(x.shape[lead:], size, stride, padding, dilation)
        )
        types = tuple(TensorType(d, x.shape[:lead] + spatial) for d in slot_dtypes(monoid, (x,)))
        return self.emit(
            Window(monoid, (x.name,), tuple(size), tuple(stride), tuple(padding), tuple(dilation)), *types, role=role
        )

    def contract(self, spec: str, a: T, b: T, role: str = "") -> T:
        """einsum of two tensors; permutations that stand before it are folded into the letters."""
        left, right = spec.split("->")[0].split(",")
        a, left = self._unpermute(a, left)
        b, right = self._unpermute(b, right)
        sizes = dict(zip(left + right, a.shape + b.shape))
        out = spec.split("->")[1]
        t = TensorType(a.dtype, tuple(sizes[c] for c in out))
        return self.emit(Contract(f"{left},{right}->{out}", a.name, b.name), t, role=role)[0]

    def _unpermute(self, x: T, letters: str) -> tuple[T, str]:
        node = self.defined.get(x.name)
        if node is None or not isinstance(node.op, Map) or not isinstance(node.op.expr, Load):
            return x, letters
        load = node.op.expr
        source = self.types[load.buffer]
        place = {v: letters[k] for k, v in enumerate(axes(x.rank))}
        if len(load.index) != x.rank or set(load.index) != set(place):
            return x, letters
        if any(x.shape[int(v.name[1:])] != d for v, d in zip(load.index, source.shape) if isinstance(v, Var)):
            return x, letters  # a slice from the start has the same loads
        moved = "".join(place[v] for v in load.index if isinstance(v, Var))
        return T(load.buffer, source.dtype, source.shape), moved

    def conv(self, x: T, w: T, out: Shape, conv: Conv, role: str = "") -> T:
        return self.emit(conv, TensorType(x.dtype, out), role=role)[0]

    def sort(self, x: T, axis: int, descending: bool) -> tuple[T, T]:
        values, indices = self.emit(Sort(x.name, axis, descending), TensorType(x.dtype, x.shape), TensorType("i64", x.shape))
        return values, indices


def _without(shape: Shape, over: Sequence[int]) -> Shape:
    return tuple(d for k, d in enumerate(shape) if k not in over)


def slot_dtypes(monoid: str, inputs: Sequence[T]) -> tuple[str, ...]:
    """Output dtypes of a Reduce, Window or Scan: an index slot without an input is i64."""
    given = tuple(x.dtype for x in inputs)
    return given + ("i64",) * (MONOIDS[monoid].width - len(given))


def window_extent(d: Expr, size: int, stride: int, padding: int, dilation: int) -> Expr:
    """floor((d + 2p - dilation (size - 1) - 1) / stride) + 1"""
    span = add(d, 2 * padding - dilation * (size - 1) - 1)
    return add(simplify(Op("//", (span, Const(stride)))), 1)


def static(e: Expr, what: str) -> int:
    """A constant extent. Raises NotOwned when it is symbolic."""
    v = as_int(e)
    if v is None:
        raise NotOwned(f"{what} is symbolic")
    return v


def lowest(dtype: str) -> Number:
    """The identity of max over a dtype as a constant (-inf stands for the smallest integer in a monoid only)."""
    return float("-inf") if is_float(dtype) else _LIMITS[dtype][0]


def highest(dtype: str) -> Number:
    return float("inf") if is_float(dtype) else _LIMITS[dtype][1]


_LIMITS: dict[str, tuple[Number, Number]] = {
    **{f"i{n}": (-(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 16, 32, 64)},
    "u8": (0, 255),
    "b1": (False, True),
}
