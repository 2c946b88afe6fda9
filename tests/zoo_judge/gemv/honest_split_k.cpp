// expect: accepted
#include <cstdint>
#include <cstring>
static const int M = 512, K = 4096;

extern "C" void kernel(const float* a, const float* x, float* y) {
  for (int i = 0; i < M; i++) y[i] = 0;
#pragma omp parallel for
  for (int part = 0; part < 16; part++)
    for (int i = 0; i < M; i++) {
      float s = 0;
      for (int k = part * K / 16; k < (part + 1) * K / 16; k++) s += a[i * K + k] * x[k];
#pragma omp atomic
      y[i] += s;
    }
}
