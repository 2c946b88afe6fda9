"""What a scheduled kernel should take on one core, before it is built: a launch and the machine come in, seconds go out.

After the execution-cache-memory model (Treibig and Hager, PPAM 2009): work, loads and stores by a count of vector instructions, each where a
compiler leaves it (out of the loops that do not change it, once for turns side by side that do not tell it apart); chains of dependent
operations; and traffic between the levels of memory by the footprints of the loops. The unit of work is one vector multiply-add at
peak; the measured peak says how long that is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...ir.expr import Cast, Const, Expr, Load, Op, Var, as_int, children, loads, names
from ...ir.kernel import Alloc, Body, Buffer, Call, For, If, Reduce, Store, statements, writes
from ...ir.machine import Machine
from ...ir.module import Launch
from ...ir.types import BYTES

HEAVY = {
    "exp": 19, "exp2": 16, "expm1": 24, "log": 22, "log2": 22, "log10": 24, "log1p": 27, "tanh": 24, "erf": 32, "erfc": 38, "sigmoid": 32, "pow": 54,
    "sin": 27, "cos": 27, "tan": 40, "asin": 27, "acos": 27, "atan": 30, "sinh": 32, "cosh": 32, "atan2": 40, "/": 13, "sqrt": 16, "rsqrt": 19, "fmod": 40,
}  # fmt: skip
"""Multiply-adds that a function of one vector takes."""


@dataclass(frozen=True)
class Costs:
    """Of one vector, in multiply-adds; fitted to the measured programs of the development problems (`tests/agents/evolve/forecasts.py` says how
    well the order that the model gives is the order that was measured)."""

    compared: float = 1.5  # a minimum or maximum that keeps NaN
    latency: float = 5.4  # of a multiply-add that waits for the last one
    window: float = 135.0  # instructions under way at the same time
    ports: float = 0.4  # how much shows of work, loads and stores beside the largest of them
    mixed: float = 0.3  # the same of instructions and the levels of memory
    turn: float = 0.68  # of a loop
    start: float = 4.0  # of a loop with more than a few turns
    scalar: float = 1.0  # an operation on one element
    running: float = 2.0  # each partial result of a scan that is kept
    scan: float = 6.0  # the steps of a scan within a vector
    across: float = 6.0  # folding a vector into one element
    spilled: float = 3.0  # an update of what does not fit into the registers
    reloaded: float = 0.5
    narrow: float = 0.25  # a load of one element, handed to all lanes
    load: float = 0.5
    store: float = 6.0
    strided: float = 1.35  # a load of neighbours a few elements apart, for each element of the step
    gathered: float = 3.0  # each lane of a load far apart
    scattered: float = 2.0  # each lane of an access by another array's values
    select: float = 0.125
    index: float = 0.15
    cast: float = 0.5
    refill: float = 1.3  # what is written without streaming is read first
    jump: float = 1.3  # several rows read side by side in short stretches
    registers: int = 8  # vectors beyond the registers that still do no harm


COSTS = Costs()
_LINE = 64
_SHORT = 2048
_UNKNOWN = 64
"""Extent of a dim without a bound."""


def forecast(launch: Launch, machine: Machine, costs: Costs = COSTS) -> float:
    """Seconds on one core."""
    program = launch.program
    nest = _Nest(machine, program.buffers(), {d.name: min(d.hi or _UNKNOWN, _UNKNOWN) for d in program.dims}, costs)
    root = nest.read(program.body)
    unit = 2 * machine.lanes / (machine.flops or 1e11)
    return _together([nest.busy * unit, *nest.moved(root, unit)], costs.mixed)


def _together(parts: Sequence[float], share: float) -> float:
    """What overlaps: the largest, and a share of the rest."""
    return (1 - share) * max(parts) + share * sum(parts)


@dataclass(frozen=True)
class _Loop:
    """`changed`: buffers that its body writes; `spread`: its turns are laid out side by side in one stretch of code."""

    axis: str
    lo: int
    extent: int
    kind: str
    number: int
    changed: frozenset[str]

    @property
    def spread(self) -> bool:
        return self.kind in ("unroll", "vector")


_Stack = list[_Loop]


@dataclass(frozen=True)
class _Touch:
    """An access: elements that a turn of each loop (by number) moves; `scattered`: the lanes go where another array or no straight line leads."""

    buffer: str
    strides: Mapping[int, int]
    scattered: bool


@dataclass
class _Region:
    """A loop (None: the whole program) with the loops and accesses in it."""

    loop: _Loop | None
    inner: list[_Region] = field(default_factory=list)
    touched: list[_Touch] = field(default_factory=list)

    def below(self) -> Iterator[tuple[_Touch, _Stack]]:
        """Every access with the loops around it, outermost first."""
        here = [self.loop] if self.loop else []
        yield from ((t, here) for t in self.touched)
        for inner in self.inner:
            yield from ((t, [*here, *loops]) for t, loops in inner.below())


class _Nest:
    """Counts one program. `busy`: its work in vector multiply-adds."""

    def __init__(self, machine: Machine, buffers: Mapping[str, Buffer], sizes: Mapping[str, int], costs: Costs):
        self.machine, self.buffers, self.sizes, self.costs = machine, buffers, sizes, costs
        self.busy = self.loading = 0.0
        self.written: set[str] = set()
        self._count = 0
        self._owners: dict[str, set[str]] = {}
        self._kept = {b.name: self._in_registers(b) for b in buffers.values() if b.space == "local"}

    def _in_registers(self, b: Buffer) -> bool:
        return math.prod(as_int(d) or 1 for d in b.shape) <= self.machine.lanes * (self.machine.registers + self.costs.registers)

    # ---- the walk ----
    def read(self, body: Body) -> _Region:
        root = _Region(None)
        self._body(body, [], root)
        return root

    def _body(self, body: Body, stack: _Stack, region: _Region) -> None:
        for s in body:
            if isinstance(s, For):
                self._loop(s, stack, region)
            elif isinstance(s, If):
                self.busy += self._work([s.cond], stack, region)
                self._body(s.body, stack, region)
            elif isinstance(s, Alloc):
                self._owners[s.buffer.name] = {x.axis for x in stack}
            elif isinstance(s, Call):
                self._call(s, stack, region)
            else:
                self._statement(s, stack, region)

    def _loop(self, s: For, stack: _Stack, region: _Region) -> None:
        at = self._middle(stack)
        lo, hi = int(_value(s.lo, at)), int(_value(s.hi, at))
        self._count += 1
        changed = frozenset(n for x in statements(s.body) for n in writes(x))
        loop = _Loop(s.axis, lo, max(1, hi - lo), s.kind, self._count, changed)
        inner = _Region(loop)
        region.inner.append(inner)
        if not loop.spread:
            self.busy += self._turns(stack) * (self.costs.turn * loop.extent + (self.costs.start if loop.extent > 4 else 0.0))
        self._body(s.body, [*stack, loop], inner)

    # ---- how often ----
    def _extent(self, x: _Loop) -> int:
        """Turns; of a vector loop, vectors."""
        return math.ceil(x.extent / self.machine.lanes) if x.kind == "vector" else x.extent

    def _turns(self, stack: _Stack) -> float:
        return float(math.prod(self._extent(x) for x in stack))

    def _times(self, stack: _Stack, deps: set[str]) -> float:
        """How often something that depends on these axes is done: the loops within the innermost of them do not repeat it, nor do turns side by
        side that it does not tell apart."""
        total, within = 1.0, True
        for x in reversed(_lanes_last(stack)):
            if within and x.axis not in deps:
                continue
            within = within and x.spread
            total *= self._extent(x)
        return total

    def _depends(self, e: Expr, stack: _Stack) -> set[str]:
        """Axes whose next turn may change the value."""
        read = {x.buffer for x in loads(e)}
        return {*names(e), *(x.axis for x in stack if read & x.changed)}

    # ---- work ----
    def _statement(self, s: Store | Reduce, stack: _Stack, region: _Region) -> None:
        self.loading = storing = 0.0
        work = self._work([s.value] if isinstance(s, Store) else list(s.values), stack, region)
        targets = [Load(s.buffer, s.index)] if isinstance(s, Store) else list(s.targets)
        every = self._turns(stack)
        for t in targets:
            self.written.add(t.buffer)
            storing += every * self._update(t, stack, region, isinstance(s, Reduce))
        if isinstance(s, Reduce):
            work += self._combining(s, stack, work)
            for r in s.running:
                self.written.add(r.buffer)
                work += every * self.costs.running
                storing += every * self._access(r, stack, region, True)
        self.busy += _together((work, self.loading, storing), self.costs.ports)

    def _work(self, given: Sequence[Expr], stack: _Stack, region: _Region) -> float:
        """Operations, each different one once; `loading` takes the loads."""
        seen: set[Expr] = set()
        total, lane = 0.0, _lane(stack)
        open_ = list(given)
        while open_:
            e = open_.pop()
            if e in seen or isinstance(e, (Const, Var)):
                continue
            seen.add(e)
            deps = self._depends(e, stack)
            times = self._times(stack, deps)
            if isinstance(e, Load):
                self.loading += times * self._access(e, stack, region, False)
                open_ += [i for i in e.index if loads(i)]
                continue
            wide = lane is not None and lane.axis in deps
            total += times * self._operation(e) * (1.0 if wide or isinstance(e, Cast) else self.costs.scalar)
            for a in children(e):
                if _sums(e) and _is(a, "*"):  # one multiply-add
                    seen.add(a)
                    open_ += children(a)
                else:
                    open_.append(a)
        return total

    def _operation(self, e: Expr) -> float:
        if not isinstance(e, Op):
            return self.costs.cast
        if e.name in HEAVY:
            return HEAVY[e.name]
        if e.name in ("and", "or", "not", "select"):
            return self.costs.select
        if not loads(e):
            return self.costs.index
        return self.costs.compared if e.name in ("min", "max") else 1.0

    def _combining(self, s: Reduce, stack: _Stack, work: float) -> float:
        """The operations of a reduction, or the wait of its chain where that is longer than all else of the statement."""
        lane, costs = _lane(stack), self.costs
        target = {n for t in s.targets for n in names(t) | self._owners.get(t.buffer, set())}
        extreme = s.monoid in ("min", "max")
        each = len(s.targets) * (costs.compared if extreme else 0.5 if all(_is(v, "*") for v in s.values) else 1.0)
        if s.running and lane:
            each += costs.scan
        elif lane and lane.axis not in target and all(x.spread for x in stack[stack.index(lane) + 1 :]):
            each += costs.across / self._extent(lane)
        every = self._turns(stack)
        chain = math.prod(x.extent for x in _steps(stack, target))
        side = float(math.prod(self._extent(x) for x in stack if x.spread and x.axis in target))
        instructions = ((work + self.loading) / every + each) * chain * side
        side *= max(1.0, costs.window / max(1.0, instructions))
        return max(every * each, every * costs.latency * (1.5 if extreme else 1.0) / max(1.0, side) - work)

    def _update(self, t: Load, stack: _Stack, region: _Region, reads: bool) -> float:
        if self.buffers[t.buffer].space == "local":
            return 0.0 if self._kept[t.buffer] else self.costs.spilled
        stays = reads and bool(stack) and stack[-1].axis in names(t)
        return self._access(t, stack, region, True) * (2.0 if reads and not stays else 1.0) + (1.0 if stays else 0.0)

    def _call(self, s: Call, stack: _Stack, region: _Region) -> None:
        self.written.add(s.operands[0].buffer)
        for x in s.operands:
            self._touch(x, stack, region)
        self.busy += 2.0 * self._turns(stack)

    def _access(self, x: Load, stack: _Stack, region: _Region, writing: bool) -> float:
        """Of one vector (one element in scalar code)."""
        costs = self.costs
        if self.buffers[x.buffer].space == "local":
            return 0.0 if self._kept[x.buffer] else costs.reloaded
        touch, lane = self._touch(x, stack, region), _lane(stack)
        if lane is None or lane.axis not in names(x):
            return costs.narrow * (2 if writing else 1)
        width = min(lane.extent, self.machine.lanes)
        step = abs(touch.strides.get(lane.number, 0))
        if touch.scattered:
            return costs.scattered * width
        if step <= 1:
            return costs.store if writing else costs.load
        return costs.strided * step if step <= 4 and not writing else costs.gathered * width

    # ---- places ----
    def _middle(self, stack: _Stack) -> dict[str, int]:
        """Every loop at its middle, lanes at their first."""
        return {**self.sizes, **{x.axis: x.lo + (0 if x.kind == "vector" else x.extent // 2) for x in stack}}

    def _touch(self, x: Load, stack: _Stack, region: _Region) -> _Touch:
        if any(loads(i) for i in x.index):
            deps = self._depends(x, stack)
            touch = _Touch(x.buffer, {y.number: _LINE for y in stack if y.axis in deps}, True)
        else:
            touch = self._straight(x, stack)
        if self.buffers[x.buffer].space != "local":
            region.touched.append(touch)
        return touch

    def _straight(self, x: Load, stack: _Stack) -> _Touch:
        shape = [int(_value(d, self.sizes)) for d in self.buffers[x.buffer].shape]
        at, used = self._middle(stack), names(x)
        here, strides, scattered = _place(x, shape, at), {}, False
        for y in stack:
            if y.axis not in used or y.extent == 1:
                continue
            step = 1 if at[y.axis] + 1 < y.lo + y.extent else -1
            strides[y.number] = (_place(x, shape, {**at, y.axis: at[y.axis] + step}) - here) * step
            if y.kind == "vector":
                width = min(y.extent, self.machine.lanes) - 1
                scattered = _place(x, shape, {**at, y.axis: at[y.axis] + width}) - here != width * strides[y.number]
        return _Touch(x.buffer, strides, scattered)

    # ---- memory ----
    def moved(self, root: _Region, unit: float) -> list[float]:
        """Seconds of what comes from the second-level cache, the last one and memory."""
        m = self.machine
        speeds = (_LINE / 2 / unit, m.bandwidth_cache or 5e10, m.bandwidth or 2e10)
        jumpy = {t.buffer for t, loops in root.below() if self._jumps(t, loops)}

        def nearby(name: str) -> float:
            return self.costs.refill if name in self.written and self.buffers[name].space != "stream" else 1.0

        def far(name: str) -> float:
            return nearby(name) * (self.costs.jump if name in jumpy else 1.0)

        return [self._traffic(root, size, weigh) / speed for size, weigh, speed in zip((m.l1, m.l2, m.l3 / 2), (nearby, nearby, far), speeds)]

    def _traffic(self, region: _Region, size: float, weigh: Callable[[str], float]) -> float:
        """Bytes into a cache of this size: all that a loop touches once, where one turn of it fits; else turn by turn."""
        whole = self._footprint(region)
        held = region.loop.number if region.loop else 0
        if min(sum(whole.values()), sum(self._footprint(region, held).values())) <= 0.9 * size:
            return sum(n * weigh(name) for name, n in whole.items())
        own = self._footprint(_Region(region.loop, [], region.touched), held)
        turn = sum(self._traffic(inner, size, weigh) for inner in region.inner) + sum(n * weigh(name) for name, n in own.items())
        return turn * (region.loop.extent if region.loop else 1)

    def _footprint(self, region: _Region, held: int = 0) -> dict[str, float]:
        """Bytes of the lines that each buffer's accesses touch, the loop `held` standing still."""
        out: dict[str, float] = {}
        for touch, loops in region.below():
            b = self.buffers[touch.buffer]
            most = math.prod(int(_value(d, self.sizes)) for d in b.shape) * BYTES[b.dtype]
            found = _lines(touch, [x for x in loops if x.number != held], BYTES[b.dtype])
            out[touch.buffer] = max(out.get(touch.buffer, 0.0), min(found, max(most, _LINE)))
        return out

    def _jumps(self, touch: _Touch, loops: _Stack) -> bool:
        """Whether short stretches of several rows are read in turns."""
        size = BYTES[self.buffers[touch.buffer].dtype]
        run = float(size)
        for x in reversed(_lanes_last(loops)):
            step = abs(touch.strides.get(x.number, 0)) * size
            if step > run + 4 * _LINE:
                return x.kind == "unroll" and run < _SHORT
            run += step * (x.extent - 1)
        return touch.scattered


