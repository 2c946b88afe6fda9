"""CUDA to C++ by rules, no model needed: CUDA text comes in, readable C++ with OpenMP and vector loops goes out, checked in the emulator.

    cpp = warploom.transpile(cuda_source, launch="grid=4;block=256")

A PyTorch-extension file becomes a C++ extension for the CPU with the same functions; a bare kernel a function with its launch compiled
in, or, without one, a function that takes the grid and the block.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .backends.cpu.fission.extension import translate
from .backends.cpu.fission.kernel import Geometry, KernelCode
from .backends.cpu.fission.program import program
from .backends.cpu.fission.verify import Verdict, verify
from .backends.emulator.includes import expand_includes
from .backends.emulator.launch import Launch, launch_comment
from .backends.emulator.torch_extension import is_extension
from .frontend.cuda.binding import Binding
from .frontend.cuda.read import UnsupportedCuda, read
from .ir.diagnostic import Unreadable, WarploomError


@dataclass(frozen=True)
class Transpiled:
    """C++ text and, per kernel, which path it took and why. `extension`: it is a PyTorch extension."""

    text: str
    kernels: tuple[KernelCode, ...]
    extension: bool

    def to_json(self) -> dict[str, Any]:
        kernels = [{"name": k.name, "path": k.path, "reason": k.why, "regions": k.regions} for k in self.kernels]
        return {"extension": self.extension, "kernels": kernels}


def transpile(cuda_source: str, launch: str | Launch | None = None) -> str:
    """The C++ text. `launch` (`grid=x,y,z;block=x,y,z;shared=n`, or the first line's `// warploom-launch:`) is compiled into bare
    kernels. Raises UnsupportedCuda (line and reason) for what the rules do not cover."""
    return transpile_file(cuda_source, launch).text


def transpile_file(cuda_source: str, launch: str | Launch | None = None, launches: dict[str, Launch] | None = None) -> Transpiled:
    """As `transpile`, with what became of each kernel. `launches`: a launch for each bare kernel by its name."""
    if not cuda_source.strip():
        raise UnsupportedCuda("nothing to transpile: the source is empty", exit_code=2)
    file = read(cuda_source)
    extension = is_extension(cuda_source)
    if not extension and not file.kernels:
        raise UnsupportedCuda("nothing to transpile: no `__global__` function", exit_code=2)
    given = Launch.parse(launch) if isinstance(launch, str) else launch or launch_comment(cuda_source)
    by_name = {k.name: (launches or {}).get(k.name, given) for k in file.kernels}
    geometries = {name: _geometry(one) for name, one in by_name.items() if one is not None}
    if not extension and not file.launches:
        geometries = {k.name: geometries.get(k.name, Geometry()) for k in file.kernels}
    translated = translate(file, geometries, bare=not extension)
    return Transpiled(translated.text, translated.kernels, extension)


def _geometry(launch: Launch) -> Geometry:
    return Geometry(launch.grid, launch.block, launch.shared_bytes)


def transpile_program(
    cuda_source: str, binding: Binding, entry: str = "kernel", order: Sequence[int] | None = None, *, raise_: bool | None = None
) -> Transpiled:
    """A bare program whose launches and buffers are known: one C function `entry` that takes the C side's arguments (buffers by
    number in `order`, by default the binding's own), keeps the temporaries and runs all launches. Kernels with affine accesses go through
    Kernel IR and a schedule of their own where that pays (`fission/pays.py` has the rule; `raise_`: all of them, or none); the others are
    split at barriers. Raises UnsupportedCuda."""
    made = program(read(cuda_source), binding, entry, tuple(order) if order is not None else binding.entry, raise_)
    return Transpiled(made.text, made.kernels, False)


# --- the command


@dataclass(frozen=True)
class TranspileRequest:
    """`warploom transpile`: files, and the options as they stand on the command line."""

    files: tuple[str, ...]
    launch: str | None = None
    verify: bool = False
    out: str | None = None
    include: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()


def run_transpile(request: TranspileRequest, as_json: bool) -> int:
    """0: transpiled (and verified); 1: refused, or it disagrees with the emulator; 2: unreadable; 3: no compiler."""
    try:
        results = [_one(Path(name), request) for name in request.files]
    except WarploomError as error:
        if as_json:
            print(json.dumps({"error": {"code": error.code, "message": str(error)}}))
        else:
            print(error.pretty(), file=sys.stderr)
        return error.exit_code
    if as_json:
        print(json.dumps(results[0] if len(results) == 1 else {"files": results}))
    else:
        for result in results:
            _show(result, request)
    return 0 if all(result["verified"] is not False for result in results) else 1


def _one(path: Path, request: TranspileRequest) -> dict[str, Any]:
    source = _source(path, request)
    try:
        made = transpile_file(source, request.launch)
    except UnsupportedCuda as error:
        raise type(error)(f"{path.name}: {error.message}", hint=error.hint, place=error.place, exit_code=error.exit_code) from None
    out = _output(path, request)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(made.text)
    result: dict[str, Any] = {"file": str(path), "output": str(out) if out else None, **made.to_json(), "verified": None}
    if request.verify:
        result |= _verified(verify(path, source, made.text, made.kernels, request.launch, tuple(Path(i) for i in request.include)))
    return result | ({} if out else {"source": made.text})


def _verified(verdict: Verdict) -> dict[str, Any]:
    return {"verified": verdict.agrees, "max_error": verdict.max_error, "verification": verdict.how}


def _source(path: Path, request: TranspileRequest) -> str:
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
    lines = [f"#define {name} {value or 1}\n" for name, _, value in (d.partition("=") for d in request.defines)]
    folders = [Path(folder).resolve() for folder in (*request.include, str(path.resolve().parent))]
    return "".join(lines) + (expand_includes(text, str(path), folders) if request.include else text)


def _output(path: Path, request: TranspileRequest) -> Path | None:
    if request.out is None:
        if len(request.files) > 1:
            raise Unreadable("several files want a folder", hint="add -o DIR")
        return None
    out = Path(request.out)
    return out / f"{path.stem}.cpp" if len(request.files) > 1 or out.is_dir() else out


def _show(result: dict[str, Any], request: TranspileRequest) -> None:
    for kernel in result["kernels"]:
        print(f"{kernel['name']}: {kernel['path']} ({kernel['reason']})", file=sys.stderr)
    if result["verified"] is not None:
        word = "agrees" if result["verified"] else "DISAGREES"
        print(f"{word} with {result['verification']}, largest error {result['max_error']:.3g}", file=sys.stderr)
    print(result["output"] or result["source"])
