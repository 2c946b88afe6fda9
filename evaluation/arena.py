"""Array shapes come in, shared memory with fenced buffers goes out: what judge and candidate both see, nothing else is shared.

Each buffer lies between two pages that the candidate cannot touch, 64-byte aligned, at the end of its room in even slots
and at the start in odd ones, so that reads and writes beside it fault on either side; what is left of the room is filled
with a pattern that is compared after each call.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from dataclasses import dataclass

import numpy as np

NAME = "warploom-arena"
PAGE = 4096
_F_ADD_SEALS, _F_SEAL_SHRINK, _F_SEAL_GROW, _F_SEAL_WRITE, _F_SEAL_SEAL = 1033, 2, 4, 8, 1
PATTERN = 0xFF  # NaN in every float type: a read beside a buffer shows in the result


@dataclass(frozen=True)
class Buffer:
    """One array in the arena: `start` is its offset, `room` the page-aligned extent between its two guard pages."""

    start: int
    nbytes: int
    room: tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """Slots of buffers, one set of arguments each, and the guard pages between them."""

    slots: tuple[tuple[Buffer, ...], ...]
    guards: tuple[tuple[int, int], ...]
    size: int


def lay_out(sizes: list[int], slots: int) -> Layout:
    """`sizes` are the bytes of each buffer of a slot."""
    at, guards, made = 0, [], []
    for slot in range(slots):
        buffers = []
        for nbytes in sizes:
            guards.append((at, PAGE))
            begin = at + PAGE
            room = max(PAGE, -(-nbytes // PAGE) * PAGE)
            end = begin + room
            start = begin if slot % 2 else (end - nbytes) // 64 * 64
            buffers.append(Buffer(start, nbytes, (begin, end)))
            at = end
        made.append(tuple(buffers))
    guards.append((at, PAGE))
    return Layout(tuple(made), tuple(guards), at + PAGE)


def sealed_file(name: str, content: bytes) -> int:
    """A file descriptor of an anonymous file that nobody can change any more."""
    fd = os.memfd_create(name, os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_WRITE | _F_SEAL_SEAL)
    return fd


class Arena:
    """The judge's view of the shared memory. `close` gives it back."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self.fd = os.memfd_create(NAME, os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.ftruncate(self.fd, layout.size)
        fcntl.fcntl(self.fd, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_SEAL)
        self._map = mmap.mmap(self.fd, layout.size)
        self._bytes = np.frombuffer(self._map, np.uint8)

    def view(self, buffer: Buffer, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """The buffer as an array; writes go to the candidate's memory."""
        return self._bytes[buffer.start : buffer.start + buffer.nbytes].view(dtype).reshape(shape)

    def fill(self, buffer: Buffer, array: np.ndarray) -> None:
        """Copies an array in (any dtype of the same bytes)."""
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._bytes[buffer.start : buffer.start + buffer.nbytes] = flat

    def fence(self, buffer: Buffer) -> None:
        """Writes the pattern beside the buffer."""
        begin, end = buffer.room
        self._bytes[begin : buffer.start] = PATTERN
        self._bytes[buffer.start + buffer.nbytes : end] = PATTERN

    def fence_broken(self, buffer: Buffer) -> bool:
        """True where a byte beside the buffer has changed since `fence`."""
        begin, end = buffer.room
        return bool(
            (self._bytes[begin : buffer.start] != PATTERN).any()
            or (self._bytes[buffer.start + buffer.nbytes : end] != PATTERN).any()
        )

    def close(self) -> None:
        """Closes the file; the memory goes with the last view of it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
