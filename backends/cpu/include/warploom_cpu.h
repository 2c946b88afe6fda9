// Vector types and memory access of the generated C++ kernels. One native vector holds WL_LANES elements of any dtype: 16 with
// AVX-512, 8 with AVX2, 4 otherwise. Small dtypes are held wider: f16 and bf16 as float (rounded after every operation), i8, i16
// and u8 as int32 (wrapped), b1 as a mask. Everything here also exists at width 1, so that tails compute what vectors compute.
#pragma once
#include <immintrin.h>
#include <omp.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define WL_AVX512 1
#define WL_LANES 16
#elif defined(__AVX2__) && defined(__FMA__)
#define WL_AVX2 1
#define WL_LANES 8
#else
#define WL_LANES 4
#endif
#ifndef WL_PARALLEL_FROM
#define WL_PARALLEL_FROM 32768
#endif
#define WL_INLINE __attribute__((always_inline)) inline
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wignored-attributes"

namespace wl {

constexpr int lanes = WL_LANES;
/// Loops over fewer elements run on the calling thread: waking a team costs more than they do.
constexpr int64_t parallel_from = WL_PARALLEL_FROM;
typedef float f32v __attribute__((vector_size(4 * WL_LANES)));
typedef int32_t i32v __attribute__((vector_size(4 * WL_LANES)));
typedef uint32_t u32v __attribute__((vector_size(4 * WL_LANES)));
typedef double f64v __attribute__((vector_size(8 * WL_LANES)));
typedef int64_t i64v __attribute__((vector_size(8 * WL_LANES)));
typedef int16_t i16v __attribute__((vector_size(2 * WL_LANES)));
typedef uint16_t u16v __attribute__((vector_size(2 * WL_LANES)));
typedef int8_t i8v __attribute__((vector_size(WL_LANES)));
typedef uint8_t u8v __attribute__((vector_size(WL_LANES)));
#define WL_JOIN_(a, b) a##x##b
#define WL_JOIN(a, b) WL_JOIN_(a, b)
using WL_JOIN(f32, WL_LANES) = f32v;
using WL_JOIN(i32, WL_LANES) = i32v;
using WL_JOIN(f64, WL_LANES) = f64v;
using WL_JOIN(i64, WL_LANES) = i64v;

template <class A, class B> constexpr bool same = std::is_same_v<A, B>;
template <class V> using element = std::remove_cv_t<std::remove_reference_t<decltype(std::declval<V&>()[0])>>;

template <class To, class From> WL_INLINE To bitcast(From v) {
    static_assert(sizeof(To) == sizeof(From));
    return __builtin_bit_cast(To, v);
}
template <class V> WL_INLINE V unaligned(const void* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
template <class V> WL_INLINE V splat(element<V> x) { return x - V{}; }
/// f64v and i64v are two native vectors; g++ compares and selects element by element unless it sees the halves.
typedef double f64h __attribute__((vector_size(4 * WL_LANES)));
typedef int64_t i64h __attribute__((vector_size(4 * WL_LANES)));
template <class H> struct halves {
    H of[2];
};
template <class H, class V> WL_INLINE halves<H> cut(V v) {
    halves<H> h;
    __builtin_memcpy(&h, &v, sizeof v);
    return h;
}
template <class V, class H> WL_INLINE V join(halves<H> h) {
    V v;
    __builtin_memcpy(&v, &h, sizeof v);
    return v;
}
template <class V> WL_INLINE V iota() {
    V v;
    for (int i = 0; i < lanes; ++i) v[i] = element<V>(i);
    return v;
}
template <class To, class From> WL_INLINE To convert(From v) {
    if constexpr (same<To, From>) return v;
    else return __builtin_convertvector(v, To);
}

// ------------------------------------------------------------------------------------------------ masks
#if WL_AVX512
struct mask {
    __mmask16 k;
};
WL_INLINE mask operator&(mask a, mask b) { return {__mmask16(a.k & b.k)}; }
WL_INLINE mask operator|(mask a, mask b) { return {__mmask16(a.k | b.k)}; }
WL_INLINE mask operator^(mask a, mask b) { return {__mmask16(a.k ^ b.k)}; }
WL_INLINE mask operator~(mask a) { return {__mmask16(~a.k)}; }
WL_INLINE bool any(mask a) { return a.k != 0; }
WL_INLINE bool all(mask a) { return a.k == 0xffff; }
WL_INLINE bool lane(mask a, int i) { return a.k >> i & 1; }
WL_INLINE mask every(bool b) { return {__mmask16(b ? 0xffff : 0)}; }
WL_INLINE i32v bits32(mask a) { return (i32v)_mm512_movm_epi32(a.k); }
WL_INLINE mask from_bits(i32v v) { return {_mm512_movepi32_mask((__m512i)v)}; }
WL_INLINE mask both(__mmask8 low, __mmask8 high) { return {__mmask16(low | high << 8)}; }
WL_INLINE mask from_bits(i64v v) {
    const auto h = cut<__m512i>(v);
    return both(_mm512_movepi64_mask(h.of[0]), _mm512_movepi64_mask(h.of[1]));
}
/// Lanes 0 .. n-1.
WL_INLINE mask first(int64_t n) { return {__mmask16(_bzhi_u32(0xffff, n < 0 ? 0 : n > 16 ? 16 : unsigned(n)))}; }
#define WL_COMPARE(name, op, fp, ip)                                                                                          \
    WL_INLINE mask name(f32v a, f32v b) { return {_mm512_cmp_ps_mask((__m512)a, (__m512)b, fp)}; }                            \
    WL_INLINE mask name(i32v a, i32v b) { return {_mm512_cmp_epi32_mask((__m512i)a, (__m512i)b, ip)}; }                       \
    WL_INLINE mask name(f64v a, f64v b) {                                                                                     \
        const auto x = cut<__m512d>(a), y = cut<__m512d>(b);                                                                  \
        return both(_mm512_cmp_pd_mask(x.of[0], y.of[0], fp), _mm512_cmp_pd_mask(x.of[1], y.of[1], fp));                      \
    }                                                                                                                         \
    WL_INLINE mask name(i64v a, i64v b) {                                                                                     \
        const auto x = cut<__m512i>(a), y = cut<__m512i>(b);                                                                  \
        return both(_mm512_cmp_epi64_mask(x.of[0], y.of[0], ip), _mm512_cmp_epi64_mask(x.of[1], y.of[1], ip));                \
    }
WL_INLINE f32v select(mask m, f32v a, f32v b) { return (f32v)_mm512_mask_blend_ps(m.k, (__m512)b, (__m512)a); }
WL_INLINE i32v select(mask m, i32v a, i32v b) { return (i32v)_mm512_mask_blend_epi32(m.k, (__m512i)b, (__m512i)a); }
WL_INLINE i64v select(mask m, i64v a, i64v b) {
    const auto x = cut<__m512i>(a), y = cut<__m512i>(b);
    return join<i64v>(halves<__m512i>{_mm512_mask_blend_epi64(__mmask8(m.k), y.of[0], x.of[0]),
                                      _mm512_mask_blend_epi64(__mmask8(m.k >> 8), y.of[1], x.of[1])});
}
#else
struct mask {
    i32v m;
};
WL_INLINE mask operator&(mask a, mask b) { return {a.m & b.m}; }
WL_INLINE mask operator|(mask a, mask b) { return {a.m | b.m}; }
WL_INLINE mask operator^(mask a, mask b) { return {a.m ^ b.m}; }
WL_INLINE mask operator~(mask a) { return {~a.m}; }
WL_INLINE bool any(mask a) {
#if WL_AVX2
    return _mm256_movemask_ps((__m256)a.m) != 0;
#else
    return _mm_movemask_ps((__m128)a.m) != 0;
#endif
}
WL_INLINE bool all(mask a) { return !any(~a); }
WL_INLINE bool lane(mask a, int i) { return a.m[i] != 0; }
WL_INLINE mask every(bool b) { return {splat<i32v>(b ? -1 : 0)}; }
WL_INLINE i32v bits32(mask a) { return a.m; }
WL_INLINE mask from_bits(i32v v) { return {v}; }
WL_INLINE mask from_bits(i64v v) { return {convert<i32v>(v)}; }
/// Lanes 0 .. n-1.
WL_INLINE mask first(int64_t n) { return {iota<i32v>() < splat<i32v>(n < 0 ? 0 : n > lanes ? lanes : int32_t(n))}; }
#define WL_COMPARE(name, op, fp, ip)                                                                                          \
    WL_INLINE mask name(f32v a, f32v b) { return {a op b}; }                                                                  \
    WL_INLINE mask name(i32v a, i32v b) { return {a op b}; }                                                                  \
    WL_INLINE mask name(f64v a, f64v b) {                                                                                     \
        const auto x = cut<f64h>(a), y = cut<f64h>(b);                                                                        \
        return from_bits(join<i64v>(halves<i64h>{x.of[0] op y.of[0], x.of[1] op y.of[1]}));                                   \
    }                                                                                                                         \
    WL_INLINE mask name(i64v a, i64v b) {                                                                                     \
        const auto x = cut<i64h>(a), y = cut<i64h>(b);                                                                        \
        return from_bits(join<i64v>(halves<i64h>{x.of[0] op y.of[0], x.of[1] op y.of[1]}));                                   \
    }
WL_INLINE f32v select(mask m, f32v a, f32v b) { return m.m ? a : b; }
WL_INLINE i32v select(mask m, i32v a, i32v b) { return m.m ? a : b; }
WL_INLINE i64v select(mask m, i64v a, i64v b) {
    const auto c = cut<i64h>(convert<i64v>(m.m)), x = cut<i64h>(a), y = cut<i64h>(b);
    return join<i64v>(halves<i64h>{(c.of[0] & x.of[0]) | (~c.of[0] & y.of[0]), (c.of[1] & x.of[1]) | (~c.of[1] & y.of[1])});
}
#endif
WL_COMPARE(lt, <, _CMP_LT_OQ, _MM_CMPINT_LT)
WL_COMPARE(le, <=, _CMP_LE_OQ, _MM_CMPINT_LE)
WL_COMPARE(gt, >, _CMP_GT_OQ, _MM_CMPINT_NLE)
WL_COMPARE(ge, >=, _CMP_GE_OQ, _MM_CMPINT_NLT)
WL_COMPARE(eq, ==, _CMP_EQ_OQ, _MM_CMPINT_EQ)
WL_COMPARE(ne, !=, _CMP_NEQ_UQ, _MM_CMPINT_NE)
WL_INLINE f64v select(mask m, f64v a, f64v b) { return bitcast<f64v>(select(m, bitcast<i64v>(a), bitcast<i64v>(b))); }
WL_INLINE mask select(mask m, mask a, mask b) { return (m & a) | (~m & b); }
template <class T> WL_INLINE T select(bool m, T a, T b) { return m ? a : b; }
/// Keeps the value of a lane only where the mask holds.
template <class V> WL_INLINE V keep(mask m, V a) { return select(m, a, V{}); }

/// Far bounds of a lane comparison.
WL_INLINE int64_t clamp32(int64_t x) { return x < -(1 << 30) ? -(1 << 30) : x > 1 << 30 ? 1 << 30 : x; }

// ------------------------------------------------------------------------------------------------ f16 and bf16
struct half {
    uint16_t bits;
};
struct bfloat {
    uint16_t bits;
};
WL_INLINE float widen(bfloat x) { return bitcast<float>(uint32_t(x.bits) << 16); }
WL_INLINE uint16_t bfloat_bits(float x) {
    const uint32_t u = bitcast<uint32_t>(x);
    return x != x ? uint16_t(u >> 16 | 0x40) : uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
WL_INLINE u16v bfloat_bits(f32v x) {
    const u32v u = bitcast<u32v>(x);
    return __builtin_convertvector(x != x ? (u >> 16 | 0x40) : (u + 0x7fff + (u >> 16 & 1)) >> 16, u16v);
}
WL_INLINE f32v from_bfloat_bits(u16v b) { return bitcast<f32v>(__builtin_convertvector(b, u32v) << 16); }
#ifdef __F16C__
WL_INLINE float widen(half x) { return _cvtsh_ss(x.bits); }
WL_INLINE uint16_t half_bits(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
#else
WL_INLINE float widen(half x) {
    const uint32_t sign = uint32_t(x.bits & 0x8000) << 16, rest = uint32_t(x.bits & 0x7fff) << 13;
    const float small = bitcast<float>(rest) * 0x1p112f;
    return bitcast<float>((rest >= 0x0f800000 ? rest | 0x7f800000 : bitcast<uint32_t>(small)) | sign);
}
WL_INLINE uint16_t half_bits(float x) {
    const uint32_t u = bitcast<uint32_t>(x), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000) return uint16_t(sign | 0x7e00 | (a >> 13 & 0x3ff));
    if (a >= 0x477ff000) return uint16_t(sign | 0x7c00);
    if (a < 0x38800000) return uint16_t(sign | (bitcast<uint32_t>(bitcast<float>(a) + 0.5f) - 0x3f000000));
    return uint16_t(sign | ((a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13));
}
#endif
WL_INLINE u16v half_bits(f32v x) {
#if WL_AVX512
    return (u16v)_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT);
#elif WL_AVX2
    return (u16v)_mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT);
#else
    u16v b;
    for (int i = 0; i < lanes; ++i) b[i] = half_bits(x[i]);
    return b;
#endif
}
WL_INLINE f32v from_half_bits(u16v b) {
#if WL_AVX512
    return (f32v)_mm512_cvtph_ps((__m256i)b);
#elif WL_AVX2
    return (f32v)_mm256_cvtph_ps((__m128i)b);
#else
    f32v x;
    for (int i = 0; i < lanes; ++i) x[i] = widen(half{b[i]});
    return x;
#endif
}
/// A float rounded to what f16 (bf16) can hold.
WL_INLINE float to_f16(float x) { return widen(half{half_bits(x)}); }
WL_INLINE float to_bf16(float x) { return widen(bfloat{bfloat_bits(x)}); }
WL_INLINE f32v to_f16(f32v x) { return from_half_bits(half_bits(x)); }
WL_INLINE f32v to_bf16(f32v x) { return from_bfloat_bits(bfloat_bits(x)); }
/// An int32 wrapped to what a small integer can hold.
WL_INLINE int32_t to_i8(int32_t x) { return int8_t(x); }
WL_INLINE int32_t to_u8(int32_t x) { return uint8_t(x); }
WL_INLINE int32_t to_i16(int32_t x) { return int16_t(x); }
WL_INLINE i32v to_i8(i32v x) { return x << 24 >> 24; }
WL_INLINE i32v to_u8(i32v x) { return x & 255; }
WL_INLINE i32v to_i16(i32v x) { return x << 16 >> 16; }

// ------------------------------------------------------------------------------------------------ memory, width 1
template <class T> WL_INLINE T get(const T* p) { return *p; }
WL_INLINE float get(const half* p) { return widen(*p); }
WL_INLINE float get(const bfloat* p) { return widen(*p); }
WL_INLINE int32_t get(const int8_t* p) { return *p; }
WL_INLINE int32_t get(const uint8_t* p) { return *p; }
WL_INLINE int32_t get(const int16_t* p) { return *p; }
template <class T, class X> WL_INLINE void put(T* p, X x) { *p = T(x); }
WL_INLINE void put(half* p, float x) { p->bits = half_bits(x); }
WL_INLINE void put(bfloat* p, float x) { p->bits = bfloat_bits(x); }

// ------------------------------------------------------------------------------------------------ memory, one vector
template <class T> struct held;  // storage type -> vector in memory and in registers
#define WL_HELD(T, memory, registers)                                                                                         \
    template <> struct held<T> {                                                                                              \
        typedef memory in_memory;                                                                                             \
        typedef registers in_register;                                                                                        \
    };
WL_HELD(float, f32v, f32v)
WL_HELD(double, f64v, f64v)
WL_HELD(int64_t, i64v, i64v)
WL_HELD(int32_t, i32v, i32v)
WL_HELD(int16_t, i16v, i32v)
WL_HELD(int8_t, i8v, i32v)
WL_HELD(uint8_t, u8v, i32v)
WL_HELD(half, u16v, f32v)
WL_HELD(bfloat, u16v, f32v)
WL_HELD(bool, u8v, mask)
template <class T> using memory_vector = typename held<T>::in_memory;
template <class T> using register_vector = typename held<T>::in_register;

template <class T> WL_INLINE register_vector<T> widen_vector(memory_vector<T> v) {
    if constexpr (same<T, half>) return from_half_bits(v);
    else if constexpr (same<T, bfloat>) return from_bfloat_bits(v);
    else if constexpr (same<T, bool>) return ne(convert<i32v>(v), i32v{});
    else return convert<register_vector<T>>(v);
}
template <class T> WL_INLINE memory_vector<T> narrow_vector(register_vector<T> v) {
    if constexpr (same<T, half>) return half_bits(v);
    else if constexpr (same<T, bfloat>) return bfloat_bits(v);
    else if constexpr (same<T, bool>) return convert<u8v>(bits32(v) & 1);
    else return convert<memory_vector<T>>(v);
}
template <class T> WL_INLINE register_vector<T> load(const T* p) { return widen_vector<T>(unaligned<memory_vector<T>>(p)); }
template <class T> WL_INLINE void store(T* p, register_vector<T> v) {
    const memory_vector<T> out = narrow_vector<T>(v);
    __builtin_memcpy(p, &out, sizeof out);
}
/// Lanes outside the mask are zero, and their memory is never touched.
template <class T> WL_INLINE register_vector<T> load(const T* p, mask m) {
#if WL_AVX512
    if constexpr (sizeof(T) == 4) return (register_vector<T>)_mm512_maskz_loadu_epi32(m.k, p);
    else if constexpr (sizeof(T) == 2) return widen_vector<T>((memory_vector<T>)_mm256_maskz_loadu_epi16(m.k, p));
    else if constexpr (sizeof(T) == 1) return widen_vector<T>((memory_vector<T>)_mm_maskz_loadu_epi8(m.k, p));
    else {
        __m512i h[2] = {_mm512_maskz_loadu_epi64(__mmask8(m.k), p), _mm512_maskz_loadu_epi64(__mmask8(m.k >> 8), p + 8)};
        return unaligned<register_vector<T>>(h);
    }
#else
#if WL_AVX2
    if constexpr (sizeof(T) == 4) return (register_vector<T>)_mm256_maskload_epi32((const int*)p, (__m256i)m.m);
#endif
    memory_vector<T> v{};
    for (int i = 0; i < lanes; ++i)
        if (lane(m, i)) __builtin_memcpy((char*)&v + i * sizeof(T), p + i, sizeof(T));
    return widen_vector<T>(v);
#endif
}
template <class T> WL_INLINE void store(T* p, register_vector<T> v, mask m) {
    const memory_vector<T> out = narrow_vector<T>(v);
#if WL_AVX512
    if constexpr (sizeof(T) == 4) _mm512_mask_storeu_epi32(p, m.k, (__m512i)out);
    else if constexpr (sizeof(T) == 2) _mm256_mask_storeu_epi16(p, m.k, (__m256i)out);
    else if constexpr (sizeof(T) == 1) _mm_mask_storeu_epi8(p, m.k, (__m128i)out);
    else {
        __m512i h[2];
        __builtin_memcpy(h, &out, sizeof out);
        _mm512_mask_storeu_epi64(p, __mmask8(m.k), h[0]);
        _mm512_mask_storeu_epi64(p + 8, __mmask8(m.k >> 8), h[1]);
    }
#else
#if WL_AVX2
    if constexpr (sizeof(T) == 4) return _mm256_maskstore_epi32((int*)p, (__m256i)m.m, (__m256i)out);
#endif
    for (int i = 0; i < lanes; ++i)
        if (lane(m, i)) __builtin_memcpy(p + i, (const char*)&out + i * sizeof(T), sizeof(T));
#endif
}
/// Past the caches; `p` is aligned to the vector.
template <class T> WL_INLINE void stream(T* p, register_vector<T> v) {
    const memory_vector<T> out = narrow_vector<T>(v);
    constexpr int step = sizeof out < 4 * WL_LANES ? sizeof out : 4 * WL_LANES;
    for (unsigned at = 0; at < sizeof out; at += step) {
        char* to = (char*)p + at;
        const char* from = (const char*)&out + at;
#ifdef WL_AVX512
        if constexpr (step == 64) _mm512_stream_si512((__m512i*)to, unaligned<__m512i>(from));
#endif
#ifdef __AVX2__
        if constexpr (step == 32) _mm256_stream_si256((__m256i*)to, unaligned<__m256i>(from));
#endif
        if constexpr (step == 16) _mm_stream_si128((__m128i*)to, unaligned<__m128i>(from));
        if constexpr (step < 16) __builtin_memcpy(to, from, step);
    }
}
WL_INLINE bool aligned(const void* p) { return (uintptr_t(p) & 63) == 0; }
/// Makes streaming stores visible to other threads.
WL_INLINE void stream_fence() { _mm_sfence(); }

// ------------------------------------------------------------------------------------------------ gather and scatter
template <class T, class I> WL_INLINE register_vector<T> gather(const T* p, I at, mask m) {
#if WL_AVX512
    if constexpr (sizeof(T) == 4 && same<I, i32v>)
        return (register_vector<T>)_mm512_mask_i32gather_epi32(_mm512_setzero_si512(), m.k, (__m512i)at, p, 4);
    if constexpr (sizeof(T) == 4 && same<I, i64v>) {
        __m512i h[2];
        __builtin_memcpy(h, &at, sizeof at);
        __m256i r[2] = {_mm512_mask_i64gather_epi32(_mm256_setzero_si256(), __mmask8(m.k), h[0], p, 4),
                        _mm512_mask_i64gather_epi32(_mm256_setzero_si256(), __mmask8(m.k >> 8), h[1], p, 4)};
        return unaligned<register_vector<T>>(r);
    }
#elif WL_AVX2
    if constexpr (sizeof(T) == 4 && same<I, i32v>)
        return (register_vector<T>)_mm256_mask_i32gather_epi32(_mm256_setzero_si256(), (const int*)p, (__m256i)at, (__m256i)m.m, 4);
#endif
    memory_vector<T> v{};
    for (int i = 0; i < lanes; ++i)
        if (lane(m, i)) __builtin_memcpy((char*)&v + i * sizeof(T), p + at[i], sizeof(T));
    return widen_vector<T>(v);
}
template <class T, class I> WL_INLINE register_vector<T> gather(const T* p, I at) { return gather(p, at, every(true)); }
template <class T, class I> WL_INLINE void scatter(T* p, I at, register_vector<T> v, mask m) {
#if WL_AVX512
    if constexpr (sizeof(T) == 4 && same<I, i32v>) return _mm512_mask_i32scatter_epi32(p, m.k, (__m512i)at, (__m512i)v, 4);
#endif
    const memory_vector<T> out = narrow_vector<T>(v);
    for (int i = 0; i < lanes; ++i)
        if (lane(m, i)) __builtin_memcpy(p + at[i], (const char*)&out + i * sizeof(T), sizeof(T));
}
template <class T, class I> WL_INLINE void scatter(T* p, I at, register_vector<T> v) { scatter(p, at, v, every(true)); }
/// Lane i goes to p[2 * i]; the elements between are not touched.
template <class T> WL_INLINE void store_even(T* p, register_vector<T> v, mask m) {
#if WL_AVX512
    if constexpr (sizeof(T) == 4) {
        const uint32_t k = _pdep_u32(m.k, 0x55555555);
        const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        _mm512_mask_storeu_epi32(p, __mmask16(k), _mm512_permutexvar_epi32(low, (__m512i)v));
        return _mm512_mask_storeu_epi32(p + 16, __mmask16(k >> 16), _mm512_permutexvar_epi32(_mm512_add_epi32(low, _mm512_set1_epi32(8)), (__m512i)v));
    }
#endif
    const memory_vector<T> out = narrow_vector<T>(v);
    for (int i = 0; i < lanes; ++i)
        if (lane(m, i)) __builtin_memcpy(p + 2 * i, (const char*)&out + i * sizeof(T), sizeof(T));
}
template <class T> WL_INLINE void store_even(T* p, register_vector<T> v) { store_even(p, v, every(true)); }
/// Lane i is p[2 * i]; the elements between are not touched.
template <class T> WL_INLINE register_vector<T> load_even(const T* p, mask m) {
#if WL_AVX512
    if constexpr (sizeof(T) == 4) {
        const uint32_t k = _pdep_u32(m.k, 0x55555555);
        const __m512i a = _mm512_maskz_loadu_epi32(__mmask16(k), p), b = _mm512_maskz_loadu_epi32(__mmask16(k >> 16), p + 16);
        return (register_vector<T>)_mm512_permutex2var_epi32(a, (__m512i)(iota<i32v>() * 2), b);
    }
#endif
    return gather(p, iota<i32v>() * 2, m);
}
template <class T> WL_INLINE register_vector<T> load_even(const T* p) { return load_even(p, every(true)); }
template <class V> WL_INLINE V reversed(V v) {
    V r;
    for (int i = 0; i < lanes; ++i) r[i] = v[lanes - 1 - i];
    return r;
}
/// Lane i is p[-i].
// A value that stays in a register: g++ would else read it from memory again at every use.
template <class V> WL_INLINE V pinned(V x) {
#if defined(__x86_64__)
  if constexpr (sizeof(V) == 4 * WL_LANES && WL_LANES > 4) asm("" : "+v"(x));
#endif
  return x;
}
// c[j] += sum of a[q] * b[j][q] over 4 (unsigned by signed bytes) or 2 (bfloat16) neighbours; what a narrower machine does one by one.
#if WL_LANES == 16
typedef __m512i bytes;
WL_INLINE i32v dot4(i32v c, const uint8_t* a, bytes b) {
#if defined(__AVX512VNNI__)
  return (i32v)_mm512_dpbusd_epi32((__m512i)c, (__m512i)splat<i32v>(unaligned<int32_t>(a)), b);
#else
  int8_t w[64];
  __builtin_memcpy(w, &b, 64);
  for (int j = 0; j < 16; j++) for (int q = 0; q < 4; q++) c[j] += int32_t(a[q]) * w[j * 4 + q];
  return c;
#endif
}
WL_INLINE f32v dot2(f32v c, const bfloat* a, bytes b) {
#if defined(__AVX512BF16__)
  return (f32v)_mm512_dpbf16_ps((__m512)c, (__m512bh)splat<i32v>(unaligned<int32_t>(a)), (__m512bh)b);
#else
  bfloat w[32];
  __builtin_memcpy(w, &b, 64);
  for (int j = 0; j < 16; j++) for (int q = 0; q < 2; q++) c[j] += get(a + q) * get(w + j * 2 + q);
  return c;
#endif
}
#endif
template <class T> WL_INLINE register_vector<T> load_reversed(const T* p) { return reversed(load(p - (lanes - 1))); }
template <class T> WL_INLINE register_vector<T> load_reversed(const T* p, mask m) { return gather(p, -iota<i32v>(), m); }

// ------------------------------------------------------------------------------------------------ across lanes
/// 0, 1, 2, .. in integers as wide as the elements of V.
template <class V> WL_INLINE auto lane_numbers() {
    if constexpr (sizeof(V) == 4 * WL_LANES) return iota<i32v>();
    else return iota<i64v>();
}
/// Lane i becomes lane (i + n) % lanes, n a constant.
template <int n, class V> WL_INLINE V rotate(V v) {
    const auto at = (lane_numbers<V>() + n) & (lanes - 1);
    return __builtin_shuffle(v, at);
}
template <int n> WL_INLINE mask rotate(mask v) { return from_bits(rotate<n>(bits32(v))); }
/// Lane i becomes lane i - n; the first n lanes become `fill`.
template <int n, class V> WL_INLINE V shift_in(V v, V fill) {
    const auto at = lane_numbers<V>() - n;
    return __builtin_shuffle(v, fill, at < 0 ? at + n + lanes : at);
}
template <class V> WL_INLINE element<V> lane(V v, int i) { return v[i]; }
}  // namespace wl

#include "warploom_math.h"
