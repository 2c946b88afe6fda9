// expect: accepted
#include <vector>
static const int R = 128, C = 2000;

extern "C" void kernel(const float* x, float* y) {
  std::vector<float> a(C), b(C);
  for (int r = 0; r < R; r++) {
    a.assign(x + r * C, x + (r + 1) * C);
    for (int d = 1; d < C; d *= 2) {
      for (int i = 0; i < C; i++) b[i] = i >= d ? a[i] + a[i - d] : a[i];
      a.swap(b);
    }
    for (int i = 0; i < C; i++) y[r * C + i] = a[i];
  }
}
