// The screen in front of the checker: a cheap look at every access of kernels whose threads never wait for one another. Comes in: the
// compiler's -fsanitize=thread calls, answered here. Goes out: "clean", or the number of the rule that something may have broken; the run
// ends there and the checker (`checker.cpp`) runs the kernel again and says what it was. Whatever the checker would report trips the screen.
//
// Every buffer has 64 GiB of addresses to itself, so that an address names its buffer by a shift. Buffers that are only read need their
// bounds alone; the others have one word per element: who touched it last in this launch (a thread's number, twice; plus one if it only
// read), or one of two marks, "several only read" and "atomic". As long as a buffer is touched in vectors of four elements alone, there is
// one word per vector.
#pragma once
#include "block.h"

#ifdef WL_SCREEN
#include <link.h>

#include <mutex>

#define WL_SCREEN_QUIET __attribute__((no_sanitize_thread, no_sanitize_undefined))
#define WL_SCREEN_CALL __attribute__((noinline, no_sanitize_thread, no_sanitize_undefined))

namespace wl {
namespace screen {

using Address = uintptr_t;
using State = uint32_t;
constexpr unsigned kSlotBits = 36, kSlots = 256;
constexpr Address kArena = Address{1} << 44;
constexpr size_t kLead = 64 << 10;  // unused bytes before a buffer and, at least, behind it
enum Kind : int { kIn = 0, kOut = 1, kInOut = 2, kTemp = 3, kOther = 5 };
enum Rule : int { kClean = 0, kBounds = 1, kAlignment = 2, kOwner = 3, kUninitialised = 4, kReadOnly = 5, kElement = 6, kIndex = 7, kElsewhere = 8, kNoRoom = 9 };

struct alignas(128) Slot {
  Address base = 0;
  // Where accesses may begin that need no closer look: before these offsets.
  size_t only_read[5] = {};  // reads of 1, 2, 4, 8 and 16 bytes of a buffer that nobody writes
  size_t bytes4 = 0;         // accesses of 4 bytes where each has its word,
  Address words4 = 0;        // which is at this distance from its address,
  size_t bytes16 = 0;        // accesses of 16 bytes where each has its word,
  State* words16 = nullptr;  // one of these
  bool fresh = false;        // holds nothing until a thread writes
  unsigned shift = 2;
  size_t bytes = 0;
  State* state = nullptr;  // null: only read
};

#pragma GCC visibility push(hidden)  // assembly in `screen_calls.h` names these
inline Slot slots[kSlots];
inline unsigned used = 0;
inline State me = 0, launch = 2, next = 2;
inline State atomic_mark = 0, readers_mark = 1;
inline int tripped = kClean, order = 0;
inline bool atomics = false, inside = false;  // inside: a thread runs, not the code that starts threads
inline Address image = 0;
inline size_t image_bytes = 0;
#pragma GCC visibility pop

// Ends the run: the block's stack is dropped.
[[noreturn]] WL_SCREEN_CALL inline void trip(Rule rule) {
  tripped = rule;
  inside = false;
  Worker& w = *self;
  w.failure.message = "screened";
  w.loop_good = false;
  leave_block(w);
}

// What the compiler's other checks call, host code included.
WL_SCREEN_CALL inline void suspect(Rule rule) {
  if (inside) trip(rule);
}

WL_SCREEN_CALL inline int find_image(dl_phdr_info* info, size_t, void*) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    auto& p = info->dlpi_phdr[i];
    Address at = info->dlpi_addr + p.p_vaddr;
    if (p.p_type == PT_LOAD && reinterpret_cast<Address>(&slots) - at < p.p_memsz) image = at, image_bytes = p.p_memsz;
  }
  return 0;
}

// Not in a buffer: the thread's own stack and the module's variables are nobody's concern.
WL_SCREEN_CALL inline void elsewhere(Address a, size_t bytes) {
  if (a - reinterpret_cast<Address>(self->loop_stack) < kLoopStackBytes - bytes) return;
  if (!image) dl_iterate_phdr(&find_image, nullptr);
  if (a - image < image_bytes - bytes) return;
  const Slot& slot = slots[(a >> kSlotBits) % kSlots];
  trip(slot.bytes && a - slot.base + kLead < slot.bytes + 2 * kLead ? kBounds : kElsewhere);
}

WL_SCREEN_QUIET inline __attribute__((always_inline)) void read_cell(const Slot& slot, State& cell) {
  State s = cell, mine = me;
  if (__builtin_expect(s < launch, 1)) {
    if (!s && slot.fresh) trip(kUninitialised);
    cell = mine | 1;
  } else if ((s | 1) != (mine | 1) && s != readers_mark) {
    if (!(s & 1)) trip(kOwner);
    cell = readers_mark;
  }
}

