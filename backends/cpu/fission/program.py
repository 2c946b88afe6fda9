"""A bare CUDA program as one C function. A file and its binding come in, C++ text goes out.

Every launch becomes a function with its grid and block compiled in; the entry calls them in order on its arguments and on temporaries
that it keeps from call to call.
"""

from __future__ import annotations

from dataclasses import replace

from ....frontend.cuda import text
from ....frontend.cuda import tree as t
from ....frontend.cuda.binding import Binding, BoundLaunch, Buffer
from ....frontend.cuda.raising import NotRaised
from ....frontend.cuda.read import UnsupportedCuda
from .extension import Translated, device_function, refuse_libraries
from .groups import ungrouped
from .kernel import Geometry, KernelCode, kernel_code
from .prelude import prelude
from .raised import raised, vector_headers
from .sync import Synchronising

_C = {
    "float32": "float", "float64": "double", "int32": "int", "int64": "int64_t", "uint32": "unsigned", "uint64": "uint64_t", "int8": "int8_t",
    "uint8": "uint8_t", "bool": "bool", "int16": "int16_t", "uint16": "uint16_t",
}  # fmt: skip


def program(file: t.CudaFile, binding: Binding, entry: str, order: tuple[int, ...], raise_: bool = False) -> Translated:
    """`raise_`: kernels that Kernel IR can hold are scheduled anew. Raises UnsupportedCuda."""
    refuse_libraries(file.source)
    file = ungrouped(file)
    codes = [_launched(file, launch, binding, entry, raise_) for launch in binding.launches]
    sync = Synchronising(file)
    functions = [device_function(f) for f in file.functions if f.kind == "device" and f.name not in sync.functions]
    symbols = [text.declaration(replace(s, qualifiers=("static",))) + ";" for s, _, _ in file.symbols]
    above = [c.text for c in codes if c.path == "raised"]
    body = "\n".join([*symbols, *functions, *(c.text for c in codes if c.path != "raised"), _entry(binding, codes, entry, order)])
    macros = "".join(f"#define {name} {value}\n" for name, value in file.macros)
    vectors = "\n".join([vector_headers(), "namespace wl {", *above, "}  // namespace wl\n"]) if above else ""
    return Translated(vectors + prelude(body) + "\n" + macros + body, tuple(codes))


def _launched(file: t.CudaFile, launch: BoundLaunch, binding: Binding, entry: str, raise_: bool) -> KernelCode:
    kernel = file.function(launch.kernel)
    if kernel is None:
        raise UnsupportedCuda(f"kernel {launch.kernel} is not in the source")
    name = f"{kernel.name}_launch" if kernel.name == entry else kernel.name
    code = replace(kernel_code(kernel, file, Geometry(launch.grid, launch.block, 0), name=name), name=name)
    if not raise_:
        return code
    counts = {p.name: binding.buffers[at].count for p, at in zip(kernel.params, launch.args) if at is not None}
    try:
        return raised(kernel, code, counts).code
    except NotRaised as why:
        return replace(code, why=f"{code.why}; not raised: {why.message}")


def _entry(binding: Binding, codes: list[KernelCode], entry: str, order: tuple[int, ...]) -> str:
    params = ", ".join(f"{_type(binding.buffers[i])}* {binding.buffers[i].name}" for i in order)
    lines = [f'extern "C" void {entry}({params}) {{']
    for i, b in enumerate(binding.buffers):
        if i not in order:
            lines.append(f"  static thread_local {_type(b)} {b.name}[{b.count}];")
    for launch, code in zip(binding.launches, codes):
        scope = "wl::" if code.path == "raised" else ""
        lines.append(f"  {scope}{code.name}({', '.join(_argument(binding, launch, k) for k in range(len(launch.args)))});")
    return "\n".join([*lines, "}", ""])


def _argument(binding: Binding, launch: BoundLaunch, at: int) -> str:
    buffer = launch.args[at]
    return binding.buffers[buffer].name if buffer is not None else str(launch.scalars[at])


def _type(b: Buffer) -> str:
    return _C.get(b.dtype, "float")
