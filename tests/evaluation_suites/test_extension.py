"""A folder of PyTorch-extension `.cu` files with references beside them: listed, audited, and answers judged by both protocols."""

from __future__ import annotations

import pytest
from warploom.evaluation.suites.audit import audit
from warploom.evaluation.suites.original import OriginalScorer
from warploom.evaluation.suites.read import read_suite
from warploom.evaluation.suites.score import Scorer

CUDA = """#include <torch/extension.h>
#include <cuda_runtime.h>
__global__ void affine(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = SCALEf * x[i] + 1.0f;
}
torch::Tensor forward(torch::Tensor x) {
  auto y = torch::empty_like(x);
  int n = x.numel();
  affine<<<(n + 127) / 128, 128>>>(x.data_ptr<float>(), y.data_ptr<float>(), n);
  return y;
}
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("forward", &forward, "affine"); }
"""
REFERENCE = """import torch
import torch.nn as nn
def module_fn(x):
    return 3.0 * x + 1.0
class Model(nn.Module):
    def forward(self, x, fn=module_fn):
        return fn(x)
def get_inputs():
    return [torch.randn(40, 33)]
def get_init_inputs():
    return []
"""
EXTENSION = """#include <torch/extension.h>
torch::Tensor forward(torch::Tensor x) { BODY }
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("forward", &forward); }
"""
LOOP = "auto y = torch::empty_like(x); const float* a = x.data_ptr<float>(); float* b = y.data_ptr<float>(); for (int64_t i = 0; i < x.numel(); ++i) b[i] = 3.0f * a[i] + 1.0f; return y;"


def kernel(value: str) -> str:
    return f"void kernel(const float* x, float* y) {{ for (int i = 0; i < 40 * 33; ++i) y[i] = {value}; }}"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two records: one that is sound, one whose CUDA side computes something else than its reference."""
    folder = tmp_path_factory.mktemp("mine")
    for name, scale in (("affine", "3.0"), ("other", "2.0")):
        (folder / f"{name}.cu").write_text(CUDA.replace("SCALE", scale))
        (folder / f"{name}.py").write_text(REFERENCE)
    suite = read_suite(folder)
    assert (suite.name, [r.id for r in suite.records]) == ("KernelBench_c", ["affine", "other"])
    return suite.records


@pytest.mark.parametrize(
    ("value", "strict", "original"),
    [
        ("3 * x[i] + 1", {"accepted"}, {"accepted"}),
        ("3 * x[i] + 1.004f", {"wrong-result", "precision-downgrade"}, {"accepted"}),  # within the benchmark's tolerance
        ("3 * x[i] + 1.1f", {"wrong-result"}, {"wrong-result"}),
    ],
)
def test_both_protocols(judge, records, value, strict, original):
    assert Scorer(judge).score(records[0], kernel(value)).verdict in strict
    outcome = OriginalScorer(judge).score(records[0], kernel(value))
    assert outcome.verdict in original and (outcome.speedup is not None) == outcome.accepted, outcome


@pytest.mark.long
@pytest.mark.parametrize(("body", "strict", "original"), [(LOOP, "accepted", "accepted"), ("return x.mul(3.0).add(1.0);", "library-call", "accepted"), ("return x", "compile-error", "compile-error")])
def test_answers_in_the_published_form(judge, records, body, strict, original):
    code = EXTENSION.replace("BODY", body)
    assert Scorer(judge).score(records[0], code).verdict == strict
    assert OriginalScorer(judge).score(records[0], code).verdict == original


@pytest.mark.long
def test_audit(judge, records):
    found = [audit(r, judge) for r in records]
    assert not found[0].defects and "disagrees" in found[1].defects[0], found
