// Tensor cores: what a warp does together with matrices in its lanes' registers. In: the lanes' fragments in 32-bit registers, as the PTX ISA
// lays them out. Out: their part of the result, summed in float (integers: in int) one product after the other.
#pragma once
#include <array>

#include "half.h"

namespace wl {

// All lanes of the warp meet; the last to come calls `run` with what each of them brought.
WL_QUIET inline void together(void (*run)(void**), void* mine, const void* site) {
  Request& r = self->thread[self->current].request;
  r.source = -1;
  r.vote = Vote::together;
  r.run = run;
  r.mine = mine;
  meet_warp(~0u, site, 0);
}

enum class Type { f16, bf16, tf32, s8, u8, f32, s32 };

constexpr int bits_of(Type t) { return t == Type::f16 || t == Type::bf16 ? 16 : t == Type::s8 || t == Type::u8 ? 8 : 32; }

template <Type t>
inline float element(uint32_t word, int i) {
  if constexpr (t == Type::f16) return half_value(static_cast<uint16_t>(word >> 16 * i));
  if constexpr (t == Type::bf16) return bfloat_value(static_cast<uint16_t>(word >> 16 * i));
  if constexpr (t == Type::s8) return static_cast<int8_t>(word >> 8 * i);
  if constexpr (t == Type::u8) return static_cast<uint8_t>(word >> 8 * i);
  return reinterpret<float>(word & 0xffffe000);  // tf32: the lower bits do not count
}

// One lane's part of mma.m16n8kK: A has rows g and g + 8, B column g, C columns 2t and 2t + 1 of rows g and g + 8 (lane 4g + t).
template <Type t, int K, Type sum>
struct Product {
  static constexpr int kPerWord = 32 / bits_of(t), kSteps = K / (4 * kPerWord);
  using Sum = std::conditional_t<sum == Type::s32, int32_t, float>;
  uint32_t a[2 * kSteps], b[kSteps];
  Sum c[4];

  WL_QUIET static void run(void** lanes) {
    Sum left[16][K], right[K][8];
    for (int lane = 0; lane < 32; ++lane) {
      const Product& p = *static_cast<Product*>(lanes[lane]);
      int g = lane / 4, first = lane % 4 * kPerWord;
      for (int step = 0; step < kSteps; ++step)
        for (int i = 0; i < kPerWord; ++i) {
          int k = first + i + step * 4 * kPerWord;
          left[g][k] = static_cast<Sum>(element<t>(p.a[2 * step], i));
          left[g + 8][k] = static_cast<Sum>(element<t>(p.a[2 * step + 1], i));
          right[k][g] = static_cast<Sum>(element<t>(p.b[step], i));
        }
    }
    for (int row = 0; row < 16; ++row) {
      Sum total[8];
      for (int n = 0; n < 8; ++n) total[n] = of(lanes, row, n);
      for (int k = 0; k < K; ++k)
        for (int n = 0; n < 8; ++n) total[n] += left[row][k] * right[k][n];
      for (int n = 0; n < 8; ++n) of(lanes, row, n) = total[n];
    }
  }
  WL_QUIET static Sum& of(void** lanes, int row, int n) {
    return static_cast<Product*>(lanes[row % 8 * 4 + n / 2])->c[row / 8 * 2 + n % 2];
  }
};

// d = a * b + c, the operands as inline PTX gives them: registers of 32 bits, d first.
template <Type t, int K, Type sum, size_t D, size_t A, size_t B, size_t C>
WL_CALL void mma(std::array<uint32_t*, D> d, std::array<uint32_t, A> a, std::array<uint32_t, B> b, std::array<uint32_t, C> c) {
  using P = Product<t, K, sum == Type::f16 ? Type::f32 : sum>;
  static_assert(A == sizeof(P::a) / 4 && B == sizeof(P::b) / 4, "as many registers as this shape has");
  static_assert(D == (sum == Type::f16 ? 2 : 4) && C == D, "as many registers as this shape has");
  P p;
  std::memcpy(p.a, a.data(), sizeof p.a);
  std::memcpy(p.b, b.data(), sizeof p.b);
  for (int i = 0; i < 4; ++i)
    if constexpr (sum == Type::f16) p.c[i] = half_value(static_cast<uint16_t>(c[i / 2] >> 16 * (i % 2)));
    else p.c[i] = reinterpret<typename P::Sum>(c[i]);
  together(&P::run, &p, WL_SITE);
  if constexpr (sum == Type::f16)
    for (int i = 0; i < 2; ++i) *d[i] = half_bits(p.c[2 * i]) | static_cast<uint32_t>(half_bits(p.c[2 * i + 1])) << 16;
  else
    for (int i = 0; i < 4; ++i) *d[i] = reinterpret<uint32_t>(p.c[i]);
}
// What inline PTX reads and writes: the bits of its operands.
template <class To, class From>
inline To take(From from) {
  if constexpr (std::is_integral_v<To> && (std::is_integral_v<From> || std::is_enum_v<From>)) return static_cast<To>(from);
  else {
    static_assert(sizeof(To) == sizeof(From), "an operand as wide as its register");
    return reinterpret<To>(from);
  }
}
template <class To, class From>
inline void give(To& to, From from) {
  static_assert(sizeof(To) == sizeof(From), "an operand as wide as its register");
  std::memcpy(&to, &from, sizeof to);
}

[[noreturn]] inline void unknown_ptx(const char* what) {
  throw Failure{std::string("inline PTX `") + what + "` is not among what the emulator knows (mma.sync, ldmatrix, cp.async)"};
}

// An address in shared memory as 32 bits: two for one of the places where shared memory lies, 30 for the distance from its start.
inline WL_OWN uintptr_t shared_places[4];
constexpr uintptr_t kPlace = uintptr_t{1} << 30;
WL_QUIET inline uint64_t to_shared(const void* p) {
  uintptr_t at = reinterpret_cast<uintptr_t>(p);
  for (uint64_t k = 0; k < 4; ++k) {
    if (!shared_places[k]) shared_places[k] = at - kPlace / 2;
    if (at - shared_places[k] < kPlace) return k << 30 | (at - shared_places[k]);
  }
  throw Failure{"shared memory lies too far apart"};
}
WL_QUIET inline char* pointed(uint64_t address) {
  return reinterpret_cast<char*>(address >> 32 ? address : shared_places[address >> 30] + (address & (kPlace - 1)));
}

// Lane 8m + r says where row r of the m-th 8 x 8 matrix of 16 bits is; lane 4g + t gets elements 2t, 2t + 1 of row g (of column g) of each.
template <size_t N, bool transposed>
struct Matrices {
  uint16_t row[8];
  uint32_t got[N];

