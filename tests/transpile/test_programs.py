"""Bare programs whose launches and buffers are known become one C function: what it computes, against NumPy."""

import ctypes

import numpy as np
import pytest
import torch
from warploom.backends.cpu.fission.load import load_library, load_text
from warploom.backends.emulator.rewrite import rewrite
from warploom.backends.emulator.torch_extension import load_extension
from warploom.frontend.cuda.binding import Binding, BoundLaunch, Buffer
from warploom.transpiler import transpile_file, transpile_program

X = np.random.default_rng(0).random((96, 640)).astype(np.float32) - np.float32(0.5)


def run(source, arrays, launches, temps=(), dtypes=None):
    """`arrays`: name -> array, the outputs' names in capitals; `launches`: (kernel, grid, block, names of arrays)."""
    sizes = {**arrays, **{name: np.zeros(count, np.float32) for name, count in temps}}
    role = {name: "temp" if name in dict(temps) else "out" if name.isupper() else "in" for name in sizes}
    buffers = tuple(Buffer(name, role[name], (dtypes or {}).get(name, str(a.dtype)), a.size) for name, a in sizes.items())
    at = {b.name: i for i, b in enumerate(buffers)}
    bound = tuple(BoundLaunch(k, grid, block, tuple(at[n] for n in names)) for k, grid, block, names in launches)
    made = transpile_program(source, Binding(buffers, bound, tuple(at[n] for n in arrays)))
    load_library(made.text).kernel(*(ctypes.c_void_p(a.ctypes.data) for a in arrays.values()))
    return made


def test_what_only_nvcc_knows_in_macros_and_what_math_h_declares():
    source = """#ifndef LARGEST
#define LARGEST __int_as_float(0x7f800000)
#endif
#define GROWN(x) __expf(x)
__global__ void k(const float* x, float* y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  float v = isnan(x[i]) || isinf(x[i]) || !isfinite(x[i]) ? -LARGEST : abs(x[i]) + GROWN(x[i]);
  y[i] = isnan(v) ? 0.f : v;
}"""
    y = np.zeros(640, np.float32)
    run(source, {"x": X[0], "Y": y}, [("k", (10, 1, 1), (64, 1, 1), ("x", "Y"))])
    np.testing.assert_allclose(y, np.abs(X[0]) + np.exp(X[0]), rtol=1e-6)


@pytest.mark.parametrize("wide", ["long long", "int64_t", "long", "unsigned long long"])
def test_whole_numbers_of_64_bits_by_any_name(wide):
    source = f"__global__ void k(const {wide}* a, {wide}* b) {{ b[threadIdx.x] = a[31 - threadIdx.x] * 3; }}"
    a, b = np.arange(32) << 33, np.zeros(32, np.int64)
    run(source, {"a": a, "B": b}, [("k", (1, 1, 1), (32, 1, 1), ("a", "B"))])
    assert (b == a[::-1] * 3).all()


def test_one_kernel_launched_over_two_grids():
    source = "__global__ void k(const float* x, float* y) { int i = blockIdx.x * 32 + threadIdx.x; __shared__ float s[32]; s[threadIdx.x] = x[i]; __syncthreads(); y[i] = s[31 - threadIdx.x] + x[i]; }"
    first, second = np.zeros(64, np.float32), np.zeros(160, np.float32)
    run(source, {"x": X[0], "FIRST": first, "SECOND": second}, [("k", (2, 1, 1), (32, 1, 1), ("x", "FIRST")), ("k", (5, 1, 1), (32, 1, 1), ("x", "SECOND"))])
    for y in (first, second):
        x = X[0][: y.size]
        np.testing.assert_array_equal(y, x.reshape(-1, 32)[:, ::-1].reshape(-1) + x)


def test_one_element():
    source = "__global__ void k(const float* x, float* y) { const int i = threadIdx.x; if (threadIdx.x < 1) { float s = 0.f; for (int r = 0; r < 4; ++r) s += x[i * 4 + r]; y[i] = s; } }"
    y = np.zeros(1, np.float32)
    run(source, {"x": X[0], "Y": y}, [("k", (1, 1, 1), (32, 1, 1), ("x", "Y"))])
    np.testing.assert_allclose(y, X[0][:4].sum(), rtol=1e-6)


