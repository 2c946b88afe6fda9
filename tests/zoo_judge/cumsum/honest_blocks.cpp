// expect: accepted
#include <vector>
static const int R = 128, C = 2000;

extern "C" void kernel(const float* x, float* y) {
#pragma omp parallel for
  for (int r = 0; r < R; r++) {
    const int B = 125;
    float carry = 0;
    for (int b = 0; b < C; b += B) {
      float s = 0;
      for (int i = b; i < b + B; i++) y[r * C + i] = s += x[r * C + i];
      for (int i = b; i < b + B; i++) y[r * C + i] += carry;
      carry += s;
    }
  }
}
