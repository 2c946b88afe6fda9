"""A bare CUDA program as one C function. A file and its binding come in, C++ text goes out.

Every launch becomes a function with its grid and block compiled in (neighbours that run over the same elements become one: `join`); the
entry calls them in order on its arguments and on temporaries that it keeps from call to call.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ....frontend.cuda import text
from ....frontend.cuda import tree as t
from ....frontend.cuda.binding import Binding, BoundLaunch, numpy_dtype
from ....frontend.cuda.raising import NotRaised
from ....frontend.cuda.read import UnsupportedCuda
from .copies import synchronous
from .cub import uncubbed
from .extension import Translated, device_function, file_scope, refuse_libraries
from .groups import ungrouped
from .join import Nest, copied, joined, nest_of, statements, touched, with_variables, written
from .kernel import Geometry, KernelCode, kernel_code
from .prelude import options, prelude
from .raised import raised, vector_headers
from .shared_structs import with_own_shared, without_shared_structs
from .sync import Synchronising
from .types import plain

_C = {
    "float32": "float", "float64": "double", "int32": "int", "int64": "int64_t", "uint32": "unsigned", "uint64": "uint64_t", "int8": "int8_t",
    "uint8": "uint8_t", "bool": "bool", "int16": "int16_t", "uint16": "uint16_t", "float16": "__half",
    "bfloat16": "__nv_bfloat16",
}  # fmt: skip
_KNOWN = frozenset((*_C.values(), "long long", "unsigned long long", "long", "unsigned long", "size_t", "int32_t", "uint32_t", "unsigned int", "char", "unsigned char", "signed char", "short", "half", "nv_bfloat16"))


def program(file: t.CudaFile, binding: Binding, entry: str, order: tuple[int, ...], raise_: bool | None = None) -> Translated:
    """`raise_`: kernels that Kernel IR can hold are scheduled anew: all, none, or (None) those where it pays. Raises UnsupportedCuda."""
    refuse_libraries(file.source)
    file = with_own_shared(without_shared_structs(uncubbed(ungrouped(synchronous(file)))))
    codes = [_launched(file, launch, binding, entry, raise_) for launch in binding.launches]
    calls = _Calls(file, binding, codes)
    sync = Synchronising(file)
    functions = [device_function(f) for f in file.functions if f.kind == "device" and f.name not in sync.functions]
    symbols = [text.declaration(replace(s, qualifiers=("static",))) + ";" for s, _, _ in file.symbols]
    above = [c.text for c in calls.codes if c.path == "raised"]
    body = "\n".join([*symbols, *functions, *calls.texts, _entry(binding, calls.types, calls.lines, entry, order)])
    declared = file_scope(file)
    vectors = "\n".join([vector_headers(), "namespace wl {", *above, "}  // namespace wl\n"]) if above else ""
    return Translated(options("\n".join([*above, declared, body])) + vectors + prelude(declared + body) + "\n" + declared + body, tuple(calls.codes))


class _Calls:
    """What the entry calls: functions that stand for one launch, or for several that share a loop. `codes`: what became of each launch."""

    def __init__(self, file: t.CudaFile, binding: Binding, codes: list[KernelCode]):
        self.binding, self.codes, self.types = binding, _distinct(codes), _types(file, binding)
        self.arrays = frozenset(b.name for b in binding.buffers)
        self.texts: list[str] = []
        self.lines: list[str] = []
        kernels = [file.function(launch.kernel) for launch in binding.launches]
        nests = [self.nest(k, code, at) for at, (k, code) in enumerate(zip(kernels, codes))]
        launches, nests, self.dropped = self.without_copies(list(binding.launches), nests)
        for group in joined([at if n is None else n for at, n in enumerate(nests) if at not in self.dropped], self.arrays):
            if not isinstance(group, Nest):
                self.single(launches[group], group)
            elif len(group.launches) > 1:
                self.several(group)
            else:
                for alone in group.launches:
                    self.single(launches[alone], alone)

    def nest(self, kernel: t.Function | None, code: KernelCode, at: int) -> Nest | None:
        launch = self.binding.launches[at]
        if kernel is None or code.path != "fission" or kernel.template:
            return None
        env: dict[str, t.Expr] = {}
        for p, buffer, scalar in zip(kernel.params, launch.args, (*launch.scalars, *[None] * len(launch.args))):
            if buffer is None:
                env[p.name] = t.Literal(str(scalar))
            elif plain(p.type) == self.types[buffer]:
                env[p.name] = t.Name(self.binding.buffers[buffer].name)
            else:
                return None
        return nest_of(code.tree, env, at)

    def without_copies(self, launches: list[BoundLaunch], nests: list[Nest | None]) -> tuple[list[BoundLaunch], list[Nest | None], set[int]]:
        """Temporaries that are copies of inputs are the inputs."""
        numbers = {b.name: i for i, b in enumerate(self.binding.buffers)}
        dropped: set[int] = set()
        for at, nest in enumerate(nests):
            found = copied(nest, self.arrays) if nest is not None and at not in dropped else None
            if found is None or nest is None:
                continue
            copy, original = (self.binding.buffers[numbers[name]] for name in found)
            users = [i for i, launch in enumerate(launches) if numbers[copy.name] in launch.args and i != at]
            if copy.role != "temp" or original.role != "in" or nest.count != copy.count or min(users, default=at) < at:
                continue
            if any(n is None or copy.name in written(n, self.arrays) for n in (nests[i] for i in users)):
                continue
            dropped.add(at)
            nests[at] = None
            self.codes[at] = replace(self.codes[at], why=f"{self.codes[at].why}; a copy of {original.name}, which stands in its place")
            for i in users:
                launches[i] = replace(launches[i], args=tuple(numbers[original.name] if a == numbers[copy.name] else a for a in launches[i].args))
                nests[i] = replace(nests[i], leaf=t.substitute(nests[i].leaf, {copy.name: t.Name(original.name)}))  # type: ignore[type-var, union-attr]
        return launches, nests, dropped

    def single(self, launch: BoundLaunch, at: int) -> None:
        code = self.codes[at]
        scope = "wl::" if code.path == "raised" else ""
        if code.path != "raised":
            self.texts.append(code.text)
        self.lines.append(f"{scope}{code.name}({', '.join(self.argument(launch, k, code) for k in range(len(launch.args)))});")

    def argument(self, launch: BoundLaunch, at: int, code: KernelCode) -> str:
        """A buffer by its name, as what the kernel takes where that is another type of the same size."""
        buffer = launch.args[at]
        if buffer is None:
            return str(launch.scalars[at])
        name, taken = self.binding.buffers[buffer].name, code.types[at] if at < len(code.types) else ""
        known = taken.endswith("*") and plain(taken[:-1]) in _KNOWN
        return f"reinterpret_cast<{taken}>({name})" if known and plain(taken[:-1]) != self.types[buffer] else name

    def several(self, group: Nest) -> None:
        launches = [launch for i, launch in enumerate(self.binding.launches) if i not in group.launches and i not in self.dropped]
        elsewhere = {self.binding.buffers[a].name for launch in launches for a in launch.args if a is not None}
        private = {b.name: type_ for b, type_ in zip(self.binding.buffers, self.types) if b.role == "temp" and b.name not in elsewhere}
        group = with_variables(group, private)
        first, last = group.launches[0] + 1, group.launches[-1] + 1
        name, used, changed = f"launches_{first}_to_{last}", touched(group, self.arrays), written(group, self.arrays)
        buffers = [(b, type_) for b, type_ in zip(self.binding.buffers, self.types) if b.name in used]
        params = ", ".join(f"{'' if b.name in changed else 'const '}{type_}* __restrict__ {b.name}" for b, type_ in buffers)
        self.texts.append("\n".join([f"static void {name}({params}) {{", *text.body(statements(group), 1), "}", ""]))
        self.lines.append(f"{name}({', '.join(b.name for b, _ in buffers)});")
        for at in group.launches:
            self.codes[at] = replace(self.codes[at], why=f"{self.codes[at].why}; launches {first} to {last} share the loop")


def _launched(file: t.CudaFile, launch: BoundLaunch, binding: Binding, entry: str, raise_: bool | None) -> KernelCode:
    kernel = file.function(launch.kernel)
    if kernel is None:
        raise UnsupportedCuda(f"kernel {launch.kernel} is not in the source")
    name = f"{kernel.name}_launch" if kernel.name == entry else kernel.name
    code = replace(kernel_code(kernel, file, Geometry(launch.grid, launch.block, 0), name=name), name=name)
    if raise_ is False:
        return code
    counts = {p.name: binding.buffers[at].count for p, at in zip(kernel.params, launch.args) if at is not None}
    try:
        found = raised(kernel, code, counts)
        if raise_ or found.pays:
            return replace(found.code, why=f"{found.code.why}; {found.pays or 'asked for'}")
        return replace(code, why=f"{code.why}; raised it would gain nothing: no sums side by side")
    except NotRaised as why:
        return replace(code, why=f"{code.why}; not raised: {why.message}")


def _distinct(codes: list[KernelCode]) -> list[KernelCode]:
    """A kernel that is launched over several grids is a function for each."""
    texts: dict[str, str] = {}
    out = []
    for at, code in enumerate(codes):
        if texts.setdefault(code.name, code.text) != code.text:
            new = f"{code.name}_launch{at + 1}"
            code = replace(code, name=new, text=re.sub(rf"\b{code.name}\(", f"{new}(", code.text, count=1))
        out.append(code)
    return out


def _types(file: t.CudaFile, binding: Binding) -> list[str]:
    """The C type of each buffer: of those of its size, the one by which a kernel calls it."""
    types = [_C.get(b.dtype, "float") for b in binding.buffers]
    for launch in reversed(binding.launches):
        kernel = file.function(launch.kernel)
        for p, buffer in zip(kernel.params if kernel else (), launch.args):
            if buffer is not None and plain(p.type) in _KNOWN and numpy_dtype(plain(p.type)) == binding.buffers[buffer].dtype:
                types[buffer] = plain(p.type)
    return types


def _entry(binding: Binding, types: list[str], calls: list[str], entry: str, order: tuple[int, ...]) -> str:
    params = ", ".join(f"{types[i]}* {binding.buffers[i].name}" for i in order)
    lines = [f'extern "C" void {entry}({params}) {{']
    words = set(re.findall(r"\w+", " ".join(calls)))
    for i, b in enumerate(binding.buffers):
        if i not in order and b.name in words:
            lines.append(f"  static thread_local {types[i]} {b.name}[{b.count}];")
    return "\n".join([*lines, *(f"  {call}" for call in calls), "}", ""])
