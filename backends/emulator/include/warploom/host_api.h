// The CUDA runtime API on host memory: allocations are malloc, copies memcpy, streams and events no-ops.
#pragma once
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "launch.h"

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidSymbol = 13,
  cudaErrorNotSupported = 801,
  cudaErrorUnknown = 999
};
using cudaError = cudaError_t;
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8, cudaFuncAttributePreferredSharedMemoryCarveout = 9 };
enum cudaFuncCache { cudaFuncCachePreferNone, cudaFuncCachePreferShared, cudaFuncCachePreferL1, cudaFuncCachePreferEqual };
enum cudaDeviceAttr { cudaDevAttrMaxThreadsPerBlock = 1, cudaDevAttrMaxSharedMemoryPerBlock = 8, cudaDevAttrWarpSize = 10,
  cudaDevAttrMultiProcessorCount = 16, cudaDevAttrMaxThreadsPerMultiProcessor = 39, cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76, cudaDevAttrCooperativeLaunch = 95, cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 };

struct CUstream_st;
struct CUevent_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;
constexpr unsigned cudaEventDefault = 0, cudaEventBlockingSync = 1, cudaEventDisableTiming = 2, cudaEventInterprocess = 4;
constexpr unsigned cudaStreamDefault = 0, cudaStreamNonBlocking = 1;
struct cudaFuncAttributes { int numRegs = 32; int maxThreadsPerBlock = 1024; size_t sharedSizeBytes = 0, constSizeBytes = 0, localSizeBytes = 0; };
struct cudaDeviceProp {
  char name[256] = "warploom emulator";
  size_t totalGlobalMem = size_t{16} << 30, sharedMemPerBlock = 48 << 10, sharedMemPerBlockOptin = 227 << 10, sharedMemPerMultiprocessor = 228 << 10;
  int regsPerBlock = 65536, warpSize = 32, maxThreadsPerBlock = 1024, maxThreadsDim[3] = {1024, 1024, 64}, maxGridSize[3] = {2147483647, 65535, 65535};
  int clockRate = 1000000, major = 9, minor = 0, multiProcessorCount = 8, maxThreadsPerMultiProcessor = 2048, l2CacheSize = 50 << 20, cooperativeLaunch = 1;
};

