// nvcuda::wmma: a warp's matrices. Which lane holds which element is nobody's business but this file's: element e of a matrix, row by row,
// is x[e / 32] of lane e % 32.
#pragma once
#include "warploom/emulator.h"
#include "warploom/tensor.h"

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32;
}

template <class T> struct Stored { using type = T; };
template <> struct Stored<precision::tf32> { using type = float; };

template <class Use, int m, int n, int k, class T, class Layout = void>
class fragment {
 public:
  static constexpr int kRows = std::is_same_v<Use, matrix_b> ? k : m;
  static constexpr int kColumns = std::is_same_v<Use, matrix_a> ? k : n;
  static constexpr int num_elements = kRows * kColumns / 32;
  static constexpr int num_storage_elements = num_elements;
  using element_type = T;
  using storage_element_type = typename Stored<T>::type;
  storage_element_type x[num_elements];
};

template <class F, class V>
inline void fill_fragment(F& f, const V& value) {
  for (auto& x : f.x) x = static_cast<typename F::storage_element_type>(value);
}

template <class F, class P, class Move>
inline __attribute__((always_inline)) void each_element(F& f, P* p, unsigned stride, bool rows, Move move) {
  for (int i = 0; i < F::num_elements; ++i) {
    unsigned e = static_cast<unsigned>(i * 32 + ::wl::lane_id()), r = e / F::kColumns, c = e % F::kColumns;
    move(f.x[i], p[rows ? r * stride + c : c * stride + r]);
  }
}
template <class F, class P>
inline __attribute__((always_inline)) void load_as(F& f, const P* p, unsigned stride, bool rows) {
  ::__syncwarp();
  each_element(f, p, stride, rows, [](auto& x, const P& at) __attribute__((always_inline)) { x = at; });
}

template <class Use, int m, int n, int k, class T, class Layout, class P>
inline __attribute__((always_inline)) void load_matrix_sync(fragment<Use, m, n, k, T, Layout>& f, const P* p, unsigned stride) {
  load_as(f, p, stride, std::is_same_v<Layout, row_major>);
}
template <int m, int n, int k, class T, class P>
inline __attribute__((always_inline)) void load_matrix_sync(fragment<accumulator, m, n, k, T>& f, const P* p, unsigned stride, layout_t layout) {
  load_as(f, p, stride, layout == mem_row_major);
}
template <int m, int n, int k, class T, class P>
inline __attribute__((always_inline)) void store_matrix_sync(P* p, const fragment<accumulator, m, n, k, T>& f, unsigned stride, layout_t layout) {
  ::__syncwarp();
  each_element(f, p, stride, layout == mem_row_major, [](const T& x, P& at) __attribute__((always_inline)) { at = x; });
  ::__syncwarp();
}

template <class T, class Sum>
inline Sum factor(T v) {
  if constexpr (std::is_same_v<T, float>) return ::wl::reinterpret<float>(::wl::reinterpret<uint32_t>(v) & 0xffffe000);  // tf32
  else return static_cast<Sum>(v);
}

// What the lanes bring to one product.
template <class D, class A, class B, class C>
struct Meeting {
  D* d;
  const A* a;
  const B* b;
  const C* c;
  using T = typename C::storage_element_type;
  using Sum = std::conditional_t<std::is_same_v<T, __half>, float, T>;

  WL_QUIET static void run(void** lanes) {
    auto at = [&](int e) -> Meeting& { return *static_cast<Meeting*>(lanes[e % 32]); };
    constexpr int m = A::kRows, k = A::kColumns, n = B::kColumns;
    Sum right[k][n];
    for (int e = 0; e < k * n; ++e) right[e / n][e % n] = factor<typename B::storage_element_type, Sum>(at(e).b->x[e / 32]);
    for (int row = 0; row < m; ++row) {
      Sum total[n];
      for (int j = 0; j < n; ++j) total[j] = static_cast<Sum>(at(row * n + j).c->x[(row * n + j) / 32]);
      for (int q = 0; q < k; ++q) {
        Sum left = factor<typename A::storage_element_type, Sum>(at(row * k + q).a->x[(row * k + q) / 32]);
        for (int j = 0; j < n; ++j) total[j] += left * right[q][j];
      }
      for (int j = 0; j < n; ++j) at(row * n + j).d->x[(row * n + j) / 32] = static_cast<typename D::storage_element_type>(total[j]);
    }
  }
};

template <int m, int n, int k, class TD, class T, class LA, class LB, class TC>
WL_CALL void mma_sync(fragment<accumulator, m, n, k, TD>& d, const fragment<matrix_a, m, n, k, T, LA>& a, const fragment<matrix_b, m, n, k, T, LB>& b,
                      const fragment<accumulator, m, n, k, TC>& c, bool = false) {
  using M = Meeting<fragment<accumulator, m, n, k, TD>, fragment<matrix_a, m, n, k, T, LA>, fragment<matrix_b, m, n, k, T, LB>, fragment<accumulator, m, n, k, TC>>;
  M meeting{&d, &a, &b, &c};
  ::wl::together(&M::run, &meeting, WL_SITE);
}

inline float __float_to_tf32(float v) {  // to nearest, ties away from zero
  return isfinite(v) ? ::wl::reinterpret<float>((::wl::reinterpret<uint32_t>(v) + 0x1000) & 0xffffe000) : v;
}

}  // namespace wmma
}  // namespace nvcuda
