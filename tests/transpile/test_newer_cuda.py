"""What newer CUDA has: asynchronous copies, pipelines and barriers of a block, matches over a warp, loops over ranges. Fission agrees with the
emulator, and the emulator with what the kernel is meant to give."""

from pathlib import Path

import numpy as np
import pytest
import warploom
from warploom.backends.cpu.fission.verify import verify
from warploom.backends.emulator import Launch, run_kernel
from warploom.frontend.cuda.read import UnsupportedCuda
from warploom.transpiler import transpile_file

_PAIRS = """#include <cooperative_groups.h>
#include <cuda/pipeline>
namespace cg = cooperative_groups;
"""
KERNELS = {
    "matches over a warp": (
        "grid=2;block=80",
        """__global__ void k(const int* x, int* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, all = 0;
  unsigned there = __ballot_sync(0xffffffff, i % 5 != 3);
  if (i % 5 != 3) {
    int key = x[i] % 4;
    unsigned peers = __match_any_sync(there, key);
    if ((threadIdx.x & 31) == __ffs(peers) - 1) atomicAdd(&y[key + 4], __popc(peers));
  }
  unsigned same = __match_all_sync(0xffffffff, i < 32 ? 7 : i % 2, &all);
  y[8 + i] = all * 100 + __popc(same);
}""",
    ),
    "loops over ranges": (
        "grid=2;block=32",
        """__constant__ float scale[3] = {0.5f, 2.0f, -1.0f};
__global__ void k(const float* x, float* y) {
  const float coefficients[] = {0.5f, -1.25f, 2.0f};
  float last[2][2];
  int i = blockIdx.x * 32 + threadIdx.x;
  float sum = 0.f, best[4];
  for (float c : coefficients) sum = sum * x[i] + c;
  for (auto& b : best) b = sum;
  for (int s : {1, 2, 3}) for (const auto& b : best) sum += s * b;
  for (const float c : scale) { __syncthreads(); sum *= c; }
  y[i] = sum;
}""",
    ),
    "functions of any number of arguments": (
        "grid=2;block=32",
        """template <typename... Ts> __device__ float total(float first, Ts... more) { return (first + ... + more); }
template <typename T, typename... Ts> __device__ __forceinline__ float largest(const T& a, const Ts&... rest) {
  if constexpr (sizeof...(rest) > 0) { float b = largest(rest...); return a > b ? a : b; } else return a;
}
__global__ void k(const float* x, float* y) {
  int i = blockIdx.x * 32 + threadIdx.x;
  y[i] = total(x[i], 1.0f, x[i ^ 1]) + largest(x[i], 0.5f, x[i ^ 2]);
}""",
    ),
    "comparisons with what is shifted, vectors of small numbers": (
        "grid=2;block=64",
        """struct Part { int n; };
__global__ void k(const uchar4* x, short2* y, int n) {
  __shared__ int s[64];
  Part p{64};
  int i = threadIdx.x, total = 0;
  uchar4 v = x[blockIdx.x * 64 + i];
  s[i] = v.x + v.w;
  __syncthreads();
  if (i < blockDim.x >> 1) s[i] += s[i + 32];
  __syncthreads();
  for (int i = 0; i < p.n >> 3; ++i) total += s[i];
  bool low = total < n >> 2 || i < 3;
  y[blockIdx.x * 64 + i] = make_short2(total, low ? v.y : v.z);
}""",
    ),
    "a switch that goes on with the loop around it": (
        "grid=5;block=32",
        """__global__ void k(const float* x, float* y) {
  __shared__ float s[32];
  int t = threadIdx.x;
  float v = x[blockIdx.x * 32 + t];
  for (int i = 0; i < 7; ++i) {
    switch ((i + blockIdx.x) % 5) {
      case 0: float w; w = v; v = -w; break;
      case 1: { float q = v * 2; v = q; }  // and the next
      case 2: w = 1; v += w; break;
      case 3: for (int j = 0; j < 3; ++j) { if (j == 1) continue; v += j; if (j > 1) break; } break;
      default: v *= 0.5f; if (blockIdx.x > 1) continue;
    }
    s[t] = v;
    __syncthreads();
    v = s[(t + 1) & 31];
    __syncthreads();
  }
  y[blockIdx.x * 32 + t] = v;
}""",
    ),
    "initialisers in conditions, loops over members, bits of structs": (
        "grid=2;block=32",
        """struct Box { float data[4]; int n; };
__global__ void k(const float* x, float* y, unsigned* z, int n) {
  Box b; char4 q; q.x = 1; q.y = threadIdx.x; q.z = -3; q.w = 9;
  int i = blockIdx.x * 32 + threadIdx.x;
  for (float& v : b.data) v = x[i] * 2;
  if (int j = i * 3; j % 2 == 0 && j < n) b.data[j % 4] = j; else if (float w = x[i]; w > 0.3f) b.data[1] = w;
  if (const unsigned m = i & 6) b.data[2] += m;
  unsigned u = 0xfffffff1u; int packed = *reinterpret_cast<int*>(&q) + *(int*)&u;
  *reinterpret_cast<int*>(&q) = packed + 1;
  float s = 0; for (const auto v : b.data) s += v;
  y[i] = s; z[i] = q.x + 256 * q.y + packed;
}""",
    ),
    "functors made where they are given": (
        "grid=3;block=64",
        """template <typename T, int N> struct Array { T data[N]; __device__ T& operator[](int i) { return data[i]; } __device__ const T& operator[](int i) const { return data[i]; } };
template <typename T> struct MaxOp { static constexpr T identity() { return -std::numeric_limits<T>::infinity(); } __device__ T operator()(T a, T b) const { return a > b ? a : b; } };
template <typename T> struct SumOp { static __device__ T identity() { return T(0); } __device__ __forceinline__ T operator()(const T& a, const T& b) const { return a + b; } };
template <class Op, typename T> __device__ T block_all(T v, Op op, T* sm) {
  const unsigned lane = threadIdx.x % warpSize, w = threadIdx.x / warpSize;
  for (unsigned d = warpSize >> 1; d >= 1; d >>= 1) v = op(v, __shfl_xor_sync(0xFFFFFFFF, v, d, warpSize));
  if (!lane) sm[w] = v;
  __syncthreads();
  v = lane < blockDim.x / warpSize ? sm[lane] : Op::identity();
  for (unsigned d = warpSize >> 1; d >= 1; d >>= 1) v = op(v, __shfl_xor_sync(0xFFFFFFFF, v, d, warpSize));
  __syncthreads();
  return v;
}
struct Params { const float* x; float* y; int rows, cols; float scale; };
__global__ void k(const float* x, float* y, int cols, float scale) {
  __shared__ float sm[32];
  Params p{x, y, (int)gridDim.x, cols, scale};
  Array<float, 4> buf;
  float m = MaxOp<float>::identity();
#pragma unroll
  for (int i = 0; i < 4; ++i) { int c = threadIdx.x + i * 64; buf[i] = c < p.cols ? p.x[blockIdx.x * p.cols + c] * p.scale : m; }
  for (const float& v : buf.data) m = fmaxf(m, v);
  m = block_all(m, MaxOp<float>{}, sm);
  float s = 0;
  for (int i = 0; i < 4; ++i) { buf[i] = expf(buf[i] - m); s += buf[i]; }
  s = block_all<SumOp<float>>(s, SumOp<float>(), sm);
  for (int i = 0; i < 4; ++i) { int c = threadIdx.x + i * 64; if (c < p.cols) p.y[blockIdx.x * p.cols + c] = buf[i] / s; }
}""",
    ),
    "blocks that do the same, adding to it": (
        "grid=3;block=32",
        "__global__ void k(const float* x, float* y) { y[threadIdx.x] += x[threadIdx.x] * 3; }",
    ),
    "threads that do the same": ("grid=3;block=4", "__global__ void k(const int* x, int* y) { y[blockIdx.x] = x[blockIdx.x] + gridDim.x; }"),
    "switches in which threads wait": (
        "grid=3;block=64",
        """__global__ void k(const int* x, int* y, int n) {
  __shared__ int s[64];
  int t = threadIdx.x, i = blockIdx.x * 64 + t;
  int v = x[i % n];
  for (int k = 0; k < 5; ++k) {
    switch ((k + blockIdx.x) % 6) {
      case 0: s[t] = v; __syncthreads(); v += s[(t + 1) % 64]; __syncthreads(); break;
      case 1: v ^= 3;
      case 2: { s[t] = v + 1; __syncthreads(); v -= s[(t + 5) % 64]; __syncthreads(); if (k > 1) break; v += 100; break; }
      case 3: if (k % 2) continue; v += __shfl_xor_sync(~0u, v, 1);
      default: v += __shfl_xor_sync(~0u, v, 2); if (blockIdx.x == 1) break; v *= 3;
      case 4: v += 7;
    }
    v += k;
  }
  y[i] = v;
}""",
    ),
    "functions with switches in which threads wait": (
        "grid=4;block=128",
        """enum class Act : int { None = 0, Relu = 1, Gelu = 2, Silu = 3 };
enum ReduceOp { SUM, MAX, MIN };
template <Act A> __device__ __forceinline__ float act(float v) {
  switch (A) {
    case Act::Relu: return fmaxf(v, 0.f);
    case Act::Gelu: return 0.5f * v * (1.f + erff(v * 0.70710678f));
    case Act::Silu: { return v / (1.f + expf(-v)); }
    default: return v;
  }
}
__device__ float combine(float a, float b, ReduceOp op) {
  switch (op) { case SUM: return a + b; case MAX: return max(a, b); case MIN: return min(a, b); }
  return 0.f;
}
__device__ float reduce(float v, ReduceOp op, float* s) {
  int t = threadIdx.x;
  s[t] = v; __syncthreads();
  switch (op) {
    case SUM: for (int o = blockDim.x / 2; o > 0; o >>= 1) { if (t < o) s[t] += s[t + o]; __syncthreads(); } break;
    case MAX:
    case MIN: for (int o = blockDim.x / 2; o > 0; o >>= 1) { if (t < o) s[t] = combine(s[t], s[t + o], op); __syncthreads(); } break;
  }
  float r = s[0]; __syncthreads();
  return r;
}
__global__ void k(const float* x, float* y, int mode) {
  __shared__ float s[128];
  int i = blockIdx.x * 128 + threadIdx.x;
  float v = act<Act::Gelu>(x[i]) + act<Act::Silu>(x[i]);
  ReduceOp op = blockIdx.x % 2 ? MAX : SUM;
  float r = reduce(v, op, s);
  r += reduce(v, MIN, s);
  y[i] = act<Act::Relu>(r) + v;
}""",
    ),
    "a label at the end, a variable that braces would hide": (
        "grid=1;block=64",
        """__global__ void k(const int* x, int* y, int n) {
  int t = threadIdx.x, v = x[t];
  switch (v % 3) {
    default: int w; { int q = v * 2; v += q; }
    case 1: w = v; { int z = w * 3; v ^= z; } break;
    case 2: {}
  }
  y[t] = v;
}""",
    ),
    "bytes and halves of words, atomics of a block": (
        "grid=2;block=32",
        """__global__ void k(const unsigned* x, unsigned* y) {
  unsigned a = x[threadIdx.x] * 0x9E3779B9u, b = x[threadIdx.x + 32] * 0x85EBCA6Bu;
  unsigned r = __vadd4(a, b) ^ __vavgs2(a, b) ^ __vabsdiffu4(a, b) ^ __vmaxs4(a, b) ^ __vcmpgtu2(a, b) ^ __vsubss4(b, a);
  r += __hadd((int)a, (int)b) + __rhadd((int)a, 3) + __urhadd(a, b);
  atomicXor_block(&y[threadIdx.x / 2 + 16 * blockIdx.x], r);
}""",
    ),
    "operators of the file's own": (
        "grid=2;block=32",
        """struct Pair { float v; int i; };
__device__ inline bool operator<(const Pair& a, const Pair& b) { return a.v < b.v || (a.v == b.v && a.i > b.i); }
__device__ Pair operator>>(Pair a, int n) { return Pair{a.v, a.i >> n}; }
template <typename T> __device__ T largest(T a, T b) { return a < b ? b : a; }
template <> __device__ float largest<float>(float a, float b) { return fmaxf(a, b); }
__global__ void k(const float* x, float* y) {
  Pair best{x[blockIdx.x * 32 + threadIdx.x], (int)threadIdx.x};
  for (int o = 16; o > 0; o >>= 1) {
    Pair other{__shfl_xor_sync(~0u, best.v, o), __shfl_xor_sync(~0u, best.i, o)};
    best = largest(best, other);
  }
  y[blockIdx.x * 32 + threadIdx.x] = largest(best.v, 0.25f) + (best >> 1).i;
}""",
    ),
    "a type that names a constant": (
        "grid=2;block=32",
        """template <typename T, int N> struct alignas(sizeof(T) * N) Vec { T v[N]; };
__global__ void k(const float* x, float* y) {
  constexpr int PER = 64 / 32;
  using V = Vec<float, PER>;
  const V mine = *reinterpret_cast<const V*>(x + blockIdx.x * 64 + threadIdx.x * PER);
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < PER; ++i) sum += mine.v[i] * (i + 1);
  for (int o = 16; o > 0; o >>= 1) sum += __shfl_xor_sync(0xffffffff, sum, o);
#pragma unroll
  for (int i = 0; i < PER; ++i) y[blockIdx.x * 64 + threadIdx.x * PER + i] = sum + mine.v[i];
}""",
    ),
    "CUB's scans of several items": (
        "grid=2;block=64",
        """#include <cub/cub.cuh>
struct Absmax { __device__ float operator()(float a, float b) const { return fabsf(a) > fabsf(b) ? a : b; } };
__global__ void k(const float* x, float* y) {
  constexpr int N = 64;
  using Scan = cub::BlockScan<float, N>;
  __shared__ typename Scan::TempStorage temp;
  float a[3], b[3], total, most;
  for (int i = 0; i < 3; ++i) a[i] = x[(blockIdx.x * N + threadIdx.x) * 3 + i] - 0.5f;
  Scan(temp).InclusiveSum(a, b, total);
  __syncthreads();
  for (int i = 0; i < 3; ++i) y[(blockIdx.x * N + threadIdx.x) * 3 + i] = b[i] + total;
  Scan(temp).InclusiveScan(a, b, Absmax());
  __syncthreads();
  for (int i = 0; i < 3; ++i) y[(blockIdx.x * N + threadIdx.x) * 3 + i] += b[i];
  Scan(temp).ExclusiveScan(a, b, -9.0f, cub::Max(), most);
  for (int i = 0; i < 3; ++i) y[(blockIdx.x * N + threadIdx.x) * 3 + i] += b[i] + most;
}""",
    ),
    "vectors of a thread's own array by a macro": (
        "grid=2;block=8,4",
        """#define FLOAT4(v) (reinterpret_cast<float4*>(&(v))[0])
#define OFFSET(row, col, ld) ((row) * (ld) + (col))
__global__ void k(const float* x, float* y) {
  __shared__ __align__(16) float s[32];
  float own[8] = {0.f}, part[4];
  int t = threadIdx.y * 8 + threadIdx.x;
  s[t] = x[blockIdx.x * 32 + t];
  __syncthreads();
  for (int r = 0; r < 2; ++r) {
    FLOAT4(part[0]) = FLOAT4(s[OFFSET(threadIdx.y, r * 4, 8)]);
    for (int i = 0; i < 4; ++i) own[r * 4 + i] += part[i] * (i + 1);
    __syncthreads();
  }
  float4 v = FLOAT4(own[4]), w = reinterpret_cast<float4&>(own[0]);
  y[blockIdx.x * 32 + t] = v.x + 2.f * v.y + 3.f * v.z + 4.f * v.w + 5.f * w.x + 6.f * w.y + 7.f * w.z + 8.f * w.w;
}""",
    ),
    "shared memory declared outside functions": (
        "grid=2;block=64;shared=512",
        """extern __shared__ __align__(16) unsigned char raw[];
__device__ float2 total(float2 v) {
  float2* s = (float2*)raw;
  s[threadIdx.x] = v;
  __syncthreads();
  for (int o = 32; o > 0; o >>= 1) {
    if (threadIdx.x < o) { s[threadIdx.x].x += s[threadIdx.x + o].x; s[threadIdx.x].y += s[threadIdx.x + o].y; }
    __syncthreads();
  }
  return s[0];
}
__global__ void k(const float* x, float* y) {
  float* first = reinterpret_cast<float*>(raw);
  float v = x[blockIdx.x * 64 + threadIdx.x];
  float2 sum = total(make_float2(v, v * v));
  __syncthreads();
  first[threadIdx.x] = sum.x + v;
  __syncthreads();
  y[blockIdx.x * 64 + threadIdx.x] = first[63 - threadIdx.x] + sum.y;
}""",
    ),
    "memory read as another type": (
        "grid=2;block=32",
        """__global__ void k(const int* x, int* y) {
  int t = blockIdx.x * 32 + threadIdx.x;
  short v[2];
  *reinterpret_cast<int*>(v) = x[t];
  v[0] += 1;
  int w = *reinterpret_cast<int*>(&v[0]);
  v[1] = 5;
  y[t] = w + *(int*)v;
}""",
    ),
    "copies of a group, waited for": (
        "grid=2;block=32",
        """#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
namespace cg = cooperative_groups;
__global__ void k(const float* x, float* y) {
  __shared__ alignas(16) float s[2][32];
  __shared__ float all[4][16];
  auto block = cg::this_thread_block();
  const float* mine = x + blockIdx.x * 96;
  cg::memcpy_async(block, s[0], mine, sizeof(float) * 32);
  for (int t = 0; t < 3; ++t) {
    if (t + 1 < 3) { cg::memcpy_async(block, s[(t + 1) & 1], 32, mine + (t + 1) * 32, 96 - (t + 1) * 32); cg::wait_prior<1>(block); }
    else cg::wait(block);
    y[blockIdx.x * 96 + t * 32 + threadIdx.x] = s[t & 1][31 - threadIdx.x];
    block.sync();
  }
  cg::memcpy_async(block, &all[0][0], mine, sizeof(all));
  cg::wait(block);
  y[blockIdx.x * 96 + threadIdx.x] += all[threadIdx.x / 16][threadIdx.x % 16] + all[3][threadIdx.x % 16];
}""",
    ),
    "pipeline of a block": (
        "grid=2;block=32",
        _PAIRS
        + """__global__ void k(const float* x, float* y) {
  __shared__ float s[2][32];
  auto block = cg::this_thread_block();
  __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
  auto pipe = cuda::make_pipeline(block, &state);
  const float* mine = x + blockIdx.x * 128;
  for (int made = 0, used = 0; used < 4; ++used) {
    for (; made < 4 && made < used + 2; ++made) {
      pipe.producer_acquire();
      cuda::memcpy_async(block, s[made % 2], mine + made * 32, cuda::aligned_size_t<16>(sizeof(float) * 32), pipe);
      pipe.producer_commit();
    }
    pipe.consumer_wait();
    y[blockIdx.x * 128 + used * 32 + threadIdx.x] = s[used % 2][31 - threadIdx.x];
    pipe.consumer_release();
  }
}""",
    ),
    "pipeline of a thread": (
        "grid=2;block=32",
        _PAIRS
        + """__global__ void k(const float* x, float* y) {
  __shared__ float s[32];
  int i = blockIdx.x * 32 + threadIdx.x;
  cuda::pipeline<cuda::thread_scope_thread> pipe = cuda::make_pipeline();
  pipe.producer_acquire();
  cuda::memcpy_async(&s[threadIdx.x], x + i, sizeof(float), pipe);
  pipe.producer_commit();
  cuda::pipeline_consumer_wait_prior<0>(pipe);
  __syncthreads();
  asm volatile("" ::: "memory");
  y[i] = s[31 - threadIdx.x];
  pipe.consumer_release();
}""",
    ),
    "barrier of a block": (
        "grid=2;block=32",
        """#include <cuda/barrier>
#include <cooperative_groups.h>
__global__ void k(const float* x, float* y) {
  using barrier = cuda::barrier<cuda::thread_scope_block>;
  __shared__ barrier bar;
  __shared__ float s[32], r[32];
  auto block = cooperative_groups::this_thread_block();
  if (block.thread_rank() == 0) init(&bar, block.size());
  block.sync();
  int i = blockIdx.x * 32 + threadIdx.x;
  s[threadIdx.x] = x[i];
  bar.arrive_and_wait();
  r[threadIdx.x] = s[31 - threadIdx.x] * 2.f;
  auto token = bar.arrive();
  float own = x[i] * x[i];
  bar.wait(std::move(token));
  y[i] = r[(threadIdx.x + 1) % 32] + own;
}""",
    ),
    "moments of a struct template over a warp": (
        "grid=2;block=64",
        """template <typename T> struct Moments {
  T mean = 0, m2 = 0; int n = 0;
  __device__ void add(T v) { ++n; T d = v - mean; mean += d / n; m2 += d * (v - mean); }
  __device__ Moments merge(const Moments& o) const {
    if (o.n == 0) return *this;
    if (n == 0) return o;
    Moments r; r.n = n + o.n; T d = o.mean - mean;
    r.mean = mean + d * o.n / r.n; r.m2 = m2 + o.m2 + d * d * n * o.n / r.n;
    return r;
  }
};
template <typename T> __device__ Moments<T> from_below(const Moments<T>& w, int delta) {
  Moments<T> r;
  r.mean = __shfl_down_sync(~0u, w.mean, delta); r.m2 = __shfl_down_sync(~0u, w.m2, delta); r.n = __shfl_down_sync(~0u, w.n, delta);
  return r;
}
__global__ void k(const float* x, float* y) {
  Moments<float> w;
  for (int i = threadIdx.x; i < 150; i += blockDim.x) w.add(x[blockIdx.x * 150 + i]);
  for (int o = 16; o > 0; o >>= 1) w = w.merge(from_below(w, o));
  __shared__ Moments<float> parts[2];
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = w;
  __syncthreads();
  if (threadIdx.x == 0) { w = parts[0].merge(parts[1]); y[blockIdx.x * 2] = w.mean; y[blockIdx.x * 2 + 1] = w.m2 / w.n; }
}""",
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_fission_agrees_with_the_emulator(name, tmp_path):
    launch, source = KERNELS[name]
    made = transpile_file(source, launch)
    verdict = verify(Path(tmp_path / "k.cu"), source, made.text, made.kernels, launch, ())
    assert verdict.agrees, f"{verdict.max_error}\n{made.text}"


WANTED = {
    "pipeline of a block": lambda x: x.reshape(-1, 32)[:, ::-1],
    "pipeline of a thread": lambda x: x[:64].reshape(-1, 32)[:, ::-1],
    "barrier of a block": lambda x: 2 * np.roll(x[:64].reshape(-1, 32)[:, ::-1], -1, 1) + x[:64].reshape(-1, 32) ** 2,
}


@pytest.mark.parametrize("name", WANTED)
def test_the_emulator_gives_what_is_meant(name):
    x = np.random.default_rng(0).random(256).astype(np.float32)
    wanted = WANTED[name](x)
    y = np.zeros(wanted.size, np.float32)
    run_kernel(KERNELS[name][1], "k", Launch.of(2, 32), [x, y])
    np.testing.assert_allclose(y.reshape(wanted.shape), wanted, 1e-6)


@pytest.mark.parametrize(
    "source, reason",
    [
        ("__global__ void k(float* x, const float* p) {\n  for (float v : p) x[0] += v;\n}", "line 2: a loop over `p`"),
        (f"{_PAIRS}__global__ void k(float* x) {{\n  __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> s;\n  auto p = cuda::make_pipeline(cg::this_thread_block(), &s, 32);\n}}", "line 6: a pipeline whose threads are producers or consumers"),
        ("template <typename... Ts>\n__device__ void wait(float* x, Ts... more) { x[threadIdx.x] = (0.0f + ... + more); __syncthreads(); }\n__global__ void k(float* x) {\n  wait(x, 1.0f, 2.0f);\n}", "line 4: wait synchronises and takes any number of arguments"),
        ("#include <cuda/barrier>\n__global__ void k(float* x) {\n  __shared__ cuda::barrier<cuda::thread_scope_block> b;\n  if (threadIdx.x == 0) init(&b, 1);\n  b.arrive_and_wait();\n}", "line 4: a barrier that is not said to be for all threads"),
    ],
)
def test_what_has_no_rule_is_refused_by_name_and_line(source, reason):
    with pytest.raises(UnsupportedCuda) as caught:
        warploom.transpile(source, "grid=1;block=32")
    assert reason in str(caught.value)


def test_instances_of_a_kernel_named_in_the_file_leave_nothing_behind():
    source = "template <int N> __global__ void k(float* x) { x[threadIdx.x] = N; }\ntemplate __global__ void k<3>(float*);\n"
    assert warploom.transpile(source, "grid=1;block=32").rstrip().endswith("}")


MADE_UP = {
    "rows of vectors": "__global__ void k(const float* x, float* y, int n) { float4 v = reinterpret_cast<const float4*>(x + blockIdx.x * n)[threadIdx.x]; reinterpret_cast<float4*>(y + blockIdx.x * n)[threadIdx.x] = v; }",
    "an instance that the file names": "template <typename T, int N> __global__ void k(const T* x, T* y) { y[threadIdx.x] = x[threadIdx.x] * N; }\ntemplate __global__ void k<double, 3>(const double*, double*);",
    "several kernels": "template <typename T> __global__ void a(T* x) { x[threadIdx.x] += 1; }\n__global__ void b(const unsigned long long* x, float* y, int n) { if (threadIdx.x < n) y[threadIdx.x * n] = x[threadIdx.x]; }",
}


@pytest.mark.parametrize("name", MADE_UP)
def test_arguments_are_made_up_until_a_kernel_stays_within_them(name, tmp_path):
    made = transpile_file(MADE_UP[name], "grid=2;block=32")
    assert verify(tmp_path / "k.cu", MADE_UP[name], made.text, made.kernels, "grid=2;block=32", ()).agrees


def test_blocks_that_do_the_same_do_so_at_any_launch(tmp_path):
    source = "__global__ void k(const float* x, float* y) { y[threadIdx.x] += x[threadIdx.x] * 3; }"
    made = transpile_file(source)
    assert verify(tmp_path / "k.cu", source, made.text, made.kernels, "grid=3;block=32", ()).agrees


def test_vectors_behind_pointers_are_made_up(tmp_path):
    source = "__global__ void k(const float4* x, float4* y) { int i = blockIdx.x * 32 + threadIdx.x; float4 v = x[i]; v.x += v.w; y[i] = v; }"
    made = transpile_file(source, "grid=2;block=32")
    assert verify(tmp_path / "k.cu", source, made.text, made.kernels, "grid=2;block=32", ()).agrees
