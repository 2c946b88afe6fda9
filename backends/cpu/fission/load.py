"""Transpiled text as something callable. C++ text comes in, a Python module (PyTorch extension) or a library goes out."""

from __future__ import annotations

import ctypes
import hashlib
import sysconfig
from types import ModuleType

from ...emulator.torch_extension import import_extension
from ...toolchain import Headers, compile_library, open_library

FLAGS = ("-O3", "-fopenmp", "-march=native")
_PRELUDE = "warploom_torch.h"


def load_text(text: str) -> ModuleType:
    """Builds and imports a transpiled PyTorch extension. Raises BuildFailed."""
    from torch.utils.cpp_extension import include_paths

    name = "transpiled_" + hashlib.sha256(text.encode()).hexdigest()[:20]
    folders = [*include_paths(), sysconfig.get_paths()["include"]]
    flags = ("-std=gnu++20", *FLAGS, "-D_GLIBCXX_USE_CXX11_ABI=1", "-DTORCH_API_INCLUDE_EXTENSION_H", *(f"-I{f}" for f in folders))
    unit = f'#include "{_PRELUDE}"\n#undef TORCH_EXTENSION_NAME\n#define TORCH_EXTENSION_NAME {name}\n{text}'
    path = compile_library([unit], flags, Headers(((_PRELUDE, "#include <torch/extension.h>\n"),)), "transpiled")
    return import_extension(name, path)


def load_library(text: str) -> ctypes.CDLL:
    """Builds and opens transpiled bare kernels. Raises BuildFailed."""
    return open_library(compile_library([text], ("-std=c++17", *FLAGS), None, "transpiled"))
