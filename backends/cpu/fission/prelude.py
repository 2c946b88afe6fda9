"""What generated C++ stands on: a few lines for each CUDA name that it still uses. Text comes in, the pieces it needs go out."""

from __future__ import annotations

import json
import re

from ...emulator.unit import include_folder
from ...toolchain import SAFE
from . import spelling
from .intrinsics import intrinsics

# math.h and stdlib.h rather than their C++ names: `abs(x)` and `isnan(x)` are then those of x's type, as in CUDA.
HEADERS = """#include <algorithm>
#include <cfloat>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <limits>
#include <math.h>
#include <stdlib.h>
#include <type_traits>
"""

_REREAD = re.compile(r"\breinterpret_cast\s*<\s*(?!(?:const\s+)?(?:float[234]|void|char)\b)|\(\s*(?:const\s+)?(?!(?:float[234]|void|char)\b)\w[\w: ]*\*\s*\)\s*[&(\w]|\bunion\b")
_CONDITION = re.compile(r"(?<!#)(?<!# )\bif\b")


def options(text: str) -> str:
    """How GCC is to build `text`: as on a GPU without traps and errno, so that floorf and sqrtf vectorize; without its dominator pass, which in
    GCC 12 overlooks masked stores (`toolchain.SAFE`), where a store may be masked: where something stands under a condition."""
    wanted = ["no-trapping-math", "no-math-errno", *([SAFE.removeprefix("-f")] if _CONDITION.search(text) else [])]
    return _pragma(wanted) + aliasing(text)


def aliasing(text: str) -> str:
    """CUDA's compilers let memory be read as another type than it was written; GCC has to be told where this may be."""
    return _pragma(["no-strict-aliasing"]) if _REREAD.search(text) else ""


def _pragma(words: list[str]) -> str:
    return f"#if defined(__GNUC__) && !defined(__clang__)\n#pragma GCC optimize({', '.join(map(json.dumps, words))})\n#endif\n"


_MATH = ("expf", "logf", "sinf", "cosf", "tanf", "powf", "tanhf", "erff", "exp2f", "log2f", "log1pf", "expm1f", "atanf", "asinf", "acosf",
         "sinhf", "coshf", "asinhf", "acoshf", "atanhf", "cbrtf", "log10f", "erfcf")  # fmt: skip

_HALF = re.compile(r"(?:__)?(?:half2?|nv_bfloat162?)")
_REINTERPRET = """namespace wl {
template <class To, class From>
inline To reinterpret(From value) {
  To bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
}  // namespace wl
"""
_COMBINED = {"add": "a + b", "mul": "a * b", "max": "a < b ? b : a", "min": "b < a ? b : a", "and": "a & b", "or": "a | b", "xor": "a ^ b"}

