"""Residual networks of basic blocks (He et al. 2015, Deep Residual Learning for Image Recognition, table 1)."""

from __future__ import annotations

import torch
from torch import nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inner: int, outer: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(inplace=True),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """`depths` blocks in each of the stages, whose widths double from `width`."""

    def __init__(self, depths: tuple[int, ...], width: int = 64, classes: int = 1000):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        )
        blocks: list[nn.Module] = []
        inner = width
        for stage, depth in enumerate(depths):
            outer = width << stage
            for k in range(depth):
                blocks.append(BasicBlock(inner, outer, 2 if stage and not k else 1))
                inner = outer
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(inner, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.blocks(self.stem(x))).flatten(1))


def build() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """x f32[1, 3, 224, 224] -> logits f32[1, 1000]"""
    return ResNet((2, 2, 2, 2)), (torch.randn(1, 3, 224, 224),)


def build_tiny() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """x f32[2, 3, 32, 32] -> logits f32[2, 10]"""
    return ResNet((1, 1), width=8, classes=10), (torch.randn(2, 3, 32, 32),)
