// half, bfloat16 and their pairs: stored in 16 bits, computed in float and rounded to nearest even after every operation.
#pragma once
#include "emulator.h"

namespace wl {

inline uint16_t half_bits(float f) {
#ifdef __F16C__
  typedef float Four __attribute__((vector_size(16)));
  return static_cast<uint16_t>(__builtin_ia32_vcvtps2ph(Four{f, 0, 0, 0}, 0)[0]);
#else
  uint32_t x = reinterpret<uint32_t>(f), sign = x >> 16 & 0x8000, magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) return static_cast<uint16_t>(sign | static_cast<uint32_t>(rintf(reinterpret<float>(magnitude) * 0x1p24f)));
  uint32_t odd = magnitude >> 13 & 1;
  return static_cast<uint16_t>(sign | (magnitude + 0xfff + odd - 0x38000000) >> 13);
#endif
}
inline float half_value(uint16_t h) {
  uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, magnitude = h & 0x7fff;
  if (magnitude >= 0x7c00) return reinterpret<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude >= 0x400) return reinterpret<float>(sign | (magnitude << 13) + 0x38000000);
  float small = static_cast<float>(magnitude) * 0x1p-24f;
  return sign ? -small : small;
}
inline uint16_t bfloat_bits(float f) {
  uint32_t x = reinterpret<uint32_t>(f);
  if ((x & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(x >> 16 | 0x40);
  return static_cast<uint16_t>((x + 0x7fff + (x >> 16 & 1)) >> 16);
}
inline float bfloat_value(uint16_t b) { return reinterpret<float>(static_cast<uint32_t>(b) << 16); }

}  // namespace wl

#define WL_SMALL_FLOAT(H, PAIR, BITS, VALUE)                                                             \
  struct alignas(2) H {                                                                                  \
    uint16_t bits;                                                                                       \
    H() = default;                                                                                       \
    H(float f) : bits(BITS(f)) {}                                                                        \
    H(double d) : bits(BITS(static_cast<float>(d))) {}                                                   \
    template <class I, std::enable_if_t<std::is_integral_v<I>, int> = 0>                                 \
    H(I i) : bits(BITS(static_cast<float>(i))) {}                                                        \
    operator float() const { return VALUE(bits); }                                                       \
    H& operator+=(H o) { return *this = H(float(*this) + float(o)); }                                    \
    H& operator-=(H o) { return *this = H(float(*this) - float(o)); }                                    \
    H& operator*=(H o) { return *this = H(float(*this) * float(o)); }                                    \
    H& operator/=(H o) { return *this = H(float(*this) / float(o)); }                                    \
    H& operator++() { return *this += H(1.0f); }                                                         \
  };                                                                                                     \
  struct alignas(4) PAIR {                                                                               \
    H x, y;                                                                                              \
    PAIR() = default;                                                                                    \
    PAIR(H a, H b) : x(a), y(b) {}                                                                       \
    PAIR& operator+=(PAIR o) { return *this = PAIR(x + o.x, y + o.y); }                                  \
    PAIR& operator*=(PAIR o) { return *this = PAIR(x * o.x, y * o.y); }                                  \
  };                                                                                                     \
  inline H operator+(H a, H b) { return H(float(a) + float(b)); }                                        \
  inline H operator-(H a, H b) { return H(float(a) - float(b)); }                                        \
  inline H operator*(H a, H b) { return H(float(a) * float(b)); }                                        \
  inline H operator/(H a, H b) { return H(float(a) / float(b)); }                                        \
  inline H operator-(H a) { H r; r.bits = a.bits ^ 0x8000; return r; }                                   \
  inline bool operator<(H a, H b) { return float(a) < float(b); }                                        \
  inline bool operator>(H a, H b) { return float(a) > float(b); }                                        \
  inline bool operator<=(H a, H b) { return float(a) <= float(b); }                                      \
  inline bool operator>=(H a, H b) { return float(a) >= float(b); }                                      \
  inline bool operator==(H a, H b) { return float(a) == float(b); }                                      \
  inline bool operator!=(H a, H b) { return float(a) != float(b); }                                      \
  inline PAIR operator+(PAIR a, PAIR b) { return {a.x + b.x, a.y + b.y}; }                               \
  inline PAIR operator-(PAIR a, PAIR b) { return {a.x - b.x, a.y - b.y}; }                               \
  inline PAIR operator*(PAIR a, PAIR b) { return {a.x * b.x, a.y * b.y}; }                               \
  inline PAIR operator/(PAIR a, PAIR b) { return {a.x / b.x, a.y / b.y}; }                               \
  inline H __hadd(H a, H b) { return a + b; }                                                            \
  inline H __hsub(H a, H b) { return a - b; }                                                            \
  inline H __hmul(H a, H b) { return a * b; }                                                            \
  inline H __hdiv(H a, H b) { return a / b; }                                                            \
  inline H __hneg(H a) { return -a; }                                                                    \
  inline H __habs(H a) { H r; r.bits = a.bits & 0x7fff; return r; }                                      \
  inline H __hfma(H a, H b, H c) { return H(static_cast<double>(float(a)) * float(b) + float(c)); }      \
  inline H __hmax(H a, H b) { return H(fmaxf(a, b)); }                                                   \
  inline H __hmin(H a, H b) { return H(fminf(a, b)); }                                                   \
  template <class T, std::enable_if_t<std::is_same_v<T, H>, int> = 0> H max(T, T) = delete; /* nvcc: ambiguous */\
  template <class T, std::enable_if_t<std::is_same_v<T, H>, int> = 0> H min(T, T) = delete; /* nvcc: ambiguous */\
  inline bool __hlt(H a, H b) { return a < b; }                                                          \
  inline bool __hgt(H a, H b) { return a > b; }                                                          \
  inline bool __hle(H a, H b) { return a <= b; }                                                         \
  inline bool __hge(H a, H b) { return a >= b; }                                                         \
  inline bool __heq(H a, H b) { return a == b; }                                                         \
  inline bool __hne(H a, H b) { return a != b; }                                                         \
  inline bool __hisnan(H a) { return isnan(float(a)); }                                                  \
  inline H hexp(H a) { return H(expf(a)); }                                                              \
  inline H hlog(H a) { return H(logf(a)); }                                                              \
  inline H hexp2(H a) { return H(exp2f(a)); }                                                            \
  inline H hlog2(H a) { return H(log2f(a)); }                                                            \
  inline H hsqrt(H a) { return H(sqrtf(a)); }                                                            \
  inline H hrsqrt(H a) { return H(1.0f / sqrtf(a)); }                                                    \
  inline H hrcp(H a) { return H(1.0f / float(a)); }                                                      \
  inline H hsin(H a) { return H(sinf(a)); }                                                              \
  inline H hcos(H a) { return H(cosf(a)); }                                                              \
  inline H htanh(H a) { return H(tanhf(a)); }                                                            \
  inline H hfloor(H a) { return H(floorf(a)); }                                                          \
  inline H hceil(H a) { return H(ceilf(a)); }                                                            \
  inline PAIR __hadd2(PAIR a, PAIR b) { return a + b; }                                                  \
  inline PAIR __hsub2(PAIR a, PAIR b) { return a - b; }                                                  \
  inline PAIR __hmul2(PAIR a, PAIR b) { return a * b; }                                                  \
  inline PAIR __h2div(PAIR a, PAIR b) { return a / b; }                                                  \
  inline PAIR __hneg2(PAIR a) { return {-a.x, -a.y}; }                                                   \
  inline PAIR __habs2(PAIR a) { return {__habs(a.x), __habs(a.y)}; }                                     \
  inline PAIR __hfma2(PAIR a, PAIR b, PAIR c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; } \
  inline PAIR __hmax2(PAIR a, PAIR b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }                   \
  inline PAIR __hmin2(PAIR a, PAIR b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }                   \
  inline PAIR h2exp(PAIR a) { return {hexp(a.x), hexp(a.y)}; }

WL_SMALL_FLOAT(__half, __half2, wl::half_bits, wl::half_value)
WL_SMALL_FLOAT(__nv_bfloat16, __nv_bfloat162, wl::bfloat_bits, wl::bfloat_value)
#undef WL_SMALL_FLOAT

using half = __half;
using half2 = __half2;
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

inline float __half2float(__half h) { return h; }
inline __half __float2half(float f) { return __half(f); }
inline __half __float2half_rn(float f) { return __half(f); }
inline __half __double2half(double d) { return __half(d); }
inline __half __int2half_rn(int i) { return __half(i); }
inline int __half2int_rn(__half h) { return __float2int_rn(h); }
inline int __half2int_rz(__half h) { return __float2int_rz(h); }
inline unsigned short __half_as_ushort(__half h) { return h.bits; }
inline short __half_as_short(__half h) { return static_cast<short>(h.bits); }
inline __half __ushort_as_half(unsigned short b) { __half h; h.bits = b; return h; }
inline __half __short_as_half(short b) { return __ushort_as_half(static_cast<unsigned short>(b)); }
inline __half2 __floats2half2_rn(float a, float b) { return {__half(a), __half(b)}; }
inline __half2 __float22half2_rn(float2 a) { return {__half(a.x), __half(a.y)}; }
inline __half2 __float2half2_rn(float a) { return {__half(a), __half(a)}; }
inline float2 __half22float2(__half2 a) { return {a.x, a.y}; }
inline __half2 __half2half2(__half a) { return {a, a}; }
inline __half2 __halves2half2(__half a, __half b) { return {a, b}; }
inline __half2 make_half2(__half a, __half b) { return {a, b}; }
inline __half __low2half(__half2 a) { return a.x; }
inline __half __high2half(__half2 a) { return a.y; }
inline float __low2float(__half2 a) { return a.x; }
inline float __high2float(__half2 a) { return a.y; }
inline __half2 __lowhigh2highlow(__half2 a) { return {a.y, a.x}; }

inline float __bfloat162float(__nv_bfloat16 b) { return b; }
inline __nv_bfloat16 __float2bfloat16(float f) { return __nv_bfloat16(f); }
inline __nv_bfloat16 __float2bfloat16_rn(float f) { return __nv_bfloat16(f); }
inline __nv_bfloat16 __double2bfloat16(double d) { return __nv_bfloat16(d); }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 b) { return b.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short b) { __nv_bfloat16 h; h.bits = b; return h; }
inline __nv_bfloat162 __floats2bfloat162_rn(float a, float b) { return {__nv_bfloat16(a), __nv_bfloat16(b)}; }
inline __nv_bfloat162 __float22bfloat162_rn(float2 a) { return {__nv_bfloat16(a.x), __nv_bfloat16(a.y)}; }
inline __nv_bfloat162 __float2bfloat162_rn(float a) { return {__nv_bfloat16(a), __nv_bfloat16(a)}; }
inline float2 __bfloat1622float2(__nv_bfloat162 a) { return {a.x, a.y}; }
inline __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 a) { return {a, a}; }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) { return {a, b}; }
inline __nv_bfloat16 __low2bfloat16(__nv_bfloat162 a) { return a.x; }
inline __nv_bfloat16 __high2bfloat16(__nv_bfloat162 a) { return a.y; }
inline float __low2float(__nv_bfloat162 a) { return a.x; }
inline float __high2float(__nv_bfloat162 a) { return a.y; }
