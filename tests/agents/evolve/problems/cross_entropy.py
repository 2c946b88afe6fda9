import torch
import torch.nn as nn
import torch.nn.functional as F


class Model(nn.Module):
    def forward(self, x, y):
        return F.cross_entropy(x, y)


def get_inputs():
    return [torch.randn(8192, 300), torch.randint(0, 300, (8192,))]


def get_init_inputs():
    return []
