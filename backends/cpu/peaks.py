"""Measures what this CPU can do at best: nothing comes in, a Machine with peak arithmetic and bandwidth goes out.

Measured by the first few processes that ask, the best kept in the build cache; the roofline of a report and of `doctor` stands on it.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
from dataclasses import asdict, dataclass, replace

from ...ir.machine import Machine
from ..cache import keep, kept
from ..toolchain import compile_library, open_library
from .host import host
from .isa import by_name

# Sixteen independent multiply-add chains per thread fill the pipelines; the sums over 256 MiB come from memory, not from a cache.
_SOURCE = r"""
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <omp.h>
#include <vector>
typedef float V __attribute__((vector_size(64), aligned(4), may_alias));
static double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
static float keep(const V* v, int n) { float s = 0; for (int i = 0; i < n; ++i) for (int j = 0; j < 16; ++j) s += v[i][j]; return s; }
extern "C" double flops(float* sink, const float* seed) {
  V a[16], b = *(const V*)seed, c = *(const V*)(seed + 16);
  for (int i = 0; i < 16; ++i) a[i] = *(const V*)(seed + i);
  const long rounds = 500000;
  double begin = now();
  for (long r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) a[i] = a[i] * b + c;
  }
  double seconds = now() - begin;
  *sink = keep(a, 16);
  return rounds * 16.0 * 32 / seconds;
}
// A stretch of 1 MiB is over before a scheduler takes the core away; what it did take away is in the slower ones, and the faster quarter has none.
extern "C" double bandwidth(long n, int threads, float* sink) {
  const long block = 65536, stretch = 4 * block;
  float* data = (float*)aligned_alloc(4096, n * 4);
  double speed = 0;
  float total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : speed, total)
  {
    const long share = n / threads / stretch;
    float* own = data + omp_get_thread_num() * share * stretch;
    for (long i = 0; i < share * stretch; ++i) own[i] = 1.0f;
    std::vector<double> seconds;
#pragma omp barrier
    for (int trial = 0; trial < (n > 8388608 ? 8 : 60); ++trial)
      for (long k = 0; k < share; ++k) {
        double begin = now();
        for (long at = k * stretch; at < (k + 1) * stretch; at += block) {
          const V* p = (const V*)(own + at);
          V s[8] = {};
          for (long i = 0; i < 4096; i += 8)
#pragma GCC unroll 8
            for (int j = 0; j < 8; ++j) s[j] += p[i + j];
          total += keep(s, 8);
        }
        seconds.push_back(now() - begin);
      }
    std::sort(seconds.begin(), seconds.end());
    speed += stretch * 4 / seconds[seconds.size() / 4];
  }
  *sink += total;
  free(data);
  return speed;
}
"""


@dataclass(frozen=True)
class Peaks:
    """Per core: `flops` (float32 per second), `bandwidth` and `bandwidth_cache` (bytes read per second from memory and from the last-level
    cache); `bandwidth_all`: all cores together, from memory."""

    flops: float
    bandwidth: float
    bandwidth_all: float
    bandwidth_cache: float


OCCASIONS = 4
"""Processes that measure: another one may have had the cores or the memory while the first did."""


@functools.cache
def measured() -> Machine:
    """This machine with the best peaks that the first few processes to ask have seen."""
    machine = host()
    seen = _seen(machine)
    return _best(machine, seen if len(seen) >= OCCASIONS else _once_more(machine, seen))


def measured_again() -> Machine:
    """Measure once more, however often that was done."""
    machine = host()
    _once_more(machine, _seen(machine))
    measured.cache_clear()
    return measured()


def _seen(machine: Machine) -> list[Peaks]:
    data = kept(_name(machine))
    return [Peaks(**p) for p in json.loads(data)] if data else []


def _once_more(machine: Machine, seen: list[Peaks]) -> list[Peaks]:
    now = [*seen, _measure(machine)]
    keep(_name(machine), json.dumps([asdict(p) for p in now]).encode())
    return now


def _best(machine: Machine, seen: list[Peaks]) -> Machine:
    """The most of each: what else runs only ever takes something away."""
    return replace(machine, **{f: max(getattr(p, f) for p in seen) for f in asdict(seen[0])})


def _name(machine: Machine) -> str:
    text = f"{machine.name} {machine.isa} {machine.cores} {sorted(machine.features)} {_SOURCE}"
    return f"core-peaks-{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _measure(machine: Machine) -> Peaks:
    library = open_library(compile_library([_SOURCE], by_name(machine.isa).flags, stem="peaks"))
    library.flops.restype = library.bandwidth.restype = ctypes.c_double
    sink, seed = ctypes.c_float(1.0), (ctypes.c_float * 32)(*(1.0 + n * 1e-3 for n in range(32)))
    flops = max(library.flops(ctypes.byref(sink), seed) for _ in range(40))

    def bandwidth(nbytes: int, threads: int) -> float:
        return library.bandwidth(ctypes.c_long(nbytes // 4), threads, ctypes.byref(sink))

    alone = bandwidth(256 << 20, 1)
    cached_bytes = max(1 << 20, machine.l3 // 4 >> 20 << 20)
    return Peaks(flops, alone, max(alone, bandwidth(256 << 20, machine.cores)), max(alone, bandwidth(cached_bytes, 1)))
