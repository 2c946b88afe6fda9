"""Operations of whole warps on matrices: inline PTX and nvcuda::wmma, against NumPy; fragments are placed as the PTX ISA's figures say."""

import mmap

import numpy as np
import pytest
from warploom.backends.emulator import KernelFailed, Launch, run_kernel

LONG = pytest.mark.long
RNG = np.random.default_rng(0)
INCLUDES = "#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n#include <mma.h>\n#include <stdint.h>\n"


def run(source, *args, launch=None, kernel="k"):
    run_kernel(INCLUDES + source, kernel, launch or Launch.of(1, 32), list(args))
    return args[0]


def values(shape, dtype=np.float16):
    return (RNG.integers(-8, 9, shape) / (1 if np.dtype(dtype).kind in "iu" else 4)).astype(dtype)


def bits(x):
    """bfloat16 as the emulator takes it."""
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


# every element goes by itself to the register, and the place in it, that the ISA names: a[i] of lane (g, t)
PLACED = """
template <class T, int K>
__device__ void place(const T* A, const T* B, unsigned* a, unsigned* b) {
  const int lane = threadIdx.x % 32, g = lane >> 2, t = lane % 4, W = 4 / sizeof(T);
  for (int i = 0; i < 16 * K / 32; ++i) {
    const int within = i % W, word = i / W;
    const int row = word % 2 ? g + 8 : g, col = t * W + within + (word >= 2 ? 4 * W : 0);
    ((T*)a)[i] = A[row * K + col];
  }
  for (int i = 0; i < 8 * K / 32; ++i) ((T*)b)[i] = B[(t * W + i % W + (i / W) * 4 * W) * 8 + g];
}
"""
PRODUCT = """
__global__ void k({sum}* D, const {type}* A, const {type}* B, const {sum}* C) {{
  unsigned a[4], b[2];
  place<{type}, {K}>(A, B, a, b);
  const int g = threadIdx.x >> 2, t = threadIdx.x % 4;
  {sum} c[4] = {{C[g * 8 + 2 * t], C[g * 8 + 2 * t + 1], C[(g + 8) * 8 + 2 * t], C[(g + 8) * 8 + 2 * t + 1]}}, d[4];
  asm volatile("mma.sync.aligned.m16n8k{K}.row.col.{ptx}.{of}.{of}.{ptx} "
               "{{%0, %1, %2, %3}}, {A}, {B}, {{%{c0}, %{c1}, %{c2}, %{c3}}};\\n"
               : "={r}"(d[0]), "={r}"(d[1]), "={r}"(d[2]), "={r}"(d[3])
               : {ins}, "{r}"(c[0]), "{r}"(c[1]), "{r}"(c[2]), "{r}"(c[3]));
  for (int i = 0; i < 4; ++i) D[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = d[i];
}}
"""


def product(of, depth):
    """The kernel of one shape, as it stands in the ISA: how many registers a and b have follows from the element's size."""
    kind, size = {"f16": ("__half", 2), "bf16": ("__nv_bfloat16", 2), "tf32": ("float", 4), "s8": ("signed char", 1), "u8": ("unsigned char", 1)}[of]
    na, nb = 16 * depth * size // 128, 8 * depth * size // 128
    numbers = [f"%{k}" for k in range(4, 4 + na + nb)]
    ins = ", ".join([*(f'"r"(a[{k}])' for k in range(na)), *(f'"r"(b[{k}])' for k in range(nb))])
    whole = of in ("s8", "u8")
    starts = {f"c{k}": 4 + na + nb + k for k in range(4)}
    braced = [f"{{{', '.join(x)}}}" for x in (numbers[:na], numbers[na:])]
    return PLACED + PRODUCT.format(
        sum="int" if whole else "float", ptx="s32" if whole else "f32", r="r" if whole else "f", type=kind, of=of, K=depth, A=braced[0], B=braced[1], ins=ins, **starts
    )


