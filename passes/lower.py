"""A group of fused nodes to one naive Kernel program: serial loops only, no schedule.

    for P axes:                                    the group's shared parallel axes
        m: local.f32[1]                            a reduction over the row, or a value per point
        for r in serial(N): reduce(max, m[0], x[i, r])
        e: scratch.f32[N]                          a row kept for later stages
        for r in serial(N): ...                    stages over rows of the same extents share a loop where nothing forbids it
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ..ir.expr import (
    Cast,
    Const,
    Expr,
    Load,
    Op,
    Var,
    add,
    as_int,
    floordiv,
    loads,
    mod,
    mul,
    names,
    simplify,
    sub,
    substitute,
    transform,
)
from ..ir.graph import Conv, TensorType
from ..ir.kernel import (
    Alloc,
    Body,
    Buffer,
    For,
    Program,
    Reduce,
    Stmt,
    Store,
    expressions,
    rename_buffers,
    statements,
    substitute_axes,
)
from ..ir.monoid import MONOIDS
from ..ir.types import Dim
from .convolution import Taps, phases
from .define import Definition, accumulator, identity, wide
from .fuse import Group, cost, read_packed
from .indexing import axis_ranges, numel

ZERO_INDEX = (Const(0),)

EPILOGUE_COST = 16
"""Instructions per element from which an epilogue is worth a loop of its own."""


@dataclass(frozen=True)
class Lowered:
    """`args`: the graph value bound to each param, in param order (inputs, then outputs)."""

    program: Program
    args: tuple[str, ...]


@dataclass
class _Stage:
    """A loop nest inside P (no extents: straight-line code per point) with its members in order."""

    extents: tuple[Expr, ...]
    axes: tuple[str, ...]
    members: list[Definition] = field(default_factory=list)


Range = tuple[Expr, Expr]


def lower(
    group: Group, name: str, types: dict[str, TensorType], dims: tuple[Dim, ...], within: Mapping[str, Range] | None = None
) -> Lowered:
    """Naive program of a group; raises nothing for groups that `fuse` made. `within`: ranges of index tensors that are given."""
    return _Lowering(group, name, types, dims, within or {}).run()


class _Lowering:
    def __init__(
        self, group: Group, name: str, types: dict[str, TensorType], dims: tuple[Dim, ...], within: Mapping[str, Range]
    ):
        self.group, self.name, self.types, self.dims, self.within = group, name, types, dims, within
        self.made = {v.name: d for d in group.definitions for v in d.node.outputs}
        external = dict.fromkeys(x.buffer for d in group.definitions for v in d.values for x in loads(v) if x.buffer not in self.made)
        self.external = tuple(external)
        taken = {*self.made, *external, *(d.name for d in dims), name}
        self.fresh = _names("ijklmn", taken)
        self.inner = _names("rstuvw", taken)
        self.p_axes = tuple(next(self.fresh) for _ in group.extents)
        self.stage_of: dict[str, int] = {}
        self.stages: list[_Stage] = []
        self.ranges = axis_ranges(self.p_axes, tuple(group.extents))

    # -------------------------------------------------------------------------------- names and shapes
    def row_dims(self, value: str) -> list[int]:
        """Dims of a value that are not P axes."""
        d = self.made[value]
        return [k for k in range(len(d.extents)) if k not in self.group.parallel[value]]

    def loop_of(self, d: Definition) -> tuple[Expr, ...]:
        row = self.row_dims(d.node.outputs[0].name)
        return tuple(d.extents[k] for k in row) if row else d.reduce_extents

    def reduces_row(self, d: Definition) -> bool:
        """The stage loop is the reduction itself: the result is one value per point of P."""
        return bool(d.reduce_extents) and not self.row_dims(d.node.outputs[0].name)

    def loop_coords(self, d: Definition) -> tuple[str, ...]:
        """The definition's own names of the coordinates that its stage loop runs over."""
        row = self.row_dims(d.node.outputs[0].name)
        return tuple(f"i{k}" for k in row) if row else d.reduce_axes

    # -------------------------------------------------------------------------------- stages
    def assign(self) -> None:
        for d in self.group.definitions:
            index = self._find_stage(d)
            if index is None:
                extents = self.loop_of(d)
                self.stages.append(_Stage(extents, tuple(next(self.inner) for _ in extents)))
                index = len(self.stages) - 1
            self.stages[index].members.append(d)
            self.stage_of.update({v.name: index for v in d.node.outputs})

    def _find_stage(self, d: Definition) -> int | None:
        """The earliest stage with the same loop after everything that `d` needs is there."""
        inside = [x for v in d.values for x in loads(v) if x.buffer in self.made]
        need = max((self.stage_of[x.buffer] for x in inside), default=0)
        for k in range(need, len(self.stages)):
            stage = self.stages[k]
            if stage.extents != self.loop_of(d) or (d.scan is not None and len(stage.extents) > 1) or self._has_scan(stage, d):
                continue
            if all(self._same_element(x, d) for x in inside if self.stage_of[x.buffer] == k):
                return k
        return None

    def _has_scan(self, stage: _Stage, d: Definition) -> bool:
        """A scan over rows of several dims orders its loops in its own way and shares them with nobody."""
        return len(stage.extents) > 1 and (d.scan is not None or any(m.scan is not None for m in stage.members))

    def _same_element(self, x: Load, d: Definition) -> bool:
        """Whether, within one stage, `d` reads the element of the row that was just made (and no result of a reduction over it)."""
        producer = self.made[x.buffer]
        if not self.loop_of(d):
            return True
        if self.reduces_row(producer):
            return False
        return tuple(x.index[k] for k in self.row_dims(x.buffer)) == tuple(Var(c) for c in self.loop_coords(d))

    # -------------------------------------------------------------------------------- where values live
    @cached_property
    def reading_stages(self) -> dict[str, set[int]]:
        """For each value, the stages of the group that load it."""
        out: dict[str, set[int]] = {}
        for d in self.group.definitions:
            stage = self.stage_of[d.node.outputs[0].name]
            for buffer in {x.buffer for v in d.values for x in loads(v)}:
                out.setdefault(buffer, set()).add(stage)
        return out

    def read_later(self, value: str) -> bool:
        """Read in another stage than the one that makes it."""
        return bool(self.reading_stages.get(value, set()) - {self.stage_of[value]})

    def read_here(self, value: str) -> bool:
        """Read in the stage that makes it."""
        return self.stage_of[value] in self.reading_stages.get(value, ())

    def is_point(self, value: str) -> bool:
        return not self.row_dims(value)

    def slot_dtype(self, d: Definition, slot: int) -> str:
        """Accumulator dtype: positions of argmax fit 32 bits whenever the reduced extent does."""
        if d.monoid in ("argmax", "argmin") and slot == 1:
            count = as_int(numel(d.reduce_extents))
            return "i32" if count is not None and count < 2**31 and d.kind == "reduce" else "i64"
        dtype = self._value_dtype(d, slot)
        return accumulator(dtype) if d.kind in ("contract", "conv") else dtype

    def _value_dtype(self, d: Definition, slot: int) -> str:
        outputs = d.node.outputs
        return outputs[min(slot, len(outputs) - 1)].type.dtype

    # -------------------------------------------------------------------------------- expressions
    def place_env(self, d: Definition, stage: _Stage) -> dict[str, Expr]:
        """The definition's coordinates as loop variables."""
        value = d.node.outputs[0].name
        env: dict[str, Expr] = {f"i{k}": Var(self.p_axes[a]) for a, k in enumerate(self.group.parallel[value])}
        env.update({c: Var(a) for c, a in zip(self.loop_coords(d), stage.axes)})
        return env

    def value_expr(self, e: Expr, env: dict[str, Expr], here: int) -> Expr:
        """A definition's expression over loop variables, loads of members turned to where those live."""
        e = simplify(substitute(e, env), self.ranges)
        return transform(e, lambda n: self._member_load(n, here) if isinstance(n, Load) and n.buffer in self.made else None)

    def _member_load(self, x: Load, here: int) -> Expr:
        d = self.made[x.buffer]
        if self.is_point(x.buffer) or self.stage_of[x.buffer] == here:
            slot = next(k for k, v in enumerate(d.node.outputs) if v.name == x.buffer)
            local = Load(self.local(x.buffer), ZERO_INDEX)
            exact = not d.monoid or self.slot_dtype(d, slot) == self.types[x.buffer].dtype
            return local if exact else Cast(self.types[x.buffer].dtype, local)
        if x.buffer in self.group.outputs:
            return x
        return Load(self.row(x.buffer), tuple(x.index[k] for k in self.row_dims(x.buffer)))

    def local(self, value: str) -> str:
        return f"{value}_v" if value in self.group.outputs else value

    def row(self, value: str) -> str:
        return f"{value}_row"

    def out_index(self, d: Definition, value: str, env: dict[str, Expr]) -> tuple[Expr, ...]:
        return tuple(env[f"i{k}"] for k in range(len(d.extents)))

    # -------------------------------------------------------------------------------- emission
    def run(self) -> Lowered:
        self.assign()
        first = self.group.definitions[0]
        if isinstance(first.node.op, Conv) and first.node.op.transposed and as_int(numel(first.extents[2:])) is not None:
            nest = self._phases(first, first.node.op)
        else:
            nest = self._nest([*self._rows(self.stages[0]), *self._emit_stage(0, self.stages[0]), *self._rest(first)])
        params = tuple(self._param(n) for n in (*self.external, *self.group.outputs))
        args = (*self.external, *self.group.outputs)
        used = self._used_dims(params, nest)
        return Lowered(Program(self.name, used, params, nest), args)

    def _nest(self, body: list[Stmt], extents: tuple[Expr, ...] | None = None) -> Body:
        nest: Body = tuple(body)
        extents = tuple(self.group.extents) if extents is None else extents
        for axis, extent in reversed(list(zip(self.p_axes, extents))):
            nest = (For(axis, Const(0), extent, "serial", nest),)
        return nest if self.p_axes else (For(next(self.fresh), Const(0), Const(1), "serial", nest),)

    def _rest(self, first: Definition) -> list[Stmt]:
        """The stages after the first. A long epilogue reads a copy of the sum, so that a schedule can keep the sum in registers and
        still loop over the epilogue."""
        rest = [s for k, stage in enumerate(self.stages) if k for s in (*self._rows(stage), *self._emit_stage(k, stage))]
        work = sum(cost(v) for d in self.group.definitions[1:] for v in d.values)
        if first.kind not in ("contract", "conv") or work < EPILOGUE_COST:
            return rest
        name = self.local(first.node.outputs[0].name)
        copy = f"{name}_sum"
        dtype = self.slot_dtype(first, 0)
        made: list[Stmt] = [Alloc(Buffer(copy, dtype, (Const(1),), "local")), Store(copy, ZERO_INDEX, Load(name, ZERO_INDEX))]
        return [*made, *rename_buffers(tuple(rest), {name: copy})]

    def _phases(self, d: Definition, op: Conv) -> Body:
        """A transposed convolution: one nest for each phase of the output, so that no tap is ever skipped at run time."""
        rest = self._rest(d)
        taps = self.stages[0].axes
        own = self._store_results(d, {f"i{k}": Var(a) for k, a in enumerate(self.p_axes)})
        out: list[Stmt] = []
        kernel = tuple(as_int(e) or 1 for e in d.reduce_extents[1:])
        for number, combination in enumerate(phases(op, kernel)):
            extents = list(d.extents)
            move: dict[str, Expr] = {}
            for dim, t in enumerate(combination):
                size = as_int(d.extents[dim + 2]) or 1
                extents[dim + 2] = Const(len(range(t.phase, size, op.stride[dim])))
                axis = self.p_axes[dim + 2]
                move[axis] = simplify(add(mul(Var(axis), op.stride[dim]), t.phase))
            if any(as_int(e) == 0 for e in extents):
                continue
            body: list[Stmt] = [*self._phase_sum(d, op, combination, taps), *substitute_axes((*own, *rest), move)]
            renamed = rename_buffers(tuple(body), {s.buffer.name: f"{s.buffer.name}_p{number}" for s in body if isinstance(s, Alloc)})
            out += self._nest(list(renamed), tuple(extents))
        return tuple(out)

    def _phase_sum(self, d: Definition, op: Conv, combination: tuple[Taps, ...], axes: tuple[str, ...]) -> list[Stmt]:
        """The accumulator of one phase and its loops over channels and the taps that meet this phase."""
        allocs, places = self._accumulators(d)
        n, o, *space = (Var(a) for a in self.p_axes)
        c = Var(axes[0])
        per_group = d.extents[1] if op.groups == 1 else self.types[op.w].shape[1]
        channel: Expr = c if op.groups == 1 else add(mul(floordiv(o, per_group), d.reduce_extents[0]), c)
        column: Expr = o if op.groups == 1 else mod(o, per_group)
        at = [simplify(sub(add(x, t.first), mul(Var(a), t.back))) for x, t, a in zip(space, combination, axes[1:])]
        kernel = [simplify(add(mul(Var(a), t.step), t.kernel)) for t, a in zip(combination, axes[1:])]
        x = wide(Load(op.x, (n, channel, *at)), self.types[op.x].dtype)
        w = wide(Load(op.w, (channel, column, *kernel)), self.types[op.w].dtype)
        value = read_packed(Op("*", (x, w)), self.group.packed)
        nest: Body = (Reduce("add", places, (value,)),)
        extents = (d.reduce_extents[0], *(Const(t.count) for t in combination))
        if any(t.count == 0 for t in combination):
            return allocs
        for axis, extent in reversed(list(zip(axes, extents))):
            nest = (For(axis, Const(0), extent, "serial", nest),)
        return [*allocs, *nest]

    def _used_dims(self, params: tuple[Buffer, ...], body: Body) -> tuple[Dim, ...]:
        seen = {v for b in params for s in (*b.shape, *(b.within or ())) for v in names(s)}
        seen |= {v for s in statements(body) for e in expressions(s) for v in names(e)}
        return tuple(d for d in self.dims if d.name in seen)

    def _param(self, name: str) -> Buffer:
        t = self.types[name]
        return Buffer(name, t.dtype, t.shape, within=self.within.get(name))

    def _rows(self, stage: _Stage) -> list[Stmt]:
        """Rows that later stages read."""
        out: list[Stmt] = []
        for d in stage.members:
            for v in d.node.outputs:
                if not self.is_point(v.name) and v.name not in self.group.outputs and self.read_later(v.name):
                    shape = tuple(d.extents[k] for k in self.row_dims(v.name))
                    out.append(Alloc(Buffer(self.row(v.name), v.type.dtype, shape, "scratch")))
        return out

    def _emit_stage(self, index: int, stage: _Stage) -> list[Stmt]:
        before: list[Stmt] = []
        inside: list[Stmt] = []
        after: list[Stmt] = []
        states: dict[Expr, list[Stmt]] = {}
        for d in stage.members:
            env = self.place_env(d, stage)
            if d.scan is not None:
                state, step = self._scan(d, env, index)
                states.setdefault(env[f"i{d.scan}"], []).extend(state)
                inside += step
            elif self.reduces_row(d):
                allocs, step = self._accumulate(d, env, index)
                before += allocs
                inside.append(step)
                after += self._store_results(d, env)
            elif d.reduce_extents:
                inside += self._windowed(d, env, index)
            else:
                inside += self._element(d, env, index)
        nest: Body = tuple(inside)
        # A scan runs innermost: its state belongs to one line.
        order = sorted(zip(stage.axes, stage.extents), key=lambda pair: Var(pair[0]) in states)
        for axis, extent in reversed(order):
            nest = (*states.pop(Var(axis), []), For(axis, Const(0), extent, "serial", nest))
        return [*before, *nest, *after]

    def _accumulators(self, d: Definition) -> tuple[list[Stmt], tuple[Load, ...]]:
        """Allocate and initialise one accumulator per monoid slot."""
        assert d.monoid
        out: list[Stmt] = []
        places: list[Load] = []
        for slot in range(MONOIDS[d.monoid].width):
            name = self.local(d.node.outputs[slot].name) if slot < len(d.node.outputs) else f"{d.node.outputs[0].name}_s{slot}"
            dtype = self.slot_dtype(d, slot)
            out += [Alloc(Buffer(name, dtype, (Const(1),), "local")), Store(name, ZERO_INDEX, identity(d.monoid, slot, dtype))]
            places.append(Load(name, ZERO_INDEX))
        return out, tuple(places)

    def _slot_values(self, d: Definition, env: dict[str, Expr], index: int) -> tuple[Expr, ...]:
        out: list[Expr] = []
        for slot, v in enumerate(d.values):
            e = self.value_expr(v, env, index)
            is_position = d.monoid in ("argmax", "argmin") and slot == 1
            out.append(Cast("i32", e) if is_position and self.slot_dtype(d, slot) == "i32" else e)
        return tuple(out)

    def _accumulate(self, d: Definition, env: dict[str, Expr], index: int) -> tuple[list[Stmt], Stmt]:
        allocs, places = self._accumulators(d)
        assert d.monoid
        return allocs, Reduce(d.monoid, places, self._slot_values(d, env, index))

    def _result(self, d: Definition, slot: int) -> Expr:
        value = d.node.outputs[slot]
        local: Expr = Load(self.local(value.name), ZERO_INDEX)
        return local if not d.monoid or self.slot_dtype(d, slot) == value.type.dtype else Cast(value.type.dtype, local)

    def _store_results(self, d: Definition, env: dict[str, Expr]) -> list[Stmt]:
        """Copy results per point (or per element) to their output or row."""
        out: list[Stmt] = []
        for slot, v in enumerate(d.node.outputs):
            if v.name in self.group.outputs:
                out.append(Store(v.name, self.out_index(d, v.name, env), self._result(d, slot)))
            elif not self.is_point(v.name) and self.read_later(v.name):
                out.append(Store(self.row(v.name), tuple(env[f"i{k}"] for k in self.row_dims(v.name)), self._result(d, slot)))
        return out

    def _windowed(self, d: Definition, env: dict[str, Expr], index: int) -> list[Stmt]:
        """A reduction of its own for each element of the row."""
        taps = tuple(next(self.inner) for _ in d.reduce_extents)
        env = {**env, **{r: Var(a) for r, a in zip(d.reduce_axes, taps)}}
        allocs, step = self._accumulate(d, env, index)
        nest: Body = (step,)
        for axis, extent in reversed(list(zip(taps, d.reduce_extents))):
            nest = (For(axis, Const(0), extent, "serial", nest),)
        return [*allocs, *nest, *self._store_results(d, env)]

    def _element(self, d: Definition, env: dict[str, Expr], index: int) -> list[Stmt]:
        """A map: straight to its output when nobody in this stage reads it, else through a local."""
        v = d.node.outputs[0]
        value = self.value_expr(d.values[0], env, index)
        point_read = self.is_point(v.name) and self.read_later(v.name)
        if not self.read_here(v.name) and not point_read:
            if v.name in self.group.outputs:
                return [Store(v.name, self.out_index(d, v.name, env), value)]
            if self.read_later(v.name):
                return [Store(self.row(v.name), tuple(env[f"i{k}"] for k in self.row_dims(v.name)), value)]
            return []
        name = self.local(v.name)
        made: list[Stmt] = [Alloc(Buffer(name, v.type.dtype, (Const(1),), "local")), Store(name, ZERO_INDEX, value)]
        return made + self._store_results(d, env)

    def _scan(self, d: Definition, env: dict[str, Expr], index: int) -> tuple[list[Stmt], list[Stmt]]:
        """Running state before the loop; each step stores every slot that is wanted."""
        assert d.monoid
        state: list[Stmt] = []
        targets: list[Load] = []
        running: list[Load] = []
        for slot in range(MONOIDS[d.monoid].width):
            dtype = self._value_dtype(d, slot)
            name = f"{d.node.outputs[0].name}_state{slot}"
            state += [Alloc(Buffer(name, dtype, (Const(1),), "local")), Store(name, ZERO_INDEX, identity(d.monoid, slot, dtype))]
            targets.append(Load(name, ZERO_INDEX))
        step: list[Stmt] = []
        after: list[Stmt] = []
        for v in d.node.outputs:
            if v.name in self.group.outputs:
                running.append(Load(v.name, self.out_index(d, v.name, env)))
            elif self.read_later(v.name):
                running.append(Load(self.row(v.name), tuple(env[f"i{k}"] for k in self.row_dims(v.name))))
            else:
                step.append(Alloc(Buffer(self.local(v.name), v.type.dtype, (Const(1),), "local")))
                running.append(Load(self.local(v.name), ZERO_INDEX))
                continue
            if self.read_here(v.name):
                step.append(Alloc(Buffer(self.local(v.name), v.type.dtype, (Const(1),), "local")))
                after.append(Store(self.local(v.name), ZERO_INDEX, running[-1]))
        values = self._slot_values(d, env, index)
        return state, [*step, Reduce(d.monoid, tuple(targets), values, tuple(running)), *after]


def _names(letters: str, taken: set[str]) -> Iterator[str]:
    """Short axis names that collide with nothing, not even after a split appends 0 or 1."""
    for n in itertools.count():
        for c in letters:
            name = c if n == 0 else c * (n + 1)
            if not any(t == name or (t.startswith(name) and t[len(name) :].isdigit()) for t in taken):
                taken.add(name)
                yield name


