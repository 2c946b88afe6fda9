// The products of cuBLAS that extensions call beside their own kernels, as plain loops over column-major matrices.
#pragma once
#include "warploom/emulator.h"

using cublasHandle_t = void*;
using cublasStatus_t = int;
using cublasMath_t = int;
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T, CUBLAS_OP_C };
constexpr int CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_NOT_INITIALIZED = 1;
constexpr int CUBLAS_DEFAULT_MATH = 0, CUBLAS_TENSOR_OP_MATH = 1, CUBLAS_PEDANTIC_MATH = 2, CUBLAS_TF32_TENSOR_OP_MATH = 3;

inline cublasStatus_t cublasCreate(cublasHandle_t* handle) { return *handle = const_cast<char*>("cublas"), CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasDestroy(cublasHandle_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
inline const char* cublasGetStatusString(cublasStatus_t) { return ""; }

namespace wl {
// C (m x n) = alpha op(A) op(B) + beta C.
template <class T>
inline void gemm(cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb, T beta, T* c, int ldc) {
#pragma omp parallel for
  for (int j = 0; j < n; ++j) {
    T* column = c + static_cast<size_t>(j) * ldc;
    for (int i = 0; i < m; ++i) column[i] = beta == T(0) ? T(0) : beta * column[i];
    for (int l = 0; l < k; ++l) {
      const T factor = alpha * (tb == CUBLAS_OP_N ? b[l + static_cast<size_t>(j) * ldb] : b[j + static_cast<size_t>(l) * ldb]);
      if (ta == CUBLAS_OP_N)
        for (int i = 0; i < m; ++i) column[i] += factor * a[i + static_cast<size_t>(l) * lda];
      else
        for (int i = 0; i < m; ++i) column[i] += factor * a[l + static_cast<size_t>(i) * lda];
    }
  }
}
template <class T>
inline cublasStatus_t gemms(cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const T* alpha, const T* a, int lda, long long sa, const T* b, int ldb, long long sb, const T* beta, T* c, int ldc, long long sc, int count) {
  for (int i = 0; i < count; ++i) gemm<T>(ta, tb, m, n, k, *alpha, a + i * sa, lda, b + i * sb, ldb, *beta, c + i * sc, ldc);
  return CUBLAS_STATUS_SUCCESS;
}
}  // namespace wl

#define WL_CUBLAS(T, LETTER)                                                                                                                     \
  inline cublasStatus_t cublas##LETTER##gemm(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const T* alpha,     \
                                             const T* a, int lda, const T* b, int ldb, const T* beta, T* c, int ldc) {                            \
    return wl::gemms<T>(ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);                                                        \
  }                                                                                                                                               \
  inline cublasStatus_t cublas##LETTER##gemmStridedBatched(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,       \
                                                           const T* alpha, const T* a, int lda, long long sa, const T* b, int ldb, long long sb,  \
                                                           const T* beta, T* c, int ldc, long long sc, int count) {                               \
    return wl::gemms<T>(ta, tb, m, n, k, alpha, a, lda, sa, b, ldb, sb, beta, c, ldc, sc, count);                                                 \
  }                                                                                                                                               \
  inline cublasStatus_t cublas##LETTER##gemv(cublasHandle_t, cublasOperation_t ta, int m, int n, const T* alpha, const T* a, int lda, const T* x, \
                                             int incx, const T* beta, T* y, int incy) {                                                           \
    const int rows = ta == CUBLAS_OP_N ? m : n, inner = ta == CUBLAS_OP_N ? n : m;                                                                \
    for (int i = 0; i < rows; ++i) {                                                                                                              \
      T sum = 0;                                                                                                                                  \
      for (int l = 0; l < inner; ++l)                                                                                                             \
        sum += (ta == CUBLAS_OP_N ? a[i + static_cast<size_t>(l) * lda] : a[l + static_cast<size_t>(i) * lda]) * x[static_cast<size_t>(l) * incx]; \
      T& to = y[static_cast<size_t>(i) * incy];                                                                                                   \
      to = *alpha * sum + (*beta == T(0) ? T(0) : *beta * to);                                                                                    \
    }                                                                                                                                             \
    return CUBLAS_STATUS_SUCCESS;                                                                                                                 \
  }
WL_CUBLAS(float, S)
WL_CUBLAS(double, D)
#undef WL_CUBLAS
