"""Inline PTX of one thread: the emulator gives what PTX says, the transpiled code what the emulator gives; what threads do together is refused."""

import numpy as np
import pytest
import warploom
from warploom.backends.cpu.fission.verify import verify
from warploom.backends.emulator import Launch, run_kernel
from warploom.frontend.cuda.ptx import plain_ptx
from warploom.frontend.cuda.read import UnsupportedCuda
from warploom.transpiler import transpile_file

KERNEL = """__device__ __forceinline__ float4 streamed(const float4* p) {
  float4 r;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(r.x), "=f"(r.y), "=f"(r.z), "=f"(r.w) : "l"(p) : "memory");
  return r;
}
__device__ unsigned majority(unsigned a, unsigned b, unsigned c) {
  unsigned r;
  asm("lop3.b32 %0, %1, %2, %3, 0xE8;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
  return r;
}
__global__ void k(const float* x, float* y, unsigned* z) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  asm volatile("prefetch.global.L2 [%0];" :: "l"(x + i * 4));
  float4 v = streamed(reinterpret_cast<const float4*>(x) + i);
  float r, e; int q; unsigned lane, bits, field, shifted, low;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(r) : "f"(v.x), "f"(v.y + 1.0f), "f"(v.z));
  asm("ex2.approx.ftz.f32 %[to], %[from];" : [to] "=f"(e) : [from] "f"(v.w));
  asm("cvt.rni.s32.f32 %0, %1;" : "=r"(q) : "f"(v.x * 9.0f));
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  asm("mov.b32 %0, %1;" : "=r"(bits) : "f"(v.y));
  asm("bfe.u32 %0, %1, %2, 3;" : "=r"(field) : "r"(i * 37), "r"(2));
  asm("shr.u32 %0, %1, %2;" : "=r"(shifted) : "r"(i * 1000), "r"(i));
  asm("mad.lo.s32 %0, %1, 3, %2;" : "=r"(low) : "r"(i), "r"(-i));
  if (i % 2) asm volatile("st.global.cs.f32 [%0 + 4], %1;" :: "l"(y + 2 * i - 1), "f"(r)); else y[2 * i] = r;
  y[2 * i + 1] = e + q + lane;
  z[i] = majority(bits, 0x0ff00ff0u, i) ^ (field << 8) ^ shifted ^ low;
}
"""


def test_the_emulator_gives_what_ptx_says():
    x = np.random.default_rng(0).random(256).astype(np.float32)
    y, z = np.zeros(128, np.float32), np.zeros(64, np.uint32)
    run_kernel(KERNEL, "k", Launch.of(2, 32), [x, y, z])
    v, i = x.reshape(64, 4), np.arange(64, dtype=np.int64)
    np.testing.assert_allclose(y[::2], v[:, 0] * (v[:, 1] + 1) + v[:, 2], 1e-6)
    np.testing.assert_allclose(y[1::2], np.exp2(v[:, 3]) + np.rint(v[:, 0] * np.float32(9)) + i % 32, 1e-6)
    a, b = v[:, 1].copy().view(np.uint32).astype(np.int64), 0x0FF00FF0
    shifted = np.where(i < 32, (i * 1000) >> np.minimum(i, 31), 0)
    np.testing.assert_array_equal(z, ((a & b) | (a & i) | (b & i)) ^ ((i * 37 >> 2 & 7) << 8) ^ shifted ^ (2 * i))


def test_transpiled_ptx_agrees_with_the_emulator(tmp_path):
    made = transpile_file(KERNEL, "grid=2;block=32")
    assert "asm" not in made.text
    assert verify(tmp_path / "k.cu", KERNEL, made.text, made.kernels, "grid=2;block=32", ()).agrees


@pytest.mark.parametrize(
    "statement",
    [
        'asm("nop;");',
        'asm("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(at));',
        'asm("shfl.sync.bfly.b32 %0, %1, 1, 31, -1;" : "=r"(at) : "r"(at));',
        'asm("bar.sync 1, 32;");',
        'asm("add.f32 %0, %1, %1;" : "=f"(v) : "r"(at));',
        'asm("{ .reg .pred p; setp.eq.u32 p, %0, 0; }" :: "r"(at));',
    ],
)
def test_what_has_no_plain_words_stays_and_is_refused(statement):
    source = f"__global__ void k(float* x) {{\n  float v = 0; unsigned at = 0;\n  {statement}\n  x[0] = v + at;\n}}"
    assert plain_ptx(source) == source
    with pytest.raises(UnsupportedCuda, match="line 3: inline PTX"):
        warploom.transpile(source, "grid=1;block=32")


def test_lines_comments_and_strings_stay():
    source = '// asm("prefetch.global.L2 [%0];" :: "l"(p));\nconst char* s = "asm(";\nasm volatile("membar.gl;"\n    ::: "memory");\nint x;\n'
    assert plain_ptx(source).splitlines()[-1] == "int x;" and plain_ptx(source).count("\n") == source.count("\n")
