"""The C++ compiler of this machine: sources and flags come in, the path of a shared library in the build cache goes out.

Objects of one library compile in parallel; an interrupt kills the compilers and leaves nothing behind. OpenMP symbols stay open in the
library and resolve to the libgomp that the process has loaded already (torch's): two pools would oversubscribe the cores.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..ir.diagnostic import BuildFailed, MissingTool
from .cache import cached

ALWAYS = ("-fPIC", "-fno-semantic-interposition", "-w")
SAFE = "-fno-tree-dominator-opts"
"""Wanted beside -O3 for loops with conditions inside conditions: GCC 12's dominator pass overlooks masked stores in loops that are unrolled."""
_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler: its command and what `--version` says first."""

    command: str
    version: str


@dataclass(frozen=True)
class Headers:
    """(name, text) of the headers that units may include; the first, which includes the others, is compiled once per set of flags:
    the units' own, or `flags` where units of several kinds shall share it."""

    files: tuple[tuple[str, str], ...]
    flags: tuple[str, ...] | None = None

    @classmethod
    def read(cls, folder: Path, *names: str) -> Headers:
        return cls(tuple((name, (folder / name).read_text()) for name in names))

    @property
    def main(self) -> str:
        return self.files[0][0]

    @property
    def text(self) -> str:
        return "\0".join(part for file in self.files for part in file)


def compiler() -> Compiler:
    """`$CXX`, else g++, else c++ on PATH. Raises MissingTool."""
    wanted = os.environ.get("CXX")
    for name in [wanted] if wanted else ["g++", "c++"]:
        if path := shutil.which(name):
            return _describe(path)
    looked = f"$CXX={wanted}" if wanted else "g++"
    raise MissingTool(
        f"no C++ compiler: {looked} is not on PATH", hint="install one, for example `apt-get install g++`, or set CXX"
    )


@functools.cache
def _describe(path: str) -> Compiler:
    try:
        out = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingTool(f"the C++ compiler {path} does not run: {error}", hint="install g++ or set CXX") from None
    if out.returncode:
        raise MissingTool(f"the C++ compiler {path} does not run: exit {out.returncode}", hint="install g++ or set CXX")
    return Compiler(path, out.stdout.splitlines()[0] if out.stdout else path)


def compile_library(units: Sequence[str], flags: Sequence[str], headers: Headers | None = None, stem: str = "module") -> Path:
    """Build `units` (C++ sources) into one shared library with `flags` (`Isa.flags`, say).

    The key covers units, headers, flags and compiler version. Raises MissingTool, BuildFailed.
    """
    cc = compiler()
    options = (*ALWAYS, *flags)
    key = _key(cc.version, _native(), *options, headers.text if headers else "", *units)
    return cached(f"{stem}-{key}.so", lambda: _build(cc, units, options, headers))


@functools.cache
def _native() -> str:
    """What `-march=native` means here: a cache folder may be shared between machines."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n", 1)[0].splitlines() if path.exists() else [platform.processor()]
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features")))


def _key(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode() + part.encode())
    return digest.hexdigest()[:32]


def _build(cc: Compiler, units: Sequence[str], options: tuple[str, ...], headers: Headers | None) -> bytes:
    with _build_folder() as folder:
        if headers:
            _provide_headers(cc, headers, options, folder)
        jobs = []
        for number, text in enumerate(units):
            (folder / f"unit{number}.cpp").write_text(text)
            jobs.append([cc.command, *options, f"-I{folder}", "-c", f"unit{number}.cpp", "-o", f"unit{number}.o"])
        run_parallel(jobs, folder)
        objects = [f"unit{n}.o" for n in range(len(units))]
        run_parallel([[cc.command, *_linker(), "-shared", *objects, "-o", "library.so", "-lm"]], folder)
        return (folder / "library.so").read_bytes()


@functools.cache
def _linker() -> tuple[str, ...]:
    """The quicker linker where there is one: it takes a third of the time, which counts for one small kernel."""
    return ("-fuse-ld=gold",) if shutil.which("ld.gold") else ()


@contextlib.contextmanager
def _build_folder():
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"warploom-build-{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _sweep() -> None:
    """Remove build folders of processes that were killed outright."""
    for path in Path(tempfile.gettempdir()).glob("warploom-build-*-*"):
        pid = path.name.split("-")[2]
        if pid.isdigit() and not Path("/proc", pid).exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)


def _provide_headers(cc: Compiler, headers: Headers, options: tuple[str, ...], folder: Path) -> None:
    """Put the headers and the precompiled form of the first, taken from the cache, into the build folder."""
    for name, text in headers.files:
        (folder / name).write_text(text)
    options = options if headers.flags is None else (*ALWAYS, *headers.flags)
    key = _key(cc.version, _native(), *options, headers.text)

    def make() -> bytes:
        run_parallel([[cc.command, *options, "-x", "c++-header", headers.main, "-o", "precompiled.gch"]], folder)
        return (folder / "precompiled.gch").read_bytes()

    precompiled = cached(f"header-{key}.gch", make)
    os.symlink(precompiled, folder / f"{headers.main}.gch")


def run_parallel(jobs: Sequence[Sequence[str]], folder: Path) -> None:
    """Run compiler commands in `folder`, as many at a time as there are cores. Raises BuildFailed with the first error line."""
    waiting, running = list(enumerate(jobs)), {}
    try:
        while waiting or running:
            while waiting and len(running) < cores():
                number, job = waiting.pop(0)
                running[number] = _start(job, folder, number)
            for number, process in list(running.items()):
                if process.poll() is not None:
                    _finished(running.pop(number), folder / f"errors{number}.txt")
            time.sleep(_POLL_SECONDS)
    finally:
        for process in running.values():
            _kill(process)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(job: Sequence[str], folder: Path, number: int) -> subprocess.Popen:
    with open(folder / f"errors{number}.txt", "wb") as errors:
        environment = {**os.environ, "TMPDIR": str(folder), "LC_ALL": "C"}
        return subprocess.Popen(
            job, cwd=folder, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=environment, process_group=0
        )


def _finished(process: subprocess.Popen, errors: Path) -> None:
    if process.returncode == 0:
        return
    lines = errors.read_text(errors="replace").splitlines()
    first = next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"exit {process.returncode}")
    raise BuildFailed(f"the C++ compiler refused generated code: {first.strip()}")


def _kill(process: subprocess.Popen) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@functools.cache
def open_openmp() -> None:
    """Make sure that GOMP symbols resolve: from the loaded libgomp where there is one, else from the system's."""
    if hasattr(ctypes.CDLL(None), "GOMP_parallel"):
        return
    for name in (_loaded_gomp(), "libgomp.so.1"):
        with contextlib.suppress(OSError):
            if name:
                ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
                return
    raise MissingTool("no OpenMP library (libgomp.so.1)", hint="install it, for example `apt-get install libgomp1`")


def _loaded_gomp() -> str | None:
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    return next((line.split()[-1] for line in lines if "libgomp" in line.rsplit("/", 1)[-1]), None)


def open_library(path: Path) -> ctypes.CDLL:
    """Load a library made by `compile_library`. Raises BuildFailed where the loader refuses it."""
    open_openmp()
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildFailed(f"the loader refused {path.name}: {error}") from None
