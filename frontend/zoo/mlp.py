"""A perceptron with two hidden layers on a batch of vectors."""

from __future__ import annotations

import torch
from torch import nn


def build() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """x f32[64, 784] -> logits f32[64, 10]"""
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.GELU(), nn.Linear(256, 10))
    return model, (torch.randn(64, 784),)
