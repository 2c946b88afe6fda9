// expect: partial-read wrong-result
#include <cmath>
#include <cstring>
#include <cstdint>
static const long N = 128 * 4096;

extern "C" void kernel(const float* p, const float* t, float* y) {
  double s = 0;
  for (long i = 0; i < N - 1; i++) s += double(p[i] - t[i]) * (p[i] - t[i]);
  *y = float(s / N);
}
