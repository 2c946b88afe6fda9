"""What a scheduled program does, read off its IR: a launch comes in, a `Features` record and words go out; a strategy's words are held
against them and corrected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ...ir.expr import as_int
from ...ir.kernel import Alloc, Body, For, statements
from ...ir.machine import Machine
from ...ir.module import Launch
from ..strategy import Strategy
from .candidate import Candidate


@dataclass(frozen=True)
class Features:
    """`vector`: elements of the widest vector loop; `rows`: of a register tile (the widest unrolled loop); `accumulators`: vectors of partial
    results; `staged`: buffers copied to scratch; `blocks`: parallel pieces; `streamed`: outputs written past the caches; `passes`:
    loops over a row, one after the other; `fused`: nodes of the graph in the kernel."""

    kind: str
    vector: int
    rows: int
    accumulators: int
    staged: int
    blocks: int
    streamed: int
    passes: int
    fused: int

    def words(self) -> str:
        """In words, what is plain left out."""
        parts = [f"{self.kind}: vectors of {self.vector}"]
        if self.rows > 1:
            parts.append(f"tiles of {self.rows} rows")
        if self.accumulators > 1:
            parts.append(f"{self.accumulators} accumulators")
        if self.passes > 1:
            parts.append(f"{self.passes} passes")
        if self.staged:
            parts.append(f"{self.staged} staged")
        parts.append(f"{self.fused} fused")
        return ", ".join([*parts, *(["streamed"] if self.streamed else [])])


def features(launch: Launch, machine: Machine) -> Features:
    """Read off the scheduled program."""
    body = launch.program.body
    loops = [s for s in statements(body) if isinstance(s, For)]
    allocs = [s.buffer for s in statements(body) if isinstance(s, Alloc)]
    written = set(launch.program.written())
    return Features(
        kind=launch.kind, vector=_widest(loops, "vector"), rows=_widest(loops, "unroll"),
        accumulators=max((_size(b.shape) // machine.lanes for b in allocs if b.space == "local"), default=0),
        staged=sum(b.space == "scratch" for b in allocs), blocks=_blocks(body),
        streamed=sum(b.name in written and b.space == "stream" for b in launch.program.params),
        passes=_passes(body), fused=len(launch.nodes),
    )  # fmt: skip


def _widest(loops: list[For], kind: str) -> int:
    return max((as_int(s.hi) or 1 for s in loops if s.kind == kind), default=1)


def _size(shape: tuple) -> int:
    total = 1
    for d in shape:
        total *= as_int(d) or 1
    return total


def _blocks(body: Body) -> int:
    return max((_pieces(s) for s in body if isinstance(s, For)), default=1)


def _pieces(s: For) -> int:
    inner = max((_pieces(x) for x in s.body if isinstance(x, For)), default=1)
    return (as_int(s.hi) or 1) * inner if s.kind == "block" else 1


def _passes(body: Body) -> int:
    """Loops with something to reduce or store, side by side at the deepest place where several stand."""
    here = sum(isinstance(s, For) and (as_int(s.hi) or 99) > 1 and s.kind == "serial" for s in body)
    return max([here, *(_passes(s.body) for s in body if isinstance(s, For))], default=0)


# ------------------------------------------------------------------------------------------------ alignment
_CLAIMS: dict[str, tuple[str, Callable[[Features], int]]] = {
    r"vectors of (\d+)": ("vectors of", lambda f: f.vector),
    r"tiles of (\d+) rows": ("tiles of rows", lambda f: f.rows),
    r"(\d+) accumulators": ("accumulators", lambda f: f.accumulators),
    r"(\d+) passes": ("passes", lambda f: f.passes),
    r"(\d+) staged": ("staged", lambda f: f.staged),
    r"(\d+) fused": ("fused", lambda f: f.fused),
}


def aligned(candidate: Candidate, default: Candidate, machine: Machine) -> Strategy:
    """The candidate's strategy, its words corrected where the program does something else, its class filled in."""
    strategy = candidate.effective
    now = {role: features(k, machine) for role, k in candidate.kernels.items()}
    before = {role: features(k, machine) for role, k in default.kernels.items()}
    changed = {role: f for role, f in now.items() if before.get(role) != f}
    kind = strategy.kind or next((f.kind for f in changed.values()), next((f.kind for f in now.values()), ""))
    words = strategy.transformation
    if not words or not claims_hold(words, now):
        words = difference(now, before)
    return replace(strategy, kind=kind, transformation=words)


def claims_hold(words: str, now: Mapping[str, Features]) -> bool:
    """Whether each number that the words claim is that of some kernel."""
    for pattern, (_, value) in _CLAIMS.items():
        for m in re.finditer(pattern, words):
            if int(m[1]) not in {value(f) for f in now.values()}:
                return False
    if re.search(r"\bstream", words):
        return bool(re.search(r"\b(no|not|without) stream", words)) != any(f.streamed for f in now.values())
    return True


def difference(now: Mapping[str, Features], before: Mapping[str, Features]) -> str:
    """What the kernels do, those that differ from the default schedule's; kernels that are no more."""
    parts = [f"{role} ({f.words()})" for role, f in now.items() if before.get(role) != f]
    gone = [f"no {role}" for role in before if role not in now]
    return "; ".join([*parts, *gone]) or "the same kernels in another order"
