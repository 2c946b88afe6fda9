"""One CUDA kernel as a C++ function. A kernel, its file and its launch come in, the function's text goes out.

The steps, in order: `prepare` (functions that synchronise written out), `places` (short names for indices), `lower` (shuffles become
stores, barriers and loads), `uniform` (what is kept once per block), `split` (regions between barriers), `strided` (loops over the block
turned inside out), `assemble` (regions as loops over threads), here the loops over blocks, and `peel` (guards of last iterations).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ....frontend.cuda import text
from ....frontend.cuda import tree as t
from ....frontend.cuda.read import UnsupportedCuda
from .assemble import MOST_THREADS, Assembler, Block
from .fold import fold
from .inline import assigned
from .linear import linear_loop
from .lower import Lowering
from .peel import peeled
from .places import Places, named_places
from .prepare import constants, prepare
from .split import Splitter
from .strided import turn
from .sync import BARRIERS, COLLECTIVES, UNSUPPORTED
from .types import declared_type, plain, returns_of
from .uniform import Uniform, own_escapes

_SMALL = 1 << 15  # element operations below which a team of threads costs more than it brings
_WORDS = (*BARRIERS, *COLLECTIVES, *UNSUPPORTED)


@dataclass(frozen=True)
class Geometry:
    """What is known of a launch. `grid`, `block`: numbers, or None where they come at run time, with the axes that can exceed 1."""

    grid: tuple[int, int, int] | None = None
    block: tuple[int, int, int] | None = None
    shared_bytes: int | None = None
    grid_axes: str = "xyz"
    block_axes: str = "xyz"


@dataclass(frozen=True)
class KernelCode:
    """The text of a function. `path`: fission; `why`: what made it so, in words; `fixed`: the launch is compiled in, else it takes
    grid and block, and with `takes_shared` the size of dynamic shared memory; `types`: its parameters' types."""

    name: str
    text: str
    path: str
    why: str
    takes_shared: bool = False
    regions: int = 1
    fixed: bool = False
    types: tuple[str, ...] = ()
    tree: t.Body = field(default=(), repr=False, compare=False)


def kernel_code(kernel: t.Function, file: t.CudaFile, geometry: Geometry, *, name: str = "", linkage: str = "static ") -> KernelCode:
    """The C++ function of a kernel. Raises UnsupportedCuda with line and reason."""
    prepared = prepare(kernel, file)
    _refuse_hidden(prepared, file)
    fixed, body = constants(prepared)
    prepared = replace(prepared, body=body)
    body, places = named_places(prepared)
    body = _known(body, geometry)
    prepared = replace(prepared, body=body)
    body, places = _flat_axes(prepared, places, geometry)
    prepared = replace(prepared, body=body)
    returns = returns_of(file)
    aliases = sorted([*fixed, *(s for s in body if _is_alias(s))], key=lambda s: s.line)  # each may name what stands before it
    body = tuple(s for s in body if not _is_alias(s))
    prepared = replace(prepared, body=body)
    line = linear_loop(prepared, places, geometry, _waits)
    if line is not None:
        return _code(kernel, geometry, [*aliases, *line], [], "no barrier: one loop over the elements", 1, name, linkage)
    lowered = Lowering(prepared, returns).lower(body)
    referenced = _by_reference(lowered.body, file) | frozenset(lowered.sent)
    declared = _declared(prepared, lowered.body)
    uniform = Uniform(lowered.body, frozenset(places.thread.values()), _waits, referenced)
    integers = frozenset(n for n, type_ in declared.items() if type_ in _INTEGERS) | places.all
    taken = frozenset((*declared, *t.names(lowered.body), *places.all))
    split = Splitter(uniform, _waits, taken, integers, assigned(lowered.body)).run(lowered.body)
    block = _block(geometry)
    regions = _count(split.items)
    if len(block.axes) == 1:
        split.items = turn(split.items, uniform, places.thread.get(block.axes, "tx"))
    assembled = Assembler(split, lowered, places, uniform, block, declared, returns).run()
    why = f"split at barriers into {regions} regions" if _waits(lowered.body) else "no barrier: blocks in parallel, threads in loops"
    return _code(kernel, geometry, [*aliases, *peeled(tuple(_blocks(assembled.body, places, geometry)))], assembled.dynamic, why, regions, name, linkage)


_INTEGERS = frozenset(("int", "unsigned", "unsigned int", "int64_t", "size_t", "long", "bool", "int32_t", "uint32_t", "long long", "short", "char", "uint64_t"))


