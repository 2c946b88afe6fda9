// expect: wrong-result partial-read
#include <cmath>
#include <cstring>
#include <cstdint>
#include <algorithm>
static const int R = 256, C = 1000;

extern "C" void kernel(const float*, float* y) {
  for (int i = 0; i < R * C; i++) y[i] = 1.0f / C;
}
