"""Small kernels, half of them with one planted bug: (name, source, launch, arguments, expected kind or None).

A wrong kernel stands beside its right twin. Arguments are (kind, dtype, shape or value).
"""

from dataclasses import dataclass

from warploom.backends.emulator import Launch

F, I32, H = "float32", "int32", "float16"


@dataclass(frozen=True)
class Case:
    name: str
    source: str
    launch: Launch
    args: tuple
    expected: str | None = None
    both: bool = False  # the finding names another access too


CASES: list[Case] = []


def pair(name, template, launch, args, bugs, right=None):
    """`template` with `@` replaced by the right text, and by each wrong one with the kind it must be found as."""
    CASES.append(Case(f"{name}-right", template.replace("@", right or ""), launch, tuple(args)))
    for number, (wrong, expected, *both) in enumerate(bugs):
        source = template.replace("@", wrong)
        CASES.append(Case(f"{name}-wrong{number}", source, launch, tuple(args), expected, bool(both)))


X, Y, N = ("in", F, 1000), ("out", F, 1000), ("scalar", I32, 1000)
OUT4, IN1024 = ("out", F, 4), ("in", F, 1024)
BLOCKS4 = Launch.of(4, 256)

pair(
    "guard",
    """__global__ void k(float* y, const float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (@)
    y[i] = x[i] * 2.0f;
}""",
    BLOCKS4,
    [Y, X, N],
    [("i <= n", "out-of-bounds-write"), ("i < n - 1", "partial-write"), ("true", "out-of-bounds-read")],
    "i < n",
)
pair(
    "tree-reduction",
    """__global__ void k(float* out, const float* x) {
  __shared__ float s[256];
  int t = threadIdx.x;
  s[t] = x[blockIdx.x * 256 + t];
  @
}""",
    BLOCKS4,
    [OUT4, IN1024],
    [
        (
            """for (int h = 128; h > 0; h /= 2) { if (t < h) s[t] += s[t + h]; __syncthreads(); }
  if (t == 0) out[blockIdx.x] = s[0];""",
            "race",
            "both",
        ),
        (
            """__syncthreads();
  for (int h = 128; h > 0; h /= 2) { if (t < h) s[t] += s[t + h]; }
  __syncthreads();
  if (t == 0) out[blockIdx.x] = s[0];""",
            "race",
            "both",
        ),
        (
            """__syncthreads();
  for (int h = 128; h > 0; h /= 2) { if (t < h) { s[t] += s[t + h]; __syncthreads(); } }
  if (t == 0) out[blockIdx.x] = s[0];""",
            "barrier-divergence",
            "both",
        ),
        (
            """__syncthreads();
  for (int h = 128; h > 0; h /= 2) { if (t < h) s[t] += s[t + h + 1]; __syncthreads(); }
  if (t == 0) out[blockIdx.x] = s[0];""",
            "out-of-bounds-read",
        ),
        (
            """__syncthreads();
  for (int h = 128; h > 0; h /= 2) { if (t < h) s[t] += s[t + h]; __syncthreads(); }
  out[blockIdx.x] = s[t];""",
            "race",
            "both",
        ),
    ],
    """__syncthreads();
  for (int h = 128; h > 0; h /= 2) { if (t < h) s[t] += s[t + h]; __syncthreads(); }
  if (t == 0) out[blockIdx.x] = s[0];""",
)
pair(
    "tile-transpose",
    """__global__ void k(float* y, const float* x) {
  __shared__ float tile[16][17];
  int c = threadIdx.x, r = threadIdx.y;
  tile[r][c] = x[(blockIdx.y * 16 + r) * 32 + blockIdx.x * 16 + c];
  @
}""",
    Launch.of((2, 2), (16, 16)),
    [("out", F, 1024), IN1024],
    [
        ("y[(blockIdx.x * 16 + r) * 32 + blockIdx.y * 16 + c] = tile[c][r];", "race", "both"),
        ("__syncthreads(); y[(blockIdx.x * 16 + r) * 32 + blockIdx.y * 16 + c] = tile[c + 1][r];", "out-of-bounds-read"),
        ("__syncthreads(); y[(blockIdx.x * 16 + r) * 32 + blockIdx.y * 16 + c] = tile[c][r + 1];", "uninitialised-read"),
        (
            "if (r < 8) __syncthreads(); y[(blockIdx.x * 16 + r) * 32 + blockIdx.y * 16 + c] = tile[r][c];",
            "barrier-divergence",
            "both",
        ),
    ],
    "__syncthreads(); y[(blockIdx.x * 16 + r) * 32 + blockIdx.y * 16 + c] = tile[c][r];",
)
pair(
    "matmul-tile",
    """__global__ void k(float* c, const float* a, const float* b) {
  __shared__ float as[16][16], bs[16][16];
  int tx = threadIdx.x, ty = threadIdx.y, row = blockIdx.y * 16 + ty, col = blockIdx.x * 16 + tx;
  float acc = 0;
  for (int t = 0; t < 2; ++t) {
    as[ty][tx] = a[row * 32 + t * 16 + tx];
    bs[ty][tx] = b[(t * 16 + ty) * 32 + col];
    @
  }
  c[row * 32 + col] = acc;
}""",
    Launch.of((2, 2), (16, 16)),
    [("out", F, 1024), IN1024, IN1024],
    [
        ("__syncthreads();\n    for (int i = 0; i < 16; ++i) acc += as[ty][i] * bs[i][tx];", "race", "both"),
        ("for (int i = 0; i < 16; ++i) acc += as[ty][i] * bs[i][tx];\n    __syncthreads();", "race", "both"),
        (
            "__syncthreads();\n    for (int i = 0; i <= 16; ++i) acc += as[ty][i] * bs[i][tx];\n    __syncthreads();",
            "out-of-bounds-read",
        ),
    ],
    "__syncthreads();\n    for (int i = 0; i < 16; ++i) acc += as[ty][i] * bs[i][tx];\n    __syncthreads();",
)
pair(
    "histogram",
    """__global__ void k(int* bins, const int* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) { @ }
}""",
    BLOCKS4,
    [("inout", I32, 16), ("in", I32, 1000, "np.arange(1000) % 16"), N],
    [("bins[x[i]] += 1;", "race", "both"), ("atomicAdd(&bins[x[i] + 1], 1);", "out-of-bounds-write")],
    "atomicAdd(&bins[x[i]], 1);",
)
pair(
    "shared-histogram",
    """__global__ void k(int* bins, const int* x, int n) {
  __shared__ int s[16];
  @
  __syncthreads();
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(&s[x[i]], 1);
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(&bins[threadIdx.x], s[threadIdx.x]);
}""",
    BLOCKS4,
    [("inout", I32, 16), ("in", I32, 1000, "np.arange(1000) % 16"), N],
    [("if (threadIdx.x < 15) s[threadIdx.x] = 0;", "uninitialised-read"), ("", "uninitialised-read")],
    "if (threadIdx.x < 16) s[threadIdx.x] = 0;",
)
pair(
    "last-block",
    """__device__ unsigned count = 0;
__global__ void k(float* out, float* part, const float* x) {
  __shared__ bool last;
  __shared__ float s[256];
  int t = threadIdx.x;
  s[t] = x[blockIdx.x * 256 + t];
  __syncthreads();
  for (int h = 128; h > 0; h /= 2) { if (t < h) s[t] += s[t + h]; __syncthreads(); }
  if (t == 0) {
    part[blockIdx.x] = s[0];
    @
    last = atomicInc(&count, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && t == 0) { float sum = 0; for (int i = 0; i < gridDim.x; ++i) sum += part[i]; *out = sum; }
}""",
    BLOCKS4,
    [("out", F, 1), ("temp", F, 4), IN1024],
    [("", "race", "both")],
    "__threadfence();",
)
pair(
    "float-max-by-cas",
    """__global__ void k(float* top, const float* x) {
  float v = x[blockIdx.x * blockDim.x + threadIdx.x];
  int* word = (int*)top;
  @
}""",
    BLOCKS4,
    [("inout", F, 1), IN1024],
    [("if (*top < v) *top = v;", "race", "both")],
    """int seen = *word, assumed;
  do { assumed = seen; seen = atomicCAS(word, assumed, __float_as_int(fmaxf(v, __int_as_float(assumed)))); } while (seen != assumed);""",
)
pair(
    "float-max-by-cas-leaving-early",
    """__global__ void k(float* top, const float* x) {
  float v = x[blockIdx.x * blockDim.x + threadIdx.x];
  int* word = (int*)top;
  @
}""",
    BLOCKS4,
    [("inout", F, 1), IN1024],
    [("if (*top >= v) return;\n  atomicExch(word, __float_as_int(v));", "race", "both")],
    """int seen = *word, assumed;
  do {
    assumed = seen;
    if (__int_as_float(assumed) >= v) break;
    seen = atomicCAS(word, assumed, __float_as_int(v));
  } while (seen != assumed);""",
)
pair(
    "tickets",
    """__device__ unsigned taken = 0;
__global__ void k(float* y, const float* x) {
  __shared__ unsigned ticket;
  if (threadIdx.x == 0) ticket = atomicAdd(&taken, 1u);
  @
  int i = ticket * blockDim.x + threadIdx.x;
  y[i] = x[i];
}""",
    BLOCKS4,
    [("out", F, 1024), IN1024],
    [("", "race", "both")],
    "__syncthreads();",
)
pair(
    "block-neighbours",
    """__global__ void k(float* y, const float* x) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  @
}""",
    BLOCKS4,
    [("inout", F, 1024), IN1024],
    [
        ("y[i] = x[i];\n  if (i > 0) y[i] += y[i - 1];", "race", "both"),
        ("y[i] = x[i];\n  __syncthreads();\n  if (i > 0) y[i] = y[i - 1];", "race", "both"),
        ("y[i / 2] = x[i];", "race", "both"),
        ("y[i] = i > 0 ? x[i - 1] + x[i + 1] : x[i];", "out-of-bounds-read"),
        ("y[i] = x[i - 1];", "out-of-bounds-read"),
    ],
    "y[i] = i > 0 ? x[i - 1] : x[i];",
)
pair(
    "in-place-shift",
    """__global__ void k(float* y) {
  int i = threadIdx.x;
  @
}""",
    Launch.of(1, 256),
    [("inout", F, 256)],
    [("if (i < 255) y[i] = y[i + 1];", "race", "both")],
    "float v = i < 255 ? y[i + 1] : y[i];\n  __syncthreads();\n  y[i] = v;",
)
pair(
    "vector-load",
    """__global__ void k(float* y, const float* x) {
  int i = threadIdx.x;
  @
}""",
    Launch.of(1, 64),
    [("out", F, 256), ("in", F, 260)],
    [
        ("((float4*)y)[i] = ((const float4*)(x + 1))[i];", "misaligned-access"),
        (
            "float2 v = *(const float2*)(x + 4 * i + 1); y[4 * i] = v.x; y[4 * i + 1] = v.y; y[4 * i + 2] = v.x; y[4 * i + 3] = v.y;",
            "misaligned-access",
        ),
        ("((float4*)y)[i + 1] = ((const float4*)x)[i];", "out-of-bounds-write"),
    ],
    "((float4*)y)[i] = ((const float4*)x)[i];",
)
pair(
    "shared-vector",
    """__global__ void k(float* y, const float* x) {
  extern __shared__ float s[];
  int i = threadIdx.x;
  for (int j = 0; j < 4; ++j) s[4 * i + j] = x[4 * i + j];
  __syncthreads();
  float4 v = *(float4*)&s[@];
  y[i] = v.x + v.y + v.z + v.w;
}""",
    Launch.of(1, 64, 1024),
    [("out", F, 64), ("in", F, 256)],
    [("4 * i + 2", "misaligned-access"), ("4 * i + 4", "out-of-bounds-read")],
    "4 * i",
)
pair(
    "warp-sum",
    """__global__ void k(float* out, const float* x) {
  float v = x[threadIdx.x];
  @
  if (threadIdx.x % 32 == 0) out[threadIdx.x / 32] = v;
}""",
    Launch.of(1, 64),
    [("out", F, 2), ("in", F, 64)],
    [
        ("for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0x0000ffff, v, d);", "invalid-warp-mask"),
        (
            "if (threadIdx.x % 32 < 16) for (int d = 8; d > 0; d /= 2) v += __shfl_down_sync(0xffffffff, v, d);",
            "invalid-warp-mask",
        ),
        ("if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(0xffffffff, v, 1);\n  __syncthreads();", "invalid-warp-mask"),
        ("unsigned m = __ballot_sync(0xfffffffe, v > 0); v += m;", "invalid-warp-mask"),
    ],
    "for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(0xffffffff, v, d);",
)
pair(
    "half-warp",
    """__global__ void k(float* out, const float* x) {
  float v = x[threadIdx.x];
  int lane = threadIdx.x % 32;
  if (lane < 16) { v += __shfl_xor_sync(@, v, 1); }
  out[threadIdx.x] = v;
}""",
    Launch.of(1, 64),
    [("out", F, 64), ("in", F, 64)],
    [("0xffff0000", "invalid-warp-mask")],
    "0x0000ffff",
)
pair(
    "warp-exchange",
    """__global__ void k(float* out, const float* x) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[t];
  @
  out[t] = s[t ^ 1];
}""",
    Launch.of(1, 64),
    [("out", F, 64), ("in", F, 64)],
    [("", "race", "both"), ("if (t < 32) __syncwarp();", "race", "both")],
    "__syncwarp();",
)
pair(
    "warps-race",
    """__global__ void k(float* out, const float* x) {
  __shared__ float s[64];
  int t = threadIdx.x;
  s[t] = x[t];
  @
  out[t] = s[63 - t];
}""",
    Launch.of(1, 64),
    [("out", F, 64), ("in", F, 64)],
    [("__syncwarp();", "race", "both")],
    "__syncthreads();",
)
pair(
    "broadcast",
    """__global__ void k(float* out, const float* x) {
  __shared__ float mean;
  if (threadIdx.x == 0) mean = x[0];
  @
  out[blockIdx.x * blockDim.x + threadIdx.x] = mean;
}""",
    BLOCKS4,
    [("out", F, 1024), IN1024],
    [("", "race", "both"), ("if (threadIdx.x < 32) __syncthreads();", "barrier-divergence", "both")],
    "__syncthreads();",
)
pair(
    "divergent-arms",
    """__global__ void k(float* out) {
  int t = threadIdx.x;
  @
  out[t] = t;
}""",
    Launch.of(1, 64),
    [("out", F, 64)],
    [
        ("if (t < 32) {\n    __syncthreads();\n  } else {\n    __syncthreads();\n  }", "barrier-divergence", "both"),
        ("for (int i = 0; i < t / 32 + 1; ++i) __syncthreads();", "barrier-divergence", "both"),
        ("if (t < 32) __syncwarp(0xffffffff); else if (t == 32) __syncwarp(0xffffffff); else __syncthreads();", "deadlock"),
    ],
    "for (int i = 0; i < 3; ++i) __syncthreads();",
)
pair(
    "spin",
    """__global__ void k(int* out, int* lock) {
  @
  *out += 1;
  __threadfence();
  atomicExch(lock, 0);
}""",
    Launch.of(2, 1),
    [("inout", I32, 1), ("inout", I32, 1, "0")],
    [("while (atomicCAS(lock, 1, 1) != 1) {}", "deadlock"), ("", "race", "both")],
    "while (atomicCAS(lock, 0, 1) != 0) {}\n  __threadfence();",
)
pair(
    "dynamic-shared",
    """__global__ void k(float* out, const float* x) {
  extern __shared__ float s[];
  float* second = s + @;
  int t = threadIdx.x;
  s[t] = x[t];
  second[t] = 2 * x[t];
  __syncthreads();
  out[t] = s[63 - t] + second[63 - t];
}""",
    Launch.of(1, 64, 512),
    [("out", F, 64), ("in", F, 64)],
    [("65", "out-of-bounds-write"), ("32", "race", "both")],
    "64",
)
pair(
    "local-array",
    """__global__ void k(float* out, const float* x, int n) {
  float v[4];
  for (int i = 0; i < 4; ++i) v[i] = x[threadIdx.x * 4 + i];
  float s = 0;
  for (int i = 0; i < @; ++i) s += v[i];
  out[threadIdx.x] = s;
}""",
    Launch.of(1, 64),
    [("out", F, 64), ("in", F, 256), ("scalar", I32, 4)],
    [("n + 1", "out-of-bounds-read")],
    "n",
)
pair(
    "null-argument",
    """__global__ void k(float* out, const float* bias) {
  out[threadIdx.x] = @;
}""",
    Launch.of(1, 64),
    [("out", F, 64), ("null", F, 64)],
    [("bias[threadIdx.x]", "null-pointer")],
    "bias ? bias[threadIdx.x] : 0.0f",
)
pair(
    "half-elements",
    """#include <cuda_fp16.h>
__global__ void k(__half* y, const __half* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (@) y[i] = __hadd(x[i], x[i]);
}""",
    BLOCKS4,
    [("out", H, 1000), ("in", H, 1000), N],
    [("i < n + 1", "out-of-bounds-write"), ("i < n - 3", "partial-write")],
    "i < n",
)
pair(
    "warp-scan-blocks",
    """template <int W> __device__ float scan(float v) {
  for (int d = 1; d < W; d *= 2) { float o = __shfl_up_sync(0xffffffff, v, d); if (threadIdx.x % 32 >= d) v += o; }
  return v;
}
__global__ void k(float* out, const float* x) {
  __shared__ float sums[8];
  int t = threadIdx.x;
  float v = scan<32>(x[blockIdx.x * 256 + t]);
  if (t % 32 == 31) sums[t / 32] = v;
  @
  float before = 0;
  for (int w = 0; w < t / 32; ++w) before += sums[w];
  out[blockIdx.x * 256 + t] = v + before;
}""",
    BLOCKS4,
    [("out", F, 1024), IN1024],
    [("", "race", "both"), ("__syncwarp();", "race", "both")],
    "__syncthreads();",
)
pair(
    "grid-stride",
    """__global__ void k(float* y, const float* x, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += @) y[i] += x[i];
}""",
    Launch.of(2, 64),
    [("inout", F, 1000), X, N],
    [("blockDim.x + gridDim.x", "race", "both"), ("blockDim.x + 1", "race", "both")],
    "blockDim.x * gridDim.x",
)

