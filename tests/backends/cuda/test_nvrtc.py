"""Cubins without a GPU: both architectures, half's headers, nvcc where it is installed, and one clear line for what does not compile."""

import shutil

import pytest
from warploom.backends.cuda.nvrtc import ARCHITECTURES, available, compile_cubin
from warploom.ir.diagnostic import BuildFailed, MissingTool

SOURCE = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2.0f; }\n'
HALF = '#include <cuda_fp16.h>\nextern "C" __global__ void twice(__half* x) { x[threadIdx.x] = __float2half_rn(2.0f); }\n'

needs_nvrtc = pytest.mark.skipif(not available(), reason="NVRTC is not installed")


@needs_nvrtc
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_cubin(arch):
    assert compile_cubin(SOURCE, arch)[:4] == b"\x7fELF"
    assert compile_cubin(SOURCE, arch) == compile_cubin(SOURCE, arch)


@needs_nvrtc
def test_half_finds_its_headers():
    try:
        assert compile_cubin(HALF, "sm_90")[:4] == b"\x7fELF"
    except MissingTool as error:
        assert "cuda_fp16.h" in str(error)


@needs_nvrtc
def test_first_error_is_named():
    with pytest.raises(BuildFailed, match=r"identifier .nothing. is undefined"):
        compile_cubin("__global__ void f() { nothing(); }", "sm_90")


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_nvcc_does_too():
    assert compile_cubin(SOURCE, "sm_90", nvcc=True)[:4] == b"\x7fELF"
