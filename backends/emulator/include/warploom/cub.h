// CUB's reductions, scans, loads and stores of a block or a warp. Device-wide algorithms are not here.
#pragma once
#include "emulator.h"

namespace cub {

struct Sum { template <class T> T operator()(T a, T b) const { return a + b; } };
struct Max { template <class T> T operator()(T a, T b) const { return a < b ? b : a; } };
struct Min { template <class T> T operator()(T a, T b) const { return b < a ? b : a; } };
template <class K, class V> struct KeyValuePair { using Key = K; using Value = V; K key; V value; };
struct ArgMax {
  template <class P> P operator()(const P& a, const P& b) const { return b.value > a.value || (a.value == b.value && b.key < a.key) ? b : a; }
};
struct ArgMin {
  template <class P> P operator()(const P& a, const P& b) const { return b.value < a.value || (a.value == b.value && b.key < a.key) ? b : a; }
};
enum BlockReduceAlgorithm { BLOCK_REDUCE_RAKING_COMMUTATIVE_ONLY, BLOCK_REDUCE_RAKING, BLOCK_REDUCE_WARP_REDUCTIONS };
enum BlockScanAlgorithm { BLOCK_SCAN_RAKING, BLOCK_SCAN_RAKING_MEMOIZE, BLOCK_SCAN_WARP_SCANS };
enum BlockLoadAlgorithm { BLOCK_LOAD_DIRECT, BLOCK_LOAD_STRIPED, BLOCK_LOAD_VECTORIZE, BLOCK_LOAD_TRANSPOSE, BLOCK_LOAD_WARP_TRANSPOSE };
enum BlockStoreAlgorithm { BLOCK_STORE_DIRECT, BLOCK_STORE_STRIPED, BLOCK_STORE_VECTORIZE, BLOCK_STORE_TRANSPOSE, BLOCK_STORE_WARP_TRANSPOSE };

namespace detail {
inline unsigned rank() { return ::wl::self->current; }

// `n` threads, of which the calling one is number `me`, meet at `sync`; each leaves its partial in `slots`.
template <class T, class Sync, class Combine>
inline T reduce(T* slots, T v, unsigned me, unsigned n, Sync sync, Combine combine) {
  if (me < n) slots[me] = v;
  sync();
  T total = slots[0];
  for (unsigned i = 1; me == 0 && i < n; ++i) total = combine(total, slots[i]);
  return total;
}
// What lies below the calling thread; `total` covers all.
template <class T, class Sync, class Combine>
inline T below(T* slots, T v, unsigned me, unsigned n, Sync sync, Combine combine, T& total) {
  slots[me] = v;
  sync();
  T sum = slots[0], before = slots[0];
  for (unsigned i = 1; i < n; ++i) {
    if (i == me) before = sum;
    sum = combine(sum, slots[i]);
  }
  total = sum;
  return before;
}
}  // namespace detail

template <class T, int kX, BlockReduceAlgorithm = BLOCK_REDUCE_WARP_REDUCTIONS, int kY = 1, int kZ = 1, int = 0>
class BlockReduce {
 public:
  struct TempStorage { T slots[kX * kY * kZ]; };
  explicit BlockReduce(TempStorage& t) : storage(t) {}
  template <class Combine> T Reduce(T v, Combine c, int valid = kX * kY * kZ) {
    return detail::reduce(storage.slots, v, detail::rank(), static_cast<unsigned>(valid), [] { __syncthreads(); }, c);
  }
  template <int kItems, class Combine> T Reduce(T (&v)[kItems], Combine c) {
    T own = v[0];
    for (int i = 1; i < kItems; ++i) own = c(own, v[i]);
    return Reduce(own, c);
  }
  T Sum(T v) { return Reduce(v, cub::Sum{}); }
  T Sum(T v, int valid) { return Reduce(v, cub::Sum{}, valid); }
  template <int kItems> T Sum(T (&v)[kItems]) { return Reduce(v, cub::Sum{}); }

