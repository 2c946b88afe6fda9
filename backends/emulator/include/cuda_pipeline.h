#pragma once
#include "warploom/emulator.h"
// Asynchronous copies are made at once: a program that waits for them as it must cannot tell.
template <class To, class From>
inline void __pipeline_memcpy_async(To* to, const From* from, size_t bytes, size_t zeros = 0) {
  std::memcpy(static_cast<void*>(to), static_cast<const void*>(from), bytes - zeros);
  std::memset(reinterpret_cast<char*>(to) + (bytes - zeros), 0, zeros);
}
inline void __pipeline_commit() {}
inline void __pipeline_wait_prior(size_t) {}
