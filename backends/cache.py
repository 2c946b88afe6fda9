"""The build cache: content-addressed files that carry their own checksum.

Comes in: a key and a way to make the file. Goes out: the path of a file that is whole, from the cache or made now. Entries appear by rename,
so any number of processes may share the folder; the folder is bounded (least recently used go first); a folder that cannot be
written is replaced by a private one for this process, with one line on stderr.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LIMIT_BYTES = 2 << 30
_MAGIC = b"warploom-cache-1"
_TRAILER = len(_MAGIC) + 32


def cache_folder() -> Path:
    """`WARPLOOM_CACHE`, else `~/.cache/warploom` (XDG_CACHE_HOME is honoured)."""
    if chosen := os.environ.get("WARPLOOM_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "warploom"


def cache_limit() -> int:
    """Bound of the cache in bytes: `WARPLOOM_CACHE_LIMIT` in MiB, else 2 GiB."""
    text = os.environ.get("WARPLOOM_CACHE_LIMIT", "")
    return int(text) << 20 if text.isdigit() else LIMIT_BYTES


@functools.cache
def private_folder() -> Path:
    """A folder of this process alone, removed at exit."""
    folder = Path(tempfile.mkdtemp(prefix=f"warploom-{os.getpid()}-"))
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    return folder


@functools.cache
def _warn_private(folder: str, reason: str) -> None:
    print(
        f"warploom: the cache folder {folder} cannot be used ({reason}); this process builds in a private folder",
        file=sys.stderr,
    )


def seal(data: bytes) -> bytes:
    """File contents with the trailer that `is_whole` checks (an ELF file may have anything behind its sections)."""
    return data + _MAGIC + hashlib.sha256(data).digest()


def is_whole(path: Path) -> bool:
    """The file exists and its trailer matches its contents."""
    try:
        data = memoryview(path.read_bytes())
    except OSError:
        return False
    return len(data) > _TRAILER and data[-_TRAILER:] == _MAGIC + hashlib.sha256(data[:-_TRAILER]).digest()


def contents(path: Path) -> bytes:
    """What an entry holds, without its trailer."""
    return path.read_bytes()[:-_TRAILER]


@dataclass(frozen=True)
class Cache:
    """One cache folder. Entries are files `KEY.SUFFIX`."""

    folder: Path
    limit: int

    def find(self, name: str) -> Path | None:
        """The whole entry `name`, now most recently used, or None. A damaged entry is removed."""
        path = self.folder / name
        if not path.exists():
            return None
        if not is_whole(path):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return path

    def store(self, name: str, data: bytes) -> Path:
        """Write an entry by rename. Raises OSError where the folder cannot take it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".new-", dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(seal(data))
            os.chmod(temporary, 0o755)
            os.replace(temporary, self.folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        self.evict()
        return self.folder / name

    def entries(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of every entry, oldest first."""
        found = []
        for path in self.folder.glob("*"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        return sorted(found)

    def evict(self) -> None:
        """Remove least recently used entries until the folder is within its limit. A library in use stays mapped."""
        entries = self.entries()
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries[:-1]:
            if total <= self.limit:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size


def default_cache() -> Cache:
    return Cache(cache_folder(), cache_limit())


def cached(name: str, make: Callable[[], bytes]) -> Path:
    """The entry `name` of the default cache, made by `make` when absent or damaged; in the private folder where the cache refuses it."""
    return _found(name) or keep(name, make())


def kept(name: str) -> bytes | None:
    """What `keep` stored under the name, or None."""
    path = _found(name)
    try:
        return contents(path) if path else None
    except OSError:
        return None  # evicted by another process meanwhile


def keep(name: str, data: bytes) -> Path:
    """Store an entry; in the private folder where the cache refuses it."""
    cache = default_cache()
    try:
        return cache.store(name, data)
    except OSError as error:
        _warn_private(str(cache.folder), error.strerror or str(error))
        return Cache(private_folder(), cache.limit).store(name, data)


def _found(name: str) -> Path | None:
    cache = default_cache()
    try:
        return cache.find(name) or _find_private(name)
    except OSError as error:
        _warn_private(str(cache.folder), error.strerror or str(error))
        return _find_private(name)


def _find_private(name: str) -> Path | None:
    return Cache(private_folder(), LIMIT_BYTES).find(name) if private_folder.cache_info().currsize else None


def clear() -> tuple[int, int]:
    """Empty the default cache. Returns (entries, bytes) removed."""
    count = size = 0
    for _, nbytes, path in default_cache().entries():
        with contextlib.suppress(OSError):
            path.unlink()
            count, size = count + 1, size + nbytes
    return count, size