 private:
  TempStorage& storage;
};

template <class T, int kWidth = 32, int = 0>
class WarpReduce {
 public:
  struct TempStorage { char unused; };
  explicit WarpReduce(TempStorage&) {}
  template <class Combine> T Reduce(T v, Combine c, int valid = kWidth) {
    unsigned lane = static_cast<unsigned>(::wl::lane_id()), me = lane % kWidth;
    unsigned mask = (kWidth == 32 ? ~0u : ((1u << (kWidth % 32)) - 1) << (lane - me)) & ::wl::existing_lanes();
    for (int step = 1; step < kWidth; step *= 2) {
      T other = __shfl_down_sync(mask, v, step, kWidth);
      if (static_cast<int>(me) + step < valid && me % (2 * step) == 0) v = c(v, other);
    }
    return v;
  }
  T Sum(T v) { return Reduce(v, cub::Sum{}); }
  T Sum(T v, int valid) { return Reduce(v, cub::Sum{}, valid); }
};

// The four scans of a group, given how it finds what lies below a thread.
template <class Group, class T>
struct Scans {
  template <class Combine> void InclusiveScan(T in, T& out, Combine c) { T total; InclusiveScan(in, out, c, total); }
  template <class Combine> void InclusiveScan(T in, T& out, Combine c, T& total) {
    T before = group().below(in, c, total);
    out = group().me() ? c(before, in) : in;
  }
  template <class Combine> void ExclusiveScan(T in, T& out, T first, Combine c) { T total; ExclusiveScan(in, out, first, c, total); }
  template <class Combine> void ExclusiveScan(T in, T& out, T first, Combine c, T& total) {
    T before = group().below(in, c, total);
    out = group().me() ? c(first, before) : first;
  }
  template <class Combine> void ExclusiveScan(T in, T& out, Combine c) { T total; out = group().below(in, c, total); }
  void InclusiveSum(T in, T& out) { InclusiveScan(in, out, Sum{}); }
  void InclusiveSum(T in, T& out, T& total) { InclusiveScan(in, out, Sum{}, total); }
  void ExclusiveSum(T in, T& out) { ExclusiveScan(in, out, T(0), Sum{}); }
  void ExclusiveSum(T in, T& out, T& total) { ExclusiveScan(in, out, T(0), Sum{}, total); }
  // Of several items a thread. What lies below the first thread's items is `first`, where there is one.
  template <int kItems, class Combine> void InclusiveScan(T (&in)[kItems], T (&out)[kItems], Combine c, T& total) {
    T sum = before(in, c, total);
    for (int i = 0; i < kItems; ++i) out[i] = sum = i == 0 && group().me() == 0 ? in[0] : c(sum, in[i]);
  }
  template <int kItems, class Combine> void InclusiveScan(T (&in)[kItems], T (&out)[kItems], Combine c) { T total; InclusiveScan(in, out, c, total); }
  template <int kItems, class Combine> void ExclusiveScan(T (&in)[kItems], T (&out)[kItems], T first, Combine c, T& total) {
    T sum = before(in, c, total);
    sum = group().me() ? c(first, sum) : first;
    for (int i = 0; i < kItems; ++i) {
      T next = c(sum, in[i]);
      out[i] = sum;
      sum = next;
    }
  }
  template <int kItems, class Combine> void ExclusiveScan(T (&in)[kItems], T (&out)[kItems], T first, Combine c) {
    T total;
    ExclusiveScan(in, out, first, c, total);
  }
  template <int kItems> void InclusiveSum(T (&in)[kItems], T (&out)[kItems]) { InclusiveScan(in, out, Sum{}); }
  template <int kItems> void InclusiveSum(T (&in)[kItems], T (&out)[kItems], T& total) { InclusiveScan(in, out, Sum{}, total); }
  template <int kItems> void ExclusiveSum(T (&in)[kItems], T (&out)[kItems]) { ExclusiveScan(in, out, T(0), Sum{}); }
  template <int kItems> void ExclusiveSum(T (&in)[kItems], T (&out)[kItems], T& total) { ExclusiveScan(in, out, T(0), Sum{}, total); }

