"""The typed tree: what is read prints as C++ that reads back to the same tree."""

import pytest
from warploom.frontend.cuda import text
from warploom.frontend.cuda.read import UnsupportedCuda, read

STATEMENTS = [
    "int i = blockIdx.x * blockDim.x + threadIdx.x;",
    "__shared__ float tile[16][16 + 1];",
    "extern __shared__ float dynamic[];",
    "float4 v = reinterpret_cast<const float4*>(x)[i];",
    "a = b = c;",
    "a = (b, c);",
    "x[i] = (a + b) * c - -d;",
    "x[i] = a - (b - c);",
    "x[i] = (a & 7) == 0 ? (float)i : -INFINITY;",
    "x[i] = a << (b + 1) | c;",
    "if (i >= n) return;",
    "for (int k = 0; k < n; k += 2, ++j) { if (k == 3) continue; else break; }",
    "do { --i; } while (i > 0);",
    "while (a && (b || c)) { a = !a; }",
    "switch (i) { case 0: a = 1; break; default: a = 2; }",
    "unsigned long long* p = (unsigned long long*)x;",
    "atomicAdd(&x[i], 1.0f);",
    "auto f = [&](int z) { return z + 1; };",
    "float acc[2] = {0.f, 1.f};",
    "float r(3.0f);",
    "if (h >= 0 && h < n && w >= 0 && w < m) { x[0] = 1; }",
    "v = sum<float>(a) < b && c > d;",
    "n = sizeof(float) * (a + 1);",
    "v.x = warp_sum<float, 32>(v.y) + std::max(a, b);",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements_survive_a_round_trip(statement):
    source = "__global__ void k(float* x, int n) {{\n{}\n}}\n"
    first = read(source.format(statement)).kernels[0].body
    printed = "\n".join(text.body(first, 1))
    assert read(source.format(printed)).kernels[0].body == first, printed


def test_a_file_is_classified():
    file = read(
        """#include <torch/extension.h>
#define TILE 16
__constant__ float weights[64];
template <typename T, int N = 4> __device__ __forceinline__ T twice(T v) { return v + v; }
extern "C" __global__ void __launch_bounds__(256, 2) k(const float* __restrict__ x, float* y, int n) { y[0] = twice(x[0]); }
torch::Tensor forward(torch::Tensor x) {
  k<<<dim3(1, 2), TILE, 64, stream>>>(x.data_ptr<float>(), x.data_ptr<float>(), 3);
  return x;
}
"""
    )
    assert [(f.name, f.kind) for f in file.functions] == [("twice", "device"), ("k", "kernel"), ("forward", "host")]
    assert file.function("twice").template_names == ("T", "N")
    assert [text.parameter(p) for p in file.kernels[0].params] == ["const float* __restrict__ x", "float* y", "int n"]
    (site,) = file.launches
    assert (site.kernel, site.owner, len(site.configuration), len(site.args)) == ("k", "forward", 4, 3)
    assert file.macros == (("TILE", "16"),)
    assert file.symbols[0][0].declarators[0].name == "weights"


@pytest.mark.parametrize("condition, taken", [("__CUDA_ARCH__ >= 700", "1"), ("!defined(__CUDACC_VER_MAJOR__) || (__CUDACC_VER_MAJOR__ < 9)", "2"), ("OTHER", "2")])
def test_alternatives_are_taken_as_a_recent_gpu_would(condition, taken):
    body = read(f"__device__ int f() {{\n#if {condition}\n  return 1;\n#else\n  return 2;\n#endif\n}}").functions[0].body
    assert text.body(body) == [f"return {taken};"]


def test_what_cannot_be_read_is_named_with_its_line():
    with pytest.raises(UnsupportedCuda, match="line 2"):
        read("__global__ void k(int* x) {\n  goto end;\n  end: x[0] = 1;\n}")
