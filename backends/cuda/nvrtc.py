"""CUDA C++ to cubins. A source and an architecture come in; the cubin comes out, from NVRTC (no GPU needed) or, asked for, nvcc.

Raises MissingTool where the compiler is not installed, BuildFailed with the compiler's first error line.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from ...ir.diagnostic import BuildFailed, MissingTool
from ..cache import cached, contents

ARCHITECTURES = ("sm_80", "sm_90")
"""What cubins are made for without a GPU: A100 and H100."""

_OPTIONS = ("--std=c++17",)


def compile_cubin(source: str, arch: str, nvcc: bool = False) -> bytes:
    """The cubin of a CUDA source for `arch` (such as sm_90), from the build cache where it is there."""
    tool = f"nvcc {_nvcc()}" if nvcc else f"nvrtc {version()}"
    digest = hashlib.sha256("\0".join((tool, arch, *_OPTIONS, source)).encode()).hexdigest()[:32]
    make = _by_nvcc if nvcc else _by_nvrtc
    return contents(cached(f"{digest}.cubin", lambda: make(source, arch)))


def available() -> bool:
    """Whether NVRTC is installed."""
    return importlib.util.find_spec("cuda") is not None and importlib.util.find_spec("cuda.bindings") is not None


def version() -> str:
    """NVRTC's version, major.minor."""
    _, major, minor = _nvrtc().nvrtcVersion()
    return f"{major}.{minor}"


@cache
def _nvrtc():
    try:
        from cuda.bindings import nvrtc  # pyright: ignore[reportAttributeAccessIssue]

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError):
        raise MissingTool("NVRTC is not installed", hint='pip install "warploom[cuda]"') from None
    return nvrtc


def _nvcc() -> str:
    found = shutil.which("nvcc")
    if found is None:
        raise MissingTool("nvcc is not installed", hint="install the CUDA toolkit, or leave out --nvcc to use NVRTC")
    return found


def _by_nvrtc(source: str, arch: str) -> bytes:
    nvrtc = _nvrtc()
    _, program = nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], [])
    options = [*_OPTIONS, f"--gpu-architecture={arch}", "--diag-suppress=177", *(f"-I{p}" for p in _headers(source))]
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    try:
        if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise BuildFailed(f"NVRTC for {arch}: {_first_error(_log(nvrtc, program))}")
        _, size = nvrtc.nvrtcGetCUBINSize(program)
        cubin = b" " * size
        nvrtc.nvrtcGetCUBIN(program, cubin)
        return cubin
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _log(nvrtc, program) -> str:
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    text = b" " * size
    nvrtc.nvrtcGetProgramLog(program, text)
    return text.decode(errors="replace")


def _first_error(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if "error" in line]
    return lines[0] if lines else log.strip()[:200]


def _headers(source: str) -> list[Path]:
    """The folder of CUDA's own headers, which half and bfloat16 need."""
    if "#include" not in source:
        return []
    for folder in _header_folders():
        if (folder / "cuda_fp16.h").is_file():
            return [folder]
    raise MissingTool("cuda_fp16.h is not installed", hint='pip install "warploom[cuda]", or set CUDA_HOME to a CUDA toolkit')


def _header_folders() -> list[Path]:
    spec = importlib.util.find_spec("nvidia")
    wheels = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    homes = [os.environ[k] for k in ("CUDA_HOME", "CUDA_PATH") if k in os.environ]
    return [*(p for w in wheels for p in sorted(w.glob("*/include"))), *(Path(h) / "include" for h in (*homes, "/usr/local/cuda"))]


def _by_nvcc(source: str, arch: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        text, out = Path(folder) / "kernel.cu", Path(folder) / "kernel.cubin"
        text.write_text(source)
        done = subprocess.run(
            [_nvcc(), "-cubin", f"-arch={arch}", *_OPTIONS, "-o", str(out), str(text)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildFailed(f"nvcc for {arch}: {_first_error(done.stderr)}")
        return out.read_bytes()
