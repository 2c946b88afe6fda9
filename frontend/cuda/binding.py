"""How the kernels of a bare program pass data on, and what their launches are.

Comes in: CUDA text whose kernels name their buffers each in its own way, a C function that computes the same, the shapes of inputs
and outputs. Goes out: bindings, best first: buffers, launches in order with the buffer of every argument, and the C function's own
arguments. Nothing is run: who can run both sides keeps the first binding whose numbers agree (`backends.emulator.binding`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ...ir.diagnostic import WarploomError
from . import tree as t
from .footprint import Footprint, Unknown
from .launch import LaunchOption, bound_of, launch_options, launch_order, reference_footprint
from .read import read

_NUMPY = {
    "float": "float32", "double": "float64", "int": "int32", "int32_t": "int32", "int64_t": "int64", "long": "int64",
    "unsigned": "uint32", "uint32_t": "uint32", "uint": "uint32", "int8_t": "int8", "uint8_t": "uint8", "bool": "bool",
    "signed char": "int8", "unsigned char": "uint8", "half": "float16", "__half": "float16", "short": "int16", "char": "int8",
    "unsigned int": "uint32", "long long": "int64", "size_t": "uint64", "__nv_bfloat16": "bfloat16", "uint64_t": "uint64",
    "unsigned long long": "uint64", "unsigned long long int": "uint64", "unsigned long": "uint64", "unsigned short": "uint16", "uint16_t": "uint16",
    "int16_t": "int16", "long long int": "int64", "signed int": "int32",
}  # fmt: skip
_BEAM = 96
_PERMUTED = 6


class Unbindable(WarploomError):
    """The CUDA program contradicts the stated shapes or the C function; the message says where."""

    code = "WL-E081"
    exit_code = 1


@dataclass(frozen=True)
class Buffer:
    """`role`: in, out or temp; `dtype`: NumPy's name; `count`: elements; `shape` where it is stated."""

    name: str
    role: str
    dtype: str
    count: int
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class BoundLaunch:
    """One launch: the kernel, its place on the machine, and per argument the number of a buffer, or a scalar's value."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    args: tuple[int | None, ...]
    scalars: tuple[int | float | None, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Binding:
    """`entry`: the buffer of each argument of the C function. `misfit` is 0 when names and sizes all speak for it."""

    buffers: tuple[Buffer, ...]
    launches: tuple[BoundLaunch, ...]
    entry: tuple[int, ...]
    misfit: float = 0.0


@dataclass(frozen=True)
class Reference:
    """What the C function says: its pointer parameters with role, shape and how much of each it reads, in order of first use."""

    name: str
    buffers: tuple[Buffer, ...]
    extents: dict[str, int]
    order: tuple[str, ...]
    locals: tuple[int, ...]


def numpy_dtype(type_: str) -> str | None:
    """The NumPy name of a C type, qualifiers apart; None for others."""
    words = [w for w in type_.replace("*", " ").split() if w not in ("const", "restrict", "__restrict__", "volatile")]
    return _NUMPY.get(" ".join(words))


def read_reference(
    c_source: str,
    input_shapes: Sequence[Sequence[int]],
    output_shapes: Sequence[Sequence[int]],
    input_names: Sequence[str] = (),
    output_names: Sequence[str] = (),
) -> Reference:
    """The last function of a C source, its pointers matched with the stated shapes. Raises Unbindable, UnsupportedCuda."""
    function, found = _entry(c_source)
    written = _written(function)
    pointers = [p for p in function.params if p.is_pointer]
    extents = {p.name: found.touched[p.name].high if found else 0 for p in pointers}
    ins = _matched([p for p in pointers if p.name not in written], input_shapes, input_names, extents, "in")
    outs = _matched([p for p in pointers if p.name in written], output_shapes, output_names, extents, "out")
    named = {b.name: b for b in (*ins, *outs)}
    return _reference(function, tuple(named[p.name] for p in pointers), extents)


def stated_reference(c_source: str, arguments: Sequence[Buffer]) -> Reference:
    """The same where role, shape and dtype of every argument of the C function are known, in its order."""
    function, found = _entry(c_source)
    extents = {b.name: found.touched[b.name].high if found and b.name in found.touched else 0 for b in arguments}
    return _reference(function, tuple(replace(b, count=max(b.count, extents[b.name])) for b in arguments), extents)


def _entry(c_source: str) -> tuple[t.Function, Footprint | None]:
    functions = [f for f in read(c_source, host=True).functions if f.body]
    if not functions:
        raise Unbindable("the C side has no function")
    try:
        return functions[-1], reference_footprint(functions[-1])
    except Unknown:
        return functions[-1], None


def _reference(function: t.Function, buffers: tuple[Buffer, ...], extents: dict[str, int]) -> Reference:
    """Adds what helps the search: sizes of local arrays, the order in which arguments are first used."""
    local = [math.prod(_sizes(d)) for n in t.walk(function.body) if isinstance(n, t.Declare) for d in n.declarators if d.extents]
    used = list(dict.fromkeys(n.text for n in t.walk(function.body) if isinstance(n, t.Name)))
    order = tuple(sorted((b.name for b in buffers), key=lambda name: used.index(name) if name in used else len(used)))
    return Reference(function.name, buffers, extents, order, tuple(local))


def _sizes(d: t.Declarator) -> Iterator[int]:
    for e in d.extents:
        yield int(e.text, 0) if isinstance(e, t.Literal) and e.text.isdigit() else 1


def _written(function: t.Function) -> frozenset[str]:
    return frozenset(_root(n.target) for n in t.walk(function.body) if isinstance(n, t.Assign) and not isinstance(n.target, t.Name))


def _root(e: t.Expr) -> str:
    while not isinstance(e, t.Name):
        inner = next((c for c in t.children(e) if isinstance(c, t.EXPRESSIONS)), None)
        if inner is None:
            return ""
        e = inner
    return e.text


def natural(name: str) -> tuple:
    """A key that sorts `ph_2` before `ph_10`, and `ph` before `ph_1`."""
    stem, _, tail = name.rpartition("_")
    return (stem, int(tail)) if stem and tail.isdigit() else (name, -1)


def base_name(name: str) -> str:
    """A name without the numbers that made it unique."""
    stem = name
    while "_" in stem and stem.rpartition("_")[2].isdigit():
        stem = stem.rpartition("_")[0]
    return stem


def _matched(params: list[t.Param], shapes, names: Sequence[str], extents: dict[str, int], role: str) -> list[Buffer]:
    """Parameters and stated shapes: by name where every name is unique, else in natural order, sizes permitting."""
    shapes = [tuple(int(d) for d in s) for s in shapes]
    if len(set(names)) == len(names) == len(shapes) and {p.name for p in params} <= set(names):
        stated = dict(zip(names, shapes))
        return [_buffer(p, role, stated[p.name], extents) for p in params]
    ordered = sorted(params, key=lambda p: natural(p.name))
    chosen = _fit([extents[p.name] for p in ordered], [math.prod(s) for s in shapes])
    return [_buffer(p, role, shapes[i] if i is not None else None, extents) for p, i in zip(ordered, chosen)]


def _fit(extents: list[int], counts: list[int]) -> list[int | None]:
    """For each extent a stated count that holds it: the assignment with the fewest misfits, in order where that is free."""
    if len(extents) > len(counts):
        return [i if i < len(counts) and counts[i] >= e else None for i, e in enumerate(extents)]
    if len(counts) > _PERMUTED:
        return _closest(extents, counts)

    def cost(chosen: tuple[int, ...]) -> float:
        fits = sum(0 if counts[i] == e else 1 if counts[i] > e else 100 for e, i in zip(extents, chosen))
        return fits + 0.1 * sum(a > b for a, b in itertools.pairwise(chosen))

    best = min(itertools.permutations(range(len(counts)), len(extents)), key=cost)
    return [i if counts[i] >= e else None for e, i in zip(extents, best)]


def _closest(extents: list[int], counts: list[int]) -> list[int | None]:
    """Largest extents first, each the smallest count that holds it."""
    free, chosen = list(range(len(counts))), dict[int, int | None]()
    for at in sorted(range(len(extents)), key=lambda i: (-extents[i], i)):
        best = min((i for i in free if counts[i] >= extents[at]), key=lambda i: (counts[i], i), default=None)
        chosen[at] = best
        if best is not None:
            free.remove(best)
    return [chosen[i] for i in range(len(extents))]


def _buffer(p: t.Param, role: str, shape: tuple[int, ...] | None, extents: dict[str, int]) -> Buffer:
    count = max(math.prod(shape) if shape is not None else 0, extents[p.name], 1)
    return Buffer(p.name, role, numpy_dtype(p.type) or "float32", count, shape)


# --- the search


@dataclass(frozen=True)
class _State:
    """Launches bound so far. `unread`: temporaries that nobody has read; `pending`: outputs not yet written."""

    buffers: tuple[Buffer, ...]
    launches: tuple[BoundLaunch, ...]
    defined: frozenset[int]
    unread: frozenset[int]
    used: frozenset[int]
    cost: float


def bindings(cuda_source: str, reference: Reference) -> Iterator[Binding]:
    """Bindings of a bare CUDA program to the C function's arguments, best first. Raises Unbindable, UnsupportedCuda."""
    kernels = launch_order(read(cuda_source).kernels)
    if not kernels:
        raise Unbindable("the CUDA side has no kernel")
    totals = sorted({b.count for b in reference.buffers} | {e for e in reference.extents.values() if e} | set(reference.locals))
    options = [_options(k, totals) for k in kernels]
    start = frozenset(i for i, b in enumerate(reference.buffers) if b.role == "in")
    beam = [_State(reference.buffers, (), start, frozenset(), frozenset(), 0.0)]
    for kernel, choices in zip(kernels, options):
        last = kernel is kernels[-1]
        grown = [following for state in beam for following in _extended(state, kernel, choices, reference, last)]
        beam = sorted(grown, key=lambda state: state.cost)[: _BEAM * (8 if last else 1)]
    yield from sorted((_finished(state, reference) for state in beam), key=lambda binding: binding.misfit)


