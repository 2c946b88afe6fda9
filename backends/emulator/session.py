"""What `warploom run` does. Files come in (a bare kernel with its sidecar, or a PyTorch extension with its reference), outputs
as `.npy` files, findings and a verdict go out.

A reference is a Python file with `Model`, `get_inputs` and `get_init_inputs`, whose `forward` takes the extension's function as `fn`:
named on the command line, lying beside the source under the same stem, or in the published benchmark's folder layout.
"""

from __future__ import annotations

import importlib.util
import inspect
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.diagnostic import Unreadable
from .check import Argument, Finding, check_unit
from .execute import load
from .isolate import in_child
from .sidecar import Setting, read_sidecar
from .torch_extension import is_extension, load_extension
from .unit import build_unit

_AGREES = 1e-3
_PIECE = 1 << 22


@dataclass(frozen=True)
class Session:
    """What one run gave. `max_error` is relative to the largest absolute reference value; None without a reference."""

    outputs: dict[str, str]
    findings: tuple[Finding, ...]
    failure: str = ""
    max_error: float | None = None

    @property
    def good(self) -> bool:
        return not self.findings and not self.failure and (self.max_error is None or self.max_error <= _AGREES)

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"outputs": self.outputs, "findings": [f.to_json() for f in self.findings]}
        if self.failure:
            value["failure"] = self.failure
        if self.max_error is not None:
            value |= {"matches": self.max_error <= _AGREES, "max_error": self.max_error}
        return value


@dataclass(frozen=True)
class Options:
    """Folders and macros for the compiler, where outputs go, whether to look for what a GPU hides."""

    include: tuple[Path, ...]
    defines: tuple[str, ...]
    out: Path
    check: bool = False


def run_files(files: Sequence[Path], options: Options) -> Session:
    """Runs the files in a process of their own. Raises Unreadable, BuildFailed, KernelFailed."""
    sources = [path for path in files if path.suffix != ".py"]
    texts = {path: _read(path) for path in sources}
    if not sources or not any(text.strip() for text in texts.values()):
        raise Unreadable("nothing to run: no source file, or an empty one")
    options = Options(
        (*options.include, *dict.fromkeys(p.resolve().parent for p in sources)), options.defines, options.out, options.check
    )
    if any(is_extension(text) for text in texts.values()):
        reference = find_reference(files, sources)
        return in_child(lambda: _run_extension(sources, reference, options))
    if len(sources) > 1:
        raise Unreadable("several files make a PyTorch extension; a bare kernel is one file")
    return in_child(lambda: _run_kernel(sources[0], texts[sources[0]], options))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None


def _run_kernel(path: Path, source: str, options: Options) -> Session:
    setting = read_sidecar(path.with_suffix(".json"), source)
    unit = build_unit(
        source,
        setting.calls,
        setting.parameters,
        filename=str(path),
        include=options.include,
        constants=[name for name, _ in setting.constants],
    )
    if options.check:
        arguments = [Argument(p, v, k) for p, v, k in zip(setting.parameters, setting.values, setting.kinds)]
        given = {"include": options.include, "defines": options.defines}
        arrays, findings, failure = check_unit(unit, arguments, constants=setting.constants, **given)
    else:
        kernel = load(unit, include=options.include, defines=options.defines, constants=[n for n, _ in setting.constants])
        for number, (_, values) in enumerate(setting.constants):
            kernel.set_constant(number, values)
        kernel.run(setting.parameters, setting.values)
        arrays, findings, failure = list(setting.values), [], ""
    return Session(_save(setting, arrays, options.out), tuple(findings), failure)


def _save(setting: Setting, arrays: Sequence[Any], out: Path) -> dict[str, str]:
    named = {setting.parameters[i].name: arrays[i] for i in setting.outputs()}
    return save_arrays(named, out)


def save_arrays(arrays: dict[str, np.ndarray], out: Path) -> dict[str, str]:
    """Writes each array to `out/NAME.npy`."""
    out.mkdir(parents=True, exist_ok=True)
    paths = {name: out / f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in name)}.npy" for name in arrays}
    for name, array in arrays.items():
        np.save(paths[name], array)
    return {name: str(path) for name, path in paths.items()}