 private:
  template <int kItems, class Combine> T before(T (&in)[kItems], Combine c, T& total) {
    T own = in[0];
    for (int i = 1; i < kItems; ++i) own = c(own, in[i]);
    return group().below(own, c, total);
  }
  Group& group() { return *static_cast<Group*>(this); }
};

template <class T, int kX, BlockScanAlgorithm kHow = BLOCK_SCAN_RAKING, int kY = 1, int kZ = 1, int kArch = 0>
class BlockScan : public Scans<BlockScan<T, kX, kHow, kY, kZ, kArch>, T> {
 public:
  struct TempStorage { T slots[kX * kY * kZ]; };
  explicit BlockScan(TempStorage& t) : slots(t.slots) {}
  unsigned me() const { return detail::rank(); }
  template <class Combine> T below(T v, Combine c, T& total) {
    return detail::below(slots, v, me(), ::wl::self->threads_in_block, [] { __syncthreads(); }, c, total);
  }

 private:
  T* slots;
};
template <class T, int kWidth = 32, int kArch = 0>
class WarpScan : public Scans<WarpScan<T, kWidth, kArch>, T> {
 public:
  struct TempStorage { T slots[kWidth]; };
  explicit WarpScan(TempStorage& t) : slots(t.slots) {}
  unsigned me() const { return static_cast<unsigned>(::wl::lane_id()) % kWidth; }
  template <class Combine> T below(T v, Combine c, T& total) {
    unsigned lane = static_cast<unsigned>(::wl::lane_id());
    unsigned mask = (kWidth == 32 ? ~0u : ((1u << (kWidth % 32)) - 1) << (lane - me())) & ::wl::existing_lanes();
    unsigned n = static_cast<unsigned>(__popc(mask));
    T before = detail::below(slots, v, me(), n, [mask] { __syncwarp(mask); }, c, total);
    __syncwarp(mask);
    return before;
  }

 private:
  T* slots;
};

template <class T, int kX, int kItems, BlockLoadAlgorithm kHow = BLOCK_LOAD_DIRECT, int = 1, int = 1, int = 0>
struct BlockLoad {
  struct TempStorage { char unused; };
  BlockLoad() {}
  explicit BlockLoad(TempStorage&) {}
  static unsigned place(int i) { return kHow == BLOCK_LOAD_STRIPED ? i * kX + detail::rank() : detail::rank() * kItems + i; }
  template <class From> void Load(From from, T (&v)[kItems]) { for (int i = 0; i < kItems; ++i) v[i] = from[place(i)]; }
  template <class From> void Load(From from, T (&v)[kItems], int valid) {
    for (int i = 0; i < kItems; ++i) if (static_cast<int>(place(i)) < valid) v[i] = from[place(i)];
  }
  template <class From> void Load(From from, T (&v)[kItems], int valid, T fill) {
    for (int i = 0; i < kItems; ++i) v[i] = static_cast<int>(place(i)) < valid ? from[place(i)] : fill;
  }
};
template <class T, int kX, int kItems, BlockStoreAlgorithm kHow = BLOCK_STORE_DIRECT, int = 1, int = 1, int = 0>
struct BlockStore {
  struct TempStorage { char unused; };
  BlockStore() {}
  explicit BlockStore(TempStorage&) {}
  static unsigned place(int i) { return kHow == BLOCK_STORE_STRIPED ? i * kX + detail::rank() : detail::rank() * kItems + i; }
  template <class To> void Store(To to, T (&v)[kItems]) { for (int i = 0; i < kItems; ++i) to[place(i)] = v[i]; }
  template <class To> void Store(To to, T (&v)[kItems], int valid) {
    for (int i = 0; i < kItems; ++i) if (static_cast<int>(place(i)) < valid) to[place(i)] = v[i];
  }
};

}  // namespace cub
