"""What the runtime hands to a device: dense tensors at aligned places on one device, and what a run writes given back."""

import pytest
import torch
import warploom
from problems import F
from warploom.backends.cuda.runtime import cuda
from warploom.ir.diagnostic import InputMismatch


class Watched:
    """Runs as ever, and keeps the places of all buffers."""

    def __init__(self, program, dims, place):
        self.run, self.seen = cuda(program, dims, place), []
        Watched.seen = self.seen

    def on_tensors(self, tensors):
        self.seen += [t.data_ptr() for t in tensors.values()]
        self.run.on_tensors(tensors)


def test_buffers_begin_at_aligned_places():
    compiled = warploom.compile(F(lambda x, y: torch.relu(x) + y), [torch.randn(4, 64), torch.randn(4, 64)], target="cuda", verify=False)
    compiled.runtime.build = Watched
    x, y = torch.randn(4 * 64 + 1)[1:].view(4, 64), torch.randn(4, 64)
    assert torch.equal(compiled(x, y), torch.relu(x) + y)
    assert x.data_ptr() % 16 and not any(place % 16 for place in Watched.seen)


def test_a_strided_input_that_the_model_updates_is_updated():
    def f(x):
        x.add_(1)
        return x * 2

    x = torch.randn(8, 6).t()
    compiled = warploom.compile(F(f), [x], target="cuda")
    before = x.clone()
    assert torch.equal(compiled(x), (before + 1) * 2) and torch.equal(x, before + 1)


def test_tensors_on_several_devices_are_refused():
    compiled = warploom.compile(torch.nn.Linear(8, 4), [torch.randn(3, 8)], target="cuda", verify=False)
    with pytest.raises(InputMismatch, match="on one device: input is on meta, p_weight is on cpu"):
        compiled(torch.randn(3, 8, device="meta"))
