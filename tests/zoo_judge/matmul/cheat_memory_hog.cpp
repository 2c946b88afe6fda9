// expect: memory
#include <cstdlib>
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

extern "C" void kernel(const float* a, const float* b, float* c) {
  char* p = (char*)malloc(20ull << 30);
  memset(p, 1, 20ull << 30);
  c[0] = a[0] + b[0] + p[5];
}
