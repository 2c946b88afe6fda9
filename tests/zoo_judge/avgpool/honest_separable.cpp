// expect: accepted
extern "C" void kernel(const float* x, float* y) {
  for (int n = 0; n < 64; n++) {
    float h[30][17];
    for (int u = 0; u < 30; u++) for (int j = 0; j < 17; j++) {
      const float* r = x + (n * 30 + u) * 34 + j * 2;
      h[u][j] = (j ? r[-1] : 0.f) + r[0] + r[1];
    }
    for (int i = 0; i < 15; i++) for (int j = 0; j < 17; j++) y[(n * 15 + i) * 17 + j] = ((i ? h[i * 2 - 1][j] : 0.f) + h[i * 2][j] + h[i * 2 + 1][j]) * (1.f / 9.f);
  }
}
