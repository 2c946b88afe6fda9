"""Records with a reference in KernelBench form: an answer comes in, its outcome goes out; and the audit of such a record.

An answer is a C++ extension of PyTorch with `forward` (the published form), a `ModelNew` in Python, or the judge's C `kernel`. An extension
is built against torch's headers in the sandbox and called in the place of the reference's `fn`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sysconfig
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from ...backends.cache import default_cache
from ...backends.emulator.session import Options, run_files
from ...backends.emulator.torch_extension import is_extension
from ...ir.diagnostic import MissingTool, WarploomError
from ..build import NotBuilt
from ..candidate import Candidate
from ..judge import Judge
from ..sandbox import GIB, Limits, Sandbox, kill
from ..verdict import Finding
from .builds import machine_stamp
from .c_source import functions
from .outcome import Outcome, outcome_of
from .record import Record

_NAME = "answer_extension"
_COMPILE_S = 240
_MARK = "--- built ---"
_ALLOWED = 1e-2  # the benchmark's own tolerance
_SHIM = '''

# ---- the answer's extension in the place of `fn` ----
import base64 as _base64, ctypes as _ctypes, importlib.machinery as _machinery, importlib.util as _util, os as _os
for _library in ("libc10.so", "libtorch_cpu.so", "libtorch.so", "libtorch_python.so"):
    _ctypes.CDLL(_os.path.join(_os.path.dirname(__import__("torch").__file__), "lib", _library), mode=_ctypes.RTLD_GLOBAL)
with open("/tmp/{name}.so", "wb") as _file:
    _file.write(_base64.b64decode("{library}"))
_spec = _util.spec_from_file_location("{name}", "/tmp/{name}.so", loader=_machinery.ExtensionFileLoader("{name}", "/tmp/{name}.so"))
_extension = _util.module_from_spec(_spec)
_spec.loader.exec_module(_extension)
_names = [n for n in dir(_extension) if not n.startswith("_")]
_forward = getattr(_extension, "forward" if "forward" in _names or not _names else _names[0])


class ModelNew(Model):
    def forward(self, *inputs):
        return super().forward(*inputs, fn=_forward)
'''


def score_extension(judge: Judge, record: Record, code: str) -> Outcome:
    """One answer under the strict protocol. Raises `CannotJudge`."""
    assert record.task is not None
    found = _found(judge, record, code)
    if isinstance(found, Outcome):
        return found
    made = outcome_of(judge.verdict(record.task, found), "eager")
    return replace(made, verdict="library-call") if made.verdict == "reference-call" else made


def original_extension(judge: Judge, record: Record, code: str) -> Outcome:
    """One answer by the benchmark's own protocol (`original_extension.py`). Raises `CannotJudge`."""
    from .original_extension import score_original

    found = _found(judge, record, code)
    return found if isinstance(found, Outcome) else score_original(judge, record, found)


def _found(judge: Judge, record: Record, code: str) -> Candidate | Outcome:
    """What is judged, or the outcome of code that does not get so far."""
    try:
        candidate = _candidate(judge.sandbox, record, code)
    except NotBuilt as error:
        return Outcome("compile-error", error.finding.message, reasons=("compile-error",))
    return candidate or Outcome("extraction", "no PYBIND11_MODULE, no ModelNew and no kernel in the code")


def _candidate(sandbox: Sandbox, record: Record, code: str) -> Candidate | None:
    """What the judge is given, None where the code is of no form that it takes. Raises `NotBuilt`."""
    if is_extension(code):
        return Candidate("answer", "python", _python(record, build_extension(code, sandbox)))
    if re.search(r"^class ModelNew\b", code, re.M):
        return Candidate("answer", "python", code)
    if any(f.name == "kernel" for f in functions(code)):
        return Candidate("answer", "c++", code if 'extern "C"' in code else code.replace("void kernel", 'extern "C" void kernel', 1))
    return None


def _python(record: Record, library: bytes) -> str:
    assert record.task is not None
    return record.task.text + _SHIM.format(name=_NAME, library=base64.b64encode(library).decode())


