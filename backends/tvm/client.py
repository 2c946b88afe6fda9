"""TVM from outside its process: a Graph goes in, a CudaProgram or arrays computed by LLVM come out. Nothing here imports TVM.

One process serves a caller's many questions; one that dies or hangs is replaced.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.diagnostic import InputMismatch, MissingTool
from ...ir.expr import Const
from ...ir.graph import Graph
from ...ir.graph_text import print_graph
from ..cuda.program import CudaBuffer, CudaKernel, CudaLaunch, CudaProgram, Three
from .errors import TvmFailed, Untranslated

START_SECONDS = 120
SECONDS = 120
_DTYPES = {
    "float64": "f64", "float32": "f32", "float16": "f16", "int64": "i64", "int32": "i32", "int16": "i16", "int8": "i8", "uint8": "u8", "bool": "b1",
}  # fmt: skip


def version() -> str | None:
    """TVM's version; None where it is not installed."""
    try:
        return importlib.metadata.version("apache-tvm")
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class DlightProgram:
    """`program`: TVM's CUDA with its launches; `rules`: kernel -> the dlight rule that scheduled it; `functions`: kernel -> its text before that."""

    program: CudaProgram
    rules: Mapping[str, str]
    functions: Mapping[str, str]


def cuda_program(graph: Graph) -> DlightProgram:
    """The graph as TVM's CUDA: buffers of inputs and outputs are called as in the graph. Raises MissingTool, Untranslated, TvmFailed."""
    made = _process().ask({"ask": "cuda", "graph": print_graph(graph)})
    outputs = {*graph.outputs, *(v for _, v in graph.updates)}
    inputs = {i.name for i in graph.inputs}
    buffers = tuple(
        CudaBuffer(name, _DTYPES[dtype], tuple(map(Const, shape)), "in" if name in inputs else "out" if name in outputs else "temp")
        for name, (dtype, shape) in made["buffers"].items()
    )
    kernels = tuple(CudaKernel(name, text, _parameters(text), ir=made["functions"][function]) for name, (function, text) in made["kernels"].items())
    launches = tuple(
        CudaLaunch(x["kernel"], _three(x["grid"]), tuple(x["block"]), Const(x["shared_bytes"]), tuple(x["args"])) for x in made["launches"]
    )
    program = CudaProgram(graph.name, (), buffers, kernels, launches, tuple(made["prelude"]))
    owner = {name: function for name, (function, _) in made["kernels"].items()}
    return DlightProgram(program, {k: made["rules"][f] for k, f in owner.items()}, {k: made["functions"][f] for k, f in owner.items()})


def _three(grid: list[int]) -> Three:
    x, y, z = map(Const, grid)
    return x, y, z


def _parameters(text: str) -> tuple[str, ...]:
    head = text[: text.index(") {")]
    return tuple(p.split()[-1] for p in head[head.rindex("(") + 1 :].split(","))


def run_on_cpu(graph: Graph, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs and updates by name, computed by TVM through LLVM. `arrays`: one for each input, in its dtype. Raises MissingTool, Untranslated,
    TvmFailed, InputMismatch."""
    with tempfile.TemporaryDirectory(prefix="warploom-tvm-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for k, i in enumerate(graph.inputs):
            if i.name not in arrays:
                raise InputMismatch(f"input `{i.name}` is missing")
            np.save(folder / f"in{k}.npy", np.ascontiguousarray(arrays[i.name]))
        _process().ask({"ask": "run", "graph": print_graph(graph), "folder": name})
        names = [*graph.outputs, *(v for _, v in graph.updates)]
        return {n: np.load(folder / f"out{k}.npy") for k, n in enumerate(names)}


@functools.cache
def _process() -> _Process:
    if version() is None:
        raise MissingTool("TVM is not installed", hint='pip install "warploom[tvm]"')
    return _Process()


class _Process:
    """The worker process; started when first asked, and again after it has ended."""

    def __init__(self) -> None:
        self.lock, self.owner = threading.Lock(), 0
        self.process: subprocess.Popen[str] | None = None
        self.lines: queue.Queue[str] = queue.Queue()

    def ask(self, question: dict[str, Any]) -> Any:
        """The worker's answer. Raises Untranslated, TvmFailed."""
        with self.lock:
            fresh = self.process is None or self.owner != os.getpid() or self.process.poll() is not None  # a fork has its own
            process = self._start() if fresh else self.process
            assert process is not None and process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
            line = self._answer(process, SECONDS + (START_SECONDS if fresh else 0))
        answer = json.loads(line)
        if "error" in answer:
            error = answer["error"]
            kind = Untranslated if error["code"] == Untranslated.code else TvmFailed
            raise kind(error["message"], code=error["code"], exit_code=error["exit_code"])
        return answer["made"]

    def _answer(self, process: subprocess.Popen[str], seconds: float) -> str:
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            process.kill()
            process.wait()
            raise TvmFailed(f"TVM gave no answer within {seconds:.0f} s") from None
        if line:
            return line
        raise TvmFailed(f"TVM's process ended with {process.wait()}")

    def _start(self) -> subprocess.Popen[str]:
        self.lines = lines = queue.Queue()
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "TVM_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True
        )

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=listen, daemon=True).start()
        self.process, self.owner = process, os.getpid()
        return process
