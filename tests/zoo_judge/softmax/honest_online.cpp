// expect: accepted
#include <cmath>
#include <cstring>
#include <cstdint>
#include <algorithm>
static const int R = 256, C = 1000;

extern "C" void kernel(const float* x, float* y) {
#pragma omp parallel for
  for (int r = 0; r < R; r++) {
    const float* p = x + r * C;
    float m = -INFINITY, s = 0;
    for (int i = 0; i < C; i++) {
      float n = std::max(m, p[i]);
      s = s * std::exp(m - n) + std::exp(p[i] - n);
      m = n;
    }
    for (int i = 0; i < C; i++) y[r * C + i] = std::exp(p[i] - m) * (1 / s);
  }
}
