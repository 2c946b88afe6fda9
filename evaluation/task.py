"""A path comes in, a `Task` (the reference to hold candidates against) goes out, as a record that prints and parses back.

A task file is Python in KernelBench form (`Model`, `get_inputs`, `get_init_inputs`), or the text of a Graph or of a Kernel program.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from ..ir.diagnostic import Unreadable
from ..ir.graph_text import parse_graph
from ..ir.text import parse_program

PRECISIONS = ("float32", "tf32", "fp16", "bf16")
TEXTS = (".graph", ".wl", ".txt")
_GRAPH = re.compile(r"^ +(return\b|update\()", re.M)
MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Task:
    """`text` is the reference's source, `kind` (python, graph or kernel) how to read it, `precision` the least a candidate may compute in.

    `dims`: sizes of dynamic dims, such as `M=4, N=8`; "" leaves them to the text's line `# dims: ..` and to the dims' ranges.
    """

    name: str
    kind: str
    text: str
    folder: str = ""
    precision: str = "float32"
    dims: str = ""

    def to_json(self) -> str:
        """One JSON object; `Task.from_json` gives an equal value back."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Parses what `to_json` printed. Raises `Unreadable`."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise Unreadable(f"not a task: {error}") from None


def read_text(path: str | Path, what: str, most: int = MOST_BYTES) -> str:
    """The text of a regular, not empty UTF-8 file of at most `most` bytes. Raises `Unreadable` otherwise."""
    shown = str(path)[-120:]
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise Unreadable(f"{what} {shown!r} cannot be read: {error.strerror}") from None
    except ValueError:
        raise Unreadable(f"{what} {shown!r} is not a file name") from None
    with os.fdopen(fd, "rb", closefd=True) if stat.S_ISREG(os.fstat(fd).st_mode) else _not_regular(fd, what, shown) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise Unreadable(f"{what} {shown!r} has {size >> 20} MiB; at most {most >> 20} MiB are read")
        content = file.read()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable(f"{what} {shown!r} is not text") from None
    if "\0" in text:
        raise Unreadable(f"{what} {shown!r} is not text")
    if not text.strip():
        raise Unreadable(f"{what} {shown!r} is empty")
    return text


def _not_regular(fd: int, what: str, shown: str):
    os.close(fd)
    raise Unreadable(f"{what} {shown!r} is not a regular file")


def read_task(path: str | Path, precision: str = "float32") -> Task:
    """Reads a task file. Raises `Unreadable`, and `ParseError` where a Graph's or Kernel's text is none."""
    if precision not in PRECISIONS:
        raise Unreadable(f"unknown precision {precision!r}", hint="one of " + ", ".join(PRECISIONS))
    text, suffix = read_text(path, "task"), Path(path).suffix
    if suffix != ".py" and suffix not in TEXTS:
        hint = (
            f"KernelBench form (.py: Model, get_inputs, get_init_inputs), or the text of a Graph or Kernel ({' '.join(TEXTS)})"
        )
        raise Unreadable(f"task {Path(path).name!r} has an unknown suffix", hint=hint)
    kind = "python" if suffix == ".py" else kind_of_text(text)
    if kind != "python":
        parse_graph(text) if kind == "graph" else parse_program(text)
    return Task(Path(path).stem, kind, text, str(Path(path).resolve().parent), precision)


def kind_of_text(text: str) -> str:
    """`graph` for what returns or updates values, else `kernel`."""
    return "graph" if _GRAPH.search(text) else "kernel"
