// expect: accepted
#include <cmath>
#include <cstring>
#include <cstdint>
#include <algorithm>
static const int R = 256, C = 1000;

extern "C" void kernel(const float* x, float* y) {
  for (int r = 0; r < R; r++, x += C, y += C) {
    float m = x[0], s = 0;
    for (int i = 1; i < C; i++) m = std::max(m, x[i]);
    for (int i = 0; i < C; i++) s += y[i] = std::exp(x[i] - m);
    for (int i = 0; i < C; i++) y[i] /= s;
  }
}
