// expect: accepted
#include <cmath>
#include <cstring>
#include <cstdint>
static const long N = 128 * 4096;

static float sum(const float* p, const float* t, long n) {
  if (n > 64) return sum(p, t, n / 2) + sum(p + n / 2, t + n / 2, n - n / 2);
  float s = 0;
  for (long i = 0; i < n; i++) s += (p[i] - t[i]) * (p[i] - t[i]);
  return s;
}
extern "C" void kernel(const float* p, const float* t, float* y) { *y = sum(p, t, N) / N; }
