"""Half and bfloat16 contractions: summed in float32, rounded once, as ATen does on a CPU."""

import copy

import pytest
import torch
import warploom


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 20, 3, padding=1)
        self.linear = torch.nn.Linear(20 * 36, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.relu(self.conv(x)).flatten(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_contractions_accumulate_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Net().to(dtype).eval()
    x = torch.randn(4, 3, 6, 6).to(dtype)
    with torch.no_grad():
        fast = warploom.compile(model, (x,), library=False)
        exact = copy.deepcopy(model).double()(x.double())
        error = (fast(x).double() - exact).abs().max() / exact.abs().max()
    assert error < 4 * torch.finfo(dtype).eps
