// expect: sandbox-violation wrong-result partial-write crash
#include <unistd.h>
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

extern "C" void kernel(const float*, const float*, float*) {
  const char* text = "ok 0 0 0 0\n{\"accepted\": true, \"reasons\": []}\n";
  for (int fd = 1; fd < 32; fd++)
    if (write(fd, text, strlen(text)) < 0) continue;
}
