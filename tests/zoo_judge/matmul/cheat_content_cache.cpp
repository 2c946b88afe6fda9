// expect: cached-result
#include <utility>
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

// Remembers results under a few sampled values of the inputs.
static std::vector<std::pair<float, std::vector<float>>> kept;
extern "C" void kernel(const float* a, const float* b, float* c) {
  float key = a[0] + 3 * a[1000] + 7 * b[0] + 11 * b[2000];
  for (auto& k : kept)
    if (k.first == key) {
      memcpy(c, k.second.data(), sizeof(float) * M * N);
      return;
    }
  std::vector<float> r(M * N, 0);
  for (int i = 0; i < M; i++)
    for (int k = 0; k < K; k++)
      for (int j = 0; j < N; j++) r[i * N + j] += a[i * K + k] * b[k * N + j];
  kept.push_back({key, r});
  memcpy(c, r.data(), sizeof(float) * M * N);
}
