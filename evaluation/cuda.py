"""A CUDA candidate comes in, a maker goes out that runs it through the emulator: one C++ unit, compiled and run in the sandbox."""

from __future__ import annotations

import json

from ..backends.emulator import Launch, Parameter, emulator_translation_unit, include_folder
from ..ir.diagnostic import Unreadable, WarploomError
from . import native
from .build import NotBuilt, build
from .candidate import Candidate
from .contained import Contained
from .sandbox import Sandbox
from .signature import Signature
from .verdict import Finding

_SCALARS = {"int": "int64", "float": "float64", "bool": "bool"}


def read_launch(text: str) -> tuple[str, Launch]:
    """The kernel's name ("" where none is given) and its launch, from a launch text or a sidecar's JSON. Raises `Unreadable`."""
    if not text.lstrip().startswith("{"):
        return "", Launch.parse(text)
    try:
        sidecar = json.loads(text)
        launch = sidecar["launch"]
        return str(sidecar.get("kernel", "")), Launch.of(
            tuple(launch["grid"]), tuple(launch["block"]), int(launch.get("shared_bytes", 0))
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unreadable(
            "the sidecar has no launch", hint='{"kernel": NAME, "launch": {"grid": [..], "block": [..], "shared_bytes": n}}'
        ) from None


def _kernel_name(candidate: Candidate, given: str) -> str:
    """The named kernel, or the only one of the source; among several the one called `kernel`, else the last."""
    if given:
        return given
    from ..backends.emulator.rewrite import rewrite

    names = [k.name for k in rewrite(candidate.source).kernels]
    if not names:
        raise NotBuilt(Finding("compile-error", "the source has no __global__ function"))
    return "kernel" if "kernel" in names else names[-1]


class CudaMaker:
    """CUDA, run on the processor: right or wrong as on a GPU, and as slow as an emulator is."""

    collects = False
    watches_calls = False
    stirs = False

    def __init__(self, candidate: Candidate, sandbox: Sandbox):
        self.candidate, self.sandbox = candidate, sandbox
        self.name, self.launch = read_launch(candidate.launch)
        self.signature: Signature | None = None

    def describe(self, description, reference) -> None:
        """Builds the unit for the task's call. Raises `NotBuilt`."""
        self.signature = signature = description.signature
        params = [
            Parameter(f"a{i}", a.dtype if a.kind == "tensor" else _SCALARS[a.kind], a.kind == "tensor")
            for i, a in enumerate(signature.arguments)
        ]
        try:
            unit = emulator_translation_unit(
                self.candidate.source, _kernel_name(self.candidate, self.name), self.launch, params
            )
        except WarploomError as error:
            raise NotBuilt(Finding("compile-error", error.message)) from None
        folder = str(include_folder())
        flags = f"-std=gnu++17 -I{folder} {' '.join(unit.build_flags)}"
        self.library = build(unit.text, "c++", self.sandbox, compile_only=flags, read_only=(folder,))

    def start(self, scalars: tuple, slots: int, threads: int) -> Contained:
        """A new process. Raises `contained.Ended`."""
        assert self.signature is not None
        return native.start(self.library, "", self.signature, scalars, slots, threads, self.sandbox)

    def close(self) -> None:
        pass
