"""What `warploom compile` does when it goes wrong: the failure is reduced to a file, and the command that reproduces it is named."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner
from warploom.backends.cpu import build, printer
from warploom.backends.cpu.malloc import KEEPING
from warploom.cli import app
from warploom.passes import pipeline

MODEL = """
import torch
class Model(torch.nn.Module):
    def forward(self, x):
        return (torch.relu(x) * 3.0).tanh() - 1.0
def get_inputs():
    return [torch.randn(6, 9)]
def get_init_inputs():
    return []
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def compiled(model, folder):
    out = CliRunner().invoke(app, ["compile", str(model), "--json", "--no-compare", "--dump-ir", str(folder)])
    return out.exit_code, json.loads(out.stdout)


def test_every_stage_is_dumped_and_replays(model, tmp_path):
    code, _ = compiled(model, tmp_path / "ir")
    names = sorted(p.name for p in (tmp_path / "ir").iterdir())
    assert code == 0 and [n for n in names if n.startswith("graph_")] == [
        "graph_0_exported.txt", "graph_1_canonical.txt", "graph_2_padded.txt", "graph_3_packed.txt",
    ]  # fmt: skip
    assert any("_0_lowered" in n for n in names) and any("_3_step00_" in n for n in names) and any("_4_scheduled" in n for n in names)
    for name in names:
        if any(stage in name for stage in ("_exported", "_schedule.", "_step01")):
            out = CliRunner().invoke(app, ["replay", str(tmp_path / "ir" / name), "--json"])
            assert out.exit_code == 0, (name, out.stdout)


def test_an_exception_in_a_pass(model, tmp_path, monkeypatch):
    def broken(program):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(pipeline, "flatten", broken)
    code, answer = compiled(model, tmp_path)
    message = answer["error"]["message"]
    assert code == 1 and answer["error"]["code"] == "WL-E023" and "planted" in message and "warploom replay" in message
    text = (tmp_path / "model-failure.txt").read_text()
    assert text.startswith("# an exception: ZeroDivisionError: planted") and text.count(" = map(") == 1
    assert CliRunner().invoke(app, ["replay", str(tmp_path / "model-failure.txt")]).exit_code == 1


@pytest.mark.long
def test_wrong_numbers(model, tmp_path, monkeypatch):
    real = printer.print_function

    def wrong(program, *args, **kwargs):
        return real(program, *args, **kwargs).replace("tanh(", "fabs(")

    monkeypatch.setattr(printer, "print_function", wrong)
    monkeypatch.setattr(build, "print_function", wrong)
    code, answer = compiled(model, tmp_path)
    assert code == 1 and answer["error"]["code"] == "WL-E022"
    text = (tmp_path / "model-failure.txt").read_text()
    assert "wrong numbers" in text and "tanh" in text and "relu" not in text and len(text.splitlines()) <= 6


CRASHING = """
import sys
from warploom.backends.cpu import build, printer
real = printer.print_function
def crashing(program, *args, **kwargs):
    text = real(program, *args, **kwargs)
    return text.replace("{\\n", "{ __builtin_trap();\\n", 1) if "tanh" in text else text
printer.print_function = build.print_function = crashing
from warploom import cli
sys.argv = ["warploom", "compile", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.long
def test_a_crash(model, tmp_path):
    run = [sys.executable, "-c", CRASHING, str(model), "--json", "--no-compare", "--dump-ir", str(tmp_path)]
    environment = {**os.environ, **KEEPING, "WARPLOOM_CACHE": str(tmp_path / "cache")}
    out = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=600)
    answer = json.loads(out.stdout)
    assert out.returncode == 1 and answer["error"]["code"] == "WL-E023" and "SIG" in answer["error"]["message"], out.stderr
    text = (tmp_path / "model-failure.txt").read_text()
    assert text.startswith("# the process died") and "tanh" in text
