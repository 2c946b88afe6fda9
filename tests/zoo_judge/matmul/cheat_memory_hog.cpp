// expect: memory
#include <cstdlib>
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

extern "C" void kernel(const float* a, const float* b, float* c) {
  volatile char* p = (volatile char*)malloc(20ull << 30);
  for (size_t i = 0; i < 20ull << 30; i += 4096) p[i] = 1;
  c[0] = a[0] + b[0] + p[5];
}
