"""Builds PyTorch extensions for the CPU, quickly. C++ texts and flags come in, a shared library or the imported module goes out.

torch/extension.h costs 15 s a file even precompiled, because the compiler instantiates what torch::nn and pybind11 mention. Most
extensions use tensors, operators and `m.def`; they are built against `narrow/`, which offers just that, in 3 s. Others take torch's own.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.machinery
import importlib.util
import re
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ...ir.diagnostic import BuildFailed
from ..toolchain import SAFE, Headers, compile_library, open_openmp

_PRELUDE = "warploom_torch_prelude.h"
_COMMON = (
    "-std=gnu++20", "-O3", "-march=native", "-fopenmp", "-mtls-dialect=gnu2", "-D_GLIBCXX_USE_CXX11_ABI=1",
    "-DTORCH_API_INCLUDE_EXTENSION_H", SAFE,
)  # fmt: skip
_WIDE = re.compile(
    r"\btorch::(?:nn|optim|jit|data|serialize|autograd|fft|linalg|special|sparse|nested|python|CustomClassHolder)\b"
    r"|\bTORCH_LIBRARY|\b(?:py|pybind11)::(?!arg\b)\w+|\brequires_grad\s*\(|#\s*include\s*[<\"](?:torch/(?:nn|csrc|script)|pybind11/(?!pybind11|stl\.h))"
)
_FOREIGN = re.compile(r"torch|pybind11|\bpy\b|narrow|\bat::|\bc10::")


def build_library(units: Sequence[str], flags: Sequence[str] = (), *, shared_header: bool = True, stem: str = "extension") -> Path:
    """The units (which may include torch's headers) as one library. `shared_header`: `flags` leave the compiled header as it is
    (they name folders and macros of the unit alone); False where they change code generation. Raises BuildFailed."""
    if not any(_WIDE.search(text) for text in units):
        try:
            return _build(units, flags, True, shared_header, stem)
        except BuildFailed as error:
            if not _FOREIGN.search(error.message):
                raise
    return _build(units, flags, False, shared_header, stem)


def _build(units: Sequence[str], flags: Sequence[str], narrow: bool, shared_header: bool, stem: str) -> Path:
    own = (f"-I{narrow_folder()}",) if narrow else ()
    torch = (*own, *_torch_folders())
    header = Headers(
        ((_PRELUDE, f"// {_stamp(narrow)}\n#include <torch/extension.h>\n"),), (*_COMMON, *torch) if shared_header else None
    )
    return compile_library([f'#include "{_PRELUDE}"\n{text}' for text in units], (*_COMMON, *flags, *torch), header, stem)


def narrow_folder() -> Path:
    """The folder whose torch/extension.h is the narrow one."""
    return Path(__file__).resolve().parent / "narrow"


@functools.cache
def _stamp(narrow: bool) -> str:
    """What the compiled header depends on besides the flags."""
    import torch

    digest = hashlib.sha256(torch.__version__.encode())
    for path in sorted(narrow_folder().rglob("*.h")) if narrow else ():
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def _torch_folders() -> tuple[str, ...]:
    from torch.utils.cpp_extension import include_paths

    return tuple(f"-I{folder}" for folder in (*include_paths(), sysconfig.get_paths()["include"]))


def import_extension(name: str, path: Path) -> ModuleType:
    """Imports a built extension whose module is called `name`."""
    _expose_torch()
    loader = importlib.machinery.ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _expose_torch() -> None:
    """The extension is linked against no library: torch's symbols come from the process."""
    import torch

    folder = Path(torch.__file__).parent / "lib"
    for library in ("libc10.so", "libtorch_cpu.so", "libtorch.so", "libtorch_python.so"):
        ctypes.CDLL(str(folder / library), mode=ctypes.RTLD_GLOBAL)
    open_openmp()
