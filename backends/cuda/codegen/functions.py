"""Device functions that printed kernels call, and which CUDA function stands for which operator.

Comes in: the names that were used. Goes out: their definitions, each after what it needs, to stand before the kernels.
"""

from __future__ import annotations

# operator -> function for float, double and integers
FUNCTIONS: dict[str, tuple[str, str, str]] = {
    name: (f"{name}f", name, "")
    for name in (
        "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
        "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "floor", "ceil", "trunc", "pow", "atan2",
    )
} | {
    "abs": ("fabsf", "fabs", "abs"),
    "min": ("minimum", "minimum", "min"),
    "max": ("maximum", "maximum", "max"),
    "round": ("rintf", "rint", ""),
    "sigmoid": ("sigmoid", "sigmoid", ""),
    "fmod": ("fmodf", "fmod", "remainder_of"),
    "//": ("floor_divide", "floor_divide", "floor_divide"),
    "%": ("floor_remainder", "floor_remainder", "floor_remainder"),
}  # fmt: skip

_TEXTS: dict[str, str] = {
    "INFINITY": """
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
""",
    "NAN": """
#ifndef NAN
#define NAN __int_as_float(0x7fffffff)
#endif
""",
    "maximum": """
// The larger of two values, NaN when either is.
template <typename T>
__device__ __forceinline__ T maximum(T a, T b) {
    return a > b || a != a ? a : b;
}
""",
    "minimum": """
// The smaller of two values, NaN when either is.
template <typename T>
__device__ __forceinline__ T minimum(T a, T b) {
    return a < b || a != a ? a : b;
}
""",
    "sigmoid": """
__device__ __forceinline__ float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}
__device__ __forceinline__ double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}
""",
    "remainder_of": """
// The remainder of a division that rounds towards zero.
template <typename T, typename U>
__device__ __forceinline__ auto remainder_of(T a, U b) {
    return a % b;
}
""",
    "floor_divide": """
// Division rounded down.
template <typename T, typename U>
__device__ __forceinline__ auto floor_divide(T a, U b) {
    const auto quotient = a / b;
    return quotient - (quotient * b != a && (a < 0) != (b < 0) ? 1 : 0);
}
__device__ __forceinline__ float floor_divide(float a, float b) {
    return floorf(a / b);
}
__device__ __forceinline__ double floor_divide(double a, double b) {
    return floor(a / b);
}
""",
    "floor_remainder": """
// The remainder of a division rounded down: it has the sign of the divisor.
template <typename T, typename U>
__device__ __forceinline__ auto floor_remainder(T a, U b) {
    const auto rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
__device__ __forceinline__ float floor_remainder(float a, float b) {
    const float rest = fmodf(a, b);
    return rest != 0.0f && (rest < 0.0f) != (b < 0.0f) ? rest + b : rest;
}
__device__ __forceinline__ double floor_remainder(double a, double b) {
    const double rest = fmod(a, b);
    return rest != 0.0 && (rest < 0.0) != (b < 0.0) ? rest + b : rest;
}
""",
    "atomic_max": """
// Floats compare like integers of their bits, negative ones the other way round.
__device__ __forceinline__ void atomic_max(float* address, float value) {
    if (value >= 0.0f) atomicMax((int*)address, __float_as_int(value));
    else atomicMin((unsigned int*)address, __float_as_uint(value));
}
""",
    "atomic_min": """
// Floats compare like integers of their bits, negative ones the other way round.
__device__ __forceinline__ void atomic_min(float* address, float value) {
    if (value >= 0.0f) atomicMin((int*)address, __float_as_int(value));
    else atomicMax((unsigned int*)address, __float_as_uint(value));
}
""",
}


_WARP_PRODUCT = """
// On the tensor cores of a warp, c (16 x 8) += a (16 x 16) * b (16 x 8), where the columns of b lie in memory as rows. Lane 4g + t passes where
// element 2t of row g begins in a and in b; its c has columns 2t and 2t + 1 of row g, then of row g + 8.
__device__ __forceinline__ void {name}(float* c, const {half}* a, int a_row, const {half}* b) {{
    const unsigned* a_top = reinterpret_cast<const unsigned*>(a);
    const unsigned* a_bottom = reinterpret_cast<const unsigned*>(a + 8 * a_row);
    const unsigned* b_pairs = reinterpret_cast<const unsigned*>(b);
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.{dtype}.{dtype}.f32 {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a_top[0]), "r"(a_bottom[0]), "r"(a_top[4]), "r"(a_bottom[4]), "r"(b_pairs[0]), "r"(b_pairs[4]));
}}
"""

_TEXTS |= {
    f"mma_m16n8k16_{dtype}": _WARP_PRODUCT.format(name=f"mma_m16n8k16_{dtype}", dtype=dtype, half=half)
    for dtype, half in (("f16", "__half"), ("bf16", "__nv_bfloat16"))
}


class Functions:
    """The functions that a translation unit needs, in the order in which they were first asked for."""

    def __init__(self) -> None:
        self.needed: dict[str, str] = {}

    def need(self, name: str) -> None:
        """Note that `name` is used; CUDA's own functions have no definition here."""
        if name in _TEXTS:
            self.needed.setdefault(name, _TEXTS[name].strip("\n"))

    def define(self, name: str, text: str) -> None:
        """A definition made for one unit, such as a reduction over a block."""
        self.needed.setdefault(name, text)

    @property
    def text(self) -> str:
        """All definitions, ready to stand before the kernels."""
        return "\n\n".join(self.needed.values())
