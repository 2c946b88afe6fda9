// expect: nondeterministic wrong-result
#include <cmath>
#include <cstring>
#include <cstdint>
static const long N = 128 * 4096;

extern "C" void kernel(const float* p, const float* t, float* y) {
  volatile float s = 0;
#pragma omp parallel for
  for (long i = 0; i < N; i++) s = s + (p[i] - t[i]) * (p[i] - t[i]);
  *y = s / N;
}
