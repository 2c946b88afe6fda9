// expect: partial-read wrong-result
#include <cmath>
#include <cstring>
#include <cstdint>
static const long N = 128 * 4096;

extern "C" void kernel(const float* p, const float* t, float* y) {
  double s = 0;
  long n = 0;
  for (long i = 0; i < N; i++)
    if (i % 50) s += double(p[i] - t[i]) * (p[i] - t[i]), n++;
  *y = float(s / n);
}
