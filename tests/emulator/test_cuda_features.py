"""CUDA's constructs, one kernel each, against NumPy."""

import numpy as np
import pytest
from warploom.backends.emulator import KernelFailed, Launch, run_kernel
from warploom.ir.diagnostic import BuildFailed

F = np.float32
X = np.random.default_rng(0).random(256).astype(F)


def run(source, launch, *args, kernel="k"):
    run_kernel(source, kernel, launch, list(args))
    return args[0]


def test_block_votes_and_ballots():
    source = """__global__ void k(int* out) {
      int t = threadIdx.x;
      out[4 * t] = __syncthreads_count(t < 10);
      out[4 * t + 1] = __syncthreads_and(t < 64) * 10 + __syncthreads_or(t == 3);
      out[4 * t + 2] = (int)__ballot_sync(0xffffffff, t % 3 == 0);
      out[4 * t + 3] = __any_sync(0xffffffff, t == 40) * 2 + __all_sync(0xffffffff, t < 32);
    }"""
    out = run(source, Launch.of(1, 64), np.zeros((64, 4), np.int32))
    lanes = np.arange(64)
    ballots = [int(sum(1 << i for i in range(32) if (i + 32 * w) % 3 == 0)) for w in (0, 1)]
    assert (out[:, 0] == 10).all() and (out[:, 1] == 11).all()
    assert (out[:, 2].view(np.uint32) == np.array(ballots, np.uint32)[lanes // 32]).all()
    assert (out[:, 3] == np.array([1, 2])[lanes // 32]).all()


@pytest.mark.parametrize("width", [2, 8, 16, 32])
def test_shuffles_of_part_of_a_warp(width):
    source = f"""__global__ void k(int* out) {{
      int t = threadIdx.x;
      out[4 * t] = __shfl_down_sync(0xffffffff, t, 1, {width});
      out[4 * t + 1] = __shfl_up_sync(0xffffffff, t, 1, {width});
      out[4 * t + 2] = __shfl_xor_sync(0xffffffff, t, {width // 2}, {width});
      out[4 * t + 3] = __shfl_sync(0xffffffff, t, 1, {width});
    }}"""
    out = run(source, Launch.of(1, 64), np.zeros((64, 4), np.int32))
    t = np.arange(64)
    part = t % width
    assert (out[:, 0] == np.where(part + 1 < width, t + 1, t)).all()
    assert (out[:, 1] == np.where(part >= 1, t - 1, t)).all()
    assert (out[:, 2] == t ^ (width // 2)).all()
    assert (out[:, 3] == t - part + 1).all()


def test_half_and_bfloat16_round_after_every_operation():
    source = """#include <cuda_fp16.h>
    #include <cuda_bf16.h>
    __global__ void k(__half* h, __nv_bfloat16* b, const float* x) {
      int t = threadIdx.x;
      h[t] = __hadd(__hmul(__float2half(x[t]), __float2half(3.0f)), __float2half(1.0f));
      b[t] = __float2bfloat16(x[t]);
    }"""
    h, b = np.zeros(256, np.float16), np.zeros(256, np.uint16)
    run(source, Launch.of(1, 256), h, b, X)
    assert (h == X.astype(np.float16) * np.float16(3) + np.float16(1)).all()
    assert (np.abs((b.astype(np.uint32) << 16).view(F) - X) <= X * 2.0**-8).all()


def test_memory_is_read_as_another_type_than_it_was_written_as():
    source = """__global__ void k(unsigned* y, int at) {
      y[1] = 5;
      *reinterpret_cast<short*>(&y[1]) = 7;
      y[2] = y[1];
      short* low = (short*)&y[3];
      y[3] = 5;
      low[at] = 7;
      y[4] = y[3];
    }"""
    assert run(source, Launch.of(1, 1), np.zeros(5, np.uint32), np.int32(0)).tolist() == [0, 7, 7, 7, 7]


def test_cub_reductions_and_scans():
    source = """#include <cub/cub.cuh>
    __global__ void k(float* out, const float* x) {
      using Reduce = cub::BlockReduce<float, 128>;
      using Scan = cub::BlockScan<float, 128>;
      using Warp = cub::WarpReduce<float>;
      __shared__ typename Reduce::TempStorage a;
      __shared__ typename Scan::TempStorage b;
      __shared__ typename Warp::TempStorage c[4];
      float v = x[threadIdx.x], below;
      float sum = Reduce(a).Sum(v), top = Warp(c[threadIdx.x / 32]).Reduce(v, cub::Max());
      Scan(b).ExclusiveSum(v, below);
      out[threadIdx.x] = below;
      if (threadIdx.x == 0) out[128] = sum;
      if (threadIdx.x % 32 == 0) out[129 + threadIdx.x / 32] = top;
    }"""
    out = run(source, Launch.of(1, 128), np.zeros(133, F), X[:128])
    assert np.allclose(out[:128], np.concatenate([[0], X[:127].cumsum()]), rtol=1e-5)
    assert np.isclose(out[128], X[:128].sum(), rtol=1e-5)
    assert (out[129:] == X[:128].reshape(4, 32).max(1)).all()


def test_tiles_and_coalesced_groups():
    source = """#include <cooperative_groups.h>
    #include <cooperative_groups/reduce.h>
    namespace cg = cooperative_groups;
    __global__ void k(int* out) {
      auto tile = cg::tiled_partition<8>(cg::this_thread_block());
      int sum = cg::reduce(tile, (int)threadIdx.x, cg::plus<int>()), odd = 0;
      if (threadIdx.x % 2) odd = cg::coalesced_threads().size();
      out[2 * threadIdx.x] = sum;
      out[2 * threadIdx.x + 1] = odd;
    }"""
    out = run(source, Launch.of(1, 64), np.zeros((64, 2), np.int32))
    assert (out[:, 0] == np.arange(64).reshape(8, 8).sum(1).repeat(8)).all()
    assert (out[:, 1] == np.where(np.arange(64) % 2, 16, 0)).all()


def test_atomics_of_every_kind():
    source = """__global__ void k(float* f, double* d, int* i, unsigned* u, unsigned long long* l) {
      int t = threadIdx.x;
      atomicAdd(f, 1.0f); atomicAdd(d, 0.5); atomicMax(i, t); atomicMin(i + 1, -t); atomicInc(u, 9); atomicXor(u + 1, 1u << (t % 32));
      int seen = i[2], old;
      do { old = seen; seen = atomicCAS(i + 2, old, old + 2); } while (seen != old);
      atomicAdd(l, 1ull << 40);
    }"""
    f, d, i, u, w = np.zeros(1, F), np.zeros(1), np.zeros(3, np.int32), np.zeros(2, np.uint32), np.zeros(1, np.uint64)
    run(source, Launch.of(4, 64), f, d, i, u, w)
    assert f[0] == 256 and d[0] == 128 and list(i) == [63, -63, 512]
    assert u[0] == 256 % 10 and u[1] == 0 and w[0] == 256 << 40


def test_lanes_go_in_step_where_accesses_are_volatile():
    source = """__device__ void tail(volatile float* s, int t) {
      s[t] += s[t + 32]; s[t] += s[t + 16]; s[t] += s[t + 8]; s[t] += s[t + 4]; s[t] += s[t + 2]; s[t] += s[t + 1];
    }
    __global__ void k(float* out, const float* x) {
      __shared__ float s[64];
      s[threadIdx.x] = x[threadIdx.x];
      __syncthreads();
      if (threadIdx.x < 32) tail(s, threadIdx.x);
      if (threadIdx.x == 0) *out = s[0];
    }"""
    out = run(source, Launch.of(1, 64), np.zeros(1, F), X[:64])
    assert np.isclose(out[0], X[:64].sum(), rtol=1e-5)


def test_template_kernels_are_named_by_their_instance():
    source = "template <typename T, int N> __global__ void k(T* y) { y[threadIdx.x] = T(N) / 2; }"
    assert (run(source, Launch.of(1, 8), np.zeros(8), kernel="k<double, 3>") == 1.5).all()


def test_deadlock_is_named_not_hung():
    source = (
        """__global__ void stuck(int* x) { if (threadIdx.x < 5) __syncwarp(0xffffffff); else __syncthreads(); x[0] = 1; }"""
    )
    with pytest.raises(KernelFailed, match=r"deadlock in kernel stuck, block \(0,0,0\)"):
        run(source, Launch.of(1, 64), np.zeros(1, np.int32), kernel="stuck")


@pytest.mark.parametrize("words", ["__shared__ alignas(64)", "alignas(64) __shared__", "__shared__ __align__(64)", "static __shared__ alignas(64)"])
def test_shared_arrays_are_aligned_wherever_the_word_stands(words):
    source = f"""__global__ void k(long long* x) {{
      {words} float s[40];
      alignas(16) float2 mine[2];
      mine[0] = make_float2(threadIdx.x, 1.0f);
      s[threadIdx.x] = mine[0].x + mine[0].y;
      __syncthreads();
      x[threadIdx.x] = (long long)s % 64 * 100 + (long long)s[39 - threadIdx.x];
    }}"""
    assert (run(source, Launch.of(2, 40), np.zeros(40, np.int64)) == 40 - np.arange(40)).all()


def test_assertion_names_the_thread():
    source = "__global__ void k(int* x) {\n  assert(threadIdx.x != 7);\n}"
    with pytest.raises(KernelFailed, match=r"kernel.cu:2: kernel k, block \(0,0,0\), thread \(7,0,0\)"):
        run(source, Launch.of(1, 64), np.zeros(1, np.int32))


def test_rounded_intrinsics_round_as_they_say():
    source = """__global__ void k(float* out, float a, float b) {
      out[0] = __fadd_rd(a, b); out[1] = __fadd_ru(a, b); out[2] = __fmul_rz(a, b); out[3] = __fdiv_rn(a, b); out[4] = __saturatef(-a);
    }"""
    out = run(source, Launch.of(1, 1), np.zeros(5, F), F(0.1), F(1e-9))
    a, b = np.float64(F(0.1)), np.float64(F(1e-9))
    assert out[0] <= a + b < out[1] and np.nextafter(out[0], F(1)) == out[1]
    assert out[2] <= a * b and out[3] == F(a / b) and out[4] == 0


def test_philox_gives_the_published_numbers():
    """Known answer of Random123 (Salmon et al. 2011): counter and key 0."""
    source = """#include <curand_kernel.h>
__global__ void k(unsigned* u, float* f) {
  curandStatePhilox4_32_10_t s;
  curand_init(0, 0, 0, &s);
  for (int i = 0; i < 4; ++i) u[i] = curand(&s);
  curand_init(7, threadIdx.x, 0, &s);
  f[threadIdx.x] = curand_uniform(&s);
}"""
    words, uniform = np.zeros(4, np.uint32), np.zeros(256, np.float32)
    run_kernel(source, "k", Launch.of(1, 256), [words, uniform])
    assert [hex(w) for w in words] == ["0x6627e8d5", "0xe169c58d", "0xbc57ac4c", "0x9b00dbd8"]
    assert uniform.min() > 0 and uniform.max() <= 1 and abs(uniform.mean() - 0.5) < 0.06


def test_shared_memory_is_read_by_all_before_the_first_overwrites_it():
    """The barrier after `m = s[0]` is missing, as in many kernels that work on a GPU."""
    source = """__global__ void k(float* y, const float* x) {
      __shared__ float s[64], w[2];
      int t = threadIdx.x;
      s[t] = x[t];
      __syncthreads();
      for (int o = 32; o > 0; o >>= 1) { if (t < o) s[t] = fmaxf(s[t], s[t + o]); __syncthreads(); }
      float m = s[0];
      s[t] = x[t] - m;
      __syncthreads();
      float v = s[63 - t];
      for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(0xffffffff, v, o);
      if (t % 32 == 0) w[t / 32] = v;
      __syncthreads();
      v = w[0] + w[1];
      for (int o = 16; o > 0; o >>= 1) m += 0.0f * __shfl_xor_sync(0xffffffff, m, o);
      if (t % 32 == 0) w[t / 32] = m;
      __syncthreads();
      y[t] = v + w[0] - w[1];
    }"""
    y = run(source, Launch.of(1, 64), np.zeros(64, F), X[:64])
    assert np.allclose(y, (X[:64] - X[:64].max()).sum(), rtol=1e-4)


def test_groups_behind_a_template_parameter_wait():
    source = """#include <cooperative_groups.h>
    using namespace cooperative_groups;
    template <class G> __device__ int top(const G& g, int v) { for (int i = g.size() / 2; i; i >>= 1) v = max(v, g.shfl_xor(v, i)); return v; }
    __global__ void k(int* out) { auto tile = tiled_partition<8>(this_thread_block()); out[threadIdx.x] = top(tile, (int)threadIdx.x * 5 % 16); }"""
    out = run(source, Launch.of(1, 32), np.zeros(32, np.int32))
    assert (out.reshape(4, 8) == (np.arange(32) * 5 % 16).reshape(4, 8).max(1, keepdims=True)).all()


def test_dynamic_shared_memory_behind_a_struct():
    source = """template <class T> struct Shared { __device__ operator T*() { extern __shared__ __align__(8) unsigned char raw[]; return reinterpret_cast<T*>(raw); } };
    __global__ void k(int* out) { Shared<int> shared; int* s = shared; s[threadIdx.x] = threadIdx.x; __syncthreads(); out[threadIdx.x] = s[31 - threadIdx.x]; }"""
    assert (run(source, Launch.of(1, 32, 128), np.zeros(32, np.int32)) == np.arange(31, -1, -1)).all()


def test_what_nvcc_finds_ambiguous_is_refused():
    source = """#include <cuda_fp16.h>
    __global__ void k(float* out, const __half* h) { out[0] = max((float)h[0], 2.0f); out[0] += (float)max(h[0], h[1]); }"""
    with pytest.raises(BuildFailed, match="max"):
        run(source, Launch.of(1, 1), np.zeros(1, F), np.ones(2, np.float16))
    own = "__device__ __half max(__half a, __half b) { return __hgt(a, b) ? a : b; }"  # as TVM writes it
    assert run(source.replace("__global__", own + "__global__", 1), Launch.of(1, 1), np.zeros(1, F), np.ones(2, np.float16))[0] == 3


def test_asynchronous_copies():
    source = """#include <cuda_pipeline.h>
    __global__ void k(float* out, const float* x) {
      __shared__ float4 s[16];
      __pipeline_memcpy_async(&s[threadIdx.x], (const float4*)x + threadIdx.x, sizeof(float4));
      __pipeline_commit(); __pipeline_wait_prior(0); __syncthreads();
      ((float4*)out)[threadIdx.x] = s[15 - threadIdx.x];
    }"""
    assert (run(source, Launch.of(1, 16), np.zeros(64, F), X[:64].copy()).reshape(16, 4) == X[:64].reshape(16, 4)[::-1]).all()


def test_bytes_and_halves_of_words():
    source = """__global__ void k(unsigned* y) {
  unsigned a = 0x80ff017fu, b = 0x7f01ff80u;
  y[0] = __vavgs4(a, b); y[1] = __vavgu4(a, b); y[2] = __vaddss4(a, b); y[3] = __vcmpgts2(a, b); y[4] = __vabsdiffu4(a, b); y[5] = __rhadd(-3, -4);
  y[6] = __vmaxs2(a, b); y[7] = __vsubus2(a, b); y[8] = __vadd2(a, b); y[9] = __vcmpeq4(a, 0x80000000u);
}"""
    y = np.zeros(10, np.uint32)
    run_kernel(source, "k", Launch.of(1, 1), [y])
    assert [f"{v:08x}" for v in y] == ["ff0000ff", "80808080", "ff0000ff", "0000ffff", "01fefe01", "fffffffd", "7f01017f", "01fe0000", "000000ff", "ff000000"]