@pytest.mark.parametrize("of, depth", [("f16", 16), ("bf16", 16), ("tf32", 8), ("s8", 32), *(pytest.param(*x, marks=LONG) for x in (("f16", 8), ("bf16", 8), ("tf32", 4), ("u8", 16)))])
def test_mma_of_every_kind(of, depth):
    dtype = {"f16": np.float16, "bf16": np.float32, "tf32": np.float32, "s8": np.int8, "u8": np.uint8}[of]
    a, b = (np.abs(values(s, dtype)) if of == "u8" else values(s, dtype) for s in ((16, depth), (depth, 8)))
    c = values((16, 8), np.int32 if dtype in (np.int8, np.uint8) else np.float32)
    given = (bits(a), bits(b)) if of == "bf16" else (a, b)
    d = run(product(of, depth), np.zeros_like(c), *given, c)
    np.testing.assert_array_equal(d, a.astype(c.dtype) @ b.astype(c.dtype) + c)


def test_tf32_drops_the_bits_that_do_not_count():
    a, b = np.full((16, 8), 1 + 2.0**-12, np.float32), np.ones((8, 8), np.float32)
    d = run(product("tf32", 8), np.zeros((16, 8), np.float32), a, b, np.zeros((16, 8), np.float32))
    assert (d == 8).all()


def test_sums_in_half():
    source = PLACED + """
    __global__ void k(__half* D, const __half* A, const __half* B) {
      unsigned a[4], b[2], d[2] = {0u, 0u};
      place<__half, 16>(A, B, a, b);
      asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%0,%1};" : "+r"(d[0]), "+r"(d[1])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
      int g = threadIdx.x / 4, t = threadIdx.x % 4;
      for (int i = 0; i < 2; ++i) *(__half2*)&D[(g + 8 * i) * 8 + 2 * t] = *(__half2*)&d[i];
    }"""
    a, b = values((16, 16)), values((16, 8))
    np.testing.assert_array_equal(run(source, np.zeros((16, 8), np.float16), a, b), a @ b)


TILED = """
#define CP_ASYNC(dst, src) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\\n" :: "r"(dst), "l"(src))
__device__ __forceinline__ uint32_t address_of(const void* p) {
  uint32_t out;
  asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(out) : "l"(p));
  return out;
}
__global__ void k(float* D, const __half* A, const __half* B) {
  __shared__ __align__(16) __half a_s[16][24], b_s[16][8];
  const int lane = threadIdx.x;
  CP_ASYNC(static_cast<uint32_t>(__cvta_generic_to_shared(&a_s[lane / 2][lane % 2 * 8])), A + lane * 8);
  if (lane < 16) CP_ASYNC(address_of(b_s[lane]), B + lane * 8);
  asm volatile("cp.async.commit_group;\\n" ::);
  asm volatile("cp.async.wait_group %0;\\n" ::"n"(0));
  __syncwarp();
  uint32_t a[4], b[2];
  float d[4] = {};
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(address_of(&a_s[lane % 16][lane / 16 * 8])));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(b[0]), "=r"(b[1]) : "r"(address_of(b_s[lane % 16])));
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  for (int i = 0; i < 4; ++i) D[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}
"""


def test_copies_addresses_and_ldmatrix():
    a, b = values((16, 16)), values((16, 8))
    d = run(TILED, np.zeros((16, 8), np.float32), a, b)
    np.testing.assert_array_equal(d, a.astype(np.float32) @ b.astype(np.float32))


def test_copies_from_addresses_of_32_bits(monkeypatch):
    """They are no addresses in shared memory: a heap may lie that low."""
    below_4_gib = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40
    places = []

    def low(count, value, dtype):
        out = np.frombuffer(mmap.mmap(-1, count, flags=below_4_gib), dtype, count)
        out[:] = value
        places.append(out.ctypes.data)
        return out

    monkeypatch.setattr(np, "full", low)
    test_copies_addresses_and_ldmatrix()
    assert len(places) == 3 and max(places) < 1 << 32


def test_special_registers_names_and_scopes():
    source = """__global__ void k(unsigned* out, const float* x) {
      unsigned lane;
      float y;
      asm("mov.u32 %0, %%laneid;" : "=r"(lane));
      asm volatile("{\\n\\t.reg .f32 t;\\n\\tmov.f32 t, %[in]; // a copy\\n\\tex2.approx.ftz.f32 %[out], t;\\n}" : [out] "=f"(y) : [in] "f"(x[threadIdx.x]));
      if (lane == threadIdx.x % 32) asm volatile("mov.u32 %0, 7;" : "=r"(lane)); else lane = 0;
      out[threadIdx.x] = lane + (y == exp2f(x[threadIdx.x]));
    }"""
    assert (run(source, np.zeros(64, np.uint32), RNG.random(64, np.float32), launch=Launch.of(1, 64)) == 8).all()


