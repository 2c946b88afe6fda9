"""PyTorch extensions written in CUDA, host code and all, on CPU tensors.

Comes in: the `.cu` and `.cpp` files of an extension. Goes out: its Python module, whose functions take CPU tensors and
run the kernels in the emulator. Checks such as `x.is_cuda()` hold for CPU tensors, `torch::kCUDA` is the CPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.machinery
import importlib.util
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ..toolchain import Headers, compile_library, open_openmp
from .execute import header_stamp
from .includes import expand_includes
from .rewrite import Rewritten, rewrite
from .unit import include_folder, unit_defines, unit_flags

_PRELUDE = "warploom_torch_prelude.h"


def is_extension(source: str) -> bool:
    """Whether a file is (part of) a PyTorch extension rather than a bare kernel."""
    return any(
        mark in source for mark in ("torch/extension.h", "torch/torch.h", "ATen/ATen.h", "PYBIND11_MODULE", "TORCH_LIBRARY")
    )


def load_extension(
    files: Sequence[Path],
    *,
    include: Sequence[Path] = (),
    defines: Sequence[str] = (),
    flags: Sequence[str] = (),
    extra: str = "",
) -> ModuleType:
    """Builds (or finds in the cache) and imports an extension; `extra` is put before the emulator's header.

    Raises BuildFailed, UnreadableCuda."""
    texts = [expand_includes(path.read_text(errors="replace"), str(path), include) for path in files]
    name = "emulated_" + hashlib.sha256("\0".join([*texts, *defines, *flags, extra, header_stamp()]).encode()).hexdigest()[:20]
    rewritten = [rewrite(text, swap_device=True) for text in texts]
    path = build_extension(name, files, rewritten, include=include, defines=defines, flags=flags, extra=extra)
    return import_extension(name, path)


def build_extension(
    name: str,
    files: Sequence[Path],
    rewritten: Sequence[Rewritten],
    *,
    include: Sequence[Path] = (),
    defines: Sequence[str] = (),
    flags: Sequence[str] = (),
    extra: str = "",
) -> Path:
    """The extension's shared library; its module is called `name`, which must be unique in the process that loads it."""
    needed = next((unit_flags(part) for part in rewritten if unit_flags(part)), ())
    index = extra + "".join({unit_defines(part) for part in rewritten})
    headers = Headers(((_PRELUDE, "#include <torch/extension.h>\n"),))
    units = [_unit(path, part, name, index) for path, part in zip(files, rewritten)]
    given = [f"-D{d}" for d in defines] + [f"-I{folder}" for folder in include]
    return compile_library(units, (*_flags(), *needed, *flags, *given), headers, "extension")


def _unit(path: Path, part: Rewritten, name: str, index: str) -> str:
    """Only torch's own header is compiled beforehand: it is by far the largest, and the same for every extension."""
    return f"""#include "{_PRELUDE}"
// {header_stamp()}
{index}#include "warploom/torch_cuda.h"
#undef TORCH_EXTENSION_NAME
#define TORCH_EXTENSION_NAME {name}
#line 1 "{path}"
{part.text}
"""


def _flags() -> tuple[str, ...]:
    from torch.utils.cpp_extension import include_paths

    folders = [str(include_folder()), *include_paths(), sysconfig.get_paths()["include"]]
    return (
        "-std=gnu++20",
        "-O2",
        "-ftree-vectorize",
        "-march=native",
        "-mtls-dialect=gnu2",
        "-D_GLIBCXX_USE_CXX11_ABI=1",
        "-DTORCH_API_INCLUDE_EXTENSION_H",
        *(f"-I{folder}" for folder in folders),
    )


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
