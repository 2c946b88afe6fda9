"""`warploom run`: a bare kernel with its sidecar, checked runs, unreadable input, and a PyTorch extension with its reference."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner
from warploom.cli import app

KERNELS = """__constant__ float scale[2];
__global__ void first(float* t, const float* x, int n) { int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) t[i] = scale[1] * x[i]; }
template <int K> __global__ void second(float* y, const float* t, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = t[i] + K;
}
"""
LAUNCH = {"grid": [4, 1, 1], "block": [256, 1, 1], "shared_bytes": 0}
SIDECAR = {
    "kernels": [
        {"name": "first", "launch": LAUNCH, "args": ["t", "x", "n"]},
        {"name": "second<5>", "launch": LAUNCH, "args": ["y", "t", "n"]},
    ],
    "args": [
        {"name": "y", "kind": "out", "dtype": "float32", "shape": [1000], "init": None},
        {"name": "x", "kind": "in", "dtype": "float32", "shape": [1000], "init": "np.arange(1000)"},
        {"name": "t", "kind": "temp", "dtype": "float32", "shape": [1000], "init": None},
        {"name": "n", "kind": "scalar", "dtype": "int32", "init": "1000"},
    ],
    "constants": {"scale": [1, 3]},
    "comment": "unknown fields are ignored",
}


def invoke(*args):
    result = CliRunner().invoke(app, ["run", *map(str, args), "--json"])
    return result.exit_code, json.loads(result.stdout)


def write(folder, source=KERNELS, sidecar=SIDECAR):
    (folder / "k.cu").write_text(source)
    (folder / "k.json").write_text(json.dumps(sidecar) if not isinstance(sidecar, str) else sidecar)
    return folder / "k.cu"


@pytest.mark.parametrize("check", [(), ("--check",)])
def test_several_kernels_over_one_argument_list(tmp_path, check):
    code, answer = invoke(write(tmp_path), "--out", tmp_path / "out", *check)
    assert code == 0 and answer["findings"] == []
    assert (np.load(answer["outputs"]["y"]) == 3 * np.arange(1000) + 5).all()


def test_findings_have_the_fields_of_the_contract(tmp_path):
    source = KERNELS.replace("if (i < n) y[i]", "if (i <= n) y[i]")
    code, answer = invoke(write(tmp_path, source), "--check")
    found = next(f for f in answer["findings"] if f["kind"] == "out-of-bounds-write")
    assert code == 1
    assert found["tool"] == "memcheck" and found["kernel"] == "second" and found["line"] == 5
    assert found["block"] == [3, 0, 0] and found["thread"] == [232, 0, 0] and found["other"] is None


@pytest.mark.parametrize(
    "sidecar",
    [
        "{",
        {"kernel": "first"},
        {**SIDECAR, "kernels": [{"name": "first", "launch": LAUNCH, "args": ["nobody"]}]},
        {**SIDECAR, "kernels": [{"name": "nobody", "launch": LAUNCH, "args": ["y"]}]},
        {
            **SIDECAR,
            "args": [{"name": "y", "kind": "in", "dtype": "float32", "shape": [4], "init": "np.load('/etc/passwd')"}],
            "kernels": [],
        },
        {**SIDECAR, "args": [{"name": "y", "kind": "out", "dtype": "float32", "shape": [1 << 60]}]},
    ],
)
def test_unreadable_sidecar_is_a_usage_error(tmp_path, sidecar):
    code, answer = invoke(write(tmp_path, sidecar=sidecar))
    assert code == 2 and answer["error"]["code"].startswith("WL-E")


def test_source_that_does_not_compile_is_a_no(tmp_path):
    code, answer = invoke(write(tmp_path, KERNELS.replace("scale[1]", "scael[1]")))
    assert code == 1 and "k.cu:2" in answer["error"]["message"]


def test_crash_is_reported(tmp_path):
    code, answer = invoke(write(tmp_path, KERNELS.replace("t[i] + K", "t[i + 1000000000]")))
    assert code == 1 and "SIGSEGV" in answer["error"]["message"]


EXTENSION = """#include <torch/extension.h>
#include <ATen/cuda/CUDAContext.h>
#define CHECK_CUDA(x) TORCH_CHECK(x.is_cuda(), #x " must be a CUDA tensor")
template <typename T> __global__ void twice(const T* __restrict__ x, T* __restrict__ y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] * T(2);
}
torch::Tensor forward(torch::Tensor x) {
  CHECK_CUDA(x);
  auto y = torch::empty_like(x);
  const int n = x.numel(), threads = 128;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "twice", ([&] {
    twice<scalar_t><<<(n + threads - 1) / threads, threads, 0, at::cuda::getCurrentCUDAStream()>>>(x.data_ptr<scalar_t>(), y.data_ptr<scalar_t>(), n);
  }));
  return y;
}
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("forward", &forward, "twice"); }
"""
REFERENCE = """import torch
class Model(torch.nn.Module):
    def forward(self, x, fn=lambda x: 2 * x):
        return fn(x)
def get_inputs():
    return [torch.randn(10, 37)]
def get_init_inputs():
    return []
"""


@pytest.mark.long
@pytest.mark.parametrize("check", [(), ("--check",)])
def test_extension_agrees_with_its_reference(tmp_path, check):
    (tmp_path / "e.cu").write_text(EXTENSION)
    (tmp_path / "e.py").write_text(REFERENCE)
    code, answer = invoke(tmp_path / "e.cu", *check)
    assert code == 0 and answer["matches"] and answer["max_error"] == 0


@pytest.mark.long
def test_checked_extension_names_the_bug(tmp_path):
    (tmp_path / "e.cu").write_text(EXTENSION.replace("if (i < n)", "if (i <= n)"))
    (tmp_path / "e.py").write_text(REFERENCE)
    code, answer = invoke(tmp_path / "e.cu", "--check")
    assert code == 1
    assert {(f["kind"], f["line"]) for f in answer["findings"]} >= {("out-of-bounds-write", 6), ("out-of-bounds-read", 6)}
