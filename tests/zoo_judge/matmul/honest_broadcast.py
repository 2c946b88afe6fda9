# expect: accepted
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        c = torch.zeros(a.shape[0], b.shape[1])
        for k in range(0, a.shape[1], 16):
            c += (a[:, k : k + 16, None] * b[None, k : k + 16, :]).sum(1)
        return c
