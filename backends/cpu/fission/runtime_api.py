"""What host code still uses of CUDA's runtime, as it is on one machine: memory is memory, streams and events do nothing.

Comes in: the text of a translated file. Goes out: the definitions that it needs, and which statements can go because they do nothing.
"""

from __future__ import annotations

import re

_DOES_NOTHING = (
    "cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaThreadSynchronize", "cudaFuncSetAttribute", "cudaFuncSetCacheConfig", "cudaSetDevice",
    "cudaDeviceSetCacheConfig", "cudaGetLastError", "cudaPeekAtLastError", "cudaStreamCreate", "cudaStreamCreateWithFlags",
    "cudaStreamCreateWithPriority", "cudaStreamDestroy", "cudaEventCreate", "cudaEventCreateWithFlags", "cudaEventRecord", "cudaEventSynchronize",
    "cudaEventDestroy", "cudaStreamWaitEvent", "cudaDeviceSetLimit", "cudaDeviceReset",
)  # fmt: skip
PARENTHESES = r"\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)"
_NOTHING = rf"(?:{'|'.join(_DOES_NOTHING)})\s*{PARENTHESES}"
_STATEMENTS = (
    rf"(?:\(void\)\s*)?{_NOTHING}",
    r"C10_CUDA_KERNEL_LAUNCH_CHECK\s*\(\s*\)|TORCH_CUDA_KERNEL_LAUNCH_CHECK\s*\(\s*\)",
    rf"\w+\s*\(\s*{_NOTHING}\s*\)",  # a macro or function that checks the answer
    rf"(?:const\s+)?(?:at::cuda::|c10::cuda::)?(?:Optional)?CUDA\w*Guard\s+\w+\s*(?:{PARENTHESES}|\{{[^{{}}]*\}})",
)
_TO_SYMBOL = """template <class T, class... A> inline cudaError_t {0}(T& symbol, const void* from, size_t bytes, size_t offset = 0, A...) {{
  if (offset + bytes > sizeof symbol) return 1;  // cudaErrorInvalidValue
  return memcpy(reinterpret_cast<char*>(&symbol) + offset, from, bytes), 0;
}}
template <class T, class... A> inline cudaError_t {0}(const T&&, A&&...) {{ return 13; }}  // cudaErrorInvalidSymbol: an expression names none
"""
_FROM_SYMBOL = """template <class T, class... A> inline cudaError_t {0}(void* to, T& symbol, size_t bytes, size_t offset = 0, A...) {{
  if (offset + bytes > sizeof symbol) return 1;  // cudaErrorInvalidValue
  return memcpy(to, reinterpret_cast<const char*>(&symbol) + offset, bytes), 0;
}}
template <class T, class... A> inline cudaError_t {0}(void*, const T&&, A&&...) {{ return 13; }}  // cudaErrorInvalidSymbol: an expression names none
"""
_NO_OP = "template <class... A> inline cudaError_t {0}(A&&...) {{ return cudaSuccess; }}\n"

