"""Where each buffer of an expanded Program lives. Comes in: the program and the vector length. Goes out: one `Home` per buffer and
the layout of the scratch memory.

- memory: params, scratch, and locals that are too large, of symbolic shape, or indexed in a way registers cannot be;
- registers: locals of constant shape; `wide` when an element is a native vector (the last index is the vector axis, or the buffer
  is allocated below the vector loop); `named` when every index is a constant, so that each element is a C++ variable.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ....ir.diagnostic import IllegalProgram
from ....ir.expr import Const, Expr, Load, Op, Var, add, as_int, bounds, floordiv, mul, names
from ....ir.intrinsic import INTRINSICS
from ....ir.kernel import Alloc, Body, Buffer, Call, For, If, Program, Stmt
from ....ir.text import print_expr
from ....ir.types import BYTES
from .expand import Env, as_ranges, dim_ranges, fold, inside, places, varies

STACK_BYTES = 1 << 15  # larger locals move to scratch
NAMED = 512  # most C++ variables one buffer may become
ALIGN = 64


@dataclass(frozen=True)
class Home:
    """`where`: param | scratch | thread (scratch of one thread) | stack | register. `vectors`: native vectors per last-axis row of a wide
    register buffer. `private`: allocated below a vector loop, so every lane has its own."""

    where: str
    wide: bool = False
    named: bool = False
    private: bool = False
    vectors: int = 1

    @property
    def memory(self) -> bool:
        return self.where != "register"


@dataclass(frozen=True)
class Access:
    """One use of a buffer: below which vector loop (axis and extent) and parallel region it stands; `call`: the intrinsic that is given
    its address, `vector` where that intrinsic takes a whole native vector in a register."""

    index: tuple[Expr, ...]
    lane: tuple[str, int] | None
    region: int
    call: str = ""


@dataclass
class Uses:
    buffer: Buffer
    lane: tuple[str, int] | None
    region: int
    env: Env
    dims: frozenset[str]
    accesses: list[Access] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """Homes by buffer name, byte offsets of scratch buffers, bytes of the shared part and of each thread's part."""

    buffers: dict[str, Buffer]
    homes: dict[str, Home]
    offsets: dict[str, Expr]
    shared: Expr
    thread: Expr


def layout(p: Program, lanes: int) -> Layout:
    """Places every buffer of an expanded program."""
    uses = _collect(p)
    homes = {b.name: Home("param") for b in p.params}
    homes |= {name: _home(u, lanes, uses) for name, u in uses.items()}
    offsets: dict[str, Expr] = {}
    total: dict[str, Expr] = {"scratch": Const(0), "thread": Const(0)}
    for name, u in uses.items():
        where = homes[name].where
        if where in total:
            offsets[name] = total[where]
            total[where] = add(total[where], _bytes(u))
    buffers = {b.name: b for b in p.params} | {name: u.buffer for name, u in uses.items()}
    return Layout(buffers, homes, offsets, total["scratch"], total["thread"])


# ------------------------------------------------------------------------------------------------ collect uses
def _collect(p: Program) -> dict[str, Uses]:
    collector = _Collector(frozenset(d.name for d in p.dims))
    collector.body(p.body, dim_ranges(p), None, 0)
    return collector.uses


def _held(s: Stmt, place: Load) -> str:
    """How a statement's intrinsic takes a place."""
    if not isinstance(s, Call):
        return ""
    in_register = INTRINSICS[s.intrinsic].code("registers") is not None and place is s.operands[0]
    return "vector" if in_register else s.intrinsic


class _Collector:
    def __init__(self, dims: frozenset[str]):
        self.dims = dims
        self.uses: dict[str, Uses] = {}
        self.regions = 0

    def body(self, body: Body, env: Env, lane: tuple[str, int] | None, region: int) -> None:
        for s in body:
            if isinstance(s, Alloc):
                self.uses[s.buffer.name] = Uses(s.buffer, lane, region, env, self.dims)
            for place in places(s):
                if place.buffer in self.uses:
                    self.uses[place.buffer].accesses.append(Access(place.index, lane, region, _held(s, place)))
            if isinstance(s, For):
                self._loop(s, env, lane, region)
            elif isinstance(s, If):
                self.body(s.body, env, lane, region)

    def _loop(self, s: For, env: Env, lane: tuple[str, int] | None, region: int) -> None:
        if s.kind == "block" and region == 0:
            self.regions += 1
            region = self.regions
        if s.kind == "vector":
            lane = (s.axis, as_int(s.hi) or 0)
        self.body(s.body, inside(env, s), lane, region)


