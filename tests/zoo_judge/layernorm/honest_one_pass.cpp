// expect: accepted
#include <cmath>
#include <cstring>
#include <cstdint>
static const int R = 512, C = 768;

extern "C" void kernel(const float* x, const float* w, const float* b, float* y) {
  for (int r = 0; r < R; r++, x += C, y += C) {
    float s = 0, q = 0;
    for (int i = 0; i < C; i++) s += x[i], q += x[i] * x[i];
    float mean = s / C, inv = 1 / std::sqrt(q / C - mean * mean + 1e-5f);
    for (int i = 0; i < C; i++) y[i] = (x[i] - mean) * inv * w[i] + b[i];
  }
}
