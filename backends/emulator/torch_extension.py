"""PyTorch extensions written in CUDA, host code and all, on CPU tensors.

Comes in: the `.cu` and `.cpp` files of an extension. Goes out: its Python module, whose functions take CPU tensors and
run the kernels in the emulator. Checks such as `x.is_cuda()` hold for CPU tensors, `torch::kCUDA` is the CPU.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from .execute import header_stamp
from .includes import expand_includes
from .rewrite import Rewritten, rewrite
from .torch_build import build_library, import_extension
from .unit import include_folder, reread_flags, unit_defines, unit_flags


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
    units = [_unit(path, part, name, index) for path, part in zip(files, rewritten)]
    given = [f"-I{include_folder()}", *(f"-D{d}" for d in defines), *(f"-I{folder}" for folder in include)]
    reread = reread_flags("".join(part.text for part in rewritten))
    return build_library(units, (*needed, *flags, *reread, *given), shared_header=not needed and not flags)


def _unit(path: Path, part: Rewritten, name: str, index: str) -> str:
    """Only torch's own header is compiled beforehand: it is by far the largest, and the same for every extension."""
    return f"""// {header_stamp()}
{index}#include "warploom/torch_cuda.h"
#undef TORCH_EXTENSION_NAME
#define TORCH_EXTENSION_NAME {name}
#line 1 "{path}"
{part.text}
"""
