"""What the compiler is told of a kernel's blocks."""

import pytest
import torch
import warploom
from problems import F


@pytest.mark.parametrize(("size", "bounds"), [(2048, "256, 2"), (96, "256")])
def test_a_kernel_of_many_accumulators_leaves_room_for_two_blocks(size, bounds):
    compiled = warploom.compile(F(torch.matmul), [torch.randn(size, 16), torch.randn(16, size)], target="cuda", verify=False)
    (source,) = compiled.sources.values()
    assert f"__launch_bounds__({bounds})" in source
