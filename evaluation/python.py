"""Python candidates: a `ModelNew` source comes in, contained processes forked from one preloaded parent go out.

Triton kernels in them run in Triton's interpreter: right or wrong as on a GPU, and slow.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import select
import signal
import socket
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ..backends.cpu.malloc import KEEPING
from ..ir.diagnostic import MissingTool
from .arena import Arena, sealed_file
from .candidate import Candidate
from .contained import Contained, Ended
from .native import layout_for
from .sandbox import GIB, Limits, Sandbox, kill
from .signature import Signature
from .verdict import Finding

START_S, LOAD_S = 120.0, 90.0
_TRITON = re.compile(r"^[ \t]*(?:import|from)[ \t]+triton\b", re.M)


def require_triton(source: str) -> None:
    """Raises `MissingTool` where the source imports triton and it is not installed."""
    if _TRITON.search(source) and importlib.util.find_spec("triton") is None:
        raise MissingTool("the candidate is a Triton kernel and triton is not installed", hint="pip install 'warploom[triton]'")


def _roots() -> tuple[str, ...]:
    """Folders that Python and its packages are loaded from, outside of /usr: the interpreter's, and where torch and numpy lie."""
    found = [sys.base_prefix, sys.prefix]
    for name in ("torch", "numpy"):
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            found.append(str(Path(spec.origin).parents[1]))
    real = list(dict.fromkeys(os.path.realpath(p) for p in found))
    real = [p for p in real if not p.startswith("/usr/") and p != "/usr"]
    return tuple(p for p in real if not any(p != q and p.startswith(q + "/") for q in real))


def _program() -> bytes:
    """`worker/nest.py` and what it imports, as one archive that Python runs."""
    worker, archive = Path(__file__).with_name("worker"), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.write(worker / "nest.py", "__main__.py")
        made.write(worker / "watch.py", "watch.py")
    return archive.getvalue()


class PythonParent:
    """The sandboxed process that has torch loaded and forks candidates. Raises `MissingTool` where it does not start."""

    def __init__(self, sandbox: Sandbox, threads: int):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        roots = _roots()
        script = sealed_file("nest", _program())
        environment = {
            **KEEPING, "OMP_NUM_THREADS": str(threads), "PYTHONDONTWRITEBYTECODE": "1", "TRITON_INTERPRET": "1", "USER": "candidate",
            "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor", "PYTHONPATH": ":".join(p for p in sys.path if p.endswith("site-packages")),
        }  # fmt: skip
        self.contained = sandbox.enabled
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = sandbox.start(
            [sys.executable, f"/proc/self/fd/{script}", str(theirs.fileno())],
            limits=Limits(cpu_s=36000, memory=64 * GIB, processes=256, open_files=512),
            fds=(theirs.fileno(), script),
            read_only=roots if sandbox.enabled else (),
            environment=environment,
            capabilities=("CAP_SYS_ADMIN", "CAP_SETPCAP"),
            stderr=self._said.fileno(),
        )
        theirs.close()
        os.close(script)
        self.door = ours

    def alive(self) -> bool:
        """False once it has ended, whatever ended it."""
        return self.process.poll() is None

    def ready(self) -> None:
        """Waits until torch is loaded."""
        if self._said.closed:
            return
        if not select.select([self.door], [], [], START_S)[0] or not self.door.recv(2):
            self._said.seek(0)
            why = self._said.read().decode(errors="replace").strip().splitlines()
            self.close()
            raise MissingTool(f"the sandbox does not run Python: {why[-1] if why else 'no message'}")
        self._said.close()

    def fork(self, channel: socket.socket, arena_fd: int, plan_fd: int) -> None:
        """A new candidate process that answers on the channel."""
        self.ready()
        try:
            socket.send_fds(self.door, [b"fork"], [channel.fileno(), arena_fd, plan_fd])
        except OSError:
            raise Ended(Finding("sandbox-violation", "the process that starts Python candidates was ended")) from None

    def close(self) -> None:
        """Ends the parent and every candidate."""
        kill(self.process)
        self.door.close()


@dataclass
class PythonContained(Contained):
    """A forked candidate: it is ended by its process number, since its parent lives on."""

    bound: bool = True

    def wait_ready(self, timeout: float) -> None:
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        for fd in self.keep:
            os.close(fd)
        deadline = time.perf_counter() + timeout
        self._line(deadline, timeout, "starting")
        line = self._line(deadline, timeout, "loading")
        if not line.startswith("ready "):
            raise Ended(self._told(line, "while loading"))
        self.bound = line == "ready 1"

    def close(self) -> None:
        """Ends the candidate's process namespace."""
        if not self._closed:
            self._closed = True
            if self.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            self.channel.close()


class PythonMaker:
    """Python."""

    collects = True
    watches_calls = True
    stirs = False

    def __init__(self, candidate: Candidate, parent: PythonParent):
        self.candidate, self.parent = candidate, parent
        self.signature: Signature | None = None
        self.init, self.seed, self.structure, self.bare = b"", 0, b"", False

    def describe(self, description, reference) -> None:
        """Learns the call, and whether the task's weights fit the candidate; if not, both keep those of one seed."""
        self.signature = description.signature
        self.init, self.seed, self.structure, self.bare = reference.call("python_init")
        first = self.start(description.scalars, 1, 1)
        first.close()
        if not first.bound:
            reference.call("keep_initial_weights")

    def start(self, scalars: tuple, slots: int, threads: int) -> PythonContained:
        """A new process. Raises `Ended`."""
        assert self.signature is not None
        arena = Arena(layout_for(self.signature, slots))
        ours, theirs = socket.socketpair()
        plan_fd = sealed_file("plan", json.dumps(self._plan(arena, scalars, threads)).encode())
        with theirs:
            self.parent.fork(theirs, arena.fd, plan_fd)
        contained = PythonContained(self.parent.process, ours, arena, keep=(plan_fd,))
        try:
            contained.wait_ready(LOAD_S)
        except BaseException:
            contained.close()
            raise
        return contained

    def _plan(self, arena: Arena, scalars: tuple, threads: int) -> dict:
        assert self.signature is not None
        inputs = self.signature.of("input")
        return {
            "contained": self.parent.contained,
            "arena": arena.layout.size, "memory": 8 * GIB, "threads": threads, "source": self.candidate.source,
            "tensors": [[a.name, a.dtype, list(a.shape)] for a in self.signature.tensors],
            "slots": [[b.start for b in slot] for slot in arena.layout.slots],
            "inputs": sum(a.kind == "tensor" for a in inputs), "outputs": len(self.signature.of("output")),
            "scalars": [None if a.kind == "tensor" else v for a, v in zip(inputs, scalars)],
            "state": [[a.name.removeprefix("state "), list(a.shape)] for a in self.signature.of("state")],
            "init": self.init.hex(), "seed": self.seed, "structure": self.structure.hex(), "bare": self.bare,
        }  # fmt: skip

    def close(self) -> None:
        pass
