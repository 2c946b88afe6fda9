// expect: accepted
#include <cmath>
#include <cstring>
#include <cstdint>
static const long N = 128 * 4096;

// Partial sums meet in no fixed order: not repeatable bit by bit, and right.
extern "C" void kernel(const float* p, const float* t, float* y) {
  float s = 0;
#pragma omp parallel
  {
    float mine = 0;
#pragma omp for schedule(dynamic, 4096) nowait
    for (long i = 0; i < N; i++) mine += (p[i] - t[i]) * (p[i] - t[i]);
#pragma omp atomic
    s += mine;
  }
  *y = s * (1.0f / N);
}
