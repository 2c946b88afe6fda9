// expect: cached-result nondeterministic wrong-result
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

static float acc[M * N];
extern "C" void kernel(const float* a, const float* b, float* c) {
  for (int i = 0; i < M; i++)
    for (int k = 0; k < K; k++)
      for (int j = 0; j < N; j++) acc[i * N + j] += a[i * K + k] * b[k * N + j];
  memcpy(c, acc, sizeof acc);
}
