"""The knowledge base: strategies with their evidence. Features of a problem's kernels come in, strategies that helped similar kernels go out,
the most similar first.

Similarity is a small sum that can be explained: the class of kernel, the bound, the loops' extents by their magnitude.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...backends.cache import cache_folder
from ...evaluation.report.work import work
from ...ir.diagnostic import ParseError, WarploomError
from ...ir.expr import as_int
from ...ir.kernel import For, statements
from ...ir.machine import Machine
from ...ir.module import Launch
from ..evolve.candidate import Candidate
from ..strategy import ANY, GRAPH_MARK, Strategy, parse_strategies, print_strategy

SEED = Path(__file__).with_name("seed.txt")
MOST = 400
_FILE = "knowledge.txt"


@dataclass(frozen=True)
class Key:
    """What a kernel is compared by: class, bound (`memory` or `compute`), magnitudes (log2) of its loops in order."""

    kind: str
    bound: str
    loops: tuple[int, ...]

    def text(self) -> str:
        """`kernel contract compute 10 10 10`: the form of a line `needs:`."""
        return f"kernel {self.kind} {self.bound} {' '.join(map(str, self.loops))}".strip()

    @classmethod
    def parse(cls, text: str) -> Key | None:
        """None where the line is no such key."""
        words = text.split()
        if len(words) < 3 or words[0] != "kernel" or not all(w.lstrip("-").isdigit() for w in words[3:]):
            return None
        return cls(words[1], words[2], tuple(map(int, words[3:])))


def key_of(launch: Launch, machine: Machine) -> Key:
    """Read off the naive program."""
    w = work(launch.naive, {})
    by_flops = w.flops / (machine.flops or 1e11)
    bound = "compute" if by_flops > w.nbytes / (machine.bandwidth or 2e10) else "memory"
    loops = [s for s in statements(launch.naive.body) if isinstance(s, For)]
    return Key(launch.kind, bound, tuple(round(math.log2(max(1, as_int(s.hi) or 1))) for s in loops[:6]))


def similarity(a: Key, b: Key) -> float:
    """1 for equal keys, 0 for kernels of another class."""
    if a.kind != b.kind:
        return 0.0
    far = sum(abs(x - y) for x, y in zip(a.loops, b.loops)) + 3 * abs(len(a.loops) - len(b.loops))
    return (1.0 if a.bound == b.bound else 0.7) / (1 + far / 6)


@dataclass(frozen=True)
class Knowledge:
    """Strategies in general form (`@` and `@class` for names), each with a `needs: kernel ..` line for the kernel that it was found on."""

    strategies: tuple[Strategy, ...]

    def fitting(self, candidate: Candidate, machine: Machine) -> list[Strategy]:
        """Those for kernels of the candidate, the most similar and most helpful first; one for each set of decisions."""
        return [s for s, _ in self.scored(candidate, machine)]

    def scored(self, candidate: Candidate, machine: Machine) -> list[tuple[Strategy, float]]:
        """The same with what each may be worth: the logarithm of its gain by its similarity."""
        keys = [key_of(k, machine) for k in candidate.kernels.values()]
        scored = []
        for s in self.strategies:
            known = next((k for k in map(Key.parse, s.needs) if k), None)
            near = max((similarity(known, k) for k in keys), default=0.0) if known else 0.0
            gain = max((e.speedup for e in s.evidence), default=1.0)
            if near > 0 and _applies(s, candidate):
                scored.append((near * math.log(max(1.005, gain)), s))
        out: dict[tuple[object, ...], tuple[Strategy, float]] = {}
        for worth, s in sorted(scored, key=lambda x: (-x[0], x[1].name)):
            out.setdefault(s.plan, (s, worth))
        return list(out.values())

    def with_more(self, more: Iterable[Strategy]) -> Knowledge:
        """Equal strategies become one with the evidence of both; the least helpful are dropped beyond `MOST`."""
        table: dict[tuple[object, ...], Strategy] = {}
        for s in (*self.strategies, *more):
            key = (s.plan, tuple(n for n in s.needs if Key.parse(n)))
            old = table.get(key)
            seen = dict.fromkeys((*(old.evidence if old else ()), *s.evidence))
            table[key] = replace(s, evidence=tuple(seen)[-5:])
        ranked = sorted(table.values(), key=lambda s: -max((e.speedup for e in s.evidence), default=1.0))
        return Knowledge(tuple(ranked[:MOST]))

    def text(self) -> str:
        return "\n".join(print_strategy(s) for s in self.strategies)


def _applies(s: Strategy, candidate: Candidate) -> bool:
    """Whether the problem has some decision that the strategy names."""
    space = candidate.space
    kinds = {f"{ANY}{candidate.kernels[n.split(GRAPH_MARK)[0]].kind}{GRAPH_MARK}{n.split(GRAPH_MARK)[1]}" for n in space if GRAPH_MARK in n}
    kinds |= {f"{n.split()[0]} {ANY}" for n in space if GRAPH_MARK not in n}
    return bool(s.choices) and all(name in kinds or name in space for name, _ in s.choices)


def general(s: Strategy, candidate: Candidate, machine: Machine) -> Strategy:
    """The strategy for kernels of the same class anywhere: names of nodes and kernels become `@` and `@class`."""
    choices: dict[str, int] = {}
    for name, value in s.choices:
        if GRAPH_MARK in name:
            role, decision = name.split(GRAPH_MARK)
            if role in candidate.kernels:
                choices[f"{ANY}{candidate.kernels[role].kind}{GRAPH_MARK}{decision}"] = value
        else:
            choices[f"{name.split()[0]} {ANY}"] = value
    heaviest = max(candidate.kernels.values(), key=lambda k: work(k.naive, {}).flops + work(k.naive, {}).nbytes)
    return replace(s, needs=(key_of(heaviest, machine).text(),), scripts=(), code="").with_choices(choices)


def specific(s: Strategy, candidate: Candidate) -> dict[str, int]:
    """The decisions of a general strategy under their names here."""
    chosen, out = dict(s.choices), {}
    for name in candidate.space:
        if GRAPH_MARK in name:
            role, decision = name.split(GRAPH_MARK)
            everywhere = f"{ANY}{candidate.kernels[role].kind}{GRAPH_MARK}{decision}"
        else:
            everywhere = f"{name.split()[0]} {ANY}"
        if (value := chosen.get(name, chosen.get(everywhere))) is not None:
            out[name] = value
    return out


# ------------------------------------------------------------------------------------------------ files
class BadKnowledge(WarploomError):
    """A file of strategies cannot be read. The message says where; correct or remove it."""

    code = "WL-E083"


def read(path: Path) -> Knowledge:
    """Raises BadKnowledge."""
    try:
        return Knowledge(tuple(parse_strategies(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError) as error:
        raise BadKnowledge(f"{path}: {error}") from None
    except ParseError as error:
        raise BadKnowledge(f"{path}: {error.message}") from None


def own_path() -> Path:
    """Where runs on this machine write back: beside the build cache."""
    return cache_folder() / _FILE


def everything() -> Knowledge:
    """What the project ships and what runs on this machine have added; a damaged own file is set aside."""
    seed = read(SEED) if SEED.is_file() else Knowledge(())
    try:
        own = read(own_path()) if own_path().is_file() else Knowledge(())
    except BadKnowledge:
        with contextlib.suppress(OSError):
            own_path().rename(own_path().with_suffix(".damaged"))
        own = Knowledge(())
    return seed.with_more(own.strategies)


def write_back(found: Sequence[Strategy], path: Path | None = None) -> None:
    """Add strategies to a file, which several processes may do at once."""
    path = path or own_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        old = read(path) if path.is_file() else Knowledge(())
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(old.with_more(found).text(), encoding="utf-8")
        partial.replace(path)
