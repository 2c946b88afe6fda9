# expect: reference-call
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.log_softmax(x, -1).exp()
