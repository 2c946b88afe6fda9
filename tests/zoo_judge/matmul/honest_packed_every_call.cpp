// expect: accepted
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

static std::vector<float> packed;
extern "C" void kernel(const float* a, const float* b, float* c) {
  packed.resize(size_t(K) * N);
  for (int k = 0; k < K; k++)
    for (int j = 0; j < N; j++) packed[size_t(j) * K + k] = b[k * N + j];
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      float s[8] = {};
      for (int k = 0; k < K; k += 8)
        for (int l = 0; l < 8; l++) s[l] += a[i * K + k + l] * packed[size_t(j) * K + k + l];
      c[i * N + j] = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    }
}
