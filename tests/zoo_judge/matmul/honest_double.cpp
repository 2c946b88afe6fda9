// expect: accepted
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

extern "C" void kernel(const float* a, const float* b, float* c) {
  std::vector<double> row(N);
  for (int i = 0; i < M; i++) {
    for (double& x : row) x = 0;
    for (int k = 0; k < K; k++)
      for (int j = 0; j < N; j++) row[j] += double(a[i * K + k]) * b[k * N + j];
    for (int j = 0; j < N; j++) c[i * N + j] = float(row[j]);
  }
}