def _options(kernel: t.Function, totals: Sequence[int]) -> list[LaunchOption]:
    found = launch_options(kernel, totals)
    if not found:
        hint = "" if bound_of(kernel) is not None else "; it has no __launch_bounds__"
        raise Unbindable(f"line {kernel.line}: no launch can be inferred for kernel {kernel.name}{hint}")
    return found[:6]


def _closing(state: _State, reference: Reference) -> float:
    """What is left over at the end: outputs nobody wrote, temporaries nobody read, inputs nobody used."""
    outs = [i for i, b in enumerate(reference.buffers) if b.role == "out"]
    ins = [i for i, b in enumerate(reference.buffers) if b.role == "in"]
    missing = sum(i not in state.defined for i in outs)
    return 50.0 * missing + 5.0 * len(state.unread) + 3.0 * sum(i not in state.used for i in ins)


def _finished(state: _State, reference: Reference) -> Binding:
    entry = tuple(range(len(reference.buffers)))
    return Binding(state.buffers, state.launches, entry, state.cost + _closing(state, reference))


def _extended(state: _State, kernel: t.Function, options: list[LaunchOption], reference: Reference, last: bool) -> Iterator[_State]:
    for rank, option in enumerate(options):
        base = replace(state, cost=state.cost + 0.5 * rank + (0 if option.clean else 0.2))
        yield from _bound(base, kernel, option, reference, last)


