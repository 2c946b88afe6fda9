// expect: cached-result partial-write
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

// Works for the first calls, then hands out what it has.
static int calls;
static std::vector<float> kept(M * N);
extern "C" void kernel(const float* a, const float* b, float* c) {
  if (++calls < 40) {
    for (int i = 0; i < M * N; i++) kept[i] = 0;
    for (int i = 0; i < M; i++)
      for (int k = 0; k < K; k++)
        for (int j = 0; j < N; j++) kept[i * N + j] += a[i * K + k] * b[k * N + j];
  }
  memcpy(c, kept.data(), sizeof(float) * M * N);
}
