// Elementwise functions of the generated C++ kernels, for float, double, int32, int64 and their vectors. The float32 functions are
// branch-free polynomials written once for every width, within 1.6 ulp of the exact value (sigmoid 2.4); rare ones go lane by lane.
// float64 functions go lane by lane through libm. Included by warploom_cpu.h.
#pragma once

namespace wl {

template <class F> struct integer_of;
template <> struct integer_of<float> {
    using type = int32_t;
};
template <> struct integer_of<f32v> {
    using type = i32v;
};
template <class F> using int_of = typename integer_of<F>::type;
template <class F> constexpr bool is_f32 = same<F, float> || same<F, f32v>;
template <class F> constexpr bool is_vector = !std::is_arithmetic_v<F>;
template <class F, class X> WL_INLINE F all_of(X x) {
    if constexpr (same<F, X>) return x;
    else if constexpr (is_vector<F>) return float(x) - F{};
    else return F(x);
}
/// a * b + c, fused wherever the CPU can, and never otherwise contracted: so every width gives the same bits.
WL_INLINE float fused(float a, float b, float c) {
#ifdef __FMA__
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}
WL_INLINE f32v fused(f32v a, f32v b, f32v c) {
#if WL_AVX512
    return (f32v)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif WL_AVX2
    return (f32v)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}
template <class F, class B, class C> WL_INLINE F fma(F a, B b, C c) { return fused(a, all_of<F>(b), all_of<F>(c)); }
/// One scalar function on every lane.
template <class V, class G> WL_INLINE V each(V x, G g) {
    if constexpr (is_vector<V>) {
        V y;
        for (int i = 0; i < lanes; ++i) y[i] = g(x[i]);
        return y;
    } else return g(x);
}
template <class V, class G> WL_INLINE V each(V x, V z, G g) {
    if constexpr (is_vector<V>) {
        V y;
        for (int i = 0; i < lanes; ++i) y[i] = g(x[i], z[i]);
        return y;
    } else return g(x, z);
}
WL_INLINE bool holds_any(int32_t c) { return c; }
WL_INLINE bool holds_any(bool c) { return c; }
WL_INLINE bool holds_any(i32v c) { return any(from_bits(c)); }

// ------------------------------------------------------------------------------------------------ exact functions
template <class V> WL_INLINE auto is_nan(V x) { return x != x; }
WL_INLINE mask isnan(f32v x) { return ne(x, x); }
WL_INLINE mask isnan(f64v x) { return ne(x, x); }
WL_INLINE mask isnan(i32v) { return first(0); }
WL_INLINE mask isnan(i64v) { return first(0); }
WL_INLINE bool isnan(int32_t) { return false; }
WL_INLINE bool isnan(int64_t) { return false; }
WL_INLINE bool isnan(float x) { return x != x; }
WL_INLINE bool isnan(double x) { return x != x; }
/// The greater, or NaN where either is NaN, as in torch. The test is on `b`: in `a = max(a, b)` it stays off the critical path.
template <class V> WL_INLINE V max(V a, V b) {
#if WL_AVX512
    if constexpr (same<V, f32v>) {
        const __m512 r = _mm512_max_ps((__m512)b, (__m512)a);
        return (V)_mm512_mask_mov_ps(r, _mm512_cmp_ps_mask((__m512)b, (__m512)b, _CMP_UNORD_Q), (__m512)b);
    }
#endif
    if constexpr (same<V, f64v> || same<V, i64v>) return select(gt(b, a) | ne(b, b), b, a);
    else return (b > a) | (b != b) ? b : a;
}
template <class V> WL_INLINE V min(V a, V b) {
#if WL_AVX512
    if constexpr (same<V, f32v>) {
        const __m512 r = _mm512_min_ps((__m512)b, (__m512)a);
        return (V)_mm512_mask_mov_ps(r, _mm512_cmp_ps_mask((__m512)b, (__m512)b, _CMP_UNORD_Q), (__m512)b);
    }
#endif
    if constexpr (same<V, f64v> || same<V, i64v>) return select(lt(b, a) | ne(b, b), b, a);
    else return (b < a) | (b != b) ? b : a;
}
template <class V> WL_INLINE V abs(V x) {
    if constexpr (same<V, float>) return __builtin_fabsf(x);
    else if constexpr (same<V, double>) return __builtin_fabs(x);
    else if constexpr (same<V, f32v>) return bitcast<V>(bitcast<i32v>(x) & 0x7fffffff);
    else if constexpr (same<V, f64v>) return bitcast<V>(bitcast<i64v>(x) & 0x7fffffffffffffff);
    else return max(x, -x);
}
template <class V> WL_INLINE auto isinf(V x) {
    if constexpr (is_vector<V>) return eq(abs(x), V{} + std::numeric_limits<element<V>>::infinity());
    else return abs(x) == std::numeric_limits<V>::infinity();
}
/// `limit` is no NaN; a NaN in `x` stays.
template <class F> WL_INLINE F at_most(F x, float limit) {
    const F l = all_of<F>(limit);
#if WL_AVX512
    if constexpr (same<F, f32v>) return (F)_mm512_min_ps((__m512)l, (__m512)x);
#elif WL_AVX2
    if constexpr (same<F, f32v>) return (F)_mm256_min_ps((__m256)l, (__m256)x);
#endif
    return l < x ? l : x;
}
template <class F> WL_INLINE F at_least(F x, float limit) {
    const F l = all_of<F>(limit);
#if WL_AVX512
    if constexpr (same<F, f32v>) return (F)_mm512_max_ps((__m512)l, (__m512)x);
#elif WL_AVX2
    if constexpr (same<F, f32v>) return (F)_mm256_max_ps((__m256)l, (__m256)x);
#endif
    return l > x ? l : x;
}
#define WL_ROUNDING(name, scalar, mode)                                                                                       \
    template <class V> WL_INLINE V name(V x) {                                                                                \
        if constexpr (same<V, float>) return __builtin_##scalar##f(x);                                                        \
        else if constexpr (same<V, double>) return __builtin_##scalar(x);                                                     \
        else if constexpr (same<V, f64v>) return each(x, [](double v) { return __builtin_##scalar(v); });                     \
        else return WL_ROUND_VECTOR(x, mode);                                                                                 \
    }
#if WL_AVX512
#define WL_ROUND_VECTOR(x, mode) (f32v) _mm512_roundscale_ps((__m512)x, (mode) | _MM_FROUND_NO_EXC)
#elif WL_AVX2
#define WL_ROUND_VECTOR(x, mode) (f32v) _mm256_round_ps((__m256)x, (mode) | _MM_FROUND_NO_EXC)
#else
#define WL_ROUND_VECTOR(x, mode) (f32v) _mm_round_ps((__m128)x, (mode) | _MM_FROUND_NO_EXC)
#endif
WL_ROUNDING(floor, floor, _MM_FROUND_TO_NEG_INF)
WL_ROUNDING(ceil, ceil, _MM_FROUND_TO_POS_INF)
WL_ROUNDING(trunc, trunc, _MM_FROUND_TO_ZERO)
WL_ROUNDING(round, rint, _MM_FROUND_TO_NEAREST_INT)  // half to even
template <class V> WL_INLINE V sqrt(V x) {
    if constexpr (same<V, float>) return __builtin_sqrtf(x);
    else if constexpr (same<V, double>) return __builtin_sqrt(x);
    else if constexpr (same<V, f64v>) return each(x, [](double v) { return __builtin_sqrt(v); });
    else {
#if WL_AVX512
        return (V)_mm512_sqrt_ps((__m512)x);
#elif WL_AVX2
        return (V)_mm256_sqrt_ps((__m256)x);
#else
        return (V)_mm_sqrt_ps((__m128)x);
#endif
    }
}
template <class V> WL_INLINE V rsqrt(V x) { return 1 / sqrt(x); }
template <class F> WL_INLINE F copy_sign(F x, F sign) {
    using I = int_of<F>;
    return bitcast<F>((bitcast<I>(x) & 0x7fffffff) | (bitcast<I>(sign) & int32_t(0x80000000)));
}

// ------------------------------------------------------------------------------------------------ integers
/// Rounds toward minus infinity; x // 0 is 0, as in NumPy.
template <class T> WL_INLINE T floor_div_scalar(T a, T b) {
    if (b == 0) return 0;
    if (b == -1) return T(0 - std::make_unsigned_t<T>(a));
    return a / b - ((a % b != 0) & ((a < 0) != (b < 0)));
}
template <class T> WL_INLINE T floor_mod_scalar(T a, T b) {
    if (b == 0 || b == -1) return 0;
    const T r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
template <class V> WL_INLINE V floor_div(V a, V b) {
    if constexpr (same<V, int32_t> || same<V, int64_t>) return floor_div_scalar(a, b);
    else if constexpr (same<V, i64v>) return each(a, b, [](int64_t x, int64_t y) { return floor_div_scalar(x, y); });
    else if constexpr (same<V, i32v>) {  // exact: a quotient of int32 that is not whole is further than 2^-31 from a whole number
        const f64v q = convert<f64v>(a) / convert<f64v>(b == 0 ? b + 1 : b);
        const i64v t = __builtin_convertvector(q, i64v);
        const i32v floored = convert<i32v>(t + (convert<f64v>(t) > q));
        return b == 0 ? V{} : floored;
    } else if constexpr (same<V, float>) {
        const float r = __builtin_fmodf(a, b), m = r != 0 && (r < 0) != (b < 0) ? r + b : r;
        const float q = (a - m) / b, f = __builtin_floorf(q);
        return b == 0 || isinf(a) ? a / b : q - f > 0.5f ? f + 1 : f;
    } else if constexpr (same<V, double>) {
        const double r = __builtin_fmod(a, b), m = r != 0 && (r < 0) != (b < 0) ? r + b : r;
        const double q = (a - m) / b, f = __builtin_floor(q);
        return b == 0 || isinf(a) ? a / b : q - f > 0.5 ? f + 1 : f;
    } else return each(a, b, [](element<V> x, element<V> y) { return floor_div<element<V>>(x, y); });
}
template <class V> WL_INLINE V floor_mod(V a, V b) {
    if constexpr (same<V, int32_t> || same<V, int64_t>) return floor_mod_scalar(a, b);
    else if constexpr (same<V, i32v>) return b == 0 ? V{} : a - floor_div(a, b) * b;
    else if constexpr (same<V, float> || same<V, double>) {
        const V r = same<V, float> ? __builtin_fmodf(a, b) : __builtin_fmod(a, b);
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    } else return each(a, b, [](element<V> x, element<V> y) { return floor_mod<element<V>>(x, y); });
}
template <class V> WL_INLINE V fmod(V a, V b) {
    if constexpr (same<V, float>) return __builtin_fmodf(a, b);
    else if constexpr (same<V, double>) return __builtin_fmod(a, b);
    else if constexpr (same<V, int32_t> || same<V, int64_t>) return b == 0 || b == -1 ? 0 : a % b;
    else return each(a, b, [](element<V> x, element<V> y) { return fmod<element<V>>(x, y); });
}

// ------------------------------------------------------------------------------------------------ exponentials
/// x * 2^n for whole n in [-300, 300], with one rounding.
template <class F> WL_INLINE F scale(F x, F n) {
#if WL_AVX512
    if constexpr (same<F, f32v>) return (F)_mm512_scalef_ps((__m512)x, (__m512)n);
    else return _mm_cvtss_f32(_mm_scalef_ss(_mm_set_ss(x), _mm_set_ss(n)));
#else
    using I = int_of<F>;
    I k;
    if constexpr (is_vector<F>) k = __builtin_convertvector(n, I);
    else k = int32_t(n);
    const I h = k >> 1;
    return x * bitcast<F>((h + 127) << 23) * bitcast<F>((k - h + 127) << 23);
#endif
}
template <class F, class... C> WL_INLINE F polynomial(F x, float first, C... rest) {
    F p = all_of<F>(first);
    ((p = fma(p, x, rest)), ...);
    return p;
}
/// e^x for x in [-104, 89].
template <class F> WL_INLINE F exp_near(F x) {
    const F n = round(x * 1.44269504f);
    const F r = fma(n, -1.42860677e-6f, fma(n, -0.693145752f, x));
    const F p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f);
    return scale(fma(p, r * r, r) + 1, n);
}
/// e^x.
template <class F> WL_INLINE F exp(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_exp(v); });
    else return exp_near(at_least(at_most(x, 89.0f), -104.0f));
}
/// 2^x.
template <class F> WL_INLINE F exp2(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_exp2(v); });
    else {
        x = at_least(at_most(x, 129.0f), -151.0f);
        const F n = round(x);
        const F r = x - n;
        return scale(polynomial(r, 1.535336188319500e-4f, 1.339887440266574e-3f, 9.618437357674640e-3f, 5.550332471162809e-2f, 2.402264791363012e-1f, 6.931472028550421e-1f, 1.0f), n);
    }
}
/// exp(x) - 1.
template <class F> WL_INLINE F expm1(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_expm1(v); });
    else {
        const F y = at_least(at_most(x, 89.0f), -20.0f);
        const F n = round(y * 1.44269504f);
        const F r = fma(n, -1.42860677e-6f, fma(n, -0.693145752f, y));
        const F p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f);
        const F q = fma(p, r * r, r);  // exp(r) - 1
        const F h = scale(all_of<F>(0.5f), n);
        const F e = fma(q, h, h - 0.5f);
        return n == 0 ? q : e + e;
    }
}
/// 1 / (1 + exp(-x)).
template <class F> WL_INLINE F sigmoid(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return 1 / (1 + __builtin_exp(-v)); });
    else {
        const F e = exp_near(at_least(-abs(x), -104.0f));
        return (x < 0 ? e : all_of<F>(1)) / (1 + e);
    }
}
template <class F> WL_INLINE F tanh(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_tanh(v); });
    else {
        const F t = abs(x), s = x * x;
        const F lo = fma(polynomial(s, -5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f, -3.33332819422e-1f), s * x, x);
        const F hi = 1 - 2 / (exp_near(at_most(t + t, 40.0f)) + 1);
        return t < 0.625f ? lo : copy_sign(hi, x);
    }
}
template <class F> WL_INLINE F sinh(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_sinh(v); });
    else return each(x, [](float v) { return __builtin_sinhf(v); });
}
template <class F> WL_INLINE F cosh(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_cosh(v); });
    else return each(x, [](float v) { return __builtin_coshf(v); });
}

