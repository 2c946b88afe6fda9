"""Transpiled text as something callable. C++ text comes in, a Python module (PyTorch extension) or a library goes out."""

from __future__ import annotations

import ctypes
import hashlib
from types import ModuleType

from ...emulator.torch_build import build_library, import_extension
from ...toolchain import SAFE, compile_library, open_library

FLAGS = ("-O3", "-fopenmp", "-march=native", SAFE)


def load_text(text: str) -> ModuleType:
    """Builds and imports a transpiled PyTorch extension. Raises BuildFailed."""
    name = "transpiled_" + hashlib.sha256(text.encode()).hexdigest()[:20]
    unit = f"#undef TORCH_EXTENSION_NAME\n#define TORCH_EXTENSION_NAME {name}\n{text}"
    return import_extension(name, build_library([unit], stem="transpiled"))


def load_library(text: str) -> ctypes.CDLL:
    """Builds and opens transpiled bare kernels. Raises BuildFailed."""
    return open_library(compile_library([text], ("-std=c++17", *FLAGS), None, "transpiled"))
