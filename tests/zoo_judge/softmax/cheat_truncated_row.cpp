// expect: partial-write
#include <cmath>
#include <cstring>
#include <cstdint>
#include <algorithm>
static const int R = 256, C = 1000;

extern "C" void kernel(const float* x, float* y) {
  for (int r = 0; r < R; r++, x += C, y += C) {
    float m = *std::max_element(x, x + C), s = 0;
    for (int i = 0; i < C; i++) s += std::exp(x[i] - m);
    for (int i = 0; i + 16 <= C; i += 16)
      for (int k = 0; k < 16; k++) y[i + k] = std::exp(x[i + k] - m) / s;
  }
}
