// expect: sandbox-violation
#include <sys/ptrace.h>
#include <unistd.h>
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

extern "C" void kernel(const float*, const float*, float* c) { c[0] = ptrace(PTRACE_ATTACH, getppid(), 0, 0); }
