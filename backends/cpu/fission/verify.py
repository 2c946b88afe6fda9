"""Transpiled C++ against the emulator. Both run on the same arguments; their largest difference comes out.

A bare kernel takes its arguments from the sidecar beside it, else they are made up: arrays as large as the launch touches, whole-number
scalars just below the number of threads. An extension takes its inputs from its reference file.
"""

from __future__ import annotations

import ctypes
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....frontend.cuda import tree as t
from ....frontend.cuda.binding import numpy_dtype
from ....frontend.cuda.footprint import Unknown, footprint
from ....frontend.cuda.read import read
from ....ir.diagnostic import Unreadable
from ...emulator.execute import Fenced, KernelFailed, load
from ...emulator.isolate import in_child
from ...emulator.launch import Launch, launch_comment
from ...emulator.sidecar import Setting, read_sidecar, storage_dtype
from ...emulator.torch_extension import is_extension
from ...emulator.unit import Call, Parameter, build_unit
from .inline import split_arguments
from .kernel import KernelCode
from .load import load_library, load_text

_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Verdict:
    """`max_error` is relative to the largest absolute value; `how` says what it was compared with, and on what."""

    agrees: bool
    max_error: float
    how: str


def verify(path: Path, source: str, text: str, kernels: Sequence[KernelCode], launch: str | None, include: tuple[Path, ...]) -> Verdict:
    """Runs both sides in processes of their own. Raises Unreadable, BuildFailed, KernelFailed."""
    if is_extension(source):
        return _extension(path, text, include)
    if path.with_suffix(".json").is_file():
        setting = read_sidecar(path.with_suffix(".json"), source)
        return _compared(setting, _emulation(path, source, setting, include), text, kernels, "the sidecar's arguments")
    verdicts = [_of_kernel(kernel, path, source, text, kernels, launch, include) for kernel in read(source).kernels]
    return Verdict(all(v.agrees for v in verdicts), max(v.max_error for v in verdicts), verdicts[0].how)


def _emulation(path: Path, source: str, setting: Setting, include: tuple[Path, ...]) -> list[np.ndarray]:
    unit = build_unit(source, setting.calls, setting.parameters, filename=str(path), include=include)
    return in_child(lambda: _emulated(unit, setting))


def _compared(setting: Setting, emulated: list[np.ndarray], text: str, kernels: Sequence[KernelCode], what: str) -> Verdict:
    library_text = text + _entry(setting, kernels)
    transpiled = in_child(lambda: _transpiled(library_text, setting))
    error = max((difference(a, b) for a, b in zip(transpiled, emulated)), default=0.0)
    return Verdict(error <= _TOLERANCE, error, f"the emulator on {what}")


# --- bare kernels


_REREAD = re.compile(r"\breinterpret_cast\s*<|\(\s*(?:const\s+)?\w+\s*\*\s*\)")  # elements read as larger ones, of 16 bytes at most
_SIZES = ((None, 1), (256, 1 << 18), (64, 1 << 18), (16, 1 << 18))
"""What whole-number scalars are (None: just below the number of threads) and how many elements an array has at least, until a kernel stays
within its arrays: rows of vectors want sizes that vectors divide, offsets that no rule follows want room."""


def _of_kernel(kernel: t.Function, path: Path, source: str, text: str, kernels: Sequence[KernelCode], launch: str | None, include: tuple[Path, ...]) -> Verdict:
    """One kernel of a file that nothing else describes."""
    given = Launch.parse(launch) if launch else launch_comment(source)
    if given is None:
        raise Unreadable(f"{path.name}: nothing says how to launch it", hint="add --launch, or a sidecar beside it")
    macros = dict(read(source).macros)
    last: KernelFailed | None = None
    for scalar, room in _SIZES:
        setting = made_up(kernel, given, macros, source, scalar, room)
        try:
            emulated = _emulation(path, source, setting, include)
        except KernelFailed as failed:
            last = failed
            continue
        return _compared(setting, emulated, text, kernels, "arguments made up")
    assert last is not None
    raise KernelFailed(f"{path.name}: kernel {kernel.name} fails in the emulator whatever arguments are made up: {last.message}", hint=f"put {path.stem}.json beside it: its arguments")


