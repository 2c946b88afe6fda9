// Included twice, with WL_NOISY 0 and 1. A number that stands for float32 in a record's C code: carried in double, so that it is exact by float32's measure, or with an error of
// float32's size after each operation. What the record's text calls for on floats is overloaded here.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#if WL_NOISY
#define WL_SPACE warploom_noisy
#else
#define WL_SPACE warploom_exact
#endif
namespace WL_SPACE {
static int doubtful = 0;  // a NaN has been compared: whether it shows depends on how the comparison is written
#if WL_NOISY
static double unit = 0x1p-24;  // the largest relative error of one operation
static uint64_t seed = 1;
static thread_local uint64_t state = 0, seen = 0;

static inline double noise() {  // uniform in [-1, 1)
  if (__builtin_expect(seen != seed, 0)) {
    seen = seed;
    state = seed * 0x9E3779B97F4A7C15ull + reinterpret_cast<uintptr_t>(&state);
  }
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return double(int64_t(state)) * 0x1p-63;
}
#endif

struct Real {
  double v;
  Real() = default;
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  Real(T x) : v(double(x)) {}
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  explicit operator T() const {
    return T(v);
  }
};
static inline Real rounded(double x, [[maybe_unused]] double ulps = 1) {
  Real r;
#if WL_NOISY
  r.v = double(float(x)) == x ? x : x * (1 + ulps * unit * noise());  // what float32 represents it does not round: floor(x) + 127 stays an integer
#else
  r.v = x;
#endif
  return r;
}
static inline Real exact(double x) {
  Real r;
  r.v = x;
  return r;
}

template <class T>
using Plain = std::enable_if_t<std::is_arithmetic_v<T>>;
#define WL_BINARY(op)                                                                            \
  static inline Real operator op(Real a, Real b) { return rounded(a.v op b.v); }                 \
  template <class T, class = Plain<T>> Real operator op(Real a, T b) { return rounded(a.v op double(b)); } \
  template <class T, class = Plain<T>> Real operator op(T a, Real b) { return rounded(double(a) op b.v); }
static inline void seen_by_comparison(double a, double b) {
  if (__builtin_isunordered(a, b)) doubtful = 1;
}
#define WL_COMPARE(op)                                                                           \
  static inline bool operator op(Real a, Real b) { return seen_by_comparison(a.v, b.v), a.v op b.v; } \
  template <class T, class = Plain<T>> bool operator op(Real a, T b) { return a op Real(b); }    \
  template <class T, class = Plain<T>> bool operator op(T a, Real b) { return Real(a) op b; }
WL_BINARY(+) WL_BINARY(-) WL_BINARY(*) WL_BINARY(/)
WL_COMPARE(<) WL_COMPARE(>) WL_COMPARE(<=) WL_COMPARE(>=) WL_COMPARE(==) WL_COMPARE(!=)
static inline Real operator-(Real a) { return exact(-a.v); }
static inline Real operator+(Real a) { return a; }
static inline bool operator!(Real a) { return a.v == 0; }
template <class T> Real& operator+=(Real& a, T b) { return a = a + Real(b); }
template <class T> Real& operator-=(Real& a, T b) { return a = a - Real(b); }
template <class T> Real& operator*=(Real& a, T b) { return a = a * Real(b); }
template <class T> Real& operator/=(Real& a, T b) { return a = a / Real(b); }

// Functions of one argument: those whose result float32 represents exactly, and those with a rounding error (a few ulps in a good library).
#define WL_EXACT(name) \
  static inline Real name(Real a) { return exact(std::name(a.v)); } \
  static inline Real name##f(Real a) { return exact(std::name(a.v)); }
#define WL_ROUNDED(name) \
  static inline Real name(Real a) { return rounded(std::name(a.v), 2); } \
  static inline Real name##f(Real a) { return rounded(std::name(a.v), 2); }
WL_EXACT(floor) WL_EXACT(ceil) WL_EXACT(trunc) WL_EXACT(round) WL_EXACT(rint) WL_EXACT(nearbyint) WL_EXACT(fabs)
WL_ROUNDED(exp) WL_ROUNDED(exp2) WL_ROUNDED(expm1) WL_ROUNDED(log) WL_ROUNDED(log2) WL_ROUNDED(log10) WL_ROUNDED(log1p) WL_ROUNDED(sqrt)
WL_ROUNDED(cbrt) WL_ROUNDED(sin) WL_ROUNDED(cos) WL_ROUNDED(tan) WL_ROUNDED(asin) WL_ROUNDED(acos) WL_ROUNDED(atan) WL_ROUNDED(sinh)
WL_ROUNDED(cosh) WL_ROUNDED(tanh) WL_ROUNDED(asinh) WL_ROUNDED(acosh) WL_ROUNDED(atanh) WL_ROUNDED(erf) WL_ROUNDED(erfc)
WL_ROUNDED(tgamma) WL_ROUNDED(lgamma)
static inline Real exp10(Real a) { return rounded(std::pow(10.0, a.v), 2); }
static inline Real exp10f(Real a) { return exp10(a); }
static inline Real abs(Real a) { return exact(std::fabs(a.v)); }
using std::abs;

// Functions of two arguments, at least one of them a Real.
template <class A, class B>
using Mixed = std::enable_if_t<std::is_same_v<A, Real> || std::is_same_v<B, Real>, Real>;
#define WL_TWO(name, value)                                                                                             \
  template <class A, class B> Mixed<A, B> name(A a, B b) { double x = Real(a).v, y = Real(b).v; return value; }          \
  template <class A, class B> std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>, Real> name##f(A a, B b) { double x = double(a), y = double(b); return value; } \
  template <class A, class B> Mixed<A, B> name##f(A a, B b) { return name(a, b); }
WL_TWO(pow, rounded(std::pow(x, y), 2)) WL_TWO(atan2, rounded(std::atan2(x, y), 2)) WL_TWO(hypot, rounded(std::hypot(x, y), 2))
WL_TWO(fmod, exact(std::fmod(x, y))) WL_TWO(remainder, exact(std::remainder(x, y))) WL_TWO(copysign, exact(std::copysign(x, y)))
WL_TWO(fmax, (seen_by_comparison(x, y), exact(std::fmax(x, y)))) WL_TWO(fmin, (seen_by_comparison(x, y), exact(std::fmin(x, y))))
WL_TWO(nextafter, rounded(x, 1)) WL_TWO(fdim, rounded(std::fdim(x, y)))
static inline Real fmaf(Real a, Real b, Real c) { return rounded(a.v * b.v + c.v); }
static inline Real fma(Real a, Real b, Real c) { return fmaf(a, b, c); }
static inline Real ldexpf(Real a, int n) { return exact(std::ldexp(a.v, n)); }
static inline Real ldexp(Real a, int n) { return exact(std::ldexp(a.v, n)); }
static inline int isnan(Real a) { return std::isnan(a.v); }
static inline int isinf(Real a) { return std::isinf(a.v); }
static inline int isfinite(Real a) { return std::isfinite(a.v); }
static inline int signbit(Real a) { return std::signbit(a.v); }

// `max` and `min` as the benchmark's C sides mean them: the comparison, so that a NaN in the first place loses.
template <class A, class B> Mixed<A, B> max(A a, B b) { return Real(a) > Real(b) ? Real(a) : Real(b); }
template <class A, class B> Mixed<A, B> min(A a, B b) { return Real(a) < Real(b) ? Real(a) : Real(b); }
template <class A, class B> std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>, std::common_type_t<A, B>> max(A a, B b) { return a > b ? a : b; }
template <class A, class B> std::enable_if_t<std::is_arithmetic_v<A> && std::is_arithmetic_v<B>, std::common_type_t<A, B>> min(A a, B b) { return a < b ? a : b; }

// The float whose bits an integer holds.
template <class T> Real from_bits(T bits) {
  static_assert(sizeof(T) == 4, "the bits of a float are 32");
  float x;
  std::memcpy(&x, &bits, 4);
  return exact(x);
}
}  // namespace WL_SPACE
#undef WL_BINARY
#undef WL_COMPARE
#undef WL_EXACT
#undef WL_ROUNDED
#undef WL_TWO
