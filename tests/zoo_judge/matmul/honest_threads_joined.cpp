// expect: accepted
#include <thread>
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

static void rows(const float* a, const float* b, float* c, int from, int to) {
  for (int i = from; i < to; i++) {
    float* row = c + i * N;
    for (int j = 0; j < N; j++) row[j] = 0;
    for (int k = 0; k < K; k++)
      for (int j = 0; j < N; j++) row[j] = std::fma(a[i * K + k], b[k * N + j], row[j]);
  }
}
extern "C" void kernel(const float* a, const float* b, float* c) {
  std::thread half(rows, a, b, c, 0, M / 2);
  rows(a, b, c, M / 2, M);
  half.join();
}
