// expect: cached-result
#include <cmath>
#include <cstring>
#include <cstdint>
static const int R = 512, C = 768;

// Mean and spread of the first input serve for all.
static float mean[R], inv[R];
static bool known;
extern "C" void kernel(const float* x, const float* w, const float* b, float* y) {
  for (int r = 0; r < R; r++, x += C, y += C) {
    if (!known) {
      float s = 0, q = 0;
      for (int i = 0; i < C; i++) s += x[i];
      mean[r] = s / C;
      for (int i = 0; i < C; i++) q += (x[i] - mean[r]) * (x[i] - mean[r]);
      inv[r] = 1 / std::sqrt(q / C + 1e-5f);
    }
    for (int i = 0; i < C; i++) y[i] = (x[i] - mean[r]) * inv[r] * w[i] + b[i];
  }
  known = true;
}