def find_reference(files: Sequence[Path], sources: Sequence[Path]) -> Path:
    """The reference of an extension: named, beside it, or in the published layout. Raises Unreadable."""
    named = [path for path in files if path.suffix == ".py"]
    beside = [path.with_suffix(".py") for path in sources]
    published = [
        p.resolve().parents[2] / "EvalEngine/torch_functionals" / p.resolve().parent.name / f"{p.stem}.py" for p in sources
    ]
    found = next((path for path in (*named, *beside, *published) if path.is_file()), None)
    if found is None:
        raise Unreadable(
            f"no reference for {sources[0].name}", hint=f"add a Python file with Model, or put {sources[0].stem}.py beside it"
        )
    return found


def _run_extension(sources: Sequence[Path], reference: Path, options: Options) -> Session:
    import torch

    module = types.ModuleType("reference")
    exec(
        compile(_read(reference), str(reference), "exec"), module.__dict__
    )  # the user's own reference, as `python FILE` would run it
    torch.manual_seed(0)
    model = module.Model(*module.get_init_inputs())
    inputs = module.get_inputs()
    if "fn" not in inspect.signature(model.forward).parameters:
        raise Unreadable(f"{reference.name}: Model.forward takes no `fn`, so the extension cannot be called in its place")
    with torch.no_grad():
        wanted = flat_tensors(model(*inputs))
        got, findings, failure = _call_extension(sources, model, inputs, options)
    outputs = save_arrays({f"output{i}": t.numpy() for i, t in enumerate(got)}, options.out)
    return Session(outputs, tuple(findings), failure, None if failure else max_error(got, wanted))


def _import(reference: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("warploom_reference", reference)
    if spec is None or spec.loader is None:
        raise Unreadable(f"{reference} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _call_extension(sources: Sequence[Path], model: Any, inputs: Sequence[Any], options: Options):
    if options.check:
        from .check_extension import check_extension

        return check_extension(sources, model, inputs, include=options.include, defines=options.defines)
    extension = load_extension([p.resolve() for p in sources], include=options.include, defines=options.defines)
    return flat_tensors(model(*inputs, fn=entry_of(extension))), [], ""


def entry_of(extension: types.ModuleType) -> Any:
    """The function that stands for the model: `forward`, or the only one."""
    names = [name for name in dir(extension) if not name.startswith("_")]
    if "forward" not in names and len(names) != 1:
        raise Unreadable(f"the extension has no `forward` (it has: {', '.join(names) or 'nothing'})")
    return getattr(extension, "forward" if "forward" in names else names[0])


def flat_tensors(value: Any) -> list[Any]:
    """The tensors of a model's answer, contiguous."""
    flat = value if isinstance(value, (tuple, list)) else [value]
    return [t.detach().contiguous() for t in flat]


def max_error(got: Sequence[Any], wanted: Sequence[Any]) -> float:
    """The largest absolute difference over the largest absolute reference value; infinite for other shapes (axes of one element do
    not count: a loss of shape `{1}` is the scalar) or NaNs."""
    if [t.squeeze().shape for t in got] != [t.squeeze().shape for t in wanted]:
        return float("inf")
    return max((_error(a.reshape(-1), b.reshape(-1)) for a, b in zip(got, wanted)), default=0.0)


def _error(got: Any, wanted: Any) -> float:
    """Piece by piece: outputs can be large, and float64 doubles them."""
    import torch

    largest = scale = 0.0
    for a, b in zip(got.split(_PIECE), wanted.split(_PIECE)):
        a, b = a.to(torch.float64), b.to(torch.float64)
        agree = (a == b) | (a.isnan() & b.isnan())
        largest = max(largest, _finite(torch.where(agree, 0.0, (a - b).abs()).max().item()))
        scale = max(scale, torch.where(b.isfinite(), b.abs(), 0.0).max().item())
    return largest / (scale or 1.0)


def _finite(value: float) -> float:
    return value if value == value else float("inf")
