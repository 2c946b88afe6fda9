"""Source text comes in, a library goes out; what was built a moment ago is not built again, and a record's own sides not in another run either."""

from __future__ import annotations

import hashlib
import subprocess
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ...backends.cache import keep, kept
from ...ir.diagnostic import MissingTool
from ..build import FLAGS, Library, NotBuilt, build
from ..sandbox import Sandbox

_KEPT = 12


class Builds:
    """Builds in the sandbox and keeps the last few libraries, and the last few refusals."""

    def __init__(self, sandbox: Sandbox):
        self.sandbox = sandbox
        self._kept: OrderedDict[tuple[str, str, str], Library | NotBuilt] = OrderedDict()

    def library(self, source: str, language: str, flags: str = "") -> Library:
        """The built library. Raises `NotBuilt`."""
        return self._once((source, language, flags), lambda: build(source, language, self.sandbox, compile_only=flags))

    def own_library(self, source: str, language: str, flags: str = "", read_only: tuple[str, ...] = (), reads: str = "") -> Library:
        """As `library`, for a side of a record: it is kept in the build cache. `reads`: the text of headers in the folders `read_only`."""
        name = f"side-{_digest(machine_stamp(), FLAGS, source, language, flags, reads)}"

        def made() -> Library:
            found = kept(name)
            if found is None:
                library = build(source, language, self.sandbox, compile_only=flags, read_only=read_only)
                keep(name, "\n".join(sorted(library.names)).encode() + b"\0" + library.content)
                return library
            names, _, content = found.partition(b"\0")
            return Library(content, frozenset(names.decode().split("\n")))

        return self._once((source, language, flags), made)

    def _once(self, key: tuple[str, str, str], make: Callable[[], Library]) -> Library:
        if key not in self._kept:
            try:
                self._kept[key] = make()
            except NotBuilt as error:
                self._kept[key] = error
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        made = self._kept[key]
        if isinstance(made, NotBuilt):
            raise NotBuilt(made.finding)
        return made


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode() + part.encode())
    return digest.hexdigest()[:40]


@cache
def machine_stamp() -> str:
    """What a library for this processor depends on beside its source and flags. Raises `MissingTool`."""
    cpu = Path("/proc/cpuinfo")
    flags = next((line for line in cpu.read_text().splitlines() if line.startswith("flags")), "") if cpu.exists() else ""
    try:
        return f"{subprocess.run(['g++', '--version'], capture_output=True, text=True).stdout}\0{flags}"
    except FileNotFoundError:
        raise MissingTool("g++ is not installed", hint="install a C++ compiler") from None
