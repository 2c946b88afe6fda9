// Atomic functions, in CUDA's names: real atomics of the host, so that blocks may run on several cores.
#pragma once
#include <cstring>
#include <type_traits>

#include "block.h"
#include "screen.h"

namespace wl {

template <size_t kBytes> struct Bits;
template <> struct Bits<1> { using type = unsigned char; };
template <> struct Bits<2> { using type = unsigned short; };
template <> struct Bits<4> { using type = unsigned int; };
template <> struct Bits<8> { using type = unsigned long long; };

// A thread that keeps retrying lets the others move now and then.
WL_QUIET inline void count_retry() {
  if (self && self->fibers && ++self->spins > (self->spin_rounds ? 8u : 2048u)) {
    self->spins = 0;
    defer();
  }
}

template <class To, class From>
WL_QUIET inline __attribute__((always_inline)) To bits_as(From from) {
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// old = *p; *p = combine(old); returns old.
template <class T, class Combine>
WL_QUIET inline __attribute__((always_inline)) T update(T* p, Combine combine) {
  using Word = typename Bits<sizeof(T)>::type;
  Word* word = reinterpret_cast<Word*>(p);
  Word seen = __atomic_load_n(word, __ATOMIC_RELAXED);
  for (;;) {
    T old = bits_as<T>(seen);
    Word wanted = bits_as<Word>(static_cast<T>(combine(old)));
    if (__atomic_compare_exchange_n(word, &seen, wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return old;
  }
}

template <class T> struct Same { using type = T; };
template <class T> using Given = typename Same<T>::type;
template <class T> constexpr bool is_word = std::is_integral_v<T> && sizeof(T) >= 4;

}  // namespace wl

// The checker is told of an atomic once, with the place that called it.
#ifdef WL_SCREEN
#define WL_ATOMIC_SEEN(READS) wl::screen::access_atomic(p, sizeof(T))
#else
#define WL_ATOMIC_SEEN(READS) WL_HOOK(wl::wl_check_atomic(p, sizeof(T), READS, WL_SITE))
#endif
#if defined(WL_CHECK) || defined(WL_SCREEN)
#define WL_ATOMIC WL_CALL
#else
#define WL_ATOMIC inline
#endif

template <class T>
WL_ATOMIC T atomicAdd(T* p, wl::Given<T> v) {
  WL_ATOMIC_SEEN(1);
  if constexpr (wl::is_word<T>)
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
  else
    return wl::update(p, [v](T old) { return old + v; });
}
template <class T>
WL_ATOMIC T atomicSub(T* p, wl::Given<T> v) {
  WL_ATOMIC_SEEN(1);
  return wl::update(p, [v](T old) { return old - v; });
}
template <class T>
WL_ATOMIC T atomicMin(T* p, wl::Given<T> v) {
  WL_ATOMIC_SEEN(1);
  return wl::update(p, [v](T old) { return v < old ? v : old; });
}
template <class T>
WL_ATOMIC T atomicMax(T* p, wl::Given<T> v) {
  WL_ATOMIC_SEEN(1);
  return wl::update(p, [v](T old) { return v > old ? v : old; });
}
template <class T>
WL_ATOMIC T atomicAnd(T* p, wl::Given<T> v) {
  WL_ATOMIC_SEEN(1);
  return __atomic_fetch_and(p, v, __ATOMIC_RELAXED);
}
template <class T>
WL_ATOMIC T atomicOr(T* p, wl::Given<T> v) {
  WL_ATOMIC_SEEN(1);
  return __atomic_fetch_or(p, v, __ATOMIC_RELAXED);
}
template <class T>
WL_ATOMIC T atomicXor(T* p, wl::Given<T> v) {
  WL_ATOMIC_SEEN(1);
  return __atomic_fetch_xor(p, v, __ATOMIC_RELAXED);
}
template <class T>
WL_ATOMIC T atomicInc(T* p, wl::Given<T> limit) {
  WL_ATOMIC_SEEN(1);
  return wl::update(p, [limit](T old) { return old >= limit ? T(0) : T(old + 1); });
}
template <class T>
WL_ATOMIC T atomicDec(T* p, wl::Given<T> limit) {
  WL_ATOMIC_SEEN(1);
  return wl::update(p, [limit](T old) { return old == 0 || old > limit ? limit : T(old - 1); });
}
template <class T>
WL_ATOMIC T atomicExch(T* p, wl::Given<T> v) {
  WL_ATOMIC_SEEN(0);
  using Word = typename wl::Bits<sizeof(T)>::type;
  wl::count_retry();
  return wl::bits_as<T>(__atomic_exchange_n(reinterpret_cast<Word*>(p), wl::bits_as<Word>(v), __ATOMIC_RELAXED));
}
template <class T>
WL_ATOMIC T atomicCAS(T* p, wl::Given<T> expected, wl::Given<T> wanted) {
  WL_ATOMIC_SEEN(2);
  using Word = typename wl::Bits<sizeof(T)>::type;
  Word seen = wl::bits_as<Word>(expected);
  wl::count_retry();
  __atomic_compare_exchange_n(reinterpret_cast<Word*>(p), &seen, wl::bits_as<Word>(wanted), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return wl::bits_as<T>(seen);
}
#define WL_SCOPED(NAME)                                                                                    \
  template <class T, class... V> inline T NAME##_block(T* p, V... v) { return NAME(p, static_cast<T>(v)...); } \
  template <class T, class... V> inline T NAME##_system(T* p, V... v) { return NAME(p, static_cast<T>(v)...); } \
  template <class T, class... V> inline T NAME(volatile T* p, V... v) { return NAME(const_cast<T*>(p), static_cast<T>(v)...); }
WL_SCOPED(atomicAdd) WL_SCOPED(atomicSub) WL_SCOPED(atomicMin) WL_SCOPED(atomicMax) WL_SCOPED(atomicAnd) WL_SCOPED(atomicOr)
WL_SCOPED(atomicXor) WL_SCOPED(atomicInc) WL_SCOPED(atomicDec) WL_SCOPED(atomicExch) WL_SCOPED(atomicCAS)
#undef WL_SCOPED