def test_host_assembly_stays_and_what_is_not_known_fails_where_it_runs():
    source = """
    static int fence() { asm volatile("" ::: "memory"); return 1; }
    __device__ void never(int* p) { asm volatile("red.global.xor.b32 [%0], 1;" :: "l"(p)); }
    __global__ void k(int* out, int go) { if (go) never(out); out[threadIdx.x] = 1; }"""
    assert run(source, np.zeros(32, np.int32), 0).all()
    with pytest.raises(KernelFailed, match=r"red\.global\.xor\.b32"):
        run(source, np.zeros(32, np.int32), 1)


def test_all_lanes_of_a_warp_take_part():
    source = product("f16", 16).replace("unsigned a[4]", "if (threadIdx.x == 5) return;\n  unsigned a[4]")
    with pytest.raises(KernelFailed, match="not reached by all of its 32 lanes"):
        run(source, np.zeros((16, 8), np.float32), values((16, 16)), values((16, 8)), values((16, 8), np.float32))


WMMA = """
using namespace nvcuda;
__global__ void k({sum}* C, const {stored}* A, const {stored}* B, const {sum}* bias, int M, int N, int K) {{
  const int warp = threadIdx.x / 32, row = blockIdx.y * {m}, col = (blockIdx.x * 2 + warp) * {n};
  wmma::fragment<wmma::matrix_a, {m}, {n}, {k}, {type}, wmma::row_major> a;
  wmma::fragment<wmma::matrix_b, {m}, {n}, {k}, {type}, wmma::col_major> b;
  wmma::fragment<wmma::accumulator, {m}, {n}, {k}, {sum}> c, start;
  wmma::fill_fragment(c, ({sum})0);
  wmma::load_matrix_sync(start, bias + row * N + col, N, wmma::mem_row_major);
  for (int k0 = 0; k0 < K; k0 += {k}) {{
    wmma::load_matrix_sync(a, A + row * K + k0, K);
    wmma::load_matrix_sync(b, B + col * K + k0, K);
    {convert}
    wmma::mma_sync(c, a, b, c);
  }}
  for (int i = 0; i < c.num_elements; i++) c.x[i] = c.x[i] + start.x[i];
  wmma::store_matrix_sync(C + row * N + col, c, N, wmma::mem_row_major);
}}
"""
TF32 = "for (int i = 0; i < a.num_elements; i++) a.x[i] = wmma::__float_to_tf32(a.x[i]);"


@pytest.mark.parametrize(
    "type_, sum_, m, n, k",
    [
        ("half", "float", 16, 16, 16), ("wmma::precision::tf32", "float", 16, 16, 8), pytest.param("half", "half", 8, 32, 16, marks=LONG),
        pytest.param("__nv_bfloat16", "float", 32, 8, 16, marks=LONG), pytest.param("signed char", "int", 16, 16, 16, marks=LONG),
    ],
)  # fmt: skip
def test_wmma(type_, sum_, m, n, k):
    dtype = {"half": np.float16, "signed char": np.int8}.get(type_, np.float32)
    total = {"half": np.float16, "int": np.int32}.get(sum_, np.float32)
    stored = "float" if "tf32" in type_ else type_
    shape = (3 * m, 4 * n, 2 * k)
    a, b, bias = values((shape[0], shape[2]), dtype), values((shape[1], shape[2]), dtype), values(shape[:2], total)
    source = WMMA.format(type=type_, stored=stored, sum=sum_, m=m, n=n, k=k, convert=TF32 if "tf32" in type_ else "")
    given = (bits(a), bits(b)) if "bf" in type_ else (a, b)
    c = run(source, np.zeros(shape[:2], total), *given, bias, *(np.int32(x) for x in shape), launch=Launch.of((2, 3, 1), 64))
    exact = np.float32 if total == np.float16 else total
    np.testing.assert_array_equal(c, (a.astype(exact) @ b.astype(exact).T + bias).astype(total))
