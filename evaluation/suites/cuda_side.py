"""A record's CUDA comes in with its C side, what the CUDA computes goes out: bound, emulated in the sandbox, compared.

The launches and the buffers of each kernel are inferred by `frontend.cuda`; of the bindings that it offers the first whose numbers
agree is kept. None agreeing means that the record's two sides contradict each other.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...backends.emulator import Launch, Parameter, include_folder
from ...backends.emulator.unit import Call, build_unit
from ...frontend.cuda.binding import Binding, BoundLaunch, Buffer, bindings, stated_reference
from ...frontend.cuda.diagnosis import contradiction
from ...ir.diagnostic import WarploomError
from .. import native
from ..build import NotBuilt, build
from ..contained import Ended
from ..correctness import poison
from ..sandbox import Sandbox
from ..signature import Argument, Signature
from ..verdict import CannotJudge
from .c_extents import stated
from .code_reference import CodeReference
from .record import Record

MOST_BINDINGS = 12
_ALLOWED = 2e-3  # fast intrinsics and other orders of summation lie far below, another computation far above
_CALL_S = 60.0
_SEARCH_S = 90.0


@dataclass(frozen=True)
class CudaSide:
    """`agrees`: the CUDA computes what the C side does; `why` in one line where not; `sidecar`: its launches as JSON text."""

    agrees: bool
    why: str = ""
    error: float = 0.0
    sidecar: str = ""
    tried: int = 0


def examine(reference: CodeReference, sandbox: Sandbox) -> CudaSide:
    """Binds and runs the CUDA side on two sets of inputs."""
    record = reference.record
    try:
        said = stated_reference(record.c_code, [stated(a) for a in record.arguments])
        offered = itertools.islice(bindings(record.cuda, said), MOST_BINDINGS)
        return _first_that_agrees(record, offered, said, reference, sandbox)
    except WarploomError as error:
        return CudaSide(False, f"its CUDA side cannot be bound: {error.message}")


def _first_that_agrees(record: Record, offered: Iterator[Binding], said, reference: CodeReference, sandbox: Sandbox) -> CudaSide:
    """Tries bindings one by one; where the text itself shows a contradiction, one that fails is enough."""
    cases = [reference.inputs_of(reference.own, seed) for seed in (31, 32)]
    wanted = [reference.exact(c) for c in cases]
    closest, number, started = CudaSide(False, "its CUDA side has no binding", float("inf")), 0, time.monotonic()
    for number, binding in enumerate(offered, 1):
        found = tried_binding(record, binding, cases, wanted, sandbox, number)
        if found.agrees:
            return found
        closest = min(closest, found, key=lambda side: side.error)
        why = contradiction(record.cuda, said) if number == 1 else ""
        if why:
            return replace(closest, why=f"its CUDA side is of another shape: {why}")
        if time.monotonic() - started > _SEARCH_S:
            break
    why = contradiction(record.cuda, said) if number == 0 else ""
    return replace(closest, why=f"its CUDA side is of another shape: {why}" if why else closest.why, tried=number)


def tried_binding(record: Record, binding: Binding, cases: list, wanted: list, sandbox: Sandbox, number: int = 1) -> CudaSide:
    """Runs the launches of one binding on the cases (inputs in C order); `number`: the how many-th binding it is."""
    signature = _signature(record, binding)
    try:
        outputs = _emulated(record.cuda, binding, signature, cases, sandbox)
    except NotBuilt as error:
        return CudaSide(False, f"its CUDA side does not compile: {error.finding.message}", float("inf"), "", number)
    except WarploomError as error:
        return CudaSide(False, f"its CUDA side cannot be run: {error.message}", float("inf"), "", number)
    except Ended as end:
        return CudaSide(False, f"its CUDA side fails: {end.finding.message}", 1e30, "", number)
    worst, said = 0.0, ""
    for right, got in zip(wanted, outputs):
        for at, (a, b) in enumerate(zip(right, got)):
            far, words = _distance(a, b, at)
            if far > worst:
                worst, said = far, words
    if worst <= _ALLOWED:
        return CudaSide(True, "", worst, sidecar(record, binding), number)
    return CudaSide(False, f"its CUDA side disagrees with its C side: {said}", worst, "", number)


def _signature(record: Record, binding: Binding) -> Signature:
    """The C side's arguments, then the temporaries."""
    temps = [
        Argument(f"temp {i}", "output", "tensor", b.dtype, (b.count,))
        for i, b in enumerate(binding.buffers)
        if b.role == "temp"
    ]
    return Signature((*record.arguments, *temps))


def _emulated(source: str, binding: Binding, signature: Signature, cases: list, sandbox: Sandbox) -> list[list[np.ndarray]]:
    parameters, calls = _calls(binding, signature)
    unit = build_unit(source, calls, parameters, entry="kernel")
    folder = str(include_folder())
    flags = f"-std=gnu++17 -O1 -I{folder} {' '.join(unit.build_flags)}"
    library = build(unit.text, "c++", sandbox, compile_only=flags, read_only=(folder,))
    nothing = tuple(_scalars(binding, signature))
    contained = native.start(library, "", _with_scalars(signature, nothing), nothing, 1, 2, sandbox)
    try:
        return [_one_call(contained, signature, inputs) for inputs in cases]
    finally:
        contained.close()


