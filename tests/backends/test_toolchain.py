"""The build cache and the compiler driver under bad conditions: damage, no room, no compiler, an interrupt, many processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warploom.backends.cache import Cache, cached, is_whole
from warploom.backends.toolchain import Headers, compile_library, open_library
from warploom.ir.diagnostic import BuildFailed, MissingTool

HEADERS = Headers((("first.h", '#include "second.h"\n#include <cmath>\n'), ("second.h", "#define ANSWER 42\n")))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WARPLOOM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def unit(value: str = "ANSWER") -> str:
    return f'#include "first.h"\nextern "C" int answer() {{ return {value}; }}\n'


def test_library_is_built_once_and_answers(folder):
    path = compile_library([unit()], (), HEADERS)
    before = path.stat().st_ino
    assert open_library(path).answer() == 42
    assert compile_library([unit()], (), HEADERS).stat().st_ino == before
    assert compile_library([unit("7")], (), HEADERS) != path


@pytest.mark.parametrize(
    "damage", [lambda d: d[:100], lambda d: b"", lambda d: d[:2000] + bytes([d[2000] ^ 255]) + d[2001:], lambda d: d + b"x"]
)
def test_damaged_entry_is_rebuilt(folder, damage):
    path = compile_library([unit("9")], (), HEADERS)
    path.write_bytes(damage(path.read_bytes()))
    assert not is_whole(path)
    again = compile_library([unit("9")], (), HEADERS)
    assert is_whole(again) and open_library(again).answer() == 9


def test_damaged_precompiled_header_is_rebuilt(folder):
    compile_library([unit()], (), HEADERS)
    (header,) = folder.glob("*.gch")
    header.write_bytes(header.read_bytes()[:1000])
    assert open_library(compile_library([unit("11")], (), HEADERS)).answer() == 11


def test_folder_that_cannot_be_written_warns_once_and_answers(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("WARPLOOM_CACHE", str(tmp_path / "file" / "cache"))
    code = """
from warploom.backends.toolchain import compile_library, open_library
for value in (5, 6, 5):
    print(open_library(compile_library(['extern "C" int answer() { return %d; }' % value], ())).answer())
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["5", "6", "5"]
    assert out.stderr.count("\n") == 1 and "cache folder" in out.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_full_folder(tmp_path, monkeypatch):
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        monkeypatch.setenv("WARPLOOM_CACHE", str(mount))
        (mount / "filler").write_bytes(b"x" * 12000)
        assert open_library(compile_library([unit("13")], (), HEADERS)).answer() == 13
        assert not list(mount.glob(".new-*"))
    finally:
        subprocess.run(["umount", mount])


def test_no_compiler(folder, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(MissingTool, match="install") as caught:
        compile_library([unit()], (), HEADERS)
    assert caught.value.exit_code == 3


def test_compiler_that_fails(folder, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(MissingTool):
        compile_library([unit()], ())


def test_refused_source_is_one_line(folder):
    with pytest.raises(BuildFailed) as caught:
        compile_library(["int f( {"], ())
    assert "\n" not in str(caught.value)
    assert not list(folder.glob("*.so"))


def test_least_recently_used_go_first(tmp_path):
    cache = Cache(tmp_path, 3500)
    for number, name in enumerate("abc"):
        os.utime(cache.store(name, b"x" * 1000), (number, number))
    assert cache.find("a")
    cache.store("d", b"x" * 1000)
    assert cache.find("a") and cache.find("d") and not cache.find("b")


def test_cached_makes_only_what_is_absent(folder):
    made = []
    for _ in range(2):
        cached("entry", lambda: made.append(1) or b"data")
    assert made == [1]


def _descendants(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found += [int(stat.parent.name), *_descendants(int(stat.parent.name))]
    return found


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_interrupt_kills_the_compilers_and_leaves_nothing(tmp_path):
    slow = "#include <regex>\\n" + "".join(f'std::regex r{n}(\\"a+{n}\\");' for n in range(300))
    code = f"from warploom.backends.toolchain import compile_library; compile_library(['{slow}', '{slow} int z;'], ())"
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "WARPLOOM_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and len(_descendants(process.pid)) < 2:
        time.sleep(0.05)
    children = _descendants(process.pid)
    assert children
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    time.sleep(0.2)
    assert not [pid for pid in children if _runs(pid)]
    assert not list((tmp_path / "tmp").iterdir())
    assert not list((tmp_path / "cache").glob("*.so")) and not list((tmp_path / "cache").glob(".new*"))


def test_many_processes_build_the_same(folder):
    code = f"""
from warploom.backends.toolchain import compile_library, open_library
print(open_library(compile_library([{unit("17")!r}.replace('#include "first.h"', '')], ())).answer())
"""
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [p.communicate()[0].strip() for p in running] == ["17"] * 4
    assert len(list(folder.glob("*.so"))) == 1 and not list(folder.glob(".new*"))