def _bound(state: _State, kernel: t.Function, option: LaunchOption, reference: Reference, last: bool) -> Iterator[_State]:
    """Every way to give the kernel's pointers buffers, the likelier ones only."""
    pointers = [p for p in kernel.params if p.is_pointer]
    partial: list[tuple[float, tuple[tuple[str, int | Buffer], ...]]] = [(0.0, ())]
    for p in pointers:
        choices = list(_choices(state, p, option, reference, last))
        partial = [
            (cost + more, (*chosen, (p.name, buffer)))
            for cost, chosen in partial
            for more, buffer in choices
            if isinstance(buffer, Buffer) or all(buffer != other for _, other in chosen)
        ]
        partial = sorted(partial, key=lambda one: one[0])[:24]
    for cost, chosen in partial[:12]:
        yield _applied(state, kernel, option, dict(chosen), cost)


def _applied(state: _State, kernel: t.Function, option: LaunchOption, chosen: dict[str, int | Buffer], cost: float) -> _State:
    buffers, numbers = list(state.buffers), {}
    for name, buffer in chosen.items():
        if isinstance(buffer, Buffer):
            numbers[name] = len(buffers)
            buffers.append(replace(buffer, name=_unique(buffer.name, buffers)))
        else:
            numbers[name] = buffer
    touched = option.footprint.touched
    read_now = {numbers[n] for n in numbers if touched[n].read_first}
    made = {numbers[n] for n in numbers if touched[n].writes}
    args = tuple(numbers.get(p.name) for p in kernel.params)
    launch = BoundLaunch(kernel.name, option.grid, option.block, args, _scalars(kernel, numbers, buffers), option.why)
    temps = frozenset(i for i in made if buffers[i].role == "temp")
    return _State(
        tuple(buffers),
        (*state.launches, launch),
        state.defined | made,
        (state.unread - read_now) | temps,
        state.used | read_now,
        state.cost + cost,
    )


