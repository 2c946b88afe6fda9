"""What both GPU printers keep while they print: identifiers that are taken, the ranges of axes in scope, where buffers live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from ....ir.expr import Expr, bounds
from ....ir.kernel import Buffer


class Place(Protocol):
    """Where a buffer lives in the printed code."""

    @property
    def buffer(self) -> Buffer: ...


H = TypeVar("H", bound=Place)


class Names(Generic[H]):
    """`homes`: buffer name -> its place; `ranges`: axis or dim -> inclusive bounds, None where unknown."""

    def __init__(self, taken: set[str]):
        self.taken = taken
        self.homes: dict[str, H] = {}
        self.names: dict[str, str] = {}
        self.ranges: dict[str, tuple[int | None, int | None]] = {}

    @property
    def buffers(self) -> Mapping[str, Buffer]:
        return {name: home.buffer for name, home in self.homes.items()}

    @contextmanager
    def axis(self, name: str, lo: Expr, hi: Expr) -> Iterator[None]:
        """`name` runs from `lo` to `hi` in what is printed inside."""
        old = self.ranges
        low, high = bounds(lo, old)[0], bounds(hi, old)[1]  # type: ignore[arg-type]
        self.ranges = {**old, name: (low, None if high is None else high - 1)}
        yield
        self.ranges = old

    def name(self, ir_name: str) -> str:
        """The identifier of an axis, dim or buffer."""
        if ir_name not in self.names:
            self.names[ir_name] = self.fresh(ir_name)
        return self.names[ir_name]

    def fresh(self, base: str) -> str:
        """`base`, or `base` with the first number that makes it new; taken from now on."""
        name, number = base, 1
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name
