"""A compiled module as a standalone C++ project: sources, header, weights, CMakeLists and an example that checks itself.

Comes in: the printed module, its weights and a sample run. Goes out: a folder that a C++ compiler builds without Python or torch.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...ir.diagnostic import Unreadable, WarploomError
from ...ir.module import Launch, Library
from ...ir.types import BYTES
from ..toolchain import cores
from .bind import bind, evaluate
from .build import HEADERS, INCLUDE, PER_CALLER, Printed
from .codegen.writer import KEYWORDS
from .entry import ENTRY, place
from .printer import THREADS
from .runtime import Runtime

C_TYPES = {"f64": "double", "f32": "float", "i64": "int64_t", "i32": "int32_t", "i16": "int16_t", "i8": "int8_t", "u8": "uint8_t",
      "b1": "uint8_t", "f16": "uint16_t", "bf16": "uint16_t"}  # fmt: skip
_ALIGN = 64
MOST_THREADS = 256


class NotStandalone(WarploomError):
    """The model cannot leave torch: the message names the node in the way. Compile with `library=False` where it is a library call."""

    code = "WL-E070"


@dataclass(frozen=True)
class Tensor:
    """An input or output of the exported function: C type, name, elements and bytes; `written`: the run writes to it."""

    name: str
    ctype: str
    shape: tuple[int, ...]
    nbytes: int
    written: bool = False
    is_float: bool = False


@dataclass(frozen=True)
class Sample:
    """Inputs before the run and outputs after it."""

    inputs: Sequence[torch.Tensor]
    outputs: Sequence[torch.Tensor]


def export(code: Printed, weights: Mapping[str, torch.Tensor], sample: Sample, name: str, folder: Path) -> None:
    """Write the project. Raises NotStandalone, Unreadable."""
    _refuse_foreign(code)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(code.units(cores())):
            (folder / f"kernels_{number}.cpp").write_text(text)
        for header in HEADERS:
            shutil.copyfile(INCLUDE / header, folder / header)
        _render(code, weights, sample, name, folder)
        _write_tensors(folder / "weights.bin", [weights[w] for w in code.layout.weights])
        _write_tensors(folder / "sample.bin", [*sample.inputs, *sample.outputs])
    except OSError as error:
        raise Unreadable(f"cannot write {folder}: {error.strerror or error}") from None


def c_name(name: str) -> str:
    """A C++ identifier near `name`."""
    word = re.sub(r"\W+", "_", name).strip("_") or "model"
    return f"model_{word}" if word[0].isdigit() or word in KEYWORDS else word


def sample_run(runtime: Runtime, inputs: Sequence[torch.Tensor], weights: Mapping[str, torch.Tensor]) -> Sample:
    """Run once; the weights that the run updated are put back to `weights`."""
    given = [t.clone() for t in inputs]
    with torch.no_grad():
        outputs = [t.clone() for t in runtime(inputs)]
        for name, (owner, key) in zip(runtime.layout.weights, runtime.weights.slots):
            current = owner[key]
            if current is not None and name in dict(runtime.layout.module.updates):
                current.copy_(weights[name])
    return Sample(given, outputs)


def _refuse_foreign(code: Printed) -> None:
    module = code.layout.module
    if module.dims:
        raise NotStandalone(
            f"the model has dynamic dimensions ({', '.join(d.name for d in module.dims)})",
            hint="compile it with fixed shapes to export it",
        )
    for step in module.steps:
        if not isinstance(step, Launch):
            what = getattr(step.node.op, "target", None) or step.node.origin or type(step.node.op).__name__.lower()
            hint = (
                "compile with library=False (--no-library)"
                if isinstance(step, Library)
                else "ATen runs it, and the exported project has no torch"
            )
            raise NotStandalone(f"the node {what} is in the way", hint=hint)


def _render(code: Printed, weights: Mapping[str, torch.Tensor], sample: Sample, name: str, folder: Path) -> None:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    values = _values(code, weights, sample, name)
    for template, target in (("export_model.h.j2", "model.h"), ("export_model.cpp.j2", "model.cpp"), ("export_main.cpp.j2", "main.cpp"),
                             ("export_CMakeLists.txt.j2", "CMakeLists.txt"), ("export_README.md.j2", "README.md")):  # fmt: skip
        (folder / target).write_text(environment.get_template(template).render(values))


def _values(code: Printed, weights: Mapping[str, torch.Tensor], sample: Sample, name: str) -> dict[str, object]:
    layout = code.layout
    module = layout.module
    bound = bind(layout, [tuple(t.shape) for t in sample.inputs], 1)
    scratch = [max((evaluate(e, {THREADS: t}) for e in layout.scratch), default=0) for t in (1, 2)]
    changed = {target for target, _ in module.updates}
    inputs = [_tensor(layout.module.types[n].dtype, n, bound.shapes[n], n in changed) for n in layout.inputs]
    outputs = [_tensor(module.types[n].dtype, f"out{k}", bound.shapes[n], True) for k, n in enumerate(module.outputs)]
    sizes, offsets, total = [weights[w].numel() * weights[w].element_size() for w in layout.weights], [], 0
    for size in sizes:
        offsets.append(total)
        total += aligned(size)
    first: dict[str, int] = {}
    for k, n in enumerate(module.outputs):
        first.setdefault(module.storage(n), k)
    return {
        "name": name, "entry": ENTRY, "inputs": inputs, "outputs": outputs, "weight_offsets": offsets, "weight_bytes": total,
        "input_slots": len(layout.inputs), "weight_slots": len(offsets), "slots": max(1, len(layout.slots)),
        "kept": [(layout.slots[k], _kept_bytes(code, k, bound.shapes)) for k in layout.kept],
        "fresh": [(layout.slots[f], first[f], n) for f, n in zip(layout.fresh, bound.fresh_bytes)],
        "copies_out": _copies_out(code, first), "late": [(layout.slots[t], layout.slots[module.storage(v)], _bytes(code, t, bound.shapes)) for t, v in layout.late],
        "offsets": list(bound.offsets), "arena_bytes": int(bound.offsets[len(bound.offsets) - 1]), "scratch_base": 2 * scratch[0] - scratch[1],
        "scratch_each": scratch[1] - scratch[0], "steps": len(layout.step_launches), "prepare": len(module.prepare), "updates": bool(module.updates),
        "flags": " ".join((*code.isa.flags, PER_CALLER)), "sample_bytes": sum(aligned(t.nbytes) for t in (*inputs, *outputs)), "most_threads": MOST_THREADS,
    }  # fmt: skip


def _tensor(dtype: str, name: str, shape: tuple[int, ...], written: bool) -> Tensor:
    count = 1
    for extent in shape:
        count *= extent
    return Tensor(name, C_TYPES[dtype], shape, count * BYTES[dtype], written, dtype in ("f32", "f64"))


def _bytes(code: Printed, name: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    return _tensor(code.layout.module.types[name].dtype, name, shapes[name], False).nbytes


def _kept_bytes(code: Printed, name: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    return _bytes(code, name, shapes)


def _copies_out(code: Printed, first: Mapping[str, int]) -> list[tuple[int, str]]:
    """Outputs whose memory is not their own: (number, C expression of the place)."""
    module, made = code.layout.module, set(code.layout.fresh)
    return [
        (k, place(code.layout, n))
        for k, n in enumerate(module.outputs)
        if module.storage(n) not in made or first[module.storage(n)] != k
    ]


def aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGN) * _ALIGN


def _write_tensors(path: Path, tensors: Sequence[torch.Tensor]) -> None:
    """Raw row-major elements, each tensor at a multiple of 64 bytes."""
    with path.open("wb") as file:
        for t in tensors:
            data = t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""
            file.write(data + b"\0" * (aligned(len(data)) - len(data)))