def build_extension(code: str, sandbox: Sandbox) -> bytes:
    """The shared library of an extension, built in the sandbox. Raises `NotBuilt`, `MissingTool`."""
    folder = _prelude()
    flags = " ".join(_flags())
    name = f"#undef TORCH_EXTENSION_NAME\n#define TORCH_EXTENSION_NAME {_NAME}\n#line 1 \"answer\"\n"
    script = f"cd $(mktemp -d) && cat > a.cpp && g++ {flags} -include {folder}/prelude.h -c a.cpp -o a.o && g++ -shared a.o -fopenmp -o a.so && echo '{_MARK}' >&2 && cat a.so"
    process = sandbox.start(
        ["/bin/sh", "-c", script],
        limits=Limits(cpu_s=_COMPILE_S, memory=8 * GIB, processes=64),
        read_only=(folder, *_folders()) if sandbox.enabled else (),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        library, said = process.communicate((name + code).encode(), timeout=_COMPILE_S)
    except subprocess.TimeoutExpired:
        kill(process)
        raise NotBuilt(Finding("compile-error", f"compiling takes more than {_COMPILE_S} s")) from None
    except BaseException:
        kill(process)
        raise
    text = said.decode(errors="replace")
    if process.returncode or _MARK not in text:
        lines = [line.strip() for line in text.splitlines() if "error" in line or "undefined" in line]
        raise NotBuilt(Finding("compile-error", (lines or ["the compiler ended without a message"])[0][:300]))
    return library


@cache
def _torch_includes() -> tuple[str, ...]:
    from torch.utils.cpp_extension import include_paths

    return (*include_paths(), sysconfig.get_paths()["include"])


def _folders() -> tuple[str, ...]:
    """What the compiler must see beyond the system's folders."""
    real = dict.fromkeys(os.path.realpath(p) for p in _torch_includes())
    return tuple(p for p in real if not p.startswith("/usr/") and not any(p != q and p.startswith(q + "/") for q in real))


def _flags() -> tuple[str, ...]:
    return (
        "-std=gnu++20", "-O3", "-march=native", "-fopenmp", "-fPIC", "-D_GLIBCXX_USE_CXX11_ABI=1", "-DTORCH_API_INCLUDE_EXTENSION_H",
        *(f"-I{os.path.realpath(p)}" for p in _torch_includes()),
    )  # fmt: skip


@cache
def _prelude() -> str:
    """A folder with torch's header compiled once for these flags, from the build cache. Raises `MissingTool`."""
    folder = default_cache().folder / f"torch-prelude-{hashlib.sha256(_stamp().encode()).hexdigest()[:24]}"
    made = folder / "prelude.h.gch"
    if not made.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        (folder / "prelude.h").write_text("#include <torch/extension.h>\n")
        partial = folder / f"partial.{os.getpid()}"
        partial.write_bytes(_precompiled())
        partial.replace(made)
    return str(folder)


def _stamp() -> str:
    """What the compiled header depends on: torch, the compiler, the flags, and what `-march=native` means here."""
    import torch

    return "\0".join([torch.__version__, *_flags(), machine_stamp()])


def _precompiled() -> bytes:
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "prelude.h").write_text("#include <torch/extension.h>\n")
        command = ["g++", *_flags(), "-x", "c++-header", "prelude.h", "-o", "prelude.h.gch"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
        if done.returncode:
            raise MissingTool(f"torch's headers do not compile: {done.stderr.strip()[:200]}")
        return (Path(work) / "prelude.h.gch").read_bytes()


def audit_extension(record: Record, judge: Judge):
    """Runs the CUDA side in the emulator and compares it with its reference (both are the folder's own code)."""
    from .audit import Audit

    assert record.task is not None
    with tempfile.TemporaryDirectory(prefix="warploom-audit-") as work:
        source, reference = Path(work) / "record.cu", Path(work) / "record.py"
        source.write_text(record.cuda)
        reference.write_text(record.task.text)
        try:
            session = run_files([source, reference], Options((), (), Path(work) / "out"))
        except WarploomError as error:
            return Audit(record.id, (f"its CUDA side does not run: {error.message[:300]}",), facts={"cuda": error.message[:300]})
    if session.failure or session.max_error is None or not session.max_error <= _ALLOWED:
        why = session.failure or f"its CUDA side disagrees with its reference: error {session.max_error:.2e}"
        return Audit(record.id, (why,), facts={"cuda": why})
    return Audit(record.id, facts={"cuda": f"agrees with torch (error {session.max_error:.1e})"})
