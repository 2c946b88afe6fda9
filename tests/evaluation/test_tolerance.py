"""The allowance of a case: honest float32 of any summation order stays inside, weaker types fall outside."""

import numpy as np
import pytest
import torch
from warploom.evaluation.reference import Reference
from warploom.evaluation.rounding import Disturbed
from warploom.evaluation.task import Task

TASKS = {
    "matmul": ("return torch.matmul(a, b)", "torch.rand(40, 300), torch.rand(300, 24)"),
    "mean": ("return torch.mean((a - b) ** 2)", "torch.rand(64, 500), torch.rand(64, 500)"),
    "softmax": ("return torch.softmax(a * b, dim=1)", "torch.randn(32, 200), torch.rand(32, 200)"),
    "norm": ("return torch.nn.functional.layer_norm(a + b, (300,))", "torch.rand(24, 300), torch.rand(24, 300)"),
    "scan": ("return torch.cumsum(a * b, dim=1)", "torch.rand(16, 400), torch.rand(16, 400)"),
    "deep": ("return torch.tanh(torch.relu(a @ b) @ b.t()).sum(1)", "torch.randn(24, 60), torch.randn(60, 40)"),
}
FAMILIES = ("own", "many zeros", "mixed sign", "large", "constant rows", "low variance", "scaled rows", "few:0", "few:1")


def opened(name, tmp_path):
    body, inputs = TASKS[name]
    text = (
        "import torch\nclass Model(torch.nn.Module):\n    def forward(self, a, b):\n"
        f"        {body}\ndef get_inputs(): return [{inputs}]\n"
    )
    reference = Reference(1)
    reference.open(Task(name, "python", text), 7, str(tmp_path))
    return reference


def case(reference, family):
    files = reference.case(family.replace(":", "-"), family, 11, 4)
    if isinstance(files, str):
        pytest.skip(files)
    expected = files.expected[0]
    return [np.load(a) for a in files.arrays], np.load(expected.value), np.load(expected.tolerance)


def plain(name, a, b):
    """The task in float32 with plain sequential sums (NumPy's accumulate adds in order)."""
    f32 = np.float32
    if name == "matmul":
        return np.add.accumulate(a[:, :, None] * b[None], axis=1, dtype=f32)[:, -1]
    if name == "mean":
        return np.add.accumulate(((a - b) * (a - b)).reshape(-1), dtype=f32)[-1] / f32(a.size)
    if name == "softmax":
        x = a * b
        e = np.exp(x - x.max(1, keepdims=True))
        return e / np.add.accumulate(e, axis=1, dtype=f32)[:, -1:]
    if name == "norm":
        x = a + b
        s, q = (np.add.accumulate(v, axis=1, dtype=f32)[:, -1:] / f32(300) for v in (x, x * x))
        return (x - s) / np.sqrt(q - s * s + f32(1e-5))
    if name == "scan":
        return np.add.accumulate(a * b, axis=1, dtype=f32)
    hidden = np.maximum(np.add.accumulate(a[:, :, None] * b[None], axis=1, dtype=f32)[:, -1], 0)
    out = np.add.accumulate(hidden[:, :, None] * b.T[None], axis=1, dtype=f32)[:, -1]
    return np.add.accumulate(np.tanh(out), axis=1, dtype=f32)[:, -1]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_plain_sums_are_allowed(name, family, tmp_path):
    if name == "norm" and family == "low variance":
        pytest.skip("the one-pass formula cancels there")
    (a, b), value, tolerance = case(opened(name, tmp_path), family)
    with np.errstate(all="ignore"):
        error = np.abs(plain(name, a, b).astype(np.float64) - value)
    finite = np.isfinite(value)
    fine = (error <= tolerance) | np.isinf(tolerance)
    assert fine[finite].all(), (error / tolerance)[finite].max()


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("weaker", ["bf16", "tf32"])
def test_weaker_types_are_seen(name, weaker, tmp_path):
    reference, worst = opened(name, tmp_path), 0.0
    for family in ("own", "many zeros", "mixed sign", "few:0"):
        _, value, tolerance = case(reference, family)
        low = np.load(reference.weaker(family.replace(":", "-"))[weaker][0])
        worst = max(worst, float((np.abs(low - value) / tolerance).max()))
    assert worst > 3


def test_allowed_precision_widens(tmp_path):
    strict = opened("matmul", tmp_path)
    loose = Reference(1)
    loose.open(Task("matmul", "python", strict.task.text, "", "bf16"), 7, str(tmp_path))
    _, value, tolerance = case(loose, "own")
    low = np.load(loose.weaker("own")["bf16"][0])
    assert (np.abs(low - value) <= tolerance).all()


def test_tensors_that_are_no_buffers_are_widened_too(tmp_path):
    text = "import torch\nclass Model(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.table = torch.linspace(-1, 1, 48).view(8, 6)\n        self.more = [torch.ones(6) / 3]\n    def forward(self, a):\n        return a @ self.table + self.more[0]\ndef get_inputs(): return [torch.rand(4, 8)]\n"
    reference = Reference(1)
    reference.open(Task("t", "python", text), 1, str(tmp_path))
    (a,), value, tolerance = case(reference, "own")
    assert np.abs(value - (a.astype(np.float64) @ np.linspace(-1, 1, 48).reshape(8, 6) + 1 / 3)).max() < 1e-6 < 1e-3
    assert reference.model.table.dtype == torch.float32 and (tolerance < 1e-4).all()


def test_random_reference_is_refused(tmp_path):
    text = "import torch\nclass Model(torch.nn.Module):\n    def forward(self, a):\n        return a * torch.rand_like(a)\ndef get_inputs(): return [torch.rand(64)]\n"
    with pytest.raises(Exception, match="random"):
        Reference(1).open(Task("t", "python", text), 1, str(tmp_path))


def test_weights_are_moved_from_zero_and_one(tmp_path):
    text = "import torch\nclass Model(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.n = torch.nn.BatchNorm1d(6)\n    def forward(self, a):\n        return self.n(a)\ndef get_inputs(): return [torch.rand(8, 6)]\n"
    reference = Reference(1)
    reference.open(Task("t", "python", text), 1, str(tmp_path))
    state = reference._state(5)
    assert state["n.weight"].std() > 0.05
    assert state["n.bias"].abs().max() > 0.01
    assert (state["n.running_var"] > 0).all()
    assert state["n.num_batches_tracked"].dtype == torch.int64


def test_what_is_scattered_together_is_a_sum():
    terms = torch.randn(4096, dtype=torch.float64)
    index, base = torch.zeros(4096, dtype=torch.int64), torch.zeros(1, dtype=torch.float64)
    amplitudes = []
    for run in (lambda: terms.sum(0, keepdim=True), lambda: base.scatter_add(0, index, terms), lambda: base.index_add(0, index, terms),
                lambda: base.scatter_reduce(0, index, terms, "sum")):  # fmt: skip
        with Disturbed(2.0**-24, 1, False, silent=True) as mode:
            run()
        amplitudes.append(float(mode.amplitude))
    assert amplitudes[1:] == pytest.approx([amplitudes[0]] * 3, rel=0.05)