// ------------------------------------------------------------------------------------------------ logarithms
/// x = 2^e * (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); returns log(1 + f) - f.
template <class F> WL_INLINE F log_tail(F f) {
    const F p = polynomial(f, 7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f);
    const F s = f * f;
    return fma(s * f, p, s * -0.5f);
}
template <class F> struct split {
    F e, f;
};
template <class F> WL_INLINE split<F> log_split(F x) {  // for x > 0 and finite
    using I = int_of<F>;
    const auto tiny = x < 1.17549435e-38f;
    const F y = tiny ? x * 16777216.0f : x;
    const I k = (bitcast<I>(y) - 0x3f3504f3) & int32_t(0xff800000);
    const F m = bitcast<F>(bitcast<I>(y) - k);
    F e;
    if constexpr (is_vector<F>) e = __builtin_convertvector(k >> 23, F);
    else e = float(k >> 23);
    return {tiny ? e - 24 : e, m - 1};
}
/// The value of a logarithm outside (0, inf).
template <class F> WL_INLINE F log_edges(F x, F y) {
    constexpr float inf = std::numeric_limits<float>::infinity();
    y = x == inf ? x : y;
    y = x == 0 ? all_of<F>(-inf) : y;
    return x < 0 ? all_of<F>(std::numeric_limits<float>::quiet_NaN()) : x != x ? x : y;
}
template <class F> WL_INLINE F log(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_log(v); });
    else {
        const auto [e, f] = log_split(x);
        return log_edges(x, fma(e, 0.693359375f, f + fma(e, -2.12194440e-4f, log_tail(f))));
    }
}
template <class F> WL_INLINE F log2(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_log2(v); });
    else {
        const auto [e, f] = log_split(x);
        const F t = log_tail(f);
        return log_edges(x, e + (f + (t + fma(t, 0.44269504f, f * 0.44269504f))));
    }
}
template <class F> WL_INLINE F log10(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_log10(v); });
    else {
        const auto [e, f] = log_split(x);
        const F t = log_tail(f);
        return log_edges(x, fma(e, 3.00781250e-1f, fma(f, 4.34082031e-1f, fma(e, 2.48745663e-4f, fma(t, 4.34294482e-1f, f * 2.12450623e-4f)))));
    }
}
/// log(1 + x).
template <class F> WL_INLINE F log1p(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_log1p(v); });
    else {
        using I = int_of<F>;
        const F u = x + 1;
        const I k = (bitcast<I>(u) - 0x3f3504f3) & int32_t(0xff800000);
        const F s = bitcast<F>(0x3f800000 - k);  // 2^-e
        const F f = x < 1e9f ? fma(x, s, s - 1) : bitcast<F>(bitcast<I>(u) - k) - 1;
        F e;
        if constexpr (is_vector<F>) e = __builtin_convertvector(k >> 23, F);
        else e = float(k >> 23);
        const F y = fma(e, 0.693359375f, f + fma(e, -2.12194440e-4f, log_tail(f)));
        return x == 0 ? x : log_edges(u, y);
    }
}