WL_SCREEN_QUIET inline __attribute__((always_inline)) void write_cell(State& cell) {
  State s = cell, mine = me;
  if (__builtin_expect(s >= launch && (s | 1) != (mine | 1), 0)) trip(kOwner);
  cell = mine;
}

// An access that does not fit its buffer, or is not aligned as its size wants.
WL_SCREEN_CALL inline void odd(Address a, size_t bytes) {
  const Slot& slot = slots[(a >> kSlotBits) % kSlots];
  if (a - slot.base < slot.bytes && bytes <= slot.bytes - (a - slot.base)) trip(kAlignment);
  elsewhere(a, bytes);
}

using Four = State __attribute__((vector_size(16), may_alias, aligned(4)));
WL_SCREEN_QUIET inline __attribute__((always_inline)) bool none(Four x) {
  using Two = long long __attribute__((vector_size(16)));
  const Two y = (Two)x;
  return !(y[0] | y[1]);
}

// Four neighbours at once; false where one of them needs a closer look.
template <bool kWrite>
WL_SCREEN_QUIET inline __attribute__((always_inline)) bool four_cells(const Slot& slot, State* state) {
  Four& cells = *reinterpret_cast<Four*>(state);
  const Four s = cells;
  const State mine = me;
  if constexpr (kWrite) {
    if (!none((Four)(s >= launch) & (Four)((s | 1) != (mine | 1)))) return false;
    cells = Four{mine, mine, mine, mine};
  } else {
    if (!none((Four)(s >= launch) | ((Four)(s == 0) & (slot.fresh ? ~0u : 0u)))) return false;
    cells = Four{mine, mine, mine, mine} | 1;
  }
  return true;
}

inline size_t room_for(const Slot& slot, size_t access) { return slot.bytes < access ? 0 : slot.bytes - (access - 1); }

// From here on each element has a word of its own.
WL_SCREEN_CALL inline void narrow(Slot& slot) {
  if (slot.words16)
    for (size_t i = slot.bytes / 16; i--;) {
      const State s = slot.state[i];
      for (size_t part = 0; part < 4; ++part) slot.state[4 * i + part] = s;
    }
  slot.words16 = nullptr;
  slot.bytes16 = 0;
  if (slot.shift != 2) return;
  slot.words4 = reinterpret_cast<Address>(slot.state) - slot.base;
  slot.bytes4 = room_for(slot, 4);
}

// From here on each vector of four elements has a word.
inline void widen(Slot& slot) {
  slot.words16 = slot.state;
  slot.bytes16 = room_for(slot, 16);
}

// An access; its common cases do not come here (`screen_calls.h`).
template <size_t kBytes, bool kWrite>
WL_SCREEN_CALL inline void observe(Address a) {
  if (!inside) return;
  Slot& slot = slots[(a >> kSlotBits) % kSlots];
  const Address off = a - slot.base;
  if (off >= slot.bytes || kBytes > slot.bytes - off || a % kBytes) return odd(a, kBytes);
  if (!slot.state) {
    if (kWrite) trip(kReadOnly);
    return;
  }
  if (kBytes >> slot.shift == 0) trip(kElement);
  if (!slot.words4 && !slot.words16 && kBytes == 16 && slot.shift == 2) widen(slot);
  if (!slot.words4 && kBytes != 16) narrow(slot);
  State* state = slot.state + (slot.words16 ? off / 16 : off >> slot.shift);
  if (kBytes == 16 && slot.words4 && four_cells<kWrite>(slot, state)) return;
  State* const stop = state + (slot.words16 ? 1 : kBytes >> slot.shift);
  do
    if constexpr (kWrite) write_cell(*state);
    else read_cell(slot, *state);
  while (++state != stop);
}

WL_SCREEN_CALL inline void access_range(Address a, size_t bytes, bool write) {
  if (!inside) return;
  Slot& slot = slots[(a >> kSlotBits) % kSlots];
  const Address off = a - slot.base;
  if (!bytes) return;
  if (off >= slot.bytes || bytes > slot.bytes - off) return elsewhere(a, bytes);
  if (!slot.state && write) trip(kReadOnly);
  if (!slot.state) return;
  const size_t item = size_t{1} << slot.shift;
  if (off % item || bytes % item) trip(kElement);
  narrow(slot);
  State* state = slot.state + (off >> slot.shift);
  for (State* stop = state + (bytes >> slot.shift); state != stop; ++state)
    if (write) write_cell(*state);
    else read_cell(slot, *state);
}

