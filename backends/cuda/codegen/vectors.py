"""Wide accesses of a vector loop. A loop of 2 or 4 elements comes in; the loads and stores in it that move neighbours go out. A loop that does
nothing but copy small elements is one move of up to 16 bytes.

A load `x[e + v]` over `v` in 0..4 is one `float4` when e is surely a multiple of 4; buffers start at aligned addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....ir.expr import Cast, Const, Expr, Load, Op, Var, affine, as_int, bounds, loads, names, simplify, substitute
from ....ir.kernel import Alloc, For, If, Store, expressions, statements, writes
from ....ir.types import BYTES

if TYPE_CHECKING:
    from .values import Values

_TYPES = {("f32", 4): "float4", ("f32", 2): "float2", ("i32", 4): "int4", ("i32", 2): "int2", ("f64", 2): "double2"}


@dataclass
class Packet:
    """Neighbouring elements of `buffer` from index `start`; `load` is the load as written (None: stores)."""

    buffer: str
    index: tuple[Expr, ...]
    start: tuple[Expr, ...]
    type: str
    load: Load | None
    name: str = ""

    def at(self, axis: str, k: int) -> Load:
        """The element in lane `k`, as it is written after the axis is replaced."""
        return Load(self.buffer, tuple(simplify(substitute(i, {axis: Const(k)})) for i in self.index))


def packets(s: For, n: int, printer: Values) -> list[Packet]:
    """The wide accesses of a vector loop of plain statements; none where the loop holds loops, conditions or buffers."""
    if n not in (2, 4) or any(isinstance(x, (For, If, Alloc)) for x in s.body):
        return []
    found: dict[tuple[str, bool], Packet] = {}
    written = {w for x in s.body for w in writes(x)}
    for x in statements(s.body):
        for e in expressions(x):
            always = set(_unconditional(e))
            for load in loads(e):
                if load.buffer not in written and (load in always or _in_bounds(load, s.axis, n, printer)):
                    _note(found, s, n, load, True, printer)
        if isinstance(x, Store):
            _note(found, s, n, Load(x.buffer, x.index), False, printer)
    return list(found.values())


@dataclass(frozen=True)
class Copy:
    """`to[..] = from[..]` of a whole vector loop, as one value of `type`; where `condition` does not hold, of zeros."""

    type: str
    to: Load
    source: Load
    condition: Expr | None


_BITS = {4: "unsigned", 8: "uint2", 16: "uint4"}


def copy_of(s: For, n: int, printer: Values, aligned: frozenset[str]) -> Copy | None:
    """A loop that copies neighbouring elements of 16 or 8 bits under one condition; `aligned`: arrays that begin at 16 bytes."""
    store = s.body[0] if len(s.body) == 1 else None
    if not isinstance(store, Store):
        return None
    condition, value = _guarded(store.value)
    home = printer.homes[store.buffer]
    if not isinstance(value, Load) or (home.kind == "array" and store.buffer not in aligned) or home.kind == "register":
        return None
    source = printer.homes[value.buffer]
    kind = _BITS.get(n * BYTES[home.buffer.dtype])
    if kind is None or BYTES[home.buffer.dtype] > 2 or source.kind != "memory" or source.buffer.dtype != home.buffer.dtype:
        return None
    to = Load(store.buffer, store.index)
    if not all(x.index and _neighbours(x, s.axis, n, printer) for x in (to, value)):
        return None
    if condition is not None and not all(_uniform(c, s.axis, n) for c in _conjuncts(condition)):
        return None
    first = {s.axis: Const(0)}
    at = [Load(x.buffer, tuple(simplify(substitute(i, first)) for i in x.index)) for x in (to, value)]
    return Copy(kind, at[0], at[1], None if condition is None else simplify(substitute(condition, first)))


def _guarded(value: Expr) -> tuple[Expr | None, Expr]:
    """`select(c, x, 0)` as c and x."""
    if isinstance(value, Op) and value.name == "select" and isinstance(value.args[2], Const) and value.args[2].value == 0:
        return value.args[0], value.args[1]
    return None, value


def _conjuncts(c: Expr) -> list[Expr]:
    return [x for a in c.args for x in _conjuncts(a)] if isinstance(c, Op) and c.name == "and" else [c]


def _uniform(c: Expr, axis: str, n: int) -> bool:
    """`a + v < b` is one and the same for `v` in 0..n where a and b are multiples of n."""
    if axis not in names(c):
        return True
    if not (isinstance(c, Op) and c.name == "<"):
        return False
    form = affine(Op("-", c.args))
    return form.pop(Var(axis), 0) == 1 and all(q % n == 0 for q in form.values()) and not any(axis in names(k) for k in form if k is not None)


def _unconditional(e: Expr) -> list[Load]:
    """The loads that are made whatever the conditions in `e`: a wide load must not read what a `select` keeps from being read."""
    if isinstance(e, Op):
        return [x for a in (e.args[:1] if e.name in ("select", "and", "or") else e.args) for x in _unconditional(a)]
    if isinstance(e, Cast):
        return _unconditional(e.value)
    return loads(e)


def _in_bounds(load: Load, axis: str, n: int, printer: Values) -> bool:
    """Whether the element is there for every value of the axes in scope."""
    ranges = {**printer.ranges, axis: (0, n - 1)}
    for i, d in zip(load.index, printer.homes[load.buffer].buffer.shape):
        low, high = bounds(i, ranges)  # type: ignore[arg-type]
        extent = as_int(d)
        if low is None or high is None or extent is None or low < 0 or high >= extent:
            return False
    return True


def _note(found: dict, s: For, n: int, load: Load, is_load: bool, printer: Values) -> None:
    home = printer.homes[load.buffer]
    kind = _TYPES.get((home.buffer.dtype, n))
    if home.kind != "memory" or kind is None or home.buffer.space == "shared" or not load.index:
        return
    if not _neighbours(load, s.axis, n, printer):
        return
    start = tuple(simplify(substitute(i, {s.axis: Const(0)})) for i in load.index)
    found.setdefault((str(load), is_load), Packet(load.buffer, load.index, start, kind, load if is_load else None))


def _neighbours(load: Load, axis: str, n: int, printer: Values) -> bool:
    """The flat offset is `v` and multiples of n."""
    if any(axis in names(i) for i in load.index[:-1]):
        return False
    form = affine(printer.offset(load.buffer, load.index))
    if form.pop(Var(axis), 0) != 1:
        return False
    return all(c % n == 0 for c in form.values()) and not any(axis in names(k) for k in form if k is not None)
