"""Bare kernels run on NumPy arrays: in place, with barriers, with errors that name what happened."""

import numpy as np
import pytest
from warploom.backends.emulator import KernelFailed, Launch, run_kernel
from warploom.backends.emulator.sidecar import poisoned

SAXPY = """
extern "C" __global__ void saxpy(float* y, const float* x, float a, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}
"""
SUMS = """
__global__ void sums(float* out, const float* x) {
  extern __shared__ float s[];
  int t = threadIdx.x;
  s[t] = x[blockIdx.x * blockDim.x + t];
  __syncthreads();
  for (int h = blockDim.x / 2; h > 0; h /= 2) {
    if (t < h) s[t] += s[t + h];
    __syncthreads();
  }
  if (t == 0) out[blockIdx.x] = s[0];
}
"""


def test_plain_kernel_changes_arrays_in_place():
    n = 1000
    y, x = np.arange(n, dtype=np.float32), np.ones(n, np.float32)
    run_kernel(SAXPY, "saxpy", Launch.of(4, 256), [y, x, 2.0, n])
    assert (y == np.arange(n) + 2).all()


def test_barriers_order_the_threads():
    x = np.arange(1024, dtype=np.float32)
    out = np.zeros(4, np.float32)
    run_kernel(SUMS, "sums", Launch.of(4, 256, 1024), [out, x])
    assert (out == x.reshape(4, 256).sum(1)).all()


def test_write_outside_an_argument_is_an_error():
    y, x = np.zeros(1000, np.float32), np.ones(1000, np.float32)
    with pytest.raises(KernelFailed, match="past the end of argument 0"):
        run_kernel(SAXPY, "saxpy", Launch.of(4, 256), [y, x, 2.0, 1001])


def test_poison_reaches_an_array_without_axes():
    assert np.isnan(poisoned((), np.dtype("float32")))
    assert poisoned((2, 3), np.dtype("int32")).view(np.uint8).min() == 0xA5
