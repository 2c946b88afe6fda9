"""Which elements a kernel touches. A kernel and a launch come in, the index range per pointer parameter goes out.

The kernel is walked once with NumPy arrays that hold the integers of all threads at once; counted loops add an axis. What depends on
loaded data or on floats is unknown, and so is an index made of it. Used to infer launches and buffer sizes; nothing is compiled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import tree as t

_LIMIT = 1 << 23  # lanes in one array
_AXES = ("x", "y", "z")
_ROUNDS = 64  # iterations of a loop that is not counted


@dataclass
class Touched:
    """What one pointer parameter is used for. `low:high` is the range of known indices (half-open), `dynamic` is set when
    some index depends on data. `read_first`: some element is read that this launch has not written before."""

    low: int = 0
    high: int = 0
    reads: bool = False
    writes: bool = False
    dynamic: bool = False
    read_first: bool = False
    written: list[np.ndarray] = field(default_factory=list, repr=False)
    accumulates: bool = False

    @property
    def write_count(self) -> int:
        return sum(w.size for w in self.written)

    @property
    def write_once(self) -> bool:
        """Whether no two of the recorded lanes of one store statement write the same element."""
        return all(np.unique(w).size == w.size for w in self.written)

    @property
    def write_extent(self) -> int:
        return max((int(w.max()) + 1 for w in self.written if w.size), default=0)

    @property
    def write_cover(self) -> float:
        """Written elements over the range that they span."""
        if not self.write_extent:
            return 0.0
        return np.unique(np.concatenate(self.written)).size / self.write_extent


@dataclass
class Footprint:
    """Per pointer parameter what is touched; `live` per block of the range: whether a thread of it stores anything."""

    touched: dict[str, Touched]
    live: np.ndarray
    exact: bool = True


class Unknown(Exception):
    """The walk met something that it cannot follow (an unstructured loop, a pointer that moves)."""


def footprint(
    function: t.Function,
    block: tuple[int, int, int],
    grid: tuple[int, int, int],
    scalars: dict[str, int] | None = None,
    *,
    macros: dict[str, int] | None = None,
    first_block: int = 0,
) -> Footprint:
    """Walks `function` for the blocks `first_block .. grid[0]` (and all y, z). Raises Unknown."""
    return _Walk(function, block, grid, {**(macros or {}), **(scalars or {})}, first_block).run()


@dataclass(frozen=True)
class _Pointer:
    """A pointer value: a parameter and an element offset (None: unknown)."""

    parameter: str
    offset: Any


class _Walk:
    def __init__(self, function: t.Function, block, grid, scalars: dict[str, int], first: int):
        self.function = function
        lanes = (grid[0] - first) * grid[1] * grid[2] * block[0] * block[1] * block[2]
        if lanes > _LIMIT:
            raise Unknown(f"{lanes} threads")
        self.shape: list[int] = [grid[2], grid[1], grid[0] - first, block[2], block[1], block[0]]
        self.places = {}
        for i, axis in enumerate(("z", "y", "x")):
            base = first if axis == "x" else 0
            self.places["blockIdx", axis] = self._axis(i, np.arange(base, base + self.shape[i]))
            self.places["threadIdx", axis] = self._axis(3 + i, np.arange(self.shape[3 + i]))
        for axis, b, g in zip(_AXES, block, grid):
            self.places["blockDim", axis], self.places["gridDim", axis] = b, g
        self.env: dict[str, Any] = dict(scalars)
        self.touched = {p.name: Touched() for p in function.params if p.is_pointer}
        for p in function.params:
            if p.is_pointer:
                self.env[p.name] = _Pointer(p.name, 0)
        self.axes = 6
        self.live = np.zeros(grid[0] - first, bool)
        self.mask: Any = True
        self.exact = True
        self.relevant = _index_names(function.body)

    def _axis(self, i: int, values: np.ndarray) -> np.ndarray:
        """Values along axis `i` counted from the left, leaving room for loops on the right."""
        return values.reshape([-1] + [1] * (5 - i)).astype(np.int64) if i < 6 else values

    def run(self) -> Footprint:
        with contextlib.suppress(_Stop):
            self.body(self.function.body)
        return Footprint(self.touched, self.live, self.exact)

    # --- statements

    def body(self, statements: t.Body) -> None:
        with self.scope(statements):
            for s in statements:
                self.statement(s)

    @contextlib.contextmanager
    def scope(self, statements: t.Body) -> Iterator[None]:
        """What the statements declare hides variables of the same name until their end."""
        declared = {d.name for s in statements if isinstance(s, t.Declare) for d in s.declarators}
        hidden = {name: self.env[name] for name in declared if name in self.env}
        try:
            yield
        finally:
            self.env |= hidden

    def statement(self, s: t.Stmt) -> None:
        if isinstance(s, t.Declare):
            for d in s.declarators:
                self.declare(s, d)
        elif isinstance(s, t.Evaluate):
            self.value(s.value)
        elif isinstance(s, t.If):
            self.branch(s)
        elif isinstance(s, t.For):
            self.loop(s)
        elif isinstance(s, t.Block):
            self.body(s.body)
        elif isinstance(s, t.Return):
            raise _Stop
        elif isinstance(s, (t.Comment, t.Pragma)):
            pass
        elif isinstance(s, (t.Break, t.Continue)):
            self.exact = False  # what follows is taken to run: more is touched, never less
        elif isinstance(s, (t.While, t.DoWhile)):
            self.unknown_rounds(s)
        elif isinstance(s, t.Switch):
            self.exact = False
            self.value(s.value)
            self.under(self.mask, *(inner for _, inner in s.cases))
            self.unsettle(s)
        else:
            raise Unknown(type(s).__name__)

    def unknown_rounds(self, s: t.While | t.DoWhile) -> None:
        """A loop of unknown length: one round, in which what it changes is unknown."""
        self.exact = False
        self.unsettle(s)
        self.value(s.cond)
        self.arm(self.mask, s.body)

    def unsettle(self, s: t.Stmt) -> None:
        """What the statement may change is unknown."""
        for n in t.walk((s,)):
            target = n.target if isinstance(n, t.Assign) else n.value if isinstance(n, t.Unary) and n.op in ("++", "--") else None
            if isinstance(target, t.Name):
                self.env[target.text] = None

    def declare(self, s: t.Declare, d: t.Declarator) -> None:
        value = self.value(d.init) if d.init is not None else None
        if d.extents:
            value = None
        if value is not None and not isinstance(value, _Pointer) and not _is_integer_type(s.type, value):
            value = None
        self.env[d.name] = value

    def branch(self, s: t.If) -> None:
        cond = self.value(s.cond)
        before = self.mask
        if cond is None:
            self.under(before, s.then, s.orelse)
            return
        cond = _truth(cond)
        left = self.arm(before & cond, s.then)
        right = self.arm(before & ~cond, s.orelse) if s.orelse else False
        self.mask = before
        if left is not False or right is not False:
            gone = (cond if left else False) | (~cond if right else False)
            self.mask = before & ~np.asarray(gone)

    def arm(self, mask: Any, statements: t.Body) -> bool:
        """Walks an arm; True when it ends in return (or continue, which leaves the rest of a loop's body)."""
        self.mask = mask
        try:
            self.body(statements)
        except _Stop:
            return True
        return False

    def under(self, before: Any, *arms: t.Body) -> None:
        for arm in arms:
            self.arm(before, arm)
        self.mask = before

    def loop(self, s: t.For) -> None:
        counted = self.counted(s)
        before = self.mask
        with self.scope((s.init,) if s.init is not None else ()):
            if counted is None:
                self.iterate(s)
            elif counted[1].size:
                self.run_counted(*counted, s.body)
        self.mask = before

    def counted(self, s: t.For) -> tuple[str, np.ndarray] | None:
        """`for (int v = a; v < b; v += c)` with the same a, b, c for all threads."""
        name, start = _loop_start(s.init)
        if name is None or start is None or s.cond is None or s.step is None:
            return None
        step = _loop_step(s.step, name)
        limit = _loop_limit(s.cond, name)
        if step is None or limit is None:
            return None
        lo, by, (op, bound) = self.value(start), self.value(step), (limit[0], self.value(limit[1]))
        if not all(isinstance(v, (int, np.integer)) for v in (lo, by, bound)) or int(by) == 0:
            return None
        stop = int(bound) + (1 if op == "<=" else -1 if op == ">=" else 0)
        return name, np.arange(int(lo), stop, int(by), dtype=np.int64)

    def run_counted(self, name: str, values: np.ndarray, body: t.Body) -> None:
        lanes = int(np.prod(self.shape, dtype=np.int64))
        if name not in self.relevant or lanes * values.size > _LIMIT:
            self.exact &= name not in self.relevant
            values = np.unique(values[[0, -1]])
        old = dict(self.env)
        self.env[name] = self.push(values)
        with contextlib.suppress(_Stop):
            self.body(body)
        self.env = self.forget(old)
        self.shape.pop()
        self.places = {k: v[..., 0] if isinstance(v, np.ndarray) else v for k, v in self.places.items()}

    def push(self, values: np.ndarray) -> np.ndarray:
        """A new last axis; every array known so far is broadcast over it."""
        self.shape.append(values.size)
        self.places = {k: v[..., None] if isinstance(v, np.ndarray) else v for k, v in self.places.items()}
        self.env = {k: _deeper(v) for k, v in self.env.items()}
        self.mask = _deeper(self.mask)
        return values

    def forget(self, old: dict[str, Any]) -> dict[str, Any]:
        """After a loop: what it changed is unknown."""
        same = {}
        for k, v in old.items():
            now = self.env.get(k)
            kept = now is v or (isinstance(now, np.ndarray) and isinstance(v, np.ndarray) and now.base is v.base and now.base is not None)
            kept = kept or _same(now, v)
            same[k] = v if kept else None
        return same

    def iterate(self, s: t.For) -> None:
        """A loop whose bounds differ between threads: the first rounds one by one."""
        if s.init is not None:
            self.statement(s.init)
        rounds = 0
        while rounds < _ROUNDS:
            cond = self.value(s.cond) if s.cond is not None else True
            if cond is None:
                self.exact = False
                self.arm(self.mask, s.body)
                return
            self.mask = self.mask & _truth(cond)
            if not np.any(self.mask):
                return
            mask = self.mask
            self.arm(mask, s.body)
            self.mask = mask
            if s.step is not None:
                self.value(s.step)
            rounds += 1
        self.exact = False

    # --- expressions

    def value(self, e: t.Expr) -> Any:
        """Integers of all threads, a `_Pointer`, or None for unknown."""
        if isinstance(e, t.Literal):
            return _integer(e.text)
        if isinstance(e, t.Name):
            return self.env.get(e.text)
        if isinstance(e, t.Binary):
            return self.binary(e)
        if isinstance(e, t.Index):
            return self.access(e, read=True)
        if isinstance(e, t.Assign):
            return self.assign(e)
        if isinstance(e, t.Member):
            key = (e.value.text, e.name) if isinstance(e.value, t.Name) else None
            if key in self.places:
                return self.places[key]
            self.value(e.value)
            return None
        if isinstance(e, t.Cast):
            return self.cast(e)
        if isinstance(e, t.Conditional):
            return self.conditional(e)
        if isinstance(e, t.Unary):
            return self.unary(e)
        if isinstance(e, t.Call):
            return self.call(e)
        if isinstance(e, t.Lambda):  # what it touches when it is called is not followed
            self.exact = False
            return None
        for part in e.parts:
            if not isinstance(part, str):
                self.value(part)
        return None

    def cast(self, e: t.Cast) -> Any:
        value = self.value(e.value)
        if isinstance(value, _Pointer):
            return value if "*" in e.type and "4" not in e.type and "2" not in e.type else None
        return value if _is_integer_name(e.type) else None

    def binary(self, e: t.Binary) -> Any:
        left = self.value(e.left)
        if e.op in ("&&", "||"):
            return self.lazy(e, left)
        right = self.value(e.right)
        if isinstance(left, _Pointer) or isinstance(right, _Pointer):
            pointer, other = (left, right) if isinstance(left, _Pointer) else (right, left)
            if e.op != "+" or other is None or isinstance(other, _Pointer) or pointer.offset is None:
                return _Pointer(pointer.parameter, None) if e.op in "+-" else None
            return _Pointer(pointer.parameter, pointer.offset + other)
        if left is None or right is None:
            return None
        return _arithmetic(e.op, left, right)

    def lazy(self, e: t.Binary, left: Any) -> Any:
        before = self.mask
        if left is not None:
            self.mask = before & (_truth(left) if e.op == "&&" else ~np.asarray(_truth(left)))
        right = self.value(e.right)
        self.mask = before
        if left is None or right is None:
            return None
        return _truth(left) & _truth(right) if e.op == "&&" else _truth(left) | _truth(right)

    def conditional(self, e: t.Conditional) -> Any:
        cond = self.value(e.cond)
        before = self.mask
        if cond is not None:
            self.mask = before & _truth(cond)
        then = self.value(e.then)
        if cond is not None:
            self.mask = before & ~np.asarray(_truth(cond))
        orelse = self.value(e.orelse)
        self.mask = before
        if cond is None or then is None or orelse is None or isinstance(then, _Pointer) or isinstance(orelse, _Pointer):
            return None
        return np.where(_truth(cond), then, orelse)

    def unary(self, e: t.Unary) -> Any:
        if e.op in ("++", "--"):
            by = t.Literal("1")
            return self.assign(t.Assign("+=" if e.op == "++" else "-=", e.value, by))
        if e.op == "*":
            return self.access(t.Index(e.value, t.Literal("0")), read=True)
        if e.op == "&" and isinstance(e.value, t.Index):
            base, index = self.value(e.value.base), self.value(e.value.index)
            if isinstance(base, _Pointer):
                known = base.offset is not None and index is not None and not isinstance(index, _Pointer)
                return _Pointer(base.parameter, base.offset + index if known else None)  # pyright: ignore[reportOptionalOperand, reportOperatorIssue]
            return None
        value = self.value(e.value)
        if value is None or isinstance(value, _Pointer):
            return None
        return {"-": lambda v: -v, "!": lambda v: ~np.asarray(_truth(v)), "+": lambda v: v, "~": lambda v: ~v}.get(e.op, lambda v: None)(value)

    def assign(self, e: t.Assign) -> Any:
        value = self.value(e.value)
        if isinstance(e.target, t.Name):
            if e.op != "=":
                self.env["\0"] = value  # the right side, evaluated once, under a name that no program has
                value = self.binary(t.Binary(e.op[:-1], e.target, t.Name("\0")))
            old = self.env.get(e.target.text)
            if value is not None and self.mask is not True and not isinstance(value, _Pointer):
                value = np.where(self.mask, value, old) if old is not None and not isinstance(old, _Pointer) else None
            self.env[e.target.text] = value
            return value
        place = self._place(e.target)
        if place is not None:
            if e.op != "=":
                self.record(place, read=True)
                self.touched[place.parameter].accumulates = True
            self.record(place, read=False)
        else:
            self.value(e.target) if not isinstance(e.target, (t.Index, t.Member, t.Unary)) else self._index_only(e.target)
        return None

    def _index_only(self, e: t.Expr) -> None:
        if isinstance(e, t.Index):
            self.value(e.index)

    def call(self, e: t.Call) -> Any:
        name = t.called(e)
        if name.startswith("atomic") and e.args:
            place = self._address(e.args[0])
            if place is not None:
                self.record(place, read=True)
                self.record(place, read=False, ordered=True)
        values = [self.value(a) for a in e.args]
        if name == "__ldg" and isinstance(values[0], _Pointer):
            self.record(values[0], read=True)
            return None
        if name in ("min", "max") and len(values) == 2 and not any(v is None or isinstance(v, _Pointer) for v in values):
            return (np.minimum if name == "min" else np.maximum)(*values)
        return None

    def _address(self, e: t.Expr) -> _Pointer | None:
        value = self.value(e)
        return value if isinstance(value, _Pointer) else None

    def _place(self, e: t.Expr) -> _Pointer | None:
        if isinstance(e, t.Unary) and e.op == "*":
            return self._address(e.value)
        if not isinstance(e, t.Index):
            return None
        base = self.value(e.base) if not isinstance(e.base, t.Index) else None
        if not isinstance(base, _Pointer):
            return None
        index = self.value(e.index)
        known = index is not None and not isinstance(index, _Pointer) and base.offset is not None
        return _Pointer(base.parameter, base.offset + index if known else None)  # pyright: ignore[reportOperatorIssue]

    def access(self, e: t.Index, read: bool) -> Any:
        place = self._place(e)
        if place is None:
            self.value(e.index)
            if isinstance(e.base, t.Index):
                self.value(e.base)
            return None
        self.record(place, read)
        return None

    def record(self, place: _Pointer, read: bool, ordered: bool = False) -> None:
        entry = self.touched[place.parameter]
        if not np.any(self.mask):
            return
        if read:
            entry.read_first |= not entry.writes
            entry.reads = True
        else:
            entry.writes = True
            self.mark_live()
        if place.offset is None:
            entry.dynamic = True
            return
        index = self.lanes_of(np.asarray(place.offset))
        if not index.size:
            return
        entry.low, entry.high = min(entry.low, int(index.min())), max(entry.high, int(index.max()) + 1)
        if not read and not ordered:
            entry.written.append(index)

    def lanes_of(self, offset: np.ndarray) -> np.ndarray:
        """The index of every thread that is active; loops that the index does not depend on count once."""
        offset = offset.reshape((1,) * (len(self.shape) - offset.ndim) + offset.shape)
        mask = np.broadcast_to(self.mask, self.shape)
        idle = tuple(i for i in range(6, offset.ndim) if offset.shape[i] == 1)
        mask = mask.any(axis=idle, keepdims=True)
        return np.broadcast_to(offset, mask.shape)[mask]

    def mark_live(self) -> None:
        mask = np.broadcast_to(self.mask, self.shape)
        self.live |= mask.any(axis=tuple(i for i in range(mask.ndim) if i != 2))


class _Stop(Exception):
    """A return, or the end of what a thread does."""


def _truth(v: Any) -> Any:
    return v if isinstance(v, (bool, np.bool_)) or (isinstance(v, np.ndarray) and v.dtype == bool) else np.asarray(v) != 0


def _deeper(v: Any) -> Any:
    if isinstance(v, _Pointer):
        return _Pointer(v.parameter, _deeper(v.offset))
    return v[..., None] if isinstance(v, np.ndarray) and v.ndim else v


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, _Pointer) and isinstance(b, _Pointer):
        return a.parameter == b.parameter and _same(a.offset, b.offset)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.size == b.size and bool((a.ravel() == b.ravel()).all())
    return type(a) is type(b) and not isinstance(a, np.ndarray) and a == b


