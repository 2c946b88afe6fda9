"""A call in a process of its own, after its parent has had threads."""

import ctypes

import torch
from warploom.backends.emulator.isolate import in_child
from warploom.backends.toolchain import compile_library

TEAM = """
extern "C" long team(long n) {
  long sum = 0;
#pragma omp parallel for reduction(+ : sum)
  for (long i = 0; i < n; ++i) sum += i;
  return sum;
}
"""


def test_a_team_of_the_parent_is_not_waited_for():
    library = ctypes.CDLL(str(compile_library([TEAM], ("-std=c++17", "-fopenmp"), None, "team")))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.randn(1 << 20).exp().sum()
        assert library.team(1000) == 499500
        assert in_child(lambda: library.team(1000)) == 499500
    finally:
        torch.set_num_threads(before)