def test_a_guard_of_the_last_blocks_beside_another_axis():
    source = """__global__ void k(const float* x, float* y) {
  const int j = blockIdx.y, b = blockIdx.x, t = threadIdx.x;
  if (b * 32 + t < 310) { for (int v = 0; v < 2; ++v) y[j * 620 + b * 64 + t * 2 + v] = x[j * 640 + b * 64 + t * 2 + v]; }
}"""
    y = np.zeros((96, 620), np.float32)
    made = run(source, {"x": X, "Y": y}, [("k", (10, 96, 1), (32, 1, 1), ("x", "Y"))])
    np.testing.assert_array_equal(y, X[:, :620])
    assert "omp parallel for" in made.text


def test_a_pragma_is_not_the_body_of_the_loop_before_it():
    source = """__global__ void k(const float* x, float* y) {
  int i = 3, t = threadIdx.x;
  float s = 0.f;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 2; ++j) s += x[t * 8 + i * 2 + j];
  y[t] = s + i;
}"""
    y = np.zeros(32, np.float32)
    run(source, {"x": X[0], "Y": y}, [("k", (1, 1, 1), (32, 1, 1), ("x", "Y"))])
    np.testing.assert_allclose(y, X[0][:256].reshape(32, 8).sum(1) + 3, rtol=1e-5)


def test_constants_of_a_kernel_and_a_function_with_one_name_in_two_scopes():
    source = """__device__ void load(const float* x, float (&a)[8][4], float (&b)[8][4], int at) {
  for (int e = threadIdx.x; e < 32; e += 16) { int r = e / 4; a[r][e % 4] = x[at + e]; }
  for (int e = threadIdx.x; e < 32; e += 16) { int r = e % 8; b[r][e / 8] = x[at + e]; }
}
__global__ void k(const float* x, float* y) {
  const int ROWS = 8;
  constexpr int COLUMNS = ROWS / 2;
  __shared__ float a[ROWS][COLUMNS], b[ROWS][COLUMNS];
  for (int at = 0; at < 64; at += 32) {
    load(x, a, b, at);
    __syncthreads();
    for (int e = threadIdx.x; e < ROWS * COLUMNS; e += 16) y[at + e] = a[e / 4][e % 4] + b[e / 4][e % 4];
    __syncthreads();
  }
}"""
    y = np.zeros(64, np.float32)
    run(source, {"x": X[0], "Y": y}, [("k", (1, 1, 1), (16, 1, 1), ("x", "Y"))])
    x = X[0][:64].reshape(2, 32)
    np.testing.assert_array_equal(y.reshape(2, 8, 4), x.reshape(2, 8, 4) + x.reshape(2, 4, 8).transpose(0, 2, 1))