def _arithmetic(op: str, a: Any, b: Any) -> Any:
    if op in ("/", "%"):
        if np.any(np.asarray(b) == 0):
            return None
        if np.all(np.asarray(a) >= 0) and np.all(np.asarray(b) > 0):
            value = a // b if op == "/" else a % b
        else:  # C truncates
            quotient = np.floor_divide(np.abs(a), np.abs(b)) * np.sign(a) * np.sign(b)
            value = quotient if op == "/" else a - quotient * b
        return int(value) if np.ndim(value) == 0 else value
    rules = {
        "+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "<<": lambda: a << b, ">>": lambda: a >> b,
        "&": lambda: a & b, "|": lambda: a | b, "^": lambda: a ^ b, "<": lambda: a < b, "<=": lambda: a <= b,
        ">": lambda: a > b, ">=": lambda: a >= b, "==": lambda: a == b, "!=": lambda: a != b, ",": lambda: b,
    }  # fmt: skip
    return rules[op]()


def _integer(text: str) -> int | None:
    if text in ("true", "false"):
        return int(text == "true")
    digits = text.replace("'", "").rstrip("uUlL")
    try:
        return int(digits, 0) if digits != "0" and not (digits.startswith("0") and digits.isdigit()) else int(digits, 8)
    except ValueError:
        return None


