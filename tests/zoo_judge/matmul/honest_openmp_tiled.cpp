// expect: accepted
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

extern "C" void kernel(const float* a, const float* b, float* c) {
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (int i0 = 0; i0 < M; i0 += 32)
    for (int j0 = 0; j0 < N; j0 += 32) {
      float acc[32][32] = {};
      for (int k = 0; k < K; k++)
        for (int i = 0; i < 32; i++)
          for (int j = 0; j < 32; j++) acc[i][j] += a[(i0 + i) * K + k] * b[k * N + j0 + j];
      for (int i = 0; i < 32; i++) memcpy(&c[(i0 + i) * N + j0], acc[i], sizeof acc[i]);
    }
}
