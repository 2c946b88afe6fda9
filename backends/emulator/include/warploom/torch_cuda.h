// What PyTorch's CUDA headers offer to an extension, on CPU tensors: guards and streams that do nothing, checks that pass.
#pragma once
#include <torch/extension.h>

#if defined(WL_CHECK) || defined(WL_SCREEN)
#include <c10/core/CPUAllocator.h>
#endif

#include "emulator.h"

namespace c10::cuda {
struct CUDAStream {
  cudaStream_t stream() const { return nullptr; }
  operator cudaStream_t() const { return nullptr; }
  void synchronize() const {}
  int device_index() const { return 0; }
};
struct CUDAGuard {
  template <class... A> explicit CUDAGuard(A&&...) {}
  template <class... A> void set_device(A&&...) {}
};
struct OptionalCUDAGuard {
  template <class... A> explicit OptionalCUDAGuard(A&&...) {}
};
struct CUDAStreamGuard {
  template <class... A> explicit CUDAStreamGuard(A&&...) {}
};
template <class... A> inline CUDAStream getCurrentCUDAStream(A&&...) { return {}; }
template <class... A> inline CUDAStream getDefaultCUDAStream(A&&...) { return {}; }
template <class... A> inline CUDAStream getStreamFromPool(A&&...) { return {}; }
template <class... A> inline void setCurrentCUDAStream(A&&...) {}
inline int current_device() { return 0; }
inline int device_count() { return 1; }
inline void device_synchronize() {}
}  // namespace c10::cuda

namespace at::cuda {
using c10::cuda::CUDAGuard;
using c10::cuda::CUDAStream;
using c10::cuda::CUDAStreamGuard;
using c10::cuda::OptionalCUDAGuard;
using c10::cuda::current_device;
using c10::cuda::getCurrentCUDAStream;
using c10::cuda::getDefaultCUDAStream;
using c10::cuda::getStreamFromPool;
using c10::cuda::setCurrentCUDAStream;
inline cudaDeviceProp* getCurrentDeviceProperties() {
  static cudaDeviceProp properties;
  return &properties;
}
inline cudaDeviceProp* getDeviceProperties(int) { return getCurrentDeviceProperties(); }
inline int warp_size() { return 32; }
template <class T> inline T ATenCeilDiv(T a, T b) { return (a + b - 1) / b; }
}  // namespace at::cuda

// AT_DISPATCH_FLOATING_TYPES(x.type(), ...), the old way.
namespace detail {
inline c10::ScalarType scalar_type(const at::DeprecatedTypeProperties& type) { return type.scalarType(); }
}  // namespace detail

namespace torch::cuda {
inline bool warploom_is_available() { return true; }
}  // namespace torch::cuda

namespace at {
template <class T> struct RestrictPtrTraits { typedef T* __restrict__ PtrType; };
}  // namespace at
namespace torch {
using at::RestrictPtrTraits;
}  // namespace torch

template <class T> inline T gpuAtomicAdd(T* p, wl::Given<T> v) { return atomicAdd(p, v); }
template <class T> inline void gpuAtomicAddNoReturn(T* p, wl::Given<T> v) { atomicAdd(p, v); }

#define WL_CUDA_CHECK(EXPRESSION)                                                            \
  do {                                                                                       \
    cudaError_t wl_error = (EXPRESSION);                                                     \
    TORCH_CHECK(wl_error == cudaSuccess, "CUDA error: ", cudaGetErrorString(wl_error));      \
  } while (0)
#undef C10_CUDA_CHECK
#undef AT_CUDA_CHECK
#undef C10_CUDA_KERNEL_LAUNCH_CHECK
#define C10_CUDA_CHECK WL_CUDA_CHECK
#define AT_CUDA_CHECK WL_CUDA_CHECK
#define C10_CUDA_KERNEL_LAUNCH_CHECK() WL_CUDA_CHECK(cudaGetLastError())
#define TORCH_CUDA_KERNEL_LAUNCH_CHECK C10_CUDA_KERNEL_LAUNCH_CHECK
#define CUDA_KERNEL_LOOP(i, n) for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += blockDim.x * gridDim.x)

#if defined(WL_CHECK) || defined(WL_SCREEN)
// Under the checker (and its screen) every CPU tensor made from now on is a buffer that it knows.
// Its names differ: where both are loaded, what is inline in two libraries is the first one's.
#ifdef WL_CHECK
#define WL_ALLOCATOR CheckedAllocator
extern "C" void* wl_check_buffer(const char* name, size_t bytes, int kind, unsigned item);
extern "C" void wl_check_free(void* buffer);
#else
#define WL_ALLOCATOR ScreenedAllocator
#endif
namespace wl {
struct WL_ALLOCATOR final : c10::Allocator {
#ifdef WL_CHECK
  static void* get(size_t n) { return wl_check_buffer("a tensor", n, 5, 4); }
  static void give(void* p) { wl_check_free(p); }
#else
  static void* get(size_t n) {  // what finds no place there is unknown to the screen: a kernel's access trips it
    void* p = wl_screen_buffer(n, screen::kOther, 4);
    return p ? p : std::aligned_alloc(256, (n + 255) / 256 * 256);
  }
  static void give(void* p) {
    if (!p) return;
    const bool known = (reinterpret_cast<screen::Address>(p) - screen::kArena) >> screen::kSlotBits < screen::kSlots;
    known ? wl_screen_drop(p) : std::free(p);
  }
#endif
  c10::DataPtr allocate(size_t n) override {
    void* p = n ? get(n) : nullptr;
    return {p, p, &give, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give; }
  void copy_data(void* to, const void* from, size_t n) const override { std::memcpy(to, from, n); }
};
static WL_ALLOCATOR* const own_allocator = new WL_ALLOCATOR;
static const int allocator_set = (c10::SetCPUAllocator(own_allocator, 255), 0);
}  // namespace wl
#endif
