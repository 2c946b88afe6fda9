"""TVM as a contender of `bench cpu`: it computes what eager computes, or says why it takes no part."""

import pytest
import torch
from warploom.evaluation.bench import contenders
from warploom.evaluation.bench.contenders import enter, tvm, tvm_available

pytestmark = pytest.mark.skipif(not tvm_available(), reason="TVM is not installed")


def test_it_computes_what_eager_computes():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(48, 40), torch.nn.Softmax(-1)).eval()
    example, other = (torch.randn(24, 48),), (torch.randn(24, 48),)
    entry = enter("tvm", lambda: tvm(model, example), example)
    assert entry.run is not None and not entry.reason
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(entry.run(other)[0].numpy()), model(*other))


def test_what_it_cannot_run_is_said(monkeypatch):
    inputs = (torch.randn(6, 4),)
    assert "Extern" in enter("tvm", lambda: tvm(torch.nn.LSTM(4, 4), inputs), inputs).reason
    monkeypatch.setattr(contenders, "SLOW_S", 0.0)
    assert "one run takes" in enter("tvm", lambda: tvm(torch.nn.ReLU(), inputs), inputs).reason
