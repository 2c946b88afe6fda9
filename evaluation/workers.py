"""A candidate comes in, a `Maker` goes out: how its language is built and how a contained process of it is started."""

from __future__ import annotations

from typing import Protocol

from . import native
from .build import Library, build
from .candidate import Candidate
from .contained import Contained
from .sandbox import Sandbox
from .signature import Signature


class Maker(Protocol):
    """Starts contained processes of one built candidate."""

    collects: bool  # outputs reach the arena only when asked for
    watches_calls: bool  # it can report which library operators the candidate called
    stirs: bool  # its runner can stop threads at arbitrary instructions

    def describe(self, description, reference) -> None:
        """Learns the task's call."""
        ...

    def start(self, scalars: tuple, slots: int, threads: int) -> Contained:
        """A new process. Raises `contained.Ended`."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


class NativeMaker:
    """C and C++."""

    collects = False
    watches_calls = False
    stirs = True

    def __init__(self, library: Library, source: str, sandbox: Sandbox):
        self.library, self.source, self.sandbox = library, source, sandbox
        self.signature: Signature | None = None

    def describe(self, description, reference) -> None:
        self.signature = description.signature

    def start(self, scalars: tuple, slots: int, threads: int) -> Contained:
        assert self.signature is not None
        return native.start(self.library, self.source, self.signature, scalars, slots, threads, self.sandbox)

    def close(self) -> None:
        pass


def maker_for(candidate: Candidate, sandbox: Sandbox, threads: int, parents: dict[str, object]) -> Maker:
    """Builds a candidate. Raises `build.NotBuilt`, and `MissingTool` where what it is written in is not installed."""
    if candidate.language == "python":
        from .python import PythonMaker, PythonParent, require_triton

        require_triton(candidate.source)
        parent = parents.get("python")
        if not isinstance(parent, PythonParent) or not parent.alive():
            parent = parents["python"] = PythonParent(sandbox, threads)
        return PythonMaker(candidate, parent)
    if candidate.language == "cuda":
        from .cuda import CudaMaker

        return CudaMaker(candidate, sandbox)
    if candidate.language == "warploom":
        from .program import ProgramMaker

        return ProgramMaker(candidate, sandbox)
    return NativeMaker(build(candidate.source, candidate.language, sandbox), candidate.source, sandbox)
