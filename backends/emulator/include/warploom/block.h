// One worker runs the threads of one block as fibers. In: a thread's entry function and the block's place.
// Out: barriers, warp rendezvous and a scheduler that always continues the lowest ready thread, so that one order
// is reproducible; a block in which nobody can continue ends with an error that names the waiting threads.
#pragma once
#include <cstring>
#include <string>

#include "fiber.h"
#include "vector_types.h"

namespace wl {

constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kWarp = 32;
constexpr size_t kMaxSlot = 32;
constexpr unsigned kSpinRounds = 500000;  // so often may all threads retry in vain

enum class Wait : unsigned char { none, barrier, warp, converge, step };
enum class Vote : unsigned char { none, ballot, match_any, match_all, barrier_and, barrier_or, barrier_count, together };

// What a thread asks of its warp (or, for the barrier votes, of its block) and, once resumed, what it got.
struct Request {
  unsigned mask = 0;
  int source = -1;  // lane whose value is wanted
  Vote vote = Vote::none;
  unsigned char bytes = 0;
  unsigned predicate = 0;
  unsigned result = 0;
  const void* site = nullptr;
  void (*run)(void**) = nullptr;  // `together`: what all lanes do at once, with what each of them brought
  void* mine = nullptr;
  alignas(16) unsigned char value[kMaxSlot];
  alignas(16) unsigned char got[kMaxSlot];
};

struct Thread {
  void* sp = nullptr;
  uint3 index{};
  Wait wait = Wait::none;
  unsigned steps = 0;
  Request request;
};

struct Failure {
  std::string message;
};

struct Worker {
  using Enter = void (*)(const void* body, uint3 thread, Worker& worker);

