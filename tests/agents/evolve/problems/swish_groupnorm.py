import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.GroupNorm(8, 64)
        self.bias = nn.Parameter(torch.randn(64, 1))

    def forward(self, x):
        return self.norm(x * torch.sigmoid(x) + self.bias)


def get_inputs():
    return [torch.randn(256, 64, 100)]


def get_init_inputs():
    return []
