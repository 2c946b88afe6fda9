// expect: wrong-result partial-read
#include <vector>
static const int R = 128, C = 2000;

extern "C" void kernel(const float* x, float* y) {
  for (int r = 0; r < R; r++) {
    float s = 0;
    for (int i = 0; i < C; i += 2) {
      y[r * C + i] = s += x[r * C + i];
      y[r * C + i + 1] = s += x[r * C + i];
    }
  }
}
