// Launches. In: a kernel body (a lambda over threadIdx, blockIdx, blockDim, gridDim) and a launch configuration.
// Out: the whole grid has run: barrier-free bodies as plain loops, others as fibers; blocks in parallel over cores
// unless the body orders them (atomics, fences, printf), where block 0 runs first, then 1, and so on.
#pragma once
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "block.h"
#include "screen.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace wl {

struct Config {
  dim3 grid, block;
  size_t shared = 0;
  Config(dim3 g, dim3 b, size_t s = 0, const void* /*stream*/ = nullptr) : grid(g), block(b), shared(s) {}
  template <class Stream>
  Config(dim3 g, dim3 b, size_t s, const Stream&) : Config(g, b, s) {}
};

// What a kernel call leaves behind for the launch that follows it.
struct Pending {
  void (*run)(const Config&, const void* body, const char* name) = nullptr;
  void (*drop)(void* body) = nullptr;
  void* body = nullptr;
  const char* name = "";
};

inline WL_OWN Pending pending;
inline WL_OWN int last_error = 0;
constexpr int kInvalidConfiguration = 9;

inline Worker& worker() {
  static WL_OWN Worker* mine = nullptr;
  if (!mine) mine = new Worker;
  return *mine;
}

inline void reserve_dynamic(Worker& w, size_t bytes) {
  w.dynamic_bytes = bytes;
  if (bytes <= w.dynamic_room && w.dynamic) return;
  std::free(w.dynamic);
  w.dynamic_room = (bytes + 4095) / 4096 * 4096 + 4096;
  w.dynamic = static_cast<char*>(std::aligned_alloc(4096, w.dynamic_room));
}

#ifdef WL_CHECK
extern "C" char* wl_check_dynamic(size_t bytes);
extern "C" void wl_check_launch_begin(const char* kernel);
extern "C" void wl_check_launch_end();
extern "C" unsigned long long wl_check_block_at(unsigned long long i, unsigned long long count);
#endif

inline void* dynamic_shared() { return self->dynamic; }

// An `extern __shared__` array declared at namespace scope.
template <class T>
struct DynamicShared {
  operator T*() const { return static_cast<T*>(dynamic_shared()); }
};

inline uint3 place_of(const dim3& grid, unsigned long long i) {
  return {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
          static_cast<unsigned>(i / grid.x / grid.y)};
}

inline void prepare_worker(Worker& w, const Config& c, const char* name, bool fibers) {
  bool same = w.block_dim.x == c.block.x && w.block_dim.y == c.block.y && w.block_dim.z == c.block.z && w.threads_in_block;
  w.block_dim = c.block;
  w.grid_dim = c.grid;
  w.kernel = name;
  w.fibers = fibers;
#ifdef WL_CHECK
  w.dynamic = wl_check_dynamic(c.shared);
  w.dynamic_bytes = c.shared;
#else
  reserve_dynamic(w, c.shared);
#endif
  if (!same) number_threads(w);
  self = &w;
#ifdef WL_DEVICE_INDEX
  ::blockDim = c.block;
  ::gridDim = c.grid;
#endif
}

template <class Body>
struct Runner {
  struct Place {
    uint3 block;
    dim3 block_dim, grid_dim;
  };
  WL_QUIET static Body copy_of(const void* body) { return *static_cast<const Body*>(body); }
  WL_QUIET static Place place_of_block(const Worker& w) { return {w.block, w.block_dim, w.grid_dim}; }

  static void enter(const void* body, uint3 thread, Worker& w) {
    Body own = copy_of(body);  // parameters are each thread's own
    const Place place = place_of_block(w);
    own(thread, place.block, place.block_dim, place.grid_dim);
  }

  WL_QUIET static bool block_of_fibers(Worker& w, const void* body) {
    w.enter = &enter;
    w.body = body;
    return run_block(w);
  }

  WL_QUIET static bool block_of_loops(Worker& w, const void* body) {
#ifdef WL_SCREEN
    if (!screen::has_stack(w)) return false;
#endif
    w.loop = &loops;
    w.body = body;
    return run_loop(w);
  }

#ifdef WL_SCREEN
  // Instrumented, as the body that it contains: what it keeps lives in registers, and the number of the thread is stored out of the compiler's
  // sight.
#ifdef WL_DEVICE_INDEX
  WL_CALL static void set_index(uint3 at) { WL_SET_INDEX(at); }
#else
  static void set_index(uint3) {}
#endif
  static bool loops(Worker& w, const void* body) {
    const Body shared_body = copy_of(body);
    const Place place = place_of_block(w);
    const dim3 extent = place.block_dim;
    const unsigned step = screen::backwards() ? -1u : 1u;
    const uint3 first = step == 1 ? uint3{0, 0, 0} : uint3{extent.x - 1, extent.y - 1, extent.z - 1};
    screen::State me = screen::enter_block() + (step == 1 ? 0 : 2 * (extent.x * extent.y * extent.z - 1));
    unsigned z = first.z;
    for (unsigned planes = extent.z; planes; --planes, z += step) {
      unsigned y = first.y;
      for (unsigned rows = extent.y; rows; --rows, y += step) {
        unsigned x = first.x;
        for (unsigned left = extent.x; left; --left, x += step, me += 2 * step) {
          screen::set_thread(me);
          set_index(uint3{x, y, z});
          if constexpr (std::is_invocable_v<const Body&, uint3, uint3, dim3, dim3>) {
            shared_body(uint3{x, y, z}, place.block, extent, place.grid_dim);
          } else {
            Body own = shared_body;
            own(uint3{x, y, z}, place.block, extent, place.grid_dim);
          }
        }
      }
    }
    screen::end_block();
    return true;
  }
#else
  WL_QUIET static bool loops(Worker& w, const void* body) {
    const Body& shared_body = *static_cast<const Body*>(body);
    const uint3 block = w.block;
    const dim3 extent = w.block_dim, grid = w.grid_dim;
    try {
      for (unsigned z = 0; z < extent.z; ++z)
        for (unsigned y = 0; y < extent.y; ++y)
#pragma GCC ivdep
          for (unsigned x = 0; x < extent.x; ++x) {
            WL_SET_INDEX((uint3{x, y, z}));
            Body own = shared_body;
            own(uint3{x, y, z}, block, extent, grid);
          }
    } catch (const Failure& failure) {
      w.failure = failure;
      w.failed = true;
      return false;
    }
    return true;
  }
#endif
};

