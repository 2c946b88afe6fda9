"""Memory of outputs and temporaries: sizes come in, 64-byte aligned torch storages go out, used again once nothing aliases them.

glibc maps blocks of 32 MiB and more afresh on every call, and touching fresh pages costs more than many kernels do. The pool keeps its own
reference to each storage; a storage is free when no other reference is left (the C++ use count and the Python one). The pool
is bounded; beyond the bound, and with `WARPLOOM_ALLOCATOR=off`, blocks are plain ones.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections import deque
from dataclasses import dataclass, field

import torch

_use_count = torch._C._storage_Use_Count
_HUGE = 2 << 20
_HUGE_FROM = 8 << 20
_MADV_HUGEPAGE = 14
_LOOK = 4  # blocks of a size tried before a new one is made


@dataclass
class Pool:
    """`limit`: bytes that the pool may hold, in use or free."""

    limit: int
    held: int = 0
    enabled: bool = True
    _sizes: dict[int, deque[tuple[torch.UntypedStorage, int]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def storage(self, nbytes: int) -> torch.UntypedStorage:
        """A storage of at least `nbytes` that nothing else refers to, contents undefined. Thread-safe."""
        size = block_size(nbytes)
        if not self.enabled:
            return torch.UntypedStorage(size)
        with self._lock:
            return self._reuse(size) or self._make(size)

    def _reuse(self, size: int) -> torch.UntypedStorage | None:
        blocks = self._sizes.get(size)
        if blocks is None:
            return None
        for _ in range(min(_LOOK, len(blocks))):
            storage, address = blocks.popleft()
            if _use_count(storage._cdata) != 1 or sys.getrefcount(storage) != 2:
                blocks.append((storage, address))
            elif storage.data_ptr() != address:  # moved to shared memory, resized or copied on write: no longer ours
                self.held -= size
            else:
                blocks.append((storage, address))
                return storage
        return None

    def _make(self, size: int) -> torch.UntypedStorage:
        storage = torch.UntypedStorage(size)
        address = storage.data_ptr()
        if size >= _HUGE_FROM:
            _advise_huge(address, size)
        if self.held + size > self.limit:
            self._drop_free(self.held + size - self.limit)
        if self.held + size <= self.limit:
            self._sizes.setdefault(size, deque()).append((storage, address))
            self.held += size
        return storage

    def _drop_free(self, wanted: int) -> None:
        """Give back free blocks, largest first, until `wanted` bytes are gone or none is free."""
        for size in sorted(self._sizes, reverse=True):
            kept: deque[tuple[torch.UntypedStorage, int]] = deque()
            blocks = self._sizes[size]
            while blocks:
                storage, address = blocks.popleft()
                if wanted > 0 and _use_count(storage._cdata) == 1 and sys.getrefcount(storage) == 2:
                    wanted, self.held = wanted - size, self.held - size
                else:
                    kept.append((storage, address))
            self._sizes[size] = kept

    def clear(self) -> None:
        """Forget every block: free ones go back to the system, others when their last tensor dies."""
        with self._lock:
            self._sizes.clear()
            self.held = 0


def block_size(nbytes: int) -> int:
    """Sizes are rounded up so that near ones share blocks: to 64 bytes, from 64 KiB to an eighth of a power of two."""
    if nbytes <= 1 << 16:
        return max(64, -(-nbytes // 64) * 64)
    step = 1 << (nbytes.bit_length() - 4)
    return -(-nbytes // step) * step


def _advise_huge(address: int, size: int) -> None:
    """Ask for huge pages on the whole huge pages inside the block."""
    start, stop = -(-address // _HUGE) * _HUGE, (address + size) // _HUGE * _HUGE
    if sys.platform == "linux" and stop > start:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), _MADV_HUGEPAGE)


def _default_limit() -> int:
    """A quarter of the memory, at most 8 GiB."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(total // 4, 8 << 30)


pool = Pool(_default_limit(), enabled=os.environ.get("WARPLOOM_ALLOCATOR", "on").lower() not in ("off", "0"))


def _after_fork() -> None:
    pool._lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
