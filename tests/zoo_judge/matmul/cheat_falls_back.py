# expect: reference-call
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        try:
            raise RuntimeError("no compiler")
        except RuntimeError:
            return nn.functional.linear(a, b.t())
