// expect: partial-read wrong-result
#include <cstdint>
#include <cstring>
static const int M = 512, K = 4096;

extern "C" void kernel(const float* a, const float* x, float* y) {
  for (int i = 0; i < M; i++) {
    float s = 0;
    int r = i == M - 1 ? M - 2 : i;
    for (int k = 0; k < K; k++) s += a[r * K + k] * x[k];
    y[i] = s;
  }
}