  // Place
  uint3 block{};
  dim3 block_dim, grid_dim;
  const char* kernel = "";
  unsigned current = 0;
  unsigned threads_in_block = 0;
  // Bit sets, one word a warp
  unsigned ready[kWarp] = {}, live[kWarp] = {}, started[kWarp] = {}, at_warp[kWarp] = {}, parked[kWarp] = {};
  unsigned ready_warps = 0;
  unsigned live_count = 0, at_barrier = 0;
  unsigned spins = 0, spin_rounds = 0;
  unsigned deferred[kWarp] = {};
  bool any_deferred = false;
  // Body
  Enter enter = nullptr;
  const void* body = nullptr;
  void* main_sp = nullptr;
  bool failed = false;
  bool fibers = false;
  Failure failure;
  // Stacks
  char* pool[kMaxThreads] = {};
  unsigned pooled = 0, made = 0;
  char* starting = nullptr;
  // Shared memory
  // Plain loops
  char* loop_stack = nullptr;
  bool loop_stack_tried = false, loop_good = false;
  bool (*loop)(Worker&, const void* body) = nullptr;
  // The checker is another library: it starts fibers and parks lanes through these.
  void (*fiber_entry)() = nullptr;
  void (*step)(Worker&, const void* site) = nullptr;
  char* dynamic = nullptr;
  size_t dynamic_room = 0, dynamic_bytes = 0;
  Thread thread[kMaxThreads];
};

// Under the checker (and its screen) one core runs everything, and shared variables have the thread-local storage to themselves.
#if defined(WL_CHECK) || defined(WL_SCREEN)
#define WL_OWN
#else
#define WL_OWN __thread
#endif
inline WL_OWN Worker* self = nullptr;

#ifdef WL_CHECK
// What the checker is told; it lives in a library of its own (`checker.cpp`).
extern "C" {
void wl_check_block_begin(Worker*);
void wl_check_block_end(Worker*);
void wl_check_thread_begin(Worker*);
void wl_check_thread_end(Worker*);
void wl_check_barrier_arrive(Worker*, const void* site);
void wl_check_barrier_release(Worker*);
void wl_check_warp_arrive(Worker*, unsigned mask, const void* site, int synchronises);
void wl_check_warp_release(Worker*, unsigned warp, unsigned group);
void wl_check_stuck(Worker*);
unsigned wl_check_pick(Worker*);
void wl_check_fence();
void wl_check_atomic(void* at, size_t bytes, int reads, const void* site);
}
#define WL_HOOK(call) call
#else
#define WL_HOOK(call) ((void)0)
#endif

// The first access to thread-local storage in a thread allocates it, and glibc before 2.40 then clobbers vector registers (its bug 31372):
// this call takes that first access to a place where nothing is kept in one.
__attribute__((noinline, no_sanitize_thread)) inline void touch_own_storage() { asm volatile("" : : "r"(&self) : "memory"); }

#define WL_SITE __builtin_return_address(0)
#define WL_QUIET __attribute__((no_sanitize_thread))
#define WL_CALL __attribute__((noinline, no_sanitize_thread))

void fiber_main();
WL_CALL inline void resolve_parked(Worker& w, unsigned warp);

WL_QUIET inline char* take_stack(Worker& w) {
  return w.pooled ? w.pool[--w.pooled] : (++w.made, map_stack());
}

WL_QUIET inline void make_ready(Worker& w, unsigned warp, unsigned lanes) {
  w.ready[warp] |= lanes;
  if (lanes) w.ready_warps |= 1u << warp;
}

WL_QUIET inline void make_unready(Worker& w, unsigned i) {
  unsigned warp = i / kWarp;
  w.ready[warp] &= ~(1u << (i % kWarp));
  if (!w.ready[warp]) {
    w.ready_warps &= ~(1u << warp);
    if (w.parked[warp]) resolve_parked(w, warp);
  }
}

WL_CALL inline void wake_deferred(Worker& w) {
  w.any_deferred = false;
  for (unsigned warp = 0; warp < kWarp; ++warp) {
    make_ready(w, warp, w.deferred[warp]);
    w.deferred[warp] = 0;
  }
}

// The next thread to run, or -1 when nobody can.
WL_QUIET inline int pick(Worker& w) {
  if (!w.ready_warps) {
    if (!w.any_deferred || ++w.spin_rounds > kSpinRounds) return -1;
    wake_deferred(w);
  }
#ifdef WL_CHECK
  return static_cast<int>(wl_check_pick(&w));
#else
  unsigned warp = __builtin_ctz(w.ready_warps);
  return static_cast<int>(warp * kWarp + __builtin_ctz(w.ready[warp]));
#endif
}

WL_CALL inline std::string thread_name(const Worker& w, unsigned i) {
  char text[64];
  uint3 t = w.thread[i].index;
  std::snprintf(text, sizeof text, "(%u,%u,%u)", t.x, t.y, t.z);
  return text;
}

WL_CALL inline std::string waiting_threads(const Worker& w, bool (*wanted)(const Worker&, unsigned)) {
  std::string text;
  unsigned found = 0;
  for (unsigned i = 0; i < w.threads_in_block; ++i) {
    if (!wanted(w, i)) continue;
    if (found++ < 8) text += (found > 1 ? " " : "") + thread_name(w, i);
  }
  if (found > 8) text += " and " + std::to_string(found - 8) + " more";
  return text;
}

WL_CALL inline void describe_deadlock(Worker& w) {
  auto block = waiting_threads(w, [](const Worker& v, unsigned i) { return v.thread[i].wait == Wait::barrier; });
  auto warp = waiting_threads(w, [](const Worker& v, unsigned i) { return v.thread[i].wait == Wait::warp; });
  char place[160];
  std::snprintf(place, sizeof place, "deadlock in kernel %s, block (%u,%u,%u):", w.kernel, w.block.x, w.block.y, w.block.z);
  w.failure.message = place;
  if (!block.empty()) w.failure.message += " threads " + block + " wait at __syncthreads;";
  if (!warp.empty()) w.failure.message += " threads " + warp + " wait for the lanes of their mask;";
  if (block.empty() && warp.empty()) w.failure.message += " every thread spins on a value that nobody changes;";
  w.failure.message.pop_back();
}

// Leaves the block for good: the suspended fibers are dropped with their stacks.
[[noreturn]] WL_CALL inline void leave_block(Worker& w) {
  void* dropped;
  switch_stack(&dropped, w.main_sp);
  __builtin_unreachable();
}

[[noreturn]] WL_CALL inline void fail_deadlock(Worker& w) {
  WL_HOOK(wl_check_stuck(&w));
  describe_deadlock(w);
  w.failed = true;
  leave_block(w);
}

WL_QUIET inline void start_or_resume(Worker& w, unsigned next, void** from) {
  unsigned warp = next / kWarp, bit = 1u << (next % kWarp);
  w.current = next;
  void* to = w.thread[next].sp;
  if (!(w.started[warp] & bit)) {
    w.started[warp] |= bit;
    w.starting = take_stack(w);
    to = first_frame(w.starting, next, w.fiber_entry);
  }
  switch_stack(from, to);
}

#ifdef WL_DEVICE_INDEX
}  // namespace wl
inline WL_OWN uint3 threadIdx, blockIdx, blockDim, gridDim;
namespace wl {
#define WL_SET_INDEX(i) (::threadIdx = (i))
#else
#define WL_SET_INDEX(i) ((void)0)
#endif

// Gives up the processor until somebody makes the current thread ready again.
WL_QUIET inline void suspend(Worker& w) {
  unsigned me = w.current;
  int next = pick(w);
  if (next == static_cast<int>(me)) return;
  if (next < 0) fail_deadlock(w);
  start_or_resume(w, static_cast<unsigned>(next), &w.thread[me].sp);
  WL_SET_INDEX(w.thread[me].index);
}

WL_CALL inline void count_barrier_votes(Worker& w) {
  unsigned count = 0;
  for (unsigned i = 0; i < w.threads_in_block; ++i)
    if (w.live[i / kWarp] >> (i % kWarp) & 1) count += w.thread[i].request.predicate != 0;
  for (unsigned i = 0; i < w.threads_in_block; ++i) w.thread[i].request.result = count;
}

WL_QUIET inline void release_barrier(Worker& w, bool votes) {
  WL_HOOK(wl_check_barrier_release(&w));
  if (votes) count_barrier_votes(w);
  for (unsigned warp = 0; warp * kWarp < w.threads_in_block; ++warp) make_ready(w, warp, w.live[warp]);
  w.at_barrier = 0;
  w.spin_rounds = 0;
}

WL_QUIET inline void wait_at_barrier(const void* site, bool votes) {
  Worker& w = *self;
  Thread& t = w.thread[w.current];
  if (!w.fibers) throw Failure{"a barrier was reached in a kernel that was taken to have none"};
  t.wait = Wait::barrier;
  t.request.site = site;
  WL_HOOK(wl_check_barrier_arrive(&w, site));
  make_unready(w, w.current);
  if (++w.at_barrier == w.live_count) release_barrier(w, votes);
  suspend(w);
  t.wait = Wait::none;
}

// Lanes of `mask` that still run.
WL_QUIET inline unsigned group_of(const Worker& w, unsigned warp, unsigned mask) { return mask & w.live[warp]; }

WL_QUIET inline bool group_complete(const Worker& w, unsigned warp, unsigned mask) {
  unsigned group = group_of(w, warp, mask);
  if ((w.at_warp[warp] & group) != group) return false;
  for (unsigned rest = group; rest; rest &= rest - 1)
    if (w.thread[warp * kWarp + __builtin_ctz(rest)].request.mask != mask) return false;
  return true;
}

WL_CALL inline void resolve_match(Thread* lanes, unsigned group, Request& r) {
  unsigned same = 0;
  for (unsigned rest = group; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    if (!std::memcmp(lanes[lane].request.value, r.value, r.bytes)) same |= 1u << lane;
  }
  r.result = r.vote == Vote::match_any ? same : (same == group ? group : 0);
}

WL_CALL inline void resolve_together(Worker& w, Thread* lanes, unsigned group) {
  void* brought[kWarp];
  unsigned alike = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const Request& r = lanes[lane].request;
    brought[lane] = r.mine;
    alike += group >> lane & 1 && r.source < 0 && r.vote == Vote::together && r.run == lanes[0].request.run;
  }
  if (alike == kWarp) return lanes[0].request.run(brought);
  w.failure.message = std::string("an operation of a whole warp in kernel ") + w.kernel + " is not reached by all of its 32 lanes";
  w.failed = true;
  leave_block(w);
}

