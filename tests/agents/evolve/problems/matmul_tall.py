import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, a, b):
        return a @ b


def get_inputs():
    return [torch.randn(12288, 48), torch.randn(48, 96)]


def get_init_inputs():
    return []
