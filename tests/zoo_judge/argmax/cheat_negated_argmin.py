# expect: reference-call
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.argmin(-x, dim=1)
