// Stackful fibers. In: an entry function. Out: a stack whose first switch runs it, and `switch_stack`.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#ifndef __x86_64__
#error "the CUDA emulator switches fibers with x86-64 assembly"
#endif

namespace wl {

// Saves the callee-saved registers and the stack pointer to *from, continues at `to`.
inline __attribute__((naked, noinline, no_sanitize_thread)) void switch_stack(void** /*from*/, void* /*to*/) {
  asm volatile(
      "pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
      "movq %rsp, (%rdi)\n\tmovq %rsi, %rsp\n\t"
      "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret");
}

#ifndef WL_STACK_BYTES
#define WL_STACK_BYTES (256u << 10)
#endif
constexpr size_t kStackBytes = WL_STACK_BYTES;
constexpr size_t kGuardBytes = 4096;

// The lowest page is a guard: an overflow faults instead of overwriting a neighbour.
inline char* map_stack() {
  void* base = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    std::perror("emulator: no memory for a thread's stack");
    std::abort();
  }
  mprotect(base, kGuardBytes, PROT_NONE);
  return static_cast<char*>(base);
}

// A stack for plain loops, whose threads may hold large local arrays; null (then the caller's own serves) where memory is short.
constexpr size_t kLoopStackBytes = size_t{512} << 20;
inline char* map_loop_stack() {
  void* base = mmap(nullptr, kLoopStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return base == MAP_FAILED ? nullptr : static_cast<char*>(base);
}

// Stack tops are staggered by `color` cache lines: equal offsets would all fall into the same cache set.
inline void* first_frame(char* stack, unsigned color, void (*entry)(), size_t bytes = kStackBytes) {
  char* top = stack + bytes - 64 * (color % 48);
  void** sp = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{63});
  *--sp = nullptr;
  *--sp = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--sp = nullptr;
  return sp;
}

}  // namespace wl
