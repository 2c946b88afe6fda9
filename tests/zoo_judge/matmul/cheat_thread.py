# expect: reference-call
import threading

import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        box = []
        worker = threading.Thread(target=lambda: box.append(torch.tensordot(a, b, dims=1)))
        worker.start()
        worker.join()
        return box[0]
