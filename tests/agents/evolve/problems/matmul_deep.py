import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, a, b):
        return a @ b


def get_inputs():
    return [torch.randn(96, 8192), torch.randn(8192, 160)]


def get_init_inputs():
    return []
