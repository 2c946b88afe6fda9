"""Average pooling whose padding counts."""
import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, k, stride, padding):
        super().__init__()
        self.pool = nn.AvgPool2d(k, stride=stride, padding=padding)

    def forward(self, x):
        return self.pool(x)


def get_inputs():
    return [torch.rand(4, 16, 30, 34)]


def get_init_inputs():
    return [3, 2, 1]
