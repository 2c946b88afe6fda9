"""Candidates beyond C and Python: warploom programs, and Triton kernels in Triton's interpreter."""

import importlib.util

import pytest
from warploom.evaluation import python, sandbox
from warploom.evaluation.candidate import Candidate, read_candidate
from warploom.evaluation.judge import Judge, Settings
from warploom.evaluation.task import Task
from warploom.ir.diagnostic import MissingTool

needs_sandbox = pytest.mark.skipif(sandbox.unavailable() is not None, reason="no sandbox on this machine")
TASK = """def rows(x: f32[12, 40], b: f32[40]):
    s: f32[12] = reduce(add, (x,), (1,))
    y: f32[12, 40] = map(x[i0, i1] * b[i1] - s[i0])
    return y,
"""
PROGRAM = """def rows(M: dim, x: f32[M, 40], b: f32[40], y: f32[M, 40]):
    for i in block(M):
        s: local.f32[1]
        s[0] = 0.0
        for j in serial(40):
            s[0] += x[i, j]
        for k in serial(40):
            y[i, k] = x[i, k] * b[k] - s[0]
"""


@needs_sandbox
def test_a_warploom_program_is_judged():
    task = Task("rows", "graph", TASK)
    cases = {
        "right": PROGRAM,
        "scheduled": "# schedule: split(k, 8)\n" + PROGRAM,
        "wrong": PROGRAM.replace("for j in serial(40)", "for j in serial(39)"),
        "misfit": PROGRAM.replace("b: f32[40]", "b: f32[41]"),
        "short": PROGRAM.replace("b: f32[40], ", "").replace(" * b[k]", ""),
        "illegal": PROGRAM.replace("x[i, j]", "x[i, j + 1]"),
    }
    with Judge(Settings(measure=False)) as judge:
        said = {name: judge.verdict(task, Candidate("rows.wl", "warploom", text)) for name, text in cases.items()}
    assert said["right"].accepted and said["scheduled"].accepted, (said["right"].findings, said["scheduled"].findings)
    assert set(said["wrong"].reasons) & {"wrong-result", "partial-read"}
    assert [said[n].reasons for n in ("misfit", "short", "illegal")] == [("wrong-shape",), ("wrong-shape",), ("compile-error",)]


def test_the_suffix_says_what_it_is(tmp_path):
    (tmp_path / "k.wl").write_text(PROGRAM)
    assert read_candidate(tmp_path / "k.wl").language == "warploom"
    made = read_candidate(tmp_path / "k.wl")
    assert Candidate.from_json(made.to_json()) == made


def test_triton_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    python.require_triton("import torch\n# import triton\n")
    with pytest.raises(MissingTool, match="triton is not installed") as caught:
        python.require_triton("import torch\nimport triton.language as tl\n")
    assert caught.value.exit_code == 3


TRITON = """import torch
import triton
import triton.language as tl


@triton.jit
def rows(x, b, y, n: tl.constexpr, BLOCK: tl.constexpr):
    r = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    v = tl.load(x + r * n + at, mask=at < n, other=0.0)
    w = tl.load(b + at, mask=at < n, other=0.0)
    tl.store(y + r * n + at, v * w - tl.sum(v, axis=0), mask=at < n)


class ModelNew(torch.nn.Module):
    def forward(self, x, b):
        y = torch.empty_like(x)
        rows[(x.shape[0],)](x, b, y, n=x.shape[1], BLOCK=64)
        return y
"""


@needs_sandbox
@pytest.mark.long
def test_a_triton_kernel_is_judged():
    pytest.importorskip("triton")
    task = Task("rows", "graph", TASK)
    with Judge(Settings(measure=False)) as judge:
        right = judge.verdict(task, Candidate("rows.py", "python", TRITON))
        wrong = judge.verdict(
            task, Candidate("rows.py", "python", TRITON.replace("y + r * n + at, v", "y + r * n + at, 1.01 * v"))
        )
    assert right.accepted, right.findings
    assert wrong.reasons[:1] == ("wrong-result",), wrong.findings
