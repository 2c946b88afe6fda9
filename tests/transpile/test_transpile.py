"""Fission by hand-written kernels: what it makes agrees with the emulator, reads as stated, and what it cannot do is refused with line and reason."""

import ctypes
import json
from pathlib import Path

import numpy as np
import pytest
import warploom
from typer.testing import CliRunner
from warploom.backends.cpu.fission.kernel import Geometry, kernel_code
from warploom.backends.cpu.fission.load import load_library
from warploom.backends.cpu.fission.verify import verify
from warploom.backends.emulator.binding import bind
from warploom.cli import app
from warploom.frontend.cuda.binding import read_reference
from warploom.frontend.cuda.raising import NotRaised, raise_kernel
from warploom.frontend.cuda.read import UnsupportedCuda, read
from warploom.ir.interpret import run_program
from warploom.transpiler import transpile_file, transpile_program

from .rewritten import rewritten_file

KERNELS = {
    "tree": (
        "grid=3;block=64",
        """__global__ void k(const float* x, float* y) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[blockIdx.x * 64 + t];
  __syncthreads();
  for (int o = 32; o > 0; o >>= 1) { if (t < o) s[t] += s[t + o]; __syncthreads(); }
  if (t == 0) y[blockIdx.x] = s[0];
}""",
    ),
    "warp reduction in a function, then in one warp": (
        "grid=2;block=128",
        """template <typename T> __device__ T warp_sum(T v) { for (int o = 16; o > 0; o /= 2) v += __shfl_down_sync(0xffffffff, v, o); return v; }
__global__ void k(const float* x, float* y) {
  __shared__ float part[4];
  int t = threadIdx.x, lane = t % 32, w = t / 32;
  float v = warp_sum(x[blockIdx.x * 128 + t]);
  if (lane == 0) part[w] = v;
  __syncthreads();
  if (w == 0) { v = lane < 4 ? part[lane] : 0.f; v = warp_sum<float>(v); if (lane == 0) y[blockIdx.x] = v; }
}""",
    ),
    "tiles and an early return": (
        "grid=2,2;block=8,8",
        """#define T 8
__global__ void k(const float* a, const float* b, float* c, int n) {
  __shared__ float A[T][T], B[T][T + 1];
  int row = blockIdx.y * T + threadIdx.y, col = blockIdx.x * T + threadIdx.x;
  float sum = 0.f;
  for (int m = 0; m < 2; ++m) {
    A[threadIdx.y][threadIdx.x] = a[row * 16 + m * T + threadIdx.x];
    B[threadIdx.y][threadIdx.x] = b[(m * T + threadIdx.y) * 16 + col];
    __syncthreads();
    for (int k = 0; k < T; ++k) sum += A[threadIdx.y][k] * B[k][threadIdx.x];
    __syncthreads();
  }
  if (row == 15) return;
  c[row * 16 + col] = sum;
}""",
    ),
    "parameters that the kernel changes": (
        "grid=3;block=32",
        """__global__ void k(const float* x, float* y, int n) {
  __shared__ float s[32];
  x += blockIdx.x * 32;
  y += blockIdx.x * 32;
  s[threadIdx.x] = x[threadIdx.x];
  n -= 1;
  __syncthreads();
  if (threadIdx.x < n) y[threadIdx.x] = s[31 - threadIdx.x];
}""",
    ),
    "parameters that a kernel without barriers changes": (
        "grid=3;block=32",
        """__global__ void k(const float* x, float* y) {
  x += blockIdx.x * 32;
  y += blockIdx.x * 32 + threadIdx.x;
  *y = 2.0f * x[threadIdx.x];
}""",
    ),
    "lambdas that ask for their place and synchronise": (
        "grid=2;block=64",
        """template <typename F> __device__ float over(int n, float v, F f) { for (int i = threadIdx.x; i < n; i += blockDim.x) v = f(v, i); return v; }
__global__ void k(const float* x, float* y) {
  __shared__ float part[2];
  y[blockIdx.x * 100 + 99] = x[blockIdx.x * 100 + 99];
  auto at = [&](int i) -> float { return x[blockIdx.x * 100 + i]; };
  auto sum = [](float v) { for (int o = 16; o > 0; o >>= 1) v += __shfl_down_sync(0xffffffff, v, o); return v; };
  float v = over(100, 0.f, [&](float a, int i) { return a + at(i); });
  v = sum(v);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  const float total = part[0] + part[1];
  auto put = [=](int i) { y[blockIdx.x * 100 + i] = at(i) / total; };
  for (int i = threadIdx.x; i < 100; i += 64) put(i);
}""",
    ),
    "arguments that a function changes behind its parameters": (
        "grid=1;block=32",
        """__device__ int both(int v, int& r) { r += __shfl_xor_sync(0xffffffff, v, 1); return v; }
__global__ void k(const int* x, int* y) {
  int a = x[threadIdx.x], b = 0;
  auto f = [&](int v) { a += v % 3 + 1; return v * 2; };
  b += f(a);
  b += both(a, a);
  y[threadIdx.x] = a * 31 + b;
}""",
    ),
    "a function that counts down in its template argument": (
        "grid=2;block=64",
        """template <int S> __device__ void step(float* s, int t) {
  if constexpr (S > 0) { if (t < S) s[t] += s[t + S]; __syncthreads(); step<S / 2>(s, t); }
}
__global__ void k(const float* x, float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
  __syncthreads();
  step<32>(s, threadIdx.x);
  y[blockIdx.x] = s[0];
}""",
    ),
    "arrays with values, references into shared memory and a return from a loop": (
        "grid=2;block=32",
        """__device__ int first_above(const float* s, float least) {
  __syncthreads();
  for (int i = 0; i < 32; ++i) {
    if (s[i] > least) return i;
  }
  return -1;
}
__global__ void k(const float* x, float* y) {
  __shared__ float s[32];
  float w[3] = {0.25f, 0.5f, 0.25f}, z[] = {1.f, x[0]}, q[4] = {2.f};
  float& mine = s[threadIdx.x];
  mine = x[blockIdx.x * 32 + threadIdx.x];
  int at = first_above(s, 0.7f), none = first_above(s, 2.f);
  float a = 0.f;
  for (int i = 0; i < 3; ++i) a += w[i] * s[(threadIdx.x + i) % 32];
  __syncthreads();
  y[blockIdx.x * 32 + threadIdx.x] = a + mine + at + none + z[0] * z[1] + q[0] + q[3];
}""",
    ),
    "a shuffle that a condition asks for": (
        "grid=1;block=64",
        """__global__ void k(const float* x, float* y, int n) {
  int t = threadIdx.x;
  float v = x[t];
  for (int o = 16; o > 0; o /= 2) v += n > 3 ? __shfl_down_sync(0xffffffff, v, o) : 1.f;
  y[t] = t % 32 == 0 ? v : 0.f;
}""",
    ),
    "CUB's reductions of a block and a warp": (
        "grid=2;block=64",
        """#include <cub/cub.cuh>
struct Pair { float top; int where; };
struct Larger { __device__ Pair operator()(const Pair& a, const Pair& b) const { return b.top > a.top ? b : a; } };
template <int N> __device__ float total(float v) {
  typedef cub::BlockReduce<float, N> Reduce;
  __shared__ typename Reduce::TempStorage temp;
  __shared__ float all;
  v = Reduce(temp).Sum(v);
  if (threadIdx.x == 0) all = v;
  __syncthreads();
  return all;
}
__global__ void k(const float* x, float* y) {
  using Reduce = cub::BlockReduce<Pair, 64>;
  __shared__ Reduce::TempStorage temp;
  __shared__ cub::WarpReduce<float>::TempStorage warps[2];
  __shared__ cub::WarpReduce<float, 16>::TempStorage halves[4];
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
  float v = x[i] - total<64>(x[i]);
  Pair p{x[i], t};
  p = Reduce(temp).Reduce(p, Larger());
  float m = cub::WarpReduce<float>(warps[t / 32]).Reduce(x[i], cub::Max());
  float d = cub::WarpReduce<float, 16>(halves[t / 16]).Reduce(x[i], [] __device__(float a, float b) { return a - b; });
  if (t % 32 == 0) v += m;
  if (t % 16 == 0) v += d;
  y[i] = t == 0 ? p.where + p.top + v : v;
}""",
    ),
    "CUB's scans and loads": (
        "grid=2;block=64",
        """#include <cub/cub.cuh>
__global__ void k(const float* x, float* y) {
  using Scan = cub::BlockScan<float, 64>;
  using Load = cub::BlockLoad<float, 64, 2, cub::BLOCK_LOAD_STRIPED>;
  __shared__ union { Scan::TempStorage scan; Load::TempStorage load; } temp;
  __shared__ cub::WarpScan<float>::TempStorage warps[2];
  float own[2], before[2], all, s, carry = 0.f;
  int t = threadIdx.x;
  Load(temp.load).Load(x + blockIdx.x * 100, own, 100, 0.f);
  __syncthreads();
  Scan(temp.scan).ExclusiveSum(own, before);
  __syncthreads();
  for (int i = 0; i < 2; ++i) {
    Scan(temp.scan).InclusiveSum(own[i], s, all);
    __syncthreads();
    cub::WarpScan<float> scan(warps[t / 32]);
    float top, w;
    scan.InclusiveScan(own[i], top, cub::Max());
    scan.ExclusiveSum(own[i], w);
    y[blockIdx.x * 128 + i * 64 + t] = s + carry + before[i] * 2.f + top * 3.f + w * 5.f;
    carry += all;
  }
}""",
    ),
    "values of structs, and functions few know": (
        "grid=1;block=64",
        """struct __align__(8) Two { float a, b; };
__device__ Two both(Two p) { p.a += __shfl_xor_sync(0xffffffff, p.a, 1); p.b += __shfl_down_sync(0xffffffff, p.b, 2); return p; }
__global__ void k(const float* x, float* y) {
  __shared__ Two s[64];
  int t = threadIdx.x;
  Two p{x[t], 2.f};
  p = both(p);
  s[t] = p;
  __syncthreads();
  double d = __longlong_as_double(__double_as_longlong(s[63 - t].a) ^ 1);
  y[t] = (float)d + s[t].b + __umulhi(0x80000000u, t) + normcdff(x[t]) + __brev(t) % 7;
}""",
    ),
    "dynamic shared memory of a template's type": (
        "grid=2;block=32;shared=128",
        """template <typename T> struct Shared { __device__ operator T*() { extern __shared__ __align__(sizeof(double)) unsigned char raw[]; return reinterpret_cast<T*>(raw); } };
template <typename T> __device__ T mirrored(T v) {
  extern __shared__ __align__(sizeof(T)) unsigned char memory[];
  T* s = reinterpret_cast<T*>(memory);
  s[threadIdx.x] = v;
  __syncthreads();
  T r = s[31 - threadIdx.x];
  __syncthreads();
  return r;
}
__global__ void k(const float* x, float* y) {
  Shared<float> shared;
  float* s = shared;
  float v = mirrored<float>(x[blockIdx.x * 32 + threadIdx.x]);
  s[threadIdx.x] = v;
  __syncthreads();
  y[blockIdx.x * 32 + threadIdx.x] = v + s[(threadIdx.x + 1) % 32];
}""",
    ),
    "a block of one thread that goes on with its loop, and a variable called tx": (
        "grid=3;block=1",
        """__global__ void k(const int* x, int* y) {
  __shared__ int s[1];
  int tx = 5, a = x[blockIdx.x];
  for (int i = 0; i < (int)blockIdx.x + 1; ++i) {
    if (a % 2 == 0) continue;
    s[0] = x[blockIdx.x] + i;
    __syncthreads();
    a += s[0] + tx;
    __syncthreads();
  }
  y[blockIdx.x] = a;
}""",
    ),
    "asynchronous copies": (
        "grid=2;block=32",
        """#include <cuda_pipeline.h>
__global__ void k(const float* x, float* y) {
  __shared__ float s[2][32];
  int t = threadIdx.x, i = blockIdx.x * 32 + t;
  y[i] = x[i];
  for (int k = 0; k < 2; ++k) {
    __pipeline_memcpy_async(&s[k][t], &x[i], sizeof(float));
    __pipeline_commit();
    __pipeline_wait_prior(0);
    __syncthreads();
    y[i] += s[k][31 - t] * (k + 1);
  }
}""",
    ),
    "barriers behind a return of whole blocks": (
        "grid=4;block=32",
        """__global__ void k(const int* x, int* y) {
  __shared__ int s[32];
  if (blockIdx.x == 2) return;
  s[threadIdx.x] = x[blockIdx.x * 32 + threadIdx.x];
  __syncthreads();
  y[blockIdx.x * 32 + threadIdx.x] = s[31 - threadIdx.x];
}""",
    ),
    "votes and counts": (
        "grid=1;block=96",
        """__global__ void k(const int* x, int* y) {
  int t = threadIdx.x, odd = x[t] & 1;
  unsigned b = __ballot_sync(0xffffffff, odd);
  int c = __syncthreads_count(odd), o = __syncthreads_or(odd && t > 90), any = __any_sync(0xffffffff, t == 40);
  y[t] = (int)(b % 1000) + c * 7 + o * 3 + any;
}""",
    ),
    "threads that leave a loop one by one": (
        "grid=2;block=32",
        """__global__ void k(const int* x, int* y) {
  __shared__ int s[32];
  int t = threadIdx.x, v = x[blockIdx.x * 32 + t], rounds = 0;
  for (int i = 0; ; ++i) {
    unsigned left = __ballot_sync(0xffffffff, i < v % 5);
    if (left == 0) break;
    rounds += i < v % 5 ? 2 : 1;
    if (i == 2) continue;
    rounds += __shfl_xor_sync(0xffffffff, rounds, 1);
  }
  s[t] = rounds; __syncthreads();
  y[blockIdx.x * 32 + t] = s[(t + 1) % 32] + v;
}""",
    ),
    "volatile warp": (
        "grid=2;block=32",
        """__global__ void k(const float* x, float* y) {
  __shared__ volatile float s[64];
  int t = threadIdx.x;
  s[t] = x[blockIdx.x * 32 + t]; s[t + 32] = 0.f;
  s[t] += s[t + 16]; s[t] += s[t + 8]; s[t] += s[t + 4]; s[t] += s[t + 2]; s[t] += s[t + 1];
  if (t == 0) y[blockIdx.x] = s[0];
}""",
    ),
    "volatile parameter of a function with a number for a template argument": (
        "grid=2;block=64",
        """template <unsigned B> __device__ void last(volatile float* s, unsigned t) {
  if (B >= 64) s[t] += s[t + 32];
  if (B >= 32) s[t] += s[t + 16];
  s[t] += s[t + 8]; s[t] += s[t + 4]; s[t] += s[t + 2]; s[t] += s[t + 1];
}
__global__ void k(const float* x, float* y) {
  __shared__ float s[64];
  unsigned t = threadIdx.x;
  s[t] = x[blockIdx.x * 64 + t];
  __syncthreads();
  if (t < 32) last<64>(s, t);
  if (t == 0) y[blockIdx.x] = s[0];
}""",
    ),
    "shared histogram": (
        "grid=2;block=64",
        """__global__ void k(const int* x, int* y, int n) {
  __shared__ int bins[8];
  if (threadIdx.x < 8) bins[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&bins[x[i] % 8], 1);
  __syncthreads();
  if (threadIdx.x < 8) atomicAdd(&y[threadIdx.x], bins[threadIdx.x]);
}""",
    ),
    "cooperative groups": (
        "grid=4;block=128",
        """#include <cooperative_groups.h>
namespace cg = cooperative_groups;
__device__ float total(const cg::thread_block_tile<32>& w, float v) { for (int i = w.size() / 2; i > 0; i /= 2) v += w.shfl_down(v, i); return v; }
__global__ void k(const float* x, float* y) {
  __shared__ float s[4];
  auto b = cg::this_thread_block();
  cg::thread_block_tile<32> w = cg::tiled_partition<32>(b);
  auto pair = cg::tiled_partition<2>(b);
  int i = b.group_index().x * b.size() + b.thread_rank();
  float v = total(w, x[i]), u = cg::reduce(w, x[i], cg::plus<float>()) + pair.shfl_xor(x[i], 1);
  if (w.thread_rank() == 0) s[w.meta_group_rank()] = v + u;
  cg::sync(b);
  if (b.thread_rank() == 0) y[blockIdx.x] = s[0] + s[1] + s[2] + s[3];
}""",
    ),
    "specialised functions, prototypes and intrinsics": (
        "grid=2;block=32",
        """template <typename T> __device__ inline T grown(T x);
template <> __device__ __forceinline__ float grown<float>(float x) { return __frcp_rn(x + 1.f) + __fadd_rn(x, 2.f); }
__global__ void k(const float* x, float* y);
__global__ void k(const float* x, float* y) { int i = blockIdx.x * blockDim.x + threadIdx.x; y[i] = grown<float>(x[i]) + __float2int_ru(x[i]) + __clz(i); }""",
    ),
    "strided over the grid": (
        "grid=3;block=32",
        "__global__ void k(const float* x, float* y, int n) { for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) y[i] = expf(x[i]) + 1.f; }",
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_fission_agrees_with_the_emulator(name, tmp_path):
    launch, source = KERNELS[name]
    made = transpile_file(source, launch)
    verdict = verify(Path(tmp_path / "k.cu"), source, made.text, made.kernels, launch, ())
    assert verdict.agrees, f"{verdict.max_error}\n{made.text}"
    assert made.kernels[0].path == "fission"


def test_without_a_launch_the_function_takes_one():
    text = warploom.transpile("__global__ void k(const float* x, float* y, int n) { int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) y[i] = x[i]; }")
    assert "void k(dim3 gridDim, dim3 blockDim, const float* x, float* y, int n)" in text
    assert "threadIdx" not in text and "__global__" not in text


def test_text_of_a_reduction(golden):
    launch, source = KERNELS["tree"]
    text = warploom.transpile(source, launch)
    golden("tree_reduction", text[text.index('extern "C"') :])


def test_text_of_an_element_loop(golden):
    source = """__global__ void k(const float* __restrict__ x, float* __restrict__ y) {
  // rows of 50, transposed
  if (blockIdx.x * 4 + (threadIdx.x >> 3) < 25) y[blockIdx.x * 32 + threadIdx.x] = x[((blockIdx.x * 32 + threadIdx.x) % 20) * 10 + (blockIdx.x * 32 + threadIdx.x) / 20];
}"""
    text = warploom.transpile(source, "grid=7;block=32")
    golden("element_loop", text[text.index('extern "C"') :])


@pytest.mark.parametrize("name", KERNELS)
def test_other_words_change_nothing(name):
    launch, source = KERNELS[name]
    other = rewritten_file(source)
    assert other != source and "k_stage" in other
    made = transpile_file(other, launch)
    assert [k.regions for k in made.kernels] == [k.regions for k in transpile_file(source, launch).kernels]


@pytest.mark.parametrize(
    "source, reason",
    [
        ("__global__ void k(float* x) {\n  thrust::sort(x, x + 1);\n}", "line 2: Thrust"),
        ("__global__ void k(float* x) {\n  curandState s;\n  curand_init(1, 2, 3, &s);\n}", "line 3: cuRAND"),
        ("void f() { cublasSgemm(h); }\n__global__ void k(float* x) {}", "line 1: cuBLAS"),
        ("__global__ void k(float* x) {\n  cub::DeviceReduce::Sum(x);\n}", "device-wide CUB"),
        ('__global__ void k(float* x) {\n  asm("nop;");\n}', "inline PTX"),
        ("__global__ void k(int* x) {\n  auto f = [&] { for (;;) for (;;) { __syncthreads(); return; } };\n  f();\n}", "line 2: lambda f synchronises, asks for its place or changes what is around it, and it returns"),
        ("__global__ void k(int* x) {\n  int i = 0;\n  auto f = [=] { x[threadIdx.x] = i; };\n  ++i;\n  f();\n}", "keeps a copy of i, which changes"),
        ("#include <cub/cub.cuh>\n__global__ void k(int* x) {\n  __shared__ cub::BlockReduce<int, 32>::TempStorage s;\n  x[0] = cub::BlockReduce<int, 32>(s).Minimum(1);\n}", "line 4: no rule for BlockReduce::Minimum"),
        ("#include <cub/cub.cuh>\n__global__ void k(int* x) {\n  typedef cub::BlockRadixSort<int, 32, 1> Sort;\n}", "line 3: this part of CUB"),
        ("__global__ void k(int* x) {\n  x[0] = x[1] > 0 ? __shfl_sync(~0u, x[2], 0) : 0;\n}", "line 2"),
        ("__global__ void k(int* x) {\n  x[0] = x[1] > 0 && __any_sync(~0u, x[2]);\n}", "line 2"),
        ("#include <cooperative_groups.h>\n__global__ void k(int* x) {\n  cooperative_groups::this_grid().sync();\n}", "line 3: no rule for this_grid"),
        ("int main() { return 0; }", "no `__global__`"),
    ],
)
def test_what_has_no_rule_is_refused_by_name_and_line(source, reason):
    with pytest.raises(UnsupportedCuda) as caught:
        warploom.transpile(source, "grid=1;block=32")
    assert reason in str(caught.value)


RAISED = {
    "sums of rows": ("__global__ void k(const float* x, float* y) { int i = threadIdx.x; y[i] = 0.f; for (int j = 0; j < 7; ++j) y[i] += x[i * 7 + j]; }", 8, {"x": 56, "y": 8}),
    "tree": (KERNELS["tree"][1], 64, {"x": 64, "y": 1}),
}


@pytest.mark.parametrize("name", RAISED)
def test_raised_programs_compute_the_same(name):
    source, block, counts = RAISED[name]
    file = read(source)
    code = kernel_code(file.kernels[0], file, Geometry((1, 1, 1), (block, 1, 1), 0))
    program = raise_kernel("k", file.kernels[0].params, counts, code.tree)
    x = np.random.default_rng(0).random(counts["x"]).astype(np.float32)
    got = run_program(program, {}, {"x": x, "y": np.zeros(counts["y"], np.float32)})["y"]
    np.testing.assert_allclose(got, x.reshape(counts["y"], -1).sum(1), rtol=1e-5)


def test_what_is_not_affine_is_not_raised():
    file = read("__global__ void k(const float* x, const int* i, float* y) { y[threadIdx.x] = x[i[threadIdx.x]]; }")
    code = kernel_code(file.kernels[0], file, Geometry((1, 1, 1), (8, 1, 1), 0))
    with pytest.raises(NotRaised, match="in-bounds"):
        raise_kernel("k", file.kernels[0].params, {"x": 8, "i": 8, "y": 8}, code.tree)


def test_the_command(tmp_path):
    launch, source = KERNELS["tree"]
    path = tmp_path / "tree.cu"
    path.write_text(f"// warploom-launch: {launch}\n{source}")
    done = CliRunner().invoke(app, ["transpile", str(path), "-o", str(tmp_path / "tree.cpp"), "--verify", "--json"])
    answer = json.loads(done.stdout)
    assert done.exit_code == 0 and answer["verified"] is True
    assert answer["kernels"][0]["path"] == "fission" and "regions" in answer["kernels"][0]["reason"]
    assert 'extern "C" void k(' in (tmp_path / "tree.cpp").read_text()


def test_the_command_refuses_with_a_code(tmp_path):
    path = tmp_path / "bad.cu"
    path.write_text("__global__ void k(float* x) { thrust::sort(x, x + 1); }")
    done = CliRunner().invoke(app, ["transpile", str(path), "--json"])
    assert done.exit_code == 1 and json.loads(done.stdout)["error"]["code"] == "WL-E080"
    assert CliRunner().invoke(app, ["transpile", str(tmp_path / "absent.cu")]).exit_code == 2


CHAIN = """
__global__ void __launch_bounds__(60) k(float* __restrict__ t, float* __restrict__ x) { t[blockIdx.x * 60 + threadIdx.x] = x[blockIdx.x * 60 + threadIdx.x]; }
__global__ void __launch_bounds__(60) k_1(float* __restrict__ u, float* __restrict__ t) {
  u[blockIdx.x * 60 + threadIdx.x] = t[((blockIdx.x * 60 + threadIdx.x) % 20) * 6 + (blockIdx.x * 60 + threadIdx.x) / 20];
}
__global__ void __launch_bounds__(60) k_2(float* __restrict__ u) { u[blockIdx.x * 60 + threadIdx.x] = u[blockIdx.x * 60 + threadIdx.x] * 2.0f; }
__global__ void __launch_bounds__(60) k_3(float* __restrict__ y, float* __restrict__ u) { y[blockIdx.x * 60 + threadIdx.x] = u[119 - (blockIdx.x * 60 + threadIdx.x)]; }
"""
CHAIN_C = """void whole(float* x, float* y) {
  for (int i = 0; i < 120; ++i) { int j = 119 - i; y[i] = x[(j % 20) * 6 + j / 20] * 2.0f; }
}"""


def test_neighbours_over_the_same_elements_share_a_loop():
    bound = bind(CHAIN, CHAIN_C, read_reference(CHAIN_C, [[120]], [[120]]))
    made = transpile_program(CHAIN, bound.binding)
    assert "launches_2_to_3" in made.text and "x, which stands in its place" in made.kernels[0].why  # a copy; a loop for two; the third reads elsewhere
    x = np.arange(120, dtype=np.float32)
    y = np.zeros(120, np.float32)
    load_library(made.text).kernel(*(ctypes.c_void_p({"x": x, "y": y}[b.name].ctypes.data) for b in (bound.binding.buffers[i] for i in bound.binding.entry)))
    np.testing.assert_array_equal(y, (x.reshape(20, 6).T.reshape(-1) * 2)[::-1])


@pytest.mark.parametrize("guard, stop", [("r * 16 + (threadIdx.x >> 1) < 151", 9), ("r * 32 + threadIdx.x < 320", 10), ("threadIdx.x < 30", 0), ("(r & 1) == 0", 0)])
def test_guards_of_last_iterations_are_tested_there_only(guard, stop, tmp_path):
    source = f"""__global__ void k(const float* x, float* y) {{
  float sum[1]; sum[0] = 0.f;
  for (int r = 0; r < 10; ++r) {{ if ({guard}) {{ sum[0] = sum[0] + x[r * 32 + threadIdx.x]; }} }}
  y[threadIdx.x] = sum[0] + __shfl_down_sync(0xffffffff, sum[0], 1);
}}"""
    made = transpile_file(source, "grid=1;block=32")
    assert ("for (int r = 0; r < 10; ++r)" in made.text) == (stop in (0, 10)) and (f"int r = {stop};" in made.text) == (stop in (0, 9))
    assert verify(tmp_path / "k.cu", source, made.text, made.kernels, "grid=1;block=32", ()).agrees


@pytest.mark.parametrize(("body", "wanted"), [("if (i < n) y[i] = x[i];", True), ("y[i] = x[i] < 0.f ? 0.f : x[i];", False)])
def test_gcc_s_dominator_pass_is_left_out_where_a_store_may_be_masked(body, wanted):
    source = f"__global__ void k(const float* x, float* y, int n) {{ int i = blockIdx.x * blockDim.x + threadIdx.x; {body} }}"
    assert ("no-tree-dominator-opts" in transpile_file(source).text) == wanted