// Cores that blocks may share: one, unless the process says otherwise. A process forked from one that has used a team of threads must not
// wait for a team of its own.
inline int cores() {
  static const int allowed = [] {
    const char* text = std::getenv("WARPLOOM_EMULATOR_CORES");
    return text && std::atoi(text) > 1 ? std::atoi(text) : 1;
  }();
  return allowed;
}

template <class Body, bool kFibers, bool kOrdered>
struct Grid {
  WL_QUIET static bool one_block(Worker& w, const Config& c, const void* body, unsigned long long i) {
    w.block = place_of(c.grid, i);
#ifdef WL_DEVICE_INDEX
    ::blockIdx = w.block;
#endif
    if constexpr (kFibers)
      return Runner<Body>::block_of_fibers(w, body);
    else
      return Runner<Body>::block_of_loops(w, body);
  }

  static void run(const Config& c, const void* body, const char* name) {
    const unsigned long long blocks = 1ull * c.grid.x * c.grid.y * c.grid.z;
    const unsigned long long threads = blocks * c.block.x * c.block.y * c.block.z;
    Failure failure;
    bool failed = false;
#ifdef WL_CHECK
    wl_check_launch_begin(name);
    Worker& w = worker();
    prepare_worker(w, c, name, true);
    for (unsigned long long i = 0; i < blocks && !failed; ++i)
      if (!one_block(w, c, body, wl_check_block_at(i, blocks))) failure = w.failure, failed = true;
    self = nullptr;
    wl_check_launch_end();
#elif defined(WL_SCREEN)
    Worker& w = worker();
    prepare_worker(w, c, name, false);
    if (kFibers || !screen::begin_launch(threads)) failed = true;
    for (unsigned long long i = 0; i < blocks && !failed; ++i)
      if (!one_block(w, c, body, screen::begin_block(i, blocks, w.threads_in_block))) failed = true;
    self = nullptr;
    if (failed) failure.message = "screened";
#else
#pragma omp parallel num_threads(cores()) if (!kOrdered && cores() > 1 && blocks > 1 && threads > (kFibers ? 1024 : 65536))
    {
      touch_own_storage();
      Worker& w = worker();
      prepare_worker(w, c, name, kFibers);
#pragma omp for schedule(dynamic, blocks / 256 + 1)
      for (unsigned long long i = 0; i < blocks; ++i) {
        if (__atomic_load_n(&failed, __ATOMIC_RELAXED)) continue;
        if (one_block(w, c, body, i)) continue;
#pragma omp critical(warploom_failure)
        if (!failed) failure = w.failure, __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
      }
      self = nullptr;
    }
#endif
    if (failed) throw std::runtime_error(failure.message);
  }
};

// Of a kernel that changes none of its parameters: all threads may work on one copy. Where nothing is observed the compiler sees that by itself.
#ifdef WL_SCREEN
#define WL_SHARED_PARAMETERS
#else
#define WL_SHARED_PARAMETERS mutable
#endif

// Called by a rewritten kernel: keeps its body until `launch` says where it runs.
template <bool kFibers, bool kOrdered, class Body>
inline void prepare(const char* name, Body&& body) {
  touch_own_storage();
  using Own = std::decay_t<Body>;
#ifdef WL_CHECK
  constexpr bool fibers = true;
#else
  constexpr bool fibers = kFibers;
#endif
  pending = {&Grid<Own, fibers, kOrdered>::run, [](void* b) { delete static_cast<Own*>(b); }, new Own(std::forward<Body>(body)), name};
}

inline bool launchable(const Config& c) {
  const unsigned long long threads = 1ull * c.block.x * c.block.y * c.block.z;
  return threads >= 1 && threads <= kMaxThreads && c.block.z <= 64 && c.grid.x >= 1 && c.grid.y >= 1 && c.grid.z >= 1 &&
         c.grid.y <= 65535 && c.grid.z <= 65535 && c.grid.x <= 2147483647u;
}

inline void launch(const Config& c) {
  Pending p = pending;
  pending = {};
  if (!p.run) throw std::runtime_error("a launch without a kernel");
  struct Drop {
    Pending& p;
    ~Drop() { p.drop(p.body); }
  } drop{p};
  if (self) throw std::runtime_error("a kernel launched from a kernel is not supported by the emulator");
  if (!launchable(c)) {
    last_error = kInvalidConfiguration;
    return;
  }
  p.run(c, p.body, p.name);
}

}  // namespace wl

#ifdef WL_CHECK
extern "C" void wl_check_reached_end();
#define WL_REACHED_END ::wl_check_reached_end()
#else
#define WL_REACHED_END ((void)0)
#endif