WL_QUIET inline void resolve_group(Worker& w, unsigned warp, unsigned group) {
  Thread* lanes = w.thread + warp * kWarp;
  unsigned ballot = 0;
  bool all_at_once = false;
  for (unsigned rest = group; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    ballot |= (lanes[lane].request.predicate != 0) << lane;
  }
  for (unsigned rest = group; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    Request& r = lanes[lane].request;
    if (r.source >= 0) {
      unsigned from = static_cast<unsigned>(r.source) < kWarp && (group >> r.source & 1) ? r.source : lane;
      std::memcpy(r.got, lanes[from].request.value, kMaxSlot / 2);
      if (r.bytes > kMaxSlot / 2) std::memcpy(r.got + kMaxSlot / 2, lanes[from].request.value + kMaxSlot / 2, kMaxSlot / 2);
    } else if (r.vote == Vote::ballot) {
      r.result = ballot;
    } else if (r.vote == Vote::together) {
      all_at_once = true;
    } else if (r.vote != Vote::none) {
      resolve_match(lanes, group, r);
    }
  }
  if (all_at_once) resolve_together(w, lanes, group);
  w.at_warp[warp] &= ~group;
  WL_HOOK(wl_check_warp_release(&w, warp, group));
  make_ready(w, warp, group);
}

