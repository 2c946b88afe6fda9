# expect: wrong-shape
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return (a[:, :, None] * b[None]).sum(1).t().contiguous()
