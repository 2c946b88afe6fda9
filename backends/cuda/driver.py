"""Runs a CudaProgram on a GPU through the CUDA driver (cuda-python): a program for given dims comes in, a callable on CUDA tensors goes out.

Launches go to torch's current stream, so they are ordered with what torch does. Raises MissingTool, LaunchFailed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache

import torch

from ...ir.diagnostic import MissingTool, WarploomError
from .nvrtc import compile_cubin
from .program import CudaProgram, Launched

_STATIC_SHARED = 48 << 10


class LaunchFailed(WarploomError):
    """The driver refused a kernel or a launch; the message has its reason. Report it with `--dump-ir`."""

    code = "WL-E071"
    exit_code = 1


class Loaded:
    """A program on one device."""

    def __init__(self, program: CudaProgram, dims: Mapping[str, int], device: torch.device):
        self.program, self.dims, self.device = program, dict(dims), device
        self.sized = program.at(self.dims)
        with torch.cuda.device(device):
            torch.cuda.current_stream()  # torch's context is the current one from here on
            self.library = _checked(_driver().cuModuleLoadData(compile_cubin(program.source, arch_of(device))))
            self.launches = [(x, self._function(x)) for x in self.sized.launches]
        self.types = {k.name: k.dim_type for k in program.kernels}

    def _function(self, x: Launched):
        driver = _driver()
        function = _checked(driver.cuModuleGetFunction(self.library, x.kernel.encode()))
        if x.shared_bytes > _STATIC_SHARED:
            most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _checked(driver.cuFuncSetAttribute(function, most, x.shared_bytes))
        return function

    def on_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """All launches in order on dense tensors of the device, one for each buffer, changed in place; returns before they are done."""
        driver = _driver()
        with torch.cuda.device(self.device):
            stream = torch.cuda.current_stream().cuda_stream
            for x, function in self.launches:
                values, kinds = self._arguments(x, tensors)
                _checked(driver.cuLaunchKernel(function, *x.grid, *x.block, x.shared_bytes, stream, (values, kinds), 0))

    def _arguments(self, x: Launched, tensors: Mapping[str, torch.Tensor]) -> tuple[tuple, tuple]:
        number = ctypes.c_int if self.types[x.kernel] == "int" else ctypes.c_longlong
        values = tuple(self.dims[a] if a in self.dims else tensors[a].data_ptr() for a in x.args)
        return values, tuple(number if a in self.dims else ctypes.c_void_p for a in x.args)


def arch_of(device: torch.device) -> str:
    """The architecture of a device, such as sm_90."""
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


@cache
def _driver():
    try:
        from cuda.bindings import driver  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError:
        raise MissingTool("cuda-python is not installed", hint='pip install "warploom[cuda]"') from None
    _checked(driver.cuInit(0))
    return driver


def _checked(answer: tuple):
    """The value of a driver call. Raises LaunchFailed."""
    status, *values = answer
    if int(status) != 0:
        raise LaunchFailed(f"the CUDA driver answers {status.name}")
    return values[0] if values else None