WL_SCREEN_CALL inline void access_atomic(const void* at, size_t bytes) {
  if (!inside) return;
  const Address a = reinterpret_cast<Address>(at);
  Slot& slot = slots[(a >> kSlotBits) % kSlots];
  const Address off = a - slot.base;
  if (off >= slot.bytes || bytes > slot.bytes - off) return elsewhere(a, bytes);
  if (a % bytes) trip(kAlignment);
  if (!slot.state) trip(kReadOnly);
  if (bytes >> slot.shift == 0) trip(kElement);
  atomics = true;
  if (!slot.words4) narrow(slot);
  State* state = slot.state + (off >> slot.shift);
  for (State* stop = state + (bytes >> slot.shift); state != stop; ++state) {
    if (*state >= launch && *state != atomic_mark) trip(kOwner);
    if (!*state && slot.fresh) trip(kUninitialised);
    *state = atomic_mark;
  }
}

// Whether there is a stack to run on and to drop; where memory is short the checker does without.
WL_SCREEN_CALL inline bool has_stack(Worker& w) {
  if (!w.loop_stack_tried) w.loop_stack = map_loop_stack();
  w.loop_stack_tried = true;
  if (!w.loop_stack) tripped = kNoRoom;
  return w.loop_stack;
}

// Numbers for the threads of a launch and its two marks; false where they have run out.
WL_SCREEN_CALL inline bool begin_launch(unsigned long long threads) {
  if (threads > 0x7ffffff0u - next / 2) return false;
  launch = next;
  atomic_mark = launch;
  readers_mark = launch + 3;
  me = launch + 4;
  next = me + 2 * static_cast<State>(threads);
  return true;
}

// Buffers begin at different places of a page: equal ones would fall into the same sets of the cache.
inline size_t lead_of(unsigned slot) { return kLead + slot * 1280 % 32768; }
inline size_t room_of(size_t bytes) { return (bytes + kLead + 2 * kLead + 4095) / 4096 * 4096; }

inline size_t cells_of(const Slot& slot) { return ((slot.bytes >> slot.shift) + 1) * sizeof(State); }
inline std::mutex buffers;
WL_SCREEN_QUIET inline unsigned free_slot() {
  unsigned at = 0;
  while (at < kSlots && slots[at].base) ++at;
  return at;
}

inline State block_first = 0;
WL_SCREEN_QUIET inline unsigned long long begin_block(unsigned long long i, unsigned long long blocks, unsigned threads) {
  if (order == 1) i = blocks - 1 - i;
  block_first = launch + 4 + 2 * static_cast<State>(i) * threads;
  return i;
}
WL_SCREEN_CALL inline State enter_block() {
  inside = true;
  return block_first;
}
WL_SCREEN_CALL inline void end_block() { inside = false; }
WL_SCREEN_CALL inline bool backwards() { return order == 1; }
inline __attribute__((always_inline)) void set_thread(State number) { asm volatile("movl %1, %0" : "=m"(me) : "r"(number)); }

}  // namespace screen
}  // namespace wl

#define WL_SCREEN_EXPORT extern "C" __attribute__((weak, visibility("default"), no_sanitize_thread, no_sanitize_undefined))
#define WL_SCREEN_HOOK extern "C" __attribute__((weak, visibility("hidden"), no_sanitize_thread, no_sanitize_undefined))

