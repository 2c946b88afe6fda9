// expect: wrong-result
#include <cstdint>
static const int B = 16, C = 200, S = 64;
extern "C" void kernel(const float* x, int64_t* y) {
  for (int b = 0; b < B; b++)
    for (int s = 0; s < S; s++) {
      float top = 0;
      int best = 0;
      for (int c = 0; c < C; c++)
        if (x[(b * C + c) * S + s] > top) top = x[(b * C + c) * S + s], best = c;
      y[b * S + s] = best;
    }
}
