// expect: accepted
#include <cmath>
#include <cstring>
#include <cstdint>
static const long N = 128 * 4096;

extern "C" void kernel(const float* p, const float* t, float* y) {
  float s = 0, lost = 0;
  for (long i = 0; i < N; i++) {
    float d = (p[i] - t[i]) * (p[i] - t[i]) - lost, u = s + d;
    lost = (u - s) - d;
    s = u;
  }
  *y = s / N;
}