# (name, what it needs besides, its definition)
_PIECES: tuple[tuple[str, str, str], ...] = (
    ("cudaError_t", "", "using cudaError_t = int;\n"),
    ("cudaError", "", "using cudaError = int;\n"),
    ("cudaSuccess", "", "constexpr int cudaSuccess = 0;\n"),
    ("cudaErrorMemoryAllocation", "", "constexpr int cudaErrorMemoryAllocation = 2;\n"),
    ("cudaStream_t", "", "using cudaStream_t = void*;\n"),
    ("cudaStreamDefault", "", "constexpr unsigned cudaStreamDefault = 0;\n"),
    ("cudaStreamNonBlocking", "", "constexpr unsigned cudaStreamNonBlocking = 1;\n"),
    ("cudaEvent_t", "", "using cudaEvent_t = void*;\n"),
    ("cudaEventDisableTiming", "", "constexpr unsigned cudaEventDisableTiming = 2;\n"),
    ("cudaEventElapsedTime", "cudaError_t", "inline cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) { return *ms = 0.0f, 0; }\n"),
    ("cudaGetErrorString", "", 'inline const char* cudaGetErrorString(int error) { return error ? "out of memory" : "no error"; }\n'),
    ("cudaGetErrorName", "", 'inline const char* cudaGetErrorName(int error) { return error ? "cudaErrorMemoryAllocation" : "cudaSuccess"; }\n'),
    ("cudaGetDevice", "cudaError_t", "inline cudaError_t cudaGetDevice(int* device) { return *device = 0; }\n"),
    ("cudaGetDeviceCount", "cudaError_t", "inline cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, 0; }\n"),
    ("cudaFuncAttributeMaxDynamicSharedMemorySize", "", "constexpr int cudaFuncAttributeMaxDynamicSharedMemorySize = 8;\n"),
    ("cudaFuncAttributePreferredSharedMemoryCarveout", "", "constexpr int cudaFuncAttributePreferredSharedMemoryCarveout = 9;\n"),
    ("cudaSharedmemCarveoutMaxShared", "", "constexpr int cudaSharedmemCarveoutMaxShared = 100;\n"),
    ("cudaFuncCachePreferL1", "", "constexpr int cudaFuncCachePreferL1 = 2;\n"),
    ("cudaFuncCachePreferShared", "", "constexpr int cudaFuncCachePreferShared = 1;\n"),
    *((name, "cudaError_t cudaSuccess", _NO_OP.format(name)) for name in _DOES_NOTHING),
    ("cudaDeviceProp", "", """struct cudaDeviceProp {
  char name[256] = "a CPU";
  size_t totalGlobalMem = size_t{16} << 30, sharedMemPerBlock = 48 << 10, sharedMemPerBlockOptin = 227 << 10, sharedMemPerMultiprocessor = 228 << 10;
  int regsPerBlock = 65536, warpSize = 32, maxThreadsPerBlock = 1024, maxThreadsDim[3] = {1024, 1024, 64}, maxGridSize[3] = {2147483647, 65535, 65535};
  int major = 9, minor = 0, multiProcessorCount = 8, maxThreadsPerMultiProcessor = 2048, l2CacheSize = 50 << 20;
};
"""),
    ("cudaGetDeviceProperties", "cudaDeviceProp cudaError_t", "inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* found, int) { return *found = {}, 0; }\n"),
    ("cudaDevAttrMultiProcessorCount", "", "constexpr int cudaDevAttrMultiProcessorCount = 8;\n"),
    ("cudaDevAttrMaxThreadsPerBlock", "", "constexpr int cudaDevAttrMaxThreadsPerBlock = 1024;\n"),
    ("cudaDevAttrMaxSharedMemoryPerBlock", "", "constexpr int cudaDevAttrMaxSharedMemoryPerBlock = 48 << 10;\n"),
    ("cudaDevAttrWarpSize", "", "constexpr int cudaDevAttrWarpSize = 32;\n"),
    ("cudaDeviceGetAttribute", "cudaError_t", "// an attribute's name is its value\ninline cudaError_t cudaDeviceGetAttribute(int* value, int which, int) { return *value = which, 0; }\n"),
    ("cudaOccupancyMaxPotentialBlockSize", "cudaError_t", "template <class K, class... A> inline cudaError_t cudaOccupancyMaxPotentialBlockSize(int* blocks, int* threads, K&&, A...) { return *blocks = 8, *threads = 256, 0; }\n"),
    ("cudaOccupancyMaxActiveBlocksPerMultiprocessor", "cudaError_t", "template <class K> inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, K&&, int threads, size_t) { return *blocks = threads ? 2048 / threads : 1, 0; }\n"),
    ("cudaMemcpyHostToDevice", "", "constexpr int cudaMemcpyHostToDevice = 1;\n"),
    ("cudaMemcpyDeviceToHost", "", "constexpr int cudaMemcpyDeviceToHost = 2;\n"),
    ("cudaMemcpyDeviceToDevice", "", "constexpr int cudaMemcpyDeviceToDevice = 3;\n"),
    ("cudaMemcpyHostToHost", "", "constexpr int cudaMemcpyHostToHost = 0;\n"),
    ("cudaMemcpyDefault", "", "constexpr int cudaMemcpyDefault = 4;\n"),
    *((name, "cudaError_t", f"template <class T, class... A> inline cudaError_t {name}(T** place, size_t bytes, A...) {{ return (*place = static_cast<T*>(malloc(bytes))) ? 0 : 2; }}\n") for name in ("cudaMalloc", "cudaMallocAsync", "cudaMallocManaged", "cudaMallocHost")),
    *((name, "cudaError_t", f"template <class... A> inline cudaError_t {name}(void* place, A...) {{ return free(place), 0; }}\n") for name in ("cudaFree", "cudaFreeAsync", "cudaFreeHost")),
    *((name, "cudaError_t", f"template <class... A> inline cudaError_t {name}(void* to, const void* from, size_t bytes, A...) {{ return memmove(to, from, bytes), 0; }}\n") for name in ("cudaMemcpy", "cudaMemcpyAsync")),
    *((name, "cudaError_t", f"template <class... A> inline cudaError_t {name}(void* place, int byte, size_t bytes, A...) {{ return memset(place, byte, bytes), 0; }}\n") for name in ("cudaMemset", "cudaMemsetAsync")),
    *((name, "cudaError_t", _TO_SYMBOL.format(name)) for name in ("cudaMemcpyToSymbol", "cudaMemcpyToSymbolAsync")),
    *((name, "cudaError_t", _FROM_SYMBOL.format(name)) for name in ("cudaMemcpyFromSymbol", "cudaMemcpyFromSymbolAsync")),
    ("cudaGetSymbolAddress", "cudaError_t", "template <class P, class T> inline cudaError_t cudaGetSymbolAddress(P** place, T& symbol) { return *place = reinterpret_cast<P*>(&symbol), 0; }\n"),
    ("C10_CUDA_CHECK", "", "#define C10_CUDA_CHECK(call) (void)(call)\n"),
    ("AT_CUDA_CHECK", "", "#define AT_CUDA_CHECK(call) (void)(call)\n"),
    ("C10_CUDA_KERNEL_LAUNCH_CHECK", "", "#define C10_CUDA_KERNEL_LAUNCH_CHECK()\n"),
)  # fmt: skip
_TORCH = """namespace c10::cuda {
struct CUDAStream {
  void* stream() const { return nullptr; }
  operator void*() const { return nullptr; }
  void synchronize() const {}
};
template <class... A> CUDAStream getCurrentCUDAStream(A&&...) { return {}; }
template <class... A> CUDAStream getDefaultCUDAStream(A&&...) { return {}; }
template <class... A> CUDAStream getStreamFromPool(A&&...) { return {}; }
struct CUDAGuard {
  template <class... A> explicit CUDAGuard(A&&...) {}
};
using OptionalCUDAGuard = CUDAGuard;
using CUDAStreamGuard = CUDAGuard;
}  // namespace c10::cuda
namespace at::cuda {
using namespace c10::cuda;
}
"""
_TORCH_PROPERTIES = """namespace at::cuda {
inline cudaDeviceProp* getCurrentDeviceProperties() {
  static cudaDeviceProp properties;
  return &properties;
}
}
"""