// ------------------------------------------------------------------------------------------------ power
template <class F> struct double_of;
template <> struct double_of<float> {
    using type = double;
    using bits = int64_t;
};
template <> struct double_of<f32v> {
    using type = f64v;
    using bits = i64v;
};
/// Conversion at any width.
template <class To, class From> WL_INLINE To number(From x) {
    if constexpr (std::is_arithmetic_v<To>) return To(x);
    else return __builtin_convertvector(x, To);
}
template <class D> WL_INLINE D constant(double x) {
    if constexpr (is_vector<D>) return x - D{};
    else return x;
}
template <class D> WL_INLINE D horner(D x, D p) { return p; }
template <class D, class... C> WL_INLINE D horner(D x, D p, double next, C... rest) { return horner(x, D(p * x + next), rest...); }
/// |x|^y in double precision, for x finite and not 0: 2^(y * log2 |x|), log2 by the series of atanh.
template <class F> WL_INLINE F power_of_magnitude(F x, F y) {
    using D = typename double_of<F>::type;
    using B = typename double_of<F>::bits;
    const D a = number<D>(abs(x));
    const B k = (bitcast<B>(a) - 0x3fe6a09e667f3bcd) & int64_t(0xfff0000000000000);
    const D m = bitcast<D>(bitcast<B>(a) - k), s = (m - 1) / (m + 1), z = s * s;
    const D series = horner(z, constant<D>(1.0 / 13), 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0);
    D t = number<D>(y) * (number<D>(k >> 52) + s * series * 2.8853900817779268);
    t = max(min(t, constant<D>(300)), constant<D>(-300));
    const D whole = (t + 6755399441055744.0) - 6755399441055744.0, r = (t - whole) * 0.6931471805599453;
    const D e = horner(r, constant<D>(1.0 / 362880), 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0);
    return number<F>(e * bitcast<D>((number<B>(whole) + 1023) << 52));
}
/// x^y with the special values of C.
template <class F> WL_INLINE F pow(F x, F y) {
    if constexpr (!is_f32<F>) return each(x, y, [](double v, double w) { return __builtin_pow(v, w); });
    else {
        constexpr float inf = std::numeric_limits<float>::infinity();
        const F a = abs(x), zero = all_of<F>(0), one = all_of<F>(1), half = y * 0.5f;
        const auto whole = trunc(y) == y;
        const auto odd = whole & (trunc(half) != half);
        F r = power_of_magnitude(x, y);
        r = (a == 1) & (abs(y) == inf) ? one : r;
        r = (a == 0) | (a == inf) ? (((a == 0) == (y > 0)) ? zero : all_of<F>(inf)) : r;
        r = copy_sign(one, x) < 0 ? (odd ? -r : r) : r;
        r = (x < 0) & (a != inf) & (trunc(y) != y) ? all_of<F>(std::numeric_limits<float>::quiet_NaN()) : r;
        r = (x != x) | (y != y) ? x + y : r;
        return (y == 0) | (x == 1) ? one : r;
    }
}

