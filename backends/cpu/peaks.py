"""Measures what this CPU can do at best: nothing comes in, a Machine with peak arithmetic and bandwidth goes out.

Measured once per machine and kept in the build cache; the roofline of a report and of `doctor` stands on it.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
from dataclasses import asdict, dataclass, replace

from ...ir.machine import Machine
from ..cache import cached, contents
from ..toolchain import compile_library, open_library
from .host import host
from .isa import by_name

# Sixteen independent multiply-add chains per thread fill the pipelines; the sums over 256 MiB come from memory, not from a cache.
_SOURCE = r"""
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <omp.h>
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
extern "C" double bandwidth(long n, int threads, float* sink) {
  float* data = (float*)aligned_alloc(4096, n * 4);
  double best = 0;
#pragma omp parallel for num_threads(threads)
  for (long i = 0; i < n; ++i) data[i] = 1.0f;
  for (int trial = 0; trial < (n > 8388608 ? 8 : 60); ++trial) {
    double begin = now();
    float total = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : total)
    for (long block = 0; block < n / 65536; ++block) {
      const V* p = (const V*)(data + block * 65536);
      V s[8] = {};
      for (long i = 0; i < 4096; i += 8)
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) s[j] += p[i + j];
      total += keep(s, 8);
    }
    double seconds = now() - begin;
    *sink += total;
    if (n * 4 / seconds > best) best = n * 4 / seconds;
  }
  free(data);
  return best;
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


@functools.cache
def measured() -> Machine:
    """This machine with its peaks."""
    machine = host()
    return replace(machine, **json.loads(contents(cached(_name(machine), lambda: _encode(_measure(machine))))))


def measured_again() -> Machine:
    """Measure once more and keep the best seen: another process may have had the cores the last time."""
    machine, before = host(), measured()
    now = _measure(machine)
    best = Peaks(*(max(getattr(now, f), getattr(before, f)) for f in asdict(now)))
    path = cached(_name(machine), lambda: _encode(best))
    path.unlink(missing_ok=True)
    cached(_name(machine), lambda: _encode(best))
    measured.cache_clear()
    return measured()


def _name(machine: Machine) -> str:
    text = f"{machine.name} {machine.isa} {machine.cores} {sorted(machine.features)} {_SOURCE}"
    return f"peaks-{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _encode(peaks: Peaks) -> bytes:
    return json.dumps(asdict(peaks)).encode()


def _measure(machine: Machine) -> Peaks:
    library = open_library(compile_library([_SOURCE], by_name(machine.isa).flags, stem="peaks"))
    library.flops.restype = library.bandwidth.restype = ctypes.c_double
    sink, seed = ctypes.c_float(1.0), (ctypes.c_float * 32)(*(1.0 + n * 1e-3 for n in range(32)))
    flops = max(library.flops(ctypes.byref(sink), seed) for _ in range(40))

    def bandwidth(nbytes: int, threads: int) -> float:
        return library.bandwidth(ctypes.c_long(nbytes // 4), threads, ctypes.byref(sink))

    alone = bandwidth(256 << 20, 1)
    cached_bytes = max(1 << 20, machine.l3 // 4 >> 18 << 18)
    return Peaks(flops, alone, max(alone, bandwidth(256 << 20, machine.cores)), max(alone, bandwidth(cached_bytes, 1)))
