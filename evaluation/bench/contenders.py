"""Who is timed: each contender is a function of the inputs, made from the model; one that cannot run the model is absent, with a reason."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...frontend.torch_export import export_model
from ...ir.diagnostic import WarploomError
from .problem import first_line

Contender = Callable[[tuple], object]
SLOW_S = 0.5
"""A run of TVM's that takes longer would take the time of all others."""


@dataclass(frozen=True)
class Entry:
    """`run` None: it cannot run the model, `reason` says why. `build_s`: seconds from the model to the first result."""

    name: str
    run: Contender | None
    build_s: float = 0.0
    reason: str = ""


def enter(name: str, make: Callable[[], Contender], inputs: tuple) -> Entry:
    """Make a contender and run it once."""
    start = time.perf_counter()
    try:
        with torch.no_grad(), quiet():
            run = make()
            run(inputs)
    except Exception as error:
        return Entry(name, None, 0.0, first_line(error))
    return Entry(name, run, time.perf_counter() - start)


@contextlib.contextmanager
def quiet_logs():
    """Torch's compilers log warnings that a user of ours can do nothing about."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def quiet():
    """Neither logs nor warnings nor stderr: the compilers of others must not spoil a table."""
    with quiet_logs(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def eager(model: torch.nn.Module) -> Contender:
    return lambda inputs: model(*inputs)


def inductor(model: torch.nn.Module, dynamic: bool = False) -> Contender:
    torch._dynamo.reset()
    compiled = torch.compile(model, dynamic=dynamic)
    return lambda inputs: compiled(*inputs)


def onnxruntime_available() -> bool:
    return all(importlib.util.find_spec(name) for name in ("onnxruntime", "onnx", "onnxscript"))


def onnxruntime(model: torch.nn.Module, inputs: tuple, threads: int) -> Contender:
    """ONNX Runtime on the exported model, inputs and outputs bound without copies where it allows."""
    import onnxruntime as ort  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(model, inputs, path, dynamo=True, external_data=False)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]

    def run(values: tuple) -> object:
        tensors = [v.contiguous().numpy() for v in values if isinstance(v, torch.Tensor)]
        return session.run(None, dict(zip(names, tensors)))

    return run


def onnxruntime_rows(model: torch.nn.Module, x: torch.Tensor, threads: int) -> Contender:
    """ONNX Runtime on a model of one input whose first extent is free."""
    import onnxruntime as ort  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        shapes = ({0: torch.export.Dim("rows", min=1, max=1 << 20)},)
        torch.onnx.export(model, (x,), path, dynamo=True, external_data=False, dynamic_shapes=shapes, optimize=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda values: session.run(None, {name: values[0].numpy()})


def tvm_available() -> bool:
    from ...backends.tvm.client import version

    return version() is not None


def tvm(model: torch.nn.Module, inputs: tuple) -> Contender:
    """TVM through LLVM, untuned: its own fusion, no schedule. The first run is in a process of TVM's own: what crashes there takes part no more."""
    from ...backends.tvm.client import run_on_cpu
    from ...backends.tvm.execute import compiled, shared

    exported = export_model(model, inputs, None, None)

    def tensors(values: tuple) -> dict[str, torch.Tensor]:
        known = exported.tensors(tuple(values))
        return {i.name: known[i.name].detach().contiguous() for i in exported.graph.inputs}

    run_on_cpu(exported.graph, {name: t.numpy() for name, t in tensors(inputs).items()})
    main = compiled(exported.graph)
    begin = time.perf_counter()
    main(*map(shared, tensors(inputs).values()))
    if (seconds := time.perf_counter() - begin) > SLOW_S:
        raise TooSlow(f"one run takes {seconds:.1f} s")
    return lambda values: main(*map(shared, tensors(values).values()))


class TooSlow(WarploomError):
    """A contender needs too long for its rounds; the others race without it."""

    code = "WL-E118"


def torch_int8(model: torch.nn.Module) -> Contender:
    """Torch's own dynamic quantisation of linear layers (FBGEMM or oneDNN)."""
    whole = torch.nn.Sequential(model)  # only what stands inside a module is replaced
    quantized = torch.ao.quantization.quantize_dynamic(whole, {torch.nn.Linear}, dtype=torch.qint8)
    return lambda values: quantized(*values)


def rotating(draw: Callable[[], tuple], seed: int, nbytes: int = 64 << 20, most: int = 8) -> Sequence[tuple]:
    """Several draws of the inputs, together larger than the last-level cache, so that no run finds its data warm."""
    torch.manual_seed(seed)
    first = draw()
    size = sum(t.numel() * t.element_size() for t in first if isinstance(t, torch.Tensor)) or 1
    return [first, *(draw() for _ in range(min(most, max(2, -(-nbytes // size))) - 1))]


def ran(entries: Sequence[Entry]) -> Mapping[str, Contender]:
    """Those that can run the model."""
    return {e.name: e.run for e in entries if e.run is not None}