def made_up(kernel: t.Function, launch: Launch, macros: dict[str, str], source: str, scalar: int | None = None, room: int = 1, seed: int = 0) -> Setting:
    """Arguments for a kernel that nothing else describes. Raises Unreadable where its accesses cannot be followed."""
    threads = int(np.prod(launch.grid) * np.prod(launch.block))
    types = _instance(kernel, source)
    whole = {p.name: scalar or max(1, threads - 3) for p in kernel.params if not p.is_pointer and _is_whole(p, types)}
    numbers = {name: int(value) for name, value in macros.items() if value.isdigit()}
    try:
        touched = footprint(kernel, launch.block, launch.grid, whole, macros=numbers).touched
    except Unknown as why:
        if room == 1:
            raise Unreadable(f"kernel {kernel.name}: its accesses cannot be followed ({why})", hint="put a sidecar beside it") from None
        touched = {}
    generator = np.random.Generator(np.random.PCG64(seed))
    parameters, values, kinds = [], [], []
    for p in kernel.params:
        dtype, lanes = _element(retyped_text(p.type, types))
        parameters.append(Parameter(p.name, dtype, p.is_pointer))
        if p.is_pointer:
            found = touched.get(p.name)
            reread = _REREAD.search(source) is not None
            count = max(found.high if found else 1, room, threads if found is None or found.dynamic or reread else 1) * lanes
            count *= max(1, 16 // storage_dtype(dtype).itemsize) if reread else 1
            kinds.append("in" if (found and not found.writes) or p.is_const else "inout")
            values.append(_random(generator, count, dtype))
        else:
            kinds.append("scalar")
            values.append(storage_dtype(dtype).type(whole.get(p.name, 0.5)))
    name = f"{kernel.name}<{', '.join(types.values())}>" if types else kernel.name
    return Setting((Call(name, launch, tuple(range(len(parameters)))),), tuple(parameters), tuple(kinds), tuple(values), ())


def _instance(kernel: t.Function, source: str) -> dict[str, str]:
    """Template arguments: of the first instance that the file itself names, else float for each type."""
    if not kernel.template:
        return {}
    named = re.search(rf"\btemplate\s+__global__\s+void\s+{kernel.name}\s*<([^<>]*)>", source)
    if named:
        return dict(zip(kernel.template_names, split_arguments(named[1])))
    if all(x.split()[0] in ("typename", "class") for x in kernel.template):
        return {name: "float" for name in kernel.template_names}
    raise Unreadable(f"kernel {kernel.name} is a template, and nothing says of what", hint=f"add `template __global__ void {kernel.name}<...>(...);`, or a sidecar")


def retyped_text(type_: str, types: dict[str, str]) -> str:
    """A type's text with template arguments in their places."""
    return re.sub(r"\w+", lambda m: types.get(m[0], m[0]), type_)


_VECTOR = re.compile(r"(?P<small>(?:__)?(?:half|nv_bfloat16))2|(?P<name>(?:char|short|int|long|float|double|uchar|ushort|uint|ulong|longlong|ulonglong))(?P<lanes>[1-4])")
_ELEMENTS = {"half": "float16", "__half": "float16", "__nv_bfloat16": "bfloat16", "nv_bfloat16": "bfloat16", "long": "int64", "longlong": "int64", "ulong": "uint64"}
_ELEMENTS |= {"ulonglong": "uint64", "uchar": "uint8", "ushort": "uint16", "uint": "uint32", "char": "int8", "short": "int16"}


def _element(type_: str) -> tuple[str, int]:
    """NumPy's name for what a C type consists of, and how many of them: float4 is four of float32."""
    words = [w for w in type_.replace("*", " ").split() if w not in ("const", "restrict", "__restrict__", "volatile")]
    found = _VECTOR.fullmatch(" ".join(words))
    if found is None:
        return numpy_dtype(type_) or "float32", 1
    name = found["small"] or found["name"]
    return _ELEMENTS.get(name) or numpy_dtype(name) or "float32", int(found["lanes"] or 2)


def _is_whole(p: t.Param, types: dict[str, str]) -> bool:
    name = numpy_dtype(retyped_text(p.type, types)) or "float32"
    return name != "bfloat16" and np.dtype(name).kind in "iu"


def _random(generator: np.random.Generator, count: int, dtype: str) -> np.ndarray:
    kind = storage_dtype(dtype)
    if kind.kind == "f":
        return generator.random(count).astype(kind)
    return generator.integers(0, 2 if dtype == "bool" else 8, count).astype(kind)


def _emulated(unit: Any, setting: Setting) -> list[np.ndarray]:
    load(unit).run(setting.parameters, setting.values)
    return [setting.values[i] for i in setting.outputs()]


def _transpiled(text: str, setting: Setting) -> list[np.ndarray]:
    fenced = [Fenced(p.name, v) if isinstance(v, np.ndarray) else None for p, v in zip(setting.parameters, setting.values)]
    scalars = [np.atleast_1d(v).copy() if v is not None and not isinstance(v, np.ndarray) else None for v in setting.values]
    slots = (ctypes.c_void_p * max(1, len(fenced)))()
    for i, (array, scalar) in enumerate(zip(fenced, scalars)):
        slots[i] = array.address if array else scalar.ctypes.data if scalar is not None else None
    load_library(text).warploom_verify(slots)
    return [fenced[i].checked() for i in setting.outputs()]  # type: ignore[union-attr]


def _entry(setting: Setting, kernels: Sequence[KernelCode]) -> str:
    """A C function that makes the sidecar's launches of the transpiled kernels."""
    codes = {k.name: k for k in kernels}
    lines = ['\nextern "C" void warploom_verify(void** given_) {']
    for call in setting.calls:
        name, _, given = call.kernel.partition("<")
        code = codes[name]
        head = re.match(r"template <(.*)>\n", code.text)
        parameters = [x.split("=")[0].split()[-1] for x in split_arguments(head[1])] if head else []
        types = dict(zip(parameters, split_arguments(given.rstrip().removesuffix(">"))))
        args = [_argument(i, setting.parameters[i], retyped_text(code.types[k], types)) for k, i in enumerate(call.arguments)]
        if not code.fixed:
            places = [f"{{{x}, {y}, {z}}}" for x, y, z in (call.launch.grid, call.launch.block)]
            args = [f"dim3{places[0]}", f"dim3{places[1]}", *([str(call.launch.shared_bytes)] if code.takes_shared else []), *args]
        lines.append(f"  {call.kernel}({', '.join(args)});")
    return "\n".join([*lines, "}", ""])


def _argument(i: int, p: Parameter, type_: str) -> str:
    return f"({type_})given_[{i}]" if p.pointer else f"*({type_}*)given_[{i}]"


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest absolute difference over the largest absolute value of `b`; infinite where one is NaN and the other not."""
    x, y = a.astype(np.float64).reshape(-1), b.astype(np.float64).reshape(-1)
    with np.errstate(invalid="ignore"):
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        error = np.where(same, 0.0, np.abs(x - y))
    if np.isnan(error).any():
        return float("inf")
    scale = float(np.abs(y[np.isfinite(y)]).max(initial=0.0)) or 1.0
    return float(error.max(initial=0.0)) / scale


# --- extensions


def _extension(path: Path, text: str, include: tuple[Path, ...]) -> Verdict:
    from ...emulator.session import find_reference

    reference = find_reference([], [path])
    return in_child(lambda: _compare_extension(path, reference, text, include))


def _compare_extension(path: Path, reference: Path, text: str, include: tuple[Path, ...]) -> Verdict:
    import torch

    from ...emulator.session import entry_of, flat_tensors, max_error
    from ...emulator.torch_extension import load_extension

    module = types.ModuleType("reference")
    exec(compile(reference.read_text(), str(reference), "exec"), module.__dict__)  # the user's own reference, as `run` takes it
    torch.manual_seed(0)
    model, inputs = module.Model(*module.get_init_inputs()), module.get_inputs()
    with torch.no_grad():
        emulated = entry_of(load_extension([path.resolve()], include=include))
        wanted = flat_tensors(model(*_copies(inputs), fn=emulated))
        got = flat_tensors(model(*_copies(inputs), fn=entry_of(load_text(text))))
    error = max_error(got, wanted)
    return Verdict(error <= 10 * _TOLERANCE, error, "the emulator on the reference's inputs")


def _copies(inputs: Sequence[Any]) -> list[Any]:
    return [x.clone() if hasattr(x, "clone") else x for x in inputs]


