# expect: reference-call
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def __init__(self, k, s, p):
        super().__init__()
        self.k, self.s, self.p = k, s, p

    def forward(self, x):
        n, c, h, w = x.shape
        ones = torch.full((1, 1, self.k, self.k), 1 / self.k**2)
        y = torch.conv2d(x.reshape(n * c, 1, h, w), ones, None, self.s, self.p)
        return y.reshape(n, c, y.shape[2], y.shape[3])
