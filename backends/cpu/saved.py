"""A compiled program in one file: parts come in, a zip goes out, and back, checked against version and CPU.

`program` holds IR dataclasses alone and is read by an unpickler that knows no other class; weights are read with `weights_only`.
"""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import torch

from ...ir.diagnostic import Unreadable
from ..cache import cached, contents, is_whole
from .isa import cpu_flags

FORMAT = 1
_BUILTINS = {"frozenset": frozenset, "set": set, "complex": complex}


class OtherVersion(Unreadable):
    """The file was written by another version of warploom or torch. Compile the model again."""

    code = "WL-E031"


class OtherMachine(Unreadable):
    """The file needs instructions that this CPU does not have. Compile the model again on this machine."""

    code = "WL-E032"


@dataclass(frozen=True)
class Saved:
    """`program`: picklable dataclasses; `library`: the shared library's file; `weights` by name; `features`: CPU features it was built for."""

    program: Any
    library: Path
    weights: Mapping[str, torch.Tensor]
    features: frozenset[str]
    version: str


def write(path: Path, saved: Saved) -> None:
    """Raises Unreadable where the file cannot be written."""
    about = {
        "format": FORMAT,
        "version": saved.version,
        "torch": torch.__version__,
        "features": sorted(saved.features),
        "library": saved.library.name,
    }
    weights = io.BytesIO()
    torch.save({name: t.detach().contiguous().clone() for name, t in saved.weights.items()}, weights)
    body = contents(saved.library) if is_whole(saved.library) else saved.library.read_bytes()
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
            file.writestr("about.json", json.dumps(about))
            file.writestr("program", pickle.dumps(saved.program))
            file.writestr("library.so", body)
            file.writestr("weights.pt", weights.getvalue())
    except OSError as error:
        raise Unreadable(f"cannot write {path}: {error.strerror or error}") from None


def read(path: Path, version: str) -> Saved:
    """Raises Unreadable, OtherVersion, OtherMachine."""
    try:
        with zipfile.ZipFile(path) as file:
            about = json.loads(file.read("about.json"))
            _check(path, about, version)
            program = _Unpickler(io.BytesIO(file.read("program"))).load()
            weights = torch.load(io.BytesIO(file.read("weights.pt")), weights_only=True)
            body = file.read("library.so")
            library = cached(str(about["library"]).replace("/", "_"), lambda: body)
            return Saved(program, library, weights, frozenset(about["features"]), version)
    except (
        OSError,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        EOFError,
        AttributeError,
        TypeError,
        RuntimeError,
        pickle.UnpicklingError,
    ) as error:
        raise Unreadable(
            f"{path} is no saved model: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        ) from None


def _check(path: Path, about: Mapping[str, Any], version: str) -> None:
    if about["format"] != FORMAT or about["version"] != version:
        raise OtherVersion(f"{path} was written by warploom {about['version']}, this is {version}")
    if about["torch"].split("+")[0] != torch.__version__.split("+")[0]:
        raise OtherVersion(f"{path} was written with torch {about['torch']}, this is {torch.__version__}")
    absent = set(about["features"]) - cpu_flags()
    if absent:
        raise OtherMachine(f"{path} was built for a CPU with {', '.join(sorted(absent)[:4])}, which this one lacks")


class _Unpickler(pickle.Unpickler):
    """Knows this package's dataclasses and a few builtins."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "builtins" and name in _BUILTINS:
            return _BUILTINS[name]
        found = getattr(sys.modules.get(module), name, None) if module.startswith(__name__.split(".")[0] + ".") else None
        if isinstance(found, type) and is_dataclass(found):
            return found
        raise pickle.UnpicklingError(f"it mentions {module}.{name}")
