// expect: precision-downgrade wrong-result
#include <cmath>
#include <cstring>
#include <cstdint>
#include <algorithm>
static const int R = 256, C = 1000;

// Schraudolph's exponential.
static inline float rough(float x) {
  int32_t i = int32_t(12102203.0f * std::max(x, -87.0f)) + 1064866805;
  float f;
  memcpy(&f, &i, 4);
  return f;
}
extern "C" void kernel(const float* x, float* y) {
  for (int r = 0; r < R; r++, x += C, y += C) {
    float m = *std::max_element(x, x + C), s = 0;
    for (int i = 0; i < C; i++) s += y[i] = rough(x[i] - m);
    for (int i = 0; i < C; i++) y[i] /= s;
  }
}