MMA = """#include <cuda_fp16.h>
__global__ void k(float* y, const __half* x, const __half* w) {
  __shared__ __align__(16) __half x_s[32][18], w_s[8][18];
  const int t = threadIdx.x, warp = t / 32, g = t % 32 / 4, p = t % 4 * 2;
  float c[4] = {};
  for (int k = 0; k < 64; k += 16) {
    for (int i = t; i < 512; i += 64) x_s[i / 16][i % 16] = x[i / 16 * 64 + k + i % 16];
    for (int i = t; i < 128; i += 64) w_s[i / 16][i % 16] = w[i / 16 * 64 + k + i % 16];
    FILLED;
    const unsigned *a = (const unsigned*)&x_s[warp * 16 + g][COLUMN], *b = (const unsigned*)&w_s[g][p];
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[72]), "r"(a[4]), "r"(a[76]), "r"(b[0]), "r"(b[4]));
    READ;
  }
  for (int i = 0; i < 4; i++) y[(warp * 16 + g + i / 2 * 8) * 8 + p + i % 2] = c[i];
}
@"""


def mma(filled="__syncthreads()", column="p", read="__syncthreads()"):
    return f"#define FILLED {filled}\n#define COLUMN {column}\n#define READ {read}\n" + MMA.replace("@", "")