def _lines(touch: _Touch, loops: _Stack, size: int) -> float:
    """Bytes: steps that meet make stretches, the others multiply them."""
    steps = sorted((abs(touch.strides[x.number]) * size, x.extent) for x in loops if touch.strides.get(x.number))
    stretch, count = float(size), 1.0
    for step, extent in steps:
        if step <= max(stretch, _LINE) and count == 1:
            stretch += step * (extent - 1)
        else:
            count *= extent
    return math.ceil(stretch / _LINE) * _LINE * count


def _lane(stack: _Stack) -> _Loop | None:
    return next((x for x in stack if x.kind == "vector"), None)


def _lanes_last(stack: _Stack) -> _Stack:
    """Where the printer puts them: a vector is the innermost thing."""
    return sorted(stack, key=lambda x: x.kind == "vector")


def _steps(stack: _Stack, target: set[str]) -> _Stack:
    """The loops that add to one target one turn after the other."""
    at = max((n for n, x in enumerate(stack) if x.axis in target and not x.spread), default=-1)
    return [x for x in stack[at + 1 :] if x.axis not in target and x.kind != "vector"]


def _is(e: Expr, name: str) -> bool:
    return isinstance(e, Op) and e.name == name


def _sums(e: Expr) -> bool:
    return isinstance(e, Op) and e.name in ("+", "-")


def _place(x: Load, shape: Sequence[int], at: Mapping[str, int]) -> int:
    place = 0
    for index, size in zip(x.index, shape):
        place = place * size + int(_value(index, at))
    return place


def _value(e: Expr, at: Mapping[str, int]) -> float:
    """Of an index; what another array says, or a name that is not known, counts 0."""
    if isinstance(e, Const):
        return e.value
    if isinstance(e, Var):
        return at.get(e.name, 0)
    if isinstance(e, Cast):
        return _value(e.value, at)
    if isinstance(e, Load):
        return 0
    return _INDEX[e.name](*(_value(a, at) for a in e.args)) if e.name in _INDEX else 0


_INDEX: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "//": lambda a, b: a // b if b else 0, "%": lambda a, b: a % b if b else 0,
    "min": min, "max": max, "neg": lambda a: -a, "abs": abs, "select": lambda c, a, b: a if c else b,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "and": lambda a, b: a and b, "or": lambda a, b: a or b, "not": lambda a: not a,
}  # fmt: skip