  WL_QUIET static void run(void** lanes) {
    for (int lane = 0; lane < 32; ++lane)
      for (int m = 0; m < static_cast<int>(N); ++m) {
        int g = lane / 4, t = lane % 4;
        auto at = [&](int r, int c) { return uint32_t{static_cast<Matrices*>(lanes[8 * m + r])->row[c]}; };
        uint32_t low = transposed ? at(2 * t, g) : at(g, 2 * t), high = transposed ? at(2 * t + 1, g) : at(g, 2 * t + 1);
        static_cast<Matrices*>(lanes[lane])->got[m] = low | high << 16;
      }
  }
};
struct Sixteen { uint64_t low, high; };
template <size_t N, bool transposed>
WL_CALL void distribute(std::array<uint32_t*, N> to, Sixteen row) {
  Matrices<N, transposed> m;
  std::memcpy(m.row, &row, sizeof m.row);
  together(&Matrices<N, transposed>::run, &m, WL_SITE);
  for (size_t k = 0; k < N; ++k) *to[k] = m.got[k];
}
template <size_t N, bool transposed>
inline __attribute__((always_inline)) void ldmatrix(std::array<uint32_t*, N> to, const char* address) {
  Sixteen row{};
  if (lane_id() < static_cast<int>(8 * N)) row = *reinterpret_cast<const Sixteen*>(address);
  distribute<N, transposed>(to, row);
}

// Asynchronous copies are made at once; what the source has too little of is zero.
template <size_t bytes>
inline __attribute__((always_inline)) void copy_async(char* to, const char* from, size_t given) {
  struct alignas(bytes) Words { uint32_t word[bytes / 4]; };
  if (given == bytes) {
    *reinterpret_cast<Words*>(to) = *reinterpret_cast<const Words*>(from);
    return;
  }
  for (size_t k = 0; k < bytes; ++k) to[k] = k < given ? from[k] : 0;
}

}  // namespace wl

inline size_t __cvta_generic_to_shared(const void* p) { return static_cast<size_t>(wl::to_shared(p)); }
inline void* __cvta_shared_to_generic(size_t address) { return wl::pointed(address); }
