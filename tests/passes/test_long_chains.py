"""Long chains of pointwise operators plan in time linear in their length, as one kernel."""

import torch
from warploom.frontend.torch_export import export_model
from warploom.ir.machine import Machine
from warploom.ir.module import Launch
from warploom.passes.pipeline import plan

MACHINE = Machine("test", "avx512", 1, 48 << 10, 1 << 20, 32 << 20)


class UsesTwice(torch.nn.Module):
    """Each value is read twice by the next: walked as a tree this is 2**64 paths."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(64):
            x = torch.sin(x) + 0.1 * x
        return x


def test_a_chain_that_uses_its_values_twice_is_one_kernel():
    module = plan(export_model(UsesTwice(), (torch.randn(4, 32),)).graph, MACHINE)
    assert sum(isinstance(step, Launch) for step in module.steps) == 1
