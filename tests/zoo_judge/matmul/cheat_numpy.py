# expect: reference-call
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.from_numpy(a.numpy() @ b.numpy())
