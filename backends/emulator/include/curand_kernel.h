// cuRAND's device functions. Philox gives cuRAND's own numbers; XORWOW and MRG32k3a states draw from Philox too: the same
// distributions, other numbers.
#pragma once
#include "warploom/emulator.h"

struct curandStatePhilox4_32_10 {
  uint4 ctr, output;
  uint2 key;
  unsigned STATE;
  int boxmuller_flag;
  float boxmuller_extra;
};
using curandStatePhilox4_32_10_t = curandStatePhilox4_32_10;
using curandState = curandStatePhilox4_32_10;
using curandState_t = curandStatePhilox4_32_10;
using curandStateXORWOW = curandStatePhilox4_32_10;
using curandStateXORWOW_t = curandStatePhilox4_32_10;
using curandStateMRG32k3a_t = curandStatePhilox4_32_10;

namespace wl {
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011): ten rounds.
inline uint4 philox(uint4 c, uint2 k) {
  for (int round = 0; round < 10; ++round) {
    const unsigned long long a = 0xD2511F53ull * c.x, b = 0xCD9E8D57ull * c.z;
    c = {static_cast<unsigned>(b >> 32) ^ c.y ^ k.x, static_cast<unsigned>(b), static_cast<unsigned>(a >> 32) ^ c.w ^ k.y,
         static_cast<unsigned>(a)};
    k.x += 0x9E3779B9u;
    k.y += 0xBB67AE85u;
  }
  return c;
}
inline void philox_skip(curandStatePhilox4_32_10& s, unsigned long long blocks) {
  const unsigned long long low = (static_cast<unsigned long long>(s.ctr.y) << 32 | s.ctr.x), next = low + blocks;
  s.ctr.x = static_cast<unsigned>(next);
  s.ctr.y = static_cast<unsigned>(next >> 32);
  if (next < low && ++s.ctr.z == 0) ++s.ctr.w;
}
inline float uniform_of(unsigned x) { return x * 2.3283064e-10f + 2.3283064e-10f / 2.0f; }
inline float2 normals_of(unsigned x, unsigned y) {
  const float s = sqrtf(-2.0f * logf(uniform_of(x))), angle = y * (2.3283064e-10f * 6.2831855f) + 2.3283064e-10f * 6.2831855f / 2.0f;
  return {sinf(angle) * s, cosf(angle) * s};
}
}  // namespace wl

inline void skipahead(unsigned long long n, curandStatePhilox4_32_10* s) {
  s->STATE += static_cast<unsigned>(n & 3);
  n /= 4;
  if (s->STATE > 3) ++n, s->STATE -= 4;
  wl::philox_skip(*s, n);
  s->output = wl::philox(s->ctr, s->key);
}
inline void curand_init(unsigned long long seed, unsigned long long subsequence, unsigned long long offset, curandStatePhilox4_32_10* s) {
  *s = {{0, 0, static_cast<unsigned>(subsequence), static_cast<unsigned>(subsequence >> 32)},
        {},
        {static_cast<unsigned>(seed), static_cast<unsigned>(seed >> 32)},
        0,
        0,
        0.0f};
  skipahead(offset, s);
}
inline unsigned curand(curandStatePhilox4_32_10* s) {
  const unsigned all[4] = {s->output.x, s->output.y, s->output.z, s->output.w}, value = all[s->STATE];
  if (++s->STATE == 4) {
    s->STATE = 0;
    wl::philox_skip(*s, 1);
    s->output = wl::philox(s->ctr, s->key);
  }
  return value;
}
inline uint4 curand4(curandStatePhilox4_32_10* s) { return {curand(s), curand(s), curand(s), curand(s)}; }
inline float curand_uniform(curandStatePhilox4_32_10* s) { return wl::uniform_of(curand(s)); }
inline float4 curand_uniform4(curandStatePhilox4_32_10* s) {
  return {curand_uniform(s), curand_uniform(s), curand_uniform(s), curand_uniform(s)};
}
inline double curand_uniform_double(curandStatePhilox4_32_10* s) {
  const unsigned long long x = curand(s), y = curand(s), z = x ^ (y << 21);
  return z * 1.1102230246251565e-16 + 1.1102230246251565e-16 / 2.0;
}
inline float2 curand_normal2(curandStatePhilox4_32_10* s) {
  const unsigned x = curand(s), y = curand(s);
  return wl::normals_of(x, y);
}
inline float curand_normal(curandStatePhilox4_32_10* s) {
  if (s->boxmuller_flag) return s->boxmuller_flag = 0, s->boxmuller_extra;
  const float2 both = curand_normal2(s);
  s->boxmuller_extra = both.y;
  s->boxmuller_flag = 1;
  return both.x;
}
inline float4 curand_normal4(curandStatePhilox4_32_10* s) {
  const float2 a = curand_normal2(s), b = curand_normal2(s);
  return {a.x, a.y, b.x, b.y};
}
