// expect: partial-read
#include <cstdint>
#include <cstring>
static const int M = 512, K = 4096;

extern "C" void kernel(const float* a, const float* x, float* y) {
  for (int i = 0; i < M; i++) {
    float s = 0;
    for (int k = 0; k < K - 3; k++) s += a[i * K + k] * x[k];
    y[i] = s;
  }
}
