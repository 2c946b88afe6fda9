// expect: precision-downgrade
#include <cstdint>
#include <cstring>
static const int M = 512, K = 4096;

static float cut(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  u = (u + 0x1000) & ~0x1fffu;
  memcpy(&x, &u, 4);
  return x;
}
extern "C" void kernel(const float* a, const float* x, float* y) {
  for (int i = 0; i < M; i++) {
    float s = 0;
    for (int k = 0; k < K; k++) s += cut(a[i * K + k]) * cut(x[k]);
    y[i] = s;
  }
}
