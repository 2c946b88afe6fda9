"""Intrinsics: named micro-operations on small row-major arrays, with their meaning as program text and their code per target.

Comes in: a Program with Calls. Goes out (`inline_calls`): the same program with each Call replaced by its meaning, which is what the
verifier and the interpreter look at. A backend prints `targets[target]`, with `{0}`, `{1}`, .. for the operands' addresses; in the text for
`registers` `{0}` is the C++ variable that holds the first operand, one native vector, and the last operand comes as a loaded vector.

An operation of a whole warp has loops of lanes in its meaning: the Call stands where these may stand, inside the loops of lanes that are its
warps. Its accumulator is owned by the lanes, and each operand in shared memory is a tile whose rows may lie apart (`{1_row}` elements).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from .diagnostic import IllegalProgram
from .expr import Const, Expr, Load, Op, Var, add, mul, simplify, substitute
from .kernel import Body, Buffer, Call, For, If, Program, Reduce, Stmt, Store, statements
from .text import locate, parse_program, print_expr


@dataclass(frozen=True)
class Intrinsic:
    """`text`: the meaning, whose params have constant shapes; `targets`: code by target; `width`: elements per operation."""

    name: str
    text: str
    targets: tuple[tuple[str, str], ...]
    width: int

    @cached_property
    def meaning(self) -> Program:
        """Writes its first param alone: that is what `kernel.writes` takes of every Call."""
        meaning = parse_program(self.text)
        if meaning.written() != (meaning.params[0].name,):
            raise ValueError(f"{self.name} writes other than its first operand")
        return meaning

    def code(self, target: str) -> str | None:
        return dict(self.targets).get(target)

    @property
    def lanes(self) -> tuple[For, ...]:
        """The loops of lanes around the meaning: the threads of a warp; none for what one thread does."""
        return tuple(s for s in statements(self.meaning.body) if isinstance(s, For) and s.kind == "lanes")


def _warp_product(name: str, dtype: str) -> Intrinsic:
    """`mma.sync` (PTX ISA, "Matrix fragments for mma.m16n8k16"): lane (g, t) of 8 x 4 has rows g and g + 8, columns 2t and 2t + 1 of c."""
    text = f"""
def {name}(c: local.f32[[8, 4], 2, 2], a: shared.{dtype}[16, 16], b: shared.{dtype}[8, 16]):
    for g in lanes(8):
        for t in lanes(4):
            for h in serial(2):
                for p in serial(2):
                    for k in serial(16):
                        c[g, t, h, p] += f32(a[h*8 + g, k]) * f32(b[t*2 + p, k])
"""
    return Intrinsic(name, text, (("cuda", name + "({0}, {1}, {1_row}, {2});"),), 16 * 8 * 16)


INTRINSICS: dict[str, Intrinsic] = {
    i.name: i
    for i in (
        Intrinsic(
            "dp4a",
            """
def dp4a(c: i32[1], a: i8[4], b: i8[4]):
    for q in serial(4):
        c[0] += i32(a[q]) * i32(b[q])
""",
            (("c++", "for (int q = 0; q < 4; q++) *({0}) += (int)({1})[q] * ({2})[q];"), ("cuda", "*({0}) = __dp4a(*(const int*)({1}), *(const int*)({2}), *({0}));")),
            4,
        ),
        Intrinsic(
            "vnni16",
            """
def vnni16(c: i32[16], a: u8[4], b: i8[16, 4]):
    for j in serial(16):
        for q in serial(4):
            c[j] += i32(a[q]) * i32(b[j, q])
""",
            (
                ("c++", "for (int j = 0; j < 16; j++) for (int q = 0; q < 4; q++) ({0})[j] += (int)({1})[q] * ({2})[j * 4 + q];"),
                ("registers", "{0} = dot4({0}, {1}, {2});"),
            ),
            64,
        ),
        Intrinsic(
            "bf16dot16",
            """
def bf16dot16(c: f32[16], a: bf16[2], b: bf16[16, 2]):
    for j in serial(16):
        for q in serial(2):
            c[j] += f32(a[q]) * f32(b[j, q])