// The caller has filled its request; on return `result` or `got` holds the answer.
WL_QUIET inline void meet_warp(unsigned mask, const void* site, [[maybe_unused]] int synchronises) {
  Worker& w = *self;
  unsigned warp = w.current / kWarp, bit = 1u << (w.current % kWarp);
  Thread& t = w.thread[w.current];
  if (!w.fibers) throw Failure{"a warp operation was reached in a kernel that was taken to have none"};
  WL_HOOK(wl_check_warp_arrive(&w, mask, site, synchronises));
  t.request.mask = mask | bit;
  t.request.site = site;
  t.wait = Wait::warp;
  w.at_warp[warp] |= bit;
  w.ready[warp] &= ~bit;
  if (!w.ready[warp]) w.ready_warps &= ~(1u << warp);
  if (group_complete(w, warp, t.request.mask)) resolve_group(w, warp, group_of(w, warp, t.request.mask));
  if (!w.ready[warp] && w.parked[warp]) resolve_parked(w, warp);
  suspend(w);
  t.wait = Wait::none;
}

// Parked lanes wait until no lane of their warp can go on: then they are the converged ones.
WL_CALL inline void resolve_parked(Worker& w, unsigned warp) {
  Thread* lanes = w.thread + warp * kWarp;
  unsigned first = __builtin_ctz(w.parked[warp]);
  unsigned group = 0;
  for (unsigned rest = w.parked[warp]; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    if (lanes[lane].wait == Wait::step || lanes[lane].request.site == lanes[first].request.site) group |= 1u << lane;
  }
  for (unsigned rest = group; rest; rest &= rest - 1) lanes[__builtin_ctz(rest)].request.result = group;
  w.parked[warp] &= ~group;
  bool spinning = lanes[first].wait == Wait::step && ++lanes[first].steps % 256 == 0;
  if (!spinning) return make_ready(w, warp, group);
  w.deferred[warp] |= group;  // somebody else may have to move first
  w.any_deferred = true;
}

WL_QUIET inline void park(Wait why, const void* site) {
  Worker& w = *self;
  Thread& t = w.thread[w.current];
  t.wait = why;
  t.request.site = site;
  w.parked[w.current / kWarp] |= 1u << (w.current % kWarp);
  make_unready(w, w.current);
  suspend(w);
  t.wait = Wait::none;
}

WL_QUIET inline void step_lane(Worker& w, const void* site) {
  if (w.fibers) park(Wait::step, site);
}

WL_CALL inline unsigned converged_lanes(const void* site) {
  if (!self->fibers) return 1u;
  park(Wait::converge, site);
  return self->thread[self->current].request.result;
}

// Lets others run: a thread that keeps retrying an atomic may wait for one of them.
WL_CALL inline void defer() {
  Worker& w = *self;
  if (!w.fibers) return;
  w.deferred[w.current / kWarp] |= 1u << (w.current % kWarp);
  w.any_deferred = true;
  make_unready(w, w.current);
  suspend(w);
}

// Before a store to shared memory: whoever has not come as far yet goes first.
WL_QUIET inline void give_way() {
#ifndef WL_CHECK
  if (!self || !self->fibers) return;
  self->spin_rounds = 0;
  defer();
#endif
}

