// CUDA's qualifiers as C++. The rewriter has already replaced `extern __shared__` and `__noinline__`.
#pragma once
#define __global__
#define __device__
#define __host__
#define __managed__
#define __constant__
#define __grid_constant__
#define __shared__ static thread_local
#define __forceinline__ inline __attribute__((always_inline))
#define __inline__ inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __maxnreg__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict
#define __nv_pure__
#ifndef __CUDACC__
#define WL_CUDA_EMULATOR 1
#endif