# (names that call for it, text), in the order in which they are printed.
_PIECES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("max", "min"), """// As in CUDA, the arguments may be of two types; and by value: a choice between references does not vectorize.
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) { return a < b ? b : a; }
template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) { return b < a ? b : a; }
"""),
    (("larger", "smaller"), """// max and min inside each other: by value, which vectorizes where references to temporaries do not.
template <class A, class B>
inline std::common_type_t<A, B> larger(A a, B b) { return a < b ? b : a; }
template <class A, class B>
inline std::common_type_t<A, B> smaller(A a, B b) { return b < a ? b : a; }
"""),
    (("rsqrtf", "rsqrt"), """inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }
"""),
    (("exp10f",), "inline float exp10f(float x) { return std::pow(10.0f, x); }\n"),
    (("__saturatef",), "inline float __saturatef(float x) { return std::fmin(std::fmax(x, 0.0f), 1.0f); }\n"),
    (("bits_as_float",), """template <class T>
inline float bits_as_float(T bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
"""),
    (("bits_of_int",), """template <class T>
inline int bits_of_int(const T& value) {
  static_assert(sizeof(T) >= sizeof(int), "four bytes are read");
  int bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
"""),
    (("bits_as_int",), """inline int bits_as_int(float value) {
  int bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
"""),
    (("bits_as_uint",), """inline unsigned bits_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
"""),
    (("__float2int_rn",), "inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }\n"),
    (("__float2int_rd",), "inline int __float2int_rd(float x) { return static_cast<int>(std::floor(x)); }\n"),
    (("__float2int_rz",), "inline int __float2int_rz(float x) { return static_cast<int>(x); }\n"),
    (("__int2float_rn",), "inline float __int2float_rn(int x) { return static_cast<float>(x); }\n"),
    (("__float2int_ru",), "inline int __float2int_ru(float x) { return static_cast<int>(std::ceil(x)); }\n"),
    (("__float2uint_rn",), "inline unsigned __float2uint_rn(float x) { return static_cast<unsigned>(std::nearbyint(x)); }\n"),
    (("__uint2float_rn",), "inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }\n"),
    (("__double2float_rn",), "inline float __double2float_rn(double x) { return static_cast<float>(x); }\n"),
    (("__clz",), "inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }\n"),
    (("__sincosf",), "inline void __sincosf(float x, float* s, float* c) { *s = std::sin(x), *c = std::cos(x); }\n"),
    (("rcbrtf",), "inline float rcbrtf(float x) { return 1.0f / std::cbrt(x); }\n"),
    (("normcdff",), "inline float normcdff(float x) { return 0.5f * std::erfc(x * -0.70710678f); }\n"),
    (("dim3",), """struct dim3 {
  int x, y, z;
  dim3(int64_t x = 1, int64_t y = 1, int64_t z = 1) : x(static_cast<int>(x)), y(static_cast<int>(y)), z(static_cast<int>(z)) {}
};
"""),
    (("dynamic_shared",), """// A block's dynamic shared memory: each CPU thread keeps one piece and uses it block after block.
template <class T>
[[gnu::noinline]] T* dynamic_shared(size_t bytes) {
  static thread_local std::vector<std::max_align_t> memory;
  const size_t needed = bytes / sizeof(std::max_align_t) + 5;
  if (memory.size() < needed) memory.resize(needed);
  const auto start = reinterpret_cast<uintptr_t>(memory.data());
  return reinterpret_cast<T*>((start + 63) / 64 * 64);
}
"""),
    (("any_of",), """// Whether some thread of the block has its flag set.
inline bool any_of(const bool* flags, int threads) {
  return std::any_of(flags, flags + threads, [](bool flag) { return flag; });
}
"""),
    (("shfl", "shfl_up", "shfl_down", "shfl_xor"), """// The thread whose value a shuffle gives to `thread`: in its segment of `width` lanes, itself where that ends.
inline int shfl(int thread, int lane, int width = 32) { return thread / width * width + (lane & (width - 1)); }
inline int shfl_up(int thread, unsigned delta, int width = 32) {
  return thread % width < static_cast<int>(delta) ? thread : thread - static_cast<int>(delta);
}
inline int shfl_down(int thread, unsigned delta, int width = 32) {
  return thread % width + static_cast<int>(delta) >= width ? thread : thread + static_cast<int>(delta);
}
inline int shfl_xor(int thread, int mask, int width = 32) {
  const int source = thread ^ mask;
  return source / width > thread / width ? thread : source;
}
"""),
    (("warp_ballot", "warp_any", "warp_all"), """// Over the 32 threads of a thread's warp.
inline unsigned warp_ballot(const bool* flags, int thread) {
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane) bits |= unsigned(flags[thread / 32 * 32 + lane]) << lane;
  return bits;
}
inline int warp_any(const bool* flags, int thread) { return warp_ballot(flags, thread) != 0; }
inline int warp_all(const bool* flags, int thread) { return warp_ballot(flags, thread) == 0xffffffffu; }
"""),
    (("warp_match_any", "warp_match_all"), """// The lanes of a thread's warp that hold its value, among those that are `there`; for `all`, these if they all do, else none.
template <class T>
inline unsigned warp_match_any(const T* values, const bool* there, int thread) {
  unsigned bits = 0;
  const int first = thread / 32 * 32;
  for (int lane = 0; lane < 32; ++lane) bits |= unsigned(there[first + lane] && values[first + lane] == values[thread]) << lane;
  return bits;
}
template <class T>
inline unsigned warp_match_all(const T* values, const bool* there, int thread) {
  const unsigned same = warp_match_any(values, there, thread);
  unsigned all = 0;
  for (int lane = 0; lane < 32; ++lane) all |= unsigned(there[thread / 32 * 32 + lane]) << lane;
  return same == all ? all : 0;
}
"""),
    (("warp_add", "warp_mul", "warp_max", "warp_min", "warp_and", "warp_or", "warp_xor"), """// The values of a thread's segment of `width` lanes, combined.
template <class T, class Combine>
inline T warp_combined(const T* values, int thread, int width, Combine combine) {
  const T* first = values + thread / width * width;
  T result = first[0];
  for (int lane = 1; lane < width; ++lane) result = combine(result, first[lane]);
  return result;
}
"""),
    *(((f"warp_{name}",), f"""template <class T>
inline T warp_{name}(const T* values, int thread, int width = 32) {{ return warp_combined(values, thread, width, [](T a, T b) {{ return T({combined}); }}); }}
""") for name, combined in _COMBINED.items()),
    (("block_count", "block_any", "block_all"), """// Over all threads of the block.
inline int block_count(const bool* flags, int threads) { return static_cast<int>(std::count(flags, flags + threads, true)); }
inline int block_any(const bool* flags, int threads) { return block_count(flags, threads) > 0; }
inline int block_all(const bool* flags, int threads) { return block_count(flags, threads) == threads; }
"""),
    (("atomicAdd", "atomicMax", "atomicMin", "atomicSub", "atomicExch", "atomicCAS", "atomicOr", "atomicAnd", "atomicXor", "atomicInc",
      "gpuAtomicAdd", "atomicDec"), """// Atomics on plain memory; each gives the value from before.
template <class T, class Change>
inline T atomic_change(T* place, Change change) {
  T before, after;
  __atomic_load(place, &before, __ATOMIC_RELAXED);
  do {
    after = change(before);
  } while (!__atomic_compare_exchange(place, &before, &after, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
  return before;
}
template <class T, class V>
inline T atomicAdd(T* place, V value) { return atomic_change(place, [=](T old) { return T(old + value); }); }
template <class T, class V>
inline T gpuAtomicAdd(T* place, V value) { return atomicAdd(place, value); }
template <class T, class V>
inline T atomicSub(T* place, V value) { return atomic_change(place, [=](T old) { return T(old - value); }); }
template <class T, class V>
inline T atomicMax(T* place, V value) { return atomic_change(place, [=](T old) { return old < T(value) ? T(value) : old; }); }
template <class T, class V>
inline T atomicMin(T* place, V value) { return atomic_change(place, [=](T old) { return T(value) < old ? T(value) : old; }); }
template <class T, class V>
inline T atomicExch(T* place, V value) { return atomic_change(place, [=](T) { return T(value); }); }
template <class T, class V>
inline T atomicOr(T* place, V value) { return atomic_change(place, [=](T old) { return T(old | value); }); }
template <class T, class V>
inline T atomicAnd(T* place, V value) { return atomic_change(place, [=](T old) { return T(old & value); }); }
template <class T, class V>
inline T atomicXor(T* place, V value) { return atomic_change(place, [=](T old) { return T(old ^ value); }); }
template <class T, class V>
inline T atomicInc(T* place, V value) { return atomic_change(place, [=](T old) { return old >= T(value) ? T(0) : T(old + 1); }); }
template <class T, class V>
inline T atomicDec(T* place, V value) { return atomic_change(place, [=](T old) { return old == 0 || old > T(value) ? T(value) : T(old - 1); }); }
template <class T, class V, class W>
inline T atomicCAS(T* place, V expected, W value) { return atomic_change(place, [=](T old) { return old == T(expected) ? T(value) : old; }); }
"""),
)  # fmt: skip


