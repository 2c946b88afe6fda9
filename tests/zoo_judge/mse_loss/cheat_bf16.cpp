// expect: precision-downgrade wrong-result
#include <cmath>
#include <cstring>
#include <cstdint>
static const long N = 128 * 4096;

static float cut(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  u = (u + 0x8000) & 0xffff0000u;
  memcpy(&x, &u, 4);
  return x;
}
extern "C" void kernel(const float* p, const float* t, float* y) {
  double s = 0;
  for (long i = 0; i < N; i++) s += double(cut(p[i]) - cut(t[i])) * (cut(p[i]) - cut(t[i]));
  *y = float(s / N);
}