inline const char* cudaGetErrorName(cudaError_t e) { return e == cudaSuccess ? "cudaSuccess" : "cudaError"; }
inline const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInvalidSymbol: return "invalid device symbol";
    case cudaErrorNotSupported: return "operation not supported";
    default: return "unknown error";
  }
}
inline cudaError_t cudaPeekAtLastError() { return static_cast<cudaError_t>(wl::last_error); }
inline cudaError_t cudaGetLastError() {
  auto e = cudaPeekAtLastError();
  wl::last_error = 0;
  return e;
}
#define WL_NO_OP(NAME) template <class... A> inline cudaError_t NAME(A&&...) { return cudaSuccess; }
WL_NO_OP(cudaDeviceSynchronize) WL_NO_OP(cudaThreadSynchronize) WL_NO_OP(cudaStreamSynchronize) WL_NO_OP(cudaStreamDestroy)
WL_NO_OP(cudaStreamWaitEvent) WL_NO_OP(cudaStreamQuery) WL_NO_OP(cudaEventRecord) WL_NO_OP(cudaEventSynchronize) WL_NO_OP(cudaEventDestroy)
WL_NO_OP(cudaEventQuery) WL_NO_OP(cudaSetDevice) WL_NO_OP(cudaDeviceReset) WL_NO_OP(cudaFuncSetAttribute) WL_NO_OP(cudaFuncSetCacheConfig)
WL_NO_OP(cudaDeviceSetCacheConfig) WL_NO_OP(cudaMemPrefetchAsync) WL_NO_OP(cudaMemAdvise) WL_NO_OP(cudaDeviceSetLimit) WL_NO_OP(cudaProfilerStart)
WL_NO_OP(cudaProfilerStop) WL_NO_OP(cudaFuncSetSharedMemConfig) WL_NO_OP(cudaDeviceSetSharedMemConfig) WL_NO_OP(cudaHostRegister) WL_NO_OP(cudaHostUnregister)
#undef WL_NO_OP
inline cudaError_t cudaStreamCreate(cudaStream_t* s) { return *s = nullptr, cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) { return *s = nullptr, cudaSuccess; }
inline cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned, int) { return *s = nullptr, cudaSuccess; }
inline cudaError_t cudaEventCreate(cudaEvent_t* e) { return *e = nullptr, cudaSuccess; }
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { return *e = nullptr, cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) { return *ms = 0.001f, cudaSuccess; }
inline cudaError_t cudaGetDevice(int* d) { return *d = 0, cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* n) { return *n = 1, cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) { return *p = cudaDeviceProp{}, cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  cudaDeviceProp p;
  switch (which) {
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(p.sharedMemPerBlock); break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(p.sharedMemPerBlockOptin); break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrCooperativeLaunch: *value = 1; break;
  }
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) { return *free_bytes = *total = size_t{16} << 30, cudaSuccess; }
template <class T>
inline cudaError_t cudaMalloc(T** p, size_t n) {
  *p = static_cast<T*>(std::aligned_alloc(256, (n + 511) / 256 * 256));
  if (!*p) return cudaErrorMemoryAllocation;
  std::memset(static_cast<void*>(*p), 0xff, n);  // what a device leaves there is not zero
  return cudaSuccess;
}
template <class T, class... A> inline cudaError_t cudaMallocManaged(T** p, size_t n, A...) { return cudaMalloc(p, n); }
template <class T, class... A> inline cudaError_t cudaMallocHost(T** p, size_t n, A...) { return cudaMalloc(p, n); }
template <class T, class... A> inline cudaError_t cudaHostAlloc(T** p, size_t n, A...) { return cudaMalloc(p, n); }
template <class T, class... A> inline cudaError_t cudaMallocAsync(T** p, size_t n, A...) { return cudaMalloc(p, n); }
template <class... A> inline cudaError_t cudaFree(void* p, A...) { return std::free(p), cudaSuccess; }
inline cudaError_t cudaFreeHost(void* p) { return cudaFree(p); }
inline cudaError_t cudaFreeAsync(void* p, cudaStream_t) { return cudaFree(p); }
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind) { return std::memmove(to, from, n), cudaSuccess; }
template <class... A> inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, A...) { return std::memmove(to, from, n), cudaSuccess; }
inline cudaError_t cudaMemset(void* p, int v, size_t n) { return std::memset(p, v, n), cudaSuccess; }
template <class... A> inline cudaError_t cudaMemsetAsync(void* p, int v, size_t n, A...) { return std::memset(p, v, n), cudaSuccess; }
inline cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind) {
  for (size_t row = 0; row < height; ++row)
    std::memmove(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
  return cudaSuccess;
}
template <class T, class... A>
inline cudaError_t cudaMemcpyToSymbol(T& symbol, const void* from, size_t n, size_t offset = 0, A...) {
  if (offset + n > sizeof symbol) return wl::last_error = cudaErrorInvalidValue, cudaErrorInvalidValue;
  return std::memcpy(reinterpret_cast<char*>(const_cast<std::remove_cv_t<T>*>(&symbol)) + offset, from, n), cudaSuccess;
}
template <class T, class... A>  // an expression that names no symbol, such as `table + 8`, is what the runtime does not know
inline cudaError_t cudaMemcpyToSymbol(const T&&, A&&...) { return wl::last_error = cudaErrorInvalidSymbol, cudaErrorInvalidSymbol; }
template <class T, class... A>
inline cudaError_t cudaMemcpyToSymbolAsync(const T&&, A&&...) { return wl::last_error = cudaErrorInvalidSymbol, cudaErrorInvalidSymbol; }
template <class T, class... A>
inline cudaError_t cudaMemcpyToSymbolAsync(T& symbol, const void* from, size_t n, size_t offset = 0, A...) {
  return cudaMemcpyToSymbol(symbol, from, n, offset);
}
template <class T, class... A>
inline cudaError_t cudaMemcpyFromSymbol(void* to, T& symbol, size_t n, size_t offset = 0, A...) {
  if (offset + n > sizeof symbol) return wl::last_error = cudaErrorInvalidValue, cudaErrorInvalidValue;
  return std::memcpy(to, reinterpret_cast<const char*>(&symbol) + offset, n), cudaSuccess;
}
template <class T, class... A>
inline cudaError_t cudaMemcpyFromSymbol(void*, const T&&, A&&...) { return wl::last_error = cudaErrorInvalidSymbol, cudaErrorInvalidSymbol; }
template <class P, class T> inline cudaError_t cudaGetSymbolAddress(P** p, T& symbol) { return *p = reinterpret_cast<P*>(&symbol), cudaSuccess; }
template <class K> inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, K) { return *a = cudaFuncAttributes{}, cudaSuccess; }
template <class K> inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, K, int threads, size_t) {
  return *n = threads ? 2048 / threads : 1, cudaSuccess;
}
template <class K, class... A> inline cudaError_t cudaOccupancyMaxPotentialBlockSize(int* grid, int* block, K, A...) { return *grid = 16, *block = 256, cudaSuccess; }

namespace wl {
template <class... A, size_t... I>
inline void call_with(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_reference_t<A>*>(args[I])...);
}
}  // namespace wl
template <class... A>
inline cudaError_t cudaLaunchKernel(void (*kernel)(A...), dim3 grid, dim3 block, void** args, size_t shared = 0, cudaStream_t = nullptr) {
  wl::call_with(kernel, args, std::index_sequence_for<A...>{});
  wl::launch({grid, block, shared});
  return cudaPeekAtLastError();
}
template <class... A>
inline cudaError_t cudaLaunchCooperativeKernel(void (*kernel)(A...), dim3 grid, dim3 block, void** args, size_t shared = 0, cudaStream_t s = nullptr) {
  return cudaLaunchKernel(kernel, grid, block, args, shared, s);
}
