// Volatile accesses of a warp in step. Code that leaves out __syncwarp in a warp's last reduction steps expects it; the
// compiler (-fsanitize=thread, tsan-distinguish-volatile) calls the hooks below around every access.
#pragma once
#include "block.h"

#if defined(WL_VOLATILE) && !defined(WL_CHECK)
namespace wl {
WL_QUIET inline void step_warp(const void* site) {
  if (self) step_lane(*self, site);
}
}  // namespace wl

extern "C" {
#define WL_TSAN(NAME) __attribute__((weak, no_sanitize_thread)) void __tsan_##NAME
#define WL_TSAN_SIZE(N)                                                                                \
  WL_TSAN(volatile_read##N)(void*) { wl::step_warp(__builtin_return_address(0)); }                     \
  WL_TSAN(volatile_write##N)(void*) { wl::step_warp(__builtin_return_address(0)); }                    \
  WL_TSAN(unaligned_volatile_read##N)(void*) { wl::step_warp(__builtin_return_address(0)); }           \
  WL_TSAN(unaligned_volatile_write##N)(void*) { wl::step_warp(__builtin_return_address(0)); }          \
  WL_TSAN(read##N)(void*) {}                                                                           \
  WL_TSAN(write##N)(void*) {}                                                                          \
  WL_TSAN(unaligned_read##N)(void*) {}                                                                 \
  WL_TSAN(unaligned_write##N)(void*) {}
WL_TSAN_SIZE(1) WL_TSAN_SIZE(2) WL_TSAN_SIZE(4) WL_TSAN_SIZE(8) WL_TSAN_SIZE(16)
WL_TSAN(read_range)(void*, long) {}
WL_TSAN(write_range)(void*, long) {}
WL_TSAN(func_entry)(void*) {}
WL_TSAN(func_exit)(void*) {}
WL_TSAN(vptr_update)(void*, void*) {}
WL_TSAN(vptr_read)(void*) {}
WL_TSAN(init)() {}
#define WL_WEAK __attribute__((weak, no_sanitize_thread))
#define WL_TSAN_ATOMIC(N, T)                                                                                                                                                       \
  WL_WEAK T __tsan_atomic##N##_load(const volatile void* p, int) { return __atomic_load_n((const volatile T*)p, 5); }                                                              \
  WL_WEAK void __tsan_atomic##N##_store(volatile void* p, T v, int) { __atomic_store_n((volatile T*)p, v, 5); }                                                                    \
  WL_WEAK T __tsan_atomic##N##_exchange(volatile void* p, T v, int) { return __atomic_exchange_n((volatile T*)p, v, 5); }                                                          \
  WL_WEAK T __tsan_atomic##N##_fetch_add(volatile void* p, T v, int) { return __atomic_fetch_add((volatile T*)p, v, 5); }                                                          \
  WL_WEAK T __tsan_atomic##N##_fetch_sub(volatile void* p, T v, int) { return __atomic_fetch_sub((volatile T*)p, v, 5); }                                                          \
  WL_WEAK T __tsan_atomic##N##_fetch_and(volatile void* p, T v, int) { return __atomic_fetch_and((volatile T*)p, v, 5); }                                                          \
  WL_WEAK T __tsan_atomic##N##_fetch_or(volatile void* p, T v, int) { return __atomic_fetch_or((volatile T*)p, v, 5); }                                                            \
  WL_WEAK T __tsan_atomic##N##_fetch_xor(volatile void* p, T v, int) { return __atomic_fetch_xor((volatile T*)p, v, 5); }                                                          \
  WL_WEAK bool __tsan_atomic##N##_compare_exchange_strong(volatile void* p, void* e, T v, int, int) { return __atomic_compare_exchange_n((volatile T*)p, (T*)e, v, false, 5, 5); } \
  WL_WEAK bool __tsan_atomic##N##_compare_exchange_weak(volatile void* p, void* e, T v, int, int) { return __atomic_compare_exchange_n((volatile T*)p, (T*)e, v, false, 5, 5); }
WL_TSAN_ATOMIC(8, unsigned char) WL_TSAN_ATOMIC(16, unsigned short) WL_TSAN_ATOMIC(32, unsigned) WL_TSAN_ATOMIC(64, unsigned long)
WL_WEAK void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(5); }
}
#endif