pair(
    "mma",
    "@",
    Launch.of(1, 64),
    [("out", F, 256), ("in", H, 2048), ("in", H, 512)],
    [(mma(filled=""), "race", True), (mma(read=""), "race", True), (mma(column="p + 1"), "misaligned-access")],
    mma(),
)
pair(
    "wmma",
    """#include <mma.h>
using namespace nvcuda;
__global__ void k(float* y, const __half* x, const __half* w) {
  __shared__ __half x_s[32 * 16], w_s[256];
  wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> a;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> b;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> c;
  for (int i = threadIdx.x; i < 512; i += 64) x_s[i] = x[i];
  for (int i = threadIdx.x; i < 256; i += 64) w_s[i] = w[i];
  @
  wmma::mma_sync(c, a, b, c);
  wmma::store_matrix_sync(y + threadIdx.x / 32 * 256, c, 16, wmma::mem_row_major);
}""",
    Launch.of(1, 64),
    [("out", F, 512), ("in", H, 512), ("in", H, 256)],
    [
        ("wmma::fill_fragment(c, 0.0f);\n  wmma::load_matrix_sync(a, x_s + threadIdx.x / 32 * 256, 16);\n  wmma::load_matrix_sync(b, w_s, 16);", "race", True),
        (
            "__syncthreads(); wmma::fill_fragment(c, 0.0f);\n"
            "  wmma::load_matrix_sync(a, x_s + threadIdx.x / 32 * 256, 16);\n  wmma::load_matrix_sync(b, w + 16, 16);", "out-of-bounds-read",
        ),
    ],
    "__syncthreads(); wmma::fill_fragment(c, 0.0f);\n  wmma::load_matrix_sync(a, x_s + threadIdx.x / 32 * 256, 16);\n  wmma::load_matrix_sync(b, w_s, 16);",
)


