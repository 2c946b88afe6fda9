// expect: precision-downgrade
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

static float cut(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  u = (u + 0x1000) & ~0x1fffu;
  memcpy(&x, &u, 4);
  return x;
}
extern "C" void kernel(const float* a, const float* b, float* c) {
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      float s = 0;
      for (int k = 0; k < K; k++) s += cut(a[i * K + k]) * cut(b[k * N + j]);
      c[i * N + j] = s;
    }
}
