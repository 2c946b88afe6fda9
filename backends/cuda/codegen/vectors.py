"""Wide accesses of a vector loop. A loop of 2 or 4 elements comes in; the loads and stores in it that move neighbours go out.

A load `x[e + v]` over `v` in 0..4 is one `float4` when e is surely a multiple of 4; buffers start at aligned addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....ir.expr import Cast, Const, Expr, Load, Op, Var, affine, as_int, bounds, loads, names, simplify, substitute
from ....ir.kernel import Alloc, For, If, Store, expressions, statements, writes

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