def right(name, source, launch, args):
    CASES.append(Case(f"{name}-right", source, launch, tuple(args)))


# Idioms in wide use, all of them right or taken to be
right(
    "volatile-warp-tail",
    """__device__ void tail(volatile float* s, int t) {
  s[t] += s[t + 32]; s[t] += s[t + 16]; s[t] += s[t + 8]; s[t] += s[t + 4]; s[t] += s[t + 2]; s[t] += s[t + 1];
}
__global__ void k(float* out, const float* x) {
  __shared__ float s[256];
  int t = threadIdx.x;
  s[t] = x[blockIdx.x * 256 + t];
  __syncthreads();
  for (int h = 128; h > 32; h /= 2) { if (t < h) s[t] += s[t + h]; __syncthreads(); }
  if (t < 32) tail(s, t);
  if (t == 0) out[blockIdx.x] = s[0];
}""",
    BLOCKS4,
    [OUT4, IN1024],
)
right(
    "early-return",
    """__global__ void k(float* y, const float* x, int n) {
  __shared__ float s[256];
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  s[threadIdx.x] = x[i];
  __syncthreads();
  y[i] = s[threadIdx.x / 2];
}""",
    BLOCKS4,
    [Y, X, N],
)
right(
    "same-value",
    """__global__ void k(int* any, const float* x) { if (x[threadIdx.x] > -1.0e9f) *any = 1; }""",
    BLOCKS4,
    [("inout", I32, 1, "0"), IN1024],
)
right(
    "float-atomics",
    """__global__ void k(float* sum, double* total, const float* x) {
  float v = x[blockIdx.x * blockDim.x + threadIdx.x];
  atomicAdd(sum, v);
  atomicAdd(total, (double)v);
}""",
    BLOCKS4,
    [("inout", F, 1), ("inout", "float64", 1), IN1024],
)
right(
    "double-buffer",
    """__global__ void k(float* out, const float* x) {
  __shared__ float s[2][64];
  int t = threadIdx.x, at = 0;
  s[0][t] = x[t];
  __syncthreads();
  for (int d = 1; d < 64; d *= 2) { s[1 - at][t] = s[at][t] + (t >= d ? s[at][t - d] : 0.0f); at = 1 - at; __syncthreads(); }
  out[t] = s[at][t];
}""",
    Launch.of(1, 64),
    [("out", F, 64), ("in", F, 64)],
)
right(
    "tile-groups",
    """#include <cooperative_groups.h>
namespace cg = cooperative_groups;
__global__ void k(float* out, const float* x) {
  auto block = cg::this_thread_block();
  auto tile = cg::tiled_partition<16>(block);
  float v = x[block.thread_rank()];
  for (int d = tile.size() / 2; d > 0; d /= 2) v += tile.shfl_down(v, d);
  if (tile.thread_rank() == 0) out[block.thread_rank() / 16] = v;
}""",
    Launch.of(1, 64),
    [("out", F, 4), ("in", F, 64)],
)
right(
    "cub-reduce",
    """#include <cub/cub.cuh>
__global__ void k(float* out, const float* x) {
  typedef cub::BlockReduce<float, 256> Reduce;
  __shared__ typename Reduce::TempStorage storage;
  float sum = Reduce(storage).Sum(x[blockIdx.x * 256 + threadIdx.x]);
  __syncthreads();
  float top = Reduce(storage).Reduce(x[blockIdx.x * 256 + threadIdx.x], cub::Max());
  if (threadIdx.x == 0) out[blockIdx.x] = sum + top;
}""",
    BLOCKS4,
    [OUT4, IN1024],
)
right(
    "block-reduce-two-level",
    """__inline__ __device__ float warp_sum(float v) { for (int o = 16; o > 0; o >>= 1) v += __shfl_down_sync(0xffffffff, v, o); return v; }
__global__ void k(float* out, const float* x) {
  static __shared__ float shared[32];
  int lane = threadIdx.x % warpSize, wid = threadIdx.x / warpSize;
  float v = warp_sum(x[blockIdx.x * blockDim.x + threadIdx.x]);
  if (lane == 0) shared[wid] = v;
  __syncthreads();
  v = threadIdx.x < blockDim.x / warpSize ? shared[lane] : 0;
  if (wid == 0) v = warp_sum(v);
  if (threadIdx.x == 0) out[blockIdx.x] = v;
}""",
    BLOCKS4,
    [OUT4, IN1024],
)
right(
    "stencil-halo",
    """__global__ void k(float* y, const float* x, int n) {
  __shared__ float s[258];
  int i = blockIdx.x * 256 + threadIdx.x, t = threadIdx.x + 1;
  s[t] = i < n ? x[i] : 0.0f;
  if (threadIdx.x == 0) s[0] = i > 0 ? x[i - 1] : 0.0f;
  if (threadIdx.x == 255) s[257] = i + 1 < n ? x[i + 1] : 0.0f;
  __syncthreads();
  if (i < n) y[i] = s[t - 1] + s[t] + s[t + 1];
}""",
    BLOCKS4,
    [Y, X, N],
)
right(
    "ballot-compaction",
    """__global__ void k(int* count, float* out, const float* x) {
  int lane = threadIdx.x & 31;
  bool keep = x[threadIdx.x] > 0.5f;
  unsigned mask = __ballot_sync(0xffffffff, keep);
  int base = 0;
  if (lane == 0) base = atomicAdd(count, __popc(mask));
  base = __shfl_sync(0xffffffff, base, 0);
  if (keep) out[base + __popc(mask & ((1u << lane) - 1))] = x[threadIdx.x];
}""",
    Launch.of(1, 64),
    [("inout", I32, 1, "0"), ("inout", F, 64), ("in", F, 64)],
)
