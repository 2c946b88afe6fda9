// expect: partial-read wrong-result
#include <cmath>
#include <algorithm>
static const int B = 4, S = 64, D = 32;
extern "C" void kernel(const float* q, const float* k, const float* v, float* y) {
  for (int r = 0; r < B * S; r++) {
    const float *kb = k + r / S * S * D, *vb = v + r / S * S * D, *qr = q + r * D;
    float m = -INFINITY, s = 0, acc[D] = {};
    for (int j = 0; j <= r % S; j++) {
      float t = 0;
      for (int d = 0; d < D; d++) t += qr[d] * kb[j * D + d];
      t *= 1 / std::sqrt(float(D));
      float n = std::max(m, t), old = std::exp(m - n), now = std::exp(t - n);
      s = s * old + now;
      for (int d = 0; d < D; d++) acc[d] = acc[d] * old + now * vb[j * D + d];
      m = n;
    }
    for (int d = 0; d < D; d++) y[r * D + d] = acc[d] / s;
  }
}