def _scalars(kernel: t.Function, numbers: dict[str, int], buffers: list[Buffer]) -> tuple[int | float | None, ...]:
    """A bare kernel's scalar: by default the element count of what it writes."""
    largest = max((buffers[i].count for i in numbers.values()), default=1)
    return tuple(None if p.is_pointer else largest for p in kernel.params)


def _unique(name: str, buffers: list[Buffer]) -> str:
    taken = {b.name for b in buffers}
    return next(n for n in itertools.chain((name,), (f"{name}_{i}" for i in itertools.count(1))) if n not in taken)


def _choices(state: _State, p: t.Param, option: LaunchOption, reference: Reference, last: bool) -> Iterator[tuple[float, int | Buffer]]:
    touched = option.footprint.touched[p.name]
    dtype = numpy_dtype(p.type) or "float32"
    if touched.read_first or not touched.writes:
        for i in sorted(state.defined):
            buffer = state.buffers[i]
            if touched.high > buffer.count or touched.low < 0 or (touched.writes and buffer.role == "in"):
                continue
            yield _read_cost(state, i, p, touched, reference), i
        return
    pending = [i for i, b in enumerate(reference.buffers) if b.role == "out" and i not in state.defined]
    for place, i in enumerate(pending):
        fits = touched.write_extent == reference.buffers[i].count
        if touched.write_extent > reference.buffers[i].count:
            continue
        cost = (0.0 if fits else 4.0) + (0.0 if base_name(p.name) == base_name(reference.buffers[i].name) else 0.4) + 0.1 * place
        yield cost, i
    yield (3.0 if last else 0.3), Buffer(p.name, "temp", dtype, max(touched.high, 1))


def _read_cost(state: _State, i: int, p: t.Param, touched, reference: Reference) -> float:
    buffer = state.buffers[i]
    extent = reference.extents.get(buffer.name, buffer.count) if buffer.role == "in" else buffer.count
    cost = 0.0 if touched.dynamic or touched.high in (extent, buffer.count) else 0.7
    cost += 0.0 if base_name(p.name) == base_name(buffer.name) else 0.6
    if buffer.role == "in":
        order = [n for n in reference.order if n in {b.name for b in reference.buffers if b.role == "in"}]
        unused = [n for n in order if reference.buffers.index(next(b for b in reference.buffers if b.name == n)) not in state.used]
        cost += 0.0 if not unused or buffer.name == unused[0] else 0.25
    else:
        age = len(state.launches) - 1 - max((k for k, one in enumerate(state.launches) if i in one.args), default=0)
        cost += 0.05 * age + (0.0 if i in state.unread else 0.3)
    return cost
