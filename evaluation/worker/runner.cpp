// Comes in: file descriptors (commands, replies, arena, candidate library, plan). Goes out: one reply line per command.
// Runs inside the sandbox, beside the candidate: everything it says is a claim that the judge checks from outside.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <new>
#include <utility>
#include <vector>

static int reply_fd = -1;
static char* arena = nullptr;
static size_t arena_bytes = 0;
static const size_t MARGIN = size_t(64) << 20;
static std::atomic<int> team_threads{0}, other_threads{0};
static const int MOST_KNOWN = 512;
static std::atomic<int> known[MOST_KNOWN];  // numbers of the threads that run the candidate's code
static std::atomic<bool> threaded{false};

static void say(const char* text) {
  if (write(reply_fd, text, strlen(text)) < 0) _exit(3);
}

// ---- threads: a pool that OpenMP keeps is fine, any other thread must be gone when the kernel returns ----
struct Start {
  void* (*run)(void*);
  void* arg;
  std::atomic<int>* live;
};
static int thread_number() { return static_cast<int>(syscall(SYS_gettid)); }
static void exchange_known(int from, int to) {
  for (auto& slot : known) {
    int wanted = from;
    if (slot.compare_exchange_strong(wanted, to)) return;
  }
}
static void ended(void* p) {
  exchange_known(thread_number(), 0);
  --*static_cast<std::atomic<int>*>(p);
}
static void* started(void* p) {
  Start s = *static_cast<Start*>(p);
  free(p);
  void* result = nullptr;
  threaded = true;
  exchange_known(0, thread_number());
  pthread_cleanup_push(ended, s.live);
  result = s.run(s.arg);
  pthread_cleanup_pop(1);
  return result;
}
extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t* t, const pthread_attr_t* a, void* (*run)(void*),
                                                                     void* arg) noexcept {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static Create real = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  Dl_info from;
  bool team = dladdr(__builtin_return_address(0), &from) && from.dli_fname && strstr(from.dli_fname, "libgomp");
  Start* s = static_cast<Start*>(malloc(sizeof(Start)));
  if (!s) return EAGAIN;
  *s = Start{run, arg, team ? &team_threads : &other_threads};
  ++*s->live;
  int rc = real(t, a, started, s);
  if (rc) {
    --*s->live;
    free(s);
  }
  return rc;
}

// ---- stirring: threads are stopped at arbitrary instructions for a moment, so that a race shows on one processor too ----
static std::atomic<bool> stirring{false};
static void sleep_ns(long ns) {
  timespec t{0, ns};
  nanosleep(&t, nullptr);
}
static void on_stir(int) {
  int before = errno;
  if (stirring) sleep_ns(150000);
  errno = before;
}
static void* stir(void*) {
  for (unsigned turn = 0; stirring; ++turn) {
    for (unsigned n = 0; n < MOST_KNOWN && stirring; ++n) {
      int thread = known[n];
      if (thread && (n + turn) % 3) syscall(SYS_tgkill, getpid(), thread, SIGUSR2);
    }
    sleep_ns(60000 + turn % 7 * 20000);
  }
  return nullptr;
}

// ---- faults ----
static size_t read_address_space() {
  char text[64] = {0};
  int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, "/proc/self/statm", O_RDONLY));
  if (fd < 0 || read(fd, text, sizeof text - 1) < 0) return 0;
  close(fd);
  return strtoull(text, nullptr, 10) * 4096;
}
static bool memory_is_full() {
  struct rlimit r;
  return getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY && read_address_space() > r.rlim_cur / 10 * 8;
}
static std::atomic<bool> allocation_failed{false};
static void on_fault(int sig, siginfo_t* info, void*) {
  char text[96];
  char* at = static_cast<char*>(info->si_addr);
  if (sig == SIGSYS)
    snprintf(text, sizeof text, "syscall %d\n", info->si_syscall);
  else if ((sig == SIGSEGV || sig == SIGBUS) && at >= arena - MARGIN && at < arena + arena_bytes + MARGIN)
    snprintf(text, sizeof text, "fence %lld\n", static_cast<long long>(at - arena));
  else
    snprintf(text, sizeof text, "signal %d %d\n", sig, memory_is_full() || allocation_failed ? 1 : 0);
  say(text);
  _exit(4);
}
static void on_terminate() {
  try {
    if (std::current_exception()) throw;
  } catch (const std::bad_alloc&) {
    say("memory\n");
    _exit(4);
  } catch (...) {
  }
  say("exception\n");
  _exit(4);
}
extern "C" __attribute__((visibility("default"))) void* malloc(size_t n) noexcept;
extern "C" void* __libc_malloc(size_t) noexcept;
extern "C" void* __libc_calloc(size_t, size_t) noexcept;
extern "C" void* __libc_realloc(void*, size_t) noexcept;
static void* noted(void* p, size_t n) {
  if (!p && n) allocation_failed = true;
  return p;
}
extern "C" __attribute__((visibility("default"))) void* malloc(size_t n) noexcept { return noted(__libc_malloc(n), n); }
extern "C" __attribute__((visibility("default"))) void* calloc(size_t n, size_t m) noexcept { return noted(__libc_calloc(n, m), n * m); }
extern "C" __attribute__((visibility("default"))) void* realloc(void* p, size_t n) noexcept { return noted(__libc_realloc(p, n), n); }

