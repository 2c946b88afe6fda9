"""Places in a library to lines of its source. A library built with -g and offsets in it come in, line numbers go out.

Code of the emulator's headers counts for the line that called it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from .unit import include_folder


class Lines:
    """`lines[offset]`: the 1-based line of the source in which the instruction before `offset` stands (0: not known)."""

    def __init__(self, library: Path):
        self._library = library
        self._known: dict[int, int] = {0: 0}

    def prepare(self, offsets: Iterable[int]) -> None:
        """Looks up many offsets at once."""
        wanted = sorted(set(offsets) - set(self._known))
        if wanted:
            self._known |= dict(zip(wanted, self._look_up(wanted)))

    def __getitem__(self, offset: int) -> int:
        self.prepare((offset,))
        return self._known[offset]

    def _look_up(self, offsets: list[int]) -> list[int]:
        addresses = "\n".join(f"{offset - 1:#x}" for offset in offsets)
        command = ["addr2line", "-a", "-i", "-e", str(self._library)]
        out = subprocess.run(command, input=addresses, capture_output=True, text=True, check=True).stdout
        frames: list[list[str]] = []
        for line in out.splitlines():
            if line.startswith("0x") and ":" not in line:
                frames.append([])
            else:
                frames[-1].append(line)
        return [_user_line(f) for f in frames]


def _user_line(frames: list[str]) -> int:
    """The innermost frame that is not in a header of the emulator."""
    ours = str(include_folder())
    for frame in frames:
        path, _, rest = frame.rpartition(":")
        number = rest.split(" ")[0]
        if number.isdigit() and int(number) and not path.startswith(ours) and "/include/c++/" not in path:
            return int(number)
    return 0
