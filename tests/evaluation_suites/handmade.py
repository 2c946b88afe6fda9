"""Records in HPCTransEval's schema, written for these tests: sound ones, one that contradicts itself, weak ones, hostile ones."""

from __future__ import annotations

import json
from pathlib import Path


def _record(name: str, c: str, cuda: str, inputs: list, outputs: list, ir: str = "") -> dict:
    return {"op_name": name, "c_code": c, "cuda_code": cuda, "ir_code": ir, "input_shape": inputs, "output_shape": outputs, "op_args": "None"}


def _ir(*parameters: tuple[str, tuple[int, ...]]) -> str:
    typed = ", ".join(f'{n}: T.Buffer(({", ".join(map(str, s))}{"," if len(s) == 1 else ""}), "float32")' for n, s in parameters)
    return f"@I.ir_module\nclass Module:\n    @T.prim_func\n    def main({typed}):\n        pass\n"


def _elementwise(name: str, c: str, cuda: str, rows: int = 12, columns: int = 30, guard: int = 0) -> dict:
    n = rows * columns
    return _record(
        name,
        f"void work(float* x, float* y) {{\n  for (int32_t i = 0; i < {n}; ++i) {{\n    y[i] = {c};\n  }}\n}}\n",
        f'extern "C" __global__ void __launch_bounds__(64) work(float* __restrict__ x, float* __restrict__ y) {{\n'
        f"  int i = blockIdx.x * 64 + threadIdx.x;\n  if (i < {guard or n}) {{\n    y[i] = {cuda};\n  }}\n}}\n",
        [[rows, columns]], [[rows, columns]], _ir(("x", (rows, columns)), ("y", (rows, columns))),
    )  # fmt: skip


ROW_SUM = _record(
    "row_sum",
    "void work(float* total, float* x) {\n  for (int32_t r = 0; r < 40; ++r) {\n    total[r] = 0.0f;\n    for (int32_t k = 0; k < 33; ++k) {\n"
    "      total[r] = (total[r] + x[((r * 33) + k)]);\n    }\n  }\n}\n",
    'extern "C" __global__ void __launch_bounds__(40) work(float* __restrict__ total, float* __restrict__ x) {\n  float s = 0;\n'
    "  for (int k = 0; k < 33; ++k) s += x[threadIdx.x * 33 + k];\n  total[threadIdx.x] = s;\n}\n",
    [[40, 33]], [[40]], _ir(("x", (40, 33)), ("total", (40,))),
)  # fmt: skip
CHAIN = _record(
    "scale_then_exp",
    "void work(float* x, float* y) {\n  for (int32_t i = 0; i < 256; ++i) {\n    y[i] = expf(x[i] * 0.5f);\n  }\n}\n",
    'extern "C" __global__ void __launch_bounds__(64) work_1(float* __restrict__ t, float* __restrict__ y) {\n'
    "  y[blockIdx.x * 64 + threadIdx.x] = __expf(t[blockIdx.x * 64 + threadIdx.x]);\n}\n"
    'extern "C" __global__ void __launch_bounds__(64) work(float* __restrict__ t, float* __restrict__ x) {\n'
    "  t[blockIdx.x * 64 + threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x] * 0.5f;\n}\n",
    [[256]], [[256]], _ir(("x", (256,)), ("y", (256,))),
)  # fmt: skip
HTML = '<script>alert("x")</script><img src=x onerror=alert(1)>'
RECORDS = [
    _elementwise("affine", "x[i] * 3.0f + 1.0f", "x[i] * 3.0f + 1.0f"),
    ROW_SUM,
    CHAIN,
    _elementwise("ceil", "ceilf(x[i])", "ceilf(x[i])"),
    _elementwise("affine_of_another_shape", "x[i] * 3.0f + 1.0f", "x[i] * 3.0f + 1.0f", guard=72),
    {**_elementwise(f"../../{HTML}", "x[i] + 1.0f", "x[i] + 1.0f"), "op_args": HTML},
    _elementwise("huge", "x[i]", "x[i]") | {"c_code": "x" * (10 << 20)},
    "no record",
    {"op_name": "half", "c_code": 5},
]
SOUND, DEFECTIVE = (0, 1, 2, 3, 5), (4, 6, 7, 8)


def write_records(folder: Path) -> Path:
    """The folder with one list of records in it, and a file that is none."""
    (folder / "Handmade.json").write_text(json.dumps(RECORDS))
    (folder / "notes.json").write_text('{"c_code": "cuda_code"}')
    return folder
