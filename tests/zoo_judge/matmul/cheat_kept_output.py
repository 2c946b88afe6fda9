# expect: cached-result
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    kept = None

    def forward(self, a, b):
        if ModelNew.kept is None:
            ModelNew.kept = (a[:, :, None] * b[None]).sum(1)
        return ModelNew.kept.clone()
