// Device assert, trap and clocks: a failed assertion ends the grid and names the thread.
#pragma once
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "block.h"

namespace wl {
[[noreturn]] WL_CALL inline void stop_thread(const char* what, const char* file, int line) {
  if (!self) {
    std::fprintf(stderr, "%s:%d: %s\n", file, line, what);
    std::abort();
  }
  uint3 b = self->block;
  char place[200];
  std::snprintf(place, sizeof place, "%s:%d: kernel %s, block (%u,%u,%u), thread ", file, line, self->kernel, b.x, b.y, b.z);
  std::string thread = self->fibers ? thread_name(*self, self->current) : std::string("of a plain loop");
  throw Failure{std::string(place) + thread + ": " + what};
}
}  // namespace wl

#undef assert
#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(condition) ((condition) ? (void)0 : wl::stop_thread("assertion `" #condition "` failed", __FILE__, __LINE__))
#endif
#define __trap() wl::stop_thread("trap", __FILE__, __LINE__)
#define __brkpt() ((void)0)
inline long long clock64() { return std::chrono::steady_clock::now().time_since_epoch().count(); }
