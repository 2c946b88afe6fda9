// The checker behind `run --check`. Comes in: every load and store of an instrumented kernel (the compiler's
// -fsanitize=thread calls, answered here instead of by its own runtime), barriers, warp meetings and fences.
// Goes out: findings, one line of tab-separated fields each, read by `check.py`.
//
// Per granule of memory a cell keeps the last write and the last reads of two different threads. Two accesses race when
// at least one writes and nothing orders them: in a block a barrier (its epoch) or, within a warp, a warp meeting; between
// blocks a __threadfence followed by an atomic on one side and an atomic on the same word on the other.
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdarg>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#define WL_CHECK 1
#include "warploom/block.h"

extern "C" void* __tls_get_addr(size_t index[2]);

namespace {

using wl::Worker;
using Address = uintptr_t;
constexpr Address kRedZone = 64 << 10;
constexpr unsigned kAtomic = 1, kVolatile = 2;
enum class Kind : int { in = 0, out = 1, inout = 2, temp = 3, shared = 4, other = 5 };

struct Access {
  uint32_t block = 0, site = 0, epoch = 0;
  uint16_t meeting = 0;
  uint16_t thread : 10, flags : 2, unused : 4;
};
struct Cell {
  Access write, read, read_before;
};

struct Region {
  Address base = 0;
  size_t bytes = 0;
  Kind kind = Kind::other;
  std::string name;
  unsigned shift = 2;
  Cell* cells = nullptr;
  bool tracked = false;
  Address red = kRedZone;  // shared variables have none: what lies beside them is somebody else's
  bool near(Address a) const { return a - (base - red) < bytes + 2 * red; }
  bool shared() const { return kind == Kind::shared; }
};

struct Finding {
  const char *tool, *kind;
  std::string space, kernel, buffer;
  uint32_t block, thread, site;
  bool has_other = false;
  uint32_t other_block = 0, other_thread = 0, other_site = 0;
  std::string detail;
  uint32_t reads_first = 0;  // of a plain read and an atomic: where the read is
};

struct Release {
  uint32_t epoch, thread;
  size_t order;
};
struct PendingWrite {  // a write that conflicts with a write: harmless when it stores what is there
  bool active = false;
  Address at = 0;
  unsigned bytes = 0;
  unsigned char before[16];
  Finding finding;
};
struct PendingRead {  // a plain read of an atomically written word: harmless when the reader then updates it atomically
  uint32_t thread;
  Address at;
  Finding finding;
};
struct PerThread {
  uint16_t meeting = 0;
  uint32_t barriers = 0;
  bool fenced = false, reached_end = false, ended = false;
};

struct State {
  Worker* worker = nullptr;
  std::vector<Region*> regions;  // sorted by base
  Region *last = nullptr, *before = nullptr;  // the two that were found last
  std::pair<Address, Address> known{};        // of the process's own memory, what was asked for last
  Region dynamic, fixed;
  Address module_base = 0;
  uint32_t launch_base = 1, next_block = 1, block = 0, epoch = 0;
  bool block_fenced = false;
  uint16_t meetings[wl::kWarp] = {};
  PerThread thread[wl::kMaxThreads];
  std::vector<Finding> findings;
  std::set<std::tuple<std::string, uint32_t, uint32_t>> seen;
  PendingWrite pending_write;
  bool bad_index = false;
  Finding index_finding;
  std::vector<PendingRead> pending_reads;
  bool swaps = false;  // the access under way reads for a compare-and-swap
  std::set<uint32_t> begins_swap;  // sites whose reads some thread followed by a compare-and-swap of the same word
  std::unordered_map<Address, std::unordered_map<uint32_t, Release>> releases;
  std::vector<std::pair<Address, size_t>> acquired;  // by the running block
  std::vector<std::pair<Address, Address>> maps;
  unsigned abandoned = 0;
  int order = 0;
  std::string report;
  char* dynamic_room = nullptr;
} g;

WL_QUIET uint32_t me() { return g.worker->current; }
WL_QUIET uint32_t offset_of(const void* pc) { return static_cast<uint32_t>(reinterpret_cast<Address>(pc) - g.module_base); }

// ---------------------------------------------------------------- findings

WL_QUIET Finding new_finding(const char* tool, const char* kind, const char* space, uint32_t site) {
  Finding f{tool, kind, space, g.worker->kernel, "", g.block - g.launch_base, me(), site};
  return f;
}

WL_QUIET void add(Finding f) {
  if (g.findings.size() >= 200) return;
  if (!g.seen.emplace(std::string(f.tool) + f.kind, f.site, f.has_other ? f.other_site : 0).second) return;
  g.findings.push_back(std::move(f));
}

WL_QUIET void set_other(Finding& f, const Access& a) {
  f.has_other = true;
  f.other_block = a.block - g.launch_base;
  f.other_thread = a.thread;
  f.other_site = a.site;
}

WL_QUIET void settle_write() {
  PendingWrite& p = g.pending_write;
  if (!p.active) return;
  p.active = false;
  if (std::memcmp(p.before, reinterpret_cast<const void*>(p.at), p.bytes)) add(p.finding);
}

WL_QUIET void settle_reads(uint32_t thread) {
  auto& reads = g.pending_reads;
  for (size_t i = 0; i < reads.size();) {
    if (reads[i].thread != thread) {
      ++i;
      continue;
    }
    add(reads[i].finding);
    reads[i] = reads.back();
    reads.pop_back();
  }
}

WL_QUIET void forgive_reads(uint32_t thread, Address at) {
  auto& reads = g.pending_reads;
  reads.erase(std::remove_if(reads.begin(), reads.end(), [&](const PendingRead& r) { return r.thread == thread && r.at == at; }), reads.end());
}

// The current thread cannot go on (its access would fault): the block continues without it.
[[noreturn]] WL_QUIET void abandon() {
  Worker& w = *g.worker;
  if (++g.abandoned > 512) {
    w.failed = true;
    w.failure.message = "too many threads ended by bad accesses";
    wl::leave_block(w);
  }
  g.thread[w.current].ended = true;
  wl::finish_thread(w, w.current);
  int next = w.live_count ? wl::pick(w) : -1;
  if (next < 0 && w.live_count) wl::fail_deadlock(w);
  if (next < 0) wl::leave_block(w);
  void* dropped;
  wl::start_or_resume(w, static_cast<unsigned>(next), &dropped);
  __builtin_unreachable();
}

// ---------------------------------------------------------------- memory

WL_QUIET Cell* new_cells(size_t count) {
  void* p = mmap(nullptr, std::max<size_t>(count, 1) * sizeof(Cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<Cell*>(p);
}
WL_QUIET size_t cell_count(const Region& r) { return (r.bytes >> r.shift) + 1; }

// A smaller access than any before: every cell becomes several.
WL_QUIET void refine(Region& r, unsigned shift) {
  size_t old_count = cell_count(r), parts = size_t{1} << (r.shift - shift);
  Cell* fine = new_cells(old_count * parts);
  for (size_t i = 0; i < old_count; ++i)
    if (r.cells[i].write.site || r.cells[i].read.site)
      for (size_t k = 0; k < parts; ++k) fine[i * parts + k] = r.cells[i];
  munmap(r.cells, old_count * sizeof(Cell));
  r.cells = fine;
  r.shift = shift;
}

WL_QUIET void insert_region(Region* r) {
  auto at = std::lower_bound(g.regions.begin(), g.regions.end(), r->base, [](Region* a, Address b) { return a->base < b; });
  g.regions.insert(at, r);
}
WL_QUIET void remove_region(Region* r) {
  g.regions.erase(std::remove(g.regions.begin(), g.regions.end(), r), g.regions.end());
  if (g.last == r) g.last = nullptr;
  if (g.before == r) g.before = nullptr;
}

WL_QUIET Region* find_region(Address a) {
  auto above = std::upper_bound(g.regions.begin(), g.regions.end(), a, [](Address x, Region* r) { return x < r->base; });
  Region* best = nullptr;
  if (above != g.regions.begin() && (*(above - 1))->near(a)) best = *(above - 1);
  bool inside = best && a - best->base < best->bytes;
  if (!inside && above != g.regions.end() && (*above)->near(a) && !best) best = *above;
  return best;
}

WL_QUIET void read_maps() {
  g.maps.clear();
  g.known = {};
  if (FILE* f = std::fopen("/proc/self/maps", "r")) {
    char line[512], mode[8];
    unsigned long from, to;
    while (std::fgets(line, sizeof line, f))
      if (std::sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && mode[0] == 'r') g.maps.emplace_back(from, to);
    std::fclose(f);
  }
}
WL_QUIET bool in_maps(Address a) {
  auto above = std::upper_bound(g.maps.begin(), g.maps.end(), a, [](Address x, const auto& m) { return x < m.first; });
  if (above == g.maps.begin() || a >= (above - 1)->second) return false;
  g.known = *(above - 1);
  return true;
}
WL_QUIET bool mapped(Address a) {
  if (in_maps(a)) return true;
  read_maps();
  return in_maps(a);
}

// ---------------------------------------------------------------- order

WL_QUIET bool released_to_me(const Access& a) {
  for (auto& [word, count] : g.acquired) {
    auto& blocks = g.releases[word];
    auto found = blocks.find(a.block);
    if (found == blocks.end() || found->second.order >= count) continue;
    if (a.epoch < found->second.epoch || a.thread == found->second.thread) return true;
  }
  return false;
}

WL_QUIET bool conflict(const Region& r, const Access& before, unsigned flags) {
  if (!before.site) return false;
  if (before.flags && flags) return false;
  if (before.block != g.block) return !r.shared() && before.block >= g.launch_base && !released_to_me(before);
  if (before.thread == me() || before.epoch != g.epoch) return false;
  bool same_warp = before.thread / wl::kWarp == me() / wl::kWarp;
  return !(same_warp && before.meeting < g.thread[me()].meeting);
}

WL_QUIET void race(const Region& r, const Access& before, uint32_t site, Address a, unsigned bytes, bool write, bool both_write, unsigned flags) {
  Finding f = new_finding("racecheck", "race", r.shared() ? "shared" : "global", site);
  f.buffer = r.name;
  f.detail = std::string(write ? "write" : "read") + " after " + (both_write || !write ? "write" : "read");
  set_other(f, before);
  if (!both_write && (before.flags | flags) & kAtomic) f.reads_first = write ? before.site : site;
  if (both_write && bytes <= sizeof g.pending_write.before) {
    PendingWrite& p = g.pending_write;
    p.active = true;
    p.at = a;
    p.bytes = bytes;
    std::memcpy(p.before, reinterpret_cast<const void*>(a), bytes);
    p.finding = f;
  } else if (!write && (before.flags & kAtomic)) {
    if (g.pending_reads.size() < 256) g.pending_reads.push_back({me(), a, f});
  } else {
    add(f);
  }
}

WL_QUIET Access now(uint32_t site, unsigned flags) {
  Access a;
  a.block = g.block;
  a.site = site;
  a.epoch = g.epoch;
  a.meeting = g.thread[me()].meeting;
  a.thread = static_cast<uint16_t>(me());
  a.flags = static_cast<uint16_t>(flags);
  return a;
}

WL_QUIET bool initialised(const Region& r, const Cell& c) {
  if (r.shared()) return c.write.site && c.write.block == g.block;
  return c.write.site || (r.kind != Kind::out && r.kind != Kind::temp);
}

WL_QUIET void on_read(Region& r, Cell& c, uint32_t site, Address a, unsigned bytes, unsigned flags) {
  if (!initialised(r, c)) {
    Finding f = new_finding("initcheck", "uninitialised-read", r.shared() ? "shared" : "global", site);
    f.buffer = r.name;
    add(f);
  }
  if (conflict(r, c.write, flags)) race(r, c.write, site, a, bytes, false, false, flags);
  bool mine = c.read.thread == me() && c.read.block == g.block;
  if (g.swaps && mine && !(c.read.flags & kAtomic)) g.begins_swap.insert(c.read.site);
  if (c.read.site && !mine) c.read_before = c.read;
  c.read = now(site, flags);
}

WL_QUIET void on_write(Region& r, Cell& c, uint32_t site, Address a, unsigned bytes, unsigned flags) {
  if (conflict(r, c.write, flags)) race(r, c.write, site, a, bytes, true, true, flags);
  if (conflict(r, c.read, flags))
    race(r, c.read, site, a, bytes, true, false, flags);
  else if (conflict(r, c.read_before, flags))
    race(r, c.read_before, site, a, bytes, true, false, flags);
  c.write = now(site, flags);
}

// ---------------------------------------------------------------- accesses

WL_QUIET void out_of_bounds(Region* r, Address a, unsigned bytes, bool write, uint32_t site) {
  Finding f = new_finding("memcheck", write ? "out-of-bounds-write" : "out-of-bounds-read", r && r->shared() ? "shared" : "global", site);
  if (r) {
    char text[128];
    long long past = static_cast<long long>(a) - static_cast<long long>(r->base);
    if (past < 0) std::snprintf(text, sizeof text, "%u bytes, %lld before the start", bytes, -past);
    else std::snprintf(text, sizeof text, "%u bytes at %lld of %zu", bytes, past, r->bytes);
    f.buffer = r->name;
    f.detail = text;
  }
  add(f);
}

WL_QUIET void unknown(Address a, unsigned bytes, bool write, const void* pc) {
  Address here = reinterpret_cast<Address>(__builtin_frame_address(0));
  if (a - (here - 4096) < wl::kStackBytes) return;
  if (a >= 65536 && mapped(a)) return;
  if (a < 65536) add(new_finding("memcheck", "null-pointer", "global", offset_of(pc)));
  else out_of_bounds(nullptr, a, bytes, write, offset_of(pc));
  abandon();
}

// A bad index was seen; the access that follows says whether it reads or writes, and where.
WL_QUIET void settle_index(bool write, Address a) {
  Finding f = g.index_finding;
  g.bad_index = false;
  bool shared = g.fixed.near(a);  // local arrays are not instrumented: the next access is another one
  f.kind = shared && write ? "out-of-bounds-write" : "out-of-bounds-read";
  f.space = shared ? "shared" : "local";
  add(f);
}

WL_QUIET inline void access(Address a, unsigned bytes, bool write, unsigned flags, const void* pc, bool aligned) {
  if (!g.worker) return;
  if (g.pending_write.active) settle_write();
  if (g.bad_index) settle_index(write, a);
  Region* r = g.last;
  if (!r || a - r->base >= r->bytes) {
    r = g.before;
    if (!r || a - r->base >= r->bytes) r = find_region(a);
    if (!r) return unknown(a, bytes, write, pc);
    if (r != g.last) g.before = g.last;
    g.last = r;
  }
  if (aligned && (a & (bytes - 1))) {
    Finding f = new_finding("memcheck", "misaligned-access", r->shared() ? "shared" : "global", offset_of(pc));
    f.buffer = r->name;
    add(f);
    abandon();
  }
  if (a - r->base >= r->bytes || a - r->base + bytes > r->bytes) return out_of_bounds(r, a, bytes, write, offset_of(pc));
  if (!r->tracked) {
    if (!write) return;
    r->tracked = true;
  }
  if (bytes < (1u << r->shift)) refine(*r, static_cast<unsigned>(__builtin_ctz(bytes)));
  size_t first = (a - r->base) >> r->shift, stop = (a - r->base + bytes - 1) >> r->shift;
  uint32_t site = offset_of(pc);
  for (size_t i = first; i <= stop; ++i) {
    if (write) on_write(*r, r->cells[i], site, a, bytes, flags);
    else on_read(*r, r->cells[i], site, a, bytes, flags);
  }
}

WL_QUIET void access_range(Address a, size_t bytes, bool write, const void* pc) {
  while (bytes) {
    unsigned step = bytes >= 8 && a % 8 == 0 ? 8 : bytes >= 4 && a % 4 == 0 ? 4 : bytes >= 2 && a % 2 == 0 ? 2 : 1;
    access(a, step, write, 0, pc, false);
    a += step;
    bytes -= step;
  }
}

// An atomic update: acquires what others released through this word, and releases what a fence has published.
WL_QUIET void synchronise_through(Address word) {
  auto& blocks = g.releases[word];
  if (!blocks.empty()) {
    auto known = std::find_if(g.acquired.begin(), g.acquired.end(), [&](auto& p) { return p.first == word; });
    if (known == g.acquired.end()) g.acquired.emplace_back(word, blocks.size());
    else known->second = blocks.size();
  }
  if (g.thread[me()].fenced || g.block_fenced) {
    auto [at, fresh] = blocks.try_emplace(g.block, Release{g.epoch, me(), blocks.size()});
    if (!fresh) at->second.epoch = g.epoch, at->second.thread = me();
  }
}

WL_QUIET void forget_plain_reads(Address a, unsigned bytes) {
  Region* r = g.last;
  if (!r || a - r->base >= r->bytes || !r->cells) return;
  size_t first = (a - r->base) >> r->shift, stop = (a - r->base + bytes - 1) >> r->shift;
  for (size_t i = first; i <= stop; ++i)
    for (Access* read : {&r->cells[i].read, &r->cells[i].read_before})
      if (read->thread == me() && read->block == g.block) read->flags |= kAtomic;
}

WL_QUIET void name_at(const Worker& w, uint32_t linear, bool thread, std::string& out) {
  dim3 d = thread ? w.block_dim : w.grid_dim;
  char text[64];
  std::snprintf(text, sizeof text, "%u,%u,%u", linear % d.x, linear / d.x % d.y, linear / d.x / d.y);
  out = text;
}

struct ModuleQuery {
  Address code, base = 0, tls = 0;
  size_t tls_bytes = 0;
};
WL_QUIET int inspect_module(dl_phdr_info* info, size_t, void* data) {
  auto& q = *static_cast<ModuleQuery*>(data);
  bool here = false;
  size_t tls = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    auto& p = info->dlpi_phdr[i];
    if (p.p_type == PT_LOAD && q.code - (info->dlpi_addr + p.p_vaddr) < p.p_memsz) here = true;
    if (p.p_type == PT_TLS) tls = p.p_memsz;
  }
  if (!here) return 0;
  q.base = info->dlpi_addr;
  size_t index[2] = {info->dlpi_tls_modid, 0};  // dlpi_tls_data is null before the first use
  q.tls = tls ? reinterpret_cast<Address>(__tls_get_addr(index)) : 0;
  q.tls_bytes = tls;
  return 1;
}

std::vector<std::string> g_finding_places;
std::mutex g_regions;

}  // namespace

#define WL_EXPORT extern "C" __attribute__((visibility("default"), no_sanitize_thread))

// ---------------------------------------------------------------- what the driver calls

// A buffer for a kernel argument, between red zones; `item` is the size of an element.
WL_EXPORT void* wl_check_buffer(const char* name, size_t bytes, int kind, unsigned item) {
  size_t room = (bytes + 2 * kRedZone + 4095) / 4096 * 4096;
  char* at = static_cast<char*>(mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (at == MAP_FAILED) return nullptr;
  Region* r = new Region;
  r->base = reinterpret_cast<Address>(at) + kRedZone;
  r->bytes = bytes;
  r->kind = static_cast<Kind>(kind);
  r->name = name;
  r->shift = item >= 8 ? 3 : item >= 4 ? 2 : item >= 2 ? 1 : 0;
  r->tracked = r->kind != Kind::in;
  r->cells = new_cells(cell_count(*r));
  std::lock_guard<std::mutex> hold(g_regions);
  insert_region(r);
  return at + kRedZone;
}

// Bytes of a buffer that no thread wrote: their count, and the first of them in *first.
WL_EXPORT size_t wl_check_unwritten(void* buffer, size_t* first) {
  size_t count = 0;
  for (Region* r : g.regions) {
    if (r->base != reinterpret_cast<Address>(buffer)) continue;
    for (size_t i = 0; i << r->shift < r->bytes; ++i)
      if (!r->cells[i].write.site && count++ == 0) *first = i << r->shift;
    count <<= r->shift;
  }
  return count;
}

static void release_region(Region* r) {
  munmap(r->cells, cell_count(*r) * sizeof(Cell));
  munmap(reinterpret_cast<void*>(r->base - kRedZone), (r->bytes + 2 * kRedZone + 4095) / 4096 * 4096);
  delete r;
}

WL_EXPORT void wl_check_free(void* buffer) {
  std::lock_guard<std::mutex> hold(g_regions);
  for (Region* r : g.regions) {
    if (r->base != reinterpret_cast<Address>(buffer)) continue;
    remove_region(r);
    return release_region(r);
  }
}

WL_EXPORT void wl_check_free_buffers() {
  for (Region* r : g.regions)
    if (!r->shared()) release_region(r);
  g.regions.clear();
  g.last = g.before = nullptr;
  g.fixed = g.dynamic = Region{};
  g.findings.clear();
  g.seen.clear();
  g.begins_swap.clear();
  g.releases.clear();
  g_finding_places.clear();
}

WL_EXPORT void wl_check_set_order(int order) { g.order = order; }

WL_EXPORT const char* wl_check_report() {
  g.report.clear();
  for (size_t i = 0; i < g.findings.size(); ++i) {
    const Finding& f = g.findings[i];
    if (f.reads_first && g.begins_swap.count(f.reads_first)) continue;  // what it saw only says whether to swap
    char numbers[64];
    std::snprintf(numbers, sizeof numbers, "%u\t%u", f.site, f.has_other ? f.other_site : 0);
    g.report += std::string(f.tool) + "\t" + f.kind + "\t" + f.space + "\t" + f.kernel + "\t" + f.buffer + "\t" + f.detail + "\t" + numbers + "\t" + g_finding_places[i] + "\n";
  }
  return g.report.c_str();
}

// ---------------------------------------------------------------- what the emulator calls

extern "C" {

WL_EXPORT char* wl_check_dynamic(size_t bytes) {
  if (!g.dynamic_room) g.dynamic_room = static_cast<char*>(mmap(nullptr, 2 * kRedZone + (256 << 10), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  remove_region(&g.dynamic);
  if (g.dynamic.cells) munmap(g.dynamic.cells, cell_count(g.dynamic) * sizeof(Cell));
  g.dynamic = Region{reinterpret_cast<Address>(g.dynamic_room) + kRedZone, bytes, Kind::shared, "dynamic shared memory"};
  g.dynamic.cells = new_cells(cell_count(g.dynamic));
  g.dynamic.tracked = true;
  insert_region(&g.dynamic);
  return g.dynamic_room + kRedZone;
}

WL_EXPORT void wl_check_launch_begin(const char*) {
  g.launch_base = g.next_block;
  g.abandoned = 0;
  g.releases.clear();
  g_finding_places.resize(g.findings.size());
}

WL_EXPORT void wl_check_launch_end() { g.worker = nullptr; }

WL_EXPORT unsigned long long wl_check_block_at(unsigned long long i, unsigned long long count) {
  unsigned long long at = g.order == 1 ? count - 1 - i : i;
  g.block = static_cast<uint32_t>(g.launch_base + at);
  g.next_block = static_cast<uint32_t>(g.launch_base + count);
  return at;
}

WL_EXPORT void wl_check_block_begin(Worker* w) {
  ModuleQuery q{reinterpret_cast<Address>(w->enter)};
  if (!g.fixed.cells) {
    dl_iterate_phdr(&inspect_module, &q);
    g.module_base = q.base;
    g.fixed = Region{q.tls, q.tls_bytes, Kind::shared, "shared memory"};
    g.fixed.cells = new_cells(cell_count(g.fixed));
    g.fixed.tracked = true;
    g.fixed.red = 0;
    insert_region(&g.fixed);
  }
  g.epoch = 0;
  g.block_fenced = false;
  g.acquired.clear();
  for (auto& m : g.meetings) m = 0;
  for (unsigned i = 0; i < w->threads_in_block; ++i) g.thread[i] = PerThread{};
  std::memset(g.dynamic_room + kRedZone, 0xff, g.dynamic.bytes);
  g.worker = wl::self = w;
}

static void name_new_findings(const Worker& w) {
  for (size_t i = g_finding_places.size(); i < g.findings.size(); ++i) {
    const Finding& f = g.findings[i];
    std::string b, t, ob, ot;
    name_at(w, f.block, false, b);
    name_at(w, f.thread, true, t);
    name_at(w, f.other_block, false, ob);
    name_at(w, f.other_thread, true, ot);
    g_finding_places.push_back(b + "\t" + t + "\t" + (f.has_other ? ob + "\t" + ot : "\t"));
  }
}

WL_EXPORT void wl_check_block_end(Worker* w) {
  settle_write();
  for (unsigned i = 0; i < w->threads_in_block; ++i) settle_reads(i);
  name_new_findings(*w);
  g.worker = nullptr;
}

WL_EXPORT void wl_check_thread_begin(Worker*) {}
WL_EXPORT void wl_check_thread_end(Worker* w) {
  settle_write();
  if (g.bad_index) settle_index(false, 0);
  settle_reads(w->current);
  g.thread[w->current].ended = true;
}
WL_EXPORT void wl_check_reached_end() { g.thread[me()].reached_end = true; }

WL_EXPORT void wl_check_barrier_arrive(Worker* w, const void*) {
  settle_write();
  settle_reads(w->current);
  ++g.thread[w->current].barriers;
}

WL_EXPORT void wl_check_barrier_release(Worker* w) {
  const wl::Thread* first = nullptr;
  uint32_t first_at = 0;
  for (unsigned i = 0; i < w->threads_in_block; ++i) {
    const wl::Thread& t = w->thread[i];
    bool live = w->live[i / wl::kWarp] >> (i % wl::kWarp) & 1;
    if (live && !first) first = &t, first_at = i;
    bool elsewhere = live && t.request.site != first->request.site;
    if (!elsewhere) continue;
    Finding f = new_finding("synccheck", "barrier-divergence", "shared", offset_of(t.request.site));
    f.thread = i;
    Access other = now(offset_of(first->request.site), 0);
    other.thread = static_cast<uint16_t>(first_at);
    set_other(f, other);
    add(f);
  }
  for (unsigned i = 0; first && i < w->threads_in_block; ++i) {
    bool live = w->live[i / wl::kWarp] >> (i % wl::kWarp) & 1;
    if (live || !g.thread[i].reached_end || g.thread[i].barriers >= g.thread[first_at].barriers) continue;
    Finding f = new_finding("synccheck", "barrier-divergence", "shared", offset_of(first->request.site));
    f.thread = first_at;
    f.detail = "the other thread ended without reaching the barrier";
    Access other = now(f.site, 0);
    other.thread = static_cast<uint16_t>(i);
    set_other(f, other);
    add(f);
    break;
  }
  ++g.epoch;
  for (auto& m : g.meetings) m = 0;
  for (unsigned i = 0; i < w->threads_in_block; ++i) g.thread[i].meeting = 0;
}

WL_EXPORT void wl_check_warp_arrive(Worker* w, unsigned mask, const void* site, int) {
  settle_write();
  settle_reads(w->current);
  if (!(mask >> (w->current % wl::kWarp) & 1)) {
    Finding f = new_finding("synccheck", "invalid-warp-mask", "shared", offset_of(site));
    f.detail = "the mask leaves out the calling thread";
    add(f);
  }
}

WL_EXPORT void wl_check_warp_release(Worker* w, unsigned warp, unsigned group) {
  unsigned lane = static_cast<unsigned>(__builtin_ctz(group));
  const wl::Thread& t = w->thread[warp * wl::kWarp + lane];
  for (unsigned rest = t.request.mask & ~w->live[warp]; rest; rest &= rest - 1) {
    unsigned i = warp * wl::kWarp + static_cast<unsigned>(__builtin_ctz(rest));
    if (i >= w->threads_in_block || !g.thread[i].reached_end) continue;
    Finding f = new_finding("synccheck", "invalid-warp-mask", "shared", offset_of(t.request.site));
    f.thread = warp * wl::kWarp + lane;
    f.detail = "the mask names a thread that ended without taking part";
    Access other = now(f.site, 0);
    other.thread = static_cast<uint16_t>(i);
    set_other(f, other);
    add(f);
    break;
  }
  uint16_t count = ++g.meetings[warp];
  for (unsigned rest = group; rest; rest &= rest - 1) g.thread[warp * wl::kWarp + static_cast<unsigned>(__builtin_ctz(rest))].meeting = count;
}

WL_EXPORT void wl_check_stuck(Worker* w) {
  settle_write();
  int at_barrier = -1, at_warp = -1, spinning = -1;
  for (unsigned i = 0; i < w->threads_in_block; ++i) {
    if (!(w->live[i / wl::kWarp] >> (i % wl::kWarp) & 1)) continue;
    int& slot = w->thread[i].wait == wl::Wait::barrier ? at_barrier : w->thread[i].wait == wl::Wait::warp ? at_warp : spinning;
    if (slot < 0) slot = static_cast<int>(i);
  }
  int who = at_warp >= 0 ? at_warp : at_barrier >= 0 ? at_barrier : spinning;
  int other = at_warp >= 0 && at_barrier >= 0 ? at_barrier : at_barrier >= 0 && spinning >= 0 ? spinning : -1;
  auto report = [&](const char* kind) {
    Finding f = new_finding("synccheck", kind, "shared", offset_of(w->thread[who].request.site));
    f.thread = static_cast<uint32_t>(who);
    f.detail = "waits for ever";
    if (other >= 0) {
      Access a = now(offset_of(w->thread[other].request.site), 0);
      a.thread = static_cast<uint16_t>(other);
      set_other(f, a);
    }
    add(f);
  };
  if (who < 0) return;
  if (at_warp >= 0) report("invalid-warp-mask");
  report("deadlock");
}

WL_EXPORT unsigned wl_check_pick(Worker* w) {
  unsigned warp = g.order == 1 ? 31 - static_cast<unsigned>(__builtin_clz(w->ready_warps)) : static_cast<unsigned>(__builtin_ctz(w->ready_warps));
  unsigned lanes = w->ready[warp];
  return warp * wl::kWarp + (g.order == 1 ? 31 - static_cast<unsigned>(__builtin_clz(lanes)) : static_cast<unsigned>(__builtin_ctz(lanes)));
}

WL_EXPORT void wl_check_fence() {
  if (!g.worker) return;
  g.thread[me()].fenced = true;
  g.block_fenced = true;
}

// An atomic of the emulator's header: `reads` is 0 for a plain exchange or store, 2 for a compare-and-swap.
WL_EXPORT void wl_check_atomic(void* at, size_t bytes, int reads, const void* site) {
  if (!g.worker) return;
  Address a = reinterpret_cast<Address>(at);
  forgive_reads(me(), a);
  g.swaps = reads == 2;
  if (reads) access(a, static_cast<unsigned>(bytes), false, kAtomic, site, true);
  g.swaps = false;
  forget_plain_reads(a, static_cast<unsigned>(bytes));
  access(a, static_cast<unsigned>(bytes), true, kAtomic, site, true);
  synchronise_through(a);
}

// ---------------------------------------------------------------- what the compiler calls

#define WL_AT reinterpret_cast<Address>(at)
#define WL_ACCESS(N)                                                                                             \
  WL_EXPORT void __tsan_read##N(void* at) { access(WL_AT, N, false, 0, WL_SITE, true); }                         \
  WL_EXPORT void __tsan_write##N(void* at) { access(WL_AT, N, true, 0, WL_SITE, true); }                         \
  WL_EXPORT void __tsan_unaligned_read##N(void* at) { access_range(WL_AT, N, false, WL_SITE); }                  \
  WL_EXPORT void __tsan_unaligned_write##N(void* at) { access_range(WL_AT, N, true, WL_SITE); }                  \
  WL_EXPORT void __tsan_unaligned_volatile_read##N(void* at) { access(WL_AT, N, false, kVolatile, WL_SITE, false); }  \
  WL_EXPORT void __tsan_unaligned_volatile_write##N(void* at) { access(WL_AT, N, true, kVolatile, WL_SITE, false); }  \
  WL_EXPORT void __tsan_volatile_read##N(void* at) {                                                             \
    if (g.worker) g.worker->step(*g.worker, WL_SITE);                                                          \
    access(WL_AT, N, false, kVolatile, WL_SITE, true);                                                           \
  }                                                                                                              \
  WL_EXPORT void __tsan_volatile_write##N(void* at) {                                                            \
    if (g.worker) g.worker->step(*g.worker, WL_SITE);                                                          \
    access(WL_AT, N, true, kVolatile, WL_SITE, true);                                                            \
  }
WL_ACCESS(1) WL_ACCESS(2) WL_ACCESS(4) WL_ACCESS(8) WL_ACCESS(16)
WL_EXPORT void __tsan_read_range(void* at, long bytes) { access_range(WL_AT, static_cast<size_t>(bytes), false, WL_SITE); }
WL_EXPORT void __tsan_write_range(void* at, long bytes) { access_range(WL_AT, static_cast<size_t>(bytes), true, WL_SITE); }
WL_EXPORT void __tsan_func_entry(void*) {}
WL_EXPORT void __tsan_func_exit(void*) {}
WL_EXPORT void __tsan_vptr_update(void*, void*) {}
WL_EXPORT void __tsan_vptr_read(void*) {}
WL_EXPORT void __tsan_init() {}

#define WL_ORDERED(WORD, READS, MO)                                                  \
  if ((MO) >= 2) wl_check_fence();                                                   \
  wl_check_atomic(const_cast<void*>(WORD), sizeof(T), READS, WL_SITE)
#define WL_ATOMIC(N, TYPE)                                                                                                                         \
  WL_EXPORT TYPE __tsan_atomic##N##_load(const volatile void* p, int mo) { using T = TYPE; WL_ORDERED((const void*)p, 1, mo); return __atomic_load_n((const volatile T*)p, 5); }      \
  WL_EXPORT void __tsan_atomic##N##_store(volatile void* p, TYPE v, int mo) { using T = TYPE; WL_ORDERED((const void*)p, 0, mo); __atomic_store_n((volatile T*)p, v, 5); }            \
  WL_EXPORT TYPE __tsan_atomic##N##_exchange(volatile void* p, TYPE v, int mo) { using T = TYPE; WL_ORDERED((const void*)p, 0, mo); return __atomic_exchange_n((volatile T*)p, v, 5); } \
  WL_EXPORT TYPE __tsan_atomic##N##_fetch_add(volatile void* p, TYPE v, int mo) { using T = TYPE; WL_ORDERED((const void*)p, 1, mo); return __atomic_fetch_add((volatile T*)p, v, 5); } \
  WL_EXPORT TYPE __tsan_atomic##N##_fetch_sub(volatile void* p, TYPE v, int mo) { using T = TYPE; WL_ORDERED((const void*)p, 1, mo); return __atomic_fetch_sub((volatile T*)p, v, 5); } \
  WL_EXPORT TYPE __tsan_atomic##N##_fetch_and(volatile void* p, TYPE v, int mo) { using T = TYPE; WL_ORDERED((const void*)p, 1, mo); return __atomic_fetch_and((volatile T*)p, v, 5); } \
  WL_EXPORT TYPE __tsan_atomic##N##_fetch_or(volatile void* p, TYPE v, int mo) { using T = TYPE; WL_ORDERED((const void*)p, 1, mo); return __atomic_fetch_or((volatile T*)p, v, 5); }   \
  WL_EXPORT TYPE __tsan_atomic##N##_fetch_xor(volatile void* p, TYPE v, int mo) { using T = TYPE; WL_ORDERED((const void*)p, 1, mo); return __atomic_fetch_xor((volatile T*)p, v, 5); } \
  WL_EXPORT bool __tsan_atomic##N##_compare_exchange_strong(volatile void* p, void* e, TYPE v, int mo, int) { using T = TYPE; WL_ORDERED((const void*)p, 2, mo); return __atomic_compare_exchange_n((volatile T*)p, (T*)e, v, false, 5, 5); } \
  WL_EXPORT bool __tsan_atomic##N##_compare_exchange_weak(volatile void* p, void* e, TYPE v, int mo, int) { using T = TYPE; WL_ORDERED((const void*)p, 2, mo); return __atomic_compare_exchange_n((volatile T*)p, (T*)e, v, false, 5, 5); }
WL_ATOMIC(8, unsigned char) WL_ATOMIC(16, unsigned short) WL_ATOMIC(32, unsigned) WL_ATOMIC(64, unsigned long)
WL_EXPORT void __tsan_atomic_thread_fence(int) {}

// -fsanitize=bounds: an index outside a declared array.
struct BoundsData;
static void bad_index(const void* site) {
  if (!g.worker) return;
  g.bad_index = true;
  g.index_finding = new_finding("memcheck", "out-of-bounds-read", "local", offset_of(site));
  g.index_finding.detail = "an index outside its array";
}
WL_EXPORT void __ubsan_handle_out_of_bounds(BoundsData*, Address) { bad_index(WL_SITE); }
WL_EXPORT void __ubsan_handle_out_of_bounds_abort(BoundsData*, Address) { bad_index(WL_SITE); }

// -fsanitize=alignment: a pointer that its type does not allow. The access itself may fault, so the thread ends here.
struct MismatchData;
static void bad_alignment(Address a, const void* site) {
  if (!g.worker) return;
  Region* r = find_region(a);
  if (a < 65536) return;
  Finding f = new_finding("memcheck", "misaligned-access", r && r->shared() ? "shared" : "global", offset_of(site));
  if (r) f.buffer = r->name;
  add(f);
  abandon();
}
WL_EXPORT void __ubsan_handle_type_mismatch_v1(MismatchData*, Address a) { bad_alignment(a, WL_SITE); }
WL_EXPORT void __ubsan_handle_type_mismatch_v1_abort(MismatchData*, Address a) { bad_alignment(a, WL_SITE); }

}  // extern "C"