def without_idle_calls(body: str) -> str:
    """The text without statements that only wait, ask for errors, or choose a device or a stream."""

    def gone(m: re.Match[str]) -> str:
        before = re.sub(r"//[^\n]*|^[ \t]*#[^\n]*", "", m.string[max(0, m.start() - 400) : m.start()], flags=re.M).rstrip()
        return "" if before[-1:] in ("", ";", "{", "}") else f"{m[1]};\n"  # what an `if` or a `for` governs stays a statement

    for pattern in _STATEMENTS:
        body = re.sub(rf"^([ \t]*)(?:{pattern})\s*;[ \t]*\n", gone, body, flags=re.M)
    for stream in re.findall(r"^[ \t]*(?:const\s+)?(?:cudaStream_t|auto)\s+(\w+)\s*(?:=\s*nullptr\s*)?;", body, re.M):
        if len(re.findall(rf"\b{stream}\b", body)) == 1:
            body = re.sub(rf"^[ \t]*(?:const\s+)?(?:cudaStream_t|auto)\s+{stream}\b[^;]*;[ \t]*\n", "", body, flags=re.M)
    return body


def stand_ins(body: str) -> str:
    """Definitions of what `body` still uses."""
    wanted = set(re.findall(r"\w+", body))
    torch = bool(re.search(r"\b(?:at|c10)::cuda\b|\busing namespace (?:at|c10)\b", body))
    properties = "getCurrentDeviceProperties" in wanted
    wanted |= {"cudaDeviceProp"} if properties else set()
    needed = {word for name, needs, _ in _PIECES if name in wanted for word in needs.split()}
    own = set(re.findall(r"#[ \t]*define[ \t]+(\w+)", body))
    pieces = [text for name, _, text in _PIECES if name in (wanted | needed) - own]
    return "".join([*pieces, _TORCH if torch else "", _TORCH_PROPERTIES if properties else ""])
