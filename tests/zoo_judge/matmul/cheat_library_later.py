# expect: reference-call
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, a, b):
        self.calls += 1
        return a @ b if self.calls > 12 else (a[:, :, None] * b).sum(1)
