"""Nsight Compute, played by a script that prints what it prints."""

import stat
import sys
from dataclasses import replace

import pytest
import torch
from warploom.backends.cuda import counters
from warploom.backends.cuda.counters import Counters, NoCounters, counted
from warploom.backends.cuda.module import printed
from warploom.backends.manifest import backend
from warploom.frontend.torch_export import export_model
from warploom.passes.pipeline import Options, plan

HEAD = '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device","CC","Section Name","Metric Name","Metric Unit","Metric Value"'
VALUES = {"gpu__time_duration.sum": "us", "dram__throughput.avg.pct_of_peak_sustained_elapsed": "%", "sm__throughput.avg.pct_of_peak_sustained_elapsed": "%", "sm__warps_active.avg.pct_of_peak_sustained_active": "%"}
NCU = """#!{python}
import subprocess, sys
rest = sys.argv[sys.argv.index("--metrics") + 2:]
if {refuse}:
    print("==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters")
    sys.exit(1)
sys.exit(subprocess.run(rest).returncode or print(open({text!r}).read()) or 0)
"""


def rows(launches):
    """What ncu prints of (kernel, values) in order."""
    lines = ["==PROF== Connected to process 7", "==PROF== Disconnected from process 7", HEAD]
    for n, (kernel, values) in enumerate(launches):
        for (metric, unit), value in zip(VALUES.items(), values):
            lines.append(f'"{n}","7","python3","127.0.0.1","{kernel}","1","7","(256, 1, 1)","(3, 1, 1)","0","9.0","Command line profiler metrics","{metric}","{unit}","{value}"')
    return "\n".join(lines)


@pytest.fixture(scope="module")
def programs():
    exported = export_model(torch.nn.Sequential(torch.nn.Linear(24, 40), torch.nn.Softmax(1)), (torch.randn(16, 24),), None, None)
    module = plan(exported.graph, backend("cuda").machine(), Options())
    return [printed(replace(module, steps=(s,))).programs[-1] for s in module.steps]


@pytest.fixture
def ncu(tmp_path, monkeypatch):
    def make(text, refuse=False):
        (tmp_path / "text").write_text(text)
        script = tmp_path / "ncu"
        script.write_text(NCU.format(python=sys.executable, refuse=refuse, text=str(tmp_path / "text")))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(counters, "tool", lambda: str(script))

    return make


def test_each_program_has_its_own_launches(programs, ncu):
    names = [x.kernel for p in programs for x in p.launches]
    assert len(programs) == 2 and len(names) == 2
    foreign = ("void at::native::distribution_kernel<float>(long)", ("9,000.5", "99", "99", "99"))
    ncu(rows([foreign, (f"{names[0]}(const float *, float *)", ("12.5", "81.5", "20", "50")), foreign, (names[1], ("1,012.5", "10", "25", "12.5"))]))
    assert counted(programs, "cuda") == [Counters(0.815, 0.2, 0.5), Counters(0.1, 0.25, 0.125)]


def test_launches_of_one_program_count_by_their_time(programs, ncu):
    twice = replace(programs[0], launches=programs[0].launches * 2)
    name = twice.launches[0].kernel
    ncu(rows([(name, ("3", "80", "20", "50")), (name, ("1", "40", "60", "50"))]))
    assert counted([twice], "cuda") == [Counters(pytest.approx(0.7), pytest.approx(0.3), 0.5)]


def test_what_hinders_is_said(programs, ncu):
    ncu("", refuse=True)
    with pytest.raises(NoCounters, match="ERR_NVGPUCTRPERM"):
        counted(programs, "cuda")
    ncu(rows([]))
    with pytest.raises(NoCounters, match="saw 0 launches, not 2"):
        counted(programs, "cuda")


@pytest.mark.gpu
def test_on_a_gpu(programs):
    if counters.tool() is None:
        pytest.skip("Nsight Compute is not installed")
    assert all(0 < c.memory <= 1 and 0 < c.warps <= 1 for c in counted(programs, "cuda"))
