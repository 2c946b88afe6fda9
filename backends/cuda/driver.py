"""Runs a CudaProgram on a GPU through the CUDA driver (cuda-python): a program for given dims comes in, a callable on CUDA tensors goes out.

Launches go to torch's current stream, so they are ordered with what torch does, in the device's primary context, which is torch's too; a
thread that has not used CUDA yet enters it here. Raises MissingTool, LaunchFailed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from ...ir.diagnostic import MissingTool, WarploomError
from .nvrtc import compile_cubin, version
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
        self.index = torch.cuda.current_device() if device.index is None else device.index
        with torch.cuda.device(self.index):
            _enter(self.index)
            self.library = _loaded(program.source, self.index)
            self.launches = [(x, self._function(x)) for x in self.sized.launches if 0 not in x.grid]
        self.types = {k.name: k.dim_type for k in program.kernels}

    def _function(self, x: Launched):
        driver = _driver()
        function = _checked(driver.cuModuleGetFunction(self.library, x.kernel.encode()), x.kernel)
        most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        if x.shared_bytes > _STATIC_SHARED and x.shared_bytes > _checked(driver.cuFuncGetAttribute(most, function)):
            _checked(driver.cuFuncSetAttribute(function, most, x.shared_bytes), f"{x.kernel} with {x.shared_bytes} bytes of shared memory")
        return function

    def on_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """All launches in order on dense tensors of the device, one for each buffer, changed in place; returns before they are done."""
        driver = _driver()
        with torch.cuda.device(self.index):
            _enter(self.index)
            stream = torch.cuda.current_stream().cuda_stream
            for x, function in self.launches:
                values, kinds = self._arguments(x, tensors)
                _checked(driver.cuLaunchKernel(function, *x.grid, *x.block, x.shared_bytes, stream, (values, kinds), 0), x.kernel)

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


@cache
def _context(index: int):
    """The primary context of a device, held from here on."""
    driver = _driver()
    return _checked(driver.cuDevicePrimaryCtxRetain(_checked(driver.cuDeviceGet(index))))


def _enter(index: int) -> None:
    """Make the device's primary context this thread's."""
    _checked(_driver().cuCtxSetCurrent(_context(index)))


@cache
def _loaded(source: str, index: int):
    """The module of a source on a device. Programs for other dims share it. Raises BuildFailed."""
    status, module = _driver().cuModuleLoadData(compile_cubin(source, arch_of(torch.device("cuda", index))))
    if int(status) != 0 and (old := _too_old()):
        raise MissingTool(old, hint="update NVIDIA's driver, or install the cuda-python of the driver's CUDA version")
    return _checked((status, module))


def _too_old() -> str:
    """What is wrong where the driver is of an earlier CUDA than the compiler."""
    known = _checked(_driver().cuDriverGetVersion())
    made = version()
    return f"NVIDIA's driver takes CUDA {known // 1000}.{known % 1000 // 10}, and NVRTC is of CUDA {made}" if known // 1000 < int(made.split(".")[0]) else ""


def _checked(answer: tuple, what: str = "") -> Any:
    """The value of a driver call. Raises LaunchFailed, which names `what` was done."""
    status, *values = answer
    if int(status) != 0:
        raise LaunchFailed(f"{what}: the CUDA driver answers {status.name}" if what else f"the CUDA driver answers {status.name}")
    return values[0] if values else None
