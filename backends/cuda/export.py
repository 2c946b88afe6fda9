"""Writes CUDA programs as files: NAME.cu beside NAME.json, a sidecar that says the launches in order and the shape of every buffer.

Comes in: programs with the dims of one run. Goes out: a folder that `warploom run FOLDER/NAME.cu` takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...ir.diagnostic import Unreadable
from .program import CudaProgram


def sidecar(program: CudaProgram, dims: Mapping[str, int], inits: Mapping[str, str] | None = None) -> dict[str, object]:
    """The program's launches and arguments in the sidecar's form. `inits`: NumPy expressions for buffers that are read first; the others of
    these draw from a fixed seed."""
    sized = program.at(dims)
    args: list[dict[str, object]] = [{"name": d.name, "kind": "scalar", "dtype": "int64", "init": str(dims[d.name])} for d in program.dims]
    for b in program.buffers:
        arg: dict[str, object] = {"name": b.name, "kind": b.role, "dtype": b.numpy_dtype, "shape": list(sized.shapes[b.name])}
        if b.role in ("in", "inout"):
            arg["init"] = (inits or {}).get(b.name) or _drawn(b.dtype, sized.shapes[b.name])
        args.append(arg)
    kernels = [
        {"name": x.kernel, "launch": {"grid": x.grid, "block": x.block, "shared_bytes": x.shared_bytes}, "args": x.args} for x in sized.launches
    ]
    return {"kernels": kernels, "args": args}


def _drawn(dtype: str, shape: tuple[int, ...]) -> str:
    """Values for a buffer that a reader may replace by real ones."""
    return f"np.random.default_rng(0).standard_normal({list(shape)})" if dtype in ("f64", "f32", "f16", "bf16") else "0"


def write(programs: Iterable[CudaProgram], dims: Mapping[str, int], folder: Path) -> list[Path]:
    """The files of all programs. Raises Unreadable where the folder cannot be written."""
    out: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for p in programs:
            out.append(folder / f"{p.name}.cu")
            out[-1].write_text(p.source)
            out[-1].with_suffix(".json").write_text(json.dumps(sidecar(p, dims), indent=2) + "\n")
    except OSError as error:
        raise Unreadable(f"cannot write {folder}: {error.strerror}") from None
    return out
