"""warploom weaves PyTorch models and CUDA kernels into fast, verified CPU, CUDA and Triton code.

Names are loaded on first use, so that `import warploom` and `warploom --help` answer at once.
"""

from importlib import import_module

from .ir.version import VERSION

__version__ = VERSION

_LAZY = {"compile": "compiler", "load": "compiler", "transpile": "transpiler", "kernel": "kernels.handwritten"}

__all__ = ["__version__", "compile", "kernel", "load", "transpile"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
