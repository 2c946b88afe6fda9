"""C or C++ source comes in, a shared library's bytes and the names it defines go out; the compiler runs in the sandbox."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..ir.diagnostic import MissingTool
from .sandbox import GIB, Limits, Sandbox, kill
from .verdict import Finding

FLAGS = "-O3 -march=native -fopenmp -fPIC -shared"
COMPILE_S = 90
_STANDARD = {"c++": ("g++", "-x c++ -std=c++20"), "c": ("gcc", "-x c -std=gnu17")}
_MARK = "--- defined names ---"


@dataclass(frozen=True)
class Library:
    """A built candidate: the bytes of the shared library and the dynamic symbols that it defines."""

    content: bytes
    names: frozenset[str]


class NotBuilt(Exception):
    """The candidate does not compile; `finding` says why."""

    def __init__(self, finding: Finding):
        self.finding = finding
        super().__init__(finding.message)


def build(source: str, language: str, sandbox: Sandbox, compile_only: str = "", read_only: tuple[str, ...] = ()) -> Library:
    """Compiles in the sandbox: the source goes in on stdin, the library comes out on stdout. Raises `NotBuilt`.

    `compile_only` are flags that the link step must not see; `read_only` are folders that they name.
    """
    compiler, standard = _STANDARD[language]
    script = (
        f"cd $(mktemp -d) && cat > kernel.src && {compiler} {standard} {FLAGS} {compile_only} -c kernel.src -o k.o && {compiler} {FLAGS} k.o -o k.so -lm "
        f"&& {{ echo '{_MARK}'; nm -D --defined-only k.so; }} >&2 && cat k.so"
    )
    limits = Limits(cpu_s=COMPILE_S, memory=6 * GIB, file=128 << 20, processes=64)
    process = sandbox.start(
        ["/bin/sh", "-c", script],
        limits=limits,
        read_only=read_only,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        library, said = process.communicate(source.encode(), timeout=COMPILE_S)
    except subprocess.TimeoutExpired:
        kill(process)
        raise NotBuilt(Finding("compile-error", f"compiling takes more than {COMPILE_S} s")) from None
    except BaseException:
        kill(process)
        raise
    text = said.decode(errors="replace")
    if process.returncode or _MARK not in text:
        raise NotBuilt(Finding("compile-error", _first_error(text)))
    table = text.rsplit(_MARK, 1)[1]
    return Library(library, frozenset(line.split()[-1].split("@")[0] for line in table.splitlines() if line.strip()))


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "error" in line or "undefined" in line]
    return (lines or text.strip().splitlines() or ["the compiler ended without a message"])[0][:300]


@cache
def runner() -> bytes:
    """The program that loads a built candidate and calls it, compiled once per machine and kept in the cache folder."""
    source = Path(__file__).with_name("worker") / "runner.cpp"
    text = source.read_bytes()
    folder = Path(
        os.environ.get("WARPLOOM_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "warploom"
    )
    kept = folder / f"runner-{hashlib.sha256(text).hexdigest()[:16]}"
    if kept.is_file():
        return kept.read_bytes()
    with tempfile.TemporaryDirectory() as work:
        made = Path(work) / "runner"
        command = ["g++", "-std=c++17", "-O2", "-rdynamic", str(source), "-o", str(made), "-ldl", "-pthread"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except FileNotFoundError:
            raise MissingTool("g++ is not installed", hint="install a C++ compiler") from None
        if done.returncode:
            raise MissingTool(f"the judge's runner does not compile: {_first_error(done.stderr)}")
        content = made.read_bytes()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(kept)
    except OSError:
        pass
    return content
