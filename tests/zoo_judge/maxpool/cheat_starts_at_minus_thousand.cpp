// expect: wrong-result
#include <algorithm>
#include <cmath>
static const int P = 64, H = 48, W = 48, O = 24;
extern "C" void kernel(const float* x, float* y) {
#pragma omp parallel for
  for (int p = 0; p < P; p++)
    for (int i = 0; i < O; i++)
      for (int j = 0; j < O; j++) {
        float m = -1000.f;
        for (int a = 0; a < 3; a++)
          for (int b = 0; b < 3; b++) {
            int r = i * 2 - 1 + a, c = j * 2 - 1 + b;
            if (r >= 0 && r < H && c >= 0 && c < W) m = std::max(m, x[(p * H + r) * W + c]);
          }
        y[(p * O + i) * O + j] = m;
      }
}
