"""Launches through the real cuda.bindings, with the driver below them played by a small library."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from warploom.backends.cuda.nvrtc import available, version

PLAYED = Path(__file__).parent / "played"

pytestmark = pytest.mark.skipif(not available() or shutil.which("gcc") is None, reason="cuda-python or gcc is not installed")


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("driver")
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", folder / "libcuda.so.1", PLAYED / "driver.c"], check=True)
    done = subprocess.run([sys.executable, PLAYED / "launches.py"], capture_output=True, text=True, env={**os.environ, "LD_LIBRARY_PATH": str(folder)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_launches_have_their_arguments_and_torchs_stream_from_any_thread(told):
    x, y = told["x"], told["y"]
    assert told["launches"] == [  # with n = 100000, then with n = 0, where a grid is empty; device 1's context has the number 2
        f"small_ip<<<100000 1 1, 32, 0, 1904>>> in 2: 100000 {x} ",
        f"large_lpp<<<3 1 1, 32, 100000, 1904>>> in 2: 100000 {x} {y} ",
        "bare_<<<2 1 1, 32, 0, 1904>>> in 2: ",
        f"large_lpp<<<3 1 1, 32, 0, 1904>>> in 2: 0 {x} {y} ",
        "bare_<<<2 1 1, 32, 0, 1904>>> in 2: ",
    ]


def test_a_driver_older_than_the_compiler_is_one_clear_line(told):
    assert told["old"] == f"NVIDIA's driver takes CUDA 12.4, and NVRTC is of CUDA {version()}"
