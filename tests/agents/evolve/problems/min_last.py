import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, x):
        return torch.min(x, dim=2)[0]


def get_inputs():
    return [torch.randn(48, 200, 300)]


def get_init_inputs():
    return []
