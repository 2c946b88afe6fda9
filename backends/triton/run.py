"""Runs Triton programs: in this process on a GPU, in Triton's interpreter (a process of its own, since Triton decides at import) on the CPU.

Comes in: a program and dims. Goes out: something that runs on tensors; ahead-of-time cubins for an architecture. Raises MissingTool,
TritonFailed.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...ir.diagnostic import MissingTool, WarploomError
from ..cuda.module import Target
from ..cuda.program import CudaProgram
from ..cuda.runtime import OnTensors
from .functions import Functions
from .printer import WARPS, print_triton

TRITON = Target(Functions, print_triton)
ARCHITECTURE = 90
"""What kernels are compiled for ahead of time: H100."""

_TYPES = {"f64": "fp64", "f32": "fp32", "f16": "fp16", "bf16": "bf16", "i64": "i64", "i32": "i32", "i16": "i16", "i8": "i8", "u8": "u8", "b1": "i1"}


class TritonFailed(WarploomError):
    """Triton refused a kernel or failed in it; the message has its reason. Report it with `--dump-ir`."""

    code = "WL-E072"
    exit_code = 1


def triton(program: CudaProgram, env: Mapping[str, int], device: torch.device) -> OnTensors:
    """A program on a GPU, or on the CPU in the interpreter."""
    need_triton()
    return Interpreted(program, env) if device.type == "cpu" else Loaded(program, env, device)


def available() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def need_triton() -> None:
    """Raises MissingTool where Triton is not installed."""
    if not available():
        raise MissingTool("Triton is not installed", hint='pip install "warploom[triton]"')


class Interpreted:
    """A program in the interpreter."""

    def __init__(self, program: CudaProgram, dims: Mapping[str, int]):
        self.program, self.dims = program, dict(dims)
        self.launches = program.at(self.dims).launches

    def on_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """All launches in order, on dense CPU tensors changed in place."""
        with tempfile.TemporaryDirectory(prefix="warploom-triton-") as folder:
            values = Path(folder) / "values.pt"
            torch.save({name: t.detach() for name, t in tensors.items()}, values)
            launches = [{"kernel": x.kernel, "grid": x.grid, "args": [self.dims.get(a, a) for a in x.args]} for x in self.launches]
            worker(True).ask({"do": "run", "source": self.program.source, "values": str(values), "launches": launches})
            done = torch.load(values)
        for b in self.program.buffers:
            if b.role != "in":
                tensors[b.name].copy_(done[b.name])


class Loaded:
    """A program on a GPU."""

    def __init__(self, program: CudaProgram, dims: Mapping[str, int], device: torch.device):
        from .worker import module_of

        self.dims, self.device = dict(dims), device
        self.launches = [x for x in program.at(self.dims).launches if 0 not in x.grid]
        self.kernels = module_of(program.source)

    def on_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """All launches in order on torch's current stream. Raises TritonFailed."""
        from triton.errors import TritonError

        with torch.cuda.device(self.device):
            for x in self.launches:
                values = [self.dims[a] if a in self.dims else tensors[a] for a in x.args]
                try:
                    getattr(self.kernels, x.kernel)[x.grid](*values, num_warps=WARPS)
                except (TritonError, RuntimeError, subprocess.CalledProcessError) as error:  # too much for the device; no C compiler or no Python.h for Triton's launcher
                    raise TritonFailed(f"{x.kernel}: {(str(error).strip().splitlines() or [type(error).__name__])[0]}") from None


def compile_ahead(program: CudaProgram, arch: int = ARCHITECTURE) -> dict[str, int]:
    """Bytes of each kernel's cubin, compiled without a GPU."""
    need_triton()
    dtypes = {b.name: f"*{_TYPES[b.dtype]}" for b in program.buffers} | {d.name: "i64" for d in program.dims}
    launches = {x.kernel: x.args for x in program.launches}
    signatures = {k.name: [dtypes[a] for a in launches[k.name]] for k in program.kernels}
    return worker(False).ask({"do": "compile", "source": program.source, "signatures": signatures, "arch": arch, "warps": WARPS})


# ------------------------------------------------------------------------------------------------ the other process
class Worker:
    """A process that has imported Triton, as interpreter or as compiler. One JSON value a line, each way."""

    def __init__(self, interpret: bool):
        environment = {**os.environ, "TRITON_INTERPRET": "1" if interpret else "0"}
        command = [sys.executable, "-m", f"{__package__}.worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        atexit.register(self.close)

    def ask(self, request: Mapping[str, object]) -> Any:
        """The answer to a request. Raises TritonFailed."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except OSError:
            line = ""
        except BaseException:  # interrupted: the answer that is still to come must not be taken for another's
            self.close()
            raise
        if not line:
            self.close()
            raise TritonFailed("Triton's process ended without an answer")
        answer = json.loads(line)
        if "error" in answer:
            raise TritonFailed(answer["error"])
        return answer["value"]

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def close(self) -> None:
        """End the process."""
        if not self.ended:
            self.process.kill()
            self.process.wait()


_WORKERS: dict[bool, Worker] = {}


def worker(interpret: bool) -> Worker:
    """The process of a kind, started when first asked for and when the last one has ended."""
    need_triton()
    if interpret not in _WORKERS or _WORKERS[interpret].ended:
        _WORKERS[interpret] = Worker(interpret)
    return _WORKERS[interpret]
