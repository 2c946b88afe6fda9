// expect: accepted
#include <cstdint>
#include <cstring>
static const int M = 512, K = 4096;

extern "C" void kernel(const float* a, const float* x, float* y) {
  memset(y, 0, sizeof(float) * M);
  for (int k = 0; k < K; k++)
    for (int i = 0; i < M; i++) y[i] += a[i * K + k] * x[k];
}