# ------------------------------------------------------------------------------------------------ choose homes
def elements(b: Buffer) -> int | None:
    """Number of elements of a constant shape."""
    n = 1
    for d in b.shape:
        v = as_int(d)
        if v is None:
            return None
        n *= v
    return n


def _home(u: Uses, lanes: int, uses: dict[str, Uses]) -> Home:
    count = elements(u.buffer)
    same_region = all(a.region == u.region for a in u.accesses)
    if u.lane is not None and count is not None:
        vectors = -(-u.lane[1] // lanes)
        named = _constant(u, len(u.buffer.shape)) and count * vectors <= NAMED
        return Home("register", wide=True, named=named, private=True, vectors=vectors)
    small = count is not None and count * BYTES[u.buffer.dtype] <= STACK_BYTES
    if u.buffer.space != "scratch" and small and same_region and all(a.call in ("", "vector") for a in u.accesses):
        register = _register(u, lanes, count or 0, {n for n, x in uses.items() if x.lane is not None})
        if register:
            return register
    if u.buffer.space != "scratch" and small:
        return Home("stack")
    return Home("thread" if u.region else "scratch")


def _register(u: Uses, lanes: int, count: int, private: set[str]) -> Home | None:
    if u.accesses and all(_on_lanes(u.buffer, a, lanes, private) for a in u.accesses):
        vectors = -(-(as_int(u.buffer.shape[-1]) or 0) // lanes)
        named = _constant(u, len(u.buffer.shape) - 1) and -(-count // lanes) <= NAMED
        return Home("register", wide=True, named=named, vectors=vectors)
    uniform = not any(a.call for a in u.accesses) and all(a.lane is None or not any(varies(i, a.lane[0], private) for i in a.index) for a in u.accesses)
    if uniform and count <= NAMED and _constant(u, len(u.buffer.shape)):
        return Home("register", named=True)
    return None


def _constant(u: Uses, dims: int) -> bool:
    return all(as_int(i) is not None for a in u.accesses for i in a.index[:dims])


def _on_lanes(b: Buffer, a: Access, lanes: int, private: set[str]) -> bool:
    """The last index is the vector axis plus a whole number of native vectors, the others are alike on all lanes. An intrinsic takes a whole
    vector of the right length, at a place known now."""
    if a.call:
        return lanes == 16 and all(as_int(i) is not None for i in a.index) and (as_int(a.index[-1]) or 0) % lanes == 0
    if a.lane is None or not a.index or any(varies(i, a.lane[0], private) for i in a.index[:-1]):
        return False
    first = lane_offset(a.index[-1], a.lane[0])
    whole = a.lane[1] % lanes == 0 or (as_int(b.shape[-1]) or 0) - (first or 0) == a.lane[1]
    return first is not None and first % lanes == 0 and whole


def lane_offset(e: Expr, axis: str) -> int | None:
    """k when e is `axis + k` for a constant k."""
    return as_int(fold(Op("-", (e, Var(axis))), {}))


# ------------------------------------------------------------------------------------------------ scratch
def _bytes(u: Uses) -> Expr:
    """Bytes of a buffer, rounded up to whole cache lines; an extent that depends on axes takes its upper bound."""
    total: Expr = Const(BYTES[u.buffer.dtype])
    for extent in u.buffer.shape:
        total = mul(total, _upper(extent, u))
    return mul(floordiv(add(total, ALIGN - 1), ALIGN), ALIGN)


def _upper(extent: Expr, u: Uses) -> Expr:
    if names(extent) <= u.dims:
        return extent
    _, hi = bounds(extent, as_ranges(u.env))
    if hi is None:
        raise IllegalProgram(f"the extent of scratch buffer `{u.buffer.name}` has no upper bound: {print_expr(extent)}")
    return Const(hi)
