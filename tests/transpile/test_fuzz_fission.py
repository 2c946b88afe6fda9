"""Random kernels with barriers: what fission makes of them against fibers (the emulator).

    python -m tests.transpile.test_fuzz_fission 2000 [SEED [elements]]       the long run, with barriers or of elements; its last line says how many kernels differ
"""

import ctypes
import signal
import sys

import numpy as np
from warploom.backends.cpu.fission.load import load_library
from warploom.backends.emulator.execute import load, parameter_of
from warploom.backends.emulator.isolate import in_child
from warploom.backends.emulator.launch import Launch
from warploom.backends.emulator.unit import Call, build_unit
from warploom.frontend.cuda.read import UnsupportedCuda
from warploom.transpiler import transpile_file

from . import random_elements
from .random_barriers import COMMON, Case, case

_BATCH = 50
_N = 50
_SECONDS = 300  # for one side of a batch, compilation included


def test_fission_agrees_with_fibers(fuzz):
    seed, count = fuzz(200)
    wrong = _differing(seed, count)
    assert not wrong, f"{len(wrong)} of {count} differ: {wrong[:5]}"


def test_element_loops_agree_with_fibers(fuzz):
    seed, count = fuzz(100)
    wrong = _differing(seed, count, make=random_elements.case)
    assert not wrong, f"{len(wrong)} of {count} differ: {wrong[:5]}"


# Kernels that differed once: conditions inside conditions, where GCC 12 overlooks stores (toolchain.SAFE); a `continue` in a block of one thread.
KEPT = (
    Case(
        "conditions",
        """__global__ void conditions(const int* x, const int* flags, int* y, int n) {
  __shared__ int s[64];
  int tid = threadIdx.x;
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  int a = x[i % n], b = tid, c = 7, u = n % 5;
  if (blockIdx.x == 1) return;
  s[tid] = (a + c);
  __syncthreads();
  b += s[(tid + 3) % blockDim.x];
  __syncthreads();
  if (b > a) {
  }
  if (tid % 2 == 0) {
    if (tid == 0) c += u;
    if (a % 3 == 0) b += 1;
  }
  c += 5;
  u = n % 7;
  c ^= (a + c);
  y[i] = a * 31 + b * 7 + c + u;
}
""",
        3, 64, 192,
    ),
    Case(
        "alone",
        """__global__ void alone(const int* x, const int* flags, int* y, int n) {
  __shared__ int s[64];
  int tid = threadIdx.x;
  int a = x[blockIdx.x % n];
  for (int k1 = 0; k1 < (int)blockIdx.x % 3 + 1; ++k1) {
    if (flags[0] % 2 == 0) continue;
    s[tid] = x[blockIdx.x % n];
    __syncthreads();
    a += s[(tid + 4) % blockDim.x];
    __syncthreads();
  }
  y[blockIdx.x] = a;
}
""",
        3, 1, 3,
    ),
)  # fmt: skip


def test_kernels_that_differed_once():
    assert not _differ((*KEPT, case(4253741), case(4254015)))


def _differing(seed: str, count: int, told=lambda done, wrong: None, make=case) -> list[str]:
    start = sum(map(ord, seed)) * 10_007
    wrong: list[str] = []
    refused = 0
    for first in range(0, count, _BATCH):
        cases = [make(seed) for seed in range(start + first, start + min(first + _BATCH, count))]
        taken = [c for c in cases if _taken(c)]
        refused += len(cases) - len(taken)
        wrong += _differ(taken)
        told(min(first + _BATCH, count), wrong)
    assert refused <= max(1, count // 100), f"{refused} of {count} are refused"
    return wrong


def _taken(c: Case) -> bool:
    """Whether it is not refused: a `continue` under what cannot be told to be the same for all threads."""
    try:
        transpile_file(_text([c]), launches={c.name: Launch.of(c.grid, c.block)})
    except UnsupportedCuda as error:
        assert "some threads leave a loop that others go on with" in error.message, (c.name, error.message)
        return False
    return True


def _differ(cases) -> list[str]:
    """Names of the kernels whose numbers differ."""
    x = np.arange(1, _N + 1, dtype=np.int32) * 3 % 17
    flags = np.array([4], np.int32)
    emulated = in_child(lambda: _limited(lambda: _emulated(cases, x, flags)))
    transpiled = in_child(lambda: _limited(lambda: _transpiled(cases, x, flags)))
    return [c.name for c, a, b in zip(cases, emulated, transpiled) if not np.array_equal(a, b)]


def _text(cases) -> str:
    return "\n".join([COMMON, *(c.source for c in cases)])


def _limited(work):
    """A kernel that never ends is an error, with SIGALRM as its name."""
    signal.alarm(_SECONDS)
    return work()


def _emulated(cases, x, flags) -> list[np.ndarray]:
    outputs = [np.full(c.count, -1, np.int32) for c in cases]
    values = [x, flags, np.int32(_N), *outputs]
    params = [parameter_of(f"p{i}", v) for i, v in enumerate(values)]
    calls = [Call(c.name, Launch.of(c.grid, c.block), (0, 1, 3 + i, 2)) for i, c in enumerate(cases)]
    load(build_unit(_text(cases), calls, params)).run(params, values)
    return outputs


def _transpiled(cases, x, flags) -> list[np.ndarray]:
    launches = {c.name: Launch.of(c.grid, c.block) for c in cases}
    text = transpile_file(_text(cases), launches=launches).text
    library = load_library(text)
    outputs = [np.full(c.count, -1, np.int32) for c in cases]
    for c, y in zip(cases, outputs):
        getattr(library, c.name)(*(ctypes.c_void_p(v.ctypes.data) for v in (x, flags, y)), ctypes.c_int(_N))
    return outputs


def main(count: str, seed: str = "long", kind: str = "barriers") -> None:
    make = {"barriers": case, "elements": random_elements.case}[kind]
    wrong = _differing(seed, int(count), lambda done, wrong: print(f"{done} kernels, {len(wrong)} differ {wrong[:5]}", file=sys.stderr, flush=True), make)
    print(f"{count} kernels with {kind} (seed {seed}): fission and fibers agree on {int(count) - len(wrong)}, {len(wrong)} differ {wrong}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
