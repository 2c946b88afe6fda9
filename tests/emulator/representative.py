"""Kernels of the kinds that people write, right ones, for timing: name -> (source, launch, arguments as in `planted.py`).

Each does enough that its run, not its launch, is timed: 2^16 to 2^20 elements.
"""

from warploom.backends.emulator.launch import Launch

_WARP_SUM = """__device__ float warp_sum(float v) {
  for (int o = 16; o > 0; o >>= 1) v += __shfl_down_sync(0xffffffffu, v, o);
  return v;
}
"""

REPRESENTATIVE = {
    "elementwise add": (
        """__global__ void k(const float* a, const float* b, float* c, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) c[i] = a[i] + b[i];
}""",
        Launch.of(1024, 256),
        (("in", "float32", 262100), ("in", "float32", 262100), ("out", "float32", 262100), ("scalar", "int32", 262100)),
    ),
    "saxpy of float4": (
        """__global__ void k(float* y, const float* x, float a, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n / 4) return;
  float4 u = reinterpret_cast<const float4*>(x)[i], v = reinterpret_cast<float4*>(y)[i];
  v.x += a * u.x; v.y += a * u.y; v.z += a * u.z; v.w += a * u.w;
  reinterpret_cast<float4*>(y)[i] = v;
}""",
        Launch.of(256, 256),
        (("inout", "float32", 1 << 18), ("in", "float32", 1 << 18), ("scalar", "float32", 3), ("scalar", "int32", 1 << 18)),
    ),
    "gelu": (
        """__global__ void k(float* y, const float* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) { float v = x[i]; y[i] = 0.5f * v * (1.0f + tanhf(0.79788456f * (v + 0.044715f * v * v * v))); }
}""",
        Launch.of(256, 256),
        (("out", "float32", 1 << 16), ("in", "float32", 1 << 16), ("scalar", "int32", 1 << 16)),
    ),
    "softmax, a thread a row": (
        """__global__ void k(float* y, const float* x, int rows, int n) {
  int r = blockIdx.x * blockDim.x + threadIdx.x;
  if (r >= rows) return;
  float m = -INFINITY, s = 0.0f;
  for (int j = 0; j < n; ++j) m = fmaxf(m, x[r * n + j]);
  for (int j = 0; j < n; ++j) s += expf(x[r * n + j] - m);
  for (int j = 0; j < n; ++j) y[r * n + j] = expf(x[r * n + j] - m) / s;
}""",
        Launch.of(8, 128),
        (("out", "float32", 1 << 17), ("in", "float32", 1 << 17), ("scalar", "int32", 1024), ("scalar", "int32", 128)),
    ),
    "naive product": (
        """__global__ void k(const float* a, const float* b, float* c, int n) {
  int row = blockIdx.y * blockDim.y + threadIdx.y, column = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= n || column >= n) return;
  float sum = 0.0f;
  for (int k = 0; k < n; ++k) sum += a[row * n + k] * b[k * n + column];
  c[row * n + column] = sum;
}""",
        Launch.of((8, 8), (16, 16)),
        (("in", "float32", 1 << 14), ("in", "float32", 1 << 14), ("out", "float32", 1 << 14), ("scalar", "int32", 128)),
    ),
    "stencil": (
        """__global__ void k(float* out, const float* in, int h, int w) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= w || y >= h) return;
  float c = in[y * w + x];
  if (x > 0 && x < w - 1 && y > 0 && y < h - 1)
    c = 0.2f * (c + in[y * w + x - 1] + in[y * w + x + 1] + in[(y - 1) * w + x] + in[(y + 1) * w + x]);
  out[y * w + x] = c;
}""",
        Launch.of((16, 32), (32, 16)),
        (("out", "float32", 1 << 18), ("in", "float32", 1 << 18), ("scalar", "int32", 512), ("scalar", "int32", 512)),
    ),
    "gather": (
        """__global__ void k(float* y, const float* x, const int* at, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[at[i]];
}""",
        Launch.of(512, 256),
        (
            ("out", "float32", 1 << 17),
            ("in", "float32", 1 << 17),
            ("in", "int32", 1 << 17, "(np.arange(131072) * 7919) % 131072"),
            ("scalar", "int32", 1 << 17),
        ),
    ),
    "grid-stride sum with atomics": (
        """__global__ void k(float* y, const float* x, int n) {
  float s = 0.0f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) s += x[i];
  atomicAdd(y, s);
}""",
        Launch.of(32, 128),
        (("inout", "float32", 1, "np.zeros(1)"), ("in", "float32", 1 << 18), ("scalar", "int32", 1 << 18)),
    ),
    "histogram": (
        """__global__ void k(int* h, const int* x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(&h[x[i] & 255], 1);
}""",
        Launch.of(512, 256),
        (
            ("inout", "int32", 256, "np.zeros(256)"),
            ("in", "int32", 1 << 17, "np.arange(131072) * 2654435761 % 1000003"),
            ("scalar", "int32", 1 << 17),
        ),
    ),
    "tiled product": (
        """__global__ void k(float* c, const float* a, const float* b) {
  __shared__ float s[16][16], t[16][16];
  int row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
  float sum = 0.0f;
  for (int m = 0; m < 8; ++m) {
    s[threadIdx.y][threadIdx.x] = a[row * 128 + m * 16 + threadIdx.x];
    t[threadIdx.y][threadIdx.x] = b[(m * 16 + threadIdx.y) * 128 + column];
    __syncthreads();
    for (int k = 0; k < 16; ++k) sum += s[threadIdx.y][k] * t[k][threadIdx.x];
    __syncthreads();
  }
  c[row * 128 + column] = sum;
}""",
        Launch.of((8, 8), (16, 16)),
        (("out", "float32", 1 << 14), ("in", "float32", 1 << 14), ("in", "float32", 1 << 14)),
    ),
    "block reduce": (
        """__global__ void k(float* y, const float* x) {
  __shared__ float s[256];
  int t = threadIdx.x;
  s[t] = x[blockIdx.x * 256 + t];
  __syncthreads();
  for (int o = 128; o > 0; o >>= 1) { if (t < o) s[t] += s[t + o]; __syncthreads(); }
  if (t == 0) y[blockIdx.x] = s[0];
}""",
        Launch.of(256, 256),
        (("out", "float32", 256), ("in", "float32", 1 << 16)),
    ),
    "warp reduce": (
        _WARP_SUM
        + """__global__ void k(float* y, const float* x) {
  float v = warp_sum(x[blockIdx.x * blockDim.x + threadIdx.x]);
  if (threadIdx.x % 32 == 0) y[(blockIdx.x * blockDim.x + threadIdx.x) / 32] = v;
}""",
        Launch.of(256, 256),
        (("out", "float32", 2048), ("in", "float32", 1 << 16)),
    ),
    "softmax, a block a row": (
        """__global__ void k(float* y, const float* x) {
  __shared__ float s[128];
  int t = threadIdx.x, at = blockIdx.x * 512;
  float m = -INFINITY, sum = 0.0f;
  for (int j = t; j < 512; j += 128) m = fmaxf(m, x[at + j]);
  s[t] = m;
  __syncthreads();
  for (int o = 64; o > 0; o >>= 1) { if (t < o) s[t] = fmaxf(s[t], s[t + o]); __syncthreads(); }
  m = s[0];
  __syncthreads();
  for (int j = t; j < 512; j += 128) sum += expf(x[at + j] - m);
  s[t] = sum;
  __syncthreads();
  for (int o = 64; o > 0; o >>= 1) { if (t < o) s[t] += s[t + o]; __syncthreads(); }
  for (int j = t; j < 512; j += 128) y[at + j] = expf(x[at + j] - m) / s[0];
}""",
        Launch.of(128, 128),
        (("out", "float32", 1 << 16), ("in", "float32", 1 << 16)),
    ),
}
