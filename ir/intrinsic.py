"""Intrinsics: named micro-operations on small row-major arrays, with their meaning as program text and their code per target.

Comes in: a Program with Calls. Goes out (`inline_calls`): the same program with each Call replaced by its meaning, which is what the
verifier and the interpreter look at. A backend prints `targets[target]`, with `{0}`, `{1}`, .. for the operands' addresses; in the text for
`registers` `{0}` is the C++ variable that holds the first operand, one native vector, and the last operand comes as a loaded vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from .diagnostic import IllegalProgram
from .expr import Const, Expr, Load, Op, Var, add, mul, simplify, substitute
from .kernel import Body, Buffer, Call, For, If, Program, Reduce, Stmt, Store, statements
from .text import locate, parse_program


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
    )
}  # fmt: skip


def inline_calls(p: Program) -> Program:
    """`p` with every Call replaced by loops that do what it means. Raises IllegalProgram for a Call that cannot be understood."""
    if not any(isinstance(s, Call) for s in statements(p.body)):
        return p
    return replace(p, body=_inline(p, p.body, p.buffers()))


def _inline(p: Program, body: Body, buffers: Mapping[str, Buffer]) -> Body:
    out: list[Stmt] = []
    for s in body:
        if isinstance(s, (For, If)):
            out.append(replace(s, body=_inline(p, s.body, buffers)))
        elif isinstance(s, Call):
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
        bound[param.name] = (param, operand, buffers[operand.buffer])
    axes = {s.axis: Var(f"{call.intrinsic}_{s.axis}") for s in statements(known.meaning.body) if isinstance(s, For)}
    return tuple(_bind(s, axes, bound) for s in known.meaning.body)


Bound = Mapping[str, tuple[Buffer, Load, Buffer]]


def _bind(s: Stmt, axes: Mapping[str, Var], bound: Bound) -> Stmt:
    if isinstance(s, For):
        lo, hi = (_expr(e, axes, bound) for e in (s.lo, s.hi))
        return For(axes[s.axis].name, lo, hi, "serial", tuple(_bind(x, axes, bound) for x in s.body))
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
    """The element of the operand's buffer: the small array lies on the trailing dims when these agree, else along the last one."""
    param, operand, buffer = bound[small.buffer]
    inner = tuple(_expr(i, axes, bound) for i in small.index)
    shape, index = param.shape, list(operand.index)
    if len(shape) <= len(buffer.shape) and buffer.shape[len(buffer.shape) - len(shape) + 1 :] == shape[1:]:
        for k, i in enumerate(inner):
            index[len(index) - len(shape) + k] = add(index[len(index) - len(shape) + k], i)
        return Load(operand.buffer, tuple(index))
    flat: Expr = Const(0)
    for i, d in zip(inner, shape):
        flat = add(mul(flat, d), i)
    index[-1] = simplify(add(index[-1], flat))
    return Load(operand.buffer, tuple(index))
