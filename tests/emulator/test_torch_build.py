"""Extensions built against the narrow header answer as those built against torch's own: arguments, defaults, results, refusals."""

import pytest
import torch
from warploom.backends.emulator import torch_build

SOURCE = """#include <torch/extension.h>
#include <tuple>
std::tuple<torch::Tensor, int64_t> scaled(const torch::Tensor& x, double by, c10::optional<torch::Tensor> plus, std::vector<int64_t> sizes, bool twice) {
  TORCH_CHECK(x.dim() == 1, "x has one dimension");
  auto y = x * by * (twice ? 2 : 1);
  if (plus.has_value()) y += *plus;
  return {y, static_cast<int64_t>(sizes.size())};
}
at::Tensor total(std::vector<at::Tensor> all, torch::IntArrayRef shape) { return torch::stack(all).sum(0).view(shape); }
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.doc() = "narrow";
  m.def("scaled", &scaled, "x * by + plus", py::arg("x"), py::arg("by") = 3.0, py::arg("plus") = py::none(), pybind11::arg("sizes") = std::vector<int64_t>{1, 2}, py::arg("twice") = false);
  m.def("total", &total);
  m.def("none", []() {});
}
"""


def build(name, source):
    text = f"#undef TORCH_EXTENSION_NAME\n#define TORCH_EXTENSION_NAME {name}\n{source}"
    return torch_build.import_extension(name, torch_build.build_library([text]))


@pytest.mark.parametrize("line", ["torch::nn::Linear l(1, 2);", "py::object f(py::dict d);", "#include <torch/nn/functional.h>", "TORCH_LIBRARY(a, m) {}"])
def test_what_needs_torchs_own_headers(line):
    assert torch_build._WIDE.search(line)
    assert not torch_build._WIDE.search(SOURCE.replace("py::none()", "nullptr"))


@pytest.mark.long
def test_arguments_and_results(monkeypatch):
    monkeypatch.setattr(torch_build, "_WIDE", torch_build.re.compile("$^"))
    narrow = build("narrow_extension", SOURCE.replace("py::none()", "c10::nullopt"))
    x = torch.arange(3.0, requires_grad=True)
    y, n = narrow.scaled(x, plus=torch.ones(3))
    assert torch.equal(y, 3 * x + 1) and n == 2 and y.requires_grad
    assert torch.equal(narrow.scaled(x, 2, None, [4], True)[0], 4 * x)
    assert torch.equal(narrow.total([x, x], (3, 1)), (2 * x).view(3, 1)) and narrow.none() is None
    assert torch.equal(narrow.total(torch.nn.ParameterList([x, x]), (3, 1)), (2 * x).view(3, 1))
    for arguments in ((), (1,), (x, "2"), (x, 1, 2)):
        with pytest.raises(TypeError, match="incompatible"):
            narrow.scaled(*arguments)
    with pytest.raises(RuntimeError, match="x has one dimension"):
        narrow.scaled(x.view(3, 1))


@pytest.mark.long
def test_the_first_launch_of_a_thread_keeps_its_vector_registers(tmp_path):
    """glibc before 2.40 clobbers them when thread-local storage is first touched: the first result was zero."""
    from warploom.backends.emulator.torch_extension import load_extension

    (tmp_path / "k.cu").write_text("""#include <torch/extension.h>
__global__ void k(const float* x, float* y, int rows, int a, int b, int c) {
  __shared__ float s[32][32];
  int i = blockIdx.y * 32 + threadIdx.y, j = blockIdx.x * 32 + threadIdx.x;
  s[threadIdx.y][threadIdx.x] = i < rows * a && j < b ? x[i * b + j] : 0.f;
  __syncthreads();
  if (i < rows * a && j < b) y[i * b + j] = s[threadIdx.y][threadIdx.x] + c;
}
torch::Tensor forward(torch::Tensor x) {
  auto y = torch::zeros_like(x);
  k<<<dim3(2, 2), dim3(32, 32)>>>(x.data_ptr<float>(), y.data_ptr<float>(), 2, 32, 64, 5);
  return y;
}
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("forward", &forward); }
""")
    x = torch.randn(64, 64)
    assert torch.equal(load_extension([tmp_path / "k.cu"]).forward(x), x + 5)


@pytest.mark.long
@pytest.mark.parametrize("place, kinds", [("i", set()), ("i + 1", {"race", "out-of-bounds-write", "out-of-bounds-read"})])
def test_a_checked_extension(tmp_path, place, kinds):
    """The screen comes first and answers for what is right; what is wrong the checker names, with tensors of its own."""
    from warploom.backends.emulator.session import Options, run_files

    (tmp_path / "k.cu").write_text(f"""#include <torch/extension.h>
__global__ void k(const float* x, float* y, int n) {{
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {{ y[i] = 2.f * x[i]; y[{place}] += 1.f; }}
}}
torch::Tensor forward(torch::Tensor x) {{
  auto y = torch::empty_like(x);
  k<<<4, 32>>>(x.data_ptr<float>(), y.data_ptr<float>(), 128);
  return y;
}}
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {{ m.def("forward", &forward); }}
""")
    (tmp_path / "k.py").write_text("""import torch
class Model(torch.nn.Module):
    def forward(self, x, fn=lambda x: 2 * x + 1):
        return fn(x)
def get_inputs():
    return [torch.randn(128)]
def get_init_inputs():
    return []
""")
    session = run_files([tmp_path / "k.cu"], Options((), (), tmp_path, True))
    assert {f.kind for f in session.findings} == kinds