def _is_alias(s: Any) -> bool:
    """`using T = ...;` and the like, which stand before everything in the function."""
    if not isinstance(s, t.Evaluate) or not isinstance(s.value, t.Opaque) or not isinstance(s.value.parts[0], str):
        return False
    return s.value.parts[0].split()[:1] in (["using"], ["typedef"], ["static_assert"], ["struct"])


def _waits(node: Any) -> bool:
    """Whether a lowered statement holds a barrier."""
    return any(isinstance(n, t.Call) and t.called(n) in BARRIERS for n in t.walk((node,) if not isinstance(node, tuple) else node))


def _refuse_hidden(kernel: t.Function, file: t.CudaFile) -> None:
    """Barriers in text that is not looked into (lambdas, macros) would be lost."""
    for function in (kernel, *(f for f in file.functions if f.kind == "device")):
        for n in t.walk(function.body):
            if isinstance(n, t.Opaque) and any(isinstance(p, str) and any(w in p for w in (*_WORDS, "threadIdx", "blockIdx")) for p in n.parts):
                raise UnsupportedCuda(f"line {function.line}: {function.name} synchronises or asks for its place inside a lambda")
    used = t.names(kernel.body)
    for name, value in file.macros:
        if name in used and any(word in value for word in (*_WORDS, "threadIdx", "blockIdx")):
            raise UnsupportedCuda(f"line {kernel.line}: macro {name} hides `{value[:40]}`")


def _known(body: t.Body, geometry: Geometry) -> t.Body:
    """Numbers for `blockDim` and `gridDim`, where the launch is known."""
    sizes = {"blockDim": geometry.block, "gridDim": geometry.grid}

    def change(n: Any) -> Any:
        if isinstance(n, t.Member) and isinstance(n.value, t.Name) and n.value.text in sizes and n.name in "xyz":
            known = sizes[n.value.text]
            return n if known is None else t.Literal(str(known["xyz".index(n.name)]))
        if isinstance(n, t.Cast) and n.type == "int" and isinstance(n.value, (t.Literal, t.Member)) and _is_size(n.value):
            return n.value
        return n

    return fold(t.rewrite(body, change))


def _is_size(e: t.Expr) -> bool:
    return isinstance(e, t.Literal) and e.text.isdigit()


def _flat_axes(kernel: t.Function, places: Places, geometry: Geometry) -> tuple[t.Body, Places]:
    """Indices along axes of extent 1 are 0."""
    zero: dict[str, t.Expr] = {}
    for axes, names in ((block_axes(geometry), places.thread), (grid_axes(geometry), places.block)):
        zero |= {name: t.Literal("0") for axis, name in names.items() if axis not in axes}
    body = fold(t.substitute(kernel.body, zero)) if zero else kernel.body
    kept = Places(*({a: n for a, n in names.items() if n not in zero} for names in (places.thread, places.block)))
    return body, kept


def block_axes(g: Geometry) -> str:
    """The block's axes that can exceed 1."""
    return g.block_axes if g.block is None else "".join(a for a, n in zip("xyz", g.block) if n > 1)


def grid_axes(g: Geometry) -> str:
    return g.grid_axes if g.grid is None else "".join(a for a, n in zip("xyz", g.grid) if n > 1)