def test_reductions_of_groups():
    source = """#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
namespace cg = cooperative_groups;
__global__ void k(const float* x, float* y) {
  auto tile = cg::tiled_partition<8>(cg::this_thread_block());
  float most = cg::reduce(tile, x[threadIdx.x], cg::greater<float>()), least = cg::reduce(tile, x[threadIdx.x], cg::less<float>{});
  unsigned bits = __reduce_and_sync(0xffffffff, threadIdx.x | 6u);
  y[threadIdx.x] = most - least + bits + (tile.any(threadIdx.x == 9) ? 100 : 0);
}"""
    y = np.zeros(64, np.float32)
    run(source, {"x": X[0], "Y": y}, [("k", (1, 1, 1), (64, 1, 1), ("x", "Y"))])
    x = X[0][:64].reshape(8, 8)
    bits = np.array([np.bitwise_and.reduce(np.arange(32 * w, 32 * w + 32) | 6) for w in (0, 1)]).repeat(32)
    np.testing.assert_allclose(y, (x.max(1) - x.min(1)).repeat(8) + bits + np.where(np.arange(64) // 8 == 1, 100, 0), rtol=1e-5)


def test_volatile_by_a_cast():
    source = """__global__ void k(const float* x, float* y) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[t]; s[t + 32] = 0.f;
  ((volatile float*)s)[t] += ((volatile float*)s)[t + 16];
  ((volatile float*)s)[t] += ((volatile float*)s)[t + 8];
  y[t] = s[t];
}"""
    y = np.zeros(32, np.float32)
    run(source, {"x": X[0], "Y": y}, [("k", (1, 1, 1), (32, 1, 1), ("x", "Y"))])
    s = np.concatenate([X[0][:32], np.zeros(64, np.float32)])
    for step in (16, 8):
        s[:32] = s[:32] + s[step : step + 32]
    np.testing.assert_allclose(y, s[:32], rtol=1e-6)


@pytest.mark.parametrize("half, to, of", [("__half", "__float2half", "__half2float"), ("__nv_bfloat16", "__float2bfloat16", "__bfloat162float")])
def test_half_precision(half, to, of):
    source = f"""#include <cuda_fp16.h>
#include <cuda_bf16.h>
__global__ void k(const {half}* x, {half}* y) {{
  __shared__ {half} s[32];
  int t = threadIdx.x;
  s[t] = __hmul(x[t], x[t]);
  float v = {of}(x[t]);
  v += __shfl_xor_sync(0xffffffff, v, 1);
  __syncthreads();
  y[t] = __hadd(s[31 - t], {to}(v));
}}"""
    values = np.arange(32, dtype=np.float32) / 8
    if half == "__half":
        x, y = values.astype(np.float16), np.zeros(32, np.float16)
    else:
        x, y = (values.view(np.uint32) >> 16).astype(np.uint16), np.zeros(32, np.uint16)
    run(source, {"x": x, "Y": y}, [("k", (1, 1, 1), (32, 1, 1), ("x", "Y"))], dtypes={n: "float16" if half == "__half" else "bfloat16" for n in ("x", "Y")})
    v = values.reshape(16, 2).sum(1).repeat(2)
    got = y.astype(np.float32) if half == "__half" else (y.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(got, (values**2)[::-1] + v, rtol=2e-2)


def test_the_old_ways_to_ask_a_tensor():
    source = """#include <torch/extension.h>
#define CHECK_CUDA(x) TORCH_CHECK(x.type().is_cuda(), #x " must be a CUDA tensor")
__global__ void k(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }
torch::Tensor forward(torch::Tensor x) {
  CHECK_CUDA(x);
  auto y = torch::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.type(), "k", ([&] { k<<<1, 32>>>(x.data<float>(), y.data<float>()); }));
  return y;
}
"""
    made = transpile_file(source).text
    assert "TORCH_CHECK(x.is_cpu()," in made and "AT_DISPATCH_FLOATING_TYPES(x.scalar_type()," in made
    emulated = "".join(rewrite(source, swap_device=True).text.split())
    assert "TORCH_CHECK(x.is_cpu()," in emulated


@pytest.mark.long
@pytest.mark.parametrize("side", ["emulator", "transpiled"])
def test_what_is_no_symbol_is_not_written(side, tmp_path):
    """An expression of a symbol is not one, and a copy ends with the symbol: the runtime answers so and writes nothing."""
    source = """#include <torch/extension.h>
__constant__ float table[4];
__constant__ float beside[4];
__global__ void k(float* y) { y[threadIdx.x] = threadIdx.x < 4 ? table[threadIdx.x] : beside[threadIdx.x - 4]; }
std::vector<int64_t> codes() {
  std::vector<int64_t> all;
  float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  all.push_back(cudaMemcpyToSymbol(table, ones, 16));
  all.push_back(cudaMemcpyToSymbol(table, ones, 32));
  all.push_back(cudaMemcpyToSymbol(table + 2, ones, 8));
  all.push_back(cudaMemcpyToSymbolAsync(table + 2, ones, 8, 0, cudaMemcpyHostToDevice));
  all.push_back(cudaMemcpyFromSymbol(ones, table, 20));
  all.push_back(cudaMemcpyFromSymbol(ones, table + 1, 4));
  return all;
}
torch::Tensor forward(torch::Tensor x) {
  k<<<1, 8>>>(x.data_ptr<float>());
  return x;
}
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("codes", &codes); m.def("forward", &forward); }
"""
    if side == "emulator":
        (tmp_path / "k.cu").write_text(source)
        built = load_extension([tmp_path / "k.cu"])
    else:
        built = load_text(transpile_file(source).text)
    assert built.codes() == [0, 1, 13, 13, 1, 13]
    assert built.forward(torch.zeros(8)).tolist() == [1.0] * 4 + [0.0] * 4
