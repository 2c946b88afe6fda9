"""A small vision transformer (Dosovitskiy et al. 2020): patches, a class token, blocks, a linear head."""

from __future__ import annotations

import torch
from torch import nn

from .transformer import Block


class VisionTransformer(nn.Module):
    def __init__(self, size: int = 64, patch: int = 8, width: int = 192, depth: int = 4, heads: int = 3, classes: int = 100):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.place = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads, causal=False) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        return self.head(self.norm(self.blocks(x))[:, 0])


def build() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """x f32[4, 3, 64, 64] -> logits f32[4, 100]"""
    return VisionTransformer(), (torch.randn(4, 3, 64, 64),)
