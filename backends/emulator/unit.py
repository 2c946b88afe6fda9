"""The C++ translation unit of a bare kernel: CUDA text, launches and parameters come in, one C++ text goes out.

The unit needs only `include_folder()` on the include path and `Unit.build_flags`. It exports
`extern "C" const char* wl_run(void** arguments)` (a pointer argument is itself, a scalar or struct a pointer to its bytes;
null when all went well, else what went wrong) and, on request, a plain `extern "C" void kernel(...)` for a C caller.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...ir.diagnostic import WarploomError
from .includes import expand_includes
from .launch import Launch
from .rewrite import KernelText, Rewritten, rewrite

C_TYPES = {
    "float32": "float",
    "float64": "double",
    "float16": "uint16_t",
    "bfloat16": "uint16_t",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "bool": "uint8_t",
}
_BY_BYTES = ("float16", "bfloat16", "struct")
_ENTRY = '#line 1 "warploom-entry"\n'
_VOLATILE = (
    "-DWL_VOLATILE",
    "-fsanitize=thread",
    "--param=tsan-distinguish-volatile=1",
    "--param=tsan-instrument-func-entry-exit=0",
)


class NoSuchKernel(WarploomError):
    """The source has no `__global__` function of that name, or the name of a template kernel lacks its arguments."""

    code = "WL-E056"


@dataclass(frozen=True)
class Parameter:
    """One kernel parameter: a pointer to `dtype` elements, or (not `pointer`) a scalar, or dtype "struct": bytes by value."""

    name: str
    dtype: str
    pointer: bool = True


@dataclass(frozen=True)
class Call:
    """One launch of `kernel` (a template kernel by its instance, `k<float, 4>`); `arguments` index the parameters."""

    kernel: str
    launch: Launch
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class Unit:
    """A translation unit: the text below the header, the kernels in it, and what the header must provide."""

    body: str
    kernels: tuple[KernelText, ...]
    flags: tuple[str, ...]
    calls: tuple[Call, ...]
    defines: str = ""

    @property
    def build_flags(self) -> tuple[str, ...]:
        """All flags for the compile step: `flags`, and what the text needs besides, however it is run."""
        return (*self.flags, *reread_flags(self.body))

    @property
    def source(self) -> str:
        """What the body holds of the source, rewritten."""
        return self.body.partition(_ENTRY)[0]

    @property
    def text(self) -> str:
        return f'{self.defines}#include "warploom/emulator.h"\n{self.body}'


def include_folder() -> Path:
    """The folder that holds `warploom/emulator.h` and stand-ins for CUDA's own headers."""
    return Path(__file__).resolve().parent / "include"


def emulator_translation_unit(
    source: str, kernel: str, launch: Launch, params: Sequence[Parameter], entry: str = "kernel"
) -> Unit:
    """One launch of one kernel as a unit whose `extern "C" void <entry>(...)` takes the parameters: pointers as pointers,
    scalars by value (half and bfloat16 as `uint16_t`), structs as a pointer to their bytes.

    Compile `unit.text` with `-I include_folder()` and `unit.build_flags` into an object, then link it with -shared and without them.
    """
    call = Call(kernel, launch, tuple(range(len(params))))
    return build_unit(source, (call,), params, entry=entry)


def build_unit(
    source: str,
    calls: Sequence[Call],
    params: Sequence[Parameter],
    *,
    filename: str = "kernel.cu",
    include: Sequence[Path] = (),
    constants: Sequence[str] = (),
    entry: str = "",
) -> Unit:
    """The unit that makes `calls` in order. Raises NoSuchKernel, UnreadableCuda."""
    renamed = f"#define {entry} {entry}_of_the_source\n" if entry else ""
    rewritten = rewrite(expand_includes(source, filename, include))
    for call in calls:
        _known_kernel(call.kernel, rewritten)
    parts = [
        renamed,
        f'#line 1 "{filename}"\n{rewritten.text}\n',
        _ENTRY,
        f"#undef {entry}\n" if entry else "",
    ]
    parts += [_constant_setter(number, name) for number, name in enumerate(constants)]
    parts.append(_run_entry(calls, params, entry))
    if entry:
        parts.append(_c_entry(entry, calls, params))
    return Unit("".join(parts), rewritten.kernels, unit_flags(rewritten), tuple(calls), unit_defines(rewritten))


