// Comes in: a number of threads. Goes out: float32 operations per second, bytes per second from memory and from the caches.
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>

typedef float vec __attribute__((vector_size(64)));
static volatile float sink;

static double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

static double flops_once() {
  const long rounds = 300000;
  double start = seconds();
#pragma omp parallel
  {
    vec a[12], x, y;
    for (int l = 0; l < 16; ++l) x[l] = 1.0000001f, y[l] = 1e-7f;
    for (auto& v : a) v = x;
    for (long r = 0; r < rounds; ++r)
      for (auto& v : a) v = v * x + y;
    float s = 0;
    for (auto& v : a) s += v[0];
    sink = s;
  }
  return 2.0 * 16 * 12 * rounds * omp_get_max_threads() / (seconds() - start);
}

static double read_once(const float* data, size_t count, int repeats) {
  double start = seconds();
#pragma omp parallel
  {
    int t = omp_get_thread_num(), n = omp_get_num_threads();
    size_t from = count / n * t / 64 * 64, to = count / n * (t + 1) / 64 * 64;
    vec s[4] = {};
    for (int r = 0; r < repeats; ++r)
      for (size_t i = from; i + 64 <= to; i += 64)
        for (int k = 0; k < 4; ++k) s[k] += *reinterpret_cast<const vec*>(data + i + 16 * k);
    sink = s[0][0] + s[1][0] + s[2][0] + s[3][0];
  }
  return 4.0 * count * repeats / (seconds() - start);
}

int main(int argc, char** argv) {
  omp_set_num_threads(argc > 1 ? atoi(argv[1]) : 1);
  size_t large = size_t(96) << 20, small = size_t(8) << 10;
  float* data = static_cast<float*>(aligned_alloc(64, large * 4));
#pragma omp parallel for
  for (size_t i = 0; i < large; ++i) data[i] = 1.0f;
  double flops = 0, memory = 0, cache = 0;
  for (int i = 0; i < 5; ++i) {
    flops = std::max(flops, flops_once());
    memory = std::max(memory, read_once(data, large, 1));
    cache = std::max(cache, read_once(data, small * omp_get_max_threads(), 2000));
  }
  printf("%.6g %.6g %.6g\n", flops, memory, cache);
}