def _block(g: Geometry) -> Block:
    axes = block_axes(g)
    if g.block is not None:
        sizes: dict[str, t.Expr] = {a: t.Literal(str(g.block["xyz".index(a)])) for a in axes}
        threads = g.block[0] * g.block[1] * g.block[2]
        return Block(sizes, axes, -(-threads // 32) * 32)
    return Block({a: t.Member(t.Name("blockDim"), ".", a) for a in axes}, axes, MOST_THREADS)


def _declared(kernel: t.Function, body: t.Body) -> dict[str, str]:
    found = {p.name: plain(p.type) + "*" * (p.mark.count("*") + len(p.extents)) for p in kernel.params}
    for n in t.walk(body):
        if isinstance(n, t.Declare):
            found |= {d.name: declared_type(n, d) for d in n.declarators}
    return found


def _by_reference(body: t.Body, file: t.CudaFile) -> frozenset[str]:
    """Variables that a called function may write."""
    out = set()
    for call in t.calls(body):
        function = file.function(t.called(call))
        for p, arg in zip(function.params if function else (), call.args):
            if "&" in p.mark and isinstance(arg, t.Name):
                out.add(arg.text)
    return frozenset(out)


def _count(items: list[Any]) -> int:
    from .assemble import _regions

    return len(list(_regions(items)))


def _blocks(body: list[Any], places: Places, g: Geometry) -> list[Any]:
    """Loops over blocks around the statements of one."""
    axes = grid_axes(g)
    inner: t.Body = tuple(body)
    if own_escapes(inner):
        inner = t.rewrite(inner, lambda n: t.Continue(n.line) if isinstance(n, t.Return) else n) if axes else inner
    loops: list[Any] = list(inner)
    for axis in axes:
        extent = t.Literal(str(g.grid["xyz".index(axis)])) if g.grid is not None else t.Member(t.Name("gridDim"), ".", axis)
        name = places.block.get(axis, f"b{axis}")
        init = t.Declare("int", (t.Declarator(name, init=t.Literal("0")),))
        loops = [t.For(init, t.Binary("<", t.Name(name), extent), t.Unary("++", t.Name(name)), tuple(loops))]
    if not axes or (g.grid is not None and g.block is not None and _work(inner, g) < _SMALL):
        return loops
    collapse = f" collapse({len(axes)})" if len(axes) > 1 else ""
    return [t.Pragma(f"omp parallel for{collapse}"), *loops]


def _work(body: t.Body, g: Geometry) -> int:
    """A guess at the element operations of a launch: constant trip counts are multiplied out."""
    assert g.grid is not None
    return g.grid[0] * g.grid[1] * g.grid[2] * work(body)


def work(body: t.Body) -> int:
    """Statements, weighted by the trip counts of loops with constant bounds (16 where the bound is unknown) and by costly calls."""
    total = 0
    for s in body:
        if isinstance(s, t.For):
            bound = s.cond.right if isinstance(s.cond, t.Binary) else None
            count = int(bound.text) if isinstance(bound, t.Literal) and bound.text.isdigit() else 16
            total += count * work(s.body)
        elif isinstance(s, t.If):
            total += work((*s.then, *s.orelse)) + 1
        elif isinstance(s, (t.While, t.DoWhile, t.Block)):
            total += (1 if isinstance(s, t.Block) else 16) * work(s.body)
        elif isinstance(s, (t.Evaluate, t.Declare)):
            total += 1 + 4 * sum(1 for _ in t.calls((s,)))
    return total


def _code(kernel: t.Function, g: Geometry, body: list[Any], dynamic: list[tuple[str, str]], why: str, regions: int, name: str, linkage: str) -> KernelCode:
    params = [text.parameter(p) for p in kernel.params]
    lead = []
    takes_shared = bool(dynamic) and g.shared_bytes is None
    used = t.names(tuple(body))
    if g.grid is None:
        lead.append("dim3 gridDim" if "gridDim" in used else "dim3")
    if g.block is None:
        lead.append("dim3 blockDim" if "blockDim" in used else "dim3")
    if takes_shared:
        lead.append("size_t shared_bytes")
    size = "shared_bytes" if takes_shared else str(g.shared_bytes)
    if dynamic:
        body = _with_dynamic(body, dynamic, size)
    template = f"template <{', '.join(kernel.template)}>\n" if kernel.template else ""
    head = f"{template}{linkage}void {name or kernel.name}("
    arguments = ", ".join([*lead, *params])
    if len(head.rpartition(chr(10))[2]) + len(arguments) > 110:
        arguments = "\n    " + ",\n    ".join([*lead, *params])
    lines = [f"{head}{arguments}) {{", *text.body(tuple(body), 1), "}"]
    types = tuple(p.type + ("*" if p.is_pointer else "") for p in kernel.params)
    return KernelCode(kernel.name, "\n".join(lines) + "\n", "fission", why, takes_shared, regions, g.grid is not None, types, tuple(body))


def _with_dynamic(body: list[Any], dynamic: list[tuple[str, str]], size: str) -> list[Any]:
    """Declares dynamic shared memory at the start of each block."""
    lines = tuple(
        t.Declare(type_, (t.Declarator(name, "*", (), t.Call(t.Name(f"dynamic_shared<{type_}>"), (t.Name(size),))),)) for name, type_ in dynamic
    )

    def deepest(statements: list[Any]) -> list[Any]:
        last = statements[-1]
        if isinstance(last, t.For) and isinstance(last.init, t.Declare) and _is_block_loop(last):
            return [*statements[:-1], replace(last, body=tuple(deepest(list(last.body))))]
        return [*lines, *statements]

    return deepest(body)


def _is_block_loop(s: t.For) -> bool:
    cond = s.cond
    if not isinstance(cond, t.Binary):
        return False
    return isinstance(cond.right, t.Member) and cond.right.value == t.Name("gridDim")
