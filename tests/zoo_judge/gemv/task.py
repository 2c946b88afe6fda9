"""Matrix times vector."""
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, a, x):
        return torch.matmul(a, x)


def get_inputs():
    return [torch.randn(512, 4096), torch.randn(4096, 1)]


def get_init_inputs():
    return []