// A buffer of `bytes` bytes whose elements have `item` bytes; null where there is no room for one more.
WL_SCREEN_EXPORT void* wl_screen_buffer(size_t bytes, int kind, unsigned item) {
  using namespace wl::screen;
  std::lock_guard<std::mutex> hold(buffers);
  const unsigned at = free_slot();
  if (at == kSlots || bytes > (size_t{1} << (kSlotBits - 1))) return nullptr;
  const size_t room = room_of(bytes);
  void* wanted = reinterpret_cast<void*>(kArena + (Address{at} << kSlotBits));
  void* got = mmap(wanted, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (got != wanted) {
    if (got != MAP_FAILED) munmap(got, room);
    return nullptr;
  }
  Slot slot;
  slot.base = reinterpret_cast<Address>(got) + lead_of(at);
  slot.bytes = bytes;
  slot.shift = item >= 8 ? 3 : item >= 4 ? 2 : item >= 2 ? 1 : 0;
  slot.fresh = kind == kOut || kind == kTemp;
  if (kind == kIn) {
    for (unsigned i = 0; i < 5; ++i) slot.only_read[i] = room_for(slot, size_t{1} << i);
  } else {
    void* cells = mmap(nullptr, cells_of(slot), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (cells == MAP_FAILED) return munmap(got, room), nullptr;
    slot.state = static_cast<State*>(cells);
  }
  slots[at] = slot;
  used = at < used ? used : at + 1;
  return reinterpret_cast<void*>(slot.base);
}

// Gives a buffer back.
WL_SCREEN_EXPORT void wl_screen_drop(void* buffer) {
  using namespace wl::screen;
  std::lock_guard<std::mutex> hold(buffers);
  const unsigned at = static_cast<unsigned>((reinterpret_cast<Address>(buffer) - kArena) >> kSlotBits);
  Slot& slot = slots[at];
  munmap(reinterpret_cast<void*>(slot.base - lead_of(at)), room_of(slot.bytes));
  if (slot.state) munmap(slot.state, cells_of(slot));
  slot = Slot{};
}

// Whether every element of a buffer has been written.
WL_SCREEN_EXPORT int wl_screen_written(void* buffer) {
  using namespace wl::screen;
  Slot& slot = slots[(reinterpret_cast<Address>(buffer) >> kSlotBits) % kSlots];
  narrow(slot);
  for (size_t i = 0; i << slot.shift < slot.bytes; ++i)
    if (!slot.state[i]) return 0;
  return 1;
}

WL_SCREEN_EXPORT void wl_screen_free() {
  using namespace wl::screen;
  for (unsigned i = 0; i < used; ++i)
    if (slots[i].base) wl_screen_drop(reinterpret_cast<void*>(slots[i].base));
  used = 0;
  next = 2;
  tripped = kClean;
  atomics = false;
}

WL_SCREEN_EXPORT void wl_screen_order(int order) { wl::screen::order = order; }
WL_SCREEN_EXPORT int wl_screen_tripped() { return wl::screen::tripped; }
WL_SCREEN_EXPORT int wl_screen_atomics() { return wl::screen::atomics; }

// The compiler's calls would go through the linkage table, and to the checker where that is loaded, unless the assembler hears that they are
// at home.
#define WL_SCREEN_HOME(NAME) asm(".hidden " #NAME);
WL_SCREEN_HOME(__tsan_read_range) WL_SCREEN_HOME(__tsan_write_range) WL_SCREEN_HOME(__tsan_vptr_update) WL_SCREEN_HOME(__tsan_vptr_read)
WL_SCREEN_HOME(__tsan_init) WL_SCREEN_HOME(__tsan_atomic_thread_fence)
WL_SCREEN_HOME(__ubsan_handle_out_of_bounds) WL_SCREEN_HOME(__ubsan_handle_out_of_bounds_abort)
WL_SCREEN_HOME(__ubsan_handle_type_mismatch_v1) WL_SCREEN_HOME(__ubsan_handle_type_mismatch_v1_abort)

#define WL_SCREEN_SIZE(N)                                                                                                        \
  WL_SCREEN_HOME(__tsan_read##N) WL_SCREEN_HOME(__tsan_write##N) WL_SCREEN_HOME(__tsan_unaligned_read##N)                         \
  WL_SCREEN_HOME(__tsan_unaligned_write##N)                                                                                      \
  WL_SCREEN_HOOK void __tsan_read##N(void* at) { wl::screen::observe<N, false>(reinterpret_cast<uintptr_t>(at)); }           \
  WL_SCREEN_HOOK void __tsan_write##N(void* at) { wl::screen::observe<N, true>(reinterpret_cast<uintptr_t>(at)); }           \
  WL_SCREEN_HOOK void __tsan_unaligned_read##N(void* at) { wl::screen::access_range(reinterpret_cast<uintptr_t>(at), N, false); } \
  WL_SCREEN_HOOK void __tsan_unaligned_write##N(void* at) { wl::screen::access_range(reinterpret_cast<uintptr_t>(at), N, true); }
WL_SCREEN_SIZE(1) WL_SCREEN_SIZE(2) WL_SCREEN_SIZE(4) WL_SCREEN_SIZE(8) WL_SCREEN_SIZE(16)
WL_SCREEN_HOOK void __tsan_read_range(void* at, long bytes) { wl::screen::access_range(reinterpret_cast<uintptr_t>(at), static_cast<size_t>(bytes), false); }
WL_SCREEN_HOOK void __tsan_write_range(void* at, long bytes) { wl::screen::access_range(reinterpret_cast<uintptr_t>(at), static_cast<size_t>(bytes), true); }
WL_SCREEN_HOOK void __tsan_vptr_update(void*, void*) {}
WL_SCREEN_HOOK void __tsan_vptr_read(void*) {}
WL_SCREEN_HOOK void __tsan_init() {}
#define WL_SCREEN_ATOMIC(N, T)                                                                                                                                                     \
  WL_SCREEN_HOME(__tsan_atomic##N##_load) WL_SCREEN_HOME(__tsan_atomic##N##_store) WL_SCREEN_HOME(__tsan_atomic##N##_exchange) \
  WL_SCREEN_HOME(__tsan_atomic##N##_fetch_add) WL_SCREEN_HOME(__tsan_atomic##N##_fetch_sub) WL_SCREEN_HOME(__tsan_atomic##N##_fetch_and) \
  WL_SCREEN_HOME(__tsan_atomic##N##_fetch_or) WL_SCREEN_HOME(__tsan_atomic##N##_fetch_xor) \
  WL_SCREEN_HOME(__tsan_atomic##N##_compare_exchange_strong) WL_SCREEN_HOME(__tsan_atomic##N##_compare_exchange_weak) \
  WL_SCREEN_HOOK T __tsan_atomic##N##_load(const volatile void* p, int) { wl::screen::access_atomic(const_cast<const void*>(p), sizeof(T)); return __atomic_load_n((const volatile T*)p, 0); } \
  WL_SCREEN_HOOK void __tsan_atomic##N##_store(volatile void* p, T v, int) { wl::screen::access_atomic(const_cast<void*>(p), sizeof(T)); __atomic_store_n((volatile T*)p, v, 0); } \
  WL_SCREEN_HOOK T __tsan_atomic##N##_exchange(volatile void* p, T v, int) { wl::screen::access_atomic(const_cast<void*>(p), sizeof(T)); return __atomic_exchange_n((volatile T*)p, v, 0); } \
  WL_SCREEN_HOOK T __tsan_atomic##N##_fetch_add(volatile void* p, T v, int) { wl::screen::access_atomic(const_cast<void*>(p), sizeof(T)); return __atomic_fetch_add((volatile T*)p, v, 0); } \
  WL_SCREEN_HOOK T __tsan_atomic##N##_fetch_sub(volatile void* p, T v, int) { wl::screen::access_atomic(const_cast<void*>(p), sizeof(T)); return __atomic_fetch_sub((volatile T*)p, v, 0); } \
  WL_SCREEN_HOOK T __tsan_atomic##N##_fetch_and(volatile void* p, T v, int) { wl::screen::access_atomic(const_cast<void*>(p), sizeof(T)); return __atomic_fetch_and((volatile T*)p, v, 0); } \
  WL_SCREEN_HOOK T __tsan_atomic##N##_fetch_or(volatile void* p, T v, int) { wl::screen::access_atomic(const_cast<void*>(p), sizeof(T)); return __atomic_fetch_or((volatile T*)p, v, 0); }   \
  WL_SCREEN_HOOK T __tsan_atomic##N##_fetch_xor(volatile void* p, T v, int) { wl::screen::access_atomic(const_cast<void*>(p), sizeof(T)); return __atomic_fetch_xor((volatile T*)p, v, 0); } \
  WL_SCREEN_HOOK bool __tsan_atomic##N##_compare_exchange_strong(volatile void* p, void* e, T v, int, int) { wl::screen::access_atomic(const_cast<void*>(p), sizeof(T)); return __atomic_compare_exchange_n((volatile T*)p, (T*)e, v, false, 0, 0); } \
  WL_SCREEN_HOOK bool __tsan_atomic##N##_compare_exchange_weak(volatile void* p, void* e, T v, int, int) { wl::screen::access_atomic(const_cast<void*>(p), sizeof(T)); return __atomic_compare_exchange_n((volatile T*)p, (T*)e, v, false, 0, 0); }
WL_SCREEN_ATOMIC(8, unsigned char) WL_SCREEN_ATOMIC(16, unsigned short) WL_SCREEN_ATOMIC(32, unsigned) WL_SCREEN_ATOMIC(64, unsigned long)
WL_SCREEN_HOOK void __tsan_atomic_thread_fence(int) {}

WL_SCREEN_HOOK void __ubsan_handle_out_of_bounds(void*, void*) { wl::screen::suspect(wl::screen::kIndex); }
WL_SCREEN_HOOK void __ubsan_handle_out_of_bounds_abort(void*, void*) { wl::screen::suspect(wl::screen::kIndex); }
WL_SCREEN_HOOK void __ubsan_handle_type_mismatch_v1(void*, void*) { wl::screen::suspect(wl::screen::kAlignment); }
WL_SCREEN_HOOK void __ubsan_handle_type_mismatch_v1_abort(void*, void*) { wl::screen::suspect(wl::screen::kAlignment), __builtin_trap(); }
#include "screen_calls.h"
#endif
