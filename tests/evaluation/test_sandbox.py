"""Nothing gets out of the sandbox, and it is refused where it does not exist."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warploom.evaluation import sandbox as room
from warploom.evaluation.sandbox import Limits, Sandbox, kill

pytestmark = pytest.mark.skipif(room.unavailable() is not None, reason="no sandbox on this machine")
SMALL = Limits(cpu_s=5, memory=1 << 30, file=1 << 20, processes=32, scratch=4 << 20)


def inside(script: str, limits: Limits = SMALL, timeout: float = 60) -> tuple[int, str]:
    process = Sandbox().start(["/bin/bash", "-c", script], limits=limits, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said, _ = process.communicate(timeout=timeout)
    finally:
        kill(process)
    return process.returncode, said.decode(errors="replace")


def test_no_files_of_the_machine(tmp_path):
    (tmp_path / "secret").write_text("hidden")
    for path in ("/etc/shadow", "/etc/passwd", "/root", "/home", str(tmp_path / "secret"), str(Path(__file__).resolve())):
        code, _ = inside(f"cat {path} || ls {path}")
        assert code != 0, path


def test_no_environment(monkeypatch):
    monkeypatch.setenv("WARPLOOM_SECRET", "hidden")
    _, said = inside("env; cat /proc/1/environ /proc/self/environ | tr '\\0' '\\n'")
    assert "hidden" not in said and "WARPLOOM" not in said


def test_no_writes_outside(tmp_path):
    target = f"/usr/warploom-{os.getpid()}"
    inside(f"touch {target}; touch /etc/x; mount -o remount,rw,bind /usr; touch {target}; echo x > /proc/sys/kernel/hostname")
    assert not Path(target).exists()
    assert not list(tmp_path.iterdir())


def test_no_network_no_processes_of_others():
    code, _ = inside("exec 3<>/dev/tcp/127.0.0.1/22")
    assert code != 0
    _, said = inside("ls /proc | grep -c '^[0-9]'")
    assert int(said.split()[0]) < 8


def test_limits_hold():
    assert inside("while :; do :; done", Limits(cpu_s=1))[0] != 0
    code, said = inside("head -c 100000000 /dev/zero > /tmp/full")
    assert code != 0, said
    code, said = inside("for i in 1 2 3 4 5 6 7 8 9; do head -c 1000000 /dev/zero > /tmp/f$i || exit 1; done")
    assert code != 0, said
    assert inside("bomb() { bomb | bomb & }; bomb; sleep 0.5; wait; exit 0", timeout=60)[0] is not None


def test_no_daemon_survives():
    marker = f"warploom-daemon-{os.getpid()}"
    inside(f"setsid bash -c 'exec -a {marker} sleep 300' & sleep 0.2")
    assert marker not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def test_dies_with_its_parent():
    script = (
        "import subprocess, sys, time\nfrom warploom.evaluation.sandbox import *\n"
        "p = Sandbox().start(['/bin/sleep', '222.25'], limits=Limits())\nprint('up', flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "up\n"
    assert eventually(lambda: "\n/bin/sleep 222.25" in processes())
    parent.kill()
    parent.wait()
    assert eventually(lambda: "222.25" not in processes()), "a contained process outlived its parent"


def processes() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def eventually(holds) -> bool:
    """Within five seconds of tries."""
    for _ in range(50):
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_refusal_says_what_to_install(tmp_path):
    script = "from warploom.evaluation import sandbox\ntry: sandbox.required()\nexcept Exception as e: print(e.exit_code, e)"
    env = {**os.environ, "PATH": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True).stdout
    assert said.startswith("3 ") and "install bubblewrap" in said and "--unsafe-no-sandbox" in said
