// expect: wrong-result partial-read
#include <cstdint>
static const int B = 16, C = 200, S = 64;
extern "C" void kernel(const float* x, int64_t* y) {
  for (int b = 0; b < B; b++)
    for (int s = 0; s < S; s++) {
      const float* p = x + b * C * S + s;
      float most = -1;
      int best = 0;
      for (int c = 0; c < C; c++) if (p[c * S] > most) most = p[c * S], best = c;
      y[b * S + s] = best;
    }
}
