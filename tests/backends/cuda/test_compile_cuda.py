"""Models compiled for CUDA agree with eager in the emulator, class by class, and their sources compile for both architectures."""

import json

import pytest
import warploom
from problems import CASES, case
from warploom.backends.cuda.nvrtc import ARCHITECTURES, available, compile_cubin

QUICK = ("wide_pointwise", "nan", "layer_norm", "sum", "argmax", "cumsum", "fold_beside_scan", "matmul", "conv2d", "conv_transpose", "bfloat16_matmul", "half_linear_relu", "integers")


def _check(name):
    model, inputs = case(name)
    compiled = warploom.compile(model, inputs, target="cuda")  # raises WrongNumbers
    assert compiled.differences and not compiled.report.externs
    for program in compiled.code.programs:
        for arch in ARCHITECTURES if available() else ():
            assert compile_cubin(program.source, arch)[:4] == b"\x7fELF"


@pytest.mark.parametrize("name", QUICK)
def test_agrees_with_eager(name):
    _check(name)


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in CASES if n not in QUICK])
def test_agrees_with_eager_rest(name):
    _check(name)


def test_report_says_how_it_was_checked(tmp_path):
    model, inputs = case("softmax")
    compiled = warploom.compile(model, inputs, target="cuda")
    data = json.loads(compiled.report.to_json())
    assert data["ok"] and data["device"]["checked"] == "emulator" and data["device"]["gpu"] is None
    assert data["device"]["launches"][0]["launches"][0]["grid"] == [3, 1, 1]
    assert any("emulator" in note for note in data["notes"])
    assert all("__global__" in text for text in compiled.sources.values())
    compiled.export(tmp_path)
    source = next(tmp_path.glob("*.cu"))
    sidecar = json.loads(source.with_suffix(".json").read_text())
    assert {a["kind"] for a in sidecar["args"]} == {"in", "out"} and sidecar["kernels"][0]["name"] in source.read_text()


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_eager_on_a_gpu(name):
    model, inputs = case(name)
    compiled = warploom.compile(model.cuda(), [x.cuda() for x in inputs], target="cuda")
    assert compiled.report.device["checked"] == "gpu"
