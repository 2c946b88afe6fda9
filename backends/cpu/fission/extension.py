"""A whole CUDA file as C++ for the CPU. Kernels become functions, launches become calls, the host code stays as it was.

Comes in: a `CudaFile`. Goes out: the text of a C++ file: for a PyTorch extension one with the same `forward`, whose tensors are CPU
tensors; and what became of each kernel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ....frontend.cuda import text
from ....frontend.cuda import tree as t
from ....frontend.cuda.read import SILENT_ASM, UnsupportedCuda
from . import spelling
from .copies import ALIAS as BARRIER_ALIASES
from .copies import synchronous
from .cub import ALIASES, uncubbed
from .groups import ungrouped
from .kernel import Geometry, KernelCode, kernel_code
from .prelude import aliasing, options, prelude
from .runtime_api import PARENTHESES, stand_ins, without_idle_calls
from .shared_structs import with_own_shared, without_shared_structs
from .sync import Synchronising

_LIBRARIES = {
    r"\bcublas\w*\s*\(": "cuBLAS", r"\bcudnn[A-Z]\w*\s*\(": "cuDNN", r"\bcufft\w*\s*\(": "cuFFT", r"\bcusparse\w*\s*\(": "cuSPARSE",
    r"\bcusolver\w*\s*\(": "cuSOLVER", r"\bthrust::": "Thrust", r"\bcurand\w*\s*\(": "cuRAND", r"\bcub::Device\w+": "device-wide CUB",
    r"\bcub::(?:Block|Warp)(?!(?:Reduce|Scan)\b|Load\b|Store\b)\w+": "this part of CUB", r"\bnvcuda::wmma|\bwmma::": "tensor cores (wmma)", r"\bcutlass::": "CUTLASS",
    r"\basm\s*(?:volatile\s*)?\(": "inline PTX",
    r"\btex[123]D\w*\s*[<(]": "textures",
}  # fmt: skip
_INCLUDES = re.compile(
    r"^[ \t]*#[ \t]*include[ \t]*[<\"](?:cuda[\w./]*|device_launch_parameters\.h|vector_types\.h|ATen/cuda/[^>\"]+|c10/cuda/[^>\"]+"
    r"|cooperative_groups[\w./]*|math_constants\.h|THC/[^>\"]+|cub/[^>\"]+|thrust/[^>\"]+|curand\w*\.h|cublas\w*\.h)[>\"][^\n]*\n",
    re.M,
)
_SWAPS = (
    (r"\.type\(\)\s*(?=\.\s*is_c(?:uda|pu)\b)", ""), (r"(\bAT_DISPATCH_\w+\s*\([^\"{;]*?)\.type\(\)", r"\1.scalar_type()"),
    (r"\bis_cuda\b", "is_cpu"), (r"\bkCUDA\b", "kCPU"), (r"\bDeviceType::CUDA\b", "DeviceType::CPU"),
    (r"\bRestrictPtrTraits\b", "DefaultPtrTraits"), (r"CUDA tensor", "CPU tensor"), (r"(\bdevice\s*\(\s*)\"cuda(?::\d+)?\"", r'\1"cpu"'), (r"\btorch::cuda::is_available\(\)", "true"),
)  # fmt: skip
_PROTOTYPES = re.compile(r"(?:\btemplate\s*(?:<[^<>{};]*>\s*)?)?\b__global__\b[^;{}]*;[ \t]*\n?")


@dataclass(frozen=True)
class Translated:
    """The C++ text and its kernels."""

    text: str
    kernels: tuple[KernelCode, ...]


@dataclass(frozen=True)
class _Edit:
    start: int
    stop: int
    text: str


def refuse_libraries(source: str) -> None:
    """Raises UnsupportedCuda, with its line, for what belongs to a CUDA library."""
    code = without_comments(SILENT_ASM.sub("(", source))
    for pattern, name in _LIBRARIES.items():
        found = re.search(pattern, code)
        if found:
            line = code.count("\n", 0, found.start()) + 1
            raise UnsupportedCuda(f"line {line}: {name} has no counterpart here (`{found.group().strip(' (')}`)")


def without_comments(source: str) -> str:
    """The same text with comments and strings blanked."""

    def blank(m: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", m.group())

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, source, flags=re.S)


def translate(file: t.CudaFile, geometries: dict[str, Geometry] | None = None, *, bare: bool = False) -> Translated:
    """The file as C++ for the CPU. `geometries`: what is known of each kernel's launches; `bare`: kernels are what others call.
    Raises UnsupportedCuda."""
    refuse_libraries(file.source)
    file = with_own_shared(without_shared_structs(uncubbed(ungrouped(synchronous(file)))))
    known = geometries or {}
    codes = {k.name: _code(k, file, known.get(k.name) or geometry_of(k, file), bare) for k in file.kernels}
    edits = [_Edit(k.start, k.stop, codes[k.name].text.rstrip("\n")) for k in file.kernels]
    edits += [_Edit(s.start, s.stop, launch_call(s, file, codes)) for s in file.launches]
    edits += _device_functions(file)
    edits += _symbols(file)
    body = _apply(file.source, edits)
    told = aliasing("\n".join([e.text for e in edits])) if not bare else ""
    return Translated((options(body) if bare else "") + _host(body, told), tuple(codes.values()))


def _code(kernel: t.Function, file: t.CudaFile, geometry: Geometry, bare: bool) -> KernelCode:
    callable_from_c = bare and not kernel.template and geometry.grid is not None
    return kernel_code(kernel, file, geometry, linkage='extern "C" ' if callable_from_c else "" if bare else "static ")


def geometry_of(kernel: t.Function, file: t.CudaFile) -> Geometry:
    """What the launches in the file say: axes of extents given as plain integers are one."""
    names = {k.name for k in file.kernels}
    sites = [s for s in file.launches if s.kernel == kernel.name or s.kernel not in names]  # a variable can be any of them
    axes = [{_axes(s.configuration[i], file.source) for s in sites} for i in (0, 1)]
    grid, block = (max(found, key=len) if found else "xyz" for found in axes)
    return Geometry(grid_axes=grid, block_axes=block)


def _axes(e: t.Expr, source: str) -> str:
    """The axes that a launch argument can use: `dim3(a, b)` two, an integer one."""
    if isinstance(e, t.Call) and t.called(e) == "dim3":
        return "xyz"[: max(1, len(e.args))]
    if isinstance(e, t.Name):
        declared = re.search(rf"\bdim3\s+(?:const\s+)?{re.escape(e.text)}\s*(\(([^;]*)\)|\{{([^;]*)\}}|=\s*dim3\s*\(([^;]*)\)|=\s*\{{([^;]*)\}})?\s*[;,]", source)
        if declared:
            if re.search(rf"\b{re.escape(e.text)}\s*\.\s*[yz]\s*=|\b{re.escape(e.text)}\s*=(?!=)\s*dim3", source):
                return "xyz"
            inner = next((g for g in declared.groups()[1:] if g is not None), "")
            return "xyz"[: max(1, _commas(inner) + 1)] if inner.strip() else "xyz"
        if re.search(rf"\bdim3\b[^;(]*,\s*{re.escape(e.text)}\b", source):
            return "xyz"
        if re.search(rf"\b(?:int|unsigned|size_t|int64_t|long|auto|uint32_t)\s+(?:int\s+|long\s+)?{re.escape(e.text)}\b", source) or re.search(rf"#\s*define\s+{re.escape(e.text)}\s+\(?\d", source):
            return "xyz" if re.search(rf"\bauto\s+{re.escape(e.text)}\s*=\s*dim3", source) else "x"
        return "xyz"
    return "x" if isinstance(e, (t.Literal, t.Binary)) else "xyz"


def _commas(text_: str) -> int:
    depth = count = 0
    for c in text_:
        depth += (c in "([{<") - (c in ")]}>")
        count += c == "," and depth == 0
    return count


def launch_call(site: t.LaunchSite, file: t.CudaFile, codes: dict[str, KernelCode]) -> str:
    """`k<T>(grid, block, shared, arguments)`."""
    code = codes.get(site.kernel) or _behind(site, file, codes)
    if code is None:
        raise UnsupportedCuda(f"line {site.line}: kernel {site.kernel} is launched but not defined here")
    configuration = [text.expression(e) for e in site.configuration[: 3 if code.takes_shared else 2]]
    if code.takes_shared and len(site.configuration) < 3:
        configuration.append("0")
    instance = f"{site.kernel}<{site.template}>" if site.template else site.kernel
    values = [text.arguments((a,)) for a in site.args]
    return f"{instance}({', '.join([*configuration, *values])})"


def _behind(site: t.LaunchSite, file: t.CudaFile, codes: dict[str, KernelCode]) -> KernelCode | None:
    """One of the kernels that a variable can be, where all are called alike: `auto kernel = wide ? k<4> : k<1>;`."""
    owner = next((f for f in file.functions if f.start <= site.start < f.stop), None)
    given = re.findall(rf"\bauto\s*[*&]*\s*{re.escape(site.kernel)}\s*=([^;]*);", file.source.encode()[owner.start : owner.stop].decode() if owner else "")
    found = [code for name, code in codes.items() if any(re.search(rf"\b{re.escape(name)}\b", text_) for text_ in given)]
    return found[0] if found and len({code.takes_shared for code in found}) == 1 else None


def _device_functions(file: t.CudaFile) -> list[_Edit]:
    """Device functions lose their qualifiers; those that synchronise are part of the kernels that called them."""
    sync = Synchronising(file)
    edits = []
    for f in file.functions:
        if f.kind != "device":
            continue
        if f.name in sync.functions:
            edits.append(_Edit(f.start, f.stop, ""))
            continue
        edits.append(_Edit(f.start, f.stop, device_function(f)))
    return edits


def device_function(f: t.Function) -> str:
    """A `__device__` function as an inline C++ function."""
    template = f"template <{', '.join(f.template)}>\n" if f.template or (f.name.endswith(">") and not f.name.startswith("operator")) else ""
    params = ", ".join(text.parameter(p) for p in f.params)
    lines = [f"{template}inline {f.returns} {f.name}({params}) {{", *text.body(spelling.respell(f.body), 1), "}"]
    return "\n".join(lines)


def _symbols(file: t.CudaFile) -> list[_Edit]:
    """File-scope device and constant memory is plain memory."""
    edits = []
    for s, start, stop in file.symbols:
        if set(s.qualifiers) & {"__constant__", "__device__"}:
            plain = t.Declare(s.type, s.declarators, ("static", *(q for q in s.qualifiers if not q.startswith("__") and q not in ("static", "extern"))))
            edits.append(_Edit(start, stop, text.declaration(plain) + ";"))
    return edits


def _apply(source: str, edits: list[_Edit]) -> str:
    data = source.encode()
    for e in sorted(edits, key=lambda e: e.start, reverse=True):
        data = data[: e.start] + e.text.encode() + data[e.stop :]
    return data.decode()


def _host(body: str, told: str) -> str:
    """Host code for CPU tensors: CUDA's headers, checks and streams go. `told`: what the compiler is told before it."""
    body = _INCLUDES.sub("", body)
    for pattern, new in _SWAPS:
        body = re.sub(pattern, new, body)
    body = re.sub(r"(?:(?:at|c10)::cuda::)?(?:getCurrentCUDAStream|getDefaultCUDAStream|getStreamFromPool)" + PARENTHESES + r"(?:\.stream\(\))?", "nullptr", body)
    body = re.sub(r"\b(?:at::cuda::|c10::cuda::)?CUDAStream(\s+\w+\s*=\s*nullptr\s*;)", r"auto\1", body)
    body = without_idle_calls(body)
    body = _PROTOTYPES.sub("", body)
    body = _unqualified(body)
    body = _without_aliases(body)
    head, rest = _split_includes(body)
    needed = stand_ins(rest)
    return head + "\n" + prelude(needed + rest) + ("\n" + needed if needed else "") + told + rest