// ------------------------------------------------------------------------------------------------ error function
/// After N. Juffa: an odd polynomial below 0.92, 1 - exp(polynomial) above.
template <class F> WL_INLINE F erf(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_erf(v); });
    else {
        const F t = abs(x), s = x * x;
        const F hi = fma(polynomial(t, -1.72853470e-5f, 3.83197126e-4f, -3.88396438e-3f, 2.42546219e-2f, -1.06777877e-1f, -6.34846687e-1f, -1.28717512e-1f), t, -t);
        const F lo = fma(polynomial(s, -5.96761703e-4f, 4.99119423e-3f, -2.67681349e-2f, 1.12819925e-1f, -3.76125336e-1f, 1.28379166e-1f), x, x);
        return t > 0.927734375f ? copy_sign(1 - exp_near(at_least(hi, -50.0f)), x) : lo;
    }
}
template <class F> WL_INLINE F erfc(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_erfc(v); });
    else return each(x, [](float v) { return __builtin_erfcf(v); });
}

// ------------------------------------------------------------------------------------------------ trigonometry
/// x - n * pi / 2 in three steps, and how far out that is accurate; beyond, libm reduces the argument.
#ifdef __FMA__
constexpr float far_angle = 48000, pi_half[] = {1.57079601e+00f, 3.13916473e-07f, 5.39030253e-15f};
#else
constexpr float far_angle = 4000, pi_half[] = {1.5703125f, 4.837512969970703125e-4f, 7.549789948768648e-8f};
#endif
/// sin(x + quarter * pi / 2)
template <class F> WL_INLINE F sine(F x, int quarter) {
    using I = int_of<F>;
    const F n = round(x * 0.636619772f);
    const F r = fma(n, -pi_half[2], fma(n, -pi_half[1], fma(n, -pi_half[0], x)));
    I k;
    if constexpr (is_vector<F>) k = __builtin_convertvector(at_least(at_most(n, 1e6f), -1e6f), I) + quarter;
    else k = int32_t(at_least(at_most(n, 1e6f), -1e6f)) + quarter;
    const F s = r * r;
    const F sin_r = fma(polynomial(s, 2.86567956e-6f, -1.98559923e-4f, 8.33338592e-3f, -1.66666672e-1f), s * r, r);
    const F cos_r = fma(polynomial(s, 2.44677067e-5f, -1.38877297e-3f, 4.16666567e-2f, -0.5f), s, 1);
    const F y = (k & 1) == 1 ? cos_r : sin_r;
    return (k & 2) == 2 ? -y : y;
}
template <class F> WL_INLINE F sin(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_sin(v); });
    else {
        const auto near = abs(x) < far_angle;
        F y = sine(x, 0);
        if (__builtin_expect(holds_any(!near), 0)) y = near ? y : each(x, [](float v) { return __builtin_sinf(v); });
        return y;
    }
}
template <class F> WL_INLINE F cos(F x) {
    if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_cos(v); });
    else {
        const auto near = abs(x) < far_angle;
        F y = sine(x, 1);
        if (__builtin_expect(holds_any(!near), 0)) y = near ? y : each(x, [](float v) { return __builtin_cosf(v); });
        return y;
    }
}
#define WL_EACH(name)                                                                                                         \
    template <class F> WL_INLINE F name(F x) {                                                                                \
        if constexpr (!is_f32<F>) return each(x, [](double v) { return __builtin_##name(v); });                               \
        else return each(x, [](float v) { return __builtin_##name##f(v); });                                                  \
    }
#define WL_EACH2(name)                                                                                                        \
    template <class F> WL_INLINE F name(F x, F y) {                                                                           \
        if constexpr (!is_f32<F>) return each(x, y, [](double v, double w) { return __builtin_##name(v, w); });               \
        else return each(x, y, [](float v, float w) { return __builtin_##name##f(v, w); });                                   \
    }
WL_EACH(tan)
WL_EACH(asin)
WL_EACH(acos)
WL_EACH(atan)
WL_EACH(asinh)
WL_EACH(acosh)
WL_EACH(atanh)
WL_EACH2(atan2)

// ------------------------------------------------------------------------------------------------ folds over the lanes
#define WL_FOLD(name, expression)                                                                                             \
    template <class V> WL_INLINE element<V> name(V a) {                                                                       \
        V b;                                                                                                                  \
        if constexpr (lanes > 8) b = rotate<8>(a), a = expression;                                                            \
        if constexpr (lanes > 4) b = rotate<4>(a), a = expression;                                                            \
        b = rotate<2>(a), a = expression;                                                                                     \
        b = rotate<1>(a), a = expression;                                                                                     \
        return a[0];                                                                                                          \
    }
WL_FOLD(fold_add, a + b)
WL_FOLD(fold_mul, a * b)
WL_FOLD(fold_max, max(a, b))
WL_FOLD(fold_min, min(a, b))
/// Inclusive scans of one vector.
#define WL_SCAN(name, expression)                                                                                             \
    template <class V> WL_INLINE V name(V a, element<V> identity) {                                                           \
        const V fill = identity - V{};                                                                                        \
        V b;                                                                                                                  \
        b = shift_in<1>(a, fill), a = expression;                                                                             \
        b = shift_in<2>(a, fill), a = expression;                                                                             \
        if constexpr (lanes > 4) b = shift_in<4>(a, fill), a = expression;                                                    \
        if constexpr (lanes > 8) b = shift_in<8>(a, fill), a = expression;                                                    \
        return a;                                                                                                             \
    }
WL_SCAN(scan_add, b + a)
WL_SCAN(scan_mul, b * a)
WL_SCAN(scan_max, max(b, a))
WL_SCAN(scan_min, min(b, a))

// ------------------------------------------------------------------------------------------------ atomics
template <class T, class G> WL_INLINE void atomically(T* p, G change) {
    using U = std::conditional_t<sizeof(T) == 8, uint64_t, std::conditional_t<sizeof(T) == 4, uint32_t, std::conditional_t<sizeof(T) == 2, uint16_t, uint8_t>>>;
    U old = __atomic_load_n((U*)p, __ATOMIC_RELAXED);
    T now;
    do {
        now = bitcast<T>(old);
        put(&now, change(get(&now)));
    } while (!__atomic_compare_exchange_n((U*)p, &old, bitcast<U>(now), true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}
}  // namespace wl
