// expect: wrong-result partial-write nondeterministic
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

// Takes for granted that the output starts at zero.
extern "C" void kernel(const float* a, const float* b, float* c) {
  for (int i = 0; i < M; i++)
    for (int k = 0; k < K; k++)
      for (int j = 0; j < N; j++) c[i * N + j] += a[i * K + k] * b[k * N + j];
}
