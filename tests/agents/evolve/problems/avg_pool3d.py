import torch
import torch.nn as nn
import torch.nn.functional as F


class Model(nn.Module):
    def forward(self, x):
        return F.avg_pool3d(x, 3, 2, 1)


def get_inputs():
    return [torch.randn(2, 16, 32, 48, 48)]


def get_init_inputs():
    return []
