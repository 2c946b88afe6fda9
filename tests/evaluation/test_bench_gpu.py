"""`bench gpu` without a GPU: the command's bookkeeping with workers that answer, fail, and are interrupted; a torch without CUDA."""

import json

import pytest
import torch
from warploom.backends.cuda.host import H100
from warploom.evaluation.bench import gpu
from warploom.evaluation.bench.gpu import GpuRequest, run_gpu_bench

WORKER = """
import json, sys
spec, level, target, budget = sys.argv[1:]
name = spec.split("/")[-1].removesuffix(".py")
if name == "crashes":
    sys.exit("Segmentation fault")
if name == "refused":
    print(json.dumps({"error": {"code": "WL-E071", "message": "k0: the CUDA driver answers CUDA_ERROR_INVALID_VALUE"}}))
elif name == "alone":
    print(json.dumps({"problem": name, "level": level, "target": target, "warploom_ms": 1.0, "ok": True, "error": "eager: out of memory"}))
else:
    print(json.dumps({"problem": name, "level": level, "target": target, "warploom_ms": 1.0, "eager_ms": 2.0, "ratio": 2.0, "interval": [1.9, 2.1],
                      "ok": True, "device_ms": {"warploom": 0.5, "eager": 2.0}, "device_ratio": 4.0, "floor_ms": 0.25, "floor_share": 0.5}))
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "machine", lambda: H100)
    folder = tmp_path / "level1"
    folder.mkdir()
    return folder


def bench(suite, *names):
    for name in names:
        (suite / f"{name}.py").write_text("")
    out = suite.parent / "out.json"
    code = run_gpu_bench(GpuRequest(WORKER, str(suite), out=str(out)), True)
    return code, json.loads(out.read_text())


def test_one_that_fails_costs_its_row(suite):
    code, data = bench(suite, "alone", "crashes", "fine", "refused")
    rows = {r["problem"]: r for r in data["rows"]}
    assert code == 1 and rows["fine"]["ok"] and rows["alone"]["ok"] and not rows["alone"]["counted"]
    assert "Segmentation fault" in rows["crashes"]["error"] and rows["refused"]["error"] == "k0: the CUDA driver answers CUDA_ERROR_INVALID_VALUE"
    assert data["geomean"] == {"level1": {"cuda": pytest.approx(2.0)}} and data["device_geomean"] == {"level1": {"cuda": pytest.approx(4.0)}}
    assert data["terms"] == {"allow_tf32": False, "cudnn.benchmark": True} and data["machine"]["bandwidth_gb_s"] == pytest.approx(3350)


def test_what_is_interrupted_keeps_its_rows(suite, monkeypatch):
    run = gpu.run_worker

    def interrupted(command, timeout_s, environment):
        if "second" in command[3]:
            raise KeyboardInterrupt
        return run(command, timeout_s, environment)

    monkeypatch.setattr(gpu, "run_worker", interrupted)
    code, data = bench(suite, "first", "second")
    assert code == 130 and [r["problem"] for r in data["rows"]] == ["first"]


def test_a_torch_without_cuda_is_one_clear_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert run_gpu_bench(GpuRequest(WORKER), False) == 3
    assert "is built without CUDA" in capsys.readouterr().err


def test_the_least_time_is_by_bytes_or_by_arithmetic(monkeypatch):
    monkeypatch.setattr(gpu, "machine", lambda: H100)
    x = torch.randn(64, 32)
    assert gpu.least_seconds(torch.nn.ReLU(), (x,)) == pytest.approx(2 * 64 * 32 * 4 / 3.35e12)
    model = torch.nn.Linear(4096, 4096, bias=False, device="meta")
    wide = torch.randn(4096, 4096, device="meta")
    assert gpu.least_seconds(model, (wide,)) == pytest.approx(2 * 4096**3 / 67e12)


@pytest.mark.gpu
def test_on_a_gpu(tmp_path):
    from warploom.compiler import GPU_WORKER

    out = tmp_path / "out.json"
    assert run_gpu_bench(GpuRequest(GPU_WORKER, targets="cuda,triton", only="mlp", budget_s=0.5, out=str(out)), True) == 0
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 2 and all(r["ok"] and r["ratio"] > 0 and {"warploom", "eager"} <= set(r["device_ms"]) and 0 < r["floor_share"] < 1.2 for r in rows)
