"""Scans fused with what reads them: the running state belongs to one line, whatever axis it runs along."""

import pytest
import torch
import warploom
from torch.nn.functional import pad

MODELS = {
    "sum of a scan": lambda x: torch.cumsum(x, 1).exp().sum((1, 2)),
    "difference and scan": lambda x: (c := torch.cumsum(x, 1), (c[:, -1:] - c).exp(), torch.cumsum(c[:, -1], -1)),
    "first axis": lambda x: (torch.cumsum(x, 0) * 2, torch.cumsum(x, 0).sum((0, 1))),
    "scan of a scan": lambda x: torch.cumsum(torch.cumsum(x, 1) + x, 2),
    "last values": lambda x: torch.cumsum(pad(torch.cumsum(x, -1)[..., -1], (1, 0)), -1),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(4, 8, 16), (2, 3, 4, 6)])
def test_verified_against_eager(name, shape):
    warploom.compile(MODELS[name], (torch.rand(shape),), library=False)
