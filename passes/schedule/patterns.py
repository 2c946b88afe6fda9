"""Steps that replace a whole pattern: online (max and sum-of-exp loops -> one lse loop) and tensorize (a nest -> an intrinsic)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...ir.diagnostic import IllegalProgram, IllegalStep
from ...ir.expr import ZERO, Const, Expr, Load, Op, Var, children, loads, rebuild, simplify, substitute
from ...ir.intrinsic import INTRINSICS, Intrinsic, meaning_of
from ...ir.kernel import Body, Call, For, If, Program, Reduce, Stmt, Store, map_expressions, statements, substitute_axes
from ...ir.scope import Scope, written_names
from .step import Step, chain, edit_loops, extent, loops_of, mentions, need_axes, nest, refuse, tidy, touched


@dataclass(frozen=True)
class Online(Step):
    """Join a maximum loop and the sum-of-exponentials loop that follows it into one loop over pairs (Milakov and Gimelshein, 2018).

    online(a, b)         for a: reduce(max, m[0], x[a])       ->   s[0] = 0
                         s[0] = 0                                  for a: reduce(lse, (m[0], s[0]), (x[a], 1.0))
                         for b: s[0] += exp(x[b] - m[0])

    The nests have the same bounds and conditions, s is set to 0 before, and nothing else uses m or s in between.
    """

    first: str
    second: str

    def apply(self, p: Program) -> Program:
        need_axes(p, (self.first, self.second))
        out = replace(p, body=self._body(p, p.body))
        if out == p:
            raise IllegalStep(
                f"`{self.first}` and `{self.second}` are not a maximum loop and a sum of exponentials after it in one body"
            )
        return out

    def _body(self, p: Program, body: Body) -> Body:
        heads = [(k, s) for k, s in enumerate(body) if isinstance(s, For)]
        for k, a in heads:
            for q, b in heads:
                if k < q and (a.axis, b.axis) == (self.first, self.second):
                    return (*body[:k], *body[k + 1 : q], *self._join(p, a, b, body[:q], body[k + 1 : q]), *body[q + 1 :])
        return tuple(replace(s, body=self._body(p, s.body)) if isinstance(s, (For, If)) else s for s in body)

    def _join(self, p: Program, a: For, b: For, before: Body, between: Body) -> Body:
        heads, core = chain(a)
        others, second = chain(b)
        renamed = {y.axis: Var(x.axis) for x, y in zip(loops_of(heads), loops_of(others))}
        second = substitute_axes(second, dict(renamed))
        if [_shape(h, {}) for h in heads] != [_shape(h, renamed) for h in others]:
            raise refuse(p, b, f"`{b.axis}` does not have the bounds and conditions of `{a.axis}`")
        top, total = self._parts(p, a, b, core, second)
        axes = {x.axis for x in loops_of(heads)}
        if any(mentions(i, axes) for t in (*top.targets, *total.targets) for i in t.index):
            raise refuse(p, a, f"the maximum and the sum are not the same for all of `{a.axis}`")
        self._untouched(
            p, b, before, between, top.targets[0].buffer, total.targets[0].buffer, {x.buffer for x in loads(top.values[0])}
        )
        one = Reduce("lse", (top.targets[0], total.targets[0]), (top.values[0], Const(1.0)))
        return nest(heads, (one,))

    def _parts(self, p: Program, a: For, b: For, core: Body, second: Body) -> tuple[Reduce, Reduce]:
        if len(core) != 1 or not isinstance(core[0], Reduce) or core[0].monoid != "max" or core[0].running:
            raise refuse(p, a, f"`{a.axis}` is not a maximum loop")
        top = core[0]
        want = Op("exp", (Op("-", (top.values[0], top.targets[0])),))
        if len(second) != 1 or not isinstance(second[0], Reduce) or second[0].monoid != "add" or second[0].values != (want,):
            raise refuse(p, b, f"`{b.axis}` does not sum the exponentials of what `{a.axis}` takes the maximum of")
        return top, second[0]

    def _untouched(self, p: Program, b: For, before: Body, between: Body, m: str, s: str, inputs: set[str]) -> None:
        last = [x for x in before if any(s in touched(y) for y in statements((x,)))]
        if not last or not (isinstance(last[-1], Store) and last[-1].value in (Const(0), Const(0.0))):
            raise refuse(p, b, f"`{s}` is not set to 0 before")
        for x in statements(between):
            if m in touched(x) or (s in touched(x) and x is not last[-1]) or inputs & written_names((x,)):
                raise refuse(p, x, "this stands between the two loops and uses what they work on")


def _shape(h: For | If, env: dict[str, Var]) -> tuple[Expr | str, ...]:
    if isinstance(h, If):
        return (substitute(h.cond, env),)
    return substitute(h.lo, env), substitute(h.hi, env), h.kind


@dataclass(frozen=True)
class Tensorize(Step):
    """Replace a perfect nest by an intrinsic with the same meaning.

    tensorize((j, q), vnni16)   for j in serial(16):                            ->   vnni16(c[0], a[0], b[0, 0])
                                    for q in serial(4):
                                        c[j] += i32(a[q])*i32(b[j, q])

    tensorize((g, t, h, p, k), mma_m16n8k16_f16)
        for w in lanes(2):                                ->   for w in lanes(2):
            for g in lanes(8): for t in lanes(4):                  mma_m16n8k16_f16(acc[w, 0, 0, 0, 0], A_s[w*16, 0], B_s[0, 0])
                for h: for p: for k in serial(16):
                    acc[w, g, t, h, p] += f32(A_s[w*16 + h*8 + g, k]) * f32(B_s[t*2 + p, k])

    The loops stand in the order of the intrinsic's meaning, lanes where it has lanes, and each operand is dense: its small array lies on
    trailing dims. An operation of a warp takes tiles in shared memory, and what lanes own. Of several nests over these axes, those that fit
    are replaced.
    """

    axes: tuple[str, ...]
    intrinsic: str

    def apply(self, p: Program) -> Program:
        need_axes(p, self.axes)
        known = INTRINSICS.get(self.intrinsic)
        if known is None:
            raise IllegalStep(f"`{self.intrinsic}` is not an intrinsic", hint="known: " + ", ".join(INTRINSICS))

        reasons: list[IllegalStep] = []

        def tensorize(loop: For, scope: Scope) -> Body:
            heads, core = chain(loop)
            loops = loops_of(heads)
            if [x.axis for x in loops] != list(self.axes) or len(loops) != len(heads) or len(core) != 1:
                return (loop,)
            try:
                return (self._call(p, known, loops, _folded(core[0], scope, loops)),)
            except IllegalStep as e:
                reasons.append(e)
                return (loop,)

        out = edit_loops(p, self.axes[0], tensorize)
        if out == p:
            raise (
                reasons[-1]
                if reasons
                else IllegalStep(f"{', '.join(self.axes)} are not one perfect nest in this order around one statement")
            )
        return out

    def _call(self, p: Program, known: Intrinsic, loops: list[For], core: Stmt) -> Call:
        wanted, body = chain(known.meaning.body[0])
        mine = [(extent(x), x.lo) for x in loops]
        if [(extent(x), x.lo) for x in loops_of(wanted)] != mine:
            raise refuse(p, loops[0], f"the extents differ from those of {known.name}")
        for own in loops[: len(known.lanes)]:
            if own.kind != "lanes":
                raise refuse(p, own, f"`{own.axis}` is not bound to lanes: {known.name} is an operation of a warp", f"bind({own.axis}, lanes)")
        reasons: list[IllegalStep] = []
        for ordered in _orders(core):
            try:
                return self._operands(p, known, loops, ordered, body[0])
            except IllegalStep as e:
                reasons.append(e)
        raise reasons[0]

    def _operands(self, p: Program, known: Intrinsic, loops: list[For], core: Stmt, wanted: Stmt) -> Call:
        bound: dict[str, Load] = {}
        if not _match_statement(wanted, core, bound):
            raise refuse(p, core, f"this is not the statement of {known.name}")
        start = {x.axis: ZERO for x in loops}
        call = Call(known.name, tuple(_at(bound[b.name], start) for b in known.meaning.params))
        self._same(p, call, known, loops, core)
        return call

    def _same(self, p: Program, call: Call, known: Intrinsic, loops: list[For], core: Stmt) -> None:
        try:
            meant, body = chain(meaning_of(p, call, p.buffers())[0])
        except IllegalProgram as e:
            raise refuse(p, core, e.message) from None
        names = {x.axis: Var(y.axis) for x, y in zip(loops_of(meant), loops)}
        if tidy(substitute_axes(body, dict(names))) != tidy((core,)):
            raise refuse(p, core, f"the operands of {known.name} are not dense here")


def _folded(core: Stmt, scope: Scope, loops: list[For]) -> Stmt:
    """The statement with its indices simplified by the ranges of the axes around it."""
    for loop in loops:
        scope = scope.enter(loop)
    return map_expressions((core,), lambda e: simplify(e, scope.ranges))[0]


def _at(place: Load, axes: dict[str, Const]) -> Load:
    return Load(place.buffer, tuple(simplify(substitute(i, axes)) for i in place.index))


def _orders(core: Stmt) -> list[Stmt]:
    """The statement, and the one with the factors of its product exchanged."""
    if not (isinstance(core, Reduce) and isinstance(core.values[0], Op) and core.values[0].name == "*"):
        return [core]
    value = core.values[0]
    return [core, replace(core, values=(Op("*", value.args[::-1]), *core.values[1:]))]


def _match_statement(want: Stmt, got: Stmt, bound: dict[str, Load]) -> bool:
    if isinstance(want, Reduce) and isinstance(got, Reduce) and want.monoid == got.monoid and not got.running:
        return all(_match(a, b, bound) for a, b in zip((*want.targets, *want.values), (*got.targets, *got.values)))
    return False


def _match(want: Expr, got: Expr, bound: dict[str, Load]) -> bool:
    """The same tree, where a load of the meaning's param stands for any load (the same one each time)."""
    if isinstance(want, Load):
        return isinstance(got, Load) and bound.setdefault(want.buffer, got) == got
    kids, theirs = children(want), children(got)
    if len(kids) != len(theirs) or rebuild(want, theirs) != got:
        return False
    return all(_match(a, b, bound) for a, b in zip(kids, theirs))
