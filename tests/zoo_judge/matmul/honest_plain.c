// expect: accepted
#include <stddef.h>
void kernel(const float* a, const float* b, float* c) {
  for (int j = 0; j < 160; j++)
    for (int i = 0; i < 192; i++) {
      float even = 0, odd = 0;
      for (int k = 0; k < 320; k += 2) {
        even += a[i * 320 + k] * b[k * 160 + j];
        odd += a[i * 320 + k + 1] * b[(k + 1) * 160 + j];
      }
      c[i * 160 + j] = even + odd;
    }
}
