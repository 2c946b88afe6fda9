// expect: accepted
#include <cmath>
#include <cstring>
#include <cstdint>
#include <algorithm>
static const int R = 256, C = 1000;

// Cephes' expf: two-step range reduction and a polynomial of degree five; results below the smallest normal number flush to zero.
static inline float fast_exp(float x) {
  x = std::min(88.0f, x);
  if (x < -87.3f) return 0;
  float z = std::floor(1.44269504f * x + 0.5f);
  x -= z * 0.693359375f;
  x -= z * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * x + 1.3981999507e-3f;
  p = p * x + 8.3334519073e-3f;
  p = p * x + 4.1665795894e-2f;
  p = p * x + 1.6666665459e-1f;
  p = p * x + 5.0000001201e-1f;
  p = p * x * x + x + 1;
  int32_t bits = (int32_t(z) + 127) << 23;
  float scale;
  memcpy(&scale, &bits, 4);
  return p * scale;
}
extern "C" void kernel(const float* x, float* y) {
  for (int r = 0; r < R; r++, x += C, y += C) {
    float m = x[0], s[8] = {};
    for (int i = 1; i < C; i++) m = std::max(m, x[i]);
    for (int i = 0; i < C; i++) s[i % 8] += y[i] = fast_exp(x[i] - m);
    float t = ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
    for (int i = 0; i < C; i++) y[i] *= 1 / t;
  }
}
