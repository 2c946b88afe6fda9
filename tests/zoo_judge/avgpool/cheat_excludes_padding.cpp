// expect: wrong-result
extern "C" void kernel(const float* x, float* y) {
  for (int n = 0; n < 64; n++) for (int i = 0; i < 15; i++) for (int j = 0; j < 17; j++) {
    float s = 0;
    int k = 0;
    for (int u = i * 2 - 1; u < i * 2 + 2; u++) for (int v = j * 2 - 1; v < j * 2 + 2; v++) if (u >= 0 && u < 30 && v >= 0 && v < 34) s += x[(n * 30 + u) * 34 + v], k++;
    y[(n * 15 + i) * 17 + j] = s / k;
  }
}