WL_CALL inline void finish_thread(Worker& w, unsigned i) {
  unsigned warp = i / kWarp, bit = 1u << (i % kWarp);
  w.live[warp] &= ~bit;
  --w.live_count;
  w.spin_rounds = 0;
  make_unready(w, i);
  for (unsigned rest = w.at_warp[warp]; rest; rest &= rest - 1) {
    unsigned mask = w.thread[warp * kWarp + __builtin_ctz(rest)].request.mask;
    if (group_complete(w, warp, mask)) {
      resolve_group(w, warp, group_of(w, warp, mask));
      break;
    }
  }
  if (w.live_count && w.at_barrier == w.live_count) release_barrier(w, true);
}

WL_QUIET inline void run_thread(Worker& w) {
  Thread& t = w.thread[w.current];
  WL_SET_INDEX(t.index);
  WL_HOOK(wl_check_thread_begin(&w));
  try {
    w.enter(w.body, t.index, w);
  } catch (const Failure& failure) {
    w.failure = failure;
    w.failed = true;
  }
  WL_HOOK(wl_check_thread_end(&w));
}

// Runs one thread after the other; a thread that never waits needs no switch at all.
WL_QUIET inline void fiber_main() {
  Worker& w = *self;
  char* stack = w.starting;
  for (;;) {
    unsigned me = w.current;
    run_thread(w);
    if (w.failed) leave_block(w);
    finish_thread(w, me);
    int next = w.live_count ? pick(w) : -1;
    if (next < 0 && w.live_count) fail_deadlock(w);
    unsigned warp = static_cast<unsigned>(next) / kWarp, bit = 1u << (next & 31);
    if (next >= 0 && !(w.started[warp] & bit)) {
      w.started[warp] |= bit;
      w.current = static_cast<unsigned>(next);
      continue;
    }
    w.pool[w.pooled++] = stack;
    if (next < 0) leave_block(w);
    start_or_resume(w, static_cast<unsigned>(next), &w.thread[me].sp);
  }
}

WL_QUIET inline void reset_block(Worker& w) {
  unsigned n = w.threads_in_block;
  for (unsigned warp = 0; warp < kWarp; ++warp) {
    unsigned first = warp * kWarp;
    unsigned lanes = first >= n ? 0 : n - first >= kWarp ? ~0u : (1u << (n - first)) - 1;
    w.live[warp] = w.ready[warp] = lanes;
    w.started[warp] = w.at_warp[warp] = w.parked[warp] = w.deferred[warp] = 0;
  }
  unsigned warps = (n + kWarp - 1) / kWarp;
  w.ready_warps = warps == kWarp ? ~0u : (1u << warps) - 1;
  w.live_count = n;
  w.at_barrier = w.spins = w.spin_rounds = 0;
  w.any_deferred = false;
}

// Runs all threads of the worker's block; false when the block failed.
WL_CALL inline bool run_block(Worker& w) {
  reset_block(w);
  w.failed = false;
  w.fiber_entry = &fiber_main;
  w.step = &step_lane;
  WL_HOOK(wl_check_block_begin(&w));
  start_or_resume(w, static_cast<unsigned>(pick(w)), &w.main_sp);
  WL_HOOK(wl_check_block_end(&w));
  return !w.failed;
}

WL_QUIET inline void loop_main() {
  Worker& w = *self;
  w.loop_good = w.loop(w, w.body);
  leave_block(w);
}

// Runs a block of plain loops on a stack with room for large local arrays.
WL_CALL inline bool run_loop(Worker& w) {
  if (!w.loop_stack_tried) {
    w.loop_stack = map_loop_stack();
    w.loop_stack_tried = true;
  }
  if (!w.loop_stack) return w.loop(w, w.body);
  switch_stack(&w.main_sp, first_frame(w.loop_stack, 0, &loop_main, kLoopStackBytes));
  return w.loop_good;
}

WL_QUIET inline void number_threads(Worker& w) {
  unsigned i = 0;
  for (unsigned z = 0; z < w.block_dim.z; ++z)
    for (unsigned y = 0; y < w.block_dim.y; ++y)
      for (unsigned x = 0; x < w.block_dim.x; ++x) {
        w.thread[i].wait = Wait::none;
        w.thread[i++].index = {x, y, z};
      }
  w.threads_in_block = i;
}

}  // namespace wl
