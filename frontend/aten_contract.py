"""ATen products and convolutions: Contract and Conv nodes, biases as Maps after them."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

from ..ir.expr import Const, Expr, Load, Op, Var
from ..ir.graph import Conv
from ..ir.types import is_float
from .aten_pointwise import number
from .aten_reduce import softmax
from .builder import Builder, NotOwned, Number, Shape, T, accumulator, axes, cast, numel, op, static

Rule = Callable[..., object]


def _like(b: Builder, a: T, c: T) -> None:
    if a.dtype != c.dtype or a.dtype == "b1":
        raise NotOwned(f"a product of {a.dtype} and {c.dtype}")


def _flat(b: Builder, x: T, keep: int = 1) -> T:
    """All axes but the last `keep` as one."""
    return b.reshape(x, (numel(x.shape[: x.rank - keep]), *x.shape[x.rank - keep :]), "flat")


def product(b: Builder, spec: str, x: T, y: T) -> T:
    _like(b, x, y)
    return b.contract(spec, x, y)


# ------------------------------------------------------------------------------------------------ matrix products
def linear(b: Builder, input: T, weight: T, bias: T | None = None) -> T:
    """input[.., k] . weight[n, k] + bias[n]"""
    shape = b.out[0].shape
    if weight.rank == 1:
        return add_bias(b, b.reshape(product(b, "mk,k->m", _flat(b, input), weight), shape), bias)
    if input.rank == 1:
        return add_bias(b, product(b, "k,nk->n", input, weight), bias)
    y = product(b, "mk,nk->mn", _flat(b, input), weight)
    return b.reshape(add_bias(b, y, bias), shape)


def add_bias(b: Builder, y: T, bias: T | None) -> T:
    return y if bias is None else _add(b, y, b.broadcast(bias, y.shape), bias.dtype)


def _add(b: Builder, y: T, bias: Expr, dtype: str) -> T:
    wide = accumulator(y.dtype)
    total = op("+", cast(wide, b.at(y), y.dtype), cast(wide, bias, dtype))
    return b.map(y.dtype, y.shape, cast(y.dtype, total, wide))


def matmul(b: Builder, self: T, other: T) -> T:
    """torch.matmul with its broadcasting of leading dims."""
    x, y, shape = self, other, b.out[0].shape
    if x.rank == 1 and y.rank == 1:
        return product(b, "k,k->", x, y)
    if y.rank == 1:
        return b.reshape(product(b, "mk,k->m", _flat(b, x), y), shape)
    if x.rank == 1:
        return product(b, "k,kn->n", x, y) if y.rank == 2 else b.reshape(product(b, "k,bkn->bn", x, _flat(b, y, 2)), shape)
    if y.rank == 2:
        return b.reshape(product(b, "mk,kn->mn", _flat(b, x), y), shape)
    if x.shape[:-2] == y.shape[:-2]:
        return b.reshape(product(b, "bmk,bkn->bmn", _flat(b, x, 2), _flat(b, y, 2)), shape)
    return _matmul_broadcast(b, x, y, shape)


def _matmul_broadcast(b: Builder, x: T, y: T, shape: Shape) -> T:
    """Leading dims that differ: an operand carries only the letters of dims that it does not broadcast."""
    lead = len(shape) - 2
    letters = string.ascii_lowercase[:lead]

    def part(t: T) -> tuple[T, str]:
        own = [k for k in range(t.rank - 2) if t.shape[k] != Const(1) or shape[lead - t.rank + 2 + k] == Const(1)]
        return b.reshape(t, (*(t.shape[k] for k in own), *t.shape[-2:])), "".join(letters[lead - t.rank + 2 + k] for k in own)

    (x, left), (y, right) = part(x), part(y)
    return b.reshape(product(b, f"{left}xy,{right}yz->{letters}xz", x, y), shape)


def _scaled_sum(spec: str) -> Rule:
    """beta * self + alpha * (x . y)"""

    def rule(b: Builder, self: T, *operands: T, beta: Number = 1, alpha: Number = 1, **named: T) -> T:
        x, y = (*operands, *named.values())
        z = product(b, spec, x, y)
        wide = accumulator(z.dtype)
        value: Expr = cast(wide, b.at(z), z.dtype)
        value = value if alpha == 1 else op("*", number(alpha, wide), value)
        if beta != 0:
            base: Expr = cast(wide, b.broadcast(self, z.shape), self.dtype)
            value = op("+", base if beta == 1 else op("*", number(beta, wide), base), value)
        return b.map(z.dtype, z.shape, cast(z.dtype, value, wide))

    return rule


def _bilinear(b: Builder, input1: T, input2: T, weight: T, bias: T | None = None) -> T:
    """sum over i, j of input1[.., i] weight[o, i, j] input2[.., j], + bias[o]"""
    half = product(b, "mi,oij->moj", _flat(b, input1), weight)
    y = product(b, "moj,mj->mo", half, _flat(b, input2))
    return b.reshape(add_bias(b, y, bias), b.out[0].shape)


# ------------------------------------------------------------------------------------------------ einsum
def einsum(b: Builder, equation: str, tensors: Sequence[T], path: object = None) -> T:
    """Operands are multiplied from the left; a letter leaves as soon as no later operand and no output has it."""
    inputs, out = _einsum_letters(equation, [t.rank for t in tensors])
    parts = [_tidy(b, t, term) for t, term in zip(tensors, inputs)]
    (x, left), rest = parts[0], parts[1:]
    for k, (y, right) in enumerate(rest):
        later = set(out).union(*(t for _, t in rest[k + 1 :]))
        kept = "".join(c for c in dict.fromkeys(left + right) if c in later)
        x, left = _pair(b, x, left, y, right, kept if k + 1 < len(rest) else "".join(c for c in out if c in set(left + right)))
    return _arrange(b, x, left, out)


def _einsum_letters(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    equation = equation.replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
    widths = [r - len(t.replace("...", "")) for t, r in zip(terms, ranks) if "..." in t]
    dots = "".join(free[: max(widths, default=0)])

    def fill(term: str, rank: int) -> str:
        n = rank - len(term.replace("...", ""))
        return term.replace("...", dots[len(dots) - n :] if n else "")

    inputs = [fill(t, r) for t, r in zip(terms, ranks)]
    if not arrow:
        letters = "".join(inputs)
        return inputs, dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1 and c not in dots))
    return inputs, right.replace("...", dots)


def _tidy(b: Builder, x: T, letters: str) -> tuple[T, str]:
    """Repeated letters become a diagonal."""
    unique = "".join(dict.fromkeys(letters))
    if unique == letters:
        return x, letters
    shape = tuple(x.shape[letters.index(c)] for c in unique)
    return b.map(x.dtype, shape, Load(x.name, tuple(Var(f"i{unique.index(c)}") for c in letters))), unique


def _pair(b: Builder, x: T, left: str, y: T, right: str, out: str) -> tuple[T, str]:
    x, left = _sum_lone(b, x, left, right + out)
    y, right = _sum_lone(b, y, right, left + out)
    x, left = _drop_ones(b, x, left, y, right)
    y, right = _drop_ones(b, y, right, x, left)
    out = "".join(c for c in out if c in left + right)
    return product(b, f"{left},{right}->{out}", x, y), out


def _drop_ones(b: Builder, x: T, left: str, y: T, right: str) -> tuple[T, str]:
    """A letter of extent 1 that the other operand has larger broadcasts: it leaves this operand."""
    gone = [k for k, c in enumerate(left) if c in right and x.shape[k] == Const(1) and y.shape[right.index(c)] != Const(1)]
    kept = [k for k in range(len(left)) if k not in gone]
    return b.reshape(x, [x.shape[k] for k in kept]), "".join(left[k] for k in kept)


def _sum_lone(b: Builder, x: T, letters: str, elsewhere: str) -> tuple[T, str]:
    lone = [k for k, c in enumerate(letters) if c not in elsewhere]
    return b.sum(x, lone), "".join(c for c in letters if c in elsewhere)


def _arrange(b: Builder, x: T, letters: str, out: str) -> T:
    x, letters = _sum_lone(b, x, letters, out)
    if letters == out:
        return x
    return b.map(
        x.dtype, tuple(x.shape[letters.index(c)] for c in out), Load(x.name, tuple(Var(f"i{out.index(c)}") for c in letters))
    )


# ------------------------------------------------------------------------------------------------ attention
def attention(
    b: Builder, query: T, key: T, value: T, attn_mask: T | None = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> T:  # fmt: skip
    """softmax(query . key^T * scale + mask) . value; rows that see nothing give zeros."""
    if dropout_p or query.rank < 3 or not is_float(query.dtype):
        raise NotOwned("attention with dropout" if dropout_p else "attention of this rank or dtype")
    wide = accumulator(query.dtype)
    q, k, v = (_heads(b, b.cast(t, wide), query if enable_gqa else t) for t in (query, key, value))
    if q.shape[:-2] != k.shape[:-2] or k.shape[:-2] != v.shape[:-2]:
        raise NotOwned("attention that broadcasts its batch dims")
    factor = scale if scale is not None else static(q.shape[-1], "the head size") ** -0.5
    scores = b.contract("bmk,bnk->bmn", _flat(b, q, 2), _flat(b, k, 2), role="scores")
    scores = b.reshape(scores, (*q.shape[:-1], k.shape[-2]))
    s = b.map(wide, scores.shape, _masked(b, scores, float(factor), attn_mask, is_causal), "masked")
    p = softmax(b, s, -1, safe=is_causal or attn_mask is not None)
    y = b.contract("bmn,bnk->bmk", _flat(b, p, 2), _flat(b, v, 2), role="mix")
    return b.cast(b.reshape(y, b.out[0].shape), query.dtype)


def _heads(b: Builder, x: T, like: T) -> T:
    """Grouped queries: heads of key and value are repeated."""
    if x.rank < 3 or x.shape[-3] == like.shape[-3]:
        return x
    times = static(like.shape[-3], "heads") // static(x.shape[-3], "heads")
    index = list(axes(x.rank))
    index[-3] = Op("//", (index[-3], Const(times)))  # type: ignore[call-overload]
    return b.map(x.dtype, (*x.shape[:-3], like.shape[-3], *x.shape[-2:]), Load(x.name, tuple(index)), "heads")


def _masked(b: Builder, scores: T, factor: float, mask: T | None, causal: bool) -> Expr:
    e: Expr = op("*", b.at(scores), factor)
    row, column = axes(scores.rank)[-2:]
    if causal:
        e = op("select", op("<=", column, row), e, float("-inf"))
    if mask is None:
        return e
    m = b.broadcast(mask, scores.shape)
    return op("select", m, e, float("-inf")) if mask.dtype == "b1" else op("+", e, cast(scores.dtype, m, mask.dtype))


def _flash_for_cpu(
    b: Builder,
    query: T,
    key: T,
    value: T,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    attn_mask: T | None = None,
    scale: float | None = None,
) -> tuple[T, None]:
    if b.used(1):
        raise NotOwned("the logsumexp of attention is read")
    return attention(b, query, key, value, attn_mask, dropout_p, is_causal, scale), None


# ------------------------------------------------------------------------------------------------ convolution
def convolution(
    b: Builder, input: T, weight: T, bias: T | None, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
    transposed: bool, output_padding: Sequence[int], groups: int, **rest: object,
) -> T:  # fmt: skip
    """aten.convolution on a batched input; the bias is a Map after the Conv."""
    _like(b, input, weight)
    n = input.rank - 2

    def spread(v: Sequence[int]) -> tuple[int, ...]:
        return tuple(int(x) for x in (tuple(v) * n if len(v) == 1 else v))

    conv = Conv(
        input.name,
        weight.name,
        spread(stride),
        spread(padding),
        spread(dilation),
        int(groups),
        transposed,
        spread(output_padding) if transposed else (),
    )
    y = b.conv(input, weight, b.out[0].shape, conv)
    return y if bias is None else _add(b, y, b.load(bias, Var("i1")), bias.dtype)


CONTRACT: dict[str, Rule] = {
    "aten.linear.default": linear,
    "aten.matmul.default": matmul,
    "aten.mm.default": lambda b, self, mat2: product(b, "mk,kn->mn", self, mat2),
    "aten.bmm.default": lambda b, self, mat2: product(b, "bmk,bkn->bmn", self, mat2),
    "aten.mv.default": lambda b, self, vec: product(b, "mk,k->m", self, vec),
    "aten.dot.default": lambda b, self, tensor: product(b, "k,k->", self, tensor),
    "aten.vdot.default": lambda b, self, other: product(b, "k,k->", self, other),
    "aten.addmm.default": _scaled_sum("mk,kn->mn"),
    "aten.baddbmm.default": _scaled_sum("bmk,bkn->bmn"),
    "aten.addbmm.default": _scaled_sum("bmk,bkn->mn"),
    "aten.addmv.default": _scaled_sum("mk,k->m"),
    "aten.bilinear.default": _bilinear,
    "aten.einsum.default": einsum,
    "aten.scaled_dot_product_attention.default": attention,
    "aten._scaled_dot_product_flash_attention_for_cpu.default": _flash_for_cpu,
    "aten.convolution.default": convolution,
}