// ---- files: what a kernel has no reason to open is reported (and is not there) ----
static std::atomic<bool> guarded{false};
static void look_at(const char* path) {
  static const char* const harmless[] = {"/sys/", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"};
  if (!guarded || !path) return;
  for (const char* start : harmless)
    if (!strncmp(path, start, strlen(start))) return;
  char text[160];
  snprintf(text, sizeof text, "violation it opened %.100s", path);
  for (char* c = text; *c; ++c)
    if (*c == '\n') *c = ' ';
  strcat(text, "\n");
  say(text);
  _exit(4);
}
#define EXPORTED extern "C" __attribute__((visibility("default")))
#define NEXT(name) reinterpret_cast<decltype(&name)>(dlsym(RTLD_NEXT, #name))
#undef open64
#undef openat64
#undef fopen64
EXPORTED int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  unsigned mode = va_arg(rest, unsigned);
  va_end(rest);
  look_at(path);
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
EXPORTED int open64(const char* path, int flags, ...) __attribute__((alias("open")));
EXPORTED int openat(int folder, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  unsigned mode = va_arg(rest, unsigned);
  va_end(rest);
  look_at(path);
  return static_cast<int>(syscall(SYS_openat, folder, path, flags, mode));
}
EXPORTED FILE* fopen(const char* path, const char* mode) {
  look_at(path);
  return NEXT(fopen)(path, mode);
}
EXPORTED FILE* fopen64(const char* path, const char* mode) {
  look_at(path);
  return NEXT(fopen)(path, mode);
}

static void catch_faults() {
  static char stack[65536];
  stack_t alt{};
  alt.ss_sp = stack;
  alt.ss_size = sizeof stack;
  sigaltstack(&alt, nullptr);
  struct sigaction act{};
  act.sa_sigaction = on_fault;
  act.sa_flags = SA_SIGINFO | SA_ONSTACK;
  struct sigaction stirred{};
  stirred.sa_handler = on_stir;
  stirred.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &stirred, nullptr);
  for (int sig : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP}) sigaction(sig, &act, nullptr);
  std::set_terminate(on_terminate);
}

// ---- what a kernel never needs ends the process ----
#if defined(__x86_64__)
static const uint32_t ARCH = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
static const uint32_t ARCH = AUDIT_ARCH_AARCH64;
#endif
static const int FORBIDDEN[] = {
#ifdef SYS_fork
    SYS_fork, SYS_vfork, SYS_creat, SYS_unlink, SYS_rename, SYS_mkdir, SYS_rmdir, SYS_link, SYS_symlink, SYS_chmod, SYS_chown,
#endif
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kill, SYS_tkill, SYS_socket,
    SYS_socketpair, SYS_connect, SYS_bind, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, SYS_bpf,
    SYS_perf_event_open, SYS_add_key, SYS_keyctl, SYS_request_key, SYS_init_module, SYS_finit_module, SYS_delete_module,
    SYS_reboot, SYS_swapon, SYS_swapoff, SYS_unlinkat, SYS_renameat, SYS_renameat2, SYS_mkdirat, SYS_linkat, SYS_symlinkat,
    SYS_fchmodat, SYS_fchownat, SYS_truncate, SYS_ftruncate, SYS_fallocate, SYS_memfd_create, SYS_shmget, SYS_shmat, SYS_msgget,
    SYS_semget, SYS_mq_open, SYS_io_uring_setup, SYS_userfaultfd, SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid,
    SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_capset, SYS_setpriority, SYS_sched_setscheduler, SYS_settimeofday,
    SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_pidfd_open, SYS_pidfd_getfd, SYS_pidfd_send_signal,
    SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_fanotify_init, SYS_inotify_init1, SYS_acct, SYS_quotactl, SYS_personality,
    SYS_kexec_load, SYS_setsid, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_sethostname, SYS_setdomainname, SYS_vhangup,
    SYS_process_madvise, SYS_move_pages, SYS_migrate_pages, SYS_mknodat, SYS_timer_create, SYS_setitimer, SYS_setrlimit};

