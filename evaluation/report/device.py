"""The report of a model compiled for a GPU: its kernels with their launches, cubins and how it was checked; times where there is a GPU.

Comes in: the module, what was printed, the runtime and example tensors. Goes out: a Report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ...backends.cuda.host import no_gpu
from ...backends.cuda.module import Printed
from ...backends.cuda.nvrtc import ARCHITECTURES, available, compile_cubin
from ...backends.cuda.program import CudaProgram
from ...ir.machine import Machine
from ...ir.module import Launch, Module
from ...ir.text import print_program
from .collect import extern_rows, step_lines
from .record import KernelRow, Report
from .work import work


def device_report(
    name: str,
    target: str,
    module: Module,
    printed: Printed,
    machine: Machine,
    dims: Mapping[str, int],
    compile_s: float,
    graph: str,
    max_error: float,
    ok: bool,
    checked: bool,
    on_gpu: bool,
    notes: Sequence[str] = (),
    times: Mapping[str, float] | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> Report:
    """`checked`: the outputs were compared with eager; `on_gpu`: on a GPU, else in the emulator."""
    cubins = {p.name: _cubins(p) for p in printed.programs}
    device: dict[str, object] = {
        "target": target,
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "checked": ("gpu" if on_gpu else "emulator") if checked else None,
        "cubins": cubins,
        "launches": [_launch(p, dims) for p in printed.programs],
    }
    seconds = [0.0] * len(module.steps)
    return Report(
        name=name, machine=machine, threads=torch.get_num_threads(), compile_s=compile_s, max_error=max_error, ok=ok,
        kernels=_kernels(module, printed, dims), externs=extern_rows(module, seconds),
        prepared=tuple(p.program.name for p in module.prepare), graph=graph, steps=step_lines(module), arena_bytes=0,
        times=times or {}, intervals=intervals or {}, notes=(*notes, *(() if on_gpu else (_emulated(),)), *_cubin_notes(cubins)), device=device,
    )  # fmt: skip


def _emulated() -> str:
    why = "the inputs are not on the GPU" if torch.cuda.is_available() else no_gpu()
    return f"{why}: checked in the emulator, not timed"


def _cubins(program: CudaProgram) -> dict[str, int]:
    """Architecture -> bytes of the cubin; empty where NVRTC is not installed. Raises BuildFailed."""
    return {arch: len(compile_cubin(program.source, arch)) for arch in ARCHITECTURES} if available() else {}


def _cubin_notes(cubins: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    if any(not c for c in cubins.values()):
        return ('no cubins: NVRTC is not installed (pip install "warploom[cuda]")',)
    return (f"cubins for {', '.join(ARCHITECTURES)} by NVRTC",) if cubins else ()


def _launch(program: CudaProgram, dims: Mapping[str, int]) -> dict[str, object]:
    sized = program.at({d.name: dims[d.name] for d in program.dims})
    rows = [
        {"kernel": x.kernel, "grid": list(x.grid), "block": list(x.block), "shared_bytes": x.shared_bytes, "args": list(x.args)}
        for x in sized.launches
    ]
    return {"program": program.name, "launches": rows}


def _kernels(module: Module, printed: Printed, dims: Mapping[str, int]) -> tuple[KernelRow, ...]:
    rows = []
    texts = {k.name: k.text for p in printed.programs for k in p.kernels}
    for launch in (s for s in module.steps if isinstance(s, Launch)):
        need = work(launch.naive, dims)
        operators = tuple(node.origin or type(node.op).__name__.lower() for node in launch.nodes)
        own = [t for n, t in texts.items() if n == launch.program.name or n.startswith(launch.program.name + "_")]
        source = "\n\n".join(own)
        name = launch.program.name
        rows.append(KernelRow(name, launch.kind, operators, 0.0, 0.0, need.flops, need.nbytes, 0.0, print_program(launch.naive), launch.script, source))
    if not rows:  # kernels of another compiler, which scheduled them itself
        for p in printed.programs:
            rows += [KernelRow(k.name, "", (), 0.0, 0.0, 0.0, 0.0, 0.0, k.ir, p.scripts.get(k.name, ""), k.text) for k in p.kernels]
    return tuple(rows)
