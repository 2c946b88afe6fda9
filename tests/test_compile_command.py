"""`warploom compile` as a user meets it: JSON on stdout and nothing else, exit codes, one-line errors, bad files, bad surroundings, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner
from warploom.cli import app

GOOD = """
import torch
from torch import nn
class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a = nn.Linear(32, width)
    def forward(self, x):
        print("the model talks")
        return self.a(x).relu().sum(-1)
def get_inputs():
    return [torch.randn(8, 32)]
def get_init_inputs():
    return [48]
"""

BAD_FILES = {
    "no Model": ("import torch\ndef get_inputs(): return []\n", "Model"),
    "no inputs": ("import torch\nclass Model(torch.nn.Module): pass\n", "get_inputs"),
    "syntax": ("def f(:\n", "SyntaxError"),
    "import": ("import a_package_that_is_not_there\n", "a_package_that_is_not_there"),
    "exits": ("raise SystemExit(7)\n", "SystemExit"),
    "init raises": (GOOD.replace("super().__init__()", "raise ValueError('no\\\\nway')"), "no"),
    "forward raises": (GOOD.replace('print("the model talks")', "raise RuntimeError('too bad')"), "too bad"),
    "wrong inputs": (GOOD.replace("torch.randn(8, 32)", "torch.randn(8, 31)"), "raises"),
    "inputs raise": (GOOD.replace("return [torch.randn(8, 32)]", "return 1 / 0"), "ZeroDivisionError"),
    "inputs no list": (GOOD.replace("return [torch.randn(8, 32)]", "return 3"), "list"),
    "Model no module": ("class Model: pass\ndef get_inputs(): return []\n", "nn.Module"),
}


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "WARPLOOM_CACHE": str(tmp_path / "cache")}


def command(*arguments, environment, **options):
    run = [sys.executable, "-m", "warploom.cli", *map(str, arguments)]
    return subprocess.run(run, env=environment, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.py"
    path.write_text(GOOD)
    return path


def test_json_alone_on_stdout(good, environment, tmp_path):
    extra = ["--report", tmp_path / "r.html", "--export", tmp_path / "project", "--dump-ir", tmp_path / "ir", "--threads", 1]
    out = command("compile", good, "--json", "--no-compare", *extra, environment=environment)
    assert out.returncode == 0, out.stderr
    answer = json.loads(out.stdout)
    assert (
        answer["ok"] and answer["threads"] == 1 and answer["max_error"] < 1e-5 and answer["kernels"] and answer["extern"] == []
    )
    assert set(answer["time_ms"]) == {"warploom", "eager", "inductor"}
    assert (
        (tmp_path / "r.html").stat().st_size > 5000
        and (tmp_path / "project" / "CMakeLists.txt").exists()
        and list((tmp_path / "ir").iterdir())
    )
    assert "the model talks" in out.stderr


def test_table(good, environment):
    out = command("compile", good, "--no-compare", environment=environment)
    assert out.returncode == 0 and "right" in out.stdout and "roofline" in out.stdout


def one_line(stdout: str, code: int, expected: int) -> str:
    """The message of a refusal."""
    assert code == expected, stdout
    answer = json.loads(stdout)["error"]
    assert answer["code"].startswith("WL-E") and "\n" not in answer["message"]
    return answer["message"]


def refused(*arguments) -> str:
    """Run the command in this process, which saves the time to load torch; it must end with usage error 2."""
    out = CliRunner().invoke(app, ["compile", *map(str, arguments), "--json", "--no-compare"])
    assert out.exception is None or isinstance(out.exception, SystemExit)
    return one_line(out.stdout, out.exit_code, 2)


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_line(name, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(BAD_FILES[name][0])
    assert BAD_FILES[name][1] in refused(path)


@pytest.mark.parametrize(
    "arguments",
    [["absent.py"], ["zoo:nothing"], ["GOOD:Nothing"], ["GOOD", "--target", "abacus"], ["GOOD", "--passes", "magic"], ["GOOD", "--dynamic", "x=0"],
     ["GOOD", "--dynamic", "q:0=n"], ["GOOD", "--threads", "0"], ["GOOD", "--report", "/proc/nothing/r.html"]],
)  # fmt: skip
def test_bad_arguments_are_one_line(arguments, good):
    refused(*(a.replace("GOOD", str(good)) for a in arguments))


def test_no_compiler(good, environment):
    environment = {**environment, "PATH": str(Path(sys.executable).parent)}
    environment.pop("CXX", None)
    out = command("compile", good, "--json", "--no-compare", environment=environment)
    assert "install" in one_line(out.stdout, out.returncode, 3) and "Traceback" not in out.stderr


def test_a_cache_that_cannot_be_written(good, environment, tmp_path):
    (tmp_path / "file").write_text("")
    out = command(
        "compile", good, "--json", "--no-compare", environment={**environment, "WARPLOOM_CACHE": str(tmp_path / "file")}
    )
    assert out.returncode == 0 and json.loads(out.stdout)["ok"] and "cache folder" in out.stderr


def test_damaged_entries(good, environment, tmp_path):
    assert command("compile", good, "--json", "--no-compare", environment=environment).returncode == 0
    for entry in (tmp_path / "cache").iterdir():
        entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    out = command("compile", good, "--json", "--no-compare", environment=environment)
    assert out.returncode == 0 and json.loads(out.stdout)["ok"]


def test_two_processes_at_once(good, environment, tmp_path):
    run = [sys.executable, "-m", "warploom.cli", "compile", str(good), "--json", "--no-compare"]
    both = [
        subprocess.Popen(run, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(2)
    ]
    assert all(json.loads(p.communicate(timeout=300)[0])["ok"] for p in both)
    assert not list((tmp_path / "cache").glob(".new*"))


def _hears_interrupts():
    """A shell's background jobs ignore SIGINT, and so would their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_interrupt(good, environment, tmp_path):
    (tmp_path / "tmp").mkdir()
    environment = {**environment, "TMPDIR": str(tmp_path / "tmp")}
    slow = tmp_path / "slow-compiler"  # so that the build is still under way when the signal comes
    slow.write_text('#!/bin/sh\ncase "$*" in *--version*) ;; *) sleep 20 ;; esac\nexec g++ "$@"\n')
    slow.chmod(0o755)
    run = [sys.executable, "-m", "warploom.cli", "compile", str(good), "--json", "--no-compare"]
    process = subprocess.Popen(run, env={**environment, "CXX": str(slow)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_hears_interrupts)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / "tmp").glob("warploom-build-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors
    assert json.loads(out)["error"]["code"] == "WL-E098"
    assert not list((tmp_path / "tmp").glob("warploom-build-*")) and not list((tmp_path / "cache").glob("module*"))
    assert command("compile", good, "--json", "--no-compare", environment=environment).returncode == 0


def test_doctor_and_cache_clear(environment, good):
    out = command("doctor", "--json", environment=environment)
    assert out.returncode == 0 and json.loads(out.stdout)["peaks"]["gflops"] > 0
    assert json.loads(command("cache", "clear", "--json", environment=environment).stdout)["removed"] > 0
    bare = {**environment, "PATH": str(Path(sys.executable).parent)}
    bare.pop("CXX", None)
    assert command("doctor", "--json", environment=bare).returncode == 3


@pytest.mark.long
def test_bench(tmp_path, environment):
    level = tmp_path / "suite" / "level1"
    level.mkdir(parents=True)
    (level / "1_good.py").write_text(GOOD.replace("print", "str"))
    (level / "2_crash.py").write_text("import os\nos.abort()\n")
    (level / "3_bad.py").write_text("import torch\n")
    out = command(
        "bench",
        "cpu",
        "--suite",
        tmp_path / "suite",
        "--threads",
        "1,2",
        "--budget",
        0.2,
        "--json",
        "--out",
        tmp_path / "b.json",
        environment=environment,
    )
    assert out.returncode == 1, out.stderr
    answer = json.loads(out.stdout)
    assert [(r["problem"], r["threads"], r["ok"]) for r in answer["rows"]] == [
        ("1_good", 1, True), ("1_good", 2, True), ("2_crash", 1, False), ("2_crash", 2, False), ("3_bad", 1, False), ("3_bad", 2, False),
    ]  # fmt: skip
    first = answer["rows"][0]
    assert (
        not first["counted"] and first["interval"][0] <= first["ratio"] <= first["interval"][1] and first["allocator_gain"] > 0
    )
    assert answer["geomean"] == {} and json.loads((tmp_path / "b.json").read_text())["machine"]["cores"] > 0
    assert "Model" in answer["rows"][4]["error"]
