// expect: accepted
#include <cmath>
#include <cstring>
#include <cstdint>
#include <algorithm>
static const int R = 256, C = 1000;

extern "C" void kernel(const float* x, float* y) {
  for (int r = 0; r < R; r++, x += C, y += C) {
    double m = *std::max_element(x, x + C), s = 0;
    for (int i = 0; i < C; i++) s += std::exp(x[i] - m);
    double l = m + std::log(s);
    for (int i = 0; i < C; i++) y[i] = float(std::exp(x[i] - l));
  }
}