def _calls(binding: Binding, signature: Signature) -> tuple[list[Parameter], list[Call]]:
    """The unit's parameters (buffers in signature order, then scalars) and its launches."""
    position = _positions(binding)
    parameters = [Parameter(f"a{i}", a.dtype) for i, a in enumerate(signature.arguments)]
    calls = []
    for launch in binding.launches:
        used = []
        for at, buffer in enumerate(launch.args):
            if buffer is not None:
                used.append(position[buffer])
                continue
            value = launch.scalars[at] if at < len(launch.scalars) else None
            if value is None:
                raise CannotJudge(f"kernel {launch.kernel} takes a scalar whose value is not known")
            parameters.append(Parameter(f"a{len(parameters)}", "float32" if isinstance(value, float) else "int32", pointer=False))
            used.append(len(parameters) - 1)
        calls.append(Call(launch.kernel, Launch(launch.grid, launch.block), tuple(used)))
    return parameters, calls


def _positions(binding: Binding) -> dict[int, int]:
    """Where each buffer of the binding stands in the signature."""
    position = {buffer: at for at, buffer in enumerate(binding.entry)}
    for number, b in enumerate(binding.buffers):
        if b.role == "temp":
            position[number] = len(position)
    return position


def _scalars(binding: Binding, signature: Signature) -> list:
    values = [v for launch in binding.launches for at, v in enumerate(launch.scalars) if launch.args[at] is None]
    return [None] * len(signature.arguments) + values


def _with_scalars(signature: Signature, values: tuple) -> Signature:
    extra = [
        Argument(f"scalar {i}", "input", "float" if isinstance(v, float) else "int")
        for i, v in enumerate(values[len(signature.arguments) :])
    ]
    return Signature((*signature.arguments, *extra))


def _one_call(contained, signature: Signature, inputs: list[np.ndarray]) -> list[np.ndarray]:
    left, outputs = iter(inputs), []
    for buffer, argument in zip(contained.arena.layout.slots[0], signature.arguments):
        contained.arena.fill(buffer, poison(argument, "nan") if argument.role == "output" else next(left))
        if argument.role == "output" and not argument.name.startswith("temp "):
            outputs.append((buffer, argument))
    contained.run(0, 1, _CALL_S)
    return [contained.arena.view(b, a.storage, a.shape).copy() for b, a in outputs]


def _distance(right: np.ndarray, got: np.ndarray, at: int) -> tuple[float, str]:
    """The largest error by the measure of the element and of the whole output, and where it stands."""
    a, b = right.astype(np.float64), got.astype(np.float64)
    finite = a[np.isfinite(a)]
    scale = float(np.sqrt(np.mean(finite**2))) if finite.size else 1.0
    with np.errstate(all="ignore"):
        error = np.abs(a - b) / (np.abs(a) + scale + 1e-30)
    error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.nan_to_num(error, nan=np.inf))
    if not error.size:
        return 0.0, ""
    place = np.unravel_index(int(np.argmax(error)), error.shape)
    bad = int((error > _ALLOWED).sum())
    return float(error[place]), f"{b[place]:.6g} for {a[place]:.6g} at output {at} {[int(i) for i in place]}, {bad} of {a.size} elements"


def sidecar(record: Record, binding: Binding) -> str:
    """The launches in the form of a sidecar: `kernels` in launch order over one `args` list."""
    position = _positions(binding)
    names = [a.name for a in record.arguments] + [f"temp{i}" for i, b in enumerate(b for b in binding.buffers if b.role == "temp")]
    temps = [b for b in binding.buffers if b.role == "temp"]
    kinds = [(a.name, "out" if a.role == "output" else "in", a.dtype, list(a.shape)) for a in record.arguments]
    kinds += [(f"temp{i}", "temp", b.dtype, [b.count]) for i, b in enumerate(temps)]
    kernels = [
        {
            "name": launch.kernel,
            "launch": {"grid": list(launch.grid), "block": list(launch.block), "shared_bytes": 0},
            "args": [names[position[b]] if b is not None else launch.scalars[at] for at, b in enumerate(launch.args)],
        }
        for launch in binding.launches
    ]
    return json.dumps({"args": [dict(zip(("name", "kind", "dtype", "shape"), k)) for k in kinds], "kernels": kernels})


def binding_of(text: str) -> Binding:
    """The binding that `sidecar` printed."""
    value = json.loads(text)
    role = {"in": "in", "out": "out", "temp": "temp"}
    buffers = tuple(
        Buffer(a["name"], role[a["kind"]], a["dtype"], int(np.prod(a["shape"], dtype=np.int64)), tuple(a["shape"])) for a in value["args"]
    )
    number = {b.name: i for i, b in enumerate(buffers)}
    launches = tuple(
        BoundLaunch(
            k["name"], tuple(k["launch"]["grid"]), tuple(k["launch"]["block"]),
            tuple(number[a] if isinstance(a, str) else None for a in k["args"]),
            tuple(None if isinstance(a, str) else a for a in k["args"]),
        )
        for k in value["kernels"]
    )  # fmt: skip
    return Binding(buffers, launches, tuple(i for i, b in enumerate(buffers) if b.role != "temp"))
