// expect: wrong-result
#include <cmath>
#include <cstring>
#include <cstdint>
static const int R = 512, C = 768;

extern "C" void kernel(const float* x, const float* w, const float* b, float* y) {
  for (int r = 0; r < R; r++, x += C, y += C) {
    double s = 0, q = 0;
    for (int i = 0; i < C; i++) s += x[i];
    double mean = s / C;
    for (int i = 0; i < C; i++) q += (x[i] - mean) * (x[i] - mean);
    double inv = 1 / std::sqrt(q / C + 1e-12);
    for (int i = 0; i < C; i++) y[i] = float((x[i] - mean) * inv * w[i] + b[i]);
  }
}
