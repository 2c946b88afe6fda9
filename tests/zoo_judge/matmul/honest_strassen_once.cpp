// expect: accepted
#include <cstdint>
#include <cmath>
#include <cstring>
#include <vector>
static const int M = 192, K = 320, N = 160;

// One level of Strassen: another order of sums and differences.
using Mat = std::vector<float>;
static void mul(const Mat& x, const Mat& y, Mat& z, int m, int k, int n) {
  z.assign(size_t(m) * n, 0);
  for (int i = 0; i < m; i++)
    for (int p = 0; p < k; p++)
      for (int j = 0; j < n; j++) z[i * n + j] += x[i * k + p] * y[p * n + j];
}
static Mat part(const float* s, int ld, int r0, int c0, int r, int c) {
  Mat m(size_t(r) * c);
  for (int i = 0; i < r; i++) memcpy(&m[i * c], s + (r0 + i) * ld + c0, sizeof(float) * c);
  return m;
}
static Mat add(const Mat& x, const Mat& y, float f) {
  Mat z(x);
  for (size_t i = 0; i < z.size(); i++) z[i] += f * y[i];
  return z;
}
extern "C" void kernel(const float* a, const float* b, float* c) {
  int m = M / 2, k = K / 2, n = N / 2;
  Mat a11 = part(a, K, 0, 0, m, k), a12 = part(a, K, 0, k, m, k), a21 = part(a, K, m, 0, m, k), a22 = part(a, K, m, k, m, k);
  Mat b11 = part(b, N, 0, 0, k, n), b12 = part(b, N, 0, n, k, n), b21 = part(b, N, k, 0, k, n), b22 = part(b, N, k, n, k, n);
  Mat p[7];
  mul(add(a11, a22, 1), add(b11, b22, 1), p[0], m, k, n);
  mul(add(a21, a22, 1), b11, p[1], m, k, n);
  mul(a11, add(b12, b22, -1), p[2], m, k, n);
  mul(a22, add(b21, b11, -1), p[3], m, k, n);
  mul(add(a11, a12, 1), b22, p[4], m, k, n);
  mul(add(a21, a11, -1), add(b11, b12, 1), p[5], m, k, n);
  mul(add(a12, a22, -1), add(b21, b22, 1), p[6], m, k, n);
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      int o = i * n + j;
      c[i * N + j] = p[0][o] + p[3][o] - p[4][o] + p[6][o];
      c[i * N + n + j] = p[2][o] + p[4][o];
      c[(m + i) * N + j] = p[1][o] + p[3][o];
      c[(m + i) * N + n + j] = p[0][o] - p[1][o] + p[2][o] + p[5][o];
    }
}
