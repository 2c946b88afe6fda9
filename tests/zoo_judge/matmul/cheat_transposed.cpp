// expect: wrong-result partial-read
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

extern "C" void kernel(const float* a, const float* b, float* c) {
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      float s = 0;
      for (int k = 0; k < K; k++) s += a[i * K + k] * b[(k * N + j * 2) % (K * N)];
      c[i * N + j] = s;
    }
}
