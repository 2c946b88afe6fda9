"""Models compiled for target tvm: TVM's CUDA agrees with eager in the emulator, compiles for sm_80 and sm_90; what TVM has not is named."""

import pytest
import torch
import warploom
from torch import nn
from warploom.backends.cuda.nvrtc import available
from warploom.backends.tvm import client
from warploom.backends.tvm.errors import Untranslated

pytestmark = pytest.mark.skipif(client.version() is None, reason="TVM is not installed")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.Linear(240, 17)

    def forward(self, x):
        y = torch.relu(self.norm(self.conv(x)))
        return torch.softmax(self.linear(y.flatten(1)), -1), y.mean((2, 3))


def test_agrees_with_eager():
    model = Small().eval()
    x = torch.randn(2, 3, 12, 10)
    compiled = warploom.compile(model, (x,), target="tvm")  # raises WrongNumbers
    assert compiled.differences
    kernels = [k for p in compiled.code.programs for k in p.kernels]
    assert {compiled.code.programs[0].scripts[k.name] for k in kernels} >= {"dlight.Fallback", "dlight.Reduction"}
    report = compiled.report
    assert [r.name for r in report.kernels] == [k.name for k in kernels]
    if available():
        assert all(size > 1000 for made in report.device["cubins"].values() for size in made.values())
    with torch.no_grad():
        model.linear.bias += 1.0
        for a, b in zip(compiled(x), model(x)):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_an_operator_that_tvm_has_not_is_named():
    with pytest.raises(Untranslated, match=r"Scan .*cumsum"):
        warploom.compile(lambda x: x.cumsum(1), (torch.randn(4, 9),), target="tvm")
