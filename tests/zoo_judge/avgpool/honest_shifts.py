# expect: accepted
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def __init__(self, k, s, p):
        super().__init__()
        self.k, self.s, self.p = k, s, p

    def forward(self, x):
        n, c, h, w = x.shape
        z = torch.zeros(n, c, h + 2 * self.p, w + 2 * self.p)
        z[:, :, self.p : self.p + h, self.p : self.p + w] = x
        oh, ow = (h + 2 * self.p - self.k) // self.s + 1, (w + 2 * self.p - self.k) // self.s + 1
        total = torch.zeros(n, c, oh, ow)
        for u in range(self.k):
            for v in range(self.k):
                total += z[:, :, u : u + (oh - 1) * self.s + 1 : self.s, v : v + (ow - 1) * self.s + 1 : self.s]
        return total / self.k**2
