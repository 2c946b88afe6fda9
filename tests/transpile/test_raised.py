"""Which path a kernel of a bound program takes, and what its loops are recovered from: against NumPy."""

import re

import numpy as np

from .test_programs import X, run

ROWS, INNER, COLUMNS = 32, 24, 50
PRODUCT = f"""__global__ void k(const float* a, const float* b, float* c) {{
  int i = blockIdx.x * 64 + threadIdx.x, row = i / {COLUMNS}, column = i % {COLUMNS};
  if (i < {ROWS * COLUMNS}) {{
    float s = 0.f;
    for (int r = 0; r < {INNER}; ++r) s += a[row * {INNER} + r] * cosf(b[r * {COLUMNS} + column]);
    c[row * {COLUMNS} + column] = s;
  }}
}}
__global__ void twice(const float* c, float* y) {{ int i = blockIdx.x * 64 + threadIdx.x; if (i < {ROWS * COLUMNS}) y[i] = 2.f * c[i]; }}"""


def test_sums_side_by_side_are_raised_the_rest_is_split():
    a, b = X.reshape(-1)[: ROWS * INNER].copy(), X.reshape(-1)[-INNER * COLUMNS :].copy()
    y = np.zeros(ROWS * COLUMNS, np.float32)
    launches = [("k", (25, 1, 1), (64, 1, 1), ("a", "b", "c")), ("twice", (25, 1, 1), (64, 1, 1), ("c", "Y"))]
    made = run(PRODUCT, {"a": a, "b": b, "Y": y}, launches, temps=(("c", y.size),))
    wanted = 2 * a.reshape(ROWS, INNER) @ np.cos(b.reshape(INNER, COLUMNS))
    np.testing.assert_allclose(y.reshape(ROWS, COLUMNS), wanted, rtol=1e-4, atol=1e-5)
    assert [k.path for k in made.kernels] == ["raised", "fission"]
    assert "50 sums lie side by side" in made.kernels[0].why and "no sums side by side" in made.kernels[1].why


def test_lanes_that_a_mask_leaves_out_hold_a_number():
    """What they hold is computed with: rubbish sent a whole vector to the slow path of cos."""
    a, b, y = X.reshape(-1)[: ROWS * INNER].copy(), X.reshape(-1)[: INNER * COLUMNS].copy(), np.zeros(ROWS * COLUMNS, np.float32)
    text = run(PRODUCT, {"a": a, "b": b, "Y": y}, [("k", (25, 1, 1), (64, 1, 1), ("a", "b", "Y"))]).text
    tail = text.partition("const mask live")[2]
    declared = re.findall(r"^ *f32(?:x\d+)? (s\w*[^=;]*);", tail, re.M)
    assert declared and all(name.endswith("{}") for line in declared for name in line.split(", "))


def test_rounds_over_the_whole_grid_are_one_loop():
    source = """__global__ void k(const float* x, const float* w, float* y) {
  for (int outer = 0; outer < 3; ++outer) {
    if (outer * 16 + (int)blockIdx.x * 2 + ((int)threadIdx.x >> 5) < 45) {
      y[outer * 512 + (int)blockIdx.x * 64 + (int)threadIdx.x] = x[outer * 512 + (int)blockIdx.x * 64 + (int)threadIdx.x] * w[(outer * 16 + (int)blockIdx.x * 2 + ((int)threadIdx.x >> 5)) / 9];
    }
  }
}"""
    x, w, y = X.reshape(-1)[:1440].copy(), X[0, :5].copy(), np.zeros(1440, np.float32)
    made = run(source, {"x": x, "w": w, "Y": y}, [("k", (8, 1, 1), (64, 1, 1), ("x", "w", "Y"))])
    np.testing.assert_array_equal(y, x * np.repeat(w, 288))
    assert "outer" not in made.text


def test_rounds_that_build_on_one_another_stay_a_loop():
    source = """__global__ void k(const float* x, float* y) {
  for (int outer = 0; outer < 3; ++outer) {
    y[outer * 512 + blockIdx.x * 64 + threadIdx.x] = x[outer * 512 + blockIdx.x * 64 + threadIdx.x] + (outer > 0 ? y[(outer - 1) * 512 + blockIdx.x * 64 + threadIdx.x] : 0.f);
  }
}"""
    x, y = X.reshape(-1)[:1536].copy(), np.zeros(1536, np.float32)
    made = run(source, {"x": x, "Y": y}, [("k", (8, 1, 1), (64, 1, 1), ("x", "Y"))])
    np.testing.assert_allclose(y, np.cumsum(x.reshape(3, 512), 0).reshape(-1), rtol=1e-5)
    assert "outer" in made.text


def test_functions_that_trap_or_set_errno_elsewhere_do_neither_here():
    source = "__global__ void k(const float* x, float* y) { int i = blockIdx.x * 64 + threadIdx.x; y[i] = max(floorf(x[i] * 8.f), min(sqrtf(fabsf(x[i])), 0.25f)); }"
    y = np.zeros(640, np.float32)
    made = run(source, {"x": X[0], "Y": y}, [("k", (10, 1, 1), (64, 1, 1), ("x", "Y"))])
    np.testing.assert_array_equal(y, np.maximum(np.floor(X[0] * 8), np.minimum(np.sqrt(np.abs(X[0])), np.float32(0.25))))
    assert made.text.index("no-trapping-math") < made.text.index("#include")


def test_a_file_may_have_its_own_max():
    source = """__device__ float max(float a, float b) { return a > b ? a : b; }
template <int A, int B> struct Larger { static constexpr int value = max(A, B); };
__global__ void k(const float* x, float* y) { int i = blockIdx.x * 64 + threadIdx.x; y[i] = max(x[i], 0.f) * Larger<2, 3>::value + min(i, 7u); }"""
    y = np.zeros(640, np.float32)
    run(source, {"x": X[0], "Y": y}, [("k", (10, 1, 1), (64, 1, 1), ("x", "Y"))])
    np.testing.assert_allclose(y, np.maximum(X[0], 0) * 3 + np.minimum(np.arange(640), 7), rtol=1e-6)