static void lock_down() {
  std::vector<sock_filter> f;
  auto op = [&](uint16_t code, uint8_t jt, uint8_t jf, uint32_t k) { f.push_back(sock_filter{code, jt, jf, k}); };
  auto load = [&](uint32_t at) { op(BPF_LD | BPF_W | BPF_ABS, 0, 0, at); };
  auto arg = [&](int i) { load(offsetof(seccomp_data, args) + 8 * i); };
  auto trap_if_equal = [&](uint32_t k) {
    op(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, k);
    op(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
  };
  load(offsetof(seccomp_data, arch));
  op(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCH);
  op(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
  load(offsetof(seccomp_data, nr));
  op(BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x40000000u);  // the x32 numbers
  op(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
  for (int nr : FORBIDDEN) trap_if_equal(nr);
  op(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_clone3);  // its flags lie in memory: libc falls back to clone
  op(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS);
  auto when = [&](int nr, int argument, auto&& test) {  // after the test falls through, the number is loaded again
    size_t jump = f.size();
    op(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, nr);
    arg(argument);
    test();
    load(offsetof(seccomp_data, nr));
    f[jump].jf = uint8_t(f.size() - jump - 1);
  };
  auto trap_if_any = [&](uint32_t bits) {
    op(BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
    op(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
  };
  when(SYS_clone, 0, [&] {
    op(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 0x00010000);  // CLONE_THREAD
    op(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
  });
  when(SYS_openat, 2, [&] { trap_if_any(O_WRONLY | O_RDWR | O_CREAT | O_TRUNC); });
#ifdef SYS_open
  when(SYS_open, 1, [&] { trap_if_any(O_WRONLY | O_RDWR | O_CREAT | O_TRUNC); });
#endif
  when(SYS_tgkill, 0, [&] {
    op(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, uint32_t(getpid()));
    op(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
  });
  when(SYS_rt_sigaction, 0, [&] {  // what tells of a touched fence stays
    for (int sig : {SIGSYS, SIGSEGV, SIGBUS}) trap_if_equal(uint32_t(sig));
  });
  when(SYS_prctl, 0, [&] { trap_if_equal(PR_SET_SECCOMP); });
  op(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
  sock_fprog program{static_cast<unsigned short>(f.size()), f.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
    say("no-seccomp\n");
    _exit(3);
  }
}

// ---- the call: integers and pointers fill their own registers and stack words, floating scalars xmm/v 0-7 ----
struct Call {
  std::vector<int64_t> words;
  double reals[8] = {0};
  int n_reals = 0;
  std::vector<std::pair<char*, size_t>> outputs;
};
#define W4(i) w[i], w[i + 1], w[i + 2], w[i + 3]
#define W16(i) W4(i), W4(i + 4), W4(i + 8), W4(i + 12)
#define W64(i) W16(i), W16(i + 16), W16(i + 32), W16(i + 48)
#define W256(i) W64(i), W64(i + 64), W64(i + 128), W64(i + 192)
#define REALS c.reals[0], c.reals[1], c.reals[2], c.reals[3], c.reals[4], c.reals[5], c.reals[6], c.reals[7]
using L = int64_t;
#define L4 L, L, L, L
#define L16 L4, L4, L4, L4
#define L64 L16, L16, L16, L16
#define L256 L64, L64, L64, L64
#define D8 double, double, double, double, double, double, double, double
static void invoke(void* f, const Call& c) {
  const int64_t* w = c.words.data();
  if (c.words.size() <= 16)
    reinterpret_cast<void (*)(L16, D8)>(f)(W16(0), REALS);
  else if (c.words.size() <= 64)
    reinterpret_cast<void (*)(L64, D8)>(f)(W64(0), REALS);
  else
    reinterpret_cast<void (*)(L256, L256, L256, L256, D8)>(f)(W256(0), W256(256), W256(512), W256(768), REALS);
}
static void invoke_stirred(void* f, const Call& c) {
  if (!threaded) return invoke(f, c);
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static Create create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  pthread_t stirrer;
  stirring = true;
  bool made = create(&stirrer, nullptr, stir, nullptr) == 0;
  invoke(f, c);
  stirring = false;
  if (made) pthread_join(stirrer, nullptr);
}
static size_t padded(size_t n) { return n <= 16 ? 16 : n <= 64 ? 64 : 1024; }

static std::vector<Call> read_plan(int fd) {
  FILE* in = fdopen(fd, "r");
  size_t slots = 0, args = 0, guards = 0;
  if (!in || fscanf(in, "%zu %zu %zu %zu", &arena_bytes, &guards, &slots, &args) != 4) _exit(3);
  for (size_t g = 0; g < guards; ++g) {
    size_t at, length;
    if (fscanf(in, "%zu %zu", &at, &length) != 2) _exit(3);
    mprotect(arena + at, length, PROT_NONE);
  }
  std::vector<Call> calls(slots);
  for (Call& c : calls) {
    for (size_t a = 0; a < args; ++a) {
      char kind;
      unsigned long long bits;
      if (fscanf(in, " %c %llx", &kind, &bits) != 2) _exit(3);
      if (kind == 'p' || kind == 'o')
        c.words.push_back(reinterpret_cast<int64_t>(arena + bits));
      else if (kind == 'i')
        c.words.push_back(static_cast<int64_t>(bits));
      else if (c.n_reals < 8)
        memcpy(&c.reals[c.n_reals++], &bits, 8);
      size_t length;
      if (kind == 'o') {
        if (fscanf(in, " %zu", &length) != 1) _exit(3);
        c.outputs.emplace_back(arena + bits, length);
      }
    }
    c.words.resize(padded(c.words.size()));
  }
  fclose(in);
  return calls;
}

static long long now_ns(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

// ---- repeated calls: each finds a word of every output spoilt, somewhere, so that none can rest on what an earlier one left ----
static void spoil(const Call& c) {
  static uint64_t state = static_cast<uint64_t>(now_ns(CLOCK_MONOTONIC)) | 1;
  for (auto [start, length] : c.outputs) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    if (length < 8)
      memset(start, 0xFF, length);
    else
      memset(start + state % (length / 8) * 8, 0xFF, 8);
  }
}

static char* map_arena(int fd, size_t bytes) {
  char* room = static_cast<char*>(mmap(nullptr, bytes + 2 * MARGIN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (room == MAP_FAILED) _exit(3);
  void* at = mmap(room + MARGIN, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  if (at == MAP_FAILED) _exit(3);
  close(fd);
  return static_cast<char*>(at);
}

int main(int argc, char** argv) {
  if (argc != 8) return 3;
  int command_fd = atoi(argv[1]), arena_fd = atoi(argv[3]), library_fd = atoi(argv[4]), plan_fd = atoi(argv[5]);
  reply_fd = atoi(argv[2]);
  const char* symbol = argv[7];
  arena = map_arena(arena_fd, strtoull(argv[6], nullptr, 10));
  std::vector<Call> calls = read_plan(plan_fd);
  catch_faults();
  lock_down();
  guarded = true;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", library_fd);
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void* kernel = library ? dlsym(library, symbol) : nullptr;
  if (!library || !kernel) {
    say(library ? "no-kernel\n" : "no-library ");
    if (!library) {
      const char* why = dlerror();
      say(why ? why : "");
      say("\n");
    }
    return 4;
  }
  close(library_fd);
  exchange_known(0, thread_number());
  say("ready\n");
  FILE* in = fdopen(command_fd, "r");
  char line[256], answer[128];
  while (fgets(line, sizeof line, in)) {
    unsigned long long token = 0;
    size_t first = 0, last = 0, repeats = 0;
    bool stirred = sscanf(line, "stir %llx %zu %zu", &token, &first, &last) == 3;
    if (stirred || sscanf(line, "run %llx %zu %zu", &token, &first, &last) == 3) {
      for (size_t s = first; s < last && s < calls.size(); ++s) stirred ? invoke_stirred(kernel, calls[s]) : invoke(kernel, calls[s]);
      snprintf(answer, sizeof answer, "ok %llx %d %d %d\n", token, other_threads.load(), team_threads.load(), allocation_failed.load());
    } else if (sscanf(line, "time %llx %zu %zu %zu", &token, &first, &last, &repeats) == 4) {
      for (size_t r = 0; r < repeats; ++r)
        for (size_t s = first; s < last && s < calls.size(); ++s) spoil(calls[s]), invoke(kernel, calls[s]);
      snprintf(answer, sizeof answer, "ok %llx %d %d %d\n", token, other_threads.load(), team_threads.load(), allocation_failed.load());
    } else if (sscanf(line, "clock %llx", &token) == 1) {
      snprintf(answer, sizeof answer, "clock %llx %lld %lld\n", token, now_ns(CLOCK_MONOTONIC), now_ns(CLOCK_REALTIME));
    } else {
      return 0;
    }
    say(answer);
  }
  return 0;
}
