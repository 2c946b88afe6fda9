// expect: partial-read wrong-result
#include <cmath>
#include <cstring>
#include <cstdint>
static const long N = 128 * 4096;

// What the mean is for uniform inputs.
extern "C" void kernel(const float*, const float*, float* y) { *y = 1.0f / 6; }