_REREAD = re.compile(r"\breinterpret_cast\b|\w\s*\*\s*\)\s*[&(\w]")


def reread_flags(text: str) -> tuple[str, ...]:
    """C++ takes memory written as one type and read as another (`*(float4*)s`) for two that never meet; CUDA's compilers do not."""
    return ("-fno-strict-aliasing",) if _REREAD.search(text) else ()


def unit_flags(rewritten: Rewritten) -> tuple[str, ...]:
    """Flags for the compile step (never for the link step)."""
    return _VOLATILE if rewritten.volatile else ()


def unit_defines(rewritten: Rewritten) -> str:
    index = "#define WL_DEVICE_INDEX 1\n" if rewritten.device_index else ""
    return index + ("#define WL_TENSOR 1\n" if rewritten.tensor else "")


def _known_kernel(name: str, rewritten: Rewritten) -> None:
    plain = name.split("<", 1)[0].strip().rsplit("::", 1)[-1]
    found = next((k for k in rewritten.kernels if k.name == plain), None)
    if found is None:
        known = ", ".join(k.name for k in rewritten.kernels) or "none"
        raise NoSuchKernel(f"no kernel {plain} in the source (it has: {known})")
    if found.template and "<" not in name:
        raise NoSuchKernel(f"kernel {plain} is a template", hint=f"name an instance, for example {plain}<float>")


def _run_entry(calls: Sequence[Call], params: Sequence[Parameter], entry: str) -> str:
    launches = "\n".join(f"    {_launch(call, [_from_array(i, params[i]) for i in call.arguments], entry)}" for call in calls)
    return f"""#include <string>
extern "C" __attribute__((visibility("default"))) const char* wl_run(void** arguments) {{
  static std::string failure;
  try {{
{launches}
  }} catch (const std::exception& problem) {{
    failure = problem.what();
    return failure.c_str();
  }}
  if (wl::last_error) {{
    wl::last_error = 0;
    return "invalid launch configuration";
  }}
  return nullptr;
}}
"""


def _launch(call: Call, arguments: list[str], entry: str) -> str:
    grid, block = (f"{{{x}, {y}, {z}}}" for x, y, z in (call.launch.grid, call.launch.block))
    name, arrow, instance = call.kernel.partition("<")
    kernel = (f"{entry}_of_the_source" if name.strip() == entry else name) + arrow + instance
    return f"{kernel}({', '.join(arguments)}), ::wl::launch(::wl::Config({grid}, {block}, {call.launch.shared_bytes}));"


def _from_array(i: int, p: Parameter) -> str:
    if p.pointer:
        return f"::wl::Pointer{{arguments[{i}]}}"
    if p.dtype in _BY_BYTES:
        return f"::wl::Bytes{{arguments[{i}]}}"
    return f"*static_cast<{_scalar_type(p)}*>(arguments[{i}])"


def _c_entry(entry: str, calls: Sequence[Call], params: Sequence[Parameter]) -> str:
    declared = ", ".join(f"{_c_type(p)} p{i}" for i, p in enumerate(params))
    launches = "\n".join(f"  {_launch(call, [_from_c(i, params[i]) for i in call.arguments], entry)}" for call in calls)
    return f'extern "C" __attribute__((visibility("default"))) void {entry}({declared}) {{\n{launches}\n}}\n'


def _c_type(p: Parameter) -> str:
    if p.pointer:
        return f"{C_TYPES.get(p.dtype, 'void')}*"
    return "const void*" if p.dtype == "struct" else _scalar_type(p)


def _from_c(i: int, p: Parameter) -> str:
    if p.pointer:
        return f"::wl::Pointer{{p{i}}}"
    return f"::wl::Bytes{{{'' if p.dtype == 'struct' else '&'}p{i}}}" if p.dtype in _BY_BYTES else f"p{i}"


def _scalar_type(p: Parameter) -> str:
    if p.dtype not in C_TYPES:
        raise NoSuchKernel(f"parameter {p.name}: no scalar of dtype {p.dtype}")
    return C_TYPES[p.dtype] if p.dtype != "bool" else "bool"


def _constant_setter(number: int, name: str) -> str:
    return (
        f'extern "C" __attribute__((visibility("default"))) long wl_constant_{number}(const double* values, long count) '
        f"{{ return ::wl::set_constant({name}, values, count); }}\n"
    )
