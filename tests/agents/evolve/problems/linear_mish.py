import torch
import torch.nn as nn
import torch.nn.functional as F


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1536, 1024)

    def forward(self, x):
        return F.mish(self.linear(x))


def get_inputs():
    return [torch.randn(24, 1536)]


def get_init_inputs():
    return []
