// Cooperative groups: thread_block, tiles, coalesced groups. Grid-wide synchronisation needs all blocks at once and is refused.
#pragma once
#include "warploom/emulator.h"

namespace cooperative_groups {

namespace detail {
inline uint3 thread_place() { return ::wl::self->thread[::wl::self->current].index; }
inline unsigned rank_in_block() { return ::wl::self->current; }

// Lanes of one warp: `mask` names them, ranks count the lanes below.
struct Lanes {
  unsigned mask = ~0u;
  unsigned size() const { return static_cast<unsigned>(__popc(mask)); }
  unsigned num_threads() const { return size(); }
  unsigned thread_rank() const { return static_cast<unsigned>(__popc(mask & ((1u << ::wl::lane_id()) - 1))); }
  void sync() const { __syncwarp(mask); }
  int lane_of(int rank) const {
    unsigned rest = mask;
    for (; rank > 0 && rest; --rank) rest &= rest - 1;
    return rest ? __builtin_ctz(rest) : ::wl::lane_id();
  }
  unsigned ranks_of(unsigned lanes) const {
    unsigned packed = 0, rank = 0;
    for (unsigned rest = mask; rest; rest &= rest - 1, ++rank) packed |= (lanes >> __builtin_ctz(rest) & 1) << rank;
    return packed;
  }
  template <class T> WL_CALL T shfl(T v, int rank) const { return ::wl::exchange(mask, v, lane_of(rank % static_cast<int>(size())), WL_SITE); }
  template <class T> WL_CALL T shfl_down(T v, unsigned d) const {
    unsigned to = thread_rank() + d;
    return ::wl::exchange(mask, v, to < size() ? lane_of(static_cast<int>(to)) : ::wl::lane_id(), WL_SITE);
  }
  template <class T> WL_CALL T shfl_up(T v, unsigned d) const {
    unsigned me = thread_rank();
    return ::wl::exchange(mask, v, me >= d ? lane_of(static_cast<int>(me - d)) : ::wl::lane_id(), WL_SITE);
  }
  template <class T> WL_CALL T shfl_xor(T v, unsigned lanes) const {
    unsigned to = thread_rank() ^ lanes;
    return ::wl::exchange(mask, v, to < size() ? lane_of(static_cast<int>(to)) : ::wl::lane_id(), WL_SITE);
  }
  int any(int p) const { return __any_sync(mask, p); }
  int all(int p) const { return __all_sync(mask, p); }
  unsigned ballot(int p) const { return ranks_of(__ballot_sync(mask, p)); }
  template <class T> unsigned match_any(T v) const { return ranks_of(__match_any_sync(mask, v)); }
  template <class T> unsigned match_all(T v, int& all) const { return ranks_of(__match_all_sync(mask, v, &all)); }
};
}  // namespace detail

struct thread_block {
  static void sync() { __syncthreads(); }
  static unsigned size() { return ::wl::self->threads_in_block; }
  static unsigned num_threads() { return size(); }
  static unsigned thread_rank() { return detail::rank_in_block(); }
  static uint3 thread_index() { return detail::thread_place(); }
  static uint3 group_index() { return ::wl::self->block; }
  static dim3 group_dim() { return ::wl::self->block_dim; }
  static dim3 dim_threads() { return ::wl::self->block_dim; }
};
inline thread_block this_thread_block() { return {}; }

struct grid_group {
  static bool is_valid() { return false; }
  static unsigned long long size() {
    const dim3& g = ::wl::self->grid_dim;
    return 1ull * g.x * g.y * g.z * ::wl::self->threads_in_block;
  }
  static unsigned long long num_threads() { return size(); }
  static unsigned long long thread_rank() {
    const dim3& g = ::wl::self->grid_dim;
    const uint3& b = ::wl::self->block;
    return ((1ull * b.z * g.y + b.y) * g.x + b.x) * ::wl::self->threads_in_block + detail::rank_in_block();
  }
  static dim3 group_dim() { return ::wl::self->grid_dim; }
  static dim3 dim_blocks() { return ::wl::self->grid_dim; }
  static void sync() {
    const dim3& g = ::wl::self->grid_dim;
    if (1ull * g.x * g.y * g.z > 1) throw ::wl::Failure{"grid-wide synchronisation of more than one block is not supported by the emulator"};
    __syncthreads();
  }
};
inline grid_group this_grid() { return {}; }

struct coalesced_group : detail::Lanes {
  unsigned meta_group_size() const { return 1; }
  unsigned meta_group_rank() const { return 0; }
};
WL_CALL inline coalesced_group coalesced_threads() {
  coalesced_group g;
  g.mask = ::wl::converged_lanes(WL_SITE);
  return g;
}

// Up to a warp by shuffles; larger tiles (64 to 1024) may only synchronise together with their block.
template <unsigned kSize, class Parent = void>
struct thread_block_tile : detail::Lanes {
  static_assert(kSize <= 32 && (kSize & (kSize - 1)) == 0, "the emulator's tiles have 1, 2, 4, 8, 16 or 32 threads");
  thread_block_tile() {
    unsigned lane = static_cast<unsigned>(::wl::lane_id());
    mask = (kSize == 32 ? ~0u : ((1u << (kSize % 32)) - 1) << (lane & ~(kSize - 1))) & ::wl::existing_lanes();
  }
  template <class Group> explicit thread_block_tile(const Group&) : thread_block_tile() {}
  static constexpr unsigned size() { return kSize; }
  static constexpr unsigned num_threads() { return kSize; }
  static unsigned thread_rank() { return static_cast<unsigned>(::wl::lane_id()) & (kSize - 1); }
  static unsigned meta_group_rank() { return detail::rank_in_block() / kSize; }
  static unsigned meta_group_size() { return (::wl::self->threads_in_block + kSize - 1) / kSize; }
  template <class T> T shfl(T v, int rank) const { return __shfl_sync(mask, v, rank, kSize); }
  template <class T> T shfl_down(T v, unsigned d) const { return __shfl_down_sync(mask, v, d, kSize); }
  template <class T> T shfl_up(T v, unsigned d) const { return __shfl_up_sync(mask, v, d, kSize); }
  template <class T> T shfl_xor(T v, unsigned lanes) const { return __shfl_xor_sync(mask, v, static_cast<int>(lanes), kSize); }
};
template <unsigned kSize, class Group>
inline thread_block_tile<kSize> tiled_partition(const Group&) { return {}; }
template <class Group>
inline coalesced_group tiled_partition(const Group&, unsigned size) {
  coalesced_group g;
  unsigned lane = static_cast<unsigned>(::wl::lane_id());
  g.mask = (size >= 32 ? ~0u : ((1u << size) - 1) << (lane & ~(size - 1))) & ::wl::existing_lanes();
  return g;
}
WL_CALL inline coalesced_group binary_partition(const coalesced_group& parent, bool p) {
  coalesced_group g;
  unsigned yes = __ballot_sync(parent.mask, p) & parent.mask;
  g.mask = p ? yes : parent.mask & ~yes;
  return g;
}
template <class Group> inline void sync(const Group& g) { g.sync(); }
template <class Group> inline auto thread_rank(const Group& g) { return g.thread_rank(); }
template <class Group> inline auto group_size(const Group& g) { return g.size(); }

template <class T> struct plus { T operator()(T a, T b) const { return a + b; } };
template <class T> struct less { T operator()(T a, T b) const { return b < a ? b : a; } };
template <class T> struct greater { T operator()(T a, T b) const { return a < b ? b : a; } };
template <class T> struct bit_and { T operator()(T a, T b) const { return a & b; } };
template <class T> struct bit_or { T operator()(T a, T b) const { return a | b; } };
template <class T> struct bit_xor { T operator()(T a, T b) const { return a ^ b; } };

// Every lane gets the same total: lanes are combined in the order of a butterfly, as on a GPU.
template <class Group, class T, class Combine>
inline T reduce(const Group& g, T v, Combine combine) {
  unsigned n = g.size();
  if ((n & (n - 1)) == 0) {
    for (unsigned step = n / 2; step > 0; step /= 2) v = combine(v, g.shfl_xor(v, step));
    return v;
  }
  T total = g.shfl(v, 0);
  for (unsigned rank = 1; rank < n; ++rank) total = combine(total, g.shfl(v, static_cast<int>(rank)));
  return total;
}
template <class Group, class T, class Combine>
inline T inclusive_scan(const Group& g, T v, Combine combine) {
  for (unsigned step = 1; step < g.size(); step *= 2) {
    T below = g.shfl_up(v, step);
    if (g.thread_rank() >= step) v = combine(below, v);
  }
  return v;
}
template <class Group, class T> inline T inclusive_scan(const Group& g, T v) { return inclusive_scan(g, v, plus<T>{}); }
template <class Group, class T, class Combine>
inline T exclusive_scan(const Group& g, T v, Combine combine) {
  T below = g.shfl_up(inclusive_scan(g, v, combine), 1);
  return g.thread_rank() == 0 ? T{} : below;
}
template <class Group, class T> inline T exclusive_scan(const Group& g, T v) { return exclusive_scan(g, v, plus<T>{}); }
template <class Group, class T>
inline void memcpy_async(const Group& g, T* to, const T* from, size_t bytes) {
  size_t n = bytes / sizeof(T);
  for (size_t i = g.thread_rank(); i < n; i += g.size()) to[i] = from[i];
}
template <class Group, class T>
inline void memcpy_async(const Group& g, T* to, size_t there, const T* from, size_t here) {
  memcpy_async(g, to, from, (there < here ? there : here) * sizeof(T));
}
template <class Group> inline void wait(const Group& g) { g.sync(); }
template <unsigned kPrior, class Group> inline void wait_prior(const Group& g) { g.sync(); }

}  // namespace cooperative_groups
