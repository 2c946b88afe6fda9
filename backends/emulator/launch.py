"""Where a kernel runs. A launch text (`grid=x,y,z;block=x,y,z;shared=n`) comes in, a `Launch` goes out, and back.

A `.cu` file may carry its launch as its first line: `// warploom-launch: grid=4;block=256`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.diagnostic import WarploomError

MAX_THREADS = 1024
MAX_SHARED = 227 << 10
_COMMENT = "// warploom-launch:"


class BadLaunch(WarploomError):
    """The launch is not `grid=x,y,z;block=x,y,z;shared=n`, or a GPU would refuse it. Correct the named number."""

    code = "WL-E055"


@dataclass(frozen=True)
class Launch:
    """Blocks and threads per axis, and dynamic shared memory in bytes."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int = 0

    def __post_init__(self):
        _check_extents("grid", self.grid, (2**31 - 1, 65535, 65535))
        _check_extents("block", self.block, (1024, 1024, 64))
        threads = self.block[0] * self.block[1] * self.block[2]
        if threads > MAX_THREADS:
            raise BadLaunch(f"a block of {threads} threads; at most {MAX_THREADS} can be launched")
        if not 0 <= self.shared_bytes <= MAX_SHARED:
            raise BadLaunch(f"shared={self.shared_bytes}: 0 to {MAX_SHARED} bytes can be launched")

    @classmethod
    def parse(cls, text: str) -> Launch:
        """Reads `grid=x,y,z;block=x,y,z;shared=n`; missing y and z are 1, a missing shared is 0."""
        fields = dict(_pair(part) for part in text.strip().split(";") if part.strip())
        unknown = set(fields) - {"grid", "block", "shared"}
        if unknown or not {"grid", "block"} <= set(fields):
            raise BadLaunch(f"cannot read the launch `{text.strip()}`", hint="write grid=x,y,z;block=x,y,z;shared=n")
        shared = _integers(fields.get("shared", "0"))[0]
        return cls(_three(_integers(fields["grid"])), _three(_integers(fields["block"])), shared)

    @classmethod
    def of(cls, grid: int | tuple[int, ...], block: int | tuple[int, ...], shared_bytes: int = 0) -> Launch:
        """Like CUDA's `<<<grid, block, shared>>>`: missing axes are 1."""
        return cls(_three(_tuple(grid)), _three(_tuple(block)), shared_bytes)

    def __str__(self) -> str:
        grid, block = (",".join(map(str, extents)) for extents in (self.grid, self.block))
        return f"grid={grid};block={block};shared={self.shared_bytes}"


def launch_comment(source: str) -> Launch | None:
    """The launch that the first line of a `.cu` file states, if it states one."""
    first = source.lstrip("\ufeff").split("\n", 1)[0]
    return Launch.parse(first[len(_COMMENT) :]) if first.startswith(_COMMENT) else None


def _tuple(extent: int | tuple[int, ...]) -> tuple[int, ...]:
    return (extent,) if isinstance(extent, int) else tuple(extent)


def _three(extents: tuple[int, ...]) -> tuple[int, int, int]:
    if not 1 <= len(extents) <= 3:
        raise BadLaunch(f"{len(extents)} extents; one to three were expected")
    x, y, z = (*extents, 1, 1)[:3]
    return x, y, z


def _pair(part: str) -> tuple[str, str]:
    key, _, value = part.partition("=")
    return key.strip(), value.strip()


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadLaunch(f"`{text}` is not a list of integers") from None


def _check_extents(what: str, extents: tuple[int, int, int], limits: tuple[int, int, int]) -> None:
    for extent, limit in zip(extents, limits):
        if not 1 <= extent <= limit:
            raise BadLaunch(f"{what}={','.join(map(str, extents))}: each extent lies in 1 to {limit}")
