"""A path comes in, a `Candidate` (source text and how to run it) goes out, as a record that prints and parses back."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from ..ir.diagnostic import Unreadable
from .task import read_text

LANGUAGES = {
    ".cpp": "c++",
    ".cc": "c++",
    ".cxx": "c++",
    ".c": "c",
    ".py": "python",
    ".cu": "cuda",
    ".wl": "warploom",
}
_LAUNCH = re.compile(r"[ \t]*//[ \t]*warploom-launch:[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Candidate:
    """`language` is one of the values of `LANGUAGES`; `launch` the text `grid=x,y,z;block=x,y,z;shared=n` or a sidecar's JSON for CUDA."""

    name: str
    language: str
    source: str
    launch: str = ""

    def to_json(self) -> str:
        """One JSON object; `Candidate.from_json` gives an equal value back."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Candidate:
        """Parses what `to_json` printed. Raises `Unreadable`."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise Unreadable(f"not a candidate: {error}") from None


def read_candidate(path: str | Path) -> Candidate:
    """Reads a candidate file; its suffix says its language. Raises `Unreadable`."""
    path = Path(path)
    language = LANGUAGES.get(path.suffix)
    if language is None and not path.is_dir():
        raise Unreadable(f"candidate {path.name!r}: unknown suffix", hint="one of " + " ".join(LANGUAGES))
    source = read_text(path, "candidate")
    return Candidate(path.name, language or "", source, _launch_of(path, source) if language == "cuda" else "")


def stated_launch(source: str) -> str:
    """The launch that the first line of CUDA source states; empty where it states none."""
    first = _LAUNCH.match(source)
    return first.group(1) if first else ""


def _launch_of(path: Path, source: str) -> str:
    if stated := stated_launch(source):
        return stated
    sidecar = path.with_suffix(".json")
    if sidecar.is_file():
        return read_text(sidecar, "sidecar")
    raise Unreadable(
        f"candidate {path.name!r} has no launch",
        hint="first line `// warploom-launch: grid=..;block=..;shared=..` or a sidecar",
    )


def scalar_types(source: str, count: int) -> list[str]:
    """The declared types of the `count` arguments of `kernel`, to pass a float scalar as the width that the code expects."""
    bare = re.sub(r"//[^\n]*|/\*.*?\*/", " ", source, flags=re.S)
    found = re.search(r"\bkernel\s*\(([^)]*)\)\s*(?:noexcept\s*)?\{", bare, re.S)
    parts = [p.strip() for p in found.group(1).split(",")] if found else []
    return parts if len(parts) == count else [""] * count
