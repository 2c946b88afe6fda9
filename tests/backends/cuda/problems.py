"""Small models of each class of kernel, at sizes of two blocks an axis and a ragged tail: (name, model, inputs)."""

import torch
from torch import nn


class F(nn.Module):
    """A function as a model."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, *args):
        return self.f(*args)


def _batch_norm():
    model = nn.BatchNorm2d(5)
    model.train()
    return model


CASES = {
    "pointwise": (lambda: F(lambda x: torch.sigmoid(x) * 2), lambda: [torch.randn(37, 83)]),
    "wide_pointwise": (lambda: F(lambda x, y: torch.relu(x) + y), lambda: [torch.randn(8, 517), torch.randn(8, 517)]),
    "broadcast": (lambda: F(lambda x, b: x * b), lambda: [torch.randn(7, 33, 19), torch.randn(33, 1)]),
    "nan": (lambda: F(lambda x: torch.relu(x) + x.amax(1, keepdim=True)), lambda: [torch.tensor([[1.0, float("nan")], [2.0, 3.0]]).repeat(1, 70)]),
    "softmax": (lambda: nn.Softmax(-1), lambda: [torch.randn(3, 1037)]),
    "layer_norm": (lambda: nn.LayerNorm(517), lambda: [torch.randn(5, 517)]),
    "group_norm": (lambda: nn.GroupNorm(2, 6), lambda: [torch.randn(3, 6, 9, 7)]),
    "batch_norm": (_batch_norm, lambda: [torch.randn(3, 5, 19, 11)]),
    "windows_of_kept_rows": (
        lambda: nn.Sequential(_batch_norm(), nn.Tanh(), nn.MaxPool2d(2)), lambda: [torch.randn(2, 5, 19, 11)],
    ),
    "sum": (lambda: F(lambda x: (x * x).sum()), lambda: [torch.randn(211, 311)]),
    "mean_of_columns": (lambda: F(lambda x: x.mean(0)), lambda: [torch.randn(67, 300)]),
    "argmax": (lambda: F(lambda x: x.argmax(1)), lambda: [torch.randint(0, 50, (3, 700, 5)).float()]),
    "logsumexp": (lambda: F(lambda x: torch.logsumexp(x, 1)), lambda: [torch.randn(5, 777)]),
    "cumsum": (lambda: F(lambda x: x.cumsum(1)), lambda: [torch.randn(3, 1111)]),
    "fold_beside_scan": (lambda: F(lambda x: x.cummin(1)[0].ceil().softmax(1)), lambda: [torch.randn(3, 140)]),
    "cumprod_columns": (lambda: F(lambda x: x.cumprod(0)), lambda: [torch.rand(9, 300) + 0.5]),
    "matmul": (lambda: F(torch.matmul), lambda: [torch.randn(131, 37), torch.randn(37, 75)]),
    "batched_matmul": (lambda: F(torch.matmul), lambda: [torch.randn(2, 70, 33), torch.randn(2, 33, 66)]),
    "transposed_matmul": (lambda: F(lambda a, b: a.T @ b.T), lambda: [torch.randn(41, 69), torch.randn(97, 41)]),
    "linear_gelu": (lambda: nn.Sequential(nn.Linear(45, 70), nn.GELU()), lambda: [torch.randn(67, 45)]),
    "linear_leaky_relu": (
        lambda: nn.Sequential(nn.Linear(45, 70), nn.LeakyReLU(0.1)), lambda: [torch.randn(33, 45)],
    ),
    "matrix_vector": (lambda: F(torch.matmul), lambda: [torch.randn(33, 517), torch.randn(517, 1)]),
    "conv2d": (lambda: nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()), lambda: [torch.randn(2, 3, 19, 23)]),
    "grouped_conv": (lambda: nn.Conv2d(8, 8, 3, groups=8), lambda: [torch.randn(2, 8, 17, 21)]),
    "conv_transpose": (lambda: nn.ConvTranspose2d(6, 5, 3, stride=2, padding=1), lambda: [torch.randn(2, 6, 9, 13)]),
    "conv3d": (lambda: nn.Conv3d(2, 4, (3, 2, 3)), lambda: [torch.randn(2, 2, 7, 9, 11)]),
    "max_pool": (lambda: nn.MaxPool2d(3, 2, 1), lambda: [torch.randn(2, 5, 21, 33)]),
    "avg_pool": (lambda: nn.AvgPool3d(2), lambda: [torch.randn(2, 3, 9, 11, 13)]),
    "cross_entropy": (lambda: nn.CrossEntropyLoss(), lambda: [torch.randn(300, 17), torch.randint(0, 17, (300,))]),
    "half": (lambda: F(lambda x, y: torch.tanh(x) + y), lambda: [torch.randn(9, 130).half(), torch.randn(9, 130).half()]),
    "bfloat16_matmul": (lambda: F(torch.matmul), lambda: [torch.randn(70, 40).bfloat16(), torch.randn(40, 66).bfloat16()]),
    "half_linear_relu": (lambda: nn.Sequential(nn.Linear(45, 70), nn.ReLU()).half(), lambda: [torch.randn(67, 45).half()]),
    "half_batched_matmul": (lambda: F(torch.matmul), lambda: [torch.randn(2, 70, 33).half(), torch.randn(2, 33, 66).half()]),
    "half_transposed_product": (lambda: F(lambda a, b: (a.T @ b).T.contiguous()), lambda: [torch.randn(41, 69).half(), torch.randn(41, 97).half()]),
    "half_heads": (
        lambda: F(lambda p, v: torch.einsum("bhst,bthd->bshd", p, v)), lambda: [torch.randn(1, 3, 40, 35).half(), torch.randn(1, 35, 3, 64).half()],
    ),
    "integers": (lambda: F(lambda x: (x // 3) * 2 + x % 5), lambda: [torch.randint(-50, 50, (7, 45))]),
    "gather": (lambda: nn.Embedding(20, 33), lambda: [torch.randint(0, 20, (5, 7))]),
}  # fmt: skip


def case(name):
    """(model, inputs) of a case, the same every time."""
    torch.manual_seed(0)
    model, inputs = CASES[name]
    made = model()
    return made.eval() if name != "batch_norm" else made, inputs()
