// expect: accepted
#include <cmath>
#include <cstring>
#include <cstdint>
static const long N = 128 * 4096;

extern "C" void kernel(const float* p, const float* t, float* y) {
  float s = 0;
  for (long i = 0; i < N; i++) s += (p[i] - t[i]) * (p[i] - t[i]);
  *y = s / N;
}