_INTEGERS = {
    "int", "unsigned", "long", "short", "char", "size_t", "int64_t", "int32_t", "uint32_t", "uint64_t", "uint", "auto", "bool", "signed",
    "index_t",
}  # fmt: skip


def _is_integer_name(type_: str) -> bool:
    return "*" not in type_ and any(w in _INTEGERS for w in type_.replace("::", " ").split())


def _is_integer_type(type_: str, value: Any) -> bool:
    return _is_integer_name(type_)


def _loop_start(init: t.Stmt | None) -> tuple[str | None, t.Expr | None]:
    if isinstance(init, t.Declare) and len(init.declarators) == 1:
        return init.declarators[0].name, init.declarators[0].init
    if isinstance(init, t.Evaluate) and isinstance(init.value, t.Assign) and isinstance(init.value.target, t.Name):
        return init.value.target.text, init.value.value
    return None, None


def _loop_step(step: t.Expr, name: str) -> t.Expr | None:
    if isinstance(step, t.Unary) and step.value == t.Name(name):
        return t.Literal("1") if step.op == "++" else t.Unary("-", t.Literal("1")) if step.op == "--" else None
    if isinstance(step, t.Assign) and step.target == t.Name(name):
        return step.value if step.op == "+=" else t.Unary("-", step.value) if step.op == "-=" else None
    return None


def _loop_limit(cond: t.Expr, name: str) -> tuple[str, t.Expr] | None:
    if isinstance(cond, t.Binary) and cond.op in ("<", "<=", ">", ">=") and cond.left == t.Name(name):
        return cond.op, cond.right
    return None


def _index_names(body: t.Body) -> frozenset[str]:
    """Names that stores' indices or conditions are made of, directly or through other variables."""
    seeds: set[str] = set()
    flows: list[tuple[str, frozenset[str]]] = []
    for n in t.walk(body):
        if isinstance(n, t.Assign) and not isinstance(n.target, t.Name):
            seeds |= t.names(n.target)
        elif isinstance(n, t.Assign) and isinstance(n.target, t.Name):
            flows.append((n.target.text, t.names(n.value)))
        elif isinstance(n, t.Declare):
            flows += [(d.name, t.names(d.init)) for d in n.declarators if d.init is not None]
        elif isinstance(n, t.Call) and t.called(n).startswith("atomic"):
            seeds |= t.names(n.args[0])
    grown = True
    while grown:
        fresh = {u for name, used in flows if name in seeds for u in used} - seeds
        seeds |= fresh
        grown = bool(fresh)
    return frozenset(seeds)
