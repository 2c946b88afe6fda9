// Barriers, shuffles, votes and fences, in CUDA's names.
#pragma once
#include <type_traits>

#include "block.h"

constexpr int warpSize = 32;

namespace wl {

template <class T>
WL_QUIET inline __attribute__((always_inline)) T exchange(unsigned mask, T value, int source, const void* site) {
  static_assert(sizeof(T) <= kMaxSlot, "a value of at most 32 bytes");
  Request& r = self->thread[self->current].request;
  std::memcpy(r.value, &value, sizeof(T));
  r.bytes = sizeof(T);
  r.source = source;
  meet_warp(mask, site, 0);
  T got;
  std::memcpy(&got, r.got, sizeof(T));
  return got;
}

WL_QUIET inline unsigned vote(unsigned mask, Vote kind, bool predicate, const void* site, int synchronises = 0) {
  Request& r = self->thread[self->current].request;
  r.source = -1;
  r.vote = kind;
  r.predicate = predicate;
  meet_warp(mask, site, synchronises);
  return r.result;
}

template <class T>
WL_QUIET inline unsigned match(unsigned mask, Vote kind, T value, const void* site) {
  Request& r = self->thread[self->current].request;
  std::memcpy(r.value, &value, sizeof(T));
  r.bytes = sizeof(T);
  r.source = -1;
  r.vote = kind;
  meet_warp(mask, site, 0);
  return r.result;
}

inline int lane_id() { return static_cast<int>(self->current % kWarp); }
inline unsigned existing_lanes() {
  unsigned first = self->current / kWarp * kWarp, rest = self->threads_in_block - first;
  return rest >= kWarp ? ~0u : (1u << rest) - 1;
}
WL_QUIET inline unsigned block_vote(bool predicate, const void* site) {
  Request& r = self->thread[self->current].request;
  r.predicate = predicate;
  wait_at_barrier(site, true);
  return r.result;
}

}  // namespace wl

WL_CALL inline void __syncthreads() { wl::wait_at_barrier(WL_SITE, false); }
WL_CALL inline int __syncthreads_count(int p) { return static_cast<int>(wl::block_vote(p != 0, WL_SITE)); }
WL_CALL inline int __syncthreads_and(int p) {
  unsigned failing = wl::block_vote(p == 0, WL_SITE);
  return failing == 0;
}
WL_CALL inline int __syncthreads_or(int p) { return wl::block_vote(p != 0, WL_SITE) != 0; }
WL_CALL inline void __syncwarp(unsigned mask = ~0u) { wl::vote(mask, wl::Vote::none, false, WL_SITE, 1); }
inline void __barrier_sync(unsigned) { __syncthreads(); }

template <class T>
WL_CALL T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  int lane = wl::lane_id();
  return wl::exchange(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), WL_SITE);
}
template <class T>
WL_CALL T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  int lane = wl::lane_id();
  bool inside = static_cast<unsigned>(lane & (width - 1)) + delta < static_cast<unsigned>(width);
  return wl::exchange(mask, value, inside ? lane + static_cast<int>(delta) : lane, WL_SITE);
}
template <class T>
WL_CALL T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  int lane = wl::lane_id();
  bool inside = static_cast<unsigned>(lane & (width - 1)) >= delta;
  return wl::exchange(mask, value, inside ? lane - static_cast<int>(delta) : lane, WL_SITE);
}
template <class T>
WL_CALL T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  int lane = wl::lane_id(), other = lane ^ lanes;
  return wl::exchange(mask, value, other > (lane | (width - 1)) ? lane : other, WL_SITE);
}
// The forms before CUDA 9 name no mask: they act on the lanes that are there.
template <class T>
WL_CALL T __shfl(T v, int source, int width = 32) {
  return __shfl_sync(wl::existing_lanes(), v, source, width);
}
template <class T>
WL_CALL T __shfl_down(T v, unsigned delta, int width = 32) {
  return __shfl_down_sync(wl::existing_lanes(), v, delta, width);
}
template <class T>
WL_CALL T __shfl_up(T v, unsigned delta, int width = 32) {
  return __shfl_up_sync(wl::existing_lanes(), v, delta, width);
}
template <class T>
WL_CALL T __shfl_xor(T v, int lanes, int width = 32) {
  return __shfl_xor_sync(wl::existing_lanes(), v, lanes, width);
}

WL_CALL inline unsigned __ballot_sync(unsigned mask, int p) { return wl::vote(mask, wl::Vote::ballot, p != 0, WL_SITE); }
WL_CALL inline int __any_sync(unsigned mask, int p) { return wl::vote(mask, wl::Vote::ballot, p != 0, WL_SITE) != 0; }
WL_CALL inline int __all_sync(unsigned mask, int p) { return wl::vote(mask, wl::Vote::ballot, p == 0, WL_SITE) == 0; }
WL_CALL inline int __uni_sync(unsigned mask, int p) {
  unsigned yes = wl::vote(mask, wl::Vote::ballot, p != 0, WL_SITE);
  return yes == 0 || wl::vote(mask, wl::Vote::ballot, p == 0, WL_SITE) == 0;
}
WL_CALL inline unsigned __activemask() { return wl::converged_lanes(WL_SITE); }
template <class T>
WL_CALL unsigned __match_any_sync(unsigned mask, T value) {
  return wl::match(mask, wl::Vote::match_any, value, WL_SITE);
}
template <class T>
WL_CALL unsigned __match_all_sync(unsigned mask, T value, int* all) {
  unsigned same = wl::match(mask, wl::Vote::match_all, value, WL_SITE);
  *all = same != 0;
  return same;
}

namespace wl {
template <class T, class Combine>
T reduce_lanes(unsigned mask, T value, Combine combine) {
  T total = value;
  bool first = true;
  for (unsigned rest = mask; rest; rest &= rest - 1) {
    T other = exchange(mask, value, __builtin_ctz(rest), WL_SITE);
    total = first ? other : combine(total, other);
    first = false;
  }
  return total;
}
}  // namespace wl
#define WL_REDUCE(NAME, EXPRESSION)                                                  \
  template <class T>                                                                 \
  T NAME(unsigned mask, T value) {                                                   \
    return wl::reduce_lanes(mask, value, [](T a, T b) -> T { return EXPRESSION; });  \
  }
WL_REDUCE(__reduce_add_sync, a + b)
WL_REDUCE(__reduce_min_sync, a < b ? a : b)
WL_REDUCE(__reduce_max_sync, a > b ? a : b)
WL_REDUCE(__reduce_and_sync, a& b)
WL_REDUCE(__reduce_or_sync, a | b)
WL_REDUCE(__reduce_xor_sync, a ^ b)
#undef WL_REDUCE

WL_QUIET inline void __threadfence() {
  WL_HOOK(wl::wl_check_fence());
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
WL_QUIET inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
WL_QUIET inline void __threadfence_system() { __threadfence(); }
inline void __nanosleep(unsigned) { wl::defer(); }