_ELEMENTS = (
    ("float", "float"), ("double", "double"), ("int", "int"), ("unsigned", "uint"), ("signed char", "char"), ("unsigned char", "uchar"), ("short", "short"),
    ("unsigned short", "ushort"), ("long", "long"), ("unsigned long", "ulong"), ("long long", "longlong"), ("unsigned long long", "ulonglong"),
)  # fmt: skip


def _vector(element: str, name: str, size: int) -> str:
    members = "xyzw"[:size]
    declared = ", ".join(members)
    params = ", ".join(f"{element} {m}" for m in members)
    return f"""struct alignas({size if size != 3 else 1} * sizeof({element})) {name}{size} {{
  {element} {declared};
}};
inline {name}{size} make_{name}{size}({params}) {{ return {{{declared}}}; }}
"""


def prelude(text: str, *, vector_math: bool = True) -> str:
    """The pieces that `text` needs, headers first."""
    words = set(re.findall(r"(?<!std::)\b[A-Za-z_]\w*", text))
    macros = spelling.macros(words)
    words |= set(re.findall(r"\w+", macros))
    halves = small_floats() if any(_HALF.fullmatch(word) for word in words) else ""
    words |= {"float2", "__float2int_rn", "__float2int_rz"} if halves else set()
    rarer = intrinsics(words - _provided(), frozenset(("reinterpret", "__hadd")) if halves else frozenset())
    pieces = [HEADERS]
    chosen = [piece for names, piece in _PIECES if words & set(names)]
    if any("std::vector" in piece for piece in chosen):
        pieces[0] = HEADERS + "#include <cstddef>\n#include <vector>\n"
    math = [name for name in _MATH if name in words]
    if math and vector_math:
        declared = "".join(f'extern "C" __attribute__((simd("notinbranch"))) float {_prototype(name)} noexcept;\n' for name in math)
        pieces.append(f"#if defined(__x86_64__) && defined(__GLIBC__)  // glibc has these for vectors too\n{declared}#endif\n")
    for element, name in _ELEMENTS:
        pieces += [_vector(element, name, n) for n in (1, 2, 3, 4) if words & {f"{name}{n}", f"make_{name}{n}"}]
    return "\n".join([*pieces, *chosen, *(part for part in (halves, rarer, macros) if part)])


def _provided() -> frozenset[str]:
    """Names that the pieces and the other spellings take care of."""
    return frozenset((*(name for names, _ in _PIECES for name in names), *_MATH, *spelling.RESPELT))


def small_floats() -> str:
    """half and bfloat16 as the emulator has them: stored in 16 bits, rounded after every operation."""
    text = (include_folder() / "warploom/half.h").read_text()
    return _REINTERPRET + text.replace("#pragma once\n", "").replace('#include "emulator.h"\n', "")


def _prototype(name: str) -> str:
    return f"{name}(float, float)" if name == "powf" else f"{name}(float)"