""",
            (
                ("c++", "for (int j = 0; j < 16; j++) for (int q = 0; q < 2; q++) ({0})[j] += get(({1}) + q) * get(({2}) + j * 2 + q);"),
                ("registers", "{0} = dot2({0}, {1}, {2});"),
            ),
            32,
        ),
        _warp_product("mma_m16n8k16_f16", "f16"),
        _warp_product("mma_m16n8k16_bf16", "bf16"),
    )
}  # fmt: skip


def inline_calls(p: Program, target: str = "") -> Program:
    """`p` with every Call replaced by loops that do what it means, but for those that have code for `target`. Raises IllegalProgram for a
    Call that cannot be understood."""
    if not any(isinstance(s, Call) for s in statements(p.body)):
        return p
    return replace(p, body=_inline(p, p.body, p.buffers(), target))


def _inline(p: Program, body: Body, buffers: Mapping[str, Buffer], target: str) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, (For, If)):
            out.append(replace(s, body=_inline(p, s.body, buffers, target)))
        elif isinstance(s, Call) and not (s.intrinsic in INTRINSICS and INTRINSICS[s.intrinsic].code(target)):
            out += meaning_of(p, s, buffers)
        else:
            out.append(s)
    return tuple(out)


def meaning_of(p: Program, call: Call, buffers: Mapping[str, Buffer]) -> Body:
    """The meaning of one Call on its operands."""
    known = INTRINSICS.get(call.intrinsic)
    if known is None:
        raise IllegalProgram(
            f"`{call.intrinsic}` is not an intrinsic", hint="known: " + ", ".join(INTRINSICS), place=locate(p, call)
        )
    params = known.meaning.params
    if len(params) != len(call.operands):
        raise IllegalProgram(f"{call.intrinsic} takes {len(params)} operands, not {len(call.operands)}", place=locate(p, call))
    bound: dict[str, tuple[Buffer, Load, Buffer]] = {}
    for param, operand in zip(params, call.operands):
        if operand.buffer not in buffers or buffers[operand.buffer].dtype != param.dtype:
            raise IllegalProgram(
                f"{call.intrinsic} takes {param.dtype} for `{param.name}`, not `{operand.buffer}`", place=locate(p, call)
            )
        _stands(p, call, param, buffers[operand.buffer])
        bound[param.name] = (param, operand, buffers[operand.buffer])
    axes = {s.axis: Var(f"{call.intrinsic}_{s.axis}") for s in statements(known.meaning.body) if isinstance(s, For)}
    return tuple(_bind(s, axes, bound) for s in known.meaning.body)


def _stands(p: Program, call: Call, param: Buffer, operand: Buffer) -> None:
    """An operand of a warp is in the space of its param. What lanes own of it lies on the last owned dims, the rest on the last dims."""
    if param.space == "global":
        return
    lanes, rest = param.shape[: param.owned], param.shape[param.owned :]
    mine, others = operand.shape[: operand.owned], operand.shape[operand.owned :]
    whole = mine[len(mine) - len(lanes) :] == lanes and others[len(others) - len(rest) :] == rest
    if operand.space != param.space or len(others) < len(rest) or (param.owned and not whole):
        lanes_text = [f"[{', '.join(map(print_expr, lanes))}]"] if lanes else []
        wanted = f"{param.space}.{param.dtype}[{', '.join([*lanes_text, *map(print_expr, rest)])}]"
        raise IllegalProgram(f"{call.intrinsic} takes a {wanted} for `{param.name}`, not `{operand.name}`", place=locate(p, call))


Bound = Mapping[str, tuple[Buffer, Load, Buffer]]


def _bind(s: Stmt, axes: Mapping[str, Var], bound: Bound) -> Stmt:
    if isinstance(s, For):
        lo, hi = (_expr(e, axes, bound) for e in (s.lo, s.hi))
        kind = "lanes" if s.kind == "lanes" else "serial"
        return For(axes[s.axis].name, lo, hi, kind, tuple(_bind(x, axes, bound) for x in s.body))
    if isinstance(s, Reduce):
        targets = tuple(_place(t, axes, bound) for t in s.targets)
        return replace(s, targets=targets, values=tuple(_expr(v, axes, bound) for v in s.values))
    if isinstance(s, Store):
        place = _place(Load(s.buffer, s.index), axes, bound)
        return Store(place.buffer, place.index, _expr(s.value, axes, bound))
    raise ValueError("an intrinsic's meaning holds loops, stores and reduces only")


def _expr(e: Expr, axes: Mapping[str, Var], bound: Bound) -> Expr:
    if isinstance(e, Load):
        return _place(e, axes, bound)
    if isinstance(e, Op):
        return Op(e.name, tuple(_expr(a, axes, bound) for a in e.args))
    return replace(e, value=_expr(e.value, axes, bound)) if hasattr(e, "dtype") else substitute(e, axes)  # type: ignore[call-arg]


def _place(small: Load, axes: Mapping[str, Var], bound: Bound) -> Load:
    """The element of the operand's buffer: the small array lies on the trailing dims when these agree, else along the last one. What lanes
    own lies on the trailing owned dims, a tile in shared memory on the trailing dims whatever its rows have besides."""
    param, operand, buffer = bound[small.buffer]
    inner = tuple(_expr(i, axes, bound) for i in small.index)
    shape, index = param.shape, list(operand.index)
    if param.space != "global":
        at = [*range(buffer.owned - param.owned, buffer.owned), *range(len(index) - len(shape) + param.owned, len(index))]
        for k, i in zip(at, inner):
            index[k] = add(index[k], i)
        return Load(operand.buffer, tuple(index))
    if len(shape) <= len(buffer.shape) and buffer.shape[len(buffer.shape) - len(shape) + 1 :] == shape[1:]:
        for k, i in enumerate(inner):
            index[len(index) - len(shape) + k] = add(index[len(index) - len(shape) + k], i)
        return Load(operand.buffer, tuple(index))
    flat: Expr = Const(0)
    for i, d in zip(inner, shape):
        flat = add(mul(flat, d), i)
    index[-1] = simplify(add(index[-1], flat))
    return Load(operand.buffer, tuple(index))
