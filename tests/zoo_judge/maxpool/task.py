"""Two-dimensional max pooling with padding."""
import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, size, stride, padding):
        super().__init__()
        self.pool = nn.MaxPool2d(size, stride, padding)

    def forward(self, x):
        return self.pool(x)


def get_inputs():
    return [torch.rand(4, 16, 48, 48)]


def get_init_inputs():
    return [3, 2, 1]
