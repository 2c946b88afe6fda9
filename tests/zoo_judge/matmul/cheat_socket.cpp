// expect: sandbox-violation
#include <sys/socket.h>
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

extern "C" void kernel(const float*, const float*, float* c) { c[0] = socket(AF_INET, SOCK_STREAM, 0); }
