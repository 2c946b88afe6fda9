"""Data sets of warploom as a suite: both forms are read, each side is held against the graph, answers are judged."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warploom.agents.evaluate.rules import transpiled
from warploom.evaluation.suites.audit import audit
from warploom.evaluation.suites.read import read_suite
from warploom.evaluation.suites.score import Scorer

GRAPH = "def program(x: f32[6, 20], w: f32[20]):\n    y: f32[6, 20] = map(exp(x[i0, i1]) * w[i1])\n    return y,\n"
CUDA = """extern "C" __global__ void __launch_bounds__(32) k0(const float* x, float* t) {
  const int i = blockIdx.x * 32 + threadIdx.x;
  if (i < 120) t[i] = expf(x[i]);
}
extern "C" __global__ void __launch_bounds__(20) k1(const float* t, const float* w, float* y) {
  y[blockIdx.x * 20 + threadIdx.x] = t[blockIdx.x * 20 + threadIdx.x] * w[threadIdx.x];
}
"""
C = """#include <cmath>
extern "C" void kernel(const float* x, const float* w, float* y) {
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 20; ++j) y[i * 20 + j] = std::exp(x[i * 20 + j]) * w[j];
}
"""
LAUNCHES = [
    {"kernel": "k0", "grid": [4, 1, 1], "block": [32, 1, 1], "shared_bytes": 0, "args": ["x", "t"]},
    {"kernel": "k1", "grid": [6, 1, 1], "block": [20, 1, 1], "shared_bytes": 0, "args": ["t", "w", "y"]},
]
BUFFERS = [
    {"name": n, "role": r, "dtype": "float32", "shape": s}
    for n, r, s in (("x", "input", [6, 20]), ("t", "temporary", [120]), ("w", "input", [20]), ("y", "output", [6, 20]))
]


def row(cuda: str = CUDA, c: str = C) -> dict:
    args = [{"name": n, "type": "float", "role": "out" if n == "y" else "in"} for n in ("x", "w", "y")]
    nested = {"cuda_launches": LAUNCHES, "buffers": BUFFERS, "c_args": args, "operators": ["exp", "mul"]}
    return {"category": "elementwise", "graph": GRAPH, "cuda_source": cuda, "c_source": c, **{k: json.dumps(v) for k, v in nested.items()}}


@pytest.fixture
def folder(tmp_path):
    rows = [row(), row(cuda=CUDA.replace("i < 120", "i < 96")), row(c=C.replace("* w[j]", "+ w[j]"))]
    pq.write_table(pa.Table.from_pylist([*rows, row() | {"buffers": "[]"}]), tmp_path / "pairs.parquet")
    (tmp_path / "hpctranseval.json").write_text(json.dumps([exported()]))
    return tmp_path


def exported() -> dict:
    return {
        "op_name": "exp_mul", "c_code": C, "cuda_code": CUDA, "ir_code": GRAPH, "input_shape": [[6, 20], [20]], "output_shape": [[6, 20]], "op_args": "None",
        "input_name": ["x", "w"], "output_name": ["y"], "launches": LAUNCHES, "buffers": BUFFERS,
    }  # fmt: skip


def test_both_forms_are_read(folder):
    suite = read_suite(folder)
    assert suite.name == "warploom" and [r.id for r in suite.records] == [f"pairs/{i}" for i in range(4)]
    assert [bool(r.defects) for r in suite.records] == [False, False, False, True]
    alone = read_suite(folder / "hpctranseval.json").records[0]
    first = suite.records[0]
    assert (alone.arguments, alone.kernels, alone.form) == (first.arguments, first.kernels, "pair")
    assert [(a.name, a.role, a.shape) for a in first.arguments] == [("x", "input", (6, 20)), ("w", "input", (20,)), ("y", "output", (6, 20))]


def test_a_file_that_is_no_data_set(tmp_path):
    (tmp_path / "pairs.parquet").write_text("PAR1 but not really")
    with pytest.raises(Exception, match="not a data set"):
        read_suite(tmp_path)


def test_audit_and_answers(folder, judge):
    suite = read_suite(folder)
    good, cuda, c, broken = (audit(r, judge) for r in suite.records)
    assert not good.defects and good.speeds["c_code"] > 0
    assert "CUDA side" in cuda.defects[0] and "C side" in c.defects[0] and broken.defects
    record = suite.records[0]
    answers = {"accepted": C, "wrong-result": C.replace("* w[j]", "+ w[j]"), "extraction": "int f(int x) { return x; }", "compile-error": C + "}"}
    assert {wanted: Scorer(judge).score(record, code).verdict for wanted, code in answers.items()} == {w: w for w in answers}
    text, _ = transpiled(record)
    assert Scorer(judge).score(record, text.split("```")[1].removeprefix("cpp")).verdict == "accepted"
