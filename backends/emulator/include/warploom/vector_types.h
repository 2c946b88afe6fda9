// CUDA's built-in vector types and dim3. In: nothing. Out: char1..double4, uint3, dim3 and their make_ functions.
#pragma once

#define WL_VECTOR(T, N, A2, A4)                                                       \
  struct N##1 { T x; };                                                               \
  struct alignas(A2) N##2 { T x, y; };                                                \
  struct N##3 { T x, y, z; };                                                         \
  struct alignas(A4) N##4 { T x, y, z, w; };                                          \
  constexpr N##1 make_##N##1(T x) { return {x}; }                                     \
  constexpr N##2 make_##N##2(T x, T y) { return {x, y}; }                             \
  constexpr N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                     \
  constexpr N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }

WL_VECTOR(signed char, char, 2, 4)
WL_VECTOR(unsigned char, uchar, 2, 4)
WL_VECTOR(short, short, 4, 8)
WL_VECTOR(unsigned short, ushort, 4, 8)
WL_VECTOR(int, int, 8, 16)
WL_VECTOR(unsigned int, uint, 8, 16)
WL_VECTOR(long, long, 16, 16)
WL_VECTOR(unsigned long, ulong, 16, 16)
WL_VECTOR(long long, longlong, 16, 16)
WL_VECTOR(unsigned long long, ulonglong, 16, 16)
WL_VECTOR(float, float, 8, 16)
WL_VECTOR(double, double, 16, 16)
#undef WL_VECTOR

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};