def _without_aliases(body: str) -> str:
    """Without other names for what the steps before have written out."""
    body = BARRIER_ALIASES.sub("", ALIASES.sub("", body))
    return re.sub(r"^[ \t]*(?:using\s+namespace|namespace\s+\w+\s*=|using)\s+cooperative_groups\b[^;]*;[ \t]*\n", "", body, flags=re.M)


def _unqualified(body: str) -> str:
    body = re.sub(r"\b__(?:device|host)__[ \t]*", "", body)
    body = re.sub(r"\b__align__(?=\s*\()", "alignas", body)
    return re.sub(r"\b__forceinline__\b", "inline", body)


def file_scope(file: t.CudaFile) -> str:
    """What stands outside functions: macros, types, aliases. Variables and functions are printed by others."""
    edits = [_Edit(f.start, f.stop, "") for f in file.functions] + [_Edit(start, stop, "") for _, start, stop in file.symbols]
    rest = _INCLUDES.sub("", _without_remarks(_apply(file.source, edits)))
    rest = re.sub(r'^[ \t]*#[ \t]*include[ \t]*"[^\n]*\n|^[ \t]*extern\s*"C"\s*(?:;|\{\s*\})|^[ \t]*#[ \t]*pragma once[^\n]*\n', "", rest, flags=re.M)
    rest = _without_aliases(rest)
    rest = _PROTOTYPES.sub("", _unqualified(rest))
    return re.sub(r"\n\s*\n+", "\n", rest).lstrip("\n")


def _without_remarks(source: str) -> str:
    """Without comments; strings stay."""
    return re.sub(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', lambda m: m.group() if m.group()[0] == '"' else " ", source, flags=re.S)


def _split_includes(body: str) -> tuple[str, str]:
    """The file's own includes come first, then the prelude, then its code."""
    includes = re.findall(r"^[ \t]*#[ \t]*include[^\n]*\n", body, re.M)
    return "".join(includes), re.sub(r"^[ \t]*#[ \t]*include[^\n]*\n", "", body, flags=re.M)
